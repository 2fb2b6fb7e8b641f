"""What needs no model: how near two halves of one time are, and what optimal transport between the neighbours predicts."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from benchmarks.leave_one_out.problems import Problem

import dyninfer as di

FLOOR_CELLS = 2500  # a side, the size that published floors are compared at


class Prediction(NamedTuple):
    """Weighted points that stand for the population of a time, and its mass relative to the time before."""

    points: np.ndarray  # (n, d)
    weights: np.ndarray | None  # (n,)
    mass: float


class Interval(NamedTuple):
    """Kept times around the one to predict, and where it lies between them (0 to 1)."""

    problem: Problem
    before: int
    after: int
    fraction: float


def previous(gap: Interval, seed: int) -> Prediction:
    """Return the cells of the time before, unmoved."""
    return Prediction(gap.problem.data.samples[gap.before], None, 1.0)


def exact_ot(gap: Interval, seed: int) -> Prediction:
    """Interpolate the exact plan with squared cost at the fraction of the interval; all its pairs, weighted."""
    i, j, mass = exact_plan(gap.problem, gap.before, gap.after, "sqeuclidean")
    x, y = gap.problem.data.samples[gap.before][i], gap.problem.data.samples[gap.after][j]
    return Prediction((1 - gap.fraction) * x + gap.fraction * y, mass, steady_growth(gap))


def exact_ot_midpoint(gap: Interval, seed: int) -> Prediction:
    """Interpolate half way, as if times were equally spaced."""
    return exact_ot(gap._replace(fraction=0.5), seed)


def growth_first_midpoint(gap: Interval, seed: int) -> Prediction:
    """Interpolate half way between all cells, reweighted by growth before they are paired."""
    x, y = gap.problem.data.samples[gap.before], gap.problem.data.samples[gap.after]
    coupling = di.GrowthFirstCoupling(batch_size=max(len(x), len(y)))
    plan = coupling.plan(x, y, np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)), seed)
    weights = plan.mass * np.exp(0.5 * (plan.log_source + plan.log_target))
    points = 0.5 * (x[plan.source] + y[plan.target])
    mass = weights.sum() * steady_growth(gap._replace(fraction=0.5))
    return Prediction(points, weights / weights.sum(), mass)


def published_midpoint(gap: Interval, seed: int) -> Prediction:
    """Half way from every cell to its largest partner in the exact plan with Euclidean cost, as the papers compute it."""
    i, j, mass = exact_plan(gap.problem, gap.before, gap.after, "euclidean")
    order = np.lexsort((mass, i))
    last = np.append(np.flatnonzero(np.diff(i[order])), len(order) - 1)  # largest mass of every row
    pick = order[last]
    x, y = (
        gap.problem.data.samples[gap.before][i[pick]],
        gap.problem.data.samples[gap.after][j[pick]],
    )
    return Prediction(0.5 * (x + y), None, steady_growth(gap._replace(fraction=0.5)))


def independent_midpoint(gap: Interval, seed: int) -> Prediction:
    """Half way from every cell to a random cell of the time after."""
    x, y = gap.problem.data.samples[gap.before], gap.problem.data.samples[gap.after]
    partner = np.random.default_rng(seed).integers(len(y), size=len(x))
    return Prediction(0.5 * (x + y[partner]), None, steady_growth(gap._replace(fraction=0.5)))


FLOOR, FLOOR_AT = "floor, two halves", f"floor, {FLOOR_CELLS:,} a side"
PREDICTIONS: dict[str, Callable[[Interval, int], Prediction]] = {
    "previous time, unmoved": previous,
    "exact OT, true fraction": exact_ot,
    "exact OT, midpoint": exact_ot_midpoint,
    "growth first, midpoint": growth_first_midpoint,
    "midpoint of largest partners, Euclidean cost": published_midpoint,
    "independent midpoint": independent_midpoint,
}
BASELINES = [FLOOR, FLOOR_AT, *PREDICTIONS]


def score(
    problem: Problem, name: str, hidden: tuple[float, ...], time: float, seed: int
) -> dict[str, float | None]:
    """W1, and the mass where there is one, of a baseline at one time; empty where there are too few cells for it."""
    before, k, after = problem.around(hidden, time)
    if name in (FLOOR, FLOOR_AT):
        sample = problem.data.samples[k]
        n = FLOOR_CELLS if name == FLOOR_AT else len(sample) // 2
        if 2 * n > len(sample):
            return {}
        return {
            "w1": problem.unit
            * di.metrics.finite_sample_floor(sample, "w1", n=n, repeats=1, seed=seed)
        }
    t = problem.data.times
    gap = Interval(problem, before, after, float((t[k] - t[before]) / (t[after] - t[before])))
    points, weights, mass = PREDICTIONS[name](gap, seed)
    observed = problem.mass_ratio(before, k)
    return {
        "w1": problem.w1(points, k, weights),
        "mass": None if observed is None else mass,
        "mass_observed": observed,
    }


def steady_growth(gap: Interval) -> float:
    """Mass relative to the time before, if it grows at a constant rate to the time after."""
    return (gap.problem.mass_ratio(gap.before, gap.after) or 1.0) ** gap.fraction


@lru_cache(maxsize=1)
def exact_plan(
    problem: Problem, before: int, after: int, metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of the exact optimal plan between all cells of two times: rows, columns, mass."""
    import ot

    x, y = problem.data.samples[before], problem.data.samples[after]
    plan, log = ot.emd(
        np.full(len(x), 1 / len(x)),
        np.full(len(y), 1 / len(y)),
        ot.dist(x, y, metric=metric),
        numItermax=100_000_000,
        log=True,
    )
    if log["warning"] is not None:
        raise RuntimeError(f"the transport problem was not solved: {log['warning']}")
    i, j = np.nonzero(plan)
    return i, j, plan[i, j]
