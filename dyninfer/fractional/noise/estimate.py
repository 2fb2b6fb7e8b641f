"""What estimators of the Hurst index read, and what they return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dyninfer.fractional.noise.checks import as_numbers, check_squares
from dyninfer.learning.settings import brief


@dataclass(frozen=True)
class HurstEstimate:
    """Hurst index of every path, or of all together.

    Attributes
    ----------
    hurst : ndarray, ``(n,)``
        One value per path; a single one where paths were pooled. NaN, with a warning, where a path
        does not move, or moves along the trend that the method removes: a line, say.
    standard_error : ndarray, ``(n,)``, optional
        From the observed information; None for scaling laws.
    interval : ndarray, ``(n, 2)``, optional
        Where the profile log-likelihood is within 1.92 of its maximum: 95 %. None for scaling laws.
    """

    hurst: np.ndarray
    standard_error: np.ndarray | None = None
    interval: np.ndarray | None = None


def as_paths(paths: Any, least: int) -> np.ndarray:
    """Paths ``(n_paths, n_times)`` float64, or a ValueError if they are short or not finite."""
    x = as_numbers(paths, "paths")
    is_table = x.ndim == 2
    if not is_table or x.shape[1] < least:
        raise ValueError(
            f"paths must be (n_paths, n_times) with at least {brief(least)} times, "
            f"but its shape is {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError("paths must be finite; leave out paths with missing values")
    check_squares(x, "paths")
    return x
