"""The exact transport problem of any scale, and a bound that tells whether it was solved."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np

EPSILON = float(np.finfo(np.float64).eps)
ITERATIONS = 100_000_000  # minutes; the largest problems that fit need fewer
# Costs that are this many times those of the plan leave it twelve digits. Beyond, they are cut off
# at a few times the dearest pair of the plan, and the plan is made again.
FAR = 1e4
CUT = 4.0
CUTS = 20
# A share of the smaller end of a pair, below which its flow is the rounding of the weights.
ROUNDING = 1e-11
# Largest share of the cost by which a plan may miss the best before it is announced.
GAP = 1e-6


class OptimalPlan(NamedTuple):
    """Pairs that exchange mass, and how well they are known to be the best."""

    rows: np.ndarray  # (pair,) of the first sample
    columns: np.ndarray  # (pair,) of the second sample
    mass: np.ndarray  # (pair,) summing to one
    cost: float
    lower: float  # bound on the cost of any plan, from the dual problem
    rounding: float  # by which the bound may be wrong

    @property
    def dual_gap(self) -> float:
        """By how much the cost may exceed the least one."""
        return max(self.cost - self.lower, 0.0)

    @property
    def is_optimal(self) -> bool:
        """Whether the cost is the least one, but for rounding."""
        tolerance = GAP * self.cost + self.rounding
        return self.dual_gap <= tolerance


def best_plan(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> OptimalPlan:
    """Plan of least cost, by the network simplex of POT.

    Costs that no good plan uses, such as those between groups far apart, would drown the others in
    their rounding. They are cut off at a few times the dearest pair of the plan so far. A plan that
    then uses none of them is the best of the whole problem: to cut off only lowers costs.

    Parameters
    ----------
    cost : array ``(n, m)``
        In any unit.
    a, b : arrays ``(n,)``, ``(m,)``
        Positive weights, each summing to one.
    """
    plan = _simplex(cost, cost, a, b)
    dearest = float(cost.max())
    for _ in range(CUTS):
        used = _dearest_pair(cost, plan)
        if used == 0 or dearest <= FAR * used:
            return plan
        cut = CUT * used
        bounded = np.minimum(cost, cut)
        better = _simplex(cost, bounded, a, b)
        if _dearest_pair(cost, better) >= cut:
            # It counts on a price that is not true; the bound tells whether the plan is good.
            return plan
        plan = better
        dearest = cut
    return plan


def _dearest_pair(cost: np.ndarray, plan: OptimalPlan) -> float:
    prices = cost[plan.rows, plan.columns]
    return float(prices.max())


def _simplex(cost: np.ndarray, bounded: np.ndarray, a: np.ndarray, b: np.ndarray) -> OptimalPlan:
    """Solve for bounded costs, in units around one; weights are whole numbers where they can be."""
    import ot

    unit = float(bounded.max()) or 1.0
    a, b = _whole_weights(a, b)
    with warnings.catch_warnings():
        # What it warns of is found out by the dual bound.
        warnings.simplefilter("ignore")
        scaled = bounded / unit
        dense, log = ot.emd(a, b, scaled, numItermax=ITERATIONS, log=True)
    rows, columns = np.nonzero(dense)
    mass = dense[rows, columns]
    row_mass = a[rows]
    column_mass = b[columns]
    smaller_end = np.minimum(row_mass, column_mass)
    is_flow = mass > ROUNDING * smaller_end
    rows = rows[is_flow]
    columns = columns[is_flow]
    total = a.sum()
    mass = mass[is_flow] / total
    pair_costs = cost[rows, columns]
    u = unit * log["u"]
    v = unit * log["v"]
    share_a = a / total
    share_b = b / total
    lower = _dual_bound(bounded, share_a, share_b, u, v)
    return OptimalPlan(
        rows=rows,
        columns=columns,
        mass=mass,
        cost=float(mass @ pair_costs),
        lower=lower,
        rounding=EPSILON * unit,
    )


def _whole_weights(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of both sides with one sum; of uniform samples whole numbers, which never round."""
    is_uniform = np.ptp(a) == 0 and np.ptp(b) == 0
    if not is_uniform:
        return a, b
    n = len(a)
    m = len(b)
    common = math.gcd(n, m)
    whole_a = np.full(n, m / common)
    whole_b = np.full(m, n / common)
    return whole_a, whole_b


def _dual_bound(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, u: np.ndarray, v: np.ndarray
) -> float:
    """Lower bound ``a·u + b·v`` on the cost, with v lowered until ``u_i + v_j ≤ c_ij``."""
    feasible_v = v.copy()
    # Row by row: the whole difference would be another matrix of the costs' size.
    for costs, potential in zip(cost, u, strict=True):
        np.minimum(feasible_v, costs - potential, out=feasible_v)
    of_rows = a @ u
    of_columns = b @ feasible_v
    return float(of_rows + of_columns)
