"""Pairs by row: the same cells at every time, as the flow of a fitted model leaves them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dyninfer.couplings import Coupling, Plan
from dyninfer.couplings.plan import balanced, weighted


@dataclass(kw_only=True, repr=False, eq=False)
class SameRows(Coupling):
    """Rows of equal number are pairs: the samples are the same cells at every time.

    Parameters
    ----------
    grows : bool
        Whether the weights differ between times.
    """

    grows: bool = False

    @property
    def conserves_mass(self) -> bool:
        """Whether a growth rate is not to be learned."""
        return not self.grows

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        rows = np.arange(len(x))
        return weighted(rows, rows, a, b) if self.grows else balanced(rows, rows, a)
