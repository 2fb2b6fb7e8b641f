"""The networks of a nonlinear model: small perceptrons that begin as nothing, one or identity."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dyninfer.learning.settings import brief


def perceptron(n_inputs: int, n_outputs: int, width: int, depth: int) -> nn.Sequential:
    """SiLU network whose last layer begins at 0."""
    hidden = [width] * depth
    sizes = [n_inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers.append(nn.Linear(before, after))
        layers.append(nn.SiLU())
    # A network that begins as nothing leaves the closed forms as they are.
    last = nn.Linear(sizes[-1], n_outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class StateDrift(nn.Module):
    """Drift of the state alone, ``(n,), (n, d) -> (n, d)``, per ``unit`` of time; at first 0."""

    def __init__(self, n_states: int, width: int, depth: int, unit: float):
        super().__init__()
        self.unit = unit
        self.network = perceptron(n_states, n_states, width, depth)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """``f(x)``."""
        return self.network(x) / self.unit


class CoordinateAmplitude(nn.Module):
    """Positive amplitude of every coordinate's noise, a function of that coordinate; at first 1.

    ``(n,), (n, d) -> (n, d)``.
    """

    def __init__(self, n_states: int, width: int):
        super().__init__()
        slope = torch.randn(n_states, width)
        shift = torch.randn(n_states, width)
        # Heights of 0 make an amplitude of 1, and slopes and shifts that differ let them learn.
        height = torch.zeros(n_states, width)
        self.slope = nn.Parameter(slope)
        self.shift = nn.Parameter(shift)
        self.height = nn.Parameter(height)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """``exp Σ_k h_k tanh(a_k x_i + b_k)``."""
        scaled = x.unsqueeze(-1) * self.slope
        units = torch.tanh(scaled + self.shift)
        terms = units * self.height
        # An exponential is positive, and its logarithm learns relative changes.
        return terms.sum(-1).exp()


class ResidualControl(nn.Module):
    """``u(t, x, y, context)``, ``(n,), (n, d), (n, d, K), (n, c) -> (n, d)``; at first 0.

    Parameters
    ----------
    n_states, n_memory, n_context : int
        ``d``, ``K`` and ``c``.
    width, depth : int
    horizon : float
        What times are given in.
    unit : float
        Unit of time of the control.
    """

    def __init__(
        self,
        n_states: int,
        n_memory: int,
        n_context: int,
        *,
        width: int,
        depth: int,
        horizon: float,
        unit: float,
    ):
        super().__init__()
        self.horizon = horizon
        self.unit = unit
        # Time, then every coordinate and its memory, then the context.
        n_numbers = n_states * (1 + n_memory)
        n_inputs = 1 + n_numbers + n_context
        self.network = perceptron(n_inputs, n_states, width, depth)

    def forward(self, t: Tensor, x: Tensor, y: Tensor, context: Tensor) -> Tensor:
        """``u``, per root of ``unit``; times count from the first of the data."""
        share = t / self.horizon
        time = share.unsqueeze(-1)
        memory = y.flatten(1)
        inputs = torch.cat([time, x, memory, context], dim=1)
        u = self.network(inputs)
        root = self.unit**0.5
        return u / root


class Decoder(nn.Module):
    """Means of the observations: a linear map, and perhaps a network that begins at 0.

    ``(n, d), (n, content_dim) or None -> (n, F)``. Where ``visibility (F, d)`` is given, the map is
    0 elsewhere, and there is no network.
    """

    visibility: Tensor | None

    def __init__(
        self, line: nn.Linear, bend: nn.Module | None = None, visibility: Tensor | None = None
    ):
        super().__init__()
        self.line = line
        self.bend = bend
        # Made of the settings, so no file holds it.
        self.register_buffer("visibility", visibility, persistent=False)

    @torch.no_grad()
    def begin(self, axes: Tensor, centre: Tensor) -> None:
        """Start at ``centre + axes x``, whatever the content."""
        n_states = axes.shape[1]
        weight = self.line.weight
        weight.zero_()
        weight[:, :n_states] = axes.to(weight)
        self.line.bias.copy_(centre)

    def forward(self, x: Tensor, content: Tensor | None) -> Tensor:
        """Standardised means."""
        inputs = with_content(x, content)
        if self.visibility is not None:
            return linear(inputs, self.line.weight * self.visibility, self.line.bias)
        if self.bend is None:
            return self.line(inputs)
        return self.line(inputs) + self.bend(inputs)


def with_content(x: Tensor, content: Tensor | None) -> Tensor:
    """State and content of the path side by side, ``(n, d + content_dim)``."""
    if content is None:
        return x
    return torch.cat([x, content], dim=1)


def call(module: Any, *arguments: Tensor | None) -> Any:
    """Call a module in the precision of its parameters; what comes back is float64."""
    dtype = torch.float64
    if isinstance(module, nn.Module):
        for parameter in module.parameters():
            dtype = parameter.dtype
            break
    inputs = [_in_precision(argument, dtype) for argument in arguments]
    output = module(*inputs)
    if not isinstance(output, tuple):
        return _as_double(output)
    # An Encoding, whose fields are its arguments.
    kind: Any = type(output)
    return kind(*(_as_double(part) for part in output))


def shaped(name: str, output: Any, shape: Sequence[int]) -> Tensor:
    """What the user's module ``name`` returned.

    Raises
    ------
    ValueError
        If it has another shape than what is needed: broadcasting would make numbers of it that
        nobody meant.
    """
    right_shape = tuple(shape)
    text = brief(output)
    if isinstance(output, Tensor):
        if output.shape == right_shape:
            return output
        text = f"shape {tuple(output.shape)}"
    raise ValueError(f"{name} must return a tensor of shape {right_shape} here, found {text}")


def _as_double(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.double()
    # What is no tensor is refused by its shape.
    return output


def _in_precision(x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if x is None or not x.is_floating_point():
        return x
    return x.to(dtype)


def part_of(part: Any, build: Callable[[], nn.Module]) -> Any:
    """A network of ours, a copy of the user's module, or nothing."""
    if part is None:
        return None
    if not callable(part):
        return build()
    if isinstance(part, nn.Module):
        # Trained as a copy, so that a second fit begins where the first did.
        return copy.deepcopy(part)
    return part
