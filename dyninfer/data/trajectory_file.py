"""Files of trajectories: written in memory first, and read only once their digest is right.

HDF5 itself may crash on a full disk, and read for ever where a bit was changed. So it writes into
memory, and what it reads has been compared with its digest.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dyninfer.data import storage
from dyninfer.learning import digest
from dyninfer.learning.digest import Bytes
from dyninfer.learning.files import (
    as_path,
    label,
    read_file,
    read_folder,
    reason,
    write_file,
    write_folder,
)
from dyninfer.learning.tensor_file import parse_json

if TYPE_CHECKING:
    import h5py
    from anndata import AnnData
    from xarray import Dataset

    from dyninfer.data.trajectories import Trajectories

SUFFIXES = (".h5ad", ".zarr", ".nc", ".h5")
_ROOT = "zarr.json"  # the file of a zarr that holds its attributes, and with them the digest
_NO_DIGEST = (
    "it has no digest, so it is damaged, or Trajectories.save of this version did not write it; "
    "open it with {library} and use Trajectories.{door}"
)

Made = TypeVar("Made")


def save(traj: Trajectories, path: str | os.PathLike[str]) -> None:
    """Write to the format that the suffix of ``path`` names; see ``Trajectories.save``."""
    path = as_path(path)
    suffix = check_place(path)
    if suffix == ".zarr":
        files = zarr_files(storage.to_xarray(traj), {})
        write_folder(path, files)
        return
    if suffix == ".h5ad":
        content = h5ad_content(storage.to_anndata(traj))
    else:
        content = netcdf_content(storage.to_xarray(traj))
    write_file(path, digest.sealed(content))


def check_place(path: Path) -> str:
    """Suffix of a path where trajectories may be written.

    Raises
    ------
    FileNotFoundError, FileExistsError, ValueError
        If its folder is missing, something else has its name, or the suffix names no format.
    """
    suffix = _suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {label(path.parent)} does not exist; make it first")
    # A zarr is a folder; any other folder is not ours to replace.
    foreign = path.exists() if suffix == ".zarr" else path.is_dir()
    if foreign and not (suffix == ".zarr" and (path / _ROOT).exists()):
        raise FileExistsError(f"{label(path)} exists and holds other files; give another name")
    return suffix


def load(path: str | os.PathLike[str], make: Callable[..., Made]) -> Made:
    """What ``make`` makes of the fields of a file that :func:`save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or holds no trajectories, or ``make`` refuses them.
    """
    path = as_path(path)
    suffix = _suffix(path)
    read = _READERS[suffix]
    try:
        return make(**read(path))
    except FileNotFoundError:
        raise
    # Three libraries read here, each with errors of its own.
    except Exception as error:
        raise ValueError(
            f"{label(path)} cannot be read as trajectories in {suffix}: {_reason(error)}"
        ) from error


def h5ad_content(adata: AnnData) -> bytes:
    """Content of the file that ``write_h5ad`` would write."""
    from anndata.io import write_elem

    return _hdf5_content(lambda file: write_elem(file, "/", adata))


def netcdf_content(data: Dataset) -> bytes:
    """Content of the file that ``to_netcdf`` would write."""
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    def write(file: h5py.File) -> None:
        with H5NetCDFStore(h5netcdf.File(file, "w")) as store:
            data.dump_to_store(store)

    return _hdf5_content(write)


def _hdf5_content(write: Callable[[h5py.File], None]) -> bytes:
    import h5py

    options = {"driver": "core", "backing_store": False, "track_order": True}
    # The name is never used: nothing of it reaches a disk.
    with h5py.File("in memory", "w", **options) as file:
        write(file)
        file.flush()
        return file.id.get_file_image()


def _read_anndata(path: Path) -> dict[str, Any]:
    import h5py
    from anndata.io import read_elem

    content = _unsealed(path, "anndata.read_h5ad", "from_anndata")
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r") as file:
        return storage.fields_from_anndata(read_elem(file))


def _read_netcdf(path: Path) -> dict[str, Any]:
    import xarray as xr

    content = _unsealed(path, "xarray.open_dataset", "from_xarray")
    buffer = io.BytesIO(content)
    with xr.open_dataset(buffer, engine="h5netcdf") as data:
        return storage.fields_from_xarray(data.load())


def _read_zarr(path: Path) -> dict[str, Any]:
    import xarray as xr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    files = read_folder(path, "folder")
    root = files.get(_ROOT, b"")
    others = _other_files(files)
    intact = digest.is_intact(root, *others)
    if intact is None:
        raise ValueError(_NO_DIGEST.format(library="xarray.open_zarr", door="from_xarray"))
    if not intact:
        raise ValueError("its content does not match its digest")
    from_bytes = default_buffer_prototype().buffer.from_bytes
    buffers = {name: from_bytes(content) for name, content in files.items()}
    store = MemoryStore(buffers)
    with xr.open_zarr(store, chunks=None, consolidated=False) as data:
        return storage.fields_from_xarray(data.load())


_READERS = {
    ".h5ad": _read_anndata,
    ".zarr": _read_zarr,
    ".nc": _read_netcdf,
    ".h5": _read_netcdf,
}


def zarr_files(data: Dataset, others: dict[str, memoryview]) -> dict[str, Bytes]:
    """Contents of a zarr by their names, with a digest of all of them among its attributes.

    ``others`` are the files of variables that are written already.
    """
    from zarr.storage import MemoryStore

    buffers: dict[str, Any] = {}
    data.to_zarr(MemoryStore(buffers), mode="w", consolidated=False)
    files: dict[str, Any] = {name: buffer.to_bytes() for name, buffer in buffers.items()}
    files |= others
    root = parse_json(files[_ROOT])
    attributes = root["attributes"]
    attributes[digest.NAME] = digest.EMPTY
    text = json.dumps(root, indent=2)
    parts = _other_files(files)
    content = text.encode()
    files[_ROOT] = digest.fill_in(content, *parts)
    return files


def _other_files(files: Mapping[str, Bytes]) -> list[Bytes]:
    """Names and contents of all files but the one with the digest."""
    parts: list[Bytes] = []
    for name in sorted(files):
        if name != _ROOT:
            parts += [name.encode(), files[name]]
    return parts


def _unsealed(path: Path, library: str, door: str) -> memoryview:
    content = digest.unsealed(read_file(path))
    if content is None:
        raise ValueError(_NO_DIGEST.format(library=library, door=door))
    return content


def _reason(error: Exception) -> str:
    # Of a KeyError, the message without quotes.
    if isinstance(error, KeyError) and error.args:
        error = ValueError(str(error.args[0]))
    return reason(error, 160)


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"cannot tell the format of {label(path.name)}: end it in {', '.join(SUFFIXES)}"
        )
    return path.suffix
