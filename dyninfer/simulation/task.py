"""What every integrator is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, stack

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.grid import Grid


@dataclass(frozen=True)
class Task:
    """An equation, where to stop, and how exact to be.

    Attributes
    ----------
    equation : Equation
    grid : Grid
        Output times and fixed steps.
    seed : int
        Seed of the noise.
    rtol, atol : float
        Tolerances of the adaptive solvers.
    tick : callable, optional
        Called at every output time; moves the progress bar.
    """

    equation: Equation
    grid: Grid
    seed: int = 0
    rtol: float = 1e-4
    atol: float = 1e-5
    tick: Callable[[], object] | None = None


def stacked(values: list[Tensor | None]) -> Tensor | None:
    """Put the values at successive outputs side by side ``(n, interval, …)``; None where there are none."""
    kept = [value for value in values if value is not None]
    return stack(kept, dim=1) if kept else None
