"""What no model at all would predict for a time that was left out, from the times around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.data.arrays import as_names
from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.settings import brief
from dyninfer.transport.couplings import Coupling, GrowthFirstCoupling, OTCoupling


class Population(NamedTuple):
    """A weighted sample of states."""

    states: ndarray  # (n, feature)
    weights: ndarray  # (n,) summing to one


def still(data: Snapshots, k: int, seed: int) -> Population:
    """Cells of the time before the ``k``-th, unmoved."""
    before = data.times[k - 1]
    states = data.at(before)
    weights = data.weights_at(before)
    return Population(states, weights)


def following(data: Snapshots, k: int, seed: int) -> Population | None:
    """Cells of the time after the ``k``-th; None where there is none."""
    if k == data.n_times - 1:
        return None
    after = data.times[k + 1]
    states = data.at(after)
    weights = data.weights_at(after)
    return Population(states, weights)


def interpolated(data: Snapshots, k: int, seed: int) -> Population | None:
    """Points on straight lines between cells paired by exact optimal transport.

    The plan of squared Euclidean cost pairs the cells of the time before the ``k``-th with those of
    the time after. None where there is no time after.
    """
    return _on_lines(OTCoupling(), data, k, seed)


def with_growth_first(data: Snapshots, k: int, seed: int) -> Population | None:
    """Points on straight lines between cells that were reweighted by growth, then paired.

    Their weights are those of the pairs at the time in question, on the way from those of the time
    before to those of the time after. None where there is no time after.
    """
    return _on_lines(GrowthFirstCoupling(), data, k, seed)


def _on_lines(coupling: Coupling, data: Snapshots, k: int, seed: int) -> Population | None:
    """Points at constant speed between paired cells; their weights change at a constant rate."""
    if k == data.n_times - 1:
        return None
    before, time, after = data.times[k - 1 : k + 2]
    start = data.at(before)
    end = data.at(after)
    start_weights = data.weights_at(before)
    end_weights = data.weights_at(after)
    plan = coupling.plan(start, end, start_weights, end_weights, seed)
    # At constant speed, whatever the gaps.
    share = (time - before) / (after - before)
    rest = 1 - share
    sources = start[plan.source]
    targets = end[plan.target]
    states = rest * sources + share * targets
    log_weight = rest * plan.log_source + share * plan.log_target
    weights = plan.mass * np.exp(log_weight)
    weights /= weights.sum()
    return Population(states, weights)


Baseline = Callable[[Snapshots, int, int], Population | None]

# Each is called with the snapshots, the number of the time that is predicted, at least 1, and a
# seed. None of them looks at the cells of that time.
BASELINES: dict[str, Baseline] = {
    "still": still,
    "next": following,
    "ot": interpolated,
    "growth_first": with_growth_first,
}


def baseline_names(names: str | Iterable[str], others: Sequence[str] = ()) -> list[str]:
    """One name, or several, of :data:`BASELINES` or of ``others``, as a list."""
    chosen_names = as_names(names, "baselines")
    choices = (*BASELINES, *others)
    for name in chosen_names:
        if not isinstance(name, str) or name not in choices:
            raise ValueError(
                f"baseline {brief(name)} is not known; choose from {', '.join(choices)}"
            )
    return chosen_names


def predictions(
    names: Iterable[str], data: Snapshots, k: int, start: int, seed: int
) -> dict[str, Population | None]:
    """What baselines predict for the ``k``-th time, by name.

    Whatever stands still does so from the ``start``-th time on, as the model does that it is
    compared with.
    """
    predicted = {}
    for name in names:
        # The time before the one after the start: that of the start.
        number = start + 1 if name == "still" else k
        baseline = BASELINES[name]
        predicted[name] = baseline(data, number, seed)
    return predicted
