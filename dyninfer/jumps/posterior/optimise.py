"""Many small maximisations side by side: BFGS, then Newton steps with the curvature it needs anyway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Objective = Callable[[Tensor], Tensor]

_LONGEST = 2.0  # no parameter moves further in one step: e^2 in a rate
_ARMIJO = 1e-4
_HALVINGS = 20
_IDLE_GAIN, _IDLE_STEPS = 1e-6, 5
_DIFFERENCE = 1e-4
_CURVED = (
    0,
    3,
    6,
    10,
)  # steps before which the search takes the true curvature, where it is asked to
_LEAST_CURVED = 1e-4
_FLAT = 1e-2  # curvature below this means a standard deviation above 10 in a log-rate: nothing was learned


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


def maximise(
    objective: Objective,
    start: Tensor,
    max_iter: int = 300,
    tol: float = 1e-7,
    newton_steps: int = 4,
    columns: int | None = None,
) -> Maximum:
    """Maximise a batch of objectives ``(..., p) -> (...)`` from ``start`` ``(B, p)``.

    Stops where a step is expected to gain less than ``tol`` in every member of the batch. With ``columns``, for
    objectives that are cheap, BFGS starts from the true curvature and returns to it a few times early on; so many of
    its columns are computed in one call.
    """
    theta = start.detach().clone()
    if not bool(theta.isfinite().all()):
        raise ValueError("start holds values that are not finite")
    value, slope = value_and_slope(objective, theta)
    if not bool(value.isfinite().all()):
        raise ValueError(
            f"start has the log-likelihood {value.tolist()!s:.80}: the data are impossible there; "
            "allow more jumps, or start from rates that are all positive"
        )
    eye = torch.eye(theta.shape[-1], dtype=theta.dtype, device=theta.device).expand(
        len(theta), -1, -1
    )
    inverse = eye / slope.norm(dim=-1).clamp(min=1.0)[:, None, None]
    k, idle = 0, torch.zeros_like(value)
    for k in range(1, max_iter + 1):
        if columns is not None and k - 1 in _CURVED:
            inverse, _ = floored_inverse(information(objective, theta, columns), _LEAST_CURVED)
        new, new_value, new_slope = _search(
            objective, theta, value, slope, _direction(inverse, slope)
        )
        moved, bent = new - theta, slope - new_slope
        inverse = _updated(inverse, moved, bent, eye, first=k == 1 and columns is None)
        still = ((new_slope[:, None] @ inverse @ new_slope[:, :, None])[:, 0, 0] < tol) & (
            new_value - value < tol
        )
        stuck = (moved == 0).all(-1)
        inverse = torch.where(
            stuck[:, None, None], eye / slope.norm(dim=-1).clamp(min=1.0)[:, None, None], inverse
        )
        gained = new_value - value
        theta, value, slope = new, new_value, new_slope
        # Where rates run away the likelihood creeps up for ever: a few idle steps in a row end it.
        idle = torch.where(gained < _IDLE_GAIN, idle + 1, 0)
        if bool((still | stuck | (idle >= _IDLE_STEPS)).all()):
            break
    return _polished(objective, theta, tol, newton_steps, k, columns or 1)


def value_and_slope(objective: Objective, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Objective ``(...)`` and its gradient ``(..., p)``."""
    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        value = objective(theta)
        (slope,) = torch.autograd.grad(value.sum(), theta)
    return value.detach(), slope


def information(objective: Objective, theta: Tensor, columns: int = 1) -> Tensor:
    """Minus the second derivatives ``(B, p, p)``, by central differences of the gradient, some columns at once."""
    found = []
    shifts = torch.eye(theta.shape[-1], dtype=theta.dtype, device=theta.device) * _DIFFERENCE
    for e in shifts[:, None].split(columns):
        slope = value_and_slope(objective, torch.cat([theta - e, theta + e]))[1]
        found.append((slope[: len(e)] - slope[len(e) :]) / (2 * _DIFFERENCE))
    full = torch.cat(found).movedim(0, -1)
    return 0.5 * (full + full.transpose(-1, -2))


def floored_inverse(matrix: Tensor, floor: float = _FLAT) -> tuple[Tensor, Tensor]:
    """Inverse ``(B, p, p)`` of symmetric matrices whose eigenvalues are lifted to ``floor``, and the eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors / values.clamp(min=floor)[:, None, :]) @ vectors.transpose(-1, -2), values


def _direction(inverse: Tensor, slope: Tensor) -> Tensor:
    step = (inverse @ slope[:, :, None])[:, :, 0]
    return step * (_LONGEST / step.abs().amax(-1, keepdim=True).clamp(min=_LONGEST))


def _search(
    objective: Objective, theta: Tensor, value: Tensor, slope: Tensor, step: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Halve the step of each member until it gains enough; a member that finds nothing stays."""
    promised = (slope * step).sum(-1)
    new, new_value, new_slope = theta, value, slope
    length = torch.ones_like(value)
    waiting = torch.ones_like(value, dtype=torch.bool)
    noise = 1e-14 * value.abs()
    for _ in range(_HALVINGS):
        trial = theta + torch.where(waiting, length, 0.0)[:, None] * step
        trial_value, trial_slope = value_and_slope(objective, trial)
        good = trial_value >= value + _ARMIJO * length * promised - noise
        good = waiting & good & trial_slope.isfinite().all(-1)
        new = torch.where(good[:, None], trial, new)
        new_value = torch.where(good, trial_value, new_value)
        new_slope = torch.where(good[:, None], trial_slope, new_slope)
        waiting = waiting & ~good
        if not bool(waiting.any()):
            break
        length = torch.where(waiting, length / 3, length)
    return new, new_value, new_slope


def _updated(inverse: Tensor, moved: Tensor, bent: Tensor, eye: Tensor, first: bool) -> Tensor:
    """BFGS update of the inverse curvature (Nocedal and Wright 2006, eq. 6.17), where the step saw any."""
    along = (moved * bent).sum(-1)
    useful = along > 1e-10 * moved.norm(dim=-1) * bent.norm(dim=-1)
    along = torch.where(useful, along, 1.0)
    if first:
        size = along / bent.square().sum(-1).clamp(min=1e-300)
        inverse = torch.where(useful[:, None, None], eye * size[:, None, None], inverse)
    left = eye - moved[:, :, None] * bent[:, None, :] / along[:, None, None]
    new = (
        left @ inverse @ left.transpose(-1, -2)
        + moved[:, :, None] * moved[:, None, :] / along[:, None, None]
    )
    return torch.where(useful[:, None, None], new, inverse)


def _polished(
    objective: Objective,
    theta: Tensor,
    tol: float,
    newton_steps: int,
    iterations: int,
    columns: int,
) -> Maximum:
    """Newton steps, until none would gain more than ``tol``; the last one is taken without a new curvature."""
    value, slope = value_and_slope(objective, theta)
    for _ in range(newton_steps + 1):
        curvature = information(objective, theta, columns)
        inverse, _ = floored_inverse(curvature)
        decrement = 0.5 * (slope[:, None] @ inverse @ slope[:, :, None])[:, 0, 0]
        theta, value, slope = _search(objective, theta, value, slope, _direction(inverse, slope))
        if bool((decrement < tol).all()):
            break
    return Maximum(theta, value, curvature, decrement, iterations)
