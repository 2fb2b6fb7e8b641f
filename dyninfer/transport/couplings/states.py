"""Scaled states of the cells that are coupled, in device memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray
from torch import Tensor

from dyninfer.data.stored_rows import LazyRows
from dyninfer.learning.scaling import Scaling


class ScaledRows(LazyRows):
    """States of a snapshot in scaled units, scaled when they are asked for.

    So neither a second copy of many cells is held, nor a file of them read whole.

    Parameters
    ----------
    sample : array or StoredRows ``(n, d)``
    scaling : Scaling
    """

    def __init__(self, sample: Any, scaling: Scaling):
        self.sample = sample
        self.scaling = scaling
        self.shape = sample.shape
        self.dtype = sample.dtype

    def rows(self, numbers: ndarray) -> ndarray:
        """See :meth:`LazyRows.rows`."""
        return self.scaling.states(self.sample[numbers])


class StateTable:
    """States of all cells, or of those that have had a partner so far.

    Where blocks are solved in turn, a short fit meets a few thousand of millions of cells.

    Parameters
    ----------
    samples : sequence of ScaledRows
        Of every snapshot.
    to_device : callable
        Puts an array where the states are held.
    """

    def __init__(self, samples: Sequence[ScaledRows], to_device: Callable[[ndarray], Tensor]):
        self.samples = samples
        self.to_device = to_device
        sizes = [len(sample) for sample in samples]
        self.ends = np.cumsum(sizes)
        # Place of every cell in the states; below zero where it has none yet.
        self.place: ndarray | None = np.full(sum(sizes), -1, dtype=np.int32)
        self.n_held = 0
        nothing = samples[0][:0]
        self.states = to_device(nothing)

    def hold_all(self) -> list[ndarray]:
        """Hold all cells, and return the states of every snapshot."""
        # Parts of one array: a million cells are not held twice.
        states = np.concatenate([np.asarray(sample) for sample in self.samples])
        self.states = self.to_device(states)
        self.place = None
        return np.split(states, self.ends[:-1])

    def places(self, cells: ndarray) -> ndarray:
        """Where the states of cells stand, which are numbered over all snapshots together."""
        if self.place is None:
            return cells
        places = self.place[cells]
        is_new = places < 0
        if is_new.any():
            self._hold(self.place, np.unique(cells[is_new]))
            places = self.place[cells]
        return places.astype(np.int64)

    def _hold(self, place: ndarray, cells: ndarray) -> None:
        """Read the states of new cells, in ascending order, and keep them."""
        parts = []
        begin = 0
        for sample, end in zip(self.samples, self.ends.tolist(), strict=True):
            first, last = np.searchsorted(cells, (begin, end))
            parts.append(sample[cells[first:last] - begin])
            begin = end
        values = self.to_device(np.concatenate(parts))
        n_held = self.n_held + len(cells)
        if n_held > len(self.states):
            self._grow(n_held)
        self.states[self.n_held : n_held] = values
        place[cells] = np.arange(self.n_held, n_held)
        self.n_held = n_held

    def _grow(self, n: int) -> None:
        """Make room for ``n`` cells and more, so that few are moved again and again."""
        n_cells = int(self.ends[-1])
        room = min(2 * n, n_cells)
        states = self.states.new_empty((room, self.states.shape[1]))
        states[: self.n_held] = self.states[: self.n_held]
        self.states = states
