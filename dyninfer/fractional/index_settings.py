"""What the index of fractional noise may be set to: a number, or a function of time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.data.arrays import as_array
from dyninfer.learning.settings import brief, is_number

# The index goes from one value at the first time of the data to another at the last.
LINEAR = "linear"


def changes(hurst: Any) -> bool:
    """Whether an index is a function of time, and not one number, given or learned."""
    return hurst is not None and not is_number(hurst)


def is_linear(hurst: Any) -> bool:
    """Whether an index goes from its first value to its last in a straight line."""
    return isinstance(hurst, str) and hurst == LINEAR


def check_hurst(hurst: Any, per_dimension: bool) -> None:
    """Raise a ValueError or TypeError where an index cannot be."""
    if hurst is None:
        return
    if is_number(hurst) and not 0 < hurst < 1:
        raise ValueError(
            f"noise.hurst must lie between 0 and 1, or be None to be learned; found {hurst}"
        )
    if per_dimension and changes(hurst):
        raise ValueError(
            "noise.hurst that changes in time is one index for all coordinates; leave out "
            "noise.per_dimension, or fit the features one by one"
        )
    if per_dimension:
        raise ValueError("noise.per_dimension says how hurst is learned; leave one of the two out")
    if is_number(hurst) or callable(hurst) or is_linear(hurst):
        return
    if not isinstance(hurst, list | tuple | ndarray):
        raise ValueError(
            "noise.hurst must be a number, None, 'linear', a list of times of knots, or a "
            f"function of time; found {brief(hurst)}"
        )
    _check_knots(hurst)


def check_knots_seen(knots: ndarray, starts: ndarray, ends: ndarray) -> None:
    """Raise a ValueError naming a knot of which no move of the paths says anything.

    Parameters
    ----------
    knots : array, ``(n,)``
    starts, ends : arrays, ``(m,)``
        Times between which the paths are observed to move.
    """
    before = np.append(-np.inf, knots[:-1])
    after = np.append(knots[1:], np.inf)
    for knot, low, high in zip(knots, before, after, strict=True):
        is_near = (starts < high) & (ends > low)
        if not is_near.any():
            raise ValueError(
                f"no path is observed near the knot {knot:g} of noise.hurst, so that nothing is "
                "known of the index there; leave the knot out"
            )


def _check_knots(hurst: Any) -> None:
    knots = as_array(hurst, "noise.hurst")
    is_numeric = knots.dtype.kind in "iuf"
    is_list = is_numeric and knots.ndim == 1 and len(knots) > 1
    # NaN is in no order, and the first and the last bound the rest.
    is_rising = is_list and bool((np.diff(knots) > 0).all())
    if not is_rising or not np.isfinite(knots[[0, -1]]).all():
        raise ValueError(
            "knots of noise.hurst must be two or more increasing times, between which the index "
            f"is linear; found {brief(hurst)}"
        )
