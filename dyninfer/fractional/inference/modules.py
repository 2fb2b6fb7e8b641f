"""The networks of a nonlinear model: small perceptrons that begin as nothing, one or identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def perceptron(n_inputs: int, n_outputs: int, width: int, depth: int) -> nn.Sequential:
    """SiLU network whose last layer begins at 0."""
    sizes = [n_inputs, *[width] * depth]
    layers: list[nn.Module] = []
    for a, b in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(a, b), nn.SiLU()]
    last = nn.Linear(sizes[-1], n_outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class StateDrift(nn.Module):
    """Drift of the state alone, ``(n,), (n, d) -> (n, d)``, per ``unit`` of time; at first 0."""

    def __init__(self, n_states: int, width: int, depth: int, unit: float):
        super().__init__()
        self.unit, self.network = unit, perceptron(n_states, n_states, width, depth)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """``f(x)``."""
        return self.network(x) / self.unit


class CoordinateAmplitude(nn.Module):
    """Positive amplitude of every coordinate's noise, a function of that coordinate: ``(n,), (n, d) -> (n, d)``; at first 1."""

    def __init__(self, n_states: int, width: int):
        super().__init__()
        self.slope = nn.Parameter(torch.randn(n_states, width))
        self.shift = nn.Parameter(torch.randn(n_states, width))
        self.height = nn.Parameter(torch.zeros(n_states, width))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """``exp Σ_k h_k tanh(a_k x_i + b_k)``."""
        return ((x.unsqueeze(-1) * self.slope + self.shift).tanh() * self.height).sum(-1).exp()


class ResidualControl(nn.Module):
    """``u(t, x, y, context)``, ``(n,), (n, d), (n, d, K), (n, c) -> (n, d)``; at first 0."""

    def __init__(
        self,
        n_states: int,
        n_memory: int,
        n_context: int,
        width: int,
        depth: int,
        horizon: float,
        unit: float,
    ):
        super().__init__()
        self.horizon, self.unit = horizon, unit
        self.network = perceptron(1 + n_states * (1 + n_memory) + n_context, n_states, width, depth)

    def forward(self, t: Tensor, x: Tensor, y: Tensor, context: Tensor) -> Tensor:
        """``u``, per root of ``unit``; times count from the first of the data."""
        time = (t / self.horizon).unsqueeze(-1)
        return self.network(torch.cat([time, x, y.flatten(1), context], dim=1)) * self.unit**-0.5


class Decoder(nn.Module):
    """Means of what is seen, ``(n, d), (n, content_dim) or None -> (n, F)``: a linear map, and a network that begins at 0."""

    def __init__(
        self, n_states: int, n_features: int, content_dim: int, width: int, depth: int, linear: bool
    ):
        super().__init__()
        self.line = nn.Linear(n_states + content_dim, n_features)
        self.bend = None if linear else perceptron(n_states + content_dim, n_features, width, depth)

    @torch.no_grad()
    def begin(self, axes: Tensor, centre: Tensor) -> None:
        """Start at ``centre + axes x``, whatever the content."""
        self.line.weight.zero_()
        self.line.weight[:, : axes.shape[1]] = axes.to(self.line.weight)
        self.line.bias.copy_(centre)

    def forward(self, x: Tensor, content: Tensor | None) -> Tensor:
        """Standardised means."""
        given = x if content is None else torch.cat([x, content], dim=1)
        return self.line(given) if self.bend is None else self.line(given) + self.bend(given)


def call(module: Any, *arguments: Tensor | None) -> Any:
    """Call a module in the precision of its parameters; what comes back is float64."""
    owned = next(module.parameters(), None) if isinstance(module, nn.Module) else None
    kind = torch.float64 if owned is None else owned.dtype
    given = [a.to(kind) if a is not None and a.is_floating_point() else a for a in arguments]
    found = module(*given)
    if isinstance(found, tuple):
        kind_of: Any = type(found)
        return kind_of(*(None if part is None else part.double() for part in found))
    return found.double() if isinstance(found, Tensor) else found


def shaped(name: str, found: Any, shape: Sequence[int]) -> Tensor:
    """What the user's module ``name`` returned.

    Raises
    ------
    ValueError
        If it has another shape than what is needed: it would be broadcast to numbers that nobody meant.
    """
    if not isinstance(found, Tensor) or tuple(found.shape) != tuple(shape):
        what = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)
        raise ValueError(f"{name} must return a tensor of shape {tuple(shape)} here, found {what}")
    return found
