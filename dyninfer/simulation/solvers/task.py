"""What a solver is given: an equation, a piece of the run, and its noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.grid import Grid
from dyninfer.simulation.scale import Scale

# Log-weights (n,), or None where mass is conserved.
LogWeights = Tensor | None
# States (n, interval, d) and log-weights (n, interval) at the ends of intervals.
Solution = tuple[Tensor, LogWeights]
# Times at which a step evaluates the process, scalars on its device.
Nodes = tuple[Tensor, ...]


@dataclass(frozen=True)
class Task:
    """An equation, and the paths and intervals over which it is to be solved.

    Attributes
    ----------
    equation : Equation
    grid : Grid
        Output times and fixed steps of the whole run.
    seed : int
        Seed of the noise.
    rows : range
        Numbers of the paths, which fix their noise.
    intervals : range
        Numbers of the output intervals to cross.
    scale : Scale
        Size of the states, for tolerances.
    tick : callable, optional
        Called at every output time; moves the progress bar.
    """

    equation: Equation
    grid: Grid
    seed: int
    rows: range
    intervals: range
    scale: Scale
    tick: Callable[[], object] | None = None

    @property
    def reached(self) -> Tensor:
        """Start and ends of the intervals ``(interval + 1,)`` float64, on the CPU."""
        # Of the last interval, the start and the end.
        numbers = slice(self.intervals.start, self.intervals.stop + 1)
        return self.grid.times[numbers]

    def times(self, like: Tensor) -> Tensor:
        """The same times where ``like`` is."""
        return self.reached.to(like.device)

    def nodes(self, c: Sequence[float], like: Tensor) -> list[Nodes]:
        """Scalar times ``start + c · length`` of every step, as the process takes them.

        One transfer a node for the whole run: inside the loop no time is copied to the device.
        """
        columns = []
        starts = self.grid.starts
        lengths = self.grid.lengths
        for fraction in c:
            times = starts + fraction * lengths
            own_times = self.equation.time(times, like)
            columns.append(own_times.unbind())
        return list(zip(*columns, strict=True))

    def steps(self) -> tuple[int, int]:
        """Number of the first step of the intervals, and of the one after the last."""
        first = self.grid.steps(self.intervals[0])
        last_interval = self.intervals[-1]
        last = self.grid.steps(last_interval)
        return first.start, last.stop

    def passed(self, n_outputs: int = 1) -> None:
        """Move the progress bar."""
        if self.tick is None:
            return
        for _ in range(n_outputs):
            self.tick()


class Outputs:
    """States and log-weights at the ends of intervals, as a solver reaches them."""

    def __init__(self, task: Task):
        self.task = task
        self.states: list[Tensor] = []
        self.log_weights: list[Tensor] = []

    def enter(self, x: Tensor, w: LogWeights) -> None:
        """Add the end of the next interval."""
        self.states.append(x)
        if w is not None:
            self.log_weights.append(w)
        self.task.passed()

    def solution(self) -> Solution:
        """All that was entered, side by side."""
        states = torch.stack(self.states, dim=1)
        if not self.log_weights:
            return states, None
        return states, torch.stack(self.log_weights, dim=1)
