"""Exact optimal transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dyninfer.transport.couplings.base import BlockCoupling, Problem, intervals, joined
from dyninfer.transport.couplings.blocks import cut, warn_if_small
from dyninfer.transport.couplings.plan import Plan, balanced
from dyninfer.transport.couplings.processes import Workers
from dyninfer.transport.couplings.processes.emd import emd

if TYPE_CHECKING:
    from dyninfer.data.snapshots import Snapshots


@dataclass(kw_only=True, repr=False, eq=False)
class OTCoupling(BlockCoupling):
    """Exact optimal transport with squared Euclidean cost, within blocks of at most ``batch_size`` samples a side.

    Blocks are random parts of both samples. One block gives the optimal plan itself; several give its minibatch
    approximation, which is solved once, before training, and not at every step. A block of 2048 takes half a CPU-second to
    one, and the time grows with the power 2.5 of its size (6,000 x 8,000 in one block: 33 CPU-seconds).

    Parameters
    ----------
    workers : int, optional
        Processes that solve blocks, of all intervals together, at the same time; the plans are the same to the last bit. None
        takes as many as torch has threads where the work is above some 20 CPU-seconds, and otherwise solves here.
    """

    conserves_mass: ClassVar[bool] = True

    batch_size: int = 2048
    workers: int | None = None

    worth_processes = 20.0  # CPU-seconds; a process takes one to start

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        super().check()
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"OTCoupling.workers must be positive, found {self.workers}")

    def solve(
        self, cost: np.ndarray, a: np.ndarray, b: np.ndarray, rng: np.random.Generator
    ) -> Plan:
        """See :meth:`BlockCoupling.solve`."""
        return balanced(*emd(cost, a, b))

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        return self._plans([(x, y, a, b, seed)])[0]

    def plans(self, data: Snapshots, samples: list[np.ndarray], seed: int) -> list[Plan]:
        """See :meth:`Coupling.plans`."""
        return self._plans(intervals(data, samples, seed))

    def _plans(self, problems: list[Problem]) -> list[Plan]:
        self.check()
        blocks = [cut(x, y, a, b, self.batch_size, seed) for x, y, a, b, seed in problems]
        for x, y, a, b, seed in problems:
            warn_if_small(x, y, a, b, self.batch_size, seed)
        tasks = [
            (block, x, y)
            for (x, y, *_), parts in zip(problems, blocks, strict=True)
            for block in parts
        ]
        with Workers(
            self._workers([max(len(block.a), len(block.b)) for block, *_ in tasks])
        ) as workers:
            solved = iter(
                workers.map(lambda task: (task[0].cost(*task[1:]), task[0].a, task[0].b), tasks)
            )
        return [joined(parts, [balanced(*next(solved)) for _ in parts]) for parts in blocks]

    def _workers(self, sizes: list[int]) -> int:
        import torch

        seconds = sum(0.6 * (n / 2048) ** 2.5 for n in sizes)
        wanted = self.workers or (torch.get_num_threads() if seconds > self.worth_processes else 1)
        return min(wanted, len(sizes))
