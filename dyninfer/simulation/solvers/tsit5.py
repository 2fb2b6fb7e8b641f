"""Tsitouras' 5(4) pair with a step size of its own for every path."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import LogWeights, Solution, Task
from dyninfer.simulation.solvers.tsit5_control import (
    change_of_step,
    error_of,
    first_step,
    weighted_sum,
)
from dyninfer.simulation.solvers.tsit5_run import Clock, Live, Run, Trial
from dyninfer.simulation.solvers.tsit5_tableau import INTERPOLANT, A, C

MAX_STEPS = 100_000


@dataclass(kw_only=True, repr=False, eq=False)
class Tsit5(Solver):
    """Tsitouras' 5(4) pair, adaptive for each path: the default for flows without noise.

    Order 5, six evaluations per step. The error of a step is ``rms(err / (atol + rtol max(|x|,
    |x'|)))`` over the features of one path (the log-weight counts as one more norm). Output times
    come from the free interpolant of order 4. A finished path leaves the batch; a path whose step
    vanishes or whose velocity is not finite is NaN from its next output on. If states are closer to
    the middle of the data or of the starting states than to 0, ``x`` is measured from there, so
    that a distant origin does not loosen the tolerance.

    Parameters
    ----------
    rtol, atol : float
        Relative and absolute tolerance of every step; ``atol`` is in units of the spread of each
        feature, in the data of the fit or else among the starting states.

    Examples
    --------
    >>> import torch, dyninfer as di
    >>> decay = di.Diffusion(drift=lambda t, x: -x)
    >>> end = di.simulate(decay, torch.ones(1, 1), [0, 1], solver=di.solvers.Tsit5(rtol=1e-6)).at(1)
    >>> round(float(end), 4)  # exp(-1)
    0.3679
    """

    rtol: float = 1e-4
    atol: float = 1e-5

    spelling = "tsit5"
    can_run = frozenset({Kind.FLOW})

    def integrate(self, task: Task, x: Tensor, w: LogWeights) -> Solution:
        """See :meth:`Solver.integrate`."""
        clock = Clock.of(task.reached, task.equation.breaks, x.device)
        # Sent to the device here, and not by every step that crosses an output.
        interpolant = torch.tensor(INTERPOLANT, dtype=torch.float64, device=x.device)
        run = Run(task, self.rtol, self.atol, clock, interpolant)
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


def _start(run: Run, x: Tensor, w: LogWeights) -> Live:
    n = len(x)
    device = x.device
    elapsed = torch.zeros(n, dtype=torch.float64, device=device)
    f, r = run.rates(elapsed, x)
    if w is None:
        r = None
    with torch.no_grad():
        h = first_step(run, x, f)
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


def _step(run: Run, live: Live, states: Tensor, log_weights: Tensor | None) -> Live:
    """Try one step for every live path, write the outputs it crosses, and choose the next."""
    stop = run.clock.next_stop(live.elapsed)
    remaining = stop - live.elapsed
    h = torch.minimum(live.h, remaining)
    trial = _stages(run, live, h)
    with torch.no_grad():
        error = error_of(run, live, trial)
        good = error <= 1
        # It lands on the stop: adding it up would leave a rounding error.
        is_cut = live.h >= remaining
        ahead = torch.where(is_cut, stop, live.elapsed + h)
        elapsed = torch.where(good, ahead, live.elapsed)
        # A step that was lucky must not let the next one grow without bound.
        bounded_error = error.clamp(min=1e-4)
        last_error = torch.where(good, bounded_error, live.error)
        next_h = h * change_of_step(error, live, good)
        # A step that was cut short for a stop tells nothing against the length it had before.
        at_least_before = torch.maximum(next_h, live.h)
        next_h = torch.where(is_cut & good, at_least_before, next_h)
    _write(run, live, elapsed, trial, states, log_weights)
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


def _stages(run: Run, live: Live, h: Tensor) -> Trial:
    """Seven stages, of which the first is known from the step before."""
    w = live.w
    signed = run.signed(h, live.x)
    slopes = [live.f]
    growths = []
    if live.r is not None:
        growths.append(live.r)
    for c, a in zip(C, A, strict=True):
        mean_slope = weighted_sum(a, slopes)
        x = torch.addcmul(live.x, signed, mean_slope)
        elapsed = live.elapsed + c * h
        f, r = run.rates(elapsed, x)
        slopes.append(f)
        if live.r is not None and r is not None:
            growths.append(r)
    if w is not None:
        # Log-weights are float64 whatever the precision of the states.
        growth = weighted_sum(A[-1], growths[:-1])
        signed_h = run.clock.sign * h
        w = torch.addcmul(w, signed_h, growth.double())
    return Trial(h, signed, x, w, slopes, growths)


def _write(
    run: Run,
    live: Live,
    elapsed: Tensor,
    trial: Trial,
    states: Tensor,
    log_weights: Tensor | None,
) -> None:
    """Interpolate every output between ``live.elapsed`` (not included) and ``elapsed``."""
    clock = run.clock
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
    weights = run.interpolant @ powers
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
