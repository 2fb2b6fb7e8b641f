"""What `Paths` asks of its fields, and the form it keeps them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray
from torch import Tensor

from dyninfer.data import display
from dyninfer.data.arrays import as_array, as_list, check_unique, default_features
from dyninfer.data.conditions import as_labels
from dyninfer.data.time_reading import as_times
from dyninfer.data.times import repeats
from dyninfer.data.words import as_text, counted, quoted, texts
from dyninfer.learning.settings import brief

MISSING = -1  # the integer state of an observation whose state is not known
# Rates between this many states fill a gigabyte: larger numbers are names that look like numbers.
MOST_STATES = 10_000
SELECTED_BY = "paths are chosen by their numbers, their names or a mask, found {}"
# What a message calls the kinds of NumPy.
_TIME_KINDS = dict.fromkeys("fiu", "number") | {"m": "timedelta", "M": "datetime"}


def as_names(names: Any, n: int) -> ndarray:
    """One unique name ``(n,)`` for each path; by default their numbers."""
    if n == 0:
        raise ValueError("times is empty; give at least one path")
    if names is None:
        names = range(n)
    text = texts(as_list(names, "names", "one name per path"))
    names = np.array(text, dtype=object)
    if names.shape != (n,):
        raise ValueError(f"names has shape {names.shape}; give one name for each of the {n} paths")
    unique, counts = np.unique(names, return_counts=True)
    repeated = unique[counts > 1]
    if len(repeated):
        raise ValueError(f"names must be unique, found {quoted(repeated[0])} more than once")
    return names


def same_kind(states: Sequence[ndarray], names: ndarray) -> list[ndarray]:
    """All states as integer ``(l,)`` or all as ``(l, feature)``."""
    for x, name in zip(states, names, strict=True):
        if x.ndim not in (1, 2):
            raise TypeError(
                f"the states of path {quoted(name)} are {x.dtype} of shape {x.shape}; "
                "they must be floats (l, feature) or integers (l,)"
            )
    discrete = np.array([is_discrete(x) for x in states])
    if discrete.all():
        return list(states)
    if discrete.any():
        whole = names[discrete][0]
        other = names[~discrete][0]
        raise TypeError(
            f"path {quoted(whole)} has integer states and path {quoted(other)} has continuous "
            "ones; make them floats for continuous paths"
        )
    columns = [_as_columns(x) for x in states]
    n_features = columns[0].shape[1]
    for x, name in zip(columns, names, strict=True):
        if x.shape[1] != n_features:
            raise ValueError(
                f"path {quoted(name)} has {counted(x.shape[1], 'feature')} but path "
                f"{quoted(names[0])} has "
                f"{n_features}; give the same features to all paths"
            )
    return columns


def check_lengths(times: Sequence[ndarray], states: Sequence[ndarray], names: ndarray) -> None:
    """Refuse a path that is empty or has not one time for every state."""
    rows = zip(times, states, names, strict=True)
    for t, x, name in rows:
        if t.ndim != 1 or len(t) != len(x):
            raise ValueError(
                f"path {quoted(name)} has times of shape {t.shape} for {counted(len(x), 'state')}; "
                "give one per state"
            )
        if len(t) == 0:
            raise ValueError(f"path {quoted(name)} is empty; leave it out")


def check_kinds(times: Sequence[ndarray], names: ndarray) -> None:
    """Raise a TypeError where the times of the paths are not all numbers, or all of one kind."""
    kinds = np.array([_TIME_KINDS.get(t.dtype.kind, "text") for t in times])
    differs = kinds != kinds[0]
    if not differs.any():
        return
    raise TypeError(
        f"the times of path {quoted(names[0])} are of kind {kinds[0]} and those of path "
        f"{quoted(names[differs][0])} of kind {kinds[differs][0]}; give all in one way"
    )


def check_times(flat: ndarray, owners: ndarray) -> ndarray:
    """Finite float64 times ``(row,)`` of all paths, whose names are ``owners``."""
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        # By the name of the path: the number of a row in all paths would say nothing.
        is_invalid = ~np.isfinite(flat)
        first = owners[is_invalid][0]
        raise ValueError(
            f"path {quoted(first)} has missing or infinite times; drop those observations"
        )
    return as_times(flat)


def as_states(flat: ndarray, names: ndarray, owner: ndarray) -> ndarray:
    """States of all paths ``(row, feature)`` float or ``(row,)`` int64, finite or missing.

    ``owner`` is the number of the path of each row. No path may be missing from end to end.
    """
    # A gap in one feature is common; a row without any is a gap in time.
    if flat.ndim == 2:
        flat = _check_numbers(flat, names[owner])
        observed = ~is_missing(flat).all(axis=1)
    else:
        flat = _check_codes(flat, names[owner])
        observed = ~is_missing(flat)
    n_paths = len(names)
    n_observed = np.bincount(owner, weights=observed, minlength=n_paths)
    blank = n_observed == 0
    if blank.any():
        first = names[blank][0]
        raise ValueError(
            f"path {quoted(first)} has no observed value; leave it out ({blank.sum()} such paths)"
        )
    return flat


def is_missing(states: ndarray) -> ndarray:
    """Where nothing was observed: NaN, or the integer -1."""
    if states.dtype.kind == "f":
        return np.isnan(states)
    return states == MISSING


def is_discrete(states: ndarray) -> bool:
    """Whether states are integers ``(l,)``."""
    return states.ndim == 1 and states.dtype.kind != "f"


def as_features(features: Sequence[str] | None, flat: ndarray) -> tuple[str, ...]:
    """One name for each feature; by default ``x0, x1, ...``, or ``state``."""
    discrete = flat.ndim == 1
    n_features = 1 if discrete else flat.shape[1]
    names = as_list(() if features is None else features, "features", "one name per feature")
    if not names:
        return ("state",) if discrete else default_features(n_features)
    features = texts(names)
    if len(features) != n_features:
        raise ValueError(
            f"features names {counted(len(features), 'feature')} but the states have {n_features}"
        )
    check_unique(features, "features")
    return features


def as_state_names(state_names: Sequence[str] | None, flat: ndarray) -> tuple[str, ...] | None:
    """Unique names of the integer states; by default their numbers. None for continuous states."""
    if flat.ndim == 2:
        if state_names is not None:
            raise ValueError("state_names belong to integer states; these states are continuous")
        return None
    # A state that no path is in may still be named.
    n_states = int(flat.max()) + 1
    if state_names is None:
        _check_default_names(flat)
        state_names = [str(state) for state in range(n_states)]
    # More names than states are fine: nobody may have been there.
    names = texts(as_list(state_names, "state_names", "one name per state"))
    if len(names) < n_states:
        raise ValueError(
            f"state_names has {counted(len(names), 'name')} but the states go up to {n_states - 1}"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"state_names must be unique, got {display.listed(names)}")
    return names


def as_conditions(conditions: Any, n: int) -> ndarray | None:
    """One label ``(n,)`` for each path, none of them missing."""
    if conditions is None:
        return None
    labels = as_labels(conditions, "conditions")
    if labels.shape != (n,):
        raise ValueError(
            f"conditions has shape {labels.shape}; give one label for each of the {n} paths"
        )
    return labels


def _as_columns(states: ndarray) -> ndarray:
    """States ``(l, feature)``; numbers ``(l,)`` are one feature."""
    if states.ndim == 1:
        return states[:, None]
    return states


def _check_numbers(flat: ndarray, owners: ndarray) -> ndarray:
    infinite = np.isinf(flat).any(axis=1)
    if infinite.any():
        raise ValueError(
            f"path {quoted(owners[infinite][0])} has infinite states; use NaN for a missing value"
        )
    return flat


def _check_codes(flat: ndarray, owners: ndarray) -> ndarray:
    # One width for all: small unsigned integers have no -1.
    flat = flat.astype(np.int64)
    if flat.min() < MISSING:
        first = owners[flat < MISSING][0]
        raise ValueError(
            f"path {quoted(first)} has state {flat.min()}; states are 0, 1, 2, ... and -1 for "
            "missing"
        )
    return flat


def _check_default_names(flat: ndarray) -> None:
    largest = int(flat.max())
    if largest >= MOST_STATES:
        is_observed = flat != MISSING
        n_distinct = len(np.unique(flat[is_observed]))
        raise ValueError(
            f"states go up to {largest} but only {n_distinct} of them occur; numbers of states "
            "are 0, 1, 2, ...: give text, or state_names, where they are labels"
        )


def refuse_repeats(times: ndarray, owner: ndarray, names: ndarray) -> None:
    """Refuse two observations of one path at one time; rows are sorted by path and time."""
    again = repeats(times, owner)
    if len(again) == 0:
        return
    first = again[0]
    name = names[owner[first]]
    raise ValueError(
        f"path {quoted(name)} has several observations at time {as_text(times[first])}; a path "
        "is one individual: keep one observation per time, average them, or make separate paths "
        "of them"
    )


def as_selection(values: Any) -> ndarray:
    """What selects paths as a NumPy array."""
    if isinstance(values, Tensor):
        return as_array(values, "paths")
    if isinstance(values, np.ma.MaskedArray):
        double = values.astype(np.float64)
        return np.ma.filled(double, np.nan)
    try:
        return np.asarray(values)
    except (TypeError, ValueError):
        raise TypeError(SELECTED_BY.format(brief(values))) from None
