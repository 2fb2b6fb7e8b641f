"""Times: read as float64 in their own units, and compared relative to their own spacing.

Wherever two times meet, a :class:`Clock` says whether they are one time. Times that differ by no
more than the rounding of float32 or float64 are one. Far from zero, where that rounding is as
long as the gaps between times, the gaps decide, so that no time is taken for another.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import numpy as np
import pandas as pd

from dyninfer.data.arrays import as_array
from dyninfer.data.words import as_text, quoted
from dyninfer.learning.settings import brief

SINGLE = 2 * float(np.finfo(np.float32).eps)  # a step of arithmetic, and the storing of its result
DOUBLE = 4 * float(np.finfo(np.float64).eps)  # a few steps, such as hours / 24 or 3 * 0.1
# A number that was asked for is one of the times if it lies this close, in gaps between them.
NEAR = 1e-3
# Two numbers of one column are one time if they lie this close, in gaps to the next one.
# Designs with gaps of 1 : 10,000 are real, so it must be below that.
ALIKE = 5e-5

# Whole numbers from here on are none of float64.
_BEYOND_DOUBLE = 2**1024
# What pandas calls values that are not times, and must not be read as numbers.
_NOT_TIMES = ("boolean", "complex", "datetime", "datetime64", "date", "period", "interval")


def as_times(values: Any, name: str = "times") -> np.ndarray:
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
        For labels such as "day 3" (the message shows the line which turns them into numbers), for
        dates and truth values, for missing or infinite times, and for whole numbers that are too
        large to be told apart in float64.
    """
    column = _as_series(values, name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        times = _category_times(column, name)
    elif pd.api.types.is_timedelta64_dtype(column):
        times = (column / pd.Timedelta(days=1)).to_numpy(dtype=np.float64)
    else:
        times = _number_times(column, values, name)
    invalid = np.flatnonzero(~np.isfinite(times))
    if len(invalid):
        raise ValueError(
            f"{quoted(name)} has {len(invalid)} missing or infinite times "
            f"(first: row {quoted(column.index[invalid[0]])}); drop those rows or fill them in"
        )
    return times


def as_time(time: Any) -> float:
    """One time as a number; NaN, which is no time, stays."""
    requested = _as_requested(time)
    if len(requested) != 1:
        raise ValueError(f"time must be one number, found {brief(time)}")
    return float(requested[0])


def requested_times(times: Any) -> np.ndarray:
    """Times ``(q,)`` that a user asks for, at least one."""
    requested = as_times(times)
    if len(requested) == 0:
        raise ValueError("times is empty; give one time at least")
    return requested


class Clock:
    """Distinct times, and which of them a number means.

    Parameters
    ----------
    times : array ``(n,)``
        Distinct times in any order. :meth:`of` takes the times of a column, with repeats.
    spacing : float, optional
        Gap between the times of the data that ``times`` are part of. Needed only to judge a
        single time, which has no gaps of its own.

    Examples
    --------
    >>> import numpy as np
    >>> clock = Clock([0.1, 0.2, 0.3])
    >>> clock.index(np.float32(0.2))
    1
    >>> Clock([1.7e9, 1.7e9 + 10]).nearest(1.7e9 + 4) is None
    True
    """

    def __init__(self, times: Any, spacing: float | None = None) -> None:
        self.times = as_times(times)
        # Searches need ascending times; answers are positions in the order that was given.
        self._order = np.argsort(self.times, kind="stable")
        self._sorted = self.times[self._order]
        self._slack = _slack(self._sorted, spacing)

    @classmethod
    def of(cls, column: Any, name: str = "times", spacing: float | None = None) -> Clock:
        """Clock of the times in a column, ascending: repeats, and rounding, are one time."""
        times = as_times(column, name)
        return cls(_distinct(times), spacing)

    def __len__(self) -> int:
        return len(self.times)

    def positions(self, times: Any) -> np.ndarray:
        """Position of each of ``times`` on the clock ``(n,)``, and -1 where it is not there."""
        requested = _as_requested(times)
        n = len(self)
        if n == 0:
            return np.full(len(requested), -1)
        above = np.searchsorted(self._sorted, requested)
        # Beyond either end, the end itself is the nearest.
        above = np.minimum(above, n - 1)
        below = np.maximum(above - 1, 0)
        distance_above = self._sorted[above] - requested
        distance_below = requested - self._sorted[below]
        nearest = np.where(distance_above < distance_below, above, below)
        distance = np.abs(self._sorted[nearest] - requested)
        is_there = distance <= self._slack[nearest]
        return np.where(is_there, self._order[nearest], -1)

    def nearest(self, time: float) -> int | None:
        """Position of ``time``; None where it is not there."""
        positions = self.positions(as_time(time))
        position = int(positions[0])
        if position < 0:
            return None
        return position

    def index(self, time: float) -> int:
        """Position of ``time``; a ValueError lists the times there are."""
        position = self.nearest(time)
        if position is None:
            number = as_text(as_time(time))
            raise ValueError(f"there is nothing at time {number}; the times are {self}")
        return position

    def rows(self, column: Any, time: float) -> np.ndarray:
        """Rows of a column of times at ``time``; a ValueError lists the times there are."""
        position = self.index(time)
        return np.flatnonzero(self.positions(column) == position)

    def covers(self, times: Any) -> bool:
        """Whether ``times``, one or more, lie between the first and the last time."""
        requested = _as_requested(times)
        if len(requested) == 0:
            return True
        first = self._sorted[0] - self._slack[0]
        last = self._sorted[-1] + self._slack[-1]
        earliest = requested.min()
        latest = requested.max()
        return bool(first <= earliest and latest <= last)

    def __str__(self) -> str:
        return ", ".join(_spelled(self.times)) or "none"


def _as_requested(times: Any) -> np.ndarray:
    """One time or several as float64 ``(n,)``; NaN, which is no time, stays."""
    try:
        requested = np.atleast_1d(np.asarray(times, dtype=np.float64))
    except (TypeError, ValueError, OverflowError):
        # In the words for any other times.
        requested = as_times(times, "times")
    if requested.ndim > 1:
        raise ValueError(f"times must be a flat list of numbers, found shape {requested.shape}")
    return requested


def same_times(a: Any, b: Any) -> bool:
    """Whether two lists hold the same times in the same order, but for rounding."""
    first = as_times(a)
    second = as_times(b)
    if len(first) != len(second):
        return False
    clock = Clock.of(first)
    return np.array_equal(clock.positions(first), clock.positions(second))


def _slack(times: np.ndarray, spacing: float | None) -> np.ndarray:
    """How far a number may lie from each of the ascending ``times`` to be that time."""
    if len(times) == 0:
        return times
    if spacing is None:
        spacing = np.inf
    gaps = np.concatenate([[spacing], np.diff(times), [spacing]])
    before = gaps[:-1]
    after = gaps[1:]
    gap = np.minimum(before, after)
    # Close to zero, rounding is that of the times which were subtracted: as long as the gaps.
    size = np.abs(times)
    finite_gap = np.where(np.isinf(gap), 0, gap)
    in_single = SINGLE * np.maximum(size, finite_gap)
    # The farthest time has the coarsest grid, and differences inherit it.
    in_double = 4 * DOUBLE * size.max()
    rounding = np.maximum(in_single, in_double)
    return np.minimum(rounding, NEAR * gap)


def _distinct(times: np.ndarray) -> np.ndarray:
    """Ascending distinct times; of numbers that differ by rounding, the one with fewest digits."""
    values = np.unique(times)
    if len(values) == 0:
        return values
    ends = np.flatnonzero(~_are_rounding(values))
    groups = np.split(values, ends + 1)
    return np.array([_shortest(group) for group in groups])


def _are_rounding(values: np.ndarray) -> np.ndarray:
    """Which gaps ``(n - 1,)`` between ascending values are rounding."""
    gaps = np.diff(values)
    largest = np.abs(values).max()
    in_double = gaps <= DOUBLE * largest
    suspect = in_double | _is_single_of_other(values)
    real_gaps = np.where(suspect, np.nan, gaps)
    gap_around = _gap_around(real_gaps)
    is_short = gaps <= ALIKE * gap_around
    # Without any other gap, only what float64 cannot tell apart is one time.
    is_rounding = np.where(np.isnan(gap_around), in_double, is_short)
    return suspect & is_rounding


def repeats(times: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Rows ``(r,)`` at which a path is observed for the first of several times that are one.

    Rows are sorted by their path, ``owner (n,)``, and then by time.
    """
    gaps = np.diff(times)
    is_within = np.diff(owner) == 0
    # Two steps of float64: the rounding of 0.1 * 3 and its like.
    in_double = gaps <= 2 * np.spacing(np.abs(times[1:]))
    suspect = _is_single_of_other(times)
    real_gaps = np.where(suspect, np.nan, gaps)
    # The gaps of a path end where the next begins.
    real_gaps[~is_within] = np.inf
    gap_around = _gap_around(real_gaps)
    is_short = np.isfinite(gap_around) & (gaps <= ALIKE * gap_around)
    is_repeated = in_double | (suspect & is_short)
    return np.flatnonzero(is_repeated & is_within)


def _is_single_of_other(values: np.ndarray) -> np.ndarray:
    """Which neighbours ``(n - 1,)`` are one number, in single and in double precision."""
    # Beyond what float32 holds, it is infinite, which no time is.
    with np.errstate(over="ignore"):
        single = values.astype(np.float32).astype(np.float64)
    first_is_rounded = single[1:] == values[:-1]
    second_is_rounded = single[:-1] == values[1:]
    return first_is_rounded | second_is_rounded


def _gap_around(gaps: np.ndarray) -> np.ndarray:
    """Nearest gap to the left or right that is not NaN, the shorter of the two."""
    column = pd.Series(gaps)
    left = column.ffill().to_numpy()
    right = column.bfill().to_numpy()
    return np.fmin(left, right)


def _shortest(group: np.ndarray) -> float:
    """Number that is spelled with the fewest digits."""
    if len(group) == 1:
        return float(group[0])
    return min(group.tolist(), key=_n_digits)


def _n_digits(number: float) -> int:
    return len(repr(number))


def _spelled(times: np.ndarray, most: int = 20) -> list[str]:
    """Times with as many digits as tell them apart."""
    # Six digits are what a reader expects, seventeen all that a number has.
    for digits in (6, 9, 12, 17):
        words = [as_text(time, digits) for time in times]
        if len(set(words)) == len(words):
            break
    if len(words) <= most:
        return words
    first = words[: most - 1]
    return [*first, "...", words[-1]]


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


def times_array(values: Any, name: str = "times") -> np.ndarray:
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


def _unmasked(values: np.ma.MaskedArray) -> np.ndarray:
    """Masked times as missing ones: NumPy would use what is under the mask."""
    mask = np.ma.getmaskarray(values)
    kind = values.dtype.kind
    missing: float | str | None
    if kind in "iuf":
        plain, missing = values.data.astype(np.float64), np.nan
    elif kind in "mM":
        plain, missing = values.data.copy(), "NaT"
    else:
        plain, missing = values.data.astype(object), None
    plain[mask] = missing
    return plain


def _category_times(column: pd.Series, name: str) -> np.ndarray:
    # A category that no cell is in may be anything.
    used = column.cat.remove_unused_categories().cat
    categories = pd.Series(used.categories)
    times = as_times(categories, name)
    # The code of a missing entry is -1: it takes the last of these.
    return np.append(times, np.nan)[used.codes]


def _number_times(column: pd.Series, values: Any, name: str) -> np.ndarray:
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
        example = column[is_text].iloc[0]
        raise ValueError(_text_message(example, values, name))
    _check_whole_numbers(numbers, times, name)
    return times


def _exact(value: Any) -> Any:
    """Text as a number, where it is one: pandas would lose its last digit."""
    if isinstance(value, int) and abs(value) >= _BEYOND_DOUBLE:
        return np.inf
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _check_whole_numbers(numbers: pd.Series, times: np.ndarray, name: str) -> None:
    """Refuse whole numbers, such as nanoseconds, that float64 merges."""
    if not pd.api.types.is_integer_dtype(numbers) or len(times) == 0:
        return
    largest = np.abs(times).max()
    # Up to here float64 holds every whole number.
    if largest <= 2**53:
        return
    if numbers.nunique() > len(np.unique(times)):
        raise ValueError(
            f"{quoted(name)} holds whole numbers up to {largest:g}, too large to be told apart in "
            "float64; count from the start: subtract the first time"
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


def _text_message(example: Any, values: Any, name: str) -> str:
    message = f"{quoted(name)} holds text ({quoted(str(example))}); times must be numbers"
    if not isinstance(values, pd.Series):
        return f"{message}, such as 3.0 for 'day 3'"
    column = _in_obs(values, name)
    pattern = r"r'(\d+\.?\d*)'"
    numbers = f"{column}.astype(str).str.extract({pattern})[0].astype(float)"
    return f"{message}. Make them: {column} = {numbers}"
