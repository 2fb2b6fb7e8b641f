"""Model files: one safetensors file of weights with JSON metadata. Data, never code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor


def write_model(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Path:
    """Write tensors and metadata beside ``path`` and move them into place, so a failed save leaves the old file.

    Raises
    ------
    ValueError
        If the folder does not exist.
    TypeError
        If the metadata are not plain data.
    """
    from safetensors.torch import save

    path = Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"the folder {str(path.parent)!r} does not exist; create it first")
    if path.is_dir():
        raise ValueError(
            f"{str(path)!r} is a folder; name a file in it, such as {str(path / 'model.safetensors')!r}"
        )
    if path.exists() and not path.is_file():
        raise ValueError(
            f"{str(path)!r} is a device or a pipe, which saving would replace; name a file"
        )
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
            f"{str(path)!r} is a safetensors file but not a dyninfer model: it has no dyninfer metadata"
        )
    try:
        return json.loads(text), tensors
    except json.JSONDecodeError:
        raise ValueError(
            f"{str(path)!r} is damaged: its dyninfer metadata are not JSON; save the model again"
        ) from None
