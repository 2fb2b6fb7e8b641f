"""Itô equations with fixed steps: Euler-Maruyama, Heun's drift rule, and Rößler's SRA1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.noise import PathNoise
from dyninfer.simulation.task import Task, stacked

State = tuple[Tensor, Tensor | None]
Step = Callable[..., State]
Kicks = Tensor | list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Scheme:
    """A rule for one step: its nodes ``c``, how many normals it takes per coordinate, and the rule."""

    c: tuple[float, ...]
    normals: int
    step: Step


def euler_maruyama_step(
    equation: Equation,
    nodes: tuple[Tensor, ...],
    x: Tensor,
    w: Tensor | None,
    h: float,
    kick: Tensor,
) -> State:
    """``x + f h + g ΔW``: strong order 1/2, and 1 for additive noise; the weight takes the left point."""
    f, r = equation.rates(nodes[0], x)
    return _kicked(equation, nodes[0], x, kick, x.add(f, alpha=h)), _grown(w, (h, r))


def heun_step(
    equation: Equation,
    nodes: tuple[Tensor, ...],
    x: Tensor,
    w: Tensor | None,
    h: float,
    kick: Tensor,
) -> State:
    """Heun's rule for the drift with Itô noise ``g(t, x) ΔW`` at the left point; the weight takes the trapezoid."""
    f0, r0 = equation.rates(nodes[0], x)
    middle = _kicked(equation, nodes[0], x, kick, x.add(f0, alpha=h / 2))
    f1, r1 = equation.rates(nodes[1], middle.add(f0, alpha=h / 2))
    return middle.add_(f1, alpha=h / 2), _grown(w, (h / 2, r0), (h / 2, r1))


def sra1_step(
    equation: Equation,
    nodes: tuple[Tensor, ...],
    x: Tensor,
    w: Tensor | None,
    h: float,
    kick: Tensor,
) -> State:
    """SRA1 for additive noise, strong order 1.5 (Rößler, SIAM J. Numer. Anal. 48:922, 2010, Table 6.3).

    ``kick`` holds ``g(t+h) ΔW + (g(t) − g(t+h)) χ`` and ``3/2 g(t+h) χ``, where ``χ = I_(1,0) / h``.
    """
    total, inner = kick
    f0, r0 = equation.rates(nodes[0], x)
    f1, r1 = equation.rates(nodes[1], x.add(f0, alpha=3 / 4 * h).add_(inner))
    x = x.add(f0, alpha=h / 3).add_(f1, alpha=2 / 3 * h).add_(total)
    return x, _grown(w, (h / 3, r0), (2 / 3 * h, r1))


EULER_MARUYAMA = Scheme(c=(0.0,), normals=1, step=euler_maruyama_step)
HEUN = Scheme(c=(0.0, 1.0), normals=1, step=heun_step)
SRA1 = Scheme(c=(0.0, 3 / 4), normals=2, step=sra1_step)


def integrate(
    task: Task, x: Tensor, w: Tensor | None, rows: range, intervals: range, *, scheme: Scheme
) -> tuple[Tensor, Tensor | None]:
    """Run the scheme over output intervals.

    Parameters
    ----------
    task : Task
    x, w : Tensor
        States ``(n, d)`` and log-weights ``(n,)`` or None at the start of the first interval.
    rows, intervals : range
        Numbers of the paths, which fix their noise, and of the output intervals to cross.
    scheme : Scheme

    Returns
    -------
    Tensor, ``(n, interval, d)``
        States at the end of every interval.
    Tensor, ``(n, interval)``, or None
        Log-weights there.
    """
    grid, equation = task.grid, task.equation
    noise = PathNoise(task.seed, grid.n_steps, scheme.normals * x.shape[1], like=x)
    nodes, lengths = grid.nodes(scheme.c, like=x), grid.lengths.tolist()
    kicks: Kicks = []
    states: list[Tensor] = []
    weights: list[Tensor | None] = []
    held = -1
    for interval in intervals:
        for k in grid.steps(interval):
            segment, offset = divmod(k, noise.segment_length)
            if segment != held:
                kicks, held = _kicks(task, noise, rows, segment, scheme, x), segment
            x, w = scheme.step(equation, nodes[k], x, w, lengths[k], kicks[offset])
        states.append(x)
        weights.append(w)
        if task.tick:
            task.tick()
    return torch.stack(states, dim=1), stacked(weights)


def _kicks(
    task: Task, noise: PathNoise, rows: range, segment: int, scheme: Scheme, x: Tensor
) -> Kicks:
    """What noise adds in every step of a segment: ``g ΔW`` where ``g`` does not depend on the state, else ``ΔW``."""
    first = segment * noise.segment_length
    lengths = task.grid.lengths[first : first + noise.segment_length]
    starts = task.grid.starts[first : first + noise.segment_length]
    root = lengths.abs().sqrt().to(x)[:, None, None]
    if not task.equation.additive:
        return noise.segment(rows, segment, root)
    left = _table(task.equation, starts, x)
    if scheme.normals == 1:
        if left.requires_grad:
            return left * noise.segment(rows, segment, root)
        return noise.segment(rows, segment, root * left)
    right = _table(task.equation, starts + lengths, x)
    dw, dz = noise.segment(rows, segment, root).chunk(2, dim=2)
    chi = 0.5 * (dw + dz / 3**0.5)
    return list(zip(right * dw + (left - right) * chi, 1.5 * right * chi, strict=True))


def _table(equation: Equation, times: Tensor, x: Tensor) -> Tensor:
    """Amplitude at many times at once, ready to multiply ``(step, n, d)``."""
    g = equation.amplitude(times.to(x), x[:1].detach().expand(len(times), -1))
    return g[:, None] if g.ndim == 2 else g


def _kicked(equation: Equation, t: Tensor, x: Tensor, kick: Tensor, moved: Tensor) -> Tensor:
    """Add the noise to a state that has moved already: ``g(t, x) ΔW``, or the kick itself where noise is additive."""
    return (
        moved.add_(kick)
        if equation.additive
        else torch.addcmul(moved, equation.amplitude(t, x), kick)
    )


def _grown(w: Tensor | None, *parts: tuple[float, Tensor | None]) -> Tensor | None:
    for h, r in parts:
        if w is not None and r is not None:
            w = w.add(r, alpha=h)
    return w
