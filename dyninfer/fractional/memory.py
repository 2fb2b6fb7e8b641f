"""A fractional diffusion as one equation: its state and the memory of its noise side by side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.matrices import covariance_root
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.learning.random import subseed
from dyninfer.simulation.equation import Equation
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.noise import PathNoise


@dataclass(frozen=True)
class Layout:
    """Where state, memory, and memory at time 0 lie in one row of numbers.

    Attributes
    ----------
    n_features : int
        ``d``.
    n_nodes : int
        ``K + 1``.
    has_origin : bool
        Whether ``Y(0)`` rides along, which a moving average of an index ``H(t)`` counts from.
    """

    n_features: int
    n_nodes: int
    has_origin: bool

    @classmethod
    def of(cls, process: FractionalDiffusion, n_features: int) -> Layout:
        """Layout of a process with ``n_features`` coordinates."""
        is_moving_average = process.definition == "moving-average"
        # The memory of kind II starts at 0.
        has_origin = process.multifractional and is_moving_average and process.noise.kind == "I"
        return cls(n_features, len(process.nodes), has_origin)

    def join(self, x: Tensor, y: Tensor) -> Tensor:
        """Rows ``(n, D)`` of state ``(n, d)`` and memory ``(n, d, K + 1)`` at time 0."""
        parts = [x, y.flatten(1)]
        if self.has_origin:
            parts.append(y.flatten(1))
        return torch.cat(parts, dim=1)

    def rejoin(self, x: Tensor, y: Tensor, origin: Tensor) -> Tensor:
        """Rows ``(n, D)`` of state and memory at a later time."""
        parts = [x, y.flatten(1)]
        if self.has_origin:
            parts.append(origin.flatten(1))
        return torch.cat(parts, dim=1)

    def split(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """State ``(n, d)``, memory and memory at time 0 ``(n, d, K + 1)``."""
        d, width = self.n_features, self.n_features * self.n_nodes
        shape = d, self.n_nodes
        y = z[:, d : d + width].unflatten(1, shape)
        if self.has_origin:
            return z[:, :d], y, z[:, d + width :].unflatten(1, shape)
        return z[:, :d], y, torch.zeros_like(y)


@dataclass(frozen=True)
class MemoryEquation(Equation):
    """The equation of ``(X, Y)``: one Brownian motion per coordinate drives both.

    ``dX = [b − s Σ_k w_k γ_k Y_k] dt + s ω̄ dW`` and ``dY_k = −γ_k Y_k dt + dW`` with ``ω̄ = Σ_k w_k``
    (Daems et al., arXiv 2310.12975, Eq. 8), in the sense that the process is in. A moving average of
    an index ``H(t)`` adds ``s Σ_k w_k'(t) (Y_k − Y_k(0)) dt`` to the drift of ``X``.
    """

    process: FractionalDiffusion = None  # type: ignore[assignment]
    layout: Layout = None  # type: ignore[assignment]

    @property
    def kind(self) -> Kind:
        """What a solver must be able to run."""
        return Kind.FRACTIONAL_ADDITIVE if self.additive else Kind.FRACTIONAL_MULTIPLICATIVE


def memory_equation(process: FractionalDiffusion, n_features: int) -> MemoryEquation:
    """Equation of the state and memory of a process with ``n_features`` coordinates."""
    layout = Layout.of(process, n_features)
    fixed = None if process.multifractional else process.weights(n_features)

    def weights(t: Tensor) -> Tensor:
        return process.weights(n_features, t[None])[0] if fixed is None else fixed

    def rates(t: Tensor, z: Tensor) -> tuple[Tensor, None]:
        x, y, origin = layout.split(z)
        nodes = process.nodes.to(z)
        s = process.diffusion(t, x)
        velocity = process.drift(t, x) - s * (weights(t).to(z) * nodes * y).sum(-1)
        if process.multifractional and process.definition == "moving-average":
            turn = _slope(weights, t).to(z)
            velocity = velocity + s * (turn * (y - origin)).sum(-1)
        return layout.rejoin(velocity, -nodes * y, torch.zeros_like(origin)), None

    def amplitude(t: Tensor, z: Tensor) -> Tensor:
        x, y, origin = layout.split(z)
        own = process.diffusion(t, x) * weights(t).to(z).sum(-1)
        of_state = torch.diag_embed(own.expand_as(x))
        eye = torch.eye(n_features, dtype=z.dtype, device=z.device)
        of_memory = eye.repeat_interleave(layout.n_nodes, dim=0).expand(len(z), -1, -1)
        parts = [of_state, of_memory]
        if layout.has_origin:
            parts.append(torch.zeros_like(of_memory))
        return torch.cat(parts, dim=1)

    return MemoryEquation(
        rates=rates,
        amplitude=amplitude,
        additive=process.additive,
        grows=False,
        parameters=tuple(process.parameters()),
        n_brownian=n_features,
        stratonovich=process.calculus == "stratonovich",
        process=process,
        layout=layout,
    )


def prior_memory(process: FractionalDiffusion, x: Tensor, seed: int) -> Tensor:
    """Memory ``(n, d, K + 1)`` at the start: stationary for kind I, 0 for kind II.

    That of path ``i`` depends on ``(seed, i)`` alone.
    """
    n, d = x.shape
    shape = n, d, len(process.nodes)
    if process.noise.kind == "II":
        return x.new_zeros(shape)
    factor = covariance_root(process.noise.stationary_covariance()).to(x)
    noise = PathNoise(subseed(seed, "memory"), 1, d * shape[-1], like=x.detach())
    return noise.segment(range(n), 0)[0].view(shape) @ factor.T


def _slope(weights, t: Tensor) -> Tensor:
    """Derivative in time of the weights ``(d, K + 1)``."""
    t = t.detach().double()
    with torch.enable_grad():
        _, slope = torch.autograd.functional.jvp(weights, t, torch.ones_like(t), strict=False)
    return slope.detach()
