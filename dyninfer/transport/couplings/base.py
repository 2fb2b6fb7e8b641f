"""The coupling's contract, and what those that work block by block share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dyninfer.learning.settings import Settings
from dyninfer.transport.couplings.blocks import Block, cut, failed, warn_if_small
from dyninfer.transport.couplings.plan import Plan

if TYPE_CHECKING:
    from dyninfer.data.snapshots import Snapshots

Problem = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]  # x, y, a, b, seed


@dataclass(kw_only=True, repr=False, eq=False)
class Coupling(Settings):
    """Base of couplings; a new one defines :meth:`plan`, or :meth:`plans` where it must know more than two samples."""

    conserves_mass: ClassVar[bool] = (
        False  # whether every pair weighs the same at both ends, whatever the data
    )

    @abstractmethod
    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """Pair two weighted samples.

        Parameters
        ----------
        x, y : arrays ``(n, d)``, ``(m, d)``
        a, b : arrays ``(n,)``, ``(m,)``
            Weights, each summing to one.
        seed : int
        """

    def plans(self, data: Snapshots, samples: list[np.ndarray], seed: int) -> list[Plan]:
        """Pair every snapshot with the next.

        Parameters
        ----------
        data : Snapshots
            Gives times, weights and names.
        samples : list of arrays ``(n_k, d)``
            States of the same cells, in the units in which they are to be paired.
        seed : int
            Interval ``k`` is paired with ``seed + k``.
        """
        return [self.plan(*problem) for problem in intervals(data, samples, seed)]


def intervals(data: Snapshots, samples: list[np.ndarray], seed: int) -> list[Problem]:
    """Arguments of :meth:`Coupling.plan` for every interval."""
    weights = [data.weights_at(t) for t in data.times]
    return [
        (samples[k], samples[k + 1], weights[k], weights[k + 1], seed + k)
        for k in range(data.n_times - 1)
    ]


@dataclass(kw_only=True, repr=False, eq=False)
class BlockCoupling(Coupling):
    """Base of couplings solved within random parts of both samples.

    Parameters
    ----------
    batch_size : int
        Most samples a side in a block. A warning tells where this keeps partners much farther apart than they need be.
    """

    batch_size: int = 1024

    @abstractmethod
    def solve(
        self, cost: np.ndarray, a: np.ndarray, b: np.ndarray, rng: np.random.Generator
    ) -> Plan:
        """Pair one block, given squared distances ``(n, m)`` and positive weights."""

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        if self.batch_size < 1:
            raise ValueError(
                f"{type(self).__name__}.batch_size must be positive, found {self.batch_size}"
            )

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        self.check()
        rng = np.random.default_rng(seed)
        blocks = cut(x, y, a, b, self.batch_size, seed)
        found = joined(blocks, [self.solve(p.cost(x, y), p.a, p.b, rng) for p in blocks])
        warn_if_small(x, y, a, b, self.batch_size, seed)
        return found


def joined(blocks: list[Block], plans: list[Plan]) -> Plan:
    """One plan of those of all blocks, rows in the numbering of the whole; a ValueError where one has failed."""
    if any(len(p.mass) == 0 or not np.isfinite(p.mass).all() for p in plans):
        raise failed()
    source, target, mass, *logs = zip(
        *(
            (q.rows[p.source], q.columns[p.target], *p[2:])
            for q, p in zip(blocks, plans, strict=True)
        ),
        strict=True,
    )
    total = np.concatenate(mass) / sum(p.mass.sum() for p in plans)
    return Plan(np.concatenate(source), np.concatenate(target), total, *map(np.concatenate, logs))


def require_positive(owner: object, **settings: float) -> None:
    """Raise a ValueError naming the first setting that is not a positive finite number."""
    for name, value in settings.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(
                f"{type(owner).__name__}.{name} must be positive and finite, found {value}"
            )
