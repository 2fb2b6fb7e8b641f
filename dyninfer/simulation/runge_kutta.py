"""Explicit Runge-Kutta rules with fixed steps for flows without noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.simulation.equation import Rates
from dyninfer.simulation.task import Task, stacked


@dataclass(frozen=True)
class Tableau:
    """Butcher's tableau of an explicit rule: nodes ``c``, stage coefficients ``a`` (row ``i`` gives stage ``i + 1``),
    weights ``b``.
    """

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]


EULER = Tableau(c=(0.0,), a=(), b=(1.0,))
HEUN = Tableau(c=(0.0, 1.0), a=((1.0,),), b=(1 / 2, 1 / 2))
RK4 = Tableau(
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    a=((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)


def combine(x: Tensor, h: float, coefficients: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """Return ``x + h Σ coefficients_j slopes_j``, in place after the first term."""
    out = None
    for coefficient, slope in zip(coefficients, slopes, strict=True):
        if coefficient:
            out = (
                x.add(slope, alpha=h * coefficient)
                if out is None
                else out.add_(slope, alpha=h * coefficient)
            )
    return x if out is None else out


def runge_kutta_step(
    rates: Rates, nodes: tuple[Tensor, ...], x: Tensor, w: Tensor | None, h: float, tableau: Tableau
) -> tuple[Tensor, Tensor | None]:
    """One step of length ``h`` for the state ``(n, d)`` and, with the same weights, the log-weight ``(n,)``."""
    slopes: list[Tensor] = []
    growths: list[Tensor] = []
    for t, a in zip(nodes, ((), *tableau.a), strict=True):
        f, r = rates(t, combine(x, h, a, slopes))
        slopes.append(f)
        if w is not None and r is not None:
            growths.append(r)
    return combine(x, h, tableau.b, slopes), None if w is None else combine(
        w, h, tableau.b, growths
    )


def integrate(
    task: Task, x: Tensor, w: Tensor | None, rows: range, intervals: range, *, tableau: Tableau
) -> tuple[Tensor, Tensor | None]:
    """Run the rule over output intervals.

    Parameters
    ----------
    task : Task
    x, w : Tensor
        States ``(n, d)`` and log-weights ``(n,)`` or None at the start of the first interval.
    rows, intervals : range
        Numbers of the paths, and of the output intervals to cross.
    tableau : Tableau

    Returns
    -------
    Tensor, ``(n, interval, d)``
        States at the end of every interval.
    Tensor, ``(n, interval)``, or None
        Log-weights there.
    """
    nodes, lengths = task.grid.nodes(tableau.c, like=x), task.grid.lengths.tolist()
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
