"""Heun's rule for flows, and for the drift of equations with noise."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.runge_kutta import Tableau, integrate_tableau
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.stochastic import (
    Scheme,
    State,
    add_growth,
    add_noise,
    integrate_scheme,
)
from dyninfer.simulation.solvers.task import LogWeights, Nodes, Solution, Task

FLOW_RULE = Tableau(c=(0.0, 1.0), a=((1.0,),), b=(1 / 2, 1 / 2))


@dataclass(kw_only=True, repr=False, eq=False)
class Heun(Solver):
    """Heun's rule: order 2 for flows; with noise, Heun's rule for the drift (Itô).

    Two evaluations per step. With noise, ``g(t, x) ΔW`` is taken at the left point. Strong order is
    1 if the noise does not depend on the state and 1/2 if it does; weak order is 1, with a smaller
    drift error than Euler-Maruyama.

    Parameters
    ----------
    dt : float, optional
        Largest step, in units of time; by default a hundredth of the whole span.

    Examples
    --------
    >>> import torch, dyninfer as di
    >>> decay = di.Diffusion(drift=lambda t, x: -x)
    >>> end = di.simulate(decay, torch.ones(1, 1), [0, 1], solver=di.solvers.Heun(dt=0.1)).at(1)
    >>> round(float(end), 4)  # 0.905 ** 10
    0.3685
    """

    dt: float | None = field(default=None, kw_only=False)

    spelling = "heun"
    can_run = frozenset({Kind.FLOW, Kind.ADDITIVE, Kind.MULTIPLICATIVE})

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """See :meth:`Solver.integrate`."""
        if task.equation.amplitude is None:
            return integrate_tableau(task, x, w, FLOW_RULE)
        return integrate_scheme(task, x, w, NOISE_RULE)


def heun_step(
    equation: Equation,
    nodes: Nodes,
    x: Tensor,
    w: LogWeights,
    h: float,
    kick: Tensor,
) -> State:
    """One step with noise; the log-weight takes the trapezoid."""
    start, end = nodes
    f0, r0 = equation.rates(start, x)
    half = x.add(f0, alpha=h / 2)
    # The noise is the same in the predicted and in the final state, so it is added once.
    half = add_noise(equation, start, x, kick, half)
    predicted = half.add(f0, alpha=h / 2)
    f1, r1 = equation.rates(end, predicted)
    x = half.add_(f1, alpha=h / 2)
    w = add_growth(w, h / 2, r0)
    return x, add_growth(w, h / 2, r1)


NOISE_RULE = Scheme(c=(0.0, 1.0), normals=1, step=heun_step)
