"""Networks with the derivatives that the objectives need, computed in one pass."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dyninfer.learning.budget import check_memory
from dyninfer.learning.settings import brief

SMOOTH_ACTIVATIONS = ("silu", "softplus", "tanh")
# Time, and the sine and cosine of two frequencies of it.
_TIME_FEATURES = 5


class Derivatives(NamedTuple):
    """A potential and its derivatives at ``n`` points."""

    value: Tensor  # (n,)
    time: Tensor  # (n,) ∂s/∂t
    gradient: Tensor  # (n, d) ∇s
    laplacian: Tensor | None  # (n,) Δs, exact or estimated, if it was asked for


class PotentialNetwork(nn.Module):
    """Scalar potential ``s(t, x, c)``: a smooth perceptron, free at every point.

    Parameters
    ----------
    n_features : int
        Number of features ``d``.
    width, depth : int
        Units of a hidden layer, and number of hidden layers.
    activation : {"silu", "softplus", "tanh"}
        Must be smooth: ∇s of a ReLU network is piecewise constant and its Laplacian zero.
    n_conditions : int
        Length of the vector ``c`` that is given beside time and state.

    Notes
    -----
    The gradient is written out as the reverse sweep ``δ_{l−1} = (δ_l W_l) ⊙ φ'(h_{l−1})``, so
    that it is an ordinary output: training needs one backward pass and no double differentiation,
    and simulation needs no autograd. The Laplacian is carried forward beside the value and the
    derivatives along the axes (or along a random direction), ``L ← φ'(h) L + φ''(h) Σ_k J_k²``.
    """

    def __init__(
        self,
        n_features: int,
        width: int = 128,
        depth: int = 3,
        activation: str = "silu",
        n_conditions: int = 0,
    ):
        super().__init__()
        _check_activation(activation)
        self.activation = activation
        n_inputs = 1 + n_features + n_conditions
        self.hidden = hidden_layers(n_inputs, width, depth)
        self.output = nn.Linear(width, 1)

    def forward(self, t: Tensor, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Potential ``(n,)`` at times ``(n,)`` and states ``(n, d)``, given ``c`` ``(n, m)``."""
        h = _with_time(t, x, c)
        for layer in self.hidden:
            h = activate(layer(h), self.activation)
        return self.output(h)[:, 0]

    def derivatives(
        self, t: Tensor, x: Tensor, laplacian: Tensor | None = None, c: Tensor | None = None
    ) -> Derivatives:
        """Value, ∂s/∂t, ∇s and, along the given directions, the Laplacian.

        Parameters
        ----------
        t : tensor ``(n,)``
        x : tensor ``(n, d)``
        laplacian : tensor ``(k, d)`` or ``(n, k, d)``, optional
            Directions over which second derivatives are summed: the identity gives the exact
            Laplacian, one random direction of signs (or of unit variance) per point gives
            Hutchinson's estimate.
        c : tensor ``(n, m)``, optional
            The condition.
        """
        h = _with_time(t, x, c)
        slopes = []
        for layer in self.hidden:
            linear = layer(h)
            h, slope = _ActivationAndSlope.apply(linear, self.activation)
            slopes.append(slope)
        value = self.output(h)[:, 0]
        delta = self.output.weight * slopes.pop()
        layers: Any = self.hidden
        for layer in reversed(layers[1:]):
            onward = delta @ layer.weight
            delta = onward * slopes.pop()
        gradient = delta @ layers[0].weight
        curvature = None
        if laplacian is not None:
            curvature = self.curvature(t, x, laplacian, c)
        in_time = gradient[:, 0]
        # Behind the state comes the condition.
        end = 1 + x.shape[1]
        in_space = gradient[:, 1:end]
        return Derivatives(value, in_time, in_space, curvature)

    def curvature(
        self, t: Tensor, x: Tensor, directions: Tensor, c: Tensor | None = None
    ) -> Tensor:
        """Sum of second derivatives ``Σ_k v_kᵀ (∇²s) v_k`` along some directions.

        Parameters
        ----------
        t : tensor ``(n,)``
        x : tensor ``(n, d)``
        directions : tensor ``(k, d)`` or ``(n, k, d)``
        c : tensor ``(n, m)``, optional
            The condition.

        Returns
        -------
        tensor ``(n,)``
        """
        first: Any = self.hidden[0]
        h = first(_with_time(t, x, c))
        # The first column belongs to time, the last to the condition.
        end = 1 + x.shape[1]
        of_state = first.weight[:, 1:end]
        along = directions @ of_state.T
        jac = along.expand(len(x), -1, -1)  # (n, k, width)
        second = torch.zeros_like(h)
        others: Any = self.hidden[1:]
        for layer in others:
            h, jac, second = _activate_second_order(h, jac, second, self.activation)
            # One product for value, first and second derivatives.
            stack = torch.cat([h[:, None], jac, second[:, None]], 1)
            product = stack @ layer.weight.T
            h = product[:, 0] + layer.bias
            jac = product[:, 1:-1]
            second = product[:, -1]
        _, _, second = _activate_second_order(h, jac, second, self.activation)
        (weight,) = self.output.weight
        return second @ weight


