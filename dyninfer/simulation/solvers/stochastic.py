"""What the rules with fixed steps for Itô equations share: their loop, and their noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.noise import PathNoise
from dyninfer.simulation.solvers.task import LogWeights, Outputs, Solution, Task

State = tuple[Tensor, LogWeights]
Step = Callable[..., State]


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


def integrate_scheme(task: Task, x: Tensor, w: LogWeights, scheme: Scheme) -> Solution:
    """Run the rule over output intervals; see :meth:`Solver.integrate`."""
    equation = task.equation
    # All times are on the device before the loop, in which nothing waits for it.
    nodes = task.nodes(scheme.c, like=x)
    lengths = task.grid.lengths.tolist()
    kicks = Kicks(task, scheme, x)
    outputs = Outputs(task)
    for interval in task.intervals:
        for k in task.grid.steps(interval):
            h = lengths[k]
            kick = kicks.at(k)
            x, w = scheme.step(equation, nodes[k], x, w, h, kick)
        outputs.enter(x, w)
    return outputs.solution()


class Kicks:
    """What noise adds in every step, worked out a segment of steps at a time.

    That is ``ΔW`` where the amplitude ``g`` depends on the state, and else ``g ΔW``, or what SRA1
    makes of it: then the amplitudes of all steps of a segment are evaluated in one call.
    """

    def __init__(self, task: Task, scheme: Scheme, x: Tensor):
        self.task = task
        self.scheme = scheme
        self.x = x
        self.grid = task.grid
        self.equation = task.equation
        width = scheme.normals * x.shape[1]
        n_steps = self.grid.n_steps
        self.noise = PathNoise(task.seed, n_steps, width, like=x)
        self.current = -1
        self.segment: Any = None

    def at(self, k: int) -> Any:
        """Kick of step ``k``."""
        segment, offset = divmod(k, self.noise.segment_length)
        if segment != self.current:
            self.segment = self._segment(segment)
            self.current = segment
        return self.segment[offset]

    def _segment(self, segment: int) -> Any:
        n_steps = self.noise.segment_length
        first = segment * n_steps
        steps = slice(first, first + n_steps)
        starts = self.grid.starts[steps]
        lengths = self.grid.lengths[steps]
        roots = lengths.abs().sqrt()
        root = roots.to(self.x)
        root = root[:, None, None]
        if not self.equation.additive:
            return self._normals(segment, root)
        left = self._amplitudes(starts)
        if self.scheme.normals == 2:
            right = self._amplitudes(starts + lengths)
            return self._pairs(segment, root, left, right)
        # Scaling while drawing saves a pass over memory, but records no gradient.
        if left.requires_grad:
            return left * self._normals(segment, root)
        deviation = root * left
        return self._normals(segment, deviation)

    def _pairs(
        self, segment: int, root: Tensor, left: Tensor, right: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """``g(t+h) ΔW + (g(t) − g(t+h)) χ`` and ``3/2 g(t+h) χ`` with ``χ = I_(1,0) / h``."""
        normals = self._normals(segment, root)
        dw, dz = normals.chunk(2, dim=2)
        # Of variance h / 3 and covariance h / 2 with ΔW, as the iterated integral over h.
        independent = dz / 3**0.5
        chi = 0.5 * (dw + independent)
        fall = left - right
        total = right * dw + fall * chi
        inner = 1.5 * right * chi
        return list(zip(total, inner, strict=True))

    def _normals(self, segment: int, scale: Tensor) -> Tensor:
        return self.noise.segment(self.task.rows, segment, scale)

    def _amplitudes(self, times: Tensor) -> Tensor:
        """Amplitude at many times at once, ready to multiply ``(step, n, d)``."""
        # The amplitude does not depend on the state, so any state does.
        first = self.x[:1].detach()
        x = first.expand(len(times), -1)
        own_times = self.equation.time(times, x)
        g = self.equation.amplitude(own_times, x)
        if g.ndim < 2:
            return g
        return g[:, None]


def add_noise(equation: Equation, t: Tensor, x: Tensor, kick: Tensor, drifted: Tensor) -> Tensor:
    """Add the noise to a state to which the drift has been added, in place where it can.

    The kick is ``ΔW``, which takes the amplitude at ``x``; or ``g ΔW`` where noise is additive.
    """
    if equation.additive:
        return drifted.add_(kick)
    amplitude = equation.amplitude(t, x)
    return torch.addcmul(drifted, amplitude, kick)


def add_growth(w: LogWeights, h: float, r: Tensor | None) -> LogWeights:
    """Add ``h r`` to the log-weight, where there is one."""
    if w is None or r is None:
        return w
    return w.add(r, alpha=h)
