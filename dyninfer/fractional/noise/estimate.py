"""What estimators of the Hurst index read, and what they return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.fractional.noise.checks import as_numbers
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

    hurst: ndarray
    standard_error: ndarray | None = None
    interval: ndarray | None = None


def as_paths(paths: Any, least: int) -> ndarray:
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
    return x


def in_unit(x: ndarray, pooled: bool = False) -> ndarray:
    """Paths in a unit of about their largest value: an index does not depend on it.

    Squares of very large values would overflow, and those of very small ones be lost. The unit is
    a power of two, by which numbers are divided without rounding.

    Parameters
    ----------
    x : array, ``(n_paths, n_times)``
    pooled : bool
        One unit for all paths, whose amplitudes are then compared; else each path has its own.
    """
    largest = np.abs(x).max(1, keepdims=True)
    if pooled:
        largest = largest.max(keepdims=True)
    _, exponent = np.frexp(largest)
    return np.ldexp(x, -exponent)
