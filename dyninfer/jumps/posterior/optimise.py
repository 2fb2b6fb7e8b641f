"""Many small maximisations side by side: BFGS, then Newton steps with the curvature.

The curvature is needed for intervals anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dyninfer.jumps.process.chain import identity
from dyninfer.learning.interruption import ends_on_interrupt
from dyninfer.learning.progress import followed
from dyninfer.learning.settings import brief

Objective = Callable[[Tensor], Tensor]

_LONGEST = 2.0  # no parameter moves further in one step: e^2 in a rate
_ARMIJO = 1e-4  # share of the promised gain that a step must make (Nocedal and Wright 2006, 3.4)
_REDUCTIONS = 20  # 2 / 3^20 is below every tolerance: no step is left
# Where rates run away the likelihood creeps up for ever: a few idle steps in a row end it.
_IDLE_GAIN = 1e-6
_IDLE_STEPS = 5
DIFFERENCE = 1e-4  # of parameters: rounding and third derivatives err alike, about 1e-8
_CURVATURE_STEPS = (0, 3, 6, 10)  # steps before which the true curvature is taken, where asked for
_LEAST_CURVATURE = 1e-4  # during the search: a flat direction is no reason for a huge step
FLAT = 1e-2  # curvature of a standard deviation of 10 in a log-rate: nothing was learned
_CURVED = 1e-10  # cosine of step and bend above which the curvature is no rounding noise
_SMALLEST = 1e-300  # keeps the size of a slope that did not bend from being divided by
CONVERGED = 1e-4  # in log-likelihood, far below any statistical meaning


@dataclass(frozen=True)
class Maximum:
    """Where the objectives are largest, and how they curve there.

    Attributes
    ----------
    theta : Tensor, ``(B, p)``
        Parameters.
    value : Tensor, ``(B,)``
        Objective.
    information : Tensor, ``(B, p, p)``
        Minus the second derivatives.
    decrement : Tensor, ``(B,)``
        What the last Newton step was to gain at most, outside of flat directions.
    iterations : int
        Steps of BFGS.
    """

    theta: Tensor
    value: Tensor
    information: Tensor
    decrement: Tensor
    iterations: int

    @property
    def converged(self) -> Tensor:
        """Whether no step would gain more than 1e-4 ``(B,)`` bool, outside of flat directions."""
        return self.decrement < CONVERGED


@dataclass(frozen=True)
class _Point:
    """A batch of parameters ``(B, p)``, with the objectives and their slopes there."""

    theta: Tensor
    value: Tensor
    slope: Tensor

    @classmethod
    def at(cls, objective: Objective, theta: Tensor) -> _Point:
        return cls(theta, *value_and_slope(objective, theta))

    def where(self, mask: Tensor, other: _Point) -> _Point:
        """The point for the members of the mask ``(B,)``, the other for all others."""
        of_member = mask.unsqueeze(1)
        theta = torch.where(of_member, self.theta, other.theta)
        value = torch.where(mask, self.value, other.value)
        slope = torch.where(of_member, self.slope, other.slope)
        return _Point(theta, value, slope)


def maximise(
    objective: Objective,
    start: Tensor,
    max_iter: int = 300,
    tol: float = 1e-7,
    newton_steps: int = 4,
    columns: int | None = None,
) -> Maximum:
    """Maximise a batch of objectives ``(..., p) -> (...)`` from ``start`` ``(B, p)``.

    Stops where a step is expected to gain less than ``tol`` in every member of the batch. With
    ``columns``, for objectives that are cheap, BFGS starts from the true curvature and returns to
    it a few times early on; so many of its columns are computed in one call.

    Raises
    ------
    ValueError
        If the start is not finite, or the data are impossible there.
    """
    point = _first_point(objective, start)
    inverse = _unit_step(point)
    idle_steps = torch.zeros_like(point.value)
    iteration = 0
    is_whole = False
    with ends_on_interrupt():
        steps = range(1, max_iter + 1)
        # It mostly ends long before the last of these.
        for iteration in followed(steps, max_iter, "likelihood", "step"):
            if columns is not None and iteration - 1 in _CURVATURE_STEPS:
                curvature = information(objective, point.theta, columns)
                inverse, _ = floored_inverse(curvature, _LEAST_CURVATURE)
            direction = _direction(inverse, point.slope)
            new = _search(objective, point, direction)
            step = new.theta - point.theta
            bend = point.slope - new.slope
            is_first_guess = iteration == 1 and columns is None
            inverse = _updated(inverse, step, bend, is_first_guess)
            gain = new.value - point.value
            expected_gain = _quadratic(inverse, new.slope)
            is_flat = (expected_gain < tol) & (gain < tol)
            is_stuck = (step == 0).all(-1)
            anew = _unit_step(point)
            inverse = torch.where(_per_matrix(is_stuck), anew, inverse)
            idle_steps = torch.where(gain < _IDLE_GAIN, idle_steps + 1, 0)
            is_idle = idle_steps >= _IDLE_STEPS
            point = new
            ends = is_flat | is_stuck | is_idle
            if bool(ends.all()):
                break
        is_whole = True
    if not is_whole:
        # Whoever interrupts does not wait for the last digits.
        newton_steps = 0
    n_columns = columns or 1
    return _polished(objective, point.theta, tol, newton_steps, iteration, n_columns)


def highest(maxima: Sequence[Maximum]) -> Maximum:
    """For every member of a batch, the highest maximum of those reached from several starts."""
    best = maxima[0]
    for other in maxima[1:]:
        is_higher = other.value > best.value
        parts = {}
        for name in ("theta", "value", "information", "decrement"):
            old = getattr(best, name)
            trailing = (1,) * (old.ndim - 1)
            chosen = is_higher.reshape(-1, *trailing)
            parts[name] = torch.where(chosen, getattr(other, name), old)
        best = replace(best, **parts, iterations=best.iterations + other.iterations)
    return best


def value_and_slope(objective: Objective, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Objective ``(...)`` and its gradient ``(..., p)``."""
    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        value = objective(theta)
        (slope,) = torch.autograd.grad(value.sum(), theta)
    return value.detach(), slope


