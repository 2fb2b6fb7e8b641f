"""What one step costs: of a fit, and of a solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from device.pretend import Counts

from dyninfer.learning.training.history import History
from dyninfer.transport.objectives.dual import DualObjective

# Steps of a fit that are looked at, counted from 0. Before them networks and optimisers fill what
# they keep, and a curve begins to move; after them the fit writes its history.
FIRST, LAST = 5, 10
SOLVER_STEPS = 20


def steps_of_fit(counts: Counts, fit: Callable[[], Any]) -> list[Counts]:
    """What every step of a fit costs, from the end of one to the end of the next."""
    moments: list[Counts] = []
    real = History.add

    def add(history: History, terms: Any) -> None:
        real(history, terms)
        moments.append(Counts(counts))

    short = {"warm_steps": 2, "alone": FIRST - 2}
    with mock.patch.object(History, "add", add), mock.patch.multiple(DualObjective, **short):
        fit()
    # Several runs may follow one another; the first has the steps that are looked at.
    looked_at = moments[FIRST : LAST + 1]
    pairs = zip(looked_at[:-1], looked_at[1:], strict=True)
    return [after.since(before) for before, after in pairs]


def whole(counts: Counts, work: Callable[[], Any]) -> Counts:
    """What a call costs from its beginning to its end."""
    before = Counts(counts)
    work()
    return counts.since(before)


def step_of_solver(counts: Counts, solve: Callable[[int], Any]) -> Counts:
    """What further steps cost: a run of twice as many against a run, so that no start counts."""
    short = whole(counts, lambda: solve(SOLVER_STEPS))
    long = whole(counts, lambda: solve(2 * SOLVER_STEPS))
    return long.since(short)
