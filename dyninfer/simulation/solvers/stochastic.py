"""What the rules with fixed steps for Itô equations share: their loop, and their noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.noise import PathNoise
from dyninfer.simulation.solvers.task import Task, stacked

State = tuple[Tensor, Tensor | None]
Step = Callable[..., State]
Kicks = Tensor | list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Scheme:
    """A rule for one step.

    Attributes
    ----------
    c : tuple of float
        Nodes at which the drift is evaluated, as fractions of a step.
    normals : int
        Standard normals that a step takes per coordinate.
    step : callable, ``(equation, nodes, x, w, h, kick) -> (x, w)``
        The rule.
    """

    c: tuple[float, ...]
    normals: int
    step: Step


def integrate_scheme(
    task: Task, x: Tensor, w: Tensor | None, rows: range, intervals: range, scheme: Scheme
) -> tuple[Tensor, Tensor | None]:
    """Run the rule over output intervals; see :meth:`Solver.integrate`."""
    grid, equation = task.grid, task.equation
    noise = PathNoise(task.seed, grid.n_steps, scheme.normals * x.shape[1], like=x)
    nodes = grid.nodes(scheme.c, like=x)
    lengths = grid.lengths.tolist()
    kicks: Kicks = []
    states: list[Tensor] = []
    weights: list[Tensor | None] = []
    current = -1
    for interval in intervals:
        for k in grid.steps(interval):
            segment, offset = divmod(k, noise.segment_length)
            if segment != current:
                kicks = _kicks(task, noise, rows, segment, scheme, x)
                current = segment
            x, w = scheme.step(equation, nodes[k], x, w, lengths[k], kicks[offset])
        states.append(x)
        weights.append(w)
        if task.tick:
            task.tick()
    return torch.stack(states, dim=1), stacked(weights)


def _kicks(
    task: Task, noise: PathNoise, rows: range, segment: int, scheme: Scheme, x: Tensor
) -> Kicks:
    """What noise adds in every step of a segment.

    That is ``g ΔW`` where ``g`` does not depend on the state, else ``ΔW``.
    """
    first = segment * noise.segment_length
    steps = slice(first, first + noise.segment_length)
    starts, lengths = task.grid.starts[steps], task.grid.lengths[steps]
    root = lengths.abs().sqrt().to(x)[:, None, None]
    if not task.equation.additive:
        return noise.segment(rows, segment, root)
    left = _amplitudes(task.equation, starts, x)
    if scheme.normals == 1:
        # Scaling while drawing saves a pass, but records no gradient.
        if left.requires_grad:
            return left * noise.segment(rows, segment, root)
        return noise.segment(rows, segment, root * left)
    right = _amplitudes(task.equation, starts + lengths, x)
    dw, dz = noise.segment(rows, segment, root).chunk(2, dim=2)
    chi = 0.5 * (dw + dz / 3**0.5)
    total = right * dw + (left - right) * chi
    inner = 1.5 * right * chi
    return list(zip(total, inner, strict=True))


def _amplitudes(equation: Equation, times: Tensor, x: Tensor) -> Tensor:
    """Amplitude at many times at once, ready to multiply ``(step, n, d)``."""
    g = equation.amplitude(times.to(x), x[:1].detach().expand(len(times), -1))
    return g[:, None] if g.ndim == 2 else g


def add_noise(equation: Equation, t: Tensor, x: Tensor, kick: Tensor, moved: Tensor) -> Tensor:
    """Add the noise to a state that the drift has moved already.

    The kick is ``ΔW``, which takes the amplitude at ``x``; or ``g ΔW`` where noise is additive.
    """
    if equation.additive:
        return moved.add_(kick)
    return torch.addcmul(moved, equation.amplitude(t, x), kick)


def add_growth(w: Tensor | None, *parts: tuple[float, Tensor | None]) -> Tensor | None:
    """Add ``h r`` of every part to the log-weight, where there is one."""
    for h, r in parts:
        if w is not None and r is not None:
            w = w.add(r, alpha=h)
    return w
