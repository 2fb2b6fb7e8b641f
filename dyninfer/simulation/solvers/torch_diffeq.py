"""torchdiffeq's methods as a solver."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

import torch
import torchdiffeq
from torch import Tensor

from dyninfer.learning.settings import brief
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import LogWeights, Solution, Task
from dyninfer.simulation.solvers.weighted import Weighted

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
# Without its Adams methods, which take past steps to be as long as the present one: ours differ
# between outputs.
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")


@dataclass(kw_only=True, repr=False, eq=False)
class TorchDiffEq(Solver):
    """A torchdiffeq method, for flows without noise; adaptive steps are shared in a chunk.

    The orders are those of the methods: dopri5 5, dopri8 8, bosh3 3, fehlberg2 and adaptive_heun 2;
    with fixed steps euler 1, midpoint and heun2 2, heun3 3, rk4 4. Gradients flow by direct
    backpropagation through the steps.

    Parameters
    ----------
    method : str
        ``"dopri5"``, ``"dopri8"``, ``"bosh3"``, ``"fehlberg2"``, ``"adaptive_heun"``, or with fixed
        steps ``"euler"``, ``"midpoint"``, ``"heun2"``, ``"heun3"``, ``"rk4"``.
    rtol, atol : float
        Relative and absolute tolerance of the adaptive methods; ``atol`` is in units of each
        feature's spread, as in :class:`Tsit5`.
    dt : float, optional
        Largest step of the methods with fixed steps, in units of time; by default a hundredth of
        the whole span.

    Raises
    ------
    RuntimeError
        If an adaptive method gives up; the message names the time and the number of paths that
        stopped it.

    Examples
    --------
    >>> import torch, dyninfer as di
    >>> decay = di.Diffusion(drift=lambda t, x: -x)
    >>> solver = di.solvers.TorchDiffEq("dopri5")
    >>> end = di.simulate(decay, torch.ones(1, 1), [0, 1], solver=solver).at(1)
    >>> round(float(end), 4)  # exp(-1)
    0.3679
    """

    method: str = field(default="dopri5", kw_only=False)
    rtol: float = 1e-4
    atol: float = 1e-5
    dt: float | None = None

    spelling = "torchdiffeq"
    methods = (*ADAPTIVE, *FIXED)
    can_run = frozenset({Kind.FLOW})

    @classmethod
    def spelled(cls, words: list[str]) -> Self:
        """Read ``"torchdiffeq:<method>"``."""
        return cls(":".join(words)) if words else cls()

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        super().check()
        if self.method not in self.methods:
            raise ValueError(
                f"{brief(self.method)} names no method of torchdiffeq; choose one of "
                f"{', '.join(self.methods)}"
            )

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """See :meth:`Solver.integrate`."""
        weighted = Weighted(task, x, w)
        velocity = Velocity(weighted)
        options: dict[str, Any] = {}
        if self.method in FIXED:
            taus = weighted.taus(_step_ends(task))
            options["grid_constructor"] = lambda f, y, t: taus.to(t)
        try:
            y = torchdiffeq.odeint(
                velocity,
                weighted.start,
                weighted.taus(task.times(like=x)),
                rtol=self.rtol,
                atol=self.atol,
                method=self.method,
                options=options,
            )
        except AssertionError as error:
            # All that torchdiffeq says of an underflowing step is this.
            raise RuntimeError(velocity.failure(str(self))) from error
        task.passed(len(task.intervals))
        return weighted.solution(y[1:].transpose(0, 1))


class Velocity:
    """Velocity of the state, and of its log-weight; remembers its last calls."""

    def __init__(self, weighted: Weighted):
        self.weighted = weighted
        # More than the stages of any method.
        self.calls: deque[tuple[Tensor, Tensor]] = deque(maxlen=16)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        """Velocity ``(n, d)`` at a scalar time, or ``(n, d + 1)`` with the growth."""
        self.calls.append((t.detach(), y.detach()))
        return self.weighted.velocity(t, y)

    def failure(self, solver: str) -> str:
        """Say when the method gave up and how many paths made it."""
        t, y = self._last_finite_call()
        with torch.no_grad():
            velocity = self(t, y)
        both = torch.cat([y, velocity], dim=1)
        is_finite = both.isfinite().all(1)
        # The small number, of states of size one, is for those at 0.
        size = y.norm(dim=1) + 1e-12
        # A path that would change ten-thousandfold within the span is running away.
        is_running_away = velocity.norm(dim=1) > 1e4 * size
        n_bad = int((~is_finite | is_running_away).sum())
        time = self.weighted.time(float(t))
        return (
            f"solver {solver} gave up at time {time:g}: its step became too small, and {n_bad} "
            f"of {len(y)} paths run to infinity or have a velocity that is not finite there; "
            "solver='tsit5' drops such paths and finishes the others"
        )

    def _last_finite_call(self) -> tuple[Tensor, Tensor]:
        """One bad path makes the common step, then every time and state, NaN: look before that."""
        for t, y in reversed(self.calls):
            if t.isfinite():
                return t, y
        return self.calls[0]


def _step_ends(task: Task) -> Tensor:
    """Every step's start, then the end: outputs are hit exactly, not interpolated linearly."""
    grid = task.grid
    first, last = task.steps()
    starts = grid.starts[first:last]
    # The last output, as a list of one time.
    end = grid.times[task.intervals.stop][None]
    return torch.cat([starts, end])
