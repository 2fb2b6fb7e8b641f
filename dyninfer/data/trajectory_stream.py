"""Trajectories written to disk while they are simulated: memory holds one chunk of paths.

The states are one file of a zarr. Its chunks lie in it one after another, uncompressed, so that the
file is also the memory of a tensor: the run fills it, and the result looks into it.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from dyninfer.data import storage, trajectory_file
from dyninfer.data.trajectories import Trajectories
from dyninfer.learning.files import as_path, label, new_folder, reason, write_inside

_STATES = "states/c/0/0/0"
# Bytes of a chunk of the zarr: what a reader of a few paths must read.
_CHUNK = 4 * 2**20
# A flag of Linux that Python 3.11 does not name; other systems need none.
_NO_RESERVE = 0
if sys.platform == "linux":
    _NO_RESERVE = 0x4000

Target = str | os.PathLike[str]
Door = TypeVar("Door", bound=Callable[..., Trajectories])


class TrajectoryStore:
    """A zarr whose states are filled by a run, and sealed when all of them are there.

    Parameters
    ----------
    folder : Path
        Where it is made.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.states: Tensor | None = None

    def allocate(self, shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
        """States ``(path, time, feature)`` whose memory is the file.

        Raises
        ------
        OSError
            If the disk is too small for them.
        """
        kind = torch.empty(0, dtype=dtype).numpy().dtype
        row = kind.itemsize * shape[1] * shape[2]
        n_rows = min(shape[0], max(1, _CHUNK // row))
        n_chunks = -(-shape[0] // n_rows)
        path = self.folder / _STATES
        path.parent.mkdir(parents=True)
        self._describe(shape, kind, (n_rows, *shape[1:]), n_chunks)
        size = n_rows * row
        starts = size * np.arange(n_chunks, dtype="<u8")
        # The table that ends a sharded file: where each chunk begins, and its length.
        index = np.stack([starts, np.full_like(starts, size)], axis=1)
        with open(path, "wb") as file:
            _reserve(file.fileno(), n_chunks * size)
            file.seek(n_chunks * size)
            file.write(index.tobytes())
        self.states = torch.from_numpy(np.memmap(path, kind, "r+", shape=shape))
        return self.states

    def seal(self, run: Trajectories) -> None:
        """Write what belongs to the states, and the digest of all.

        Raises
        ------
        TypeError
            If the states of the run are not those of the store.
        """
        # Who made other states of them has them in memory, and may save them.
        if self.states is None or run.states is not self.states:
            raise TypeError(
                "to cannot be used: this process or model makes its states in memory; leave it "
                "out, and save the result"
            )
        path = self.folder / _STATES
        written = np.memmap(path, np.uint8, "r+")
        # To the disk, before the folder takes the place of an old one.
        written.flush()
        large = {_STATES: written.data}
        description = "states/zarr.json"
        large[description] = memoryview((self.folder / description).read_bytes())
        files = trajectory_file.zarr_files(storage.beside_states(run), large)
        for name in files.keys() - large.keys():
            write_inside(self.folder / name, files[name])

    def _describe(
        self, shape: tuple[int, ...], kind: np.dtype, chunk: tuple[int, ...], n_chunks: int
    ) -> None:
        import zarr
        from zarr.codecs import BytesCodec, ShardingCodec

        # Plain bytes: a compressed chunk could not be looked into.
        plain = [BytesCodec()]
        zarr.create_array(
            self.folder / "states",
            shape=shape,
            chunks=(n_chunks * chunk[0], *chunk[1:]),
            dtype=kind,
            serializer=ShardingCodec(chunk_shape=chunk, codecs=plain, index_codecs=plain),
            compressors=None,
            filters=None,
            fill_value=0,
            dimension_names=("path", "time", "feature"),
        )


def streamed(
    to: Target | TrajectoryStore | None, run: Callable[[TrajectoryStore | None], Trajectories]
) -> Trajectories:
    """What ``run`` makes in the store ``to``; its states are read from there when they are used.

    A store that is open already is left to whoever opened it, who may still name things.
    """
    if to is None or isinstance(to, TrajectoryStore):
        return run(to)
    path = as_path(to, "to")
    if path.suffix != ".zarr":
        raise ValueError(
            f"to must end in .zarr, but it is {label(path)}; other formats are written as a "
            "whole: leave it out, and save the result"
        )
    trajectory_file.check_place(path)
    # A graph would keep all steps in memory.
    with torch.no_grad(), _store_at(path) as store:
        result = run(store)
        store.seal(result)
    return replace(result, states=_view(path / _STATES, result.states))


def streams(simulate: Door) -> Door:
    """Give ``simulate`` of an estimator the keyword ``to``: names and weights are stored too."""

    @wraps(simulate)
    def door(*args: Any, to: Any = None, **options: Any) -> Trajectories:
        return streamed(to, lambda store: simulate(*args, to=store, **options))

    return door  # type: ignore[return-value]


def refuse_several(to: Any) -> None:
    """Raise a ValueError where a store is asked of several runs, which are joined in memory."""
    if to is None:
        return
    raise ValueError(
        "to cannot be used with several conditions, which run one by one; name one: "
        "simulate(..., condition=...)"
    )


@contextmanager
def _store_at(path: Path) -> Iterator[TrajectoryStore]:
    with new_folder(path) as folder:
        yield TrajectoryStore(folder)


def _view(path: Path, states: Tensor) -> Tensor:
    """Tensor like ``states`` that reads a file; changes stay in memory, as the digest is of it."""
    # Without a reserve, which a system refuses where the file is larger than its memory.
    flags = mmap.MAP_PRIVATE | _NO_RESERVE
    rights = mmap.PROT_READ | mmap.PROT_WRITE
    with open(path, "rb") as file:
        memory = mmap.mmap(file.fileno(), 0, flags, rights)
    numbers = torch.frombuffer(memory, dtype=states.dtype, count=states.numel())
    return numbers.view(states.shape)


def _reserve(descriptor: int, size: int) -> None:
    """Take the space now: a disk that is full later would end the program."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)
            return
        zeros = bytes(_CHUNK)
        for start in range(0, size, _CHUNK):
            os.write(descriptor, zeros[: size - start])
    except OSError as error:
        raise OSError(
            f"to cannot hold {size / 2**30:.3g} GiB of states: {reason(error)}; ask for fewer "
            "paths or times, or name another disk"
        ) from None
