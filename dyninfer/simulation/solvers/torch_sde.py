"""torchsde's methods as a solver."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
import torchsde
from torch import Tensor

from dyninfer.learning.random import subseed
from dyninfer.learning.settings import brief
from dyninfer.simulation.equation import Equation
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.grid_motion import GridMotion
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import LogWeights, Solution, Task
from dyninfer.simulation.solvers.weighted import Weighted

ITO: tuple[str, ...] = ("euler", "milstein", "srk")
STRATONOVICH = ("euler_heun", "heun", "midpoint", "log_ode", "reversible_heun")
# Of one Brownian motion that drives several coordinates, as in fractional noise.
GENERAL_NOISE = ("euler", *STRATONOVICH)
# With fixed steps its noise needs more than increments and their integrals: torchsde draws it.
LEVY_MATRIX = ("log_ode",)
LEVY_AREA = {"srk": "space-time", "log_ode": "foster"}
FLAGS = ("adaptive", "adjoint")


@dataclass(kw_only=True, repr=False, eq=False)
class TorchSDE(Solver):
    """A method of torchsde, for equations with noise.

    Itô: euler (strong order 1/2, additive noise 1), milstein (1), srk (1.5). Stratonovich:
    euler_heun, heun, midpoint, log_ode and reversible_heun (1/2 to 1). These run equations whose
    noise does not depend on the state, where both agree, and Stratonovich equations with fractional
    noise. With fixed steps, the Brownian motion of path ``i`` depends only on ``(seed, i)``, as in
    our own solvers. With adaptive steps, and with log_ode, it is the seeded one of torchsde, which
    depends on all paths.

    Parameters
    ----------
    method : str
        ``"euler"``, ``"milstein"``, ``"srk"``, or a Stratonovich method.
    adaptive : bool
        Choose steps by ``rtol`` and ``atol``, the same for all paths.
    adjoint : bool
        Compute gradients by the stochastic adjoint, whose memory does not grow with the number of
        steps.
    dt : float, optional
        Largest step (the first one if steps are adaptive), in units of time; by default a hundredth
        of the whole span.
    rtol, atol : float
        Relative and absolute tolerance of adaptive steps; ``atol`` is in units of each feature's
        spread, as in :class:`Tsit5`.

    Examples
    --------
    >>> import torch, dyninfer as di
    >>> noisy = di.Diffusion(drift=lambda t, x: -x, diffusion=0.5)
    >>> solver = di.solvers.TorchSDE("euler")
    >>> di.simulate(noisy, torch.ones(100, 1), [0, 1], solver=solver).states.shape
    torch.Size([100, 2, 1])
    """

    method: str = field(default="srk", kw_only=False)
    adaptive: bool = False
    adjoint: bool = False
    dt: float | None = None
    rtol: float = 1e-4
    atol: float = 1e-5

    spelling = "torchsde"
    methods = (*ITO, *STRATONOVICH)
    can_run = frozenset(
        {
            Kind.ADDITIVE,
            Kind.MULTIPLICATIVE,
            Kind.FRACTIONAL_ADDITIVE,
            Kind.FRACTIONAL_MULTIPLICATIVE,
        }
    )

    @property
    def needs_all_paths(self) -> bool:
        """Whether the noise of a path depends on the others."""
        return self.adaptive or self.method in LEVY_MATRIX

    @classmethod
    def spelled(cls, words: list[str]) -> Self:
        """Read ``"torchsde:<method>[:adaptive][:adjoint]"``."""
        flags = words[1:]
        if not words or not set(flags) <= set(FLAGS):
            spelling = ":".join([cls.spelling, *words])
            raise ValueError(
                f"solver {brief(spelling)} is not of the form "
                "'torchsde:<method>[:adaptive][:adjoint]'; methods are " + ", ".join(cls.methods)
            )
        adaptive, adjoint = (flag in flags for flag in FLAGS)
        return cls(words[0], adaptive=adaptive, adjoint=adjoint)

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        super().check()
        if self.method not in self.methods:
            raise ValueError(
                f"{brief(self.method)} names no method of torchsde; choose one of "
                f"{', '.join(self.methods)}"
            )

    def refusal(self, kind: Kind, equation: Equation | None = None) -> str | None:
        """Why this method cannot run an equation, or None if it can."""
        reason = super().refusal(kind, equation)
        if reason is not None or equation is None or equation.additive:
            return reason
        sense = "Itô"
        methods = ITO
        if equation.stratonovich:
            sense = "Stratonovich"
            methods = STRATONOVICH
        if equation.n_brownian is not None and equation.n_brownian > 1:
            methods = tuple(method for method in methods if method in GENERAL_NOISE)
        if self.method in methods:
            return None
        return (
            f"its noise depends on the state in the sense of {sense}, of which the methods are "
            f"{', '.join(methods)}"
        )

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """Solve each interval by itself, to hit outputs exactly; see :meth:`Solver.integrate`."""
        weighted = Weighted(task, x, w)
        motion = Motion(task, weighted, is_ito=self.method in ITO)
        y = weighted.start
        # On the CPU, where the library reads them in every step.
        taus = weighted.taus(task.reached)
        options: dict[str, Any] = {
            "bm": self._brownian_motion(task, weighted),
            "method": self.method,
            "adaptive": self.adaptive,
            "rtol": self.rtol,
            "atol": self.atol,
        }
        solve = torchsde.sdeint
        if self.adjoint:
            solve = partial(torchsde.sdeint_adjoint, adjoint_params=motion.trained)
        states = []
        with warnings.catch_warnings():
            if task.equation.additive:
                # It is told that noise is "diagonal", and warns that it may depend on the state.
                warnings.filterwarnings("ignore", message="Numerical solution is not guaranteed")
            for k, interval in enumerate(task.intervals):
                ends = taus[k : k + 2]
                length = float(ends[1] - ends[0])
                # A hair beyond an even share: rounding must not cost one more, tiny step.
                step = length / task.grid.substeps[interval]
                dt = step * (1 + 1e-9)
                both = solve(motion, y, ends, dt=dt, **options)
                y = both[-1]
                states.append(y)
                task.passed()
        return weighted.solution(torch.stack(states, dim=1))

    def _brownian_motion(self, task: Task, weighted: Weighted) -> torchsde.BaseBrownian:
        y = weighted.start
        n_brownian = task.equation.n_brownian or y.shape[1]
        levy_area = LEVY_AREA.get(self.method, "none")
        if not self.needs_all_paths:
            return GridMotion(task, weighted, n_brownian, levy_area)
        lengths = task.grid.lengths.abs()
        shortest = float(lengths.min())
        return torchsde.BrownianInterval(
            t0=0.0,
            t1=1.0,
            size=(len(y), n_brownian),
            dtype=y.dtype,
            device=y.device,
            # torchsde ignores torch.manual_seed. Windows of a resampled run are independent.
            entropy=subseed(task.seed, "torchsde", task.rows.start, task.intervals.start),
            # Without it torchsde's tree of increments is up to 35 times slower.
            dt=shortest / abs(weighted.span),
            levy_area_approximation=levy_area,
        )


class Motion(torch.nn.Module):
    """The equation in the time of the library, from 0 to 1 whatever the direction of time."""

    def __init__(self, task: Task, weighted: Weighted, is_ito: bool):
        super().__init__()
        self.sde_type = "ito" if is_ito else "stratonovich"
        self.noise_type = _noise_type(task.equation)
        self.weighted = weighted
        # What the stochastic adjoint takes gradients by.
        parameters = task.equation.parameters
        self.trained = tuple(p for p in parameters if p.requires_grad)

    def f(self, tau: Tensor, y: Tensor) -> Tensor:
        """Velocity."""
        return self.weighted.velocity(tau, y)

    def g(self, tau: Tensor, y: Tensor) -> Tensor:
        """Amplitude of the noise: ``(n, d)``, or ``(n, d, m)`` of ``m`` Brownian motions."""
        return self.weighted.amplitude(tau, y)


def _noise_type(equation: Equation) -> str:
    """Name that torchsde has for the noise of an equation."""
    if equation.n_brownian is None:
        return "diagonal"
    if equation.additive:
        return "additive"
    if equation.n_brownian == 1:
        return "scalar"
    return "general"
