"""Rows of numbers that stay on disk until they are asked for."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.lib.mixins import NDArrayOperatorsMixin

from dyninfer.data.arrays import as_floats, check_size, dense_rows
from dyninfer.learning.slabs import SLAB, slabs

# Bytes of all rows together from which on they stay on disk: a laptop holds a few times as much,
# and reading from memory is simpler.
LARGE = 1_000_000_000


class LazyRows(NDArrayOperatorsMixin, ABC):
    """Base of rows ``(n, feature)`` that are made or read when they are asked for.

    They are asked for by an index, as of an array. Whatever else an array can do makes an array of
    all of them first.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, int]
    ndim = 2

    @abstractmethod
    def rows(self, numbers: ndarray) -> ndarray:
        """Some of the rows, by their numbers."""

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[ndarray]:
        for slab in slabs(len(self)):
            yield from self[slab]

    def __repr__(self) -> str:
        n, n_features = self.shape
        return f"<{type(self).__name__} of {n} x {n_features} {self.dtype}>"

    def __getitem__(self, index: Any) -> ndarray:
        if isinstance(index, tuple):
            return np.asarray(self)[index]
        n = len(self)
        if isinstance(index, slice):
            return self.rows(np.arange(*index.indices(n)))
        everyone = np.arange(n)
        numbers = everyone[index]
        picked = self.rows(np.atleast_1d(numbers))
        return picked[0] if numbers.ndim == 0 else picked

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> ndarray:
        whole = np.empty(self.shape, self.dtype)
        for slab in slabs(len(self)):
            whole[slab] = self[slab]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        arrays = []
        for value in inputs:
            if isinstance(value, LazyRows):
                value = np.asarray(value)
            arrays.append(value)
        return getattr(ufunc, method)(*arrays, **options)

    def __getattr__(self, name: str) -> Any:
        # Copies look for special methods before there is anything to read.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)


class StoredRows(LazyRows):
    """Rows in a temporary file, which goes with the object.

    Stores are made for long runs of rows: of a compressed one, a few thousand rows here and there
    are read no faster than all. So the rows are copied once, one after another.

    Parameters
    ----------
    n_features : int
    dtype : dtype
    """

    def __init__(self, n_features: int, dtype: Any):
        self.shape = (0, n_features)
        self.dtype = np.dtype(dtype)
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        # Without a warning of a file that was left open.
        weakref.finalize(self, self._file.close)
        # A place in a file belongs to one reader at a time.
        self._lock = threading.Lock()

    def append(self, values: ndarray) -> None:
        """Add rows at the end."""
        rows = np.ascontiguousarray(values, dtype=self.dtype)
        with self._lock:
            self._file.seek(len(self) * self._row_size)
            view = _as_bytes(rows)
            # A system takes two gigabytes at once, and less where a disk is nearly full.
            while len(view):
                n_written = self._file.write(view)
                view = view[n_written:]
            self.shape = (len(self) + len(rows), self.shape[1])

    def rows(self, numbers: ndarray) -> ndarray:
        """See :meth:`LazyRows.rows`."""
        distinct, places = np.unique(numbers, return_inverse=True)
        picked = np.empty((len(distinct), self.shape[1]), self.dtype)
        # Neighbours in the file are read at once.
        is_jump = np.diff(distinct) > 1
        begins = np.append(0, np.flatnonzero(is_jump) + 1)
        ends = np.append(begins[1:], len(distinct))
        size = self._row_size
        with self._lock:
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                if end > begin:
                    self._file.seek(int(distinct[begin]) * size)
                    _fill(self._file, picked[begin:end])
        if np.array_equal(distinct, numbers):
            return picked
        return picked[places]

    @property
    def _row_size(self) -> int:
        return self.shape[1] * self.dtype.itemsize

    def __reduce__(self) -> Any:
        # Another process has no hold on the file.
        return np.asarray, (np.asarray(self),)

    def __deepcopy__(self, memo: Any) -> StoredRows:
        # Nobody writes into it any more.
        return self


def groups_of_rows(array: Any, groups: Sequence[ndarray], name: str) -> list[Any]:
    """Groups of rows of a matrix as floats: arrays, or :class:`StoredRows` of a large file.

    Parameters
    ----------
    array : matrix ``(n, feature)``
        Dense, sparse, or in a file.
    groups : sequence of arrays
        Ascending numbers of the rows of every group.
    name : str
        What errors call the matrix.
    """
    n_rows = sum(len(rows) for rows in groups)
    if _is_large(array, n_rows):
        return _stored(array, groups, name)
    return [dense_rows(array, rows, name) for rows in groups]


def _is_large(array: Any, n_rows: int) -> bool:
    """Whether so many rows of a matrix in a file are better left there."""
    # Of h5py, zarr and dask; a sparse matrix is made dense in memory.
    if not hasattr(array, "chunks") or len(array.shape) != 2:
        return False
    dtype = np.dtype(array.dtype)
    n_bytes = n_rows * array.shape[1] * dtype.itemsize
    # Whole numbers may need double precision, which only all of them together tell.
    return dtype.kind == "f" and n_bytes > LARGE


def _stored(array: Any, groups: Sequence[ndarray], name: str) -> list[StoredRows]:
    """Each group in a file of its own, in one pass over the matrix."""
    n_rows = sum(len(rows) for rows in groups)
    double = np.dtype(array.dtype).itemsize >= 8
    dtype = np.float64 if double else np.float32
    n_features = array.shape[1]
    # As many are in memory at once.
    check_size(min(SLAB, n_rows), n_features, name)
    _check_disk(n_rows * n_features * np.dtype(dtype).itemsize, name)
    stored = [StoredRows(n_features, dtype) for _ in groups]
    for slab in slabs(array.shape[0]):
        inside = []
        for rows in groups:
            first, last = np.searchsorted(rows, (slab.start, slab.stop))
            inside.append(rows[first:last] - slab.start)
        # What belongs to no group may hold anything, and is not read.
        if sum(len(rows) for rows in inside) == 0:
            continue
        values = as_floats(array[slab], name)
        for own, rows in zip(stored, inside, strict=True):
            own.append(values[rows])
    return stored


def _check_disk(n_bytes: int, name: str) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OSError(
            f"{name} takes {n_bytes / 1e9:.1f} GB on disk while it is learned from, and "
            f"{folder} has {free / 1e9:.1f} GB left; set TMPDIR to a larger folder"
        )


def _as_bytes(rows: ndarray) -> memoryview:
    # An array without rows cannot be cast.
    return rows.data.cast("B") if rows.size else memoryview(b"")


def _fill(file: Any, rows: ndarray) -> None:
    """Read into an array until it is full: a system may give less at once."""
    view = _as_bytes(rows)
    while len(view):
        n_read = file.readinto(view)
        if not n_read:
            raise OSError("a temporary file ended before all of its rows were read")
        view = view[n_read:]
