"""One maximisation at a time: steps of EM, then BFGS from the curvature of complete data.

What :mod:`~dyninfer.jumps.posterior.optimise` does for many small problems side by side, for one
whose slope costs less than the bookkeeping of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy import ndarray

from dyninfer.jumps.posterior.optimise import CONVERGED, DIFFERENCE, FLAT
from dyninfer.learning.interruption import ends_on_interrupt
from dyninfer.learning.progress import PATIENCE, progress_bar

_NEWTON_STEPS = 5  # where the ascent stopped for another reason than a small slope
_EM_STEPS = 4  # from a crude start they go further than steps along slopes
_LONGEST = 2.0  # no parameter moves further in one step: e^2 in a rate
_ARMIJO = 1e-4  # share of the promised gain that a step must make (Nocedal and Wright 2006, 3.4)
_REDUCTIONS = 20  # 2 / 3^20 is below every tolerance: no step is left
_ROUNDING = 1e-14  # of the objective: a smaller loss is none
_IDLE_GAIN, _IDLE_STEPS = 1e-6, 3  # where rates run away the likelihood creeps up for ever
_LEAST_CURVATURE = 1e-4  # during the search: a flat direction is no reason for a huge step
_CURVED = 1e-10  # cosine of step and bend above which the curvature is no rounding noise


class Place(Protocol):
    """An objective at some parameters."""

    theta: ndarray
    value: float
    slope: ndarray


class Ascendable(Protocol):
    """What can be maximised."""

    def at(self, theta: ndarray) -> Any:
        """The :class:`Place` of some parameters."""

    def maximised(self, place: Any) -> ndarray:
        """Parameters after one step of EM."""

    def complete_information(self, place: Any) -> ndarray:
        """Curvature if nothing was hidden."""


@dataclass(frozen=True)
class Summit:
    """Where an ascent ended.

    Attributes
    ----------
    place : Place
        The largest objective.
    iterations : int
        Steps, those of EM among them.
    converged : bool
        Whether no step would gain more than 1e-4, outside of flat directions.
    """

    place: Any
    iterations: int
    converged: bool


def ascend(objective: Ascendable, start: Any, max_iter: int, tol: float = 1e-9) -> Summit:
    """Maximise from a place, until a step is expected to gain less than ``tol``."""
    place = start
    iteration = 0
    gain_ahead = np.inf
    is_whole = False
    # It mostly ends long before the last step that it may take, which is what the bar counts to.
    with (
        ends_on_interrupt(),
        progress_bar(max_iter, "step", what="likelihood", delay=PATIENCE) as bar,
    ):
        place, iteration = _expect_and_maximise(objective, start, max_iter)
        inverse = _first_inverse(objective, place)
        idle_steps = 0
        while idle_steps < _IDLE_STEPS:
            bar.update()
            step = inverse @ place.slope
            gain_ahead = step @ place.slope / 2
            if gain_ahead < tol or iteration == max_iter:
                break
            iteration += 1
            new = _search(objective, place, step)
            if new is place:
                break
            shift = new.theta - place.theta
            bend = place.slope - new.slope
            inverse = _updated(inverse, shift, bend)
            gain = new.value - place.value
            idle_steps += 1
            if gain > _IDLE_GAIN:
                idle_steps = 0
            place = new
        is_whole = True
    if is_whole and gain_ahead >= CONVERGED:
        # The estimate of the curvature is not to be trusted; the curvature is.
        place, gain_ahead = _polished(objective, place, tol)
    converged = bool(gain_ahead < CONVERGED)
    return Summit(place, iteration, converged)


def information(objective: Ascendable, theta: ndarray) -> ndarray:
    """Minus the second derivatives ``(p, p)``, by central differences of the slope."""
    columns = []
    shifts = DIFFERENCE * np.eye(len(theta))
    for shift in shifts:
        below = objective.at(theta - shift)
        above = objective.at(theta + shift)
        difference = below.slope - above.slope
        column = difference / (2 * DIFFERENCE)
        columns.append(column)
    matrix = np.stack(columns)
    # Differences of rounded slopes are symmetric but for rounding.
    return (matrix + matrix.T) / 2


def _polished(objective: Ascendable, place: Any, tol: float) -> tuple[Any, float]:
    """Newton steps until none would gain more than ``tol``, and what the last was to gain."""
    decrement = np.inf
    for _ in range(_NEWTON_STEPS):
        curvature = information(objective, place.theta)
        inverse = _floored_inverse(curvature, FLAT)
        step = inverse @ place.slope
        decrement = step @ place.slope / 2
        place = _search(objective, place, step)
        if decrement < tol:
            break
    return place, decrement


def _expect_and_maximise(objective: Ascendable, place: Any, max_iter: int) -> tuple[Any, int]:
    """Steps of EM, as long as they gain something."""
    n_steps = min(_EM_STEPS, max_iter)
    for iteration in range(n_steps):
        theta = objective.maximised(place)
        new = objective.at(theta)
        if not new.value >= place.value:
            return place, iteration
        place = new
    return place, n_steps


def _first_inverse(objective: Ascendable, place: Any) -> ndarray:
    """Inverse curvature ``(p, p)`` to begin with."""
    matrix = objective.complete_information(place)
    return _floored_inverse(matrix, _LEAST_CURVATURE)


def _floored_inverse(matrix: ndarray, floor: float) -> ndarray:
    """Inverse of a symmetric matrix, its eigenvalues below ``floor`` lifted to it."""
    values, vectors = np.linalg.eigh(matrix)
    scaled = vectors / np.maximum(values, floor)
    return scaled @ vectors.T


def _search(objective: Ascendable, place: Any, step: ndarray) -> Any:
    """Shorten a step until it gains enough; the same place where none does."""
    largest = np.abs(step).max()
    factor = _LONGEST / max(largest, _LONGEST)
    step = step * factor
    promise = step @ place.slope
    slack = _ROUNDING * abs(place.value)
    length = 1.0
    for _ in range(_REDUCTIONS):
        theta = place.theta + length * step
        new = objective.at(theta)
        least_gain = _ARMIJO * length * promise
        gain = new.value - place.value
        is_usable = np.isfinite(new.slope).all()
        if is_usable and gain >= least_gain - slack:
            return new
        length /= 3
    return place


def _updated(inverse: ndarray, step: ndarray, bend: ndarray) -> ndarray:
    """BFGS update of the inverse curvature (Nocedal and Wright 2006, eq. 6.17).

    ``bend`` is what the slope lost along the step. Where there was no curvature it stays.
    """
    along = step @ bend
    step_length = np.linalg.norm(step)
    bend_length = np.linalg.norm(bend)
    if not along > _CURVED * step_length * bend_length:
        return inverse
    mapped = inverse @ bend
    share = bend @ mapped / along
    square = np.outer(step, step) / along
    cross = np.outer(mapped, step) / along
    both_ways = cross + cross.T
    return inverse + (1 + share) * square - both_ways
