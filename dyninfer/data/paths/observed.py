"""What is observed of paths at a time, and until then."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy import ndarray

from dyninfer.data.paths.checks import is_missing
from dyninfer.data.paths.covariates import cut_rows
from dyninfer.data.paths.paths import Paths
from dyninfer.data.times import Clock


def observed_at(paths: Paths, time: float) -> ndarray:
    """Which paths ``(n,)`` have an observation at ``time`` with nothing missing."""
    column = np.concatenate(paths.times)
    clock = Clock.of(column)
    rows = clock.rows(column, time)
    states = np.concatenate(paths.states)
    missing = is_missing(states[rows])
    # A discrete state is one feature.
    missing = missing.reshape(len(rows), -1)
    is_whole = ~missing.any(axis=1)
    whole_rows = rows[is_whole]
    numbers = np.arange(len(paths))
    owner = np.repeat(numbers, paths.lengths)
    whole_paths = owner[whole_rows]
    return np.isin(numbers, whole_paths)


def rows_with_values(paths: Paths) -> Paths:
    """The same paths without the rows in which nothing was observed."""
    states = np.concatenate(paths.states)
    missing = is_missing(states).reshape(len(states), -1)
    has_value = ~missing.all(axis=1)
    if has_value.all():
        return paths
    of_paths = np.split(has_value, np.cumsum(paths.lengths)[:-1])
    times = [own[rows] for own, rows in zip(paths.times, of_paths, strict=True)]
    values = [own[rows] for own, rows in zip(paths.states, of_paths, strict=True)]
    return replace(
        paths,
        times=tuple(times),
        states=tuple(values),
        covariates=cut_rows(paths.covariates, np.flatnonzero(has_value)),
    )


def last_values(paths: Paths, time: float) -> ndarray:
    """Last observation of each path until ``time``, feature by feature.

    The shape is ``(n, feature)``, or ``(n,)`` for discrete paths.
    """
    # Feature by feature: the last row of a path may lack some of them.
    past = past_of(paths, time)
    values = [last_value(states) for states in past.states]
    return np.stack(values)


def last_value(states: ndarray) -> ndarray:
    """Last value of one path that is not missing, feature by feature.

    The shape is ``(feature,)``, or ``()`` for a discrete path; missing where all values are.
    """
    last = _last_rows(states)
    n_features = len(last)
    feature = np.arange(n_features)
    table = states.reshape(len(states), n_features)
    row = table[last, feature]
    return row.reshape(states.shape[1:])


def filled(values: ndarray) -> ndarray:
    """Values ``(row, feature)`` with the mean of its feature for a missing one.

    It is 0 for a feature that was never observed.
    """
    missing = np.isnan(values)
    present = np.where(missing, 0, values)
    total = present.sum(0)
    n_observed = (~missing).sum(0)
    mean = total / np.maximum(n_observed, 1)
    return np.where(missing, mean, values)


def past_of(paths: Paths, time: float) -> Paths:
    """What was observed of each path until ``time``; every path must have begun by then."""
    column = np.concatenate(paths.times)
    clock = Clock.of(column)
    at_time = clock.rows(column, time)
    # Times that differ by rounding are one: the last of them counts.
    until = column[at_time].max()
    n_past = [np.searchsorted(times, until, side="right") for times in paths.times]
    return paths.first_rows(np.array(n_past))


def last_rows(paths: Paths, n: int) -> Paths:
    """The last ``n`` observations of each path, or all where there are fewer.

    A row in which all is missing is none, and does not count.
    """
    is_last = [_is_last(states, n) for states in paths.states]
    times = [own[rows] for own, rows in zip(paths.times, is_last, strict=True)]
    states = [own[rows] for own, rows in zip(paths.states, is_last, strict=True)]
    rows = np.flatnonzero(np.concatenate(is_last))
    return replace(
        paths,
        times=tuple(times),
        states=tuple(states),
        covariates=cut_rows(paths.covariates, rows),
    )


def _is_last(states: ndarray, n: int) -> ndarray:
    """Whether a row ``(row,)`` is of the last ``n`` observations, or behind one of them."""
    by_row = is_missing(states).reshape(len(states), -1)
    is_observed = np.logical_not(by_row.all(axis=1))
    n_from_here = np.flip(np.flip(is_observed).cumsum())
    # The first of the window has a value: missing rows before it say nothing.
    is_first = is_observed & (n_from_here == n)
    return is_first | (n_from_here < n)


def digest(paths: Paths) -> str:
    """Fingerprint of times, states, names, conditions and covariates."""
    fingerprint = hashlib.sha256()
    labels = [] if paths.conditions is None else list(paths.conditions)
    # Features are left out: their names change nothing that is learned.
    names = list(paths.names)
    words = repr((names, paths.state_names, labels))
    fingerprint.update(words.encode())
    for array in (*paths.times, *paths.states):
        layout = (array.shape, array.dtype.str)
        kind = repr(layout)
        fingerprint.update(kind.encode())
        fingerprint.update(np.ascontiguousarray(array).data)
    if paths.covariates is not None:
        fingerprint.update(paths.covariates.to_csv().encode())
    return fingerprint.hexdigest()


def _last_rows(states: ndarray) -> ndarray:
    """Last row ``(feature,)`` at which each feature was observed; -1, the last of all, if never."""
    n = len(states)
    missing = is_missing(states)
    missing = missing.reshape(n, -1)
    row = np.arange(n)[:, None]
    observed_row = np.where(missing, -1, row)
    return observed_row.max(axis=0)
