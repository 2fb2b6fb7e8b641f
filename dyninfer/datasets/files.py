"""Find the files of a data set: shipped, in the user's folder, in a cache, or at their source."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from dyninfer.datasets.table import TABLE, Dataset, File
from dyninfer.learning.files import label

# The environment variable that names the user's folder of data.
DATA_FOLDER = "DYNINFER_DATA"


def paths(name: str, n_features: int | None = None) -> list[Path]:
    """Local paths of the files of a data set, each with the sha256 of the table.

    ``n_features`` chooses among the sizes of a data set that comes in several.

    Raises
    ------
    ConnectionError
        If a file is not here and cannot be downloaded; the message says how to get it by hand.
    ValueError
        If a file is not the published one, or ``DYNINFER_DATA`` is not a folder.
    """
    entry = TABLE[name]
    folder = _data_folder()
    # The user's folder may hold the same numbers in a safer format than the published one.
    if folder and entry.repacked:
        repacked = folder / name / entry.repacked.name
        if repacked.is_file():
            return [_verified(repacked, entry.repacked, name)]
    files = entry.files
    if n_features is not None:
        files = entry.other_sizes.get(n_features, files)
    return [_path(entry, file, folder) for file in files]


def _path(entry: Dataset, file: File, folder: Path | None) -> Path:
    """Path of one file in the user's folder, else in the cache."""
    if folder is None:
        return _download(entry, file)
    # Data that came with others may lie in the folder of those.
    for name in (entry.name, entry.folder or entry.name):
        path = folder / name / file.name
        if path.is_file():
            return _verified(path, file, entry.name)
    return _download(entry, file)


def _data_folder() -> Path | None:
    """Folder that the user named for data; None where there is no such name."""
    value = os.environ.get(DATA_FOLDER)
    # Shells can set a variable to nothing.
    if not value:
        return None
    # Not Path.is_dir, which fails for a name that is too long to be one.
    if not os.path.isdir(value):
        raise ValueError(
            f"{DATA_FOLDER} is {label(value)}, which is not a folder; correct or unset it"
        )
    return Path(value)


def _verified(path: Path, file: File, name: str) -> Path:
    """Return the path if the file is the published one."""
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != file.sha256:
        raise ValueError(
            f"{path} of data set {name!r} has sha256 {sha256}, expected {file.sha256}; "
            f"delete it and download it again from {file.url}"
        )
    return path


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("dyninfer"))


def _download(entry: Dataset, file: File) -> Path:
    """Path in pooch's cache, downloaded if it is not there yet or is not the published file."""
    import pooch
    import requests

    folder = _cache() / entry.name
    try:
        path = pooch.retrieve(file.url, file.sha256, fname=file.name, path=folder)
    except ValueError as error:
        raise ValueError(
            f"data set {entry.name!r} was not downloaded whole from {file.url}: {error}"
        ) from None
    except requests.RequestException as error:
        kind = type(error).__name__
        # All files of the data set, so that the user meets this message once.
        files = ", ".join(f"{entry.name}/{each.name} from {each.url}" for each in entry.files)
        raise ConnectionError(
            f"data set {entry.name!r} is not on this computer and could not be downloaded "
            f"({kind}); connect to the internet, or set {DATA_FOLDER} to a folder of your own "
            f"and save there {files}"
        ) from None
    return Path(path)
