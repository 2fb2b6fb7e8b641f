"""Times as a user gives them: numbers, text, categories or timedeltas, read as float64."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_array
from dyninfer.data.time_labels import remedy
from dyninfer.data.words import quoted
from dyninfer.learning.settings import brief

# Whole numbers from here on are none of float64.
_BEYOND_DOUBLE = 2**1024
# What pandas calls values that are not times, and must not be read as numbers.
_NOT_TIMES = ("boolean", "complex", "datetime", "datetime64", "date", "period", "interval")


def as_times(values: Any, name: str = "times") -> ndarray:
    """Convert times to float64 ``(n,)``, in their own units; timedeltas become days.

    Parameters
    ----------
    values : Series, array, tensor, list, set or number
        Numbers, numeric text, categories of them, or timedeltas.
    name : str
        What messages call the values: the argument, or the column of ``obs``.

    Raises
    ------
    ValueError
        For labels such as "day 3" (the message shows what each would become, and the line which
        makes them so, by :func:`read_times`), for
        dates and truth values, for missing or infinite times, and for whole numbers that are too
        large to be told apart in float64.
    """
    column = _as_series(values, name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        times = _category_times(column, name)
    elif pd.api.types.is_timedelta64_dtype(column):
        days = column / pd.Timedelta(days=1)
        times = days.to_numpy(dtype=np.float64)
    else:
        times = _number_times(column, values, name)
    is_finite = np.isfinite(times)
    invalid = np.flatnonzero(~is_finite)
    if len(invalid):
        raise ValueError(
            f"{quoted(name)} has {len(invalid)} missing or infinite times "
            f"(first: row {quoted(column.index[invalid[0]])}); drop those rows or fill them in"
        )
    return times


def as_time(time: Any) -> float:
    """One time as a number; NaN, which is no time, stays."""
    requested = as_requested(time)
    if len(requested) != 1:
        raise ValueError(f"time must be one number, found {brief(time)}")
    return float(requested[0])


def as_moment(time: Any, name: str) -> float:
    """One finite time as a number, or a ValueError that names the argument."""
    moment = as_time(time)
    if not np.isfinite(moment):
        raise ValueError(f"{name} must be one finite time, found {brief(time)}")
    return moment


def requested_times(times: Any, name: str = "times") -> ndarray:
    """Times ``(q,)`` that a user asks for, at least one; one alone is a list of one."""
    requested = np.atleast_1d(as_times(times, name))
    if len(requested) == 0:
        raise ValueError(f"{name} is empty; give at least one time")
    return requested


def as_requested(times: Any) -> ndarray:
    """One time or several as float64 ``(n,)``; NaN, which is no time, stays."""
    try:
        array = np.asarray(times, dtype=np.float64)
        requested = np.atleast_1d(array)
    except (TypeError, ValueError, OverflowError):
        # In the words for any other times.
        requested = as_times(times, "times")
    if requested.ndim > 1:
        raise ValueError(f"times must be a flat list of numbers, found shape {requested.shape}")
    return requested


def _as_series(values: Any, name: str) -> pd.Series:
    if isinstance(values, pd.Series):
        return values
    array = np.atleast_1d(times_array(values, name))
    if array.ndim > 1:
        raise ValueError(
            f"{quoted(name)} must be a flat list of numbers, found shape {array.shape}"
        )
    # Pandas refuses the other order of bytes.
    native = array.dtype.newbyteorder("=")
    # A copy: Torch takes no reversed views.
    array = array.astype(native)
    if array.dtype != object:
        return pd.Series(array)
    # As it is: pandas stumbles over whole numbers that no float holds.
    column = pd.Series(array, dtype=object)
    # Timedeltas may hide among the objects.
    return column.map(_exact).infer_objects()


def times_array(values: Any, name: str = "times") -> ndarray:
    """Times of any kind as an array that may still hold text, timedeltas or None."""
    if hasattr(values, "detach"):
        return as_array(values, name)
    if isinstance(values, Set | Iterator):
        # NumPy would make one object of them.
        values = list(values)
    if isinstance(values, np.ma.MaskedArray):
        return _unmasked(values)
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(
            f"{quoted(name)} must be a flat list of numbers, found {brief(values)}"
        ) from None


def _unmasked(values: np.ma.MaskedArray) -> ndarray:
    """Masked times as missing ones: NumPy would use what is under the mask."""
    mask = np.ma.getmaskarray(values)
    kind = values.dtype.kind
    missing: float | str | None
    if kind in "iuf":
        plain = values.data.astype(np.float64)
        missing = np.nan
    elif kind in "mM":
        plain = values.data.copy()
        missing = "NaT"
    else:
        plain = values.data.astype(object)
        missing = None
    plain[mask] = missing
    return plain


def _category_times(column: pd.Series, name: str) -> ndarray:
    # A category that no cell is in may be anything.
    used = column.cat.remove_unused_categories().cat
    categories = pd.Series(used.categories)
    times = as_times(categories, name)
    # The code of a missing entry is -1: it takes the last of these.
    with_gap = np.append(times, np.nan)
    return with_gap[used.codes]


def _number_times(column: pd.Series, values: Any, name: str) -> ndarray:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in _NOT_TIMES:
        raise ValueError(_kind_message(kind, values, name))
    if not pd.api.types.is_numeric_dtype(column):
        column = column.map(_exact)
    numbers = pd.to_numeric(column, errors="coerce")
    times = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    is_missing = pd.isna(column).to_numpy()
    is_text = np.isnan(times) & ~is_missing
    if is_text.any():
        # All of them: units show only beside each other.
        first = column[is_text].iloc[0]
        example = str(first)
        place = _in_obs(values, name)
        advice = remedy(column[~is_missing], place)
        raise ValueError(
            f"{quoted(name)} holds text ({quoted(example)}); times must be numbers: {advice}"
        )
    _check_whole_numbers(numbers, times, name)
    return times


def _exact(value: Any) -> Any:
    """Text as a number, where it is one: pandas would lose its last digit."""
    if isinstance(value, int) and abs(value) >= _BEYOND_DOUBLE:
        return np.inf
    # Python reads 1_0 as 10; in a column it is the name of a plate or a run.
    if not isinstance(value, str) or "_" in value:
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _check_whole_numbers(numbers: pd.Series, times: ndarray, name: str) -> None:
    """Refuse whole numbers, such as nanoseconds, that float64 merges."""
    if not pd.api.types.is_integer_dtype(numbers) or len(times) == 0:
        return
    largest = np.abs(times).max()
    # Up to here float64 holds every whole number.
    if largest <= 2**53:
        return
    n_distinct = len(np.unique(times))
    if numbers.nunique() > n_distinct:
        raise ValueError(
            f"{quoted(name)} holds whole numbers up to {largest:g}, too large to be distinguished "
            "in float64; subtract the first time from all of them"
        )


def _in_obs(values: Any, name: str) -> str:
    """How a user names the values: a Series is a column of ``obs``."""
    if isinstance(values, pd.Series):
        return f"adata.obs[{quoted(name)}]"
    return name


def _kind_message(kind: str, values: Any, name: str) -> str:
    message = f"{quoted(name)} holds {kind} values; times must be numbers or timedeltas"
    if not kind.startswith("date"):
        return message
    dates = _in_obs(values, name)
    return f"{message}: subtract the start, as in {dates} - {dates}.min()"