class VectorNetwork(nn.Module):
    """Vector fields ``f(t, x, c)`` of one smooth perceptron: all that a method learns in one pass.

    Its inputs hold, beside ``t``, the sines and cosines of ``πt`` and ``2πt``: fields of
    interpolants change fast near the ends.

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
        _check_activation(activation)
        self.activation = activation
        self.n_features = n_features
        n_inputs = _TIME_FEATURES + n_features + n_conditions
        self.hidden = hidden_layers(n_inputs, width, depth)
        self.output = nn.Linear(width, n_outputs)

    def forward(self, t: Tensor, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Outputs ``(n, n_outputs)``.

        Parameters
        ----------
        t : tensor ``(n,)``
        x : tensor ``(n, d)``
        c : tensor ``(n, n_conditions)``, optional
        """
        h = _inputs(t, x, c)
        for layer in self.hidden:
            h = activate(layer(h), self.activation)
        return self.output(h)

    def with_rate(self, t: Tensor, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs ``(n, n_outputs)`` and their partial derivatives in time."""
        h = _inputs(t, x, c)
        rate = torch.cat(_phase_rates(t), 1)
        # Only the features of time change with it.
        n_changing = _TIME_FEATURES
        layers: Any = self.hidden
        for layer in layers:
            linear = layer(h)
            h, slope = value_and_slope(linear, self.activation)
            weight = layer.weight[:, :n_changing]
            rate = (rate @ weight.T) * slope
            # Behind the first layer, every unit does.
            n_changing = layer.out_features
        rate = rate @ self.output.weight.T
        return self.output(h), rate

    def divergence(
        self, t: Tensor, x: Tensor, directions: Tensor, c: Tensor | None = None
    ) -> Tensor:
        """``Σ_k v_kᵀ (∂f/∂x) v_k`` ``(n,)`` of the first ``d`` outputs.

        Directions ``(k, d)`` or ``(n, k, d)``: the identity gives the exact divergence, random
        signs Hutchinson's estimate.
        """
        first: Any = self.hidden[0]
        h = first(_inputs(t, x, c))
        # Behind the columns of time come those of the state.
        end = _TIME_FEATURES + self.n_features
        of_state = first.weight[:, _TIME_FEATURES:end]
        jac = directions @ of_state.T
        others: Any = self.hidden[1:]
        for layer in others:
            value, slope = value_and_slope(h, self.activation)
            h = layer(value)
            jac = slope[:, None] * jac
            jac = jac @ layer.weight.T
        _, slope = value_and_slope(h, self.activation)
        jac = slope[:, None] * jac
        weight = self.output.weight[: self.n_features]
        image = jac @ weight.T
        return (image * directions).sum((1, 2))


def activate(h: Tensor, activation: str) -> Tensor:
    """Apply a smooth activation by name."""
    if activation == "silu":
        return nn.functional.silu(h)
    if activation == "tanh":
        return torch.tanh(h)
    return nn.functional.softplus(h)


def value_and_slope(h: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """φ and φ', in as few kernels as there are."""
    if activation == "tanh":
        value = torch.tanh(h)
        return value, 1 - value.square()
    gate = torch.sigmoid(h)
    if activation == "softplus":
        return nn.functional.softplus(h), gate
    # Of h σ(h): σ + h σ (1 − σ).
    value = h * gate
    slope = torch.addcmul(gate + value, value, gate, value=-1)
    return value, slope


def _slope_and_bend(h: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """φ' and φ''."""
    if activation == "tanh":
        value = torch.tanh(h)
        slope = 1 - value.square()
        return slope, -2 * value * slope
    gate = torch.sigmoid(h)
    gate_slope = torch.addcmul(gate, gate, gate, value=-1)
    if activation == "softplus":
        return gate, gate_slope
    # Of h σ(h): φ' = σ + h σ', and φ'' = σ' (2 + h (1 − 2 σ)).
    slope = torch.addcmul(gate, h, gate_slope)
    bend = torch.addcmul(h, h, gate, value=-2) + 2
    return slope, gate_slope * bend


def _activate_second_order(
    h: Tensor, jac: Tensor, second: Tensor, activation: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Value, first derivatives and sum of second ones after an activation."""
    value, slope = value_and_slope(h, activation)
    _, bend = _slope_and_bend(h, activation)
    squares = jac.square().sum(1)
    # The chain rule, twice.
    second = slope * second + bend * squares
    jac = slope[:, None] * jac
    return value, jac, second


class _ActivationAndSlope(torch.autograd.Function):
    """φ(h) and φ'(h) together.

    A function of its own because autograd would keep every intermediate of φ'.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, activation: str) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(h)
        ctx.activation = activation
        return value_and_slope(h, activation)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (h,) = ctx.saved_tensors
        slope, bend = _slope_and_bend(h, ctx.activation)
        of_value, of_slope = grads
        gradient = torch.addcmul(of_value * slope, of_slope, bend)
        return gradient, None


def hidden_layers(n_inputs: int, width: int, depth: int) -> nn.ModuleList:
    """Linear layers ``n_inputs → width → … → width``, or an error where they cannot be.

    Raises
    ------
    ValueError
        If the width or the depth is less than 1.
    MemoryError
        If their weights would not fit into the memory.
    """
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be at least 1, found width={width}, depth={depth}")
    # Its square counts only where one hidden layer follows another.
    n_inner = (depth - 1) * width
    n_weights = width * (n_inputs + n_inner)
    n_bytes = 4 * n_weights
    check_memory(n_bytes, f"networks of width {brief(width)} and depth {brief(depth)}")
    sizes = [n_inputs] + [width] * depth
    pairs = zip(sizes[:-1], sizes[1:], strict=True)
    layers = [nn.Linear(n_before, n_after) for n_before, n_after in pairs]
    return nn.ModuleList(layers)


def _check_activation(activation: str) -> None:
    if activation not in SMOOTH_ACTIVATIONS:
        names = ", ".join(SMOOTH_ACTIVATIONS)
        raise ValueError(
            f"activation {brief(activation)} is not known to be smooth, as a network must be whose "
            f"derivatives are looked at; choose one of {names}"
        )


def _with_time(t: Tensor, x: Tensor, c: Tensor | None) -> Tensor:
    parts = [t[:, None], x]
    if c is not None:
        parts.append(c)
    return torch.cat(parts, 1)


def _inputs(t: Tensor, x: Tensor, c: Tensor | None) -> Tensor:
    parts = [*_phases(t), x]
    if c is not None:
        parts.append(c)
    return torch.cat(parts, 1)


def _phases(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Time ``(n, 1)``, and sines and cosines of two frequencies ``(n, 2)``."""
    t = t[:, None]
    both = torch.cat([t, 2 * t], 1)
    phase = both * math.pi
    return t, phase.sin(), phase.cos()


def _phase_rates(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of :func:`_phases`."""
    column, sin, cos = _phases(t)
    rates = [math.pi, 2 * math.pi]
    frequency = t.new_tensor(rates)
    return torch.ones_like(column), frequency * cos, -frequency * sin
