"""Networks of the user's own, behind the faces that objectives and processes call.

A potential network answers with its derivatives, a vector network with its divergence: those of a
module that was written elsewhere come from automatic differentiation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dyninfer.learning.network_checks import check_network
from dyninfer.learning.networks import Derivatives, VectorNetwork


class OwnPotential(nn.Module):
    """A module ``(t (n,), x (n, d)) -> (n,)`` as a potential, a :class:`PotentialNetwork` to all.

    Parameters
    ----------
    module : nn.Module
        Where there are conditions it is called with a third argument, ``c (n, m)``.

    Notes
    -----
    Training differentiates the gradient once more. For a perceptron of three layers that costs what
    the gradient written out does, also with one direction of a Laplacian, and 2.2 times as much
    with ten.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, t: Tensor, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Potential ``(n,)``."""
        return called(self.module, t, x, c)

    def derivatives(
        self, t: Tensor, x: Tensor, laplacian: Tensor | None = None, c: Tensor | None = None
    ) -> Derivatives:
        """Value, ∂s/∂t, ∇s and, along the given directions, the Laplacian.

        See :meth:`PotentialNetwork.derivatives`.
        """
        keeps_graph = torch.is_grad_enabled()
        with differentiation():
            t = variable(t)
            x = variable(x)
            c = ordinary(c)
            laplacian = ordinary(laplacian)
            value = self(t, x, c)
            # What does not depend on time has the derivative zero.
            in_time, in_space = torch.autograd.grad(
                value.sum(),
                (t, x),
                create_graph=keeps_graph or laplacian is not None,
                materialize_grads=True,
            )
            curvature = None
            if laplacian is not None:
                curvature = along(in_space, x, laplacian, keeps_graph)
        if keeps_graph:
            return Derivatives(value, in_time, in_space, curvature)
        if curvature is not None:
            curvature = curvature.detach()
        return Derivatives(value.detach(), in_time.detach(), in_space.detach(), curvature)

    def curvature(
        self, t: Tensor, x: Tensor, directions: Tensor, c: Tensor | None = None
    ) -> Tensor:
        """Sum of second derivatives ``Σ_k v_kᵀ (∇²s) v_k`` ``(n,)`` along some directions."""
        derivatives = self.derivatives(t, x, directions, c)
        laplacian = derivatives.laplacian
        assert laplacian is not None
        return laplacian


class OwnVectorNetwork(nn.Module):
    """A module ``(t (n,), x (n, d)) -> (n, d)`` as a field, a :class:`VectorNetwork` to all.

    Parameters
    ----------
    module : nn.Module
        Where there are conditions it is called with a third argument, ``c (n, m)``.
    n_features : int
        Number of features ``d``.
    growth : VectorNetwork, optional
        Network of one more output, the growth rate, which the module knows nothing of.
    """

    def __init__(self, module: nn.Module, n_features: int, growth: VectorNetwork | None = None):
        super().__init__()
        self.module = module
        self.n_features = n_features
        self.growth = growth

    def forward(self, t: Tensor, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Outputs ``(n, d)``, or ``(n, d + 1)`` with the growth rate behind."""
        field = called(self.module, t, x, c)
        if self.growth is None:
            return field
        rate = self.growth(t, x, c)
        return torch.cat([field, rate], 1)

    def divergence(
        self, t: Tensor, x: Tensor, directions: Tensor, c: Tensor | None = None
    ) -> Tensor:
        """``Σ_k v_kᵀ (∂f/∂x) v_k`` ``(n,)``; see :meth:`VectorNetwork.divergence`."""
        keeps_graph = torch.is_grad_enabled()
        with differentiation():
            x = variable(x)
            field = called(self.module, ordinary(t), x, ordinary(c))
            divergence = along(field, x, ordinary(directions), keeps_graph)
        return divergence if keeps_graph else divergence.detach()


def own_potential(module: nn.Module, n_features: int, n_conditions: int = 0) -> OwnPotential:
    """A copy of the user's module as a potential, after a look at what it answers.

    Raises
    ------
    TypeError, ValueError
        If it is no module, or its answers cannot be those of a potential.
    """
    own = copied(module)
    check_network(own, n_features, n_conditions, potential=True)
    return OwnPotential(own)


def own_vector_network(
    module: nn.Module, n_features: int, n_conditions: int = 0, growth: VectorNetwork | None = None
) -> OwnVectorNetwork:
    """A copy of the user's module as a vector field, after a look at what it answers.

    Raises
    ------
    TypeError, ValueError
        If it is no module, or its answers cannot be those of a field.
    """
    own = copied(module)
    check_network(own, n_features, n_conditions, potential=False)
    return OwnVectorNetwork(own, n_features, growth)


def called(module: nn.Module, t: Tensor, x: Tensor, c: Tensor | None) -> Tensor:
    """Answer of the user's module, which is not asked about conditions where there are none."""
    if c is None:
        return module(t, x)
    return module(t, x, c)


def along(field: Tensor, x: Tensor, directions: Tensor, keeps_graph: bool) -> Tensor:
    """``Σ_k v_kᵀ (∂f/∂x) v_k`` ``(n,)`` of a field ``(n, d)`` that was computed from ``x``."""
    n_directions = directions.shape[-2]
    total = torch.zeros_like(x[:, 0])
    # One by one: not every operation of a module of strangers can be batched over directions.
    for k in range(n_directions):
        direction = directions[..., k, :].expand_as(x)
        is_last = k == n_directions - 1
        (image,) = torch.autograd.grad(
            field,
            x,
            direction,
            create_graph=keeps_graph,
            retain_graph=keeps_graph or not is_last,
            materialize_grads=True,
        )
        total = total + (image * direction).sum(1)
    return total


@contextmanager
def differentiation() -> Iterator[None]:
    """Let gradients be computed, also where the program around has switched them off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def variable(x: Tensor) -> Tensor:
    """The same numbers as a tensor that can be differentiated by."""
    if x.requires_grad:
        return x
    return ordinary(x).detach().requires_grad_()


def ordinary(x: Any) -> Any:
    """The same tensor, or None, fit to take part in a graph."""
    # What was made in inference mode is not, but its copy is.
    if x is not None and x.is_inference():
        return x.clone()
    return x


def copied(module: nn.Module) -> nn.Module:
    """A copy to be trained; the user's own stays as it is, so that every fit begins alike.

    Raises
    ------
    ValueError
        If its weights hold no numbers.
    """
    if not isinstance(module, nn.Module):
        return module
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise ValueError(
            f"network ({type(module).__name__}) has weights on the device meta, which holds no "
            "numbers; build it on the CPU"
        )
    return copy.deepcopy(module).cpu()
