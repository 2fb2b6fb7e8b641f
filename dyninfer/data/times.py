"""Comparison of times, relative to their own spacing.

Wherever two times meet, a :class:`Clock` says whether they are one time. Times that differ by no
more than the rounding of float32 or float64 are one. Far from zero, where that rounding is as
long as the gaps between times, the gaps decide, so that no time is taken for another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.time_reading import as_requested, as_time, as_times
from dyninfer.data.words import as_text

SINGLE = 2 * float(np.finfo(np.float32).eps)  # a step of arithmetic, and the storing of its result
DOUBLE = 4 * float(np.finfo(np.float64).eps)  # a few steps, such as hours / 24 or 3 * 0.1
# A number that was asked for is one of the times if it lies this close, in gaps between them.
NEAR = 1e-3
# Two numbers of one column are one time if they lie this close, in gaps to the next one.
# Designs with gaps of 1 : 10,000 are real, so it must be below that.
ALIKE = 5e-5


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

    def positions(self, times: Any) -> ndarray:
        """Position of each of ``times`` on the clock ``(n,)``, and -1 where it is not there."""
        requested = as_requested(times)
        n = len(self)
        if n == 0:
            return np.full(len(requested), -1)
        above = np.searchsorted(self._sorted, requested)
        # Beyond either end, the end itself is the nearest.
        above = np.minimum(above, n - 1)
        below = np.maximum(above - 1, 0)
        distance_above = self._sorted[above] - requested
        distance_below = requested - self._sorted[below]
        is_above = distance_above < distance_below
        nearest = np.where(is_above, above, below)
        distance = np.where(is_above, distance_above, distance_below)
        slack = self._slack[nearest]
        position = self._order[nearest]
        # Beyond the ends, one of the distances is negative.
        is_there = np.abs(distance) <= slack
        return np.where(is_there, position, -1)

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

    def rows(self, column: Any, time: float) -> ndarray:
        """Rows of a column of times at ``time``; a ValueError lists the times there are."""
        position = self.index(time)
        positions = self.positions(column)
        return np.flatnonzero(positions == position)

    def covers(self, times: Any) -> bool:
        """Whether ``times``, one or more, lie between the first and the last time."""
        requested = as_requested(times)
        if len(requested) == 0:
            return True
        first = self._sorted[0] - self._slack[0]
        last = self._sorted[-1] + self._slack[-1]
        earliest = requested.min()
        latest = requested.max()
        return bool(first <= earliest and latest <= last)

    def __str__(self) -> str:
        texts = _shortened(spelled(self.times))
        return ", ".join(texts) or "none"


def same_times(a: Any, b: Any) -> bool:
    """Whether two lists hold the same times in the same order, but for rounding."""
    first = as_times(a)
    second = as_times(b)
    if len(first) != len(second):
        return False
    clock = Clock.of(first)
    first_positions = clock.positions(first)
    second_positions = clock.positions(second)
    return np.array_equal(first_positions, second_positions)


def _slack(times: ndarray, spacing: float | None) -> ndarray:
    """How far a number may lie from each of the ascending ``times`` to be that time."""
    if len(times) == 0:
        return times
    if spacing is None:
        spacing = np.inf
    inner_gaps = np.diff(times)
    before = np.append(spacing, inner_gaps)
    after = np.append(inner_gaps, spacing)
    gap = np.minimum(before, after)
    # Close to zero, rounding is that of the times which were subtracted: as long as the gaps.
    size = np.abs(times)
    is_infinite = np.isinf(gap)
    finite_gap = np.where(is_infinite, 0, gap)
    in_single = SINGLE * np.maximum(size, finite_gap)
    # The farthest time has the coarsest grid, and differences inherit it.
    farthest = size.max()
    in_double = 4 * DOUBLE * farthest
    rounding = np.maximum(in_single, in_double)
    near = NEAR * gap
    return np.minimum(rounding, near)


def _distinct(times: ndarray) -> ndarray:
    """Ascending distinct times; of numbers that differ by rounding, the one with fewest digits."""
    values = np.unique(times)
    if len(values) == 0:
        return values
    is_gap = ~_are_rounding(values)
    cuts = np.flatnonzero(is_gap) + 1
    groups = np.split(values, cuts)
    distinct = [_shortest(group) for group in groups]
    return np.array(distinct)


def _are_rounding(values: ndarray) -> ndarray:
    """Which gaps ``(n - 1,)`` between ascending values are rounding."""
    gaps = np.diff(values)
    sizes = np.abs(values)
    largest = sizes.max()
    in_double = gaps <= DOUBLE * largest
    suspect = in_double | _is_single_of_other(values)
    real_gaps = np.where(suspect, np.nan, gaps)
    gap_around = _gap_around(real_gaps)
    is_short = gaps <= ALIKE * gap_around
    # Without any other gap, only what float64 cannot tell apart is one time.
    has_no_gap_around = np.isnan(gap_around)
    is_rounding = np.where(has_no_gap_around, in_double, is_short)
    return suspect & is_rounding


def repeats(times: ndarray, owner: ndarray) -> ndarray:
    """Rows ``(r,)`` at which a path is observed for the first of several times that are one.

    Rows are sorted by their path, ``owner (n,)``, and then by time.
    """
    gaps = np.diff(times)
    is_within = np.diff(owner) == 0
    # Two steps of float64: the rounding of 0.1 * 3 and its like.
    sizes = np.abs(times[1:])
    step = np.spacing(sizes)
    in_double = gaps <= 2 * step
    suspect = _is_single_of_other(times)
    if not suspect.any():
        return np.flatnonzero(in_double & is_within)
    real_gaps = np.where(suspect, np.nan, gaps)
    # The gaps of a path end where the next begins.
    real_gaps[~is_within] = np.inf
    gap_around = _gap_around(real_gaps)
    has_gap = np.isfinite(gap_around)
    limit = ALIKE * gap_around
    is_short = has_gap & (gaps <= limit)
    in_single = suspect & is_short
    is_repeated = in_double | in_single
    return np.flatnonzero(is_repeated & is_within)


def _is_single_of_other(values: ndarray) -> ndarray:
    """Which neighbours ``(n - 1,)`` are one number, in single and in double precision."""
    # Beyond what float32 holds, it is infinite, which no time is.
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    first_is_rounded = single[1:] == values[:-1]
    second_is_rounded = single[:-1] == values[1:]
    return first_is_rounded | second_is_rounded


def _gap_around(gaps: ndarray) -> ndarray:
    """Nearest gap to the left or right that is not NaN, the shorter of the two."""
    column = pd.Series(gaps)
    left = column.ffill()
    right = column.bfill()
    return np.fmin(left, right).to_numpy()


def _shortest(group: ndarray) -> float:
    """Number that is spelled with the fewest digits."""
    if len(group) == 1:
        return float(group[0])
    return min(group.tolist(), key=_n_digits)


def _n_digits(number: float) -> int:
    return len(repr(number))


def spelled(times: Any, among: Any = ()) -> list[str]:
    """Times as a message names them, with the digits that tell them from all others.

    Parameters
    ----------
    times : array ``(n,)`` or number
    among : array ``(m,)``, optional
        Further times from which they differ, such as those of the data.
    """
    array = np.asarray(times, dtype=np.float64)
    requested = np.atleast_1d(array)
    together = np.append(requested, among)
    everything = np.unique(together)
    # Six digits are what a reader expects, seventeen all that a number has.
    for digits in (6, 9, 12, 17):
        words = [as_text(time, digits) for time in everything]
        n_distinct = len(set(words))
        if n_distinct == len(words):
            break
    return [as_text(time, digits) for time in requested]


def _shortened(words: list[str], most: int = 20) -> list[str]:
    if len(words) <= most:
        return words
    first = words[: most - 1]
    return [*first, "...", words[-1]]
