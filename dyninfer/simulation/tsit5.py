"""Tsitouras' 5(4) pair with a step size of its own for every path."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from dyninfer.simulation.equation import Rates
from dyninfer.simulation.task import Task

# Coefficients: Tsitouras, Comput. Math. Appl. 62:770 (2011), Table 1; interpolant as in its section 4.
C = (0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)
A = (
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (
        5.86145544294642,
        -12.92096931784711,
        8.159367898576159,
        -0.071584973281401,
        -0.028269050394068383,
    ),
    (
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ),
)
ERROR = (
    -0.00178001105222577714,
    -0.0008164344596567469,
    0.007880878010261995,
    -0.1447110071732629,
    0.5823571654525552,
    -0.45808210592918697,
    1 / 66,
)
# Weight of stage i inside a step: the sum of INTERPOLANT[i][j] θ^(j+1).
INTERPOLANT = (
    (1.0, -2.763706197274826, 2.9132554618219126, -1.0530884977290216),
    (0.0, 0.13169999999999998, -0.2234, 0.1017),
    (0.0, 3.9302962368947516, -5.941033872131505, 2.490627285651253),
    (0.0, -12.411077166933676, 30.33818863028232, -16.548102889244902),
    (0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928),
    (0.0, -27.896526289197286, 65.09189467479366, -34.87065786149661),
    (0.0, 1.5, -4.0, 2.5),
)

# Proportional-integral control of the step (Hairer & Wanner, Solving ODEs II, section IV.2).
SAFETY, SHRINK, STRETCH = 0.85, 0.2, 10.0
INTEGRAL = 0.04
PROPORTIONAL = 1 / 5 - 0.75 * INTEGRAL
MIN_STEP = 1e-10  # of the span: below it a path has failed
MAX_STEPS = 100_000


@dataclass
class Live:
    """The paths that are still on their way, one row each."""

    index: Tensor  # row in the chunk
    elapsed: Tensor  # time since the start, float64 and never negative
    h: Tensor  # next step, float64
    error: Tensor  # of the last accepted step, over the tolerance
    retrying: Tensor  # whether the last step was rejected
    x: Tensor
    f: Tensor  # velocity at x
    w: Tensor | None
    r: Tensor | None  # growth at x

    def keep(self, rows: Tensor) -> Live:
        """Leave the other paths behind."""
        values: list[Any] = [getattr(self, field.name) for field in fields(self)]
        kept: list[Any] = [None if value is None else value[rows] for value in values]
        return Live(*kept)


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


def integrate_tsit5(
    task: Task, x: Tensor, w: Tensor | None, rows: range, intervals: range
) -> tuple[Tensor, Tensor | None]:
    """Run every path with its own steps; a path that has arrived leaves the batch.

    The error of a step is ``rms(err / (atol + rtol max(|x|, |x'|)))`` over the features of one path (the log-weight
    counts as one more norm), and output times are read off the pair's free 4th-order interpolant. A path whose step
    vanishes or whose velocity is not finite stays NaN from its next output on.

    Parameters
    ----------
    task : Task
    x, w : Tensor
        States ``(n, d)`` and log-weights ``(n,)`` or None at the start of the first interval.
    rows, intervals : range
        Numbers of the paths, and of the output intervals to cross.

    Returns
    -------
    Tensor, ``(n, interval, d)``
        States at the end of every interval.
    Tensor, ``(n, interval)``, or None
        Log-weights there.
    """
    times = task.grid.times[intervals.start : intervals.stop + 1].to(x.device)
    clock = Clock(
        float(times[0]), math.copysign(1.0, times[-1] - times[0]), (times[1:] - times[0]).abs()
    )
    states = x.new_full((len(x), len(intervals), x.shape[1]), torch.nan)
    weights = None if w is None else w.new_full((len(x), len(intervals)), torch.nan)
    live = _start(task, clock, x, w)
    ticked = 0
    for _ in range(MAX_STEPS):
        live = _step(task, clock, live, states, weights)
        going = torch.nonzero(
            (live.elapsed < clock.span) & (live.h > MIN_STEP * clock.span)
        ).squeeze(1)
        if len(going) < len(live.index):
            live = live.keep(going)
        ticked = _tick(task, clock, live, ticked)
        if len(going) == 0:
            break
    return states, weights


def _start(task: Task, clock: Clock, x: Tensor, w: Tensor | None) -> Live:
    n = len(x)
    elapsed = torch.zeros(n, dtype=torch.float64, device=x.device)
    f, r = task.equation.rates(clock.time(elapsed, x), x)
    with torch.no_grad():
        h = _first_step(task, clock, x, f, task.equation.rates)
    none = torch.zeros(n, dtype=torch.bool, device=x.device)
    index = torch.arange(n, device=x.device)
    return Live(index, elapsed, h, torch.ones_like(h), none, x, f, w, None if w is None else r)


def _first_step(task: Task, clock: Clock, x: Tensor, f: Tensor, rates: Rates) -> Tensor:
    """Guess every path's first step (Hairer, Nørsett & Wanner, Solving ODEs I, section II.4)."""
    scale = task.atol + task.rtol * x.abs()
    size, slope = _rms(x / scale), _rms(f / scale)
    h0 = torch.where((size < 1e-5) | (slope < 1e-5), 1e-6 * clock.span, 0.01 * size / slope).clamp(
        max=clock.span
    )
    f1, _ = rates(clock.time(h0, x), x + (clock.sign * h0).to(x.dtype)[:, None] * f)
    bend = torch.maximum(slope, _rms((f1 - f) / scale) / h0)
    h1 = torch.where(bend <= 1e-15, (1e-3 * h0).clamp(min=1e-6 * clock.span), (0.01 / bend) ** 0.2)
    h = torch.minimum(100 * h0, h1).clamp(max=clock.span)
    return torch.where(h.isfinite(), h, 0.01 * clock.span)


def _step(task: Task, clock: Clock, live: Live, states: Tensor, weights: Tensor | None) -> Live:
    """Try one step for every live path, write the outputs it crosses, and choose the next."""
    left = clock.span - live.elapsed
    h = torch.minimum(live.h, left)
    signed = (clock.sign * h).to(live.x.dtype)[:, None]
    x, w, slopes, growths = _stages(task.equation.rates, clock, live, h, signed)
    with torch.no_grad():
        error = _error(task, live, x, w, slopes, growths, signed)
        good = error <= 1
        # The last step lands on the end: adding it up would leave a rounding error.
        ahead = torch.where(live.h >= left, clock.span, live.elapsed + h)
        elapsed = torch.where(good, ahead, live.elapsed)
        before = torch.where(good, error.clamp(min=1e-4), live.error)
        h_next = h * _factor(error, live, good)
    _write(clock, live, elapsed, h, signed, slopes, growths, states, weights)
    f = torch.where(good[:, None], slopes[-1], live.f)
    x = torch.where(good[:, None], x, live.x)
    if w is not None and live.w is not None and live.r is not None:
        return Live(
            live.index,
            elapsed,
            h_next,
            before,
            ~good,
            x,
            f,
            torch.where(good, w, live.w),
            torch.where(good, growths[-1], live.r),
        )
    return Live(live.index, elapsed, h_next, before, ~good, x, f, None, None)


def _factor(error: Tensor, live: Live, good: Tensor) -> Tensor:
    """By how much the step changes: after a rejection by the error alone, and not upwards at once."""
    error = error.clamp(min=1e-10)
    steady = torch.where(good, live.error**INTEGRAL, 1.0)
    factor = (SAFETY * error**-PROPORTIONAL * steady).clamp(SHRINK, STRETCH)
    return torch.where(live.retrying | ~good, factor.clamp(max=1.0), factor)


def _stages(
    rates: Rates, clock: Clock, live: Live, h: Tensor, signed: Tensor
) -> tuple[Tensor, Tensor | None, list[Tensor], list[Tensor]]:
    """Seven stages; the last is at the step's end and is the first of the next."""
    x, slopes, growths = live.x, [live.f], [] if live.r is None else [live.r]
    for c, a in zip(C, A, strict=True):
        x = torch.addcmul(live.x, signed, _sum(a, slopes))
        f, r = rates(clock.time(live.elapsed + c * h, x), x)
        slopes.append(f)
        if live.r is not None and r is not None:
            growths.append(r)
    if live.w is None:
        return x, None, slopes, growths
    return (
        x,
        torch.addcmul(live.w, clock.sign * h, _sum(A[-1], growths[:-1]).double()),
        slopes,
        growths,
    )


def _error(
    task: Task,
    live: Live,
    x: Tensor,
    w: Tensor | None,
    slopes: list[Tensor],
    growths: list[Tensor],
    signed: Tensor,
) -> Tensor:
    """Error of a step against the tolerance ``(n,)`` float64; infinite where anything is not finite."""
    scale = torch.maximum(live.x.abs(), x.abs()).mul_(task.rtol).add_(task.atol)
    error = _rms(_sum(ERROR, slopes).mul_(signed).div_(scale))
    if w is not None and live.w is not None:
        scale_w = task.atol + task.rtol * torch.maximum(live.w.abs(), w.abs())
        error_w = (signed[:, 0] * _sum(ERROR, growths) / scale_w).abs()
        error = torch.maximum(error, error_w)
    finite = error.isfinite() & slopes[-1].sum(1).isfinite()
    return torch.where(finite, error, torch.inf)


def _write(
    clock: Clock,
    live: Live,
    elapsed: Tensor,
    h: Tensor,
    signed: Tensor,
    slopes: list[Tensor],
    growths: list[Tensor],
    states: Tensor,
    weights: Tensor | None,
) -> None:
    """Interpolate every output between ``live.elapsed`` (not included) and ``elapsed``."""
    first = torch.searchsorted(clock.outputs, live.elapsed, right=True)
    counts = torch.searchsorted(clock.outputs, elapsed, right=True) - first
    rows = torch.repeat_interleave(counts)
    if len(rows) == 0:
        return
    before = torch.cumsum(counts, 0) - counts
    columns = first[rows] + torch.arange(len(rows), device=rows.device) - before[rows]
    theta = (clock.outputs[columns] - live.elapsed[rows]) / h[rows]
    powers = torch.stack([theta, theta**2, theta**3, theta**4])
    shares = torch.tensor(INTERPOLANT, dtype=torch.float64, device=rows.device) @ powers
    lengths = shares * (clock.sign * h[rows])
    place = live.index[rows], columns
    narrow = lengths.to(live.x.dtype)[:, :, None]
    value = live.x[rows]
    for share, slope in zip(narrow, slopes, strict=True):
        value = torch.addcmul(value, share, slope[rows])
    states[place] = value
    if weights is not None and live.w is not None:
        weights[place] = live.w[rows] + (lengths * torch.stack([g[rows] for g in growths])).sum(0)


def _sum(coefficients: tuple[float, ...], terms: list[Tensor]) -> Tensor:
    out = coefficients[0] * terms[0]
    for coefficient, term in zip(coefficients[1:], terms[1:], strict=True):
        out.add_(term, alpha=coefficient)
    return out


def _rms(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=1, dtype=torch.float64) / math.sqrt(x.shape[1])


def _tick(task: Task, clock: Clock, live: Live, ticked: int) -> int:
    """Move the progress bar to the last output that every path has passed."""
    if task.tick is None:
        return ticked
    last = float(live.elapsed.min()) if len(live.index) else clock.span
    passed = int((clock.outputs <= last).sum())
    for _ in range(passed - ticked):
        task.tick()
    return passed
