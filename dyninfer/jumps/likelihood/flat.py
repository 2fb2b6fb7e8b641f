"""Observed labels of discrete paths in one row, path after path."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from dyninfer.data.paths import Paths

# Paths do not change: what was read of them serves as long as they live.
_READ: WeakKeyDictionary[Paths, FlatLabels] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class FlatLabels:
    """Labels of all paths, without the missing ones.

    Attributes
    ----------
    labels : array ``(n,)`` int64
        Labels, in the order of time within a path.
    times : array ``(n,)``
        When each was observed.
    path : array ``(n,)`` int64
        Number of the path of each.
    """

    labels: np.ndarray
    times: np.ndarray
    path: np.ndarray

    @classmethod
    def of(cls, paths: Paths) -> FlatLabels:
        """Read them from discrete paths, once for all that look at the same paths."""
        flat = _READ.get(paths)
        if flat is None:
            flat = cls._read(paths)
            _READ[paths] = flat
        return flat

    @classmethod
    def _read(cls, paths: Paths) -> FlatLabels:
        labels = np.concatenate(paths.states).astype(np.int64, copy=False)
        times = np.concatenate(paths.times)
        number = np.arange(len(paths))
        path = np.repeat(number, paths.lengths)
        # A missing label is passed over: its neighbours are then one longer gap apart.
        is_observed = labels >= 0
        if is_observed.all():
            return cls(labels, times, path)
        return cls(
            labels=labels[is_observed],
            times=times[is_observed],
            path=path[is_observed],
        )

    def __getitem__(self, rows: slice) -> FlatLabels:
        """Some of the labels."""
        return FlatLabels(self.labels[rows], self.times[rows], self.path[rows])

    @cached_property
    def has_next(self) -> np.ndarray:
        """Whether a label is followed by another of its path ``(n - 1,)`` bool."""
        return np.diff(self.path) == 0

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each label occurs, up to the largest."""
        return np.bincount(self.labels)

    @property
    def is_first(self) -> np.ndarray:
        """Whether a label is the first of its path ``(n,)`` bool."""
        follows = np.append(False, self.has_next)
        return ~follows

    def departures(self) -> np.ndarray:
        """Labels ``(m,)`` that were followed by another one in the same path."""
        before = self.labels[:-1]
        is_change = before != self.labels[1:]
        return before[is_change & self.has_next]

    def is_silent(self, n_states: int) -> np.ndarray:
        """States ``(S,)`` bool that no label names."""
        n_labels = np.zeros(n_states, dtype=np.int64)
        n_labels[: len(self.counts)] = self.counts
        return n_labels == 0

    def is_never_left(self, n_states: int) -> np.ndarray:
        """States ``(S,)`` bool that some label names, and that no label was followed out of."""
        n_departures = np.bincount(self.departures(), minlength=n_states)
        is_left = n_departures > 0
        return ~is_left & ~self.is_silent(n_states)

    def parts(self, n_states: int) -> list[np.ndarray]:
        """Groups of two states or more that changes connect, and that none connects to others."""
        # Imported late: graphs of scipy take a tenth of a second.
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        before = self.labels[:-1]
        after = self.labels[1:]
        is_change = self.has_next & (before != after)
        places = before[is_change], after[is_change]
        ones = np.ones(len(places[0]))
        changes = coo_array((ones, places), shape=(n_states, n_states))
        _, part = connected_components(changes, directed=False)
        sizes = np.bincount(part)
        return [np.flatnonzero(part == number) for number in np.flatnonzero(sizes > 1)]

    def count_first(self, n_states: int) -> np.ndarray:
        """How many paths begin with each label ``(S,)``."""
        first_labels = self.labels[self.is_first]
        return np.bincount(first_labels, minlength=n_states)
