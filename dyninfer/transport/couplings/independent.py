"""Pairs that know nothing of each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy import ndarray

from dyninfer.learning.random import numpy_stream
from dyninfer.transport.couplings.base import Coupling
from dyninfer.transport.couplings.draws import spread
from dyninfer.transport.couplings.plan import Plan, balanced


@dataclass(kw_only=True, repr=False, eq=False)
class IndependentCoupling(Coupling):
    """Pairs drawn independently of each other.

    Parameters
    ----------
    pairs_per_sample : int
        Number of random partners of every sample.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> x, y, half = np.array([[0.0], [1.0]]), np.array([[1.2], [0.1]]), np.full(2, 0.5)
    >>> plan = di.IndependentCoupling(pairs_per_sample=2).plan(x, y, half, half, seed=0)
    >>> len(plan.source)
    4
    """

    conserves_mass: ClassVar[bool] = True

    pairs_per_sample: int = 16

    def plan(self, x: ndarray, y: ndarray, a: ndarray, b: ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        rng = numpy_stream(seed, "pairs")
        n = max(len(x), len(y))
        source = []
        target = []
        for _ in range(self.pairs_per_sample):
            source.append(spread(a, n, rng))
            target.append(spread(b, n, rng))
        rows = np.concatenate(source)
        columns = np.concatenate(target)
        equal = np.ones(len(rows))
        return balanced(rows, columns, equal)
