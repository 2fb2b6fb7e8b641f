"""The coupling's contract, and what those that work block by block share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from dyninfer.data.arrays import as_array
from dyninfer.learning.progress import followed
from dyninfer.learning.random import numpy_stream, subseed
from dyninfer.learning.settings import Settings, brief
from dyninfer.transport.couplings.blocks import Block, Cut, warn_if_small
from dyninfer.transport.couplings.plan import Plan
from dyninfer.transport.couplings.problem import TransportProblem, failed

if TYPE_CHECKING:
    from dyninfer.data.snapshots import Snapshots
    from dyninfer.transport.couplings.axes import LeadingAxes


class Interval(NamedTuple):
    """Two neighbouring snapshots: the arguments of :meth:`Coupling.plan`, and what else is known.

    What a coupling works out once for all blocks stands here too.
    """

    x: ndarray  # (n, d)
    y: ndarray  # (m, d)
    a: ndarray  # (n,)
    b: ndarray  # (m,)
    seed: int
    # (n,) log-growth that the first sample is expected to have; None where unknown
    growth: ndarray | None = None
    # on which growth is told from motion, where that is asked
    axes: LeadingAxes | None = None

    @property
    def arguments(self) -> tuple[ndarray, ndarray, ndarray, ndarray, int]:
        """Those of :meth:`Coupling.plan`."""
        return self.x, self.y, self.a, self.b, self.seed

    def cut(self, size: int) -> Cut:
        """Both samples, cut into blocks of a size that are composed as the whole."""
        rng = numpy_stream(self.seed, "blocks")
        return Cut(self.a, self.b, size, rng, (self.x, self.y))

    def warn_if_small(self, size: int) -> None:
        """Warn where larger blocks would bring partners much closer."""
        warn_if_small(self.x, self.y, self.a, self.b, size, self.seed)


@dataclass(kw_only=True, repr=False, eq=False)
class Coupling(Settings):
    """Base of couplings.

    A new one defines :meth:`plan`, or :meth:`plans` if it needs more than two samples.
    """

    # Whether every pair weighs the same at both ends, whatever the data.
    conserves_mass: ClassVar[bool] = False

    @property
    def uses_growth(self) -> bool:
        """Whether plans start from the expected growth of every sample in the data."""
        return False

    @abstractmethod
    def plan(self, x: ndarray, y: ndarray, a: ndarray, b: ndarray, seed: int) -> Plan:
        """Pair two weighted samples.

        Parameters
        ----------
        x, y : arrays ``(n, d)``, ``(m, d)``
        a, b : arrays ``(n,)``, ``(m,)``
            Weights, each summing to one.
        seed : int
        """

    def plans(self, data: Snapshots, samples: list[ndarray], seed: int) -> list[Plan]:
        """Pair every snapshot with the next.

        Parameters
        ----------
        data : Snapshots
            Provides times, weights and names.
        samples : list of arrays ``(n_k, d)``
            States of the same cells, in the units used for pairing.
        seed : int
            Every interval has its own random stream; see :func:`intervals`.
        """
        return [self.plan(*interval.arguments) for interval in intervals(data, samples, seed)]


def intervals(data: Snapshots, samples: list[ndarray], seed: int) -> list[Interval]:
    """Return the two snapshots of every interval, and the growth that is expected in it."""
    weights = [data.weights_at(t) for t in data.times]
    problems = []
    for k in range(data.n_times - 1):
        growth = None
        if data.growth is not None:
            end = data.times[k + 1]
            begin = data.times[k]
            gap = end - begin
            growth = data.growth[k] * gap
        interval = Interval(
            x=samples[k],
            y=samples[k + 1],
            a=weights[k],
            b=weights[k + 1],
            seed=subseed(seed, "interval", k),
            growth=growth,
        )
        problems.append(interval)
    return problems


@dataclass(kw_only=True, repr=False, eq=False)
class BlockCoupling(Coupling):
    """Base of couplings solved in blocks: parts of both samples with the makeup of the whole.

    Parameters
    ----------
    batch_size : int
        Most samples on each side of a block. A warning tells if this keeps partners much farther
        apart than necessary.
    """

    # CPU-seconds of a block of 1024, in five dimensions and in fifty.
    block_seconds: ClassVar[float] = 0.3
    batch_size: int = 1024

    @abstractmethod
    def solve(self, problem: TransportProblem, rng: Generator) -> Plan:
        """Pair one block, given squared distances and positive weights."""

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        self.check_kinds(f"{type(self).__name__}.")
        if self.batch_size < 1:
            raise ValueError(
                f"{type(self).__name__}.batch_size must be positive, found {brief(self.batch_size)}"
            )

    def plan(self, x: ndarray, y: ndarray, a: ndarray, b: ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        return self.plan_interval(Interval(x, y, a, b, seed))

    def plan_interval(self, interval: Interval) -> Plan:
        """Pair all blocks of an interval."""
        self.check()
        interval = self.placed(interval)
        blocks = interval.cut(self.batch_size).blocks()
        rng = numpy_stream(interval.seed, "pairs")
        plans = []
        for block in followed(blocks, len(blocks), "pairs", "block"):
            plans.append(self.solve_block(interval, block, rng))
        plan = joined(blocks, plans)
        interval.warn_if_small(self.batch_size)
        return plan

    def solve_block(self, interval: Interval, block: Block, rng: Generator) -> Plan:
        """Pair one block of an interval that is :meth:`placed`; rows are numbered in the block."""
        problem = block.problem(interval.x, interval.y)
        return self.solve(problem, rng)

    @property
    def one_by_one(self) -> bool:
        """Whether a fit may solve blocks at any time, by :meth:`placed` and :meth:`solve_block`."""
        kind = type(self)
        # Who plans otherwise must not be passed over.
        return kind.plan is BlockCoupling.plan and kind.plans is Coupling.plans

    def placed(self, interval: Interval) -> Interval:
        """The samples in the coordinates in which they are paired, and what blocks share.

        By default, the samples as they are.
        """
        return interval

    def seconds(self, n: float) -> float:
        """CPU-seconds that a block of ``n`` samples a side takes, about."""
        return self.block_seconds * (n / 1024) ** 2.5


def joined(blocks: list[Block], plans: list[Plan]) -> Plan:
    """Join the plans of all blocks, their rows in the numbering of the whole.

    Raises
    ------
    ValueError
        If the plan of a block is empty or not finite.
    """
    renumbered = []
    for block, plan in zip(blocks, plans, strict=True):
        if len(plan.mass) == 0 or not np.isfinite(plan.mass).all():
            raise failed()
        source = block.rows[plan.source]
        target = block.columns[plan.target]
        renumbered.append(plan._replace(source=source, target=target))
    columns = zip(*renumbered, strict=True)
    whole_columns = map(np.concatenate, columns)
    whole = Plan(*whole_columns)
    # Each block's plan sums to one but for rounding.
    total = sum(plan.mass.sum() for plan in plans)
    return whole._replace(mass=whole.mass / total)


def require_positive(owner: object, **settings: float) -> None:
    """Raise a ValueError naming the first setting that is not a positive finite number."""
    for name, value in settings.items():
        kind = type(owner)
        number = as_array(value, f"{kind.__name__}.{name}")
        if number.ndim > 0 or not (np.isfinite(number) and number > 0):
            raise ValueError(
                f"{type(owner).__name__}.{name} must be positive and finite, found {brief(value)}"
            )
