"""From labels or a current to the visits of two classes: a record idealised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.data.arrays import as_list
from dyninfer.data.paths import Paths
from dyninfer.data.paths.checks import is_missing
from dyninfer.jumps.likelihood.state_names import state_number


class Visits(NamedTuple):
    """Visits of the open and the shut class in turn, in one record without a gap."""

    boundaries: ndarray  # (m + 1,), when visits begin, and the end of the record
    is_open: ndarray  # (m,) bool


def visits_of_labels(paths: Paths, open_states: Sequence[str]) -> list[Visits]:
    """Visits of labels, each of which holds until the next observation."""
    if not paths.discrete:
        raise TypeError("the paths are continuous, which has no labels; use DwellTimes.from_signal")
    numbers = open_numbers(open_states, paths.state_names or ())
    visits = []
    for times, states in _pieces(paths):
        is_open = np.isin(states, numbers)
        (changes,) = (is_open[1:] != is_open[:-1]).nonzero()
        visits.append(_visits(times, times[changes + 1], is_open[0]))
    return visits


def visits_of_signal(paths: Paths, threshold: float, inward: bool) -> list[Visits]:
    """Visits of a current on either side of a threshold."""
    if paths.discrete or paths.n_features > 1:
        raise TypeError(
            "DwellTimes.from_signal takes a current of one feature; for labels, use "
            "DwellTimes.from_labels"
        )
    visits = []
    for times, states in _pieces(paths):
        height = states[:, 0].astype(np.float64) - threshold
        if inward:
            height = -height
        is_open: ndarray = np.asarray(height > 0)
        (before,) = (is_open[1:] != is_open[:-1]).nonzero()
        rise = height[before + 1] - height[before]
        share = -height[before] / rise
        crossings = times[before] + share * np.diff(times)[before]
        visits.append(_visits(times, crossings, is_open[0]))
    return visits


def open_numbers(open_states: Sequence[str], names: Sequence[str]) -> list[int]:
    """Numbers of the open states; some states must be open, and some shut."""
    if isinstance(open_states, str):
        raise TypeError(f"open_states must be a list of names: [{open_states!r}]")
    chosen = as_list(open_states, "open_states", "names of states")
    numbers = sorted({state_number(name, names) for name in chosen})
    if not 0 < len(numbers) < len(names):
        raise ValueError(
            f"open_states names {len(numbers)} of {len(names)} states; some must be open and "
            "some shut"
        )
    return numbers


def alternating(number: ndarray, begins_open: bool) -> ndarray:
    """Which of the visits of these numbers are open ``(m,)`` bool."""
    is_even = number % 2 == 0
    return is_even == begins_open


def _visits(times: ndarray, changes: ndarray, begins_open: bool) -> Visits:
    boundaries = np.concatenate([times[:1], changes, times[-1:]])
    number = np.arange(len(boundaries) - 1)
    return Visits(boundaries, is_open=alternating(number, begins_open))


def _pieces(paths: Paths) -> Iterator[tuple[ndarray, ndarray]]:
    """Times and states of stretches without a missing value, of two observations or more."""
    for times, states in zip(paths.times, paths.states, strict=True):
        by_value = is_missing(states).reshape(len(states), -1)
        is_absent: ndarray = np.asarray(by_value.any(1))
        (gaps,) = is_absent.nonzero()
        rows = np.arange(len(times))
        for piece in np.split(rows, gaps):
            observed = piece[~is_absent[piece]]
            if len(observed) > 1:
                yield times[observed], states[observed]
