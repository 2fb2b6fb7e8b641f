"""Whether paths move at all: an index read from rounding would be a wrong number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.data.arrays import as_array
from dyninfer.learning.warn import warn

# Steps of rounding of the largest value, below which what is left of a path is no motion: trends
# and transforms sum a few of them.
_STEPS = 16


def moving(spread: ndarray, x: ndarray, paths: Any) -> ndarray:
    """Which paths spread by more than rounding ``(n,)`` bool; a warning names the others.

    Parameters
    ----------
    spread : array ``(n,)``
        Size of what an estimator reads of each path.
    x : array ``(n, time)``
        The paths in the unit of ``spread``.
    paths : array ``(n, time)``
        The paths as they were given.
    """
    moves = spread > rounding_of(x, paths)
    rests = np.flatnonzero(~moves)
    if len(rests):
        warn(
            f"path {rests[0]} does not move about its trend, so that its Hurst index is NaN "
            f"({len(rests)} such paths)",
            UserWarning,
        )
    return moves


def rounding_of(x: ndarray, paths: Any) -> ndarray:
    """Size ``(n,)`` of what is rounding in each path ``x``, which was given as one of ``paths``."""
    stored = as_array(paths, "paths")
    step = np.finfo(np.float64).eps
    # Numbers are as exact as they were stored, whatever they are converted to.
    if stored.dtype.kind == "f":
        step = max(step, np.finfo(stored.dtype).eps)
    largest = np.abs(x).max(1)
    return _STEPS * step * largest
