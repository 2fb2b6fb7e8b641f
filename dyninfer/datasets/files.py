"""Find the files of a data set: shipped, in the user's folder, in the download cache, or at their source."""

from __future__ import annotations

import hashlib
import os
from importlib import resources
from pathlib import Path

from dyninfer.datasets.table import TABLE, Dataset, File

DATA_FOLDER = "DYNINFER_DATA"


def shipped(name: str, file: str) -> Path:
    """Path of a shipped file: in the repository's ``datasets/``, else in the installed package's ``_data/``."""
    package = Path(str(resources.files("dyninfer"))).resolve()
    for folder in (package.parent / "datasets", package / "_data"):
        if (path := folder / name / file).is_file():
            return path
    raise FileNotFoundError(
        f"the shipped data set {name!r} ({file}) is not in this installation of dyninfer; install the package again"
    )


def paths(name: str) -> list[Path]:
    """Local paths of the files of a data set, each with the sha256 of the table.

    Raises
    ------
    ConnectionError
        If a file is not here and cannot be downloaded; the message says how to get it by hand.
    ValueError
        If a file is not the published one, or ``DYNINFER_DATA`` is not a folder.
    """
    entry, folder = TABLE[name], _data_folder()
    if folder and entry.repacked and (folder / name / entry.repacked.name).is_file():
        return [_verified(folder / name / entry.repacked.name, entry.repacked, name)]
    return [_path(entry, file, folder) for file in entry.files]


def _path(entry: Dataset, file: File, folder: Path | None) -> Path:
    if folder:
        for name in (entry.name, entry.folder or entry.name):
            if (path := folder / name / file.name).is_file():
                return _verified(path, file, entry.name)
    return _download(entry, file)


def _data_folder() -> Path | None:
    value = os.environ.get(DATA_FOLDER)
    if not value:
        return None
    if not Path(value).is_dir():
        raise ValueError(f"{DATA_FOLDER} is {value!r}, which is not a folder; correct or unset it")
    return Path(value)


def _verified(path: Path, file: File, name: str) -> Path:
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != file.sha256:
        raise ValueError(
            f"{path} of data set {name!r} has sha256 {found}, expected {file.sha256}; delete it and take it again "
            f"from {file.url}"
        )
    return path


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("dyninfer"))


def _download(entry: Dataset, file: File) -> Path:
    """Path in pooch's cache, downloaded if it is not there yet or is not the published file."""
    import pooch
    import requests

    try:
        path = pooch.retrieve(file.url, file.sha256, fname=file.name, path=_cache() / entry.name)
    except ValueError as error:
        raise ValueError(
            f"data set {entry.name!r} was not downloaded whole from {file.url}: {error}"
        ) from None
    except requests.RequestException as error:
        files = ", ".join(f"{entry.name}/{f.name} from {f.url}" for f in entry.files)
        raise ConnectionError(
            f"data set {entry.name!r} is not on this computer and could not be downloaded ({type(error).__name__}); "
            f"connect to the internet, or set {DATA_FOLDER} to a folder of your own and save there {files}"
        ) from None
    return Path(path)
