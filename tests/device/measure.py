"""What one step costs: of a fit, and of a solver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

from device.pretend import Counts, pretend_gpu

from dyninfer.learning.training.history import History
from dyninfer.transport.objectives.dual import DualObjective

# Steps of a fit that are looked at, counted from 0. Before them networks and optimisers fill what
# they keep, and a curve begins to move; where there is noise, it moves in every fourth step.
FIRST, LAST = 2, 6
SOLVER_STEPS = 20


def steps_of_fit(counts: Counts, fit: Callable[[], Any]) -> list[Counts]:
    """What every step of a fit costs, from the end of one to the end of the next."""
    moments: list[Counts] = []
    real = History.add

    def add(history: History, terms: Any) -> None:
        real(history, terms)
        moments.append(Counts(counts))

    short = {"warm_steps": 2, "alone": 1}
    with mock.patch.object(History, "add", add), mock.patch.multiple(DualObjective, **short):
        fit()
    # Several runs may follow one another; the first has the steps that are looked at.
    looked_at = moments[FIRST : LAST + 1]
    pairs = zip(looked_at[:-1], looked_at[1:], strict=True)
    return [after.since(before) for before, after in pairs]


def fit_steps(make_model: Callable[[], Any], make_data: Callable[[], Any]) -> list[Counts]:
    """The same of a model that is made and fitted on a pretended GPU, with data of the CPU."""
    data = make_data()
    with pretend_gpu() as counts:
        model = make_model()
        return steps_of_fit(counts, lambda: model.fit(data, max_steps=LAST + 1, progress=False))


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
