"""Find what comes with the package: data sets, and weights of networks trained ahead of time."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped(name: str, file: str) -> Path:
    """Path of a shipped file.

    In the repository's ``datasets/``, else in the installed package's ``_data/``.

    Raises
    ------
    FileNotFoundError
        If the installation lacks its data folder.
    """
    package = Path(str(resources.files("dyninfer"))).resolve()
    # A clone first: there the file may just have been made anew.
    of_repository = package.parent / "datasets"
    for folder in (of_repository, package / "_data"):
        path = folder / name / file
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"the shipped file {file!r} of {name!r} is not in this installation of dyninfer; "
        "install the package again"
    )
