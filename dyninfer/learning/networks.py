"""Networks with the derivatives that the objectives need, computed in one pass."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

SMOOTH_ACTIVATIONS = ("silu", "softplus", "tanh")


class Derivatives(NamedTuple):
    """A potential and its derivatives at ``n`` points."""

    value: Tensor  # (n,)
    time: Tensor  # (n,)  ∂s/∂t
    gradient: Tensor  # (n, d)  ∇s
    laplacian: Tensor | None  # (n,)  Δs, exact or estimated, if it was asked for


class PotentialNetwork(nn.Module):
    """Scalar potential ``s(t, x)``: a smooth perceptron of ``(t, x)``, free at every point.

    Parameters
    ----------
    n_features : int
        Number of features ``d``.
    width, depth : int
        Units of a hidden layer, and number of hidden layers.
    activation : {"silu", "softplus", "tanh"}
        Must be smooth: ∇s of a ReLU network is piecewise constant and its Laplacian zero.

    Notes
    -----
    The gradient is written out as the reverse sweep ``δ_{l−1} = (δ_l W_l) ⊙ φ'(h_{l−1})``, so that it is an ordinary
    output: training needs one backward pass and no double differentiation, and simulation needs no autograd.
    The Laplacian is carried forward beside the value and the derivatives along the axes (or along a random
    direction), ``L ← φ'(h) L + φ''(h) Σ_k J_k²``.
    """

    def __init__(self, n_features: int, width: int = 128, depth: int = 3, activation: str = "silu"):
        super().__init__()
        if activation not in SMOOTH_ACTIVATIONS:
            raise ValueError(
                f"activation {activation!r} is not known to be smooth, which a potential must be; "
                f"choose one of {', '.join(SMOOTH_ACTIVATIONS)}"
            )
        if width < 1 or depth < 1:
            raise ValueError(
                f"width and depth must be at least 1, found width={width}, depth={depth}"
            )
        self.activation = activation
        sizes = [1 + n_features, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.output = nn.Linear(width, 1)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Potential ``(n,)`` at times ``(n,)`` and states ``(n, d)``."""
        h = torch.cat([t[:, None], x], 1)
        for layer in self.hidden:
            h = activate(layer(h), self.activation)
        return self.output(h)[:, 0]

    def derivatives(self, t: Tensor, x: Tensor, laplacian: Tensor | None = None) -> Derivatives:
        """Value, ∂s/∂t, ∇s and, along the given directions, the Laplacian.

        Parameters
        ----------
        t : tensor ``(n,)``
        x : tensor ``(n, d)``
        laplacian : tensor ``(k, d)`` or ``(n, k, d)``, optional
            Directions over which second derivatives are summed: the identity gives the exact Laplacian, one random
            direction of signs (or of unit variance) per point gives Hutchinson's estimate.
        """
        h = torch.cat([t[:, None], x], 1)
        slopes = []
        for layer in self.hidden:
            h, slope = _ActivationAndSlope.apply(layer(h), self.activation)
            slopes.append(slope)
        value = self.output(h)[:, 0]
        layers: Any = self.hidden
        delta = self.output.weight * slopes[-1]
        for layer, slope in zip(reversed(layers[1:]), reversed(slopes[:-1]), strict=True):
            delta = (delta @ layer.weight) * slope
        gradient = delta @ self.hidden[0].weight
        curvature = None if laplacian is None else self.curvature(t, x, laplacian)
        return Derivatives(value, gradient[:, 0], gradient[:, 1:], curvature)

    def curvature(self, t: Tensor, x: Tensor, directions: Tensor) -> Tensor:
        """Sum of second derivatives ``Σ_k v_kᵀ (∇²s) v_k``, ``(n,)``, along directions ``(k, d)`` or ``(n, k, d)``."""
        layers: Any = self.hidden
        first = layers[0]
        h = first(torch.cat([t[:, None], x], 1))
        jac = (directions @ first.weight[:, 1:].T).expand(len(x), -1, -1)  # (n, k, width)
        second = torch.zeros_like(h)
        for layer in layers[1:]:
            h, jac, second = _activate_second_order(h, jac, second, self.activation)
            stack = torch.cat([h[:, None], jac, second[:, None]], 1) @ layer.weight.T
            h, jac, second = stack[:, 0] + layer.bias, stack[:, 1:-1], stack[:, -1]
        _, _, second = _activate_second_order(h, jac, second, self.activation)
        return second @ self.output.weight[0]


