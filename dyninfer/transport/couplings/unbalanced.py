"""Transport that destroys and creates mass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dyninfer.transport.couplings.base import BlockCoupling, require_positive
from dyninfer.transport.couplings.draws import unbalanced_pairs
from dyninfer.transport.couplings.plan import Plan
from dyninfer.transport.couplings.problem import TransportProblem
from dyninfer.transport.couplings.sinkhorn import rows_to, sinkhorn


@dataclass(kw_only=True, repr=False, eq=False)
class UnbalancedOTCoupling(BlockCoupling):
    """Unbalanced entropic transport: distant mass is destroyed and created, not carried.

    Half of the pairs are drawn for source cells and half for target cells, so that vanishing and
    appearing cells are included; their weights are below two and reproduce both samples. A block of
    1024 takes 0.3 CPU-seconds.

    Parameters
    ----------
    mass_penalty : float
        Price of a change of mass (Kullback-Leibler), in units of the mean squared distance between
        the samples; large values approach mass conservation.
    regularization : float
        Entropic regularisation in the same unit.

    Examples
    --------
    >>> import dyninfer as di
    >>> coupling = di.UnbalancedOTCoupling(mass_penalty=2.0)
    >>> di.ActionMatching(growth_penalty=1.0, coupling=coupling).coupling
    UnbalancedOTCoupling(mass_penalty=2.0)
    """

    mass_penalty: float = 1.0
    regularization: float = 0.01

    draws = 16  # pairs drawn per sample, from either end

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        super().check()
        require_positive(self, mass_penalty=self.mass_penalty, regularization=self.regularization)

    def solve(self, problem: TransportProblem, rng: np.random.Generator) -> Plan:
        """See :meth:`BlockCoupling.solve`."""
        cost, a, b = problem
        scaled_cost = cost / problem.mean_cost
        in_units = problem._replace(cost=scaled_cost)
        solution = sinkhorn(in_units, self.regularization, self.mass_penalty)
        solution.warn_unless_converged()
        log_plan = solution.log_plan
        by_row = rows_to(log_plan, a)
        by_column = rows_to(log_plan.T, b).T
        n_cells = len(a) + len(b)
        n = self.draws * n_cells
        return unbalanced_pairs(by_row, by_column, a, b, n, rng)
