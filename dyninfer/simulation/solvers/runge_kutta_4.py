"""The classical Runge-Kutta rule for flows."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.runge_kutta import Tableau, integrate_tableau
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import LogWeights, Solution, Task

RK4 = Tableau(
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    a=((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)


@dataclass(kw_only=True, repr=False, eq=False)
class RungeKutta4(Solver):
    """The classical Runge-Kutta rule: order 4, four evaluations per step, for flows only.

    Parameters
    ----------
    dt : float, optional
        Largest step, in units of time; by default a hundredth of the whole span.

    Examples
    --------
    >>> import torch, dyninfer as di
    >>> decay = di.Diffusion(drift=lambda t, x: -x)
    >>> solver = di.solvers.RungeKutta4(dt=0.1)
    >>> end = di.simulate(decay, torch.ones(1, 1), [0, 1], solver=solver).at(1)
    >>> round(float(end), 4)  # exp(-1)
    0.3679
    """

    dt: float | None = field(default=None, kw_only=False)

    spelling = "rk4"
    can_run = frozenset({Kind.FLOW})

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """See :meth:`Solver.integrate`."""
        return integrate_tableau(task, x, w, RK4)
