"""Tsitouras' 5(4) pair with a step size of its own for every path."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import Task
from dyninfer.simulation.solvers.tsit5_tableau import ERROR, INTERPOLANT, A, C

# Proportional-integral control of the step (Hairer & Wanner, Solving ODEs II, section IV.2).
SAFETY, SHRINK, STRETCH = 0.85, 0.2, 10.0
INTEGRAL = 0.04
PROPORTIONAL = 1 / 5 - 0.75 * INTEGRAL
MIN_STEP = 1e-10  # of the span: below it a path has failed
MAX_STEPS = 100_000


@dataclass(kw_only=True, repr=False, eq=False)
class Tsit5(Solver):
    """Tsitouras' 5(4) pair: adaptive, every path its own step; the default of flows without noise.

    Order 5, six evaluations a step. The error of a step is ``rms(err / (atol + rtol max(|x|, |x'|)))``
    over the features of one path (the log-weight counts as one more norm), and output times are
    read off the pair's free interpolant of order 4. A path that has arrived leaves the batch; one
    whose step vanishes or whose velocity is not finite stays NaN from its next output on.

    Parameters
    ----------
    rtol, atol : float
        Relative and absolute tolerance of every step; ``atol`` is in state units.
    """

    rtol: float = 1e-4
    atol: float = 1e-5

    spelling: ClassVar[str] = "tsit5"
    can_run: ClassVar[frozenset[Kind]] = frozenset({Kind.FLOW})

    def integrate(
        self, task: Task, x: Tensor, w: Tensor | None, rows: range, intervals: range
    ) -> tuple[Tensor, Tensor | None]:
        """See :meth:`Solver.integrate`."""
        times = task.grid.times[intervals.start : intervals.stop + 1].to(x.device)
        sign = math.copysign(1.0, times[-1] - times[0])
        clock = Clock(float(times[0]), sign, (times[1:] - times[0]).abs())
        run = Run(task, self.rtol, self.atol, clock)
        outputs = Outputs.empty(x, w, len(intervals))
        live = _start(run, x, w)
        ticked = 0
        for _ in range(MAX_STEPS):
            live = _step(run, live, outputs)
            is_going = (live.elapsed < clock.span) & (live.h > MIN_STEP * clock.span)
            going = torch.nonzero(is_going).squeeze(1)
            if len(going) < len(live.index):
                live = live.select(going)
            ticked = _tick(run, live, ticked)
            if len(going) == 0:
                break
        return outputs.states, outputs.log_weights


@dataclass
class Clock:
    """Time of the run against elapsed time: where it starts, its sign, and the outputs."""

    start: float
    sign: float
    outputs: Tensor  # elapsed time at each output, float64

    @property
    def span(self) -> float:
        """Elapsed time at the last output."""
        return float(self.outputs[-1])

    def time(self, elapsed: Tensor, like: Tensor) -> Tensor:
        """Time of the process, in the precision of the states."""
        return (self.start + self.sign * elapsed).to(like.dtype)


@dataclass(frozen=True)
class Run:
    """What stays the same while a batch of paths is run."""

    task: Task
    rtol: float
    atol: float
    clock: Clock

    def rates(self, elapsed: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Velocity and growth at an elapsed time of each path."""
        return self.task.equation.rates(self.clock.time(elapsed, x), x)


@dataclass
class Outputs:
    """States ``(n, interval, d)`` and log-weights ``(n, interval)``; NaN until they are written."""

    states: Tensor
    log_weights: Tensor | None

    @classmethod
    def empty(cls, x: Tensor, w: Tensor | None, n_outputs: int) -> Outputs:
        """Allocate the outputs of a batch of paths."""
        states = x.new_full((len(x), n_outputs, x.shape[1]), torch.nan)
        log_weights = None if w is None else w.new_full((len(x), n_outputs), torch.nan)
        return cls(states, log_weights)


@dataclass
class Live:
    """The paths that are still on their way, one row each."""

    index: Tensor  # row in the batch
    elapsed: Tensor  # time since the start, float64 and never negative
    h: Tensor  # next step, float64
    error: Tensor  # of the last accepted step, over the tolerance
    retrying: Tensor  # whether the last step was rejected
    x: Tensor
    f: Tensor  # velocity at x
    w: Tensor | None
    r: Tensor | None  # growth at x

    def select(self, rows: Tensor) -> Live:
        """Leave the other paths behind."""
        values: list[Any] = [getattr(self, field.name) for field in fields(self)]
        selected: list[Any] = [None if value is None else value[rows] for value in values]
        return Live(*selected)


@dataclass
class Trial:
    """A step that is tried: its length, its end, and the slopes of its seven stages."""

    h: Tensor  # float64
    signed: Tensor  # (n, 1), in the precision of the states and with the sign of the run
    x: Tensor
    w: Tensor | None
    slopes: list[Tensor]
    growths: list[Tensor]


def _start(run: Run, x: Tensor, w: Tensor | None) -> Live:
    n, device = len(x), x.device
    elapsed = torch.zeros(n, dtype=torch.float64, device=device)
    f, r = run.rates(elapsed, x)
    with torch.no_grad():
        h = _first_step(run, x, f)
    return Live(
        index=torch.arange(n, device=device),
        elapsed=elapsed,
        h=h,
        error=torch.ones_like(h),
        retrying=torch.zeros(n, dtype=torch.bool, device=device),
        x=x,
        f=f,
        w=w,
        r=None if w is None else r,
    )


def _first_step(run: Run, x: Tensor, f: Tensor) -> Tensor:
    """Guess every path's first step (Hairer, Nørsett & Wanner, Solving ODEs I, section II.4)."""
    span = run.clock.span
    scale = run.atol + run.rtol * x.abs()
    size, slope = _rms(x / scale), _rms(f / scale)
    is_tiny = (size < 1e-5) | (slope < 1e-5)
    h0 = torch.where(is_tiny, 1e-6 * span, 0.01 * size / slope).clamp(max=span)
    signed = (run.clock.sign * h0).to(x.dtype)[:, None]
    f1, _ = run.rates(h0, x + signed * f)
    bend = torch.maximum(slope, _rms((f1 - f) / scale) / h0)
    is_straight = bend <= 1e-15
    h1 = torch.where(is_straight, (1e-3 * h0).clamp(min=1e-6 * span), (0.01 / bend) ** 0.2)
    h = torch.minimum(100 * h0, h1).clamp(max=span)
    return torch.where(h.isfinite(), h, 0.01 * span)


def _step(run: Run, live: Live, outputs: Outputs) -> Live:
    """Try one step for every live path, write the outputs it crosses, and choose the next."""
    span = run.clock.span
    remaining = span - live.elapsed
    trial = _stages(run, live, torch.minimum(live.h, remaining))
    with torch.no_grad():
        error = _error(run, live, trial)
        good = error <= 1
        # The last step lands on the end: adding it up would leave a rounding error.
        ahead = torch.where(live.h >= remaining, span, live.elapsed + trial.h)
        elapsed = torch.where(good, ahead, live.elapsed)
        last_error = torch.where(good, error.clamp(min=1e-4), live.error)
        next_h = trial.h * _factor(error, live, good)
    _write(run.clock, live, elapsed, trial, outputs)
    w, r = live.w, live.r
    if w is not None and r is not None:
        w = torch.where(good, trial.w, w)
        r = torch.where(good, trial.growths[-1], r)
    return Live(
        index=live.index,
        elapsed=elapsed,
        h=next_h,
        error=last_error,
        retrying=~good,
        x=torch.where(good[:, None], trial.x, live.x),
        f=torch.where(good[:, None], trial.slopes[-1], live.f),
        w=w,
        r=r,
    )


def _factor(error: Tensor, live: Live, good: Tensor) -> Tensor:
    """By how much the step changes: after a rejection by the error alone, and not upwards at once."""
    error = error.clamp(min=1e-10)
    steady = torch.where(good, live.error**INTEGRAL, 1.0)
    factor = (SAFETY * error**-PROPORTIONAL * steady).clamp(SHRINK, STRETCH)
    return torch.where(live.retrying | ~good, factor.clamp(max=1.0), factor)


def _stages(run: Run, live: Live, h: Tensor) -> Trial:
    """Seven stages; the last is at the step's end and is the first of the next."""
    signed = (run.clock.sign * h).to(live.x.dtype)[:, None]
    x, w = live.x, live.w
    slopes = [live.f]
    growths = [] if live.r is None else [live.r]
    for c, a in zip(C, A, strict=True):
        x = torch.addcmul(live.x, signed, _sum(a, slopes))
        f, r = run.rates(live.elapsed + c * h, x)
        slopes.append(f)
        if live.r is not None and r is not None:
            growths.append(r)
    if w is not None:
        # Log-weights are float64 whatever the precision of the states.
        w = torch.addcmul(w, run.clock.sign * h, _sum(A[-1], growths[:-1]).double())
    return Trial(h, signed, x, w, slopes, growths)


def _error(run: Run, live: Live, trial: Trial) -> Tensor:
    """Error of a step over the tolerance ``(n,)`` float64; infinite where anything is not finite."""
    scale = torch.maximum(live.x.abs(), trial.x.abs()).mul_(run.rtol).add_(run.atol)
    error = _rms(_sum(ERROR, trial.slopes).mul_(trial.signed).div_(scale))
    if trial.w is not None and live.w is not None:
        scale_w = run.atol + run.rtol * torch.maximum(live.w.abs(), trial.w.abs())
        error_w = (trial.signed[:, 0] * _sum(ERROR, trial.growths) / scale_w).abs()
        error = torch.maximum(error, error_w)
    finite = error.isfinite() & trial.slopes[-1].sum(1).isfinite()
    return torch.where(finite, error, torch.inf)


def _write(clock: Clock, live: Live, elapsed: Tensor, trial: Trial, outputs: Outputs) -> None:
    """Interpolate every output between ``live.elapsed`` (not included) and ``elapsed``."""
    first = torch.searchsorted(clock.outputs, live.elapsed, right=True)
    counts = torch.searchsorted(clock.outputs, elapsed, right=True) - first
    rows = torch.repeat_interleave(counts)
    if len(rows) == 0:
        return
    before = torch.cumsum(counts, 0) - counts
    columns = first[rows] + torch.arange(len(rows), device=rows.device) - before[rows]
    theta = (clock.outputs[columns] - live.elapsed[rows]) / trial.h[rows]
    powers = torch.stack([theta, theta**2, theta**3, theta**4])
    shares = torch.tensor(INTERPOLANT, dtype=torch.float64, device=rows.device) @ powers
    lengths = shares * (clock.sign * trial.h[rows])
    place = live.index[rows], columns
    value = live.x[rows]
    for length, slope in zip(lengths.to(value.dtype)[:, :, None], trial.slopes, strict=True):
        value = torch.addcmul(value, length, slope[rows])
    outputs.states[place] = value
    if outputs.log_weights is not None and live.w is not None:
        growths = torch.stack([growth[rows] for growth in trial.growths])
        outputs.log_weights[place] = live.w[rows] + (lengths * growths).sum(0)


def _sum(coefficients: tuple[float, ...], terms: list[Tensor]) -> Tensor:
    out = coefficients[0] * terms[0]
    for coefficient, term in zip(coefficients[1:], terms[1:], strict=True):
        out.add_(term, alpha=coefficient)
    return out


def _rms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=1, dtype=torch.float64) / math.sqrt(x.shape[1])


def _tick(run: Run, live: Live, ticked: int) -> int:
    """Move the progress bar to the last output that every path has passed."""
    if run.task.tick is None:
        return ticked
    slowest = float(live.elapsed.min()) if len(live.index) else run.clock.span
    passed = int((run.clock.outputs <= slowest).sum())
    for _ in range(passed - ticked):
        run.task.tick()
    return passed
