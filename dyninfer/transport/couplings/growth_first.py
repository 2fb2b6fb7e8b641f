"""Growth first, then transport: both samples are reweighted before they are paired."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.transport.couplings.axes import on_leading_axes
from dyninfer.transport.couplings.base import BlockCoupling, Interval, intervals, joined
from dyninfer.transport.couplings.density_ratio import DensityRatio
from dyninfer.transport.couplings.emd import emd
from dyninfer.transport.couplings.plan import Plan, weighted
from dyninfer.transport.couplings.problem import TransportProblem, failed
from dyninfer.transport.couplings.reweighting import Ends, Halfway, UnbalancedWeights

if TYPE_CHECKING:
    from dyninfer.data.snapshots import Snapshots

# Cells that are worth less halfway than this share of their weight are beyond the digits of an
# exact plan: they vanish, or appear, where they are.
LEAST_SHARE = 1e-9


@dataclass(kw_only=True, repr=False, eq=False)
class GrowthFirstCoupling(BlockCoupling):
    r"""Exact transport between samples reweighted by growth; the weight of a pair follows its path.

    Both samples are first weighed as they are halfway, ``a'`` and ``b'``, when half of the growth
    is over; exact transport on all coordinates between these gives a plan P. A pair (i, j) that
    grows by ``exp(g_ij)`` begins with ``P_ij exp(−g_ij/2)``, scaled so that the pairs of a cell
    have its weight in the first sample, and ends with ``P_ij exp(g_ij/2)``, scaled likewise to the
    second. In between weights change at a constant rate.

    Only growth relative to the mean is found here. The mean itself is what masses given with the
    data say; without masses the total stays as it is.

    Cells that no pair reaches vanish in place, or appear there; see :class:`Plan`. A block of 1024
    takes half a CPU-second.

    Parameters
    ----------
    weigh : UnbalancedWeights or DensityRatio
        How growth is told from motion: by an unbalanced plan, which reweights cells only where
        moving is dear, or by the ratio of the two densities, which reweights any drift.
    axes : int
        Leading principal axes of the two samples on which growth is told from motion. In more
        dimensions, the distances of all pairs are alike and say little.

    Notes
    -----
    Snapshots cannot tell growth from drift: cells that moved look like cells that died here and
    were born there. In five dimensions, a drift of two standard deviations with no growth at all
    reads as 14 % of the mass lost midway by unbalanced weights, as 9 % by the density ratio, and as
    25 % by a ratio that no least sample holds back. Growth of single cells is a hypothesis until
    counts, clones or proliferation scores support it.

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer.transport.couplings import GrowthFirstCoupling
    >>> x = np.array([[0.0], [0.1], [9.0], [9.1]])
    >>> y = np.array([[0.0], [0.1], [0.2], [9.0]])
    >>> quarter = np.full(4, 0.25)
    >>> plan = GrowthFirstCoupling().plan(x, y, quarter, quarter, seed=0)
    >>> growth = np.exp(plan.log_target - plan.log_source)
    >>> near = plan.source < 2
    >>> print(growth[near].mean().round(1), growth[~near].mean().round(1))
    1.5 0.6
    """

    weigh: UnbalancedWeights | DensityRatio = field(default_factory=UnbalancedWeights)
    axes: int = 5
    batch_size: int = 1024

    @property
    def uses_growth(self) -> bool:
        """See :attr:`Coupling.uses_growth`; the ratio of two densities has no place for it."""
        return isinstance(self.weigh, UnbalancedWeights)

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        super().check()
        if self.axes < 1:
            raise ValueError(f"GrowthFirstCoupling.axes must be positive, found {self.axes}")
        self.weigh.check()

    def solve(self, problem: TransportProblem, rng: np.random.Generator) -> Plan:
        """Refused: squared distances do not say where the cells are."""
        raise ValueError("GrowthFirstCoupling must know the states; call plan(x, y, a, b, seed)")

    def plan(self, x: ndarray, y: ndarray, a: ndarray, b: ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        interval = Interval(x, y, a, b, seed)
        return self._plan(interval, None)

    def plans(self, data: Snapshots, samples: list[ndarray], seed: int) -> list[Plan]:
        """See :meth:`Coupling.plans`."""
        plans = []
        every_interval = intervals(data, samples, seed)
        for k, interval in enumerate(every_interval):
            growth = None
            if data.growth is not None:
                end = data.times[k + 1]
                begin = data.times[k]
                gap = end - begin
                growth = data.growth[k] * gap
            plans.append(self._plan(interval, growth))
        return plans

    def _plan(self, interval: Interval, expected_growth: ndarray | None) -> Plan:
        """Plan of one interval, given the log-growth ``(n,)`` expected of its first sample."""
        self.check()
        x, y, a, b, _ = interval
        blocks = interval.cut(self.batch_size).blocks()
        # Common to all blocks: the axes of a few cells would be those of their noise.
        u, v = on_leading_axes(x, y, a, b, self.axes)
        plans = []
        for block in blocks:
            x_in_block = u[block.rows]
            y_in_block = v[block.columns]
            ends = Ends(x=x_in_block, y=y_in_block, a=block.a, b=block.b)
            if expected_growth is not None:
                growth = expected_growth[block.rows]
                ends = ends._replace(expected_growth=growth)
            problem = block.problem(x, y)
            halfway = self.weigh.halfway(ends)
            plans.append(_pairs(problem, halfway))
        plan = joined(blocks, plans)
        interval.warn_if_small(self.batch_size)
        return plan


class _Pairs(NamedTuple):
    """Pairs, and their mass at both ends; every entry has one row for each."""

    source: ndarray
    target: ndarray
    start: ndarray
    end: ndarray

    def backwards(self) -> _Pairs:
        """The same pairs with time reversed."""
        return _Pairs(source=self.target, target=self.source, start=self.end, end=self.start)


class _Side(NamedTuple):
    """Cells of one sample that are worth something halfway, and their weights there."""

    rows: ndarray
    weights: ndarray


def _pairs(problem: TransportProblem, halfway: Halfway) -> Plan:
    """Exact plan between the weights halfway, and what its pairs weigh at both ends."""
    numbers = np.concatenate(halfway)
    if not np.isfinite(numbers).all():
        raise failed()
    cost, a, b = problem
    left = _worth_something(halfway.log_a, a)
    right = _worth_something(halfway.log_b, b)
    table = np.ix_(left.rows, right.rows)
    inside = np.ascontiguousarray(cost[table])
    transport = emd(TransportProblem(inside, left.weights, right.weights))
    source = left.rows[transport.rows]
    target = right.rows[transport.columns]
    log_mass = np.log(transport.mass)
    growth_before = halfway.log_source[source]
    growth_after = halfway.log_target[target]
    growth = growth_before + growth_after
    half = 0.5 * growth
    start = _shared(log_mass - half, source, a)
    end = _shared(log_mass + half, target, b)
    moving = _Pairs(source, target, start, end)
    vanishing = _in_place(cost, a, left.rows)
    # Seen backwards in time, what appears vanishes.
    turned = _in_place(cost.T, b, right.rows)
    appearing = turned.backwards()
    columns = zip(moving, vanishing, appearing, strict=True)
    return weighted(*map(np.concatenate, columns))


def _worth_something(log_halfway: ndarray, weights: ndarray) -> _Side:
    log_share = log_halfway - np.log(weights)
    threshold = np.log(LEAST_SHARE)
    rows = np.flatnonzero(log_share > threshold)
    remaining = np.exp(log_halfway[rows])
    return _Side(rows, remaining / remaining.sum())


def _in_place(cost: ndarray, weights: ndarray, moving: ndarray) -> _Pairs:
    """Cells of the first sample that do not move, each beside the nearest of the other side."""
    stays = np.ones(len(weights), dtype=bool)
    stays[moving] = False
    rows = np.flatnonzero(stays)
    nearest = cost[rows].argmin(1)
    zero = np.zeros(len(rows))
    return _Pairs(rows, nearest, weights[rows], zero)


def _shared(log_share: ndarray, rows: ndarray, weights: ndarray) -> ndarray:
    """Weights of the pairs ``(pairs,)``: every row's own, in proportion to the shares."""
    n = len(weights)
    largest = np.full(n, -np.inf)
    np.maximum.at(largest, rows, log_share)
    # Relative to the largest of the row, where exponentials neither overflow nor all vanish.
    relative = log_share - largest[rows]
    share = np.exp(relative)
    total = np.bincount(rows, share, n)
    part = share / total[rows]
    return weights[rows] * part
