"""Scores of predicted velocities."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy import ndarray

# Of a standard normal: 90 % lie within.
_QUANTILE = NormalDist().inv_cdf(0.95)


def score_velocities(
    observed: ndarray, predicted: ndarray, z: ndarray | None = None
) -> dict[str, float]:
    """Alignment, relative error and coverage of velocities ``(n, d)``.

    Where no cell moves, alignment and relative error are NaN.

    Parameters
    ----------
    observed, predicted : array ``(n, d)``
    z : array ``(n, d)``, optional
        Errors in standard deviations of their predictions, for the coverage.
    """
    # In units of the largest: squares of velocities of picometres would vanish.
    unit = np.abs(observed).max() or 1.0
    v = observed.astype(np.float64) / unit
    w = predicted.astype(np.float64) / unit
    products = (v * w).sum(1)
    lengths = np.linalg.norm(v, axis=1) * np.linalg.norm(w, axis=1)
    # A cell that stands still points nowhere.
    is_moving = lengths > 0
    alignment = np.nan
    if is_moving.any():
        alignment = float((products[is_moving] / lengths[is_moving]).mean())
    speed = np.linalg.norm(v)
    error = np.nan
    if speed > 0:
        error = float(np.linalg.norm(v - w) / speed)
    scores = {"alignment": alignment, "relative_error": error}
    if z is not None:
        scores["coverage"] = float((np.abs(z) <= _QUANTILE).mean())
    return scores
