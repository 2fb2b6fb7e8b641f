"""What the explicit Runge-Kutta rules with fixed steps share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.simulation.equation import Rates
from dyninfer.simulation.solvers.task import Task, stacked


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

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]


def combine(x: Tensor, h: float, coefficients: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """Return ``x + h Σ coefficients_j slopes_j``."""
    total = None
    for coefficient, slope in zip(coefficients, slopes, strict=True):
        if coefficient == 0:
            continue
        # Only the first term makes a new tensor; x itself must stay.
        if total is None:
            total = x.add(slope, alpha=h * coefficient)
        else:
            total.add_(slope, alpha=h * coefficient)
    return x if total is None else total


def runge_kutta_step(
    rates: Rates, nodes: tuple[Tensor, ...], x: Tensor, w: Tensor | None, h: float, tableau: Tableau
) -> tuple[Tensor, Tensor | None]:
    """One step of length ``h`` for the state ``(n, d)`` and, with the same weights, the log-weight.

    The log-weight is ``(n,)``.
    """
    slopes: list[Tensor] = []
    growths: list[Tensor] = []
    for t, a in zip(nodes, ((), *tableau.a), strict=True):
        f, r = rates(t, combine(x, h, a, slopes))
        slopes.append(f)
        if w is not None and r is not None:
            growths.append(r)
    x = combine(x, h, tableau.b, slopes)
    return x, None if w is None else combine(w, h, tableau.b, growths)


def integrate_tableau(
    task: Task, x: Tensor, w: Tensor | None, intervals: range, tableau: Tableau
) -> tuple[Tensor, Tensor | None]:
    """Run the rule over output intervals; see :meth:`Solver.integrate`."""
    nodes = task.grid.nodes(tableau.c, like=x)
    lengths = task.grid.lengths.tolist()
    states: list[Tensor] = []
    weights: list[Tensor | None] = []
    for interval in intervals:
        for k in task.grid.steps(interval):
            x, w = runge_kutta_step(task.equation.rates, nodes[k], x, w, lengths[k], tableau)
        states.append(x)
        weights.append(w)
        if task.tick:
            task.tick()
    return torch.stack(states, dim=1), stacked(weights)
