"""Pairs that know nothing of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dyninfer.transport.couplings.base import Coupling
from dyninfer.transport.couplings.draws import spread
from dyninfer.transport.couplings.plan import Plan, balanced


@dataclass(kw_only=True, repr=False, eq=False)
class IndependentCoupling(Coupling):
    """Pairs drawn independently of each other: ``pairs_per_sample`` random partners for every sample."""

    conserves_mass: ClassVar[bool] = True

    pairs_per_sample: int = 16

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        rng = np.random.default_rng(seed)
        n = max(len(x), len(y))
        source, target = (
            np.concatenate([spread(w, n, rng) for _ in range(self.pairs_per_sample)])
            for w in (a, b)
        )
        return balanced(source, target, np.ones(len(source)))
