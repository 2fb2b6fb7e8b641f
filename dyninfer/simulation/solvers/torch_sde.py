"""torchsde's methods as a solver."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

import torch
import torchsde
from torch import Tensor

from dyninfer.learning.random import subseed
from dyninfer.simulation.equation import Equation
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import Task

ITO = ("euler", "milstein", "srk")
STRATONOVICH = ("euler_heun", "heun", "midpoint", "log_ode", "reversible_heun")
# Of one Brownian motion that drives several coordinates, as in fractional noise.
GENERAL_NOISE = ("euler", *STRATONOVICH)
LEVY_AREA = {"srk": "space-time", "log_ode": "foster"}
FLAGS = ("adaptive", "adjoint")


@dataclass(kw_only=True, repr=False, eq=False)
class TorchSDE(Solver):
    """A method of torchsde, for equations with noise.

    In the sense of Itô: euler (strong order 1/2, additive noise 1), milstein (1), srk (1.5). In the
    sense of Stratonovich: euler_heun, heun, midpoint, log_ode and reversible_heun (1/2 to 1), which
    run equations whose noise does not depend on the state, where both senses are the same, and
    fractional noise in the sense of Stratonovich. The Brownian motion is seeded and knows the step,
    which torchsde does not do by itself; unlike that of our own solvers, it depends on all paths.

    Parameters
    ----------
    method : str
        ``"euler"``, ``"milstein"``, ``"srk"``, or one of Stratonovich's.
    adaptive : bool
        Choose steps by ``rtol`` and ``atol``, one for all paths.
    adjoint : bool
        Take gradients by the stochastic adjoint, whose memory does not grow with the steps.
    dt : float, optional
        Largest step, in time units, the first where steps are chosen; by default a hundredth of the
        whole span.
    rtol, atol : float
        Relative and absolute tolerance of adaptive steps.
    """

    method: str = field(default="srk", kw_only=False)
    adaptive: bool = False
    adjoint: bool = False
    dt: float | None = None
    rtol: float = 1e-4
    atol: float = 1e-5

    spelling: ClassVar[str] = "torchsde"
    methods: ClassVar[tuple[str, ...]] = (*ITO, *STRATONOVICH)
    needs_all_paths: ClassVar[bool] = True
    can_run: ClassVar[frozenset[Kind]] = frozenset(
        {
            Kind.ADDITIVE,
            Kind.MULTIPLICATIVE,
            Kind.FRACTIONAL_ADDITIVE,
            Kind.FRACTIONAL_MULTIPLICATIVE,
        }
    )

    @classmethod
    def spelled(cls, words: list[str]) -> Self:
        """Read ``"torchsde:<method>[:adaptive][:adjoint]"``."""
        flags = words[1:]
        if not words or not set(flags) <= set(FLAGS):
            raise ValueError(
                f"solver {':'.join([cls.spelling, *words])!r} is not of the form "
                "'torchsde:<method>[:adaptive][:adjoint]'; methods are " + ", ".join(cls.methods)
            )
        return cls(words[0], adaptive="adaptive" in flags, adjoint="adjoint" in flags)

    def check(self) -> None:
        """Raise a sentence if a setting has a value that cannot be used."""
        super().check()
        if self.method not in self.methods:
            raise ValueError(
                f"{self.method!r} names no method of torchsde; choose one of "
                f"{', '.join(self.methods)}"
            )

    def refusal(self, kind: Kind, equation: Equation | None = None) -> str | None:
        """Why this method cannot run an equation; None where it can."""
        reason = super().refusal(kind, equation)
        if reason is not None or equation is None or equation.additive:
            return reason
        sense, methods = "Itô", ITO
        if equation.stratonovich:
            sense, methods = "Stratonovich", STRATONOVICH
        if equation.n_brownian is not None and equation.n_brownian > 1:
            methods = tuple(method for method in methods if method in GENERAL_NOISE)
        if self.method in methods:
            return None
        return (
            f"its noise depends on the state in the sense of {sense}, of which the methods are "
            f"{', '.join(methods)}"
        )

    def integrate(
        self, task: Task, x: Tensor, w: Tensor | None, rows: range, intervals: range
    ) -> tuple[Tensor, Tensor | None]:
        """Run interval by interval, so that outputs are hit exactly; see :meth:`Solver.integrate`."""
        grid, d = task.grid, x.shape[1]
        times = grid.times[intervals.start : intervals.stop + 1]
        elapsed = (times - times[0]).abs().tolist()
        sde = Motion(task, intervals, grows=w is not None, is_ito=self.method in ITO)
        # The log-weight is one more coordinate.
        y = x if w is None else torch.cat([x, x.new_zeros(len(x), 1)], dim=1)
        n_brownian = task.equation.n_brownian or y.shape[1]
        options: dict[str, Any] = {
            "bm": torchsde.BrownianInterval(
                t0=0.0,
                t1=elapsed[-1],
                size=(len(y), n_brownian),
                dtype=x.dtype,
                device=x.device,
                entropy=subseed(task.seed, "torchsde", rows.start, intervals.start),
                # Without it torchsde's tree of increments is up to 35 times slower.
                dt=float(grid.lengths.abs().min()),
                levy_area_approximation=LEVY_AREA.get(self.method, "none"),
            ),
            "method": self.method,
            "adaptive": self.adaptive,
            "rtol": self.rtol,
            "atol": self.atol,
        }
        solve = torchsde.sdeint
        if self.adjoint:
            solve = partial(torchsde.sdeint_adjoint, adjoint_params=sde.trained)
        states = []
        with warnings.catch_warnings():
            if task.equation.additive:
                # It is told that noise is "diagonal", and would warn that it may depend on the state.
                warnings.filterwarnings("ignore", message="Numerical solution is not guaranteed")
            for k, interval in enumerate(intervals):
                ends = torch.tensor(elapsed[k : k + 2], dtype=torch.float64, device=x.device)
                # A hair beyond an even share: rounding must not cost one more, tiny step.
                step = (elapsed[k + 1] - elapsed[k]) / grid.substeps[interval] * (1 + 1e-9)
                y = solve(sde, y, ends, dt=step, **options)[-1]
                states.append(y)
                if task.tick:
                    task.tick()
        solution = torch.stack(states, dim=1)
        if w is None:
            return solution, None
        return solution[..., :d], w[:, None] + solution[..., d].double()


class Motion(torch.nn.Module):
    """The equation in elapsed time, with the log-weight as one more coordinate without noise."""

    def __init__(self, task: Task, intervals: range, grows: bool, is_ito: bool):
        super().__init__()
        self.sde_type = "ito" if is_ito else "stratonovich"
        self.noise_type = _noise_type(task.equation)
        self.equation, self.grows = task.equation, grows
        self.start = float(task.grid.times[intervals.start])
        self.sign = 1.0 if float(task.grid.lengths[0]) > 0 else -1.0
        self.trained = tuple(p for p in task.equation.parameters if p.requires_grad)

    def f(self, elapsed: Tensor, y: Tensor) -> Tensor:
        """Velocity in elapsed time."""
        f, r = self.equation.rates(self._time(elapsed, y), self._state(y))
        if self.grows and r is not None:
            f = torch.cat([f, r[:, None]], dim=1)
        return self.sign * f

    def g(self, elapsed: Tensor, y: Tensor) -> Tensor:
        """Amplitude of the noise: ``(n, d)``, or ``(n, d, m)`` of ``m`` Brownian motions."""
        x = self._state(y)
        g = self.equation.amplitude(self._time(elapsed, y), x)
        if self.equation.n_brownian is not None:
            return g
        g = g.expand_as(x)
        return torch.cat([g, torch.zeros_like(y[:, -1:])], dim=1) if self.grows else g

    def _state(self, y: Tensor) -> Tensor:
        return y[:, :-1] if self.grows else y

    def _time(self, elapsed: Tensor, y: Tensor) -> Tensor:
        return (self.start + self.sign * elapsed).to(y.dtype)


def _noise_type(equation: Equation) -> str:
    """Name that torchsde has for the noise of an equation."""
    if equation.n_brownian is None:
        return "diagonal"
    if equation.additive:
        return "additive"
    return "scalar" if equation.n_brownian == 1 else "general"
