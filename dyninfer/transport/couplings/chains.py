"""Chains: one sample of every snapshot, coupled from each to the next."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dyninfer.transport.couplings.draws import spread
from dyninfer.transport.couplings.plan import Plan


class Chains(NamedTuple):
    """Chains through ``K`` samples.

    Weighted by ``exp(log_weights[:, k])``, the rows in column ``k`` reproduce sample ``k``.
    """

    rows: np.ndarray  # (n, K)
    log_weights: np.ndarray  # (n, K); zero where no plan changes mass


def sample_weighted_chains(plans: list[Plan], sizes: list[int], n: int, seed: int) -> Chains:
    """Draw chains by the Markov composition of plans.

    The first row is drawn by its weight in the first sample, every other given the one before, by what the pairs carry of it; the
    weight changes along a pair as the plan says. Weights multiply, so that over many intervals of strong growth few chains carry
    most of the mass: their effective number is ``1 / Σ w²`` of the normalised weights.

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
        If mass is created in place, where no chain from the first sample leads, or a plan does not go on where another ends.
    """
    for k, plan in enumerate(plans):
        share = float((plan.mass * np.exp(plan.log_target))[plan.created].sum())
        if share > 1e-6:
            raise ValueError(
                f"{share:.1%} of the mass of sample {k + 1} is created in place, where no chain leads; use a coupling "
                "that conserves mass, or allow longer distances"
            )
    rng = np.random.default_rng(seed)
    carried = [plan.mass * np.exp(plan.log_source) for plan in plans]
    rows = plans[0].source[spread(carried[0], n, rng)]
    chain, log_weights = [rows], [np.zeros(n)]
    for plan, mass, size in zip(plans, carried, sizes, strict=False):
        order = np.argsort(plan.source, kind="stable")
        mass = mass[order]
        total = np.bincount(plan.source[order], weights=mass, minlength=size)
        before = np.concatenate([[0.0], np.cumsum(total)])
        ended = float(np.mean(total[rows] == 0))
        if (
            ended > 0.01
        ):  # fewer are samples too light to be drawn, which leave their share to the rest
            raise ValueError(
                f"{ended:.1%} of the chains end at sample {len(chain) - 1}, whose plan does not go on from there; "
                "use a coupling that pairs every sample"
            )
        level = before[rows] + rng.random(n) * total[rows]
        pick = order[np.searchsorted(np.cumsum(mass), level, side="right").clip(0, len(mass) - 1)]
        rows = plan.target[pick]
        chain.append(rows)
        log_weights.append(log_weights[-1] + (plan.log_target - plan.log_source)[pick])
    return Chains(np.stack(chain, 1), np.stack(log_weights, 1))


def sample_chains(plans: list[Plan], sizes: list[int], n: int, seed: int) -> np.ndarray:
    """Chains of rows ``(n, K)`` through ``K`` samples, each step drawn from the plan's row of the one before.

    Every column has the weights of its sample only where all plans conserve mass; see :func:`sample_weighted_chains`.
    """
    return sample_weighted_chains(plans, sizes, n, seed).rows
