"""Euler's rule for flows."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.runge_kutta import Tableau, integrate_tableau
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import LogWeights, Solution, Task

EULER = Tableau(c=(0.0,), a=(), b=(1.0,))


@dataclass(kw_only=True, repr=False, eq=False)
class Euler(Solver):
    """Euler's rule: order 1, one evaluation per step, for flows without noise.

    Parameters
    ----------
    dt : float, optional
        Largest step, in units of time; by default a hundredth of the whole span.

    Examples
    --------
    >>> import torch, dyninfer as di
    >>> decay = di.Diffusion(drift=lambda t, x: -x)
    >>> end = di.simulate(decay, torch.ones(1, 1), [0, 1], solver=di.solvers.Euler(dt=0.1)).at(1)
    >>> round(float(end), 4)  # 0.9 ** 10
    0.3487
    """

    dt: float | None = field(default=None, kw_only=False)

    spelling = "euler"
    can_run = frozenset({Kind.FLOW})

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """See :meth:`Solver.integrate`."""
        return integrate_tableau(task, x, w, EULER)
