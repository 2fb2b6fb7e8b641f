"""Model files: weights, and settings as metadata, with a digest of both. Data, never code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from dyninfer import __version__
from dyninfer.learning.files import label, reason
from dyninfer.learning.settings import brief
from dyninfer.learning.tensor_file import (
    FileName,
    Kind,
    Tensors,
    kinds_of,
    parse_json,
    read_tensors,
    write_tensors,
)

# Raised whenever another version could misread what is written. 1: before the number was written;
# 2: before the digest; 3: before growth was bounded and conditions were a part of potentials.
FORMAT = 4
Metadata = dict[str, Any]
KIND = Kind("dyninfer", "model file", "take it from a copy, or save it again")

# The same in a checkpoint, of a fit that has no state between.
RESULT = Kind(KIND.key, "checkpoint", "remove it to start anew")


def write_model(path: FileName, tensors: Tensors, metadata: Metadata) -> Path:
    """Write tensors and metadata to a file; a failed save leaves the old one.

    Raises
    ------
    ValueError
        If the folder does not exist.
    TypeError
        If the metadata are not plain data.
    OSError
        If the file cannot be written.
    """
    return write_tensors(path, KIND, tensors, metadata)


def read_model(path: FileName) -> tuple[Metadata, Tensors]:
    """Read the metadata and the tensors of a model file.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is damaged, or not one that dyninfer wrote.
    """
    metadata, tensors = read_tensors(path, KIND)
    if not isinstance(metadata, dict):
        raise ValueError(f"{label(path)} is damaged: its metadata are not a dictionary")
    return metadata, tensors


def is_result(path: FileName) -> bool:
    """Whether a checkpoint holds the result of a fit, and not the state of a training run.

    Raises
    ------
    ValueError
        If there is a file that is damaged, or not one that dyninfer wrote.
    """
    if not Path(path).exists():
        return False
    return KIND.key in kinds_of(path, RESULT)


@contextmanager
def reading(path: FileName) -> Iterator[None]:
    """Turn every error of rebuilding what a file holds into a sentence with the file's name."""
    try:
        yield
    # Whatever is wrong in a file of strangers must end in one kind of error.
    except Exception as error:
        raise ValueError(f"{label(path)} cannot be loaded: {reason(error, 180)}") from error


def check_format(path: FileName, metadata: Metadata) -> None:
    """Raise a ValueError where a model file was written in a format that is not read here."""
    number = metadata.get("format")
    if number == FORMAT:
        return
    version = str(metadata.get("version", "of an unknown version"))[:40]
    advice = "load it with that version, or fit and save again"
    if version == __version__:
        # A state of the source between two releases.
        advice = "fit and save again"
    raise ValueError(
        f"{label(path)} was written by dyninfer {version} in format {brief(number)[:20]}, and "
        f"version {__version__} reads format {FORMAT} only; {advice}"
    )


def table_to_text(table: pd.DataFrame) -> str:
    """A table as text that :func:`table_from_text` reads."""
    # Not DataFrame.to_json, which rounds to ten digits: a table comes back as it was.
    objects = table.astype(object)
    is_known = table.notna()
    values = objects.where(is_known, None)
    rows = values.to_numpy().tolist()
    columns = list(table.columns)
    content = {"columns": columns, "data": rows, "attrs": table.attrs}
    return json.dumps(content)


def table_from_text(text: str) -> pd.DataFrame:
    """Undo :func:`table_to_text`."""
    saved = parse_json(text)
    table = pd.DataFrame(saved["data"], columns=saved["columns"])
    table.attrs = saved["attrs"]
    return table
