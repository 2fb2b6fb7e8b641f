"""Euler-Maruyama: the plainest rule for equations with noise."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.stochastic import (
    Scheme,
    State,
    add_growth,
    add_noise,
    integrate_scheme,
)
from dyninfer.simulation.solvers.task import LogWeights, Nodes, Solution, Task


@dataclass(kw_only=True, repr=False, eq=False)
class EulerMaruyama(Solver):
    """Euler-Maruyama, ``x + f h + g ΔW``: the default for noise that depends on the state.

    Itô; strong order 1/2 (1 if the noise does not depend on the state), weak order 1. One
    evaluation per step.

    Parameters
    ----------
    dt : float, optional
        Largest step, in units of time; by default a hundredth of the whole span.

    Examples
    --------
    >>> import torch, dyninfer as di
    >>> noisy = di.Diffusion(drift=lambda t, x: -x, diffusion=0.5)
    >>> solver = di.solvers.EulerMaruyama(dt=0.1)
    >>> di.simulate(noisy, torch.ones(100, 1), [0, 1], solver=solver).states.shape
    torch.Size([100, 2, 1])
    """

    dt: float | None = field(default=None, kw_only=False)

    spelling = "euler_maruyama"
    can_run = frozenset({Kind.ADDITIVE, Kind.MULTIPLICATIVE})

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """See :meth:`Solver.integrate`."""
        return integrate_scheme(task, x, w, EULER_MARUYAMA)


def euler_maruyama_step(
    equation: Equation,
    nodes: Nodes,
    x: Tensor,
    w: LogWeights,
    h: float,
    kick: Tensor,
) -> State:
    """One step; the log-weight takes the left point."""
    (t,) = nodes
    f, r = equation.rates(t, x)
    drifted = x.add(f, alpha=h)
    x = add_noise(equation, t, x, kick, drifted)
    return x, add_growth(w, h, r)


EULER_MARUYAMA = Scheme(c=(0.0,), normals=1, step=euler_maruyama_step)
