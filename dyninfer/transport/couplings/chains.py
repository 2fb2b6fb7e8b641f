"""Chains: one sample of every snapshot, coupled from each to the next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from dyninfer.learning.random import numpy_stream
from dyninfer.transport.couplings.draws import spread
from dyninfer.transport.couplings.plan import Plan


class Chains(NamedTuple):
    """Chains through ``K`` samples.

    Weighted by ``exp(log_weights[:, k])``, the rows in column ``k`` reproduce sample ``k``.
    """

    rows: ndarray  # (n, K)
    log_weights: ndarray  # (n, K); zero where no plan changes mass


def sample_weighted_chains(plans: list[Plan], sizes: list[int], n: int, seed: int) -> Chains:
    """Draw chains by the Markov composition of plans.

    The first row is drawn by its weight in the first sample, every other given the one before, by
    what the pairs carry of it; the weight changes along a pair as the plan says. Weights multiply,
    so that over many intervals of strong growth few chains carry most of the mass: their effective
    number is ``1 / Σ w²`` of the normalised weights.

    Parameters
    ----------
    plans : list of K − 1 plans
    sizes : list of K ints
        Numbers of samples.
    n : int
        Number of chains.
    seed : int

    Raises
    ------
    ValueError
        If mass is created in place, where no chain from the first sample leads, or a plan does not
        go on where another ends.
    """
    for k, plan in enumerate(plans):
        _check_nothing_created(plan, k)
    rng = numpy_stream(seed, "chains")
    first = plans[0]
    carried = first.mass * np.exp(first.log_source)
    pairs = spread(carried, n, rng)
    rows = first.source[pairs]
    log_weight = np.zeros(n)
    columns = [rows]
    log_weights = [log_weight]
    for k, plan in enumerate(plans):
        pairs = _next_pairs(plan, rows, sizes[k], k, rng)
        rows = plan.target[pairs]
        gain = plan.log_target - plan.log_source
        log_weight = log_weight + gain[pairs]
        columns.append(rows)
        log_weights.append(log_weight)
    return Chains(
        rows=np.stack(columns, 1),
        log_weights=np.stack(log_weights, 1),
    )


def sample_chains(plans: list[Plan], sizes: list[int], n: int, seed: int) -> ndarray:
    """Chains of rows ``(n, K)`` through ``K`` samples, drawn by the Markov composition of plans.

    Every column has the weights of its sample only where all plans conserve mass; see
    :func:`sample_weighted_chains`.
    """
    return sample_weighted_chains(plans, sizes, n, seed).rows


def _check_nothing_created(plan: Plan, k: int) -> None:
    gain = np.exp(plan.log_target)
    carried = plan.mass * gain
    created = carried[plan.created]
    share = float(created.sum())
    # Less is what rounding leaves of mass that is carried.
    if share > 1e-6:
        raise ValueError(
            f"{share:.1%} of the mass of sample {k + 1} is created in place, where no chain leads; "
            "use a coupling that conserves mass, or allow longer distances"
        )


def _next_pairs(plan: Plan, rows: ndarray, size: int, k: int, rng: Generator) -> ndarray:
    """Draw a pair that starts from each of the rows: indices into the plan."""
    order = np.argsort(plan.source, kind="stable")
    gain = np.exp(plan.log_source)
    carried = plan.mass * gain
    mass = carried[order]
    source = plan.source[order]
    row_mass = np.bincount(source, weights=mass, minlength=size)
    has_ended = row_mass[rows] == 0
    ended = float(has_ended.mean())
    # Fewer are samples too light to be drawn, which leave their share to the rest.
    if ended > 0.01:
        raise ValueError(
            f"{ended:.1%} of the chains end at sample {k}, whose plan does not go on from there; "
            "use a coupling that pairs every sample"
        )
    # Pairs sorted by row share one cumulative sum, in which every row owns a stretch.
    edges = np.append(0.0, np.cumsum(row_mass))
    cumulative = np.cumsum(mass)
    part = rng.random(len(rows))
    offset = part * row_mass[rows]
    level = edges[rows] + offset
    index = np.searchsorted(cumulative, level, side="right")
    # Rounding may lift the last level beyond the sum.
    last = len(mass) - 1
    index = index.clip(0, last)
    return order[index]
