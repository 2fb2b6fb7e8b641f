"""Lengths of steps: the first one, the error of each, and by how much the next one changes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dyninfer.simulation.solvers.tsit5_run import Live, Run, Trial
from dyninfer.simulation.solvers.tsit5_tableau import ERROR

# Proportional-integral control of the step (Hairer & Wanner, Solving ODEs II, section IV.2).
SAFETY = 0.85  # aim below the tolerance, so that few steps are rejected
SHRINK, STRETCH = 0.2, 10.0  # most that a step may change at once
INTEGRAL = 0.04
PROPORTIONAL = 1 / 5 - 0.75 * INTEGRAL  # 1/5 is the order of the error


def first_step(run: Run, x: Tensor, f: Tensor) -> Tensor:
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


def change_of_step(error: Tensor, live: Live, good: Tensor) -> Tensor:
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


def error_of(run: Run, live: Live, trial: Trial) -> Tensor:
    """Error of a step over the tolerance ``(n,)`` float64; inf where anything is not finite."""
    # The difference of the two solutions of the pair, of orders five and four.
    gap = weighted_sum(ERROR, trial.slopes).mul_(trial.signed)
    tolerance = run.tolerance(live.x, trial.x)
    error = _rms(gap.div_(tolerance))
    if trial.w is not None and live.w is not None:
        h = trial.signed[:, 0]
        gap = weighted_sum(ERROR, trial.growths).mul_(h)
        tolerance = run.weight_tolerance(live.w, trial.w)
        weight_error = gap / tolerance
        error = torch.maximum(error, weight_error.abs())
    # The last slope has no part in the new state, but is where the next step begins.
    last_slope = trial.slopes[-1]
    steepest = last_slope.abs().amax(1)
    is_finite = error.isfinite() & steepest.isfinite()
    return torch.where(is_finite, error, torch.inf)


def weighted_sum(coefficients: tuple[float, ...], terms: list[Tensor]) -> Tensor:
    """``Σ coefficients_j terms_j``, in place after the first term."""
    total = coefficients[0] * terms[0]
    for j in range(1, len(terms)):
        total.add_(terms[j], alpha=coefficients[j])
    return total


def _rms(x: Tensor) -> Tensor:
    """Root mean square over the features ``(n,)`` float64."""
    norm = torch.linalg.vector_norm(x, dim=1, dtype=torch.float64)
    return norm / math.sqrt(x.shape[1])
