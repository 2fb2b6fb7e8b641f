"""What arguments of fractional noise may be: one sentence for each that cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.data.arrays import as_array
from dyninfer.learning.settings import brief, is_number


def as_numbers(values: Any, name: str) -> ndarray:
    """Numbers in an array, a tensor or a list, of any shape, as float64."""
    array = as_array(values, name)
    if array.dtype.kind == "b":
        raise TypeError(f"{name} holds truth values; it must hold numbers")
    return array.astype(np.float64)


def check_squares(values: ndarray, name: str) -> None:
    """Raise a ValueError where squares of numbers would overflow, or lose their digits."""
    finite = values[np.isfinite(values)]
    sizes = np.abs(finite)
    largest = sizes.max(initial=0)
    # Doubles end at 1e308 and 1e-308; steps are far shorter than what they are steps of.
    if largest > 0 and not 1e-140 < largest < 1e150:
        raise ValueError(
            f"{name} are of size {largest:.3g}, and their squares beyond what double precision "
            "holds; give them in another unit"
        )


def as_times(times: Any) -> ndarray:
    """Times ``(n,)`` float64 of a motion that starts at time 0, or a ValueError."""
    t = as_numbers(times, "times")
    is_list = t.ndim == 1 and len(t) > 0
    if not is_list or not np.isfinite(t).all() or t.min() < 0:
        raise ValueError("times must be one list of finite numbers that are not negative")
    return t


def as_increasing(times: Any, n: int) -> ndarray:
    """Increasing times ``(n,)`` float64, one for every column of paths, or a ValueError."""
    t = as_numbers(times, "times")
    is_right = t.shape == (n,) and np.isfinite(t).all()
    if not is_right or (np.diff(t) <= 0).any():
        raise ValueError(f"times must be {n} increasing numbers, one per column of paths")
    return t


def check_positive(value: Any, name: str) -> float:
    """Return a finite number above 0, or raise a ValueError that names it."""
    if not is_number(value) or not 0 < value < np.inf:
        raise ValueError(f"{name} must be positive, found {brief(value)}")
    return float(value)


def check_index(value: Any, name: str = "hurst") -> None:
    """Raise a ValueError unless a value is one Hurst index."""
    if not is_number(value) or not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, found {brief(value)}")
