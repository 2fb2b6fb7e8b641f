"""SRA1: Rößler's rule of strong order 1.5 for additive noise."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.stochastic import Scheme, State, add_growth, integrate_scheme
from dyninfer.simulation.solvers.task import LogWeights, Nodes, Solution, Task


@dataclass(kw_only=True, repr=False, eq=False)
class SRA1(Solver):
    """Rößler's SRA1: the default for noise that does not depend on the state.

    Strong order 1.5 and weak order 2, two evaluations per step (Rößler, SIAM J. Numer. Anal.
    48:922, 2010, Table 6.3). For such noise Itô and Stratonovich agree.

    Parameters
    ----------
    dt : float, optional
        Largest step, in units of time; by default a hundredth of the whole span.

    Examples
    --------
    >>> import torch, dyninfer as di
    >>> noisy = di.Diffusion(drift=lambda t, x: -x, diffusion=0.5)
    >>> di.simulate(noisy, torch.ones(100, 1), [0, 1], solver=di.solvers.SRA1(dt=0.1)).states.shape
    torch.Size([100, 2, 1])
    """

    dt: float | None = field(default=None, kw_only=False)

    spelling = "sra1"
    can_run = frozenset({Kind.ADDITIVE})

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """See :meth:`Solver.integrate`."""
        return integrate_scheme(task, x, w, SRA1_RULE)


def sra1_step(
    equation: Equation,
    nodes: Nodes,
    x: Tensor,
    w: LogWeights,
    h: float,
    kick: tuple[Tensor, Tensor],
) -> State:
    """One step.

    ``kick`` is ``g(t+h) ΔW + (g(t) − g(t+h)) χ`` and ``3/2 g(t+h) χ`` with ``χ = I_(1,0) / h``.
    """
    total, inner = kick
    start, inside = nodes
    f0, r0 = equation.rates(start, x)
    stage = x.add(f0, alpha=3 / 4 * h)
    stage.add_(inner)
    f1, r1 = equation.rates(inside, stage)
    x = x.add(f0, alpha=h / 3)
    x.add_(f1, alpha=2 / 3 * h)
    x.add_(total)
    w = add_growth(w, h / 3, r0)
    part = 2 / 3 * h
    return x, add_growth(w, part, r1)


SRA1_RULE = Scheme(c=(0.0, 3 / 4), normals=2, step=sra1_step)
