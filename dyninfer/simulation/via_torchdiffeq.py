"""torchdiffeq's methods behind our face."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

import torch
import torchdiffeq
from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.task import Task

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
# Without its Adams methods, which take past steps to be as long as the present one: ours differ between outputs.
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")
PREFIX = "torchdiffeq:"


def is_name(name: str) -> bool:
    """Whether a solver's name is one of torchdiffeq's, with or without the prefix."""
    return name.startswith(PREFIX) or name in (*ADAPTIVE, *FIXED)


def solver(name: str) -> Any:
    """Integrator for ``"<method>"`` or ``"torchdiffeq:<method>"``; None where the name is not torchdiffeq's.

    Raises
    ------
    ValueError
        If the prefix is followed by an unknown method.
    """
    if not is_name(name):
        return None
    method = name.removeprefix(PREFIX)
    if method not in (*ADAPTIVE, *FIXED):
        raise ValueError(
            f"solver {name!r} names no method of torchdiffeq; choose one of {', '.join((*ADAPTIVE, *FIXED))}"
        )
    return partial(integrate, method=method)


def integrate(
    task: Task, x: Tensor, w: Tensor | None, rows: range, intervals: range, *, method: str
) -> tuple[Tensor, Tensor | None]:
    """Run one of torchdiffeq's methods; adaptive ones choose one step for all paths of a chunk.

    Gradients flow by direct backpropagation through the steps.

    Parameters
    ----------
    task : Task
    x, w : Tensor
        States ``(n, d)`` and log-weights ``(n,)`` or None at the start of the first interval.
    rows, intervals : range
        Numbers of the paths, and of the output intervals to cross.
    method : str

    Returns
    -------
    Tensor, ``(n, interval, d)``
        States at the end of every interval.
    Tensor, ``(n, interval)``, or None
        Log-weights there.

    Raises
    ------
    RuntimeError
        If an adaptive method gives up; the message names the time and the number of paths that stopped it.
    """
    times = task.grid.times[intervals.start : intervals.stop + 1].to(x.device)
    field = _Field(task.equation, grows=w is not None)
    state = x if w is None else torch.cat([x, x.new_zeros(len(x), 1)], dim=1)
    options: dict[str, Any] = {}
    if method in FIXED:
        options["grid_constructor"] = lambda f, y, t: _steps(task, intervals).to(t)
    try:
        path = torchdiffeq.odeint(
            field, state, times, rtol=task.rtol, atol=task.atol, method=method, options=options
        )
    except AssertionError as error:
        raise RuntimeError(field.failure(method, float((times[-1] - times[0]).abs()))) from error
    for _ in intervals:
        if task.tick:
            task.tick()
    path = path[1:].transpose(0, 1)
    d = x.shape[1]
    return path[..., :d], None if w is None else w[:, None] + path[..., d].double()


class _Field:
    """Velocity of the state, with the growth as one more coordinate; remembers where it was called last."""

    def __init__(self, equation: Equation, grows: bool):
        self.rates, self.grows = equation.rates, grows
        self.calls: deque[tuple[Tensor, Tensor]] = deque(
            maxlen=16
        )  # more than the stages of any method

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls.append((t.detach(), y.detach()))
        x = y[:, :-1] if self.grows else y
        f, r = self.rates(t.to(y.dtype), x)
        return torch.cat([f, r[:, None]], dim=1) if self.grows and r is not None else f

    def failure(self, method: str, span: float) -> str:
        """Say when the method gave up and how many paths made it."""
        # One bad path makes the common step, and then every time and state, NaN: look before that.
        t, y = next((call for call in reversed(self.calls) if call[0].isfinite()), self.calls[0])
        with torch.no_grad():
            velocity = self(t, y)
            finite = y.isfinite().all(1) & velocity.isfinite().all(1)
            # A path that would change ten-thousandfold within the span at its present velocity is running away.
            pace = velocity.norm(dim=1) / (y.norm(dim=1) + 1e-12) * span
            bad = int((~finite | (pace > 1e4)).sum())
        return (
            f"solver {method!r} gave up at time {float(t):g}: its step became too small, and {bad} of {len(y)} "
            "paths run to infinity or have a velocity that is not finite there; solver='tsit5' drops such paths and "
            "finishes the others"
        )


def _steps(task: Task, intervals: range) -> Tensor:
    """Every step's start, then the end: outputs are hit exactly instead of being interpolated linearly."""
    first, last = task.grid.steps(intervals[0]).start, task.grid.steps(intervals[-1]).stop
    return torch.cat(
        [task.grid.starts[first:last], task.grid.times[intervals.stop : intervals.stop + 1]]
    )
