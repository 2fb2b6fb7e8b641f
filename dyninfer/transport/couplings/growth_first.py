"""Growth first, then transport: both samples are reweighted before they are paired."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.transport.couplings.axes import leading_axes
from dyninfer.transport.couplings.base import BlockCoupling, Interval, intervals
from dyninfer.transport.couplings.blocks import Block
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

    Both samples are first reweighted to the midpoint, ``a'`` and ``b'``, when half of the growth is
    over. Exact transport on all coordinates between these gives a plan P. A pair (i, j) that grows
    by ``exp(g_ij)`` begins with ``P_ij exp(−g_ij/2)``, scaled so that the pairs of a cell sum to
    its weight in the first sample. It ends with ``P_ij exp(g_ij/2)``, scaled likewise to the
    second. In between, weights change at a constant rate.

    This finds only growth relative to the mean. The mean comes from the masses in the data; without
    masses the total stays constant.

    Cells that no pair reaches vanish in place, or appear there; see :class:`Plan`. A block of 1024
    takes half a CPU-second.

    Parameters
    ----------
    weigh : UnbalancedWeights or DensityRatio
        How growth is told from motion: by an unbalanced plan, which reweights cells only if moving
        is expensive, or by the ratio of the two densities, which reweights any drift.
    axes : int
        Number of leading principal axes of the two samples on which growth is told from motion. In
        more dimensions, all distances are similar and carry little information.

    Notes
    -----
    Snapshots cannot tell growth from drift: cells that moved look like cells that died here and
    were born there. In five dimensions, a drift of two standard deviations without growth looks
    like lost mass midway: 14 % with unbalanced weights, 9 % with the density ratio, and 25 % with a
    ratio without ``least_sample``. Growth of single cells is a hypothesis until counts, clones or
    proliferation scores support it.

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

    block_seconds: ClassVar[float] = 0.4

    weigh: UnbalancedWeights | DensityRatio = field(default_factory=UnbalancedWeights)
    axes: int = 5
    batch_size: int = 1024

    @property
    def uses_growth(self) -> bool:
        """See :attr:`Coupling.uses_growth`; the ratio of two densities has no place for it."""
        return isinstance(self.weigh, UnbalancedWeights)

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        super().check()
        if self.axes < 1:
            raise ValueError(f"GrowthFirstCoupling.axes must be positive, found {self.axes}")
        self.weigh.check()

    def solve(self, problem: TransportProblem, rng: np.random.Generator) -> Plan:
        """Raise an error: squared distances do not give positions."""
        raise ValueError("GrowthFirstCoupling needs the states; call plan(x, y, a, b, seed)")

    def plans(self, data: Snapshots, samples: list[ndarray], seed: int) -> list[Plan]:
        """See :meth:`Coupling.plans`; expected growth in the data is a prior."""
        return [self.plan_interval(interval) for interval in intervals(data, samples, seed)]

    @property
    def one_by_one(self) -> bool:
        """See :attr:`BlockCoupling.one_by_one`."""
        kind = type(self)
        plans_so = kind.plans is GrowthFirstCoupling.plans
        return plans_so and kind.plan is BlockCoupling.plan

    def placed(self, interval: Interval) -> Interval:
        """See :meth:`BlockCoupling.placed`: with the axes on which growth is told from motion."""
        # Common to all blocks: the axes of a few cells would be those of their noise.
        axes = leading_axes(*interval.arguments, self.axes)
        return interval._replace(axes=axes)

    def solve_block(self, interval: Interval, block: Block, rng: np.random.Generator) -> Plan:
        """See :meth:`BlockCoupling.solve_block`."""
        axes = interval.axes
        if axes is None:
            raise ValueError("GrowthFirstCoupling pairs blocks of an interval that is placed")
        x = axes.coordinates(interval.x[block.rows])
        y = axes.coordinates(interval.y[block.columns])
        growth = interval.growth
        if growth is not None:
            growth = growth[block.rows]
        halfway = self.weigh.halfway(Ends(x, y, block.a, block.b, growth))
        problem = block.problem(interval.x, interval.y)
        return _pairs(problem, halfway)


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
