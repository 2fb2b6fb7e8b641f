"""Transport with few partners for everyone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dyninfer.transport.couplings.base import BlockCoupling, require_positive
from dyninfer.transport.couplings.draws import fit_margins
from dyninfer.transport.couplings.plan import Plan, balanced


@dataclass(kw_only=True, repr=False, eq=False)
class SparseOTCoupling(BlockCoupling):
    """Quadratically regularised transport with a bound on the number of partners (Liu, Puigcerver, Blondel, ICLR 2023).

    Between exact transport (one or two partners) and entropic transport (all of them). Solved by POT
    (``ot.smooth.smooth_ot_dual``); its plan is then scaled to reproduce both samples. A block of 512 takes 2 CPU-seconds, one of
    1024 eight.

    Parameters
    ----------
    max_nz : int
        Most partners of a sample of the larger side of a block.
    regularization : float
        Strength of the quadratic term, for a cost whose mean is one: small values have fewer partners than ``max_nz`` and
        take longer.
    """

    conserves_mass: ClassVar[bool] = True

    max_nz: int = 4
    regularization: float = 1.0
    batch_size: int = 512

    most_misplaced = 0.02  # mass that the pairs may fail to bring home before that is an error

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        super().check()
        require_positive(self, max_nz=self.max_nz, regularization=self.regularization)

    def solve(
        self, cost: np.ndarray, a: np.ndarray, b: np.ndarray, rng: np.random.Generator
    ) -> Plan:
        """See :meth:`BlockCoupling.solve`."""
        import ot.smooth

        if len(a) > len(
            b
        ):  # the bound is on columns; those of the smaller side could not hold all the rows
            flipped = self.solve(np.ascontiguousarray(cost.T), b, a, rng)
            return flipped._replace(source=flipped.target, target=flipped.source)
        scaled = cost / (float(a @ cost @ b) or 1.0)
        scaled = scaled + 1e-4 * rng.random(
            cost.shape
        )  # equal samples would all choose the same partners
        kind = (
            "sparsity_constrained" if self.max_nz < len(a) else "l2"
        )  # the same where the bound says nothing
        plan = ot.smooth.smooth_ot_dual(
            a, b, scaled, self.regularization, reg_type=kind, max_nz=self.max_nz
        )
        rows, columns = np.nonzero(plan > 0)
        mass, misplaced = fit_margins(rows, columns, plan[rows, columns], a, b, most=2000)
        if misplaced > self.most_misplaced:
            raise ValueError(
                f"with max_nz={self.max_nz} and regularization={self.regularization:g}, pairs miss {misplaced:.1%} of the mass; "
                "raise max_nz, or change the regularization"
            )
        return balanced(rows, columns, mass)
