"""What increments say against the equation that was regressed, as warnings."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from dyninfer.diffusions.regression.increments import Increments, columns_at
from dyninfer.diffusions.regression.least_squares import Equation
from dyninfer.diffusions.regression.process import LibraryDiffusion
from dyninfer.learning.warn import warn

# Noises that correlate by less are drawn independently without a word.
_NOTABLE_CORRELATION = 0.2
# Correlations of fewer increments scatter by as much.
_FEW = 300
# Of neighbouring increments of velocities that are means over the gaps: (σ²Δ / 6) / (2σ²Δ / 3).
MEMORY_OF_MEANS = 0.25
# Means over gaps of twice the memory 1/γ of a velocity correlate by 0.33, and tell no friction.
_LEAST_PERSISTENCE = 0.3


def say_what_does_not_fit(
    process: LibraryDiffusion, equation: Equation, increments: Increments, memory: float | None
) -> None:
    """Warn of negative noise, of noises that go together, and of memory where it is known.

    ``memory`` is the correlation of neighbouring residuals under the equation, None if unknown.
    """
    columns = columns_at(process.noise_functions, increments.start)
    variance = columns @ equation.noise.weights
    is_negative = (variance < 0).any(1)
    n_negative = int(is_negative.sum())
    if n_negative:
        warn(
            f"the squared noise amplitude is negative at {n_negative} of {len(variance)} "
            "states, and taken to be 0 there; lower the degree of squared_noise, or use Bins"
        )
    if len(variance) <= _FEW:
        return
    if memory is not None:
        _say_what_is_remembered(process, equation, increments, memory)
    if abs(equation.correlation) > _NOTABLE_CORRELATION:
        warn(
            f"noises of two features correlate by {equation.correlation:.2g}, but the process "
            "draws them independently; rotate the features to their principal axes first"
        )


def _say_what_is_remembered(
    process: LibraryDiffusion, equation: Equation, increments: Increments, expected: float
) -> None:
    along = columns_at(process.drift_functions, increments.start) @ equation.drift.weights
    step = increments.step[:, process.moving]
    if expected:
        before = increments.start[:, process.moving]
        persistence = _persistence(before, before + step)
        if persistence < _LEAST_PERSISTENCE:
            warn(
                f"neighbouring velocities correlate by {persistence:.2g}, too little to tell "
                "friction: a particle forgets its velocity within a gap, or positions have errors; "
                "observe more often and more exactly, or fit positions alone"
            )
            return
    memory = increments.memory(step - along * increments.gap[:, None])
    if expected and memory < expected - _NOTABLE_CORRELATION:
        warn(
            f"neighbouring increments of velocities correlate by {memory:.2g} where means over the "
            "gaps correlate by 0.25: errors of the positions make friction and noise wrong; take "
            "every second position or fewer, or give measured velocities"
        )
        return
    if memory < -_NOTABLE_CORRELATION:
        warn(
            f"neighbouring increments correlate by {memory:.2g}, as observation errors "
            "would cause, so drift and noise are too large; use observation_noise='white'"
        )
    if not expected and memory > _NOTABLE_CORRELATION:
        warn(
            f"neighbouring increments correlate by {memory:.2g}: for velocities computed from "
            "differences use observation_noise='averaged'; for positions of a particle with "
            "inertia use inertia=True and di.tl.with_velocities(paths); for other memory use "
            "FractionalSDE"
        )


def _persistence(before: ndarray, after: ndarray) -> float:
    """Correlation of states ``(n, d)`` with the next ones: the smallest of the features'."""
    before = before - before.mean(0)
    after = after - after.mean(0)
    sizes = np.sqrt((before**2).sum(0) * (after**2).sum(0))
    correlation = (before * after).sum(0) / sizes
    return float(correlation.min())
