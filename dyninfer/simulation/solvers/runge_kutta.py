"""What the explicit Runge-Kutta rules with fixed steps share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dyninfer.simulation.equation import Rates
from dyninfer.simulation.solvers.task import LogWeights, Nodes, Outputs, Solution, Task

Coefficients = tuple[float, ...]


@dataclass(frozen=True)
class Tableau:
    """Butcher's tableau of an explicit rule.

    Attributes
    ----------
    c : tuple of float
        Nodes.
    a : tuple of tuples of float
        Stage coefficients; row ``i`` gives stage ``i + 1``.
    b : tuple of float
        Weights.
    """

    c: Coefficients
    a: tuple[Coefficients, ...]
    b: Coefficients


def integrate_tableau(task: Task, x: Tensor, w: LogWeights, tableau: Tableau) -> Solution:
    """Run the rule over output intervals; see :meth:`Solver.integrate`."""
    rates = task.equation.rates
    # All times are on the device before the loop, in which nothing waits for it.
    nodes = task.nodes(tableau.c, like=x)
    lengths = task.grid.lengths.tolist()
    outputs = Outputs(task)
    for interval in task.intervals:
        for k in task.grid.steps(interval):
            h = lengths[k]
            x, w = runge_kutta_step(rates, nodes[k], x, w, h, tableau)
        outputs.enter(x, w)
    return outputs.solution()


def runge_kutta_step(
    rates: Rates,
    nodes: Nodes,
    x: Tensor,
    w: LogWeights,
    h: float,
    tableau: Tableau,
) -> tuple[Tensor, LogWeights]:
    """One step of length ``h`` for the state ``(n, d)`` and, with the same weights, the log-weight.

    The log-weight is ``(n,)``.
    """
    slopes: list[Tensor] = []
    growths: list[Tensor] = []
    # The first stage is at the start, and has no coefficients.
    stages = ((), *tableau.a)
    for t, a in zip(nodes, stages, strict=True):
        stage = combine(x, h, a, slopes)
        f, r = rates(t, stage)
        slopes.append(f)
        if w is not None and r is not None:
            growths.append(r)
    x = combine(x, h, tableau.b, slopes)
    if w is not None:
        w = combine(w, h, tableau.b, growths)
    return x, w


def combine(x: Tensor, h: float, coefficients: Coefficients, slopes: list[Tensor]) -> Tensor:
    """Return ``x + h Σ coefficients_j slopes_j``."""
    total = None
    for coefficient, slope in zip(coefficients, slopes, strict=True):
        if coefficient == 0:
            continue
        step = h * coefficient
        # Only the first term makes a new tensor: the others are added in place, but x must stay.
        if total is None:
            total = x.add(slope, alpha=step)
        else:
            total.add_(slope, alpha=step)
    return x if total is None else total
