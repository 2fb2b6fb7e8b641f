"""torchdiffeq's methods as a solver."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
import torchdiffeq
from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import Task

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
# Without its Adams methods, which take past steps to be as long as the present one: ours differ
# between outputs.
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")


@dataclass(kw_only=True, repr=False, eq=False)
class TorchDiffEq(Solver):
    """A method of torchdiffeq, for flows without noise; adaptive ones share one step in a chunk.

    The orders are those of the methods: dopri5 5, dopri8 8, bosh3 3, fehlberg2 and adaptive_heun 2;
    with fixed steps euler 1, midpoint and heun2 2, heun3 3, rk4 4. Gradients flow by direct
    backpropagation through the steps.

    Parameters
    ----------
    method : str
        ``"dopri5"``, ``"dopri8"``, ``"bosh3"``, ``"fehlberg2"``, ``"adaptive_heun"``, or with fixed
        steps ``"euler"``, ``"midpoint"``, ``"heun2"``, ``"heun3"``, ``"rk4"``.
    rtol, atol : float
        Relative and absolute tolerance of the adaptive methods.
    dt : float, optional
        Largest step of the methods with fixed steps, in time units; by default a hundredth of the
        whole span.

    Raises
    ------
    RuntimeError
        If an adaptive method gives up; the message names the time and the number of paths that
        stopped it.
    """

    method: str = field(default="dopri5", kw_only=False)
    rtol: float = 1e-4
    atol: float = 1e-5
    dt: float | None = None

    spelling: ClassVar[str] = "torchdiffeq"
    methods: ClassVar[tuple[str, ...]] = (*ADAPTIVE, *FIXED)
    can_run: ClassVar[frozenset[Kind]] = frozenset({Kind.FLOW})

    @classmethod
    def spelled(cls, words: list[str]) -> Self:
        """Read ``"torchdiffeq:<method>"``."""
        return cls(":".join(words)) if words else cls()

    def check(self) -> None:
        """Raise a sentence if a setting has a value that cannot be used."""
        super().check()
        if self.method not in self.methods:
            raise ValueError(
                f"{self.method!r} names no method of torchdiffeq; choose one of "
                f"{', '.join(self.methods)}"
            )

    def integrate(
        self, task: Task, x: Tensor, w: Tensor | None, rows: range, intervals: range
    ) -> tuple[Tensor, Tensor | None]:
        """See :meth:`Solver.integrate`."""
        times = task.grid.times[intervals.start : intervals.stop + 1].to(x.device)
        velocity = Velocity(task.equation, grows=w is not None)
        # The log-weight is one more coordinate.
        state = x if w is None else torch.cat([x, x.new_zeros(len(x), 1)], dim=1)
        options: dict[str, Any] = {}
        if self.method in FIXED:
            options["grid_constructor"] = lambda f, y, t: _steps(task, intervals).to(t)
        try:
            solution = torchdiffeq.odeint(
                velocity,
                state,
                times,
                rtol=self.rtol,
                atol=self.atol,
                method=self.method,
                options=options,
            )
        except AssertionError as error:
            span = float((times[-1] - times[0]).abs())
            raise RuntimeError(velocity.failure(str(self), span)) from error
        for _ in intervals:
            if task.tick:
                task.tick()
        solution = solution[1:].transpose(0, 1)
        d = x.shape[1]
        if w is None:
            return solution, None
        return solution[..., :d], w[:, None] + solution[..., d].double()


class Velocity:
    """Velocity of the state, the growth as one more coordinate; remembers its last calls."""

    def __init__(self, equation: Equation, grows: bool):
        self.rates, self.grows = equation.rates, grows
        # More than the stages of any method.
        self.calls: deque[tuple[Tensor, Tensor]] = deque(maxlen=16)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Velocity ``(n, d)`` at a scalar time, or ``(n, d + 1)`` with the growth."""
        self.calls.append((t.detach(), y.detach()))
        x = y[:, :-1] if self.grows else y
        f, r = self.rates(t.to(y.dtype), x)
        if not self.grows or r is None:
            return f
        return torch.cat([f, r[:, None]], dim=1)

    def failure(self, solver: str, span: float) -> str:
        """Say when the method gave up and how many paths made it."""
        t, y = self._last_finite_call()
        with torch.no_grad():
            velocity = self(t, y)
        is_finite = y.isfinite().all(1) & velocity.isfinite().all(1)
        # A path that would change ten-thousandfold within the span is running away.
        pace = velocity.norm(dim=1) / (y.norm(dim=1) + 1e-12) * span
        n_bad = int((~is_finite | (pace > 1e4)).sum())
        return (
            f"solver {solver} gave up at time {float(t):g}: its step became too small, and {n_bad} "
            f"of {len(y)} paths run to infinity or have a velocity that is not finite there; "
            "solver='tsit5' drops such paths and finishes the others"
        )

    def _last_finite_call(self) -> tuple[Tensor, Tensor]:
        """One bad path makes the common step, then every time and state, NaN: look before that."""
        for t, y in reversed(self.calls):
            if t.isfinite():
                return t, y
        return self.calls[0]


def _steps(task: Task, intervals: range) -> Tensor:
    """Every step's start, then the end: outputs are hit exactly, not interpolated linearly."""
    first = task.grid.steps(intervals[0]).start
    last = task.grid.steps(intervals[-1]).stop
    end = task.grid.times[intervals.stop : intervals.stop + 1]
    return torch.cat([task.grid.starts[first:last], end])