class VectorNetwork(nn.Module):
    """Vector fields ``f(t, x, c)`` of one smooth perceptron: all that a method learns comes out of one pass.

    Beside ``t`` it is told the sines and cosines of ``πt`` and ``2πt``: fields of interpolants change fast near the ends.

    Parameters
    ----------
    n_features, n_outputs : int
        Number of features ``d``, and of outputs.
    width, depth : int
        Units of a hidden layer, and number of hidden layers.
    activation : {"silu", "softplus", "tanh"}
    n_conditions : int
        Length of the vector ``c`` that is given beside time and state.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        width: int = 128,
        depth: int = 3,
        activation: str = "silu",
        n_conditions: int = 0,
    ):
        super().__init__()
        if activation not in SMOOTH_ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {', '.join(SMOOTH_ACTIVATIONS)}, found {activation!r}"
            )
        if width < 1 or depth < 1:
            raise ValueError(
                f"width and depth must be at least 1, found width={width}, depth={depth}"
            )
        self.activation, self.n_features = activation, n_features
        sizes = [5 + n_features + n_conditions, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.output = nn.Linear(width, n_outputs)

    def forward(self, t: Tensor, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Outputs ``(n, n_outputs)`` at times ``(n,)``, states ``(n, d)`` and conditions ``(n, n_conditions)``."""
        h = _joined(t, x, c)
        for layer in self.hidden:
            h = activate(layer(h), self.activation)
        return self.output(h)

    def with_rate(self, t: Tensor, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(n, n_outputs)`` and their partial derivatives in time."""
        h, rate = _joined(t, x, c), torch.cat(_time_rates(t), 1)
        layers: Any = self.hidden
        for k, layer in enumerate(layers):
            weight = layer.weight[:, : rate.shape[1]] if k == 0 else layer.weight
            h, slope = value_and_slope(layer(h), self.activation)
            rate = (rate @ weight.T) * slope
        return self.output(h), rate @ self.output.weight.T

    def divergence(
        self, t: Tensor, x: Tensor, directions: Tensor, c: Tensor | None = None
    ) -> Tensor:
        """``Σ_k v_kᵀ (∂f/∂x) v_k`` ``(n,)`` of the first ``d`` outputs.

        Directions ``(k, d)`` or ``(n, k, d)``: the identity gives the exact divergence, random signs Hutchinson's estimate.
        """
        layers: Any = self.hidden
        features = slice(5, 5 + self.n_features)
        h = layers[0](_joined(t, x, c))
        jac = directions @ layers[0].weight[:, features].T
        for layer in layers[1:]:
            value, slope = value_and_slope(h, self.activation)
            h, jac = layer(value), (slope[:, None] * jac) @ layer.weight.T
        _, slope = value_and_slope(h, self.activation)
        moved = (slope[:, None] * jac) @ self.output.weight[: self.n_features].T
        return (moved * directions).sum((1, 2))


def _joined(t: Tensor, x: Tensor, c: Tensor | None) -> Tensor:
    t, sin, cos = _phases(t)
    return torch.cat([t, sin, cos, x, *([] if c is None else [c])], 1)


def _phases(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Time ``(n, 1)``, and sines and cosines of two frequencies ``(n, 2)``."""
    t = t[:, None]
    phase = torch.cat([t, 2 * t], 1) * math.pi
    return t, phase.sin(), phase.cos()


def _time_rates(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of :func:`_phases`."""
    one, sin, cos = _phases(t)
    frequency = torch.tensor([math.pi, 2 * math.pi]).to(t)
    return torch.ones_like(one), frequency * cos, -frequency * sin


def activate(h: Tensor, activation: str) -> Tensor:
    """Apply a smooth activation by name."""
    if activation == "silu":
        return nn.functional.silu(h)
    return torch.tanh(h) if activation == "tanh" else nn.functional.softplus(h)


def _activate_second_order(
    h: Tensor, jac: Tensor, second: Tensor, activation: str
) -> tuple[Tensor, Tensor, Tensor]:
    value, slope = value_and_slope(h, activation)
    _, bend = _slope_and_bend(h, activation)
    return value, slope[:, None] * jac, slope * second + bend * jac.square().sum(1)


def value_and_slope(h: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """φ and φ', in as few kernels as there are."""
    if activation == "tanh":
        value = torch.tanh(h)
        return value, 1 - value.square()
    gate = torch.sigmoid(h)
    if activation == "softplus":
        return nn.functional.softplus(h), gate
    value = h * gate
    return value, torch.addcmul(gate + value, value, gate, value=-1)


def _slope_and_bend(h: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """φ' and φ''."""
    if activation == "tanh":
        value = torch.tanh(h)
        slope = 1 - value.square()
        return slope, -2 * value * slope
    gate = torch.sigmoid(h)
    rest = torch.addcmul(gate, gate, gate, value=-1)
    if activation == "softplus":
        return gate, rest
    return torch.addcmul(gate, h, rest), rest * (torch.addcmul(h, h, gate, value=-2) + 2)


class _ActivationAndSlope(torch.autograd.Function):
    """φ(h) and φ'(h) together; a function of its own because autograd would keep every intermediate of φ'."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, activation: str) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(h)
        ctx.activation = activation
        return value_and_slope(h, activation)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (h,) = ctx.saved_tensors
        slope, bend = _slope_and_bend(h, ctx.activation)
        return torch.addcmul(grads[0] * slope, grads[1], bend), None
