"""Transport with few partners for everyone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dyninfer.learning.warn import warn
from dyninfer.transport.couplings.base import BlockCoupling, require_positive
from dyninfer.transport.couplings.draws import fit_margins
from dyninfer.transport.couplings.plan import Plan, balanced
from dyninfer.transport.couplings.problem import TransportProblem

# How SciPy's L-BFGS says that its steps did not suffice.
_OUT_OF_STEPS = 1


@dataclass(kw_only=True, repr=False, eq=False)
class SparseOTCoupling(BlockCoupling):
    """Quadratically regularised transport with a bound on the number of partners.

    It lies between exact transport (one or two partners) and entropic transport (all of them); Liu,
    Puigcerver, Blondel, ICLR 2023. Solved by POT (``ot.smooth.smooth_ot_dual``); its plan is then
    scaled to reproduce both samples. A block of 512 takes 2 CPU-seconds, one of 1024 eight.

    Parameters
    ----------
    max_nz : int
        Most partners of a sample on the larger side of a block.
    regularization : float
        Strength of the quadratic term, for a cost with mean one: small values give fewer partners
        than ``max_nz`` and take longer.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> x, y, half = np.array([[0.0], [1.0]]), np.array([[1.2], [0.1]]), np.full(2, 0.5)
    >>> plan = di.SparseOTCoupling().plan(x, y, half, half, seed=0)
    >>> round(float(plan.mass.sum()), 6)
    1.0
    """

    conserves_mass: ClassVar[bool] = True
    block_seconds: ClassVar[float] = 8.0

    max_nz: int = 4
    regularization: float = 1.0
    batch_size: int = 512

    most_misplaced = 0.02  # mass that the pairs may fail to bring home before that is an error
    # Share of the value by which it may exceed the least one before that is told; 0.1 % is usual.
    most_gap = 0.05
    solver_steps = 500  # of L-BFGS; a block of 512 takes 250 to 400

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        super().check()
        require_positive(self, max_nz=self.max_nz, regularization=self.regularization)

    def solve(self, problem: TransportProblem, rng: np.random.Generator) -> Plan:
        """See :meth:`BlockCoupling.solve`."""
        import ot.smooth

        cost, a, b = problem
        # The bound is on columns; those of the smaller side could not hold all the rows.
        if len(a) > len(b):
            turned = np.ascontiguousarray(cost.T)
            transposed = TransportProblem(turned, b, a)
            flipped = self.solve(transposed, rng)
            return flipped._replace(source=flipped.target, target=flipped.source)
        # Equal samples would all choose the same partners.
        jitter = 1e-4 * rng.random(cost.shape)
        scaled = cost / problem.mean_cost + jitter
        # A bound that no sample can reach says nothing, and costs a sort.
        kind = "sparsity_constrained" if self.max_nz < len(a) else "l2"
        plan, log = ot.smooth.smooth_ot_dual(
            a,
            b,
            scaled,
            self.regularization,
            reg_type=kind,
            max_nz=self.max_nz,
            numItermax=self.solver_steps,
            log=True,
        )
        is_pair = plan > 0
        rows, columns = np.nonzero(is_pair)
        mass = plan[rows, columns]
        mass, misplaced = fit_margins(rows, columns, mass, a, b, max_iterations=2000)
        solution = log["res"]
        ran_out = solution.status == _OUT_OF_STEPS
        remedy = self._remedy(kind, ran_out=ran_out)
        if misplaced > self.most_misplaced:
            raise ValueError(
                f"with max_nz={self.max_nz} and regularization={self.regularization:g}, pairs miss "
                f"{misplaced:.1%} of the mass; {remedy}"
            )
        costs = scaled[rows, columns]
        transport = mass @ costs
        penalty = 0.5 * self.regularization * mass @ mass
        value = float(transport + penalty)
        # The solver minimises the dual value with its sign turned.
        bound = -float(solution.fun)
        self._warn_unless_optimal(value, bound, remedy)
        return balanced(rows, columns, mass)

    def _remedy(self, kind: str, ran_out: bool) -> str:
        """What to do about pairs that are not a solution."""
        # Fewer samples have fewer unknowns, and a stronger term a rounder valley.
        if ran_out:
            return (
                f"its solver ran out of {self.solver_steps} steps: raise the regularization, or "
                "lower batch_size"
            )
        if kind == "l2":
            return "raise the regularization"
        return "raise max_nz, or change the regularization"

    def _warn_unless_optimal(self, value: float, lower: float, remedy: str) -> None:
        """Warn where the value of the pairs may be far above the least one."""
        gap = value - lower
        if gap > self.most_gap * value:
            warn(
                f"sparse transport was not solved: the value of the pairs is {value:.4g} of the "
                f"mean cost, and their dual gap is {gap:.2g}, so the least value may be that much "
                f"lower; {remedy}",
            )