def information(objective: Objective, theta: Tensor, columns: int = 1) -> Tensor:
    """Minus the second derivatives ``(B, p, p)``, by central differences of the gradient.

    So many ``columns`` are computed in one call.
    """
    shifts = DIFFERENCE * identity(theta)
    rows = []
    for shift in shifts.unsqueeze(1).split(columns):
        both_sides = torch.cat([theta - shift, theta + shift])
        _, slope = value_and_slope(objective, both_sides)
        below, above = slope.split(len(shift))
        difference = below - above
        rows.append(difference / (2 * DIFFERENCE))
    full = torch.cat(rows).movedim(0, -1)
    # Differences of rounded slopes are symmetric but for rounding.
    return (full + full.mT) / 2


def floored_inverse(matrix: Tensor, floor: float = FLAT) -> tuple[Tensor, Tensor]:
    """Inverse ``(..., p, p)`` of symmetric matrices, and their eigenvalues.

    Eigenvalues below ``floor`` are lifted to it before they are inverted.
    """
    values, vectors = torch.linalg.eigh(matrix)
    lifted = values.clamp(min=floor)
    scaled = vectors / lifted.unsqueeze(-2)
    return scaled @ vectors.mT, values


def check_start(start: Tensor) -> None:
    """Raise a ValueError where parameters to start from are not finite."""
    if not bool(start.isfinite().all()):
        raise ValueError("start holds values that are not finite")


def check_possible(value: Tensor) -> None:
    """Raise a ValueError where an objective is not finite at the start."""
    if not bool(value.isfinite().all()):
        raise ValueError(
            f"start has the log-likelihood {brief(value.tolist())}: the data are impossible "
            "there; allow more jumps, or start from rates that are all positive"
        )


def _first_point(objective: Objective, start: Tensor) -> _Point:
    check_start(start)
    point = _Point.at(objective, start.detach().clone())
    check_possible(point.value)
    return point


