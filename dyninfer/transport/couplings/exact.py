"""Exact optimal transport."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from numpy import ndarray
from numpy.random import Generator

from dyninfer.learning.progress import followed
from dyninfer.learning.settings import brief
from dyninfer.metrics.simplex import OptimalPlan
from dyninfer.transport.couplings.base import BlockCoupling, Interval, intervals, joined
from dyninfer.transport.couplings.blocks import Block
from dyninfer.transport.couplings.emd import emd, emd_all
from dyninfer.transport.couplings.plan import Plan, balanced
from dyninfer.transport.couplings.problem import TransportProblem

if TYPE_CHECKING:
    from dyninfer.data.snapshots import Snapshots


@dataclass(kw_only=True, repr=False, eq=False)
class OTCoupling(BlockCoupling):
    """Exact optimal transport with squared Euclidean cost, within blocks of ``batch_size`` samples.

    Blocks are parts of both samples with the makeup of the whole. One block gives the optimal plan
    itself. Several give its minibatch approximation; each is solved once, not at every step. A
    block of 2048 takes half a CPU-second to one, and the time grows with the power 2.5 of its size
    (6,000 x 8,000 in one block: 33 CPU-seconds).

    Parameters
    ----------
    workers : int, optional
        Number of processes that solve blocks, of all intervals, in parallel; the plans are the same
        to the last bit. A number above 1 solves the whole plan before training. With None, large
        plans are solved during training; if the whole plan is needed and takes more than about 20
        CPU-seconds, there are as many processes as torch has threads.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> x, y, half = np.array([[0.0], [1.0]]), np.array([[1.2], [0.1]]), np.full(2, 0.5)
    >>> plan = di.OTCoupling().plan(x, y, half, half, seed=0)
    >>> plan.source.tolist(), plan.target.tolist()  # nearest to nearest
    ([0, 1], [1, 0])
    """

    conserves_mass: ClassVar[bool] = True
    block_seconds: ClassVar[float] = 0.15

    batch_size: int = 2048
    workers: int | None = None

    # CPU-seconds: a process takes two to start, and a few workers must not cost more than they win.
    worth_processes = 20.0

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        super().check()
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"OTCoupling.workers must be positive, found {brief(self.workers)}")

    @property
    def one_by_one(self) -> bool:
        """See :attr:`BlockCoupling.one_by_one`: not where processes are asked for."""
        kind = type(self)
        plans_so = kind.plan is OTCoupling.plan and kind.plans is OTCoupling.plans
        return plans_so and self.workers in (None, 1)

    def solve(self, problem: TransportProblem, rng: Generator) -> Plan:
        """See :meth:`BlockCoupling.solve`."""
        return _plan(emd(problem))

    def plan(self, x: ndarray, y: ndarray, a: ndarray, b: ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        interval = Interval(x, y, a, b, seed)
        return self._plans([interval])[0]

    def plans(self, data: Snapshots, samples: list[ndarray], seed: int) -> list[Plan]:
        """See :meth:`Coupling.plans`."""
        return self._plans(intervals(data, samples, seed))

    def _plans(self, problems: list[Interval]) -> list[Plan]:
        """Solve the blocks of all intervals together, so that workers have enough to share."""
        self.check()
        blocks: list[list[Block]] = []
        for interval in problems:
            blocks.append(interval.cut(self.batch_size).blocks())
            interval.warn_if_small(self.batch_size)
        sizes = [max(len(block.a), len(block.b)) for parts in blocks for block in parts]

        def tasks() -> Iterator[TransportProblem]:
            # One at a time: the costs of all blocks together would fill the memory.
            for interval, parts in zip(problems, blocks, strict=True):
                for block in parts:
                    yield block.problem(interval.x, interval.y)

        n_workers = self._workers(sizes)
        solved = emd_all(tasks(), n_workers)
        solutions = followed(solved, len(sizes), "pairs", "block")
        plans = []
        for parts in blocks:
            own = [_plan(solution) for solution in islice(solutions, len(parts))]
            plans.append(joined(parts, own))
        return plans

    def _workers(self, sizes: list[int]) -> int:
        """Processes that blocks of these sizes are worth."""
        import torch

        n_workers = self.workers
        if n_workers is None:
            seconds = sum(self.seconds(n) for n in sizes)
            n_workers = 1
            if seconds > self.worth_processes:
                n_workers = torch.get_num_threads()
        return min(n_workers, len(sizes))


def _plan(solution: OptimalPlan) -> Plan:
    return balanced(solution.rows, solution.columns, solution.mass)
