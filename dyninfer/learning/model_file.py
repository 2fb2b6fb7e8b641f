"""Model files: one safetensors file of weights with JSON metadata. Data, never code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from dyninfer import __version__

# Raised whenever an older version could misread what is written. 1: before the number was written.
FORMAT = 2


def write_model(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Path:
    """Write tensors and metadata to a file; a failed save leaves the old one.

    Raises
    ------
    ValueError
        If the folder does not exist.
    TypeError
        If the metadata are not plain data.
    """
    from safetensors.torch import save

    path = check_target(path)
    # Before the file is opened: metadata that JSON cannot hold must leave nothing behind.
    text = json.dumps(metadata)
    partial = path.with_name(path.name + ".partial")
    try:
        # Written here and not by safetensors, whose files nobody but their owner may read.
        plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        partial.write_bytes(save(plain, {"dyninfer": text}))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def read_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the metadata and the tensors of a model file.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is not one that dyninfer wrote.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("dyninfer")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{str(path)!r} is not a model file that dyninfer wrote ({error})"
        ) from None
    if text is None:
        raise ValueError(
            f"{str(path)!r} is a safetensors file but not a dyninfer model: it has no dyninfer "
            "metadata"
        )
    try:
        return json.loads(text), tensors
    except json.JSONDecodeError:
        raise ValueError(
            f"{str(path)!r} is damaged: its dyninfer metadata are not JSON; save the model again"
        ) from None


def check_target(path: str | Path, name: str = "path") -> Path:
    """Where a file is to be written, or a ValueError that says why it cannot be."""
    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"the folder {str(path.parent)!r} does not exist; create it first")
    if path.is_dir():
        example = str(path / "model.safetensors")
        raise ValueError(
            f"{name} {str(path)!r} is a folder; name a file in it, such as {example!r}"
        )
    if path.exists() and not path.is_file():
        raise ValueError(
            f"{name} {str(path)!r} is a device or a pipe, which saving would replace; name a file"
        )
    return path


def check_format(path: str | Path, metadata: dict[str, Any]) -> None:
    """Raise a ValueError where a model file was written in a format that is not read here."""
    if metadata.get("format") != FORMAT:
        version = metadata.get("version", "of an unknown version")
        raise ValueError(
            f"{str(path)!r} was written by dyninfer {version}, "
            f"whose model files version {__version__} does not read; load it with that version, "
            "or fit and save again"
        )


def is_model_file(path: str | Path | None) -> bool:
    """Whether there is a file with the metadata of dyninfer; a checkpoint of torch is none."""
    from safetensors import SafetensorError, safe_open

    if path is None or not Path(path).is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return "dyninfer" in (file.metadata() or {})
    except SafetensorError:
        return False


def table_to_text(table: pd.DataFrame) -> str:
    """A table as text that :func:`table_from_text` reads."""
    # Not DataFrame.to_json, which rounds to ten digits: a table comes back as it was.
    values = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return json.dumps({"columns": list(table.columns), "data": values, "attrs": table.attrs})


def table_from_text(text: str) -> pd.DataFrame:
    """Undo :func:`table_to_text`."""
    saved = json.loads(text)
    table = pd.DataFrame(saved["data"], columns=saved["columns"])
    table.attrs = saved["attrs"]
    return table
