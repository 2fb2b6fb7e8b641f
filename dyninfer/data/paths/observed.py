"""What is observed of paths at a time, and until then."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from dyninfer.data.paths.paths import Paths
from dyninfer.data.times import Clock


def observed_at(paths: Paths, time: float) -> np.ndarray:
    """Which paths ``(n,)`` have an observation at ``time`` with nothing missing."""
    column = np.concatenate(paths.times)
    owner = np.repeat(np.arange(len(paths)), paths.lengths)
    whole = ~_is_missing(np.concatenate(paths.states).reshape(len(column), -1)).any(1)
    rows = Clock.of(column).rows(column, time)
    return np.isin(np.arange(len(paths)), owner[rows[whole[rows]]])


def last_values(paths: Paths, time: float) -> np.ndarray:
    """Last observation of each path until ``time``, feature by feature ``(n, feature)``, or ``(n,)``."""
    column = np.concatenate(paths.times)
    at_time = Clock.of(column).rows(column, time)
    until = column[at_time].max()  # times that differ by rounding are one
    rows = []
    for times, states in zip(paths.times, paths.states, strict=True):
        past = states[times <= until]
        table = past.reshape(len(past), -1)
        position = np.where(_is_missing(table), -1, np.arange(len(past))[:, None]).max(0)
        values = table[position, np.arange(table.shape[1])]
        rows.append(values.reshape(states.shape[1:]))
    return np.stack(rows)


def past_of(paths: Paths, time: float) -> Paths:
    """What was observed of each path until ``time``; every path must have begun by then."""
    column = np.concatenate(paths.times)
    at_time = Clock.of(column).rows(column, time)
    until = column[at_time].max()  # times that differ by rounding are one
    n_past = [int((times <= until).sum()) for times in paths.times]
    times = tuple(times[:n] for times, n in zip(paths.times, n_past, strict=True))
    states = tuple(states[:n] for states, n in zip(paths.states, n_past, strict=True))
    return replace(paths, times=times, states=states)


def _is_missing(values: np.ndarray) -> np.ndarray:
    return np.isnan(values) if values.dtype.kind == "f" else values < 0


def digest(paths: Paths) -> str:
    """Fingerprint of times, states, names and conditions."""
    fingerprint = hashlib.sha256()
    labels = [] if paths.conditions is None else list(paths.conditions)
    fingerprint.update(repr((list(paths.names), paths.state_names, labels)).encode())
    for array in (*paths.times, *paths.states):
        fingerprint.update(repr((array.shape, array.dtype.str)).encode())
        fingerprint.update(np.ascontiguousarray(array).tobytes())
    return fingerprint.hexdigest()