def _unit_step(point: _Point) -> Tensor:
    """First guess of the inverse curvature ``(B, p, p)``: a step up the slope, at most 1 long."""
    length = point.slope.norm(dim=-1)
    divisor = length.clamp(min=1.0)
    return identity(point.theta) / _per_matrix(divisor)


def _per_matrix(of_member: Tensor) -> Tensor:
    """Numbers ``(B,)`` that multiply matrices ``(B, p, p)``."""
    return of_member.reshape(-1, 1, 1)


def _quadratic(inverse: Tensor, slope: Tensor) -> Tensor:
    """``gᵀ H g`` ``(B,)``: twice what a Newton step is expected to gain."""
    return torch.einsum("bi,bij,bj->b", slope, inverse, slope)


def _direction(inverse: Tensor, slope: Tensor) -> Tensor:
    step = torch.einsum("bij,bj->bi", inverse, slope)
    largest = step.abs().amax(-1, keepdim=True)
    factor = _LONGEST / largest.clamp(min=_LONGEST)
    return step * factor


def _search(objective: Objective, point: _Point, step: Tensor) -> _Point:
    """Shorten the step of each member until it gains enough; one that finds no gain stays."""
    promise = (point.slope * step).sum(-1)
    # Less than rounding of the objective is no loss.
    slack = 1e-14 * point.value.abs()
    best = point
    length = torch.ones_like(point.value)
    searching = torch.ones_like(point.value, dtype=torch.bool)
    for _ in range(_REDUCTIONS):
        reach = torch.where(searching, length, 0.0)
        shift = reach.unsqueeze(1) * step
        theta = point.theta + shift
        trial = _Point.at(objective, theta)
        least_gain = _ARMIJO * length * promise
        required = point.value + least_gain - slack
        is_usable = trial.slope.isfinite().all(-1)
        succeeds = searching & (trial.value >= required) & is_usable
        best = trial.where(succeeds, best)
        searching = searching & ~succeeds
        if not bool(searching.any()):
            break
        length = torch.where(searching, length / 3, length)
    return best


def _updated(inverse: Tensor, step: Tensor, bend: Tensor, is_first_guess: bool) -> Tensor:
    """BFGS update of the inverse curvature (Nocedal and Wright 2006, eq. 6.17).

    ``bend`` is what the slope lost along the step. Members that saw no curvature stay as they are.
    """
    along = (step * bend).sum(-1)
    step_length = step.norm(dim=-1)
    bend_length = bend.norm(dim=-1)
    is_curved = along > _CURVED * (step_length * bend_length)
    along = _per_matrix(torch.where(is_curved, along, 1.0))
    is_curved = _per_matrix(is_curved)
    eye = identity(inverse)
    if is_first_guess:
        # Before the first update the guess is given the size of the curvature (ibid., eq. 6.20).
        square = bend.square().sum(-1)
        size = along / _per_matrix(square.clamp(min=_SMALLEST))
        inverse = torch.where(is_curved, eye * size, inverse)
    left = eye - _outer(step, bend) / along
    right = _outer(step, step) / along
    new = left @ inverse @ left.mT + right
    return torch.where(is_curved, new, inverse)


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a.unsqueeze(2) * b.unsqueeze(1)


def _polished(
    objective: Objective,
    theta: Tensor,
    tol: float,
    newton_steps: int,
    iterations: int,
    columns: int,
) -> Maximum:
    """Newton steps, until none would gain more than ``tol``; the last is without new curvature."""
    point = _Point.at(objective, theta)
    for _ in range(newton_steps + 1):
        curvature = information(objective, point.theta, columns)
        inverse, _ = floored_inverse(curvature)
        decrement = _quadratic(inverse, point.slope) / 2
        direction = _direction(inverse, point.slope)
        point = _search(objective, point, direction)
        if bool((decrement < tol).all()):
            break
    return Maximum(point.theta, point.value, curvature, decrement, iterations)
