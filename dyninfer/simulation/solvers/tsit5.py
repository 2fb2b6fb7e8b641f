"""Tsitouras' 5(4) pair with a step size of its own for every path."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from dyninfer.simulation.equation import Rate
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import LogWeights, Solution, Task
from dyninfer.simulation.solvers.tsit5_tableau import ERROR, INTERPOLANT, A, C

# Proportional-integral control of the step (Hairer & Wanner, Solving ODEs II, section IV.2).
SAFETY = 0.85  # aim below the tolerance, so that few steps are rejected
SHRINK, STRETCH = 0.2, 10.0  # most that a step may change at once
INTEGRAL = 0.04
PROPORTIONAL = 1 / 5 - 0.75 * INTEGRAL  # 1/5 is the order of the error
MIN_STEP = 1e-10  # of the span: below it a path has failed
MAX_STEPS = 100_000
ROUNDINGS = 4  # of the states: the least error of a step that tells anything


@dataclass(kw_only=True, repr=False, eq=False)
class Tsit5(Solver):
    """Tsitouras' 5(4) pair: adaptive, every path its own step; the default of flows without noise.

    Order 5, six evaluations a step. The error of a step is
    ``rms(err / (atol + rtol max(|x|, |x'|)))`` over the features of one path (the log-weight counts
    as one more norm), and output times are read off the pair's free interpolant of order 4. A path
    that has arrived leaves the batch; one whose step vanishes or whose velocity is not finite stays
    NaN from its next output on. States ``x`` count from the middle of the data or of the starting
    states where they are closer to it than to 0, so that an origin far away loosens nothing.

    Parameters
    ----------
    rtol, atol : float
        Relative and absolute tolerance of every step; ``atol`` is in units of a feature's spread:
        that of the data that the process was fitted to, or else of the starting states.
    """

    rtol: float = 1e-4
    atol: float = 1e-5

    spelling = "tsit5"
    can_run = frozenset({Kind.FLOW})

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """See :meth:`Solver.integrate`."""
        times = task.times(like=x)
        clock = Clock.of(times, task.equation.breaks)
        run = Run(task, self.rtol, self.atol, clock)
        n, d = x.shape
        # What no step writes stays NaN: a path that fails is told by its states.
        shape = (n, len(task.intervals), d)
        states = x.new_full(shape, torch.nan)
        log_weights = None
        if w is not None:
            log_weights = w.new_full(states.shape[:2], torch.nan)
        live = _start(run, x, w)
        n_passed = 0
        for _ in range(MAX_STEPS):
            live = _step(run, live, states, log_weights)
            going = live.going(run.clock.span)
            if len(going) < len(live.index):
                live = live.select(going)
            n_passed = _show_progress(run, live, n_passed)
            if len(going) == 0:
                break
        return states, log_weights


@dataclass(frozen=True)
class Clock:
    """Time of the run against elapsed time: where it starts, its sign, outputs and stops."""

    start: float
    sign: float
    outputs: Tensor  # elapsed time at each output, float64
    span: float  # elapsed time at the last output
    stops: Tensor  # elapsed times at which a step must end; the last is the span

    @classmethod
    def of(cls, times: Tensor, breaks: Tensor | None) -> Clock:
        """Clock of a start and output times, in either direction, past breaks of the process."""
        start = times[0]
        ahead = times[1:] - start
        sign = math.copysign(1.0, ahead[-1])
        outputs = ahead.abs()
        end = outputs[-1:]
        stops = end
        if breaks is not None:
            since_start = breaks.to(start) - start
            stops = sign * since_start
            # What is closer to an end than rounding would leave no step.
            least = MIN_STEP * end
            most = end - least
            is_inside = (stops > least) & (stops < most)
            inner = stops[is_inside]
            stops = torch.cat([inner.sort().values, end])
        return cls(float(start), sign, outputs, float(end), stops)

    def next_stop(self, elapsed: Tensor) -> Tensor:
        """Elapsed time of the first stop ahead of each path ``(n,)``, which is before the end."""
        ahead = torch.searchsorted(self.stops, elapsed, right=True)
        return self.stops[ahead]

    def time(self, elapsed: Tensor) -> Tensor:
        """Time of the process, float64."""
        return self.start + self.sign * elapsed


@dataclass(frozen=True)
class Run:
    """What stays the same while a batch of paths is run."""

    task: Task
    rtol: float
    atol: float
    clock: Clock

    def rates(self, elapsed: Tensor, x: Tensor) -> Rate:
        """Velocity and growth at an elapsed time of each path."""
        equation = self.task.equation
        time = equation.time(self.clock.time(elapsed), x)
        return equation.rates(time, x)

    def tolerance(self, before: Tensor, after: Tensor) -> Tensor:
        """``atol unit + rtol size`` of states ``(n, d)``."""
        scale = self.task.scale
        largest = _larger(before, after)
        before_from_origin = before - scale.origin
        after_from_origin = after - scale.origin
        from_origin = _larger(before_from_origin, after_from_origin)
        size = torch.minimum(largest, from_origin)
        atol = size.new_full((), self.atol)
        relative = self.rtol * size
        tolerance = torch.addcmul(relative, scale.unit, atol)
        # Below the rounding of the states themselves there is nothing to control.
        rounding = ROUNDINGS * torch.finfo(size.dtype).eps
        return torch.maximum(tolerance, rounding * largest)

    def weight_tolerance(self, before: Tensor, after: Tensor) -> Tensor:
        """``atol + rtol max(|before|, |after|)`` of log-weights, which have no unit."""
        largest = _larger(before, after)
        return largest.mul_(self.rtol).add_(self.atol)

    def signed(self, h: Tensor, x: Tensor) -> Tensor:
        """Steps ``(n, 1)`` with the sign of the run, in the precision of the states."""
        signed = (self.clock.sign * h).to(x.dtype)
        return signed[:, None]


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
    w: LogWeights
    r: Tensor | None  # growth at x

    def going(self, span: float) -> Tensor:
        """Rows that have neither arrived nor failed."""
        is_before_end = self.elapsed < span
        is_moving = self.h > MIN_STEP * span
        return torch.nonzero(is_before_end & is_moving).squeeze(1)

    def select(self, rows: Tensor) -> Live:
        """Leave the other paths behind."""
        selected: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                value = value[rows]
            selected[field.name] = value
        return Live(**selected)


@dataclass
class Trial:
    """A step that is tried: its length, its end, and the slopes of its seven stages."""

    h: Tensor  # float64
    signed: Tensor  # (n, 1)
    x: Tensor
    w: LogWeights
    slopes: list[Tensor]
    growths: list[Tensor]


def _start(run: Run, x: Tensor, w: LogWeights) -> Live:
    n = len(x)
    device = x.device
    elapsed = torch.zeros(n, dtype=torch.float64, device=device)
    f, r = run.rates(elapsed, x)
    if w is None:
        r = None
    with torch.no_grad():
        h = _first_step(run, x, f)
    return Live(
        index=torch.arange(n, device=device),
        elapsed=elapsed,
        h=h,
        # As if the step before had met the tolerance exactly.
        error=torch.ones_like(h),
        retrying=torch.zeros(n, dtype=torch.bool, device=device),
        x=x,
        f=f,
        w=w,
        r=r,
    )


def _first_step(run: Run, x: Tensor, f: Tensor) -> Tensor:
    """Guess every path's first step (Hairer, Nørsett & Wanner, Solving ODEs I, section II.4).

    The constants are those of the book, of times in units of the span and of states from the origin
    of the run: what users call a second or a zero changes no step.
    """
    span = run.clock.span
    tolerance = run.tolerance(x, x)
    from_origin = x - run.task.scale.origin
    size = _rms(from_origin / tolerance)
    # As large as the tolerance at least: a path at the very origin is no smaller than others.
    size = size.clamp(min=1.0)
    slope = _rms(f / tolerance) * span
    is_slow = slope < 1e-5
    step = 0.01 * size / slope
    h0 = torch.where(is_slow, 1e-6, step)
    h0 = h0.clamp(max=1.0)
    # One step of Euler's rule tells how fast the velocity changes.
    elapsed = h0 * span
    shift = run.signed(elapsed, x) * f
    x1 = x + shift
    f1, _ = run.rates(elapsed, x1)
    change = (f1 - f) / tolerance
    bend = _rms(change) * span / h0
    steepest = torch.maximum(slope, bend)
    is_straight = steepest <= 1e-15
    of_straight = (1e-3 * h0).clamp(min=1e-6)
    of_bent = (0.01 / steepest) ** 0.2
    h1 = torch.where(is_straight, of_straight, of_bent)
    smaller = torch.minimum(100 * h0, h1)
    h = smaller.clamp(max=1.0)
    # Where the velocity is not finite, the first trial will fail by itself.
    h = torch.where(h.isfinite(), h, 0.01)
    # A path that starts far out, but at the origin of one coordinate, would begin too cautiously.
    return h.clamp(min=1e-6) * span


def _step(run: Run, live: Live, states: Tensor, log_weights: Tensor | None) -> Live:
    """Try one step for every live path, write the outputs it crosses, and choose the next."""
    stop = run.clock.next_stop(live.elapsed)
    remaining = stop - live.elapsed
    h = torch.minimum(live.h, remaining)
    trial = _stages(run, live, h)
    with torch.no_grad():
        error = _error(run, live, trial)
        good = error <= 1
        # It lands on the stop: adding it up would leave a rounding error.
        is_cut = live.h >= remaining
        ahead = torch.where(is_cut, stop, live.elapsed + h)
        elapsed = torch.where(good, ahead, live.elapsed)
        # A step that was lucky must not let the next one grow without bound.
        bounded_error = error.clamp(min=1e-4)
        last_error = torch.where(good, bounded_error, live.error)
        next_h = h * _factor(error, live, good)
        # A step that was cut short for a stop tells nothing against the length it had before.
        at_least_before = torch.maximum(next_h, live.h)
        next_h = torch.where(is_cut & good, at_least_before, next_h)
    _write(run.clock, live, elapsed, trial, states, log_weights)
    w = live.w
    r = live.r
    if w is not None and r is not None and trial.w is not None:
        w = torch.where(good, trial.w, w)
        r = torch.where(good, trial.growths[-1], r)
    row_is_good = good[:, None]
    x = torch.where(row_is_good, trial.x, live.x)
    # The last stage is at the step's end, so it is the first of the next step.
    f = torch.where(row_is_good, trial.slopes[-1], live.f)
    return Live(
        index=live.index,
        elapsed=elapsed,
        h=next_h,
        error=last_error,
        retrying=~good,
        x=x,
        f=f,
        w=w,
        r=r,
    )


def _factor(error: Tensor, live: Live, good: Tensor) -> Tensor:
    """By how much the step changes.

    After a rejection that goes by the error alone, and not upwards at once.
    """
    # No division by zero; so small an error lengthens the step by as much as it may, anyway.
    error = error.clamp(min=1e-10)
    memory = torch.where(good, live.error**INTEGRAL, 1.0)
    proportional = error**-PROPORTIONAL
    factor = SAFETY * proportional * memory
    factor = factor.clamp(SHRINK, STRETCH)
    is_cautious = live.retrying | ~good
    not_longer = factor.clamp(max=1.0)
    return torch.where(is_cautious, not_longer, factor)


def _stages(run: Run, live: Live, h: Tensor) -> Trial:
    """Seven stages, of which the first is known from the step before."""
    w = live.w
    signed = run.signed(h, live.x)
    slopes = [live.f]
    growths = []
    if live.r is not None:
        growths.append(live.r)
    for c, a in zip(C, A, strict=True):
        mean_slope = _sum(a, slopes)
        x = torch.addcmul(live.x, signed, mean_slope)
        elapsed = live.elapsed + c * h
        f, r = run.rates(elapsed, x)
        slopes.append(f)
        if live.r is not None and r is not None:
            growths.append(r)
    if w is not None:
        # Log-weights are float64 whatever the precision of the states.
        growth = _sum(A[-1], growths[:-1])
        signed_h = run.clock.sign * h
        w = torch.addcmul(w, signed_h, growth.double())
    return Trial(h, signed, x, w, slopes, growths)


def _error(run: Run, live: Live, trial: Trial) -> Tensor:
    """Error of a step over the tolerance ``(n,)`` float64; inf where anything is not finite."""
    # The difference of the two solutions of the pair, of orders five and four.
    gap = _sum(ERROR, trial.slopes).mul_(trial.signed)
    tolerance = run.tolerance(live.x, trial.x)
    error = _rms(gap.div_(tolerance))
    if trial.w is not None and live.w is not None:
        h = trial.signed[:, 0]
        gap = _sum(ERROR, trial.growths).mul_(h)
        tolerance = run.weight_tolerance(live.w, trial.w)
        weight_error = gap / tolerance
        error = torch.maximum(error, weight_error.abs())
    # The last slope has no part in the new state, but is where the next step begins.
    last_slope = trial.slopes[-1]
    steepest = last_slope.abs().amax(1)
    is_finite = error.isfinite() & steepest.isfinite()
    return torch.where(is_finite, error, torch.inf)


def _write(
    clock: Clock,
    live: Live,
    elapsed: Tensor,
    trial: Trial,
    states: Tensor,
    log_weights: Tensor | None,
) -> None:
    """Interpolate every output between ``live.elapsed`` (not included) and ``elapsed``."""
    first = torch.searchsorted(clock.outputs, live.elapsed, right=True)
    last = torch.searchsorted(clock.outputs, elapsed, right=True)
    counts = last - first
    # One row for every output that a path crosses.
    rows = torch.repeat_interleave(counts)
    if len(rows) == 0:
        return
    n_before = torch.cumsum(counts, 0) - counts
    number = torch.arange(len(rows), device=rows.device)
    within = number - n_before[rows]
    columns = first[rows] + within
    h = trial.h[rows]
    # Where in the step an output lies, from 0 to 1.
    at_output = clock.outputs[columns]
    at_start = live.elapsed[rows]
    since_start = at_output - at_start
    theta = since_start / h
    powers = torch.stack([theta, theta**2, theta**3, theta**4])
    interpolant = torch.tensor(INTERPOLANT, dtype=torch.float64, device=rows.device)
    weights = interpolant @ powers
    lengths = weights * (clock.sign * h)
    place = live.index[rows], columns
    # In float64, as the terms have both signs: their rounding would be that of several steps.
    value = live.x[rows].double()
    for length, slope in zip(lengths, trial.slopes, strict=True):
        own_slope = slope[rows].double()
        value = torch.addcmul(value, length[:, None], own_slope)
    states[place] = value.to(states.dtype)
    if log_weights is not None and live.w is not None:
        growths = torch.stack([growth[rows] for growth in trial.growths])
        growth = (lengths * growths).sum(0)
        log_weights[place] = live.w[rows] + growth


def _larger(before: Tensor, after: Tensor) -> Tensor:
    """Elementwise the larger of two sizes."""
    return torch.maximum(before.abs(), after.abs())


def _sum(coefficients: tuple[float, ...], terms: list[Tensor]) -> Tensor:
    """``Σ coefficients_j terms_j``, in place after the first term."""
    total = coefficients[0] * terms[0]
    for j in range(1, len(terms)):
        total.add_(terms[j], alpha=coefficients[j])
    return total


def _rms(x: Tensor) -> Tensor:
    """Root mean square over the features ``(n,)`` float64."""
    norm = torch.linalg.vector_norm(x, dim=1, dtype=torch.float64)
    return norm / math.sqrt(x.shape[1])


def _show_progress(run: Run, live: Live, n_passed: int) -> int:
    """Move the progress bar to the last output that every path has passed."""
    if run.task.tick is None:
        return n_passed
    slowest = run.clock.span
    if len(live.index):
        slowest = float(live.elapsed.min())
    is_past = run.clock.outputs <= slowest
    n_outputs = int(is_past.sum())
    run.task.passed(n_outputs - n_passed)
    return n_outputs
