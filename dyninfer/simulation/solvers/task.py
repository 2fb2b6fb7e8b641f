"""What a solver is given: an equation, where to stop, and which noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, stack

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.grid import Grid


@dataclass(frozen=True)
class Task:
    """An equation and the times at which it is to be solved.

    Attributes
    ----------
    equation : Equation
    grid : Grid
        Output times and fixed steps.
    seed : int
        Seed of the noise.
    tick : callable, optional
        Called at every output time; moves the progress bar.
    """

    equation: Equation
    grid: Grid
    seed: int = 0
    tick: Callable[[], object] | None = None


def stacked(values: list[Tensor | None]) -> Tensor | None:
    """Join values at successive outputs to ``(n, interval, ...)``; None where there are none."""
    present = [value for value in values if value is not None]
    return stack(present, dim=1) if present else None
