"""The file in which the state of a run is kept: tensors, and everything else as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dyninfer import __version__
from dyninfer.learning.files import label, reason
from dyninfer.learning.settings import PLAIN
from dyninfer.learning.tensor_file import Kind, Tensors, read_tensors, write_tensors
from dyninfer.learning.warn import warn

# Of the layout of the file. Format 1 had none written in it, format 2 was torch's own, the networks
# of format 3 had growth without bounds, and runs of format 4 knew no stages.
FORMAT = 5
KIND = Kind("dyninfer_checkpoint", "checkpoint", "remove it to start anew")


class CheckpointFile:
    """State of a run on disk, rewritten as a whole.

    Parameters
    ----------
    path : str or Path
        File to write; its folder must exist.
    identity : dict of str
        What the run is of, by name: a file in which one of them differs is refused.

    Raises
    ------
    ValueError
        If there can be no such file.
    """

    def __init__(self, path: str | Path, identity: dict[str, str]):
        self.path = Path(path)
        self.identity = identity
        if not self.path.parent.is_dir():
            raise ValueError(
                f"the folder of checkpoint {label(path)} does not exist; create it first"
            )
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"checkpoint {label(path)} is a folder or a device; name a file")

    def write(self, state: dict[str, Any]) -> None:
        """Replace the file; warn where that fails, as a full disk must not cost the fit."""
        tensors: Tensors = {}
        try:
            facts = {
                "format": FORMAT,
                "version": __version__,
                "identity": self.identity,
                "state": to_tree(state, tensors),
            }
            write_tensors(self.path, KIND, tensors, facts)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            warn(
                # The reason names the file, which may take half of a line.
                f"training goes on without a new checkpoint: {reason(error, 200)}",
            )

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """State that was written last, or None where nothing was written yet.

        Raises
        ------
        ValueError
            If the file is damaged or no checkpoint, or one of another run or another version.
        """
        if not self.path.exists():
            return None
        facts, tensors = read_tensors(self.path, KIND)
        with self.restoring():
            version = str(facts.get("version"))[:40]
            number = facts["format"]
        if number != FORMAT:
            raise ValueError(
                f"checkpoint {label(self.path)} was written by dyninfer {version}, in a format "
                f"that version {__version__} does not resume; remove it to start anew"
            )
        with self.restoring():
            differing = differences(facts["identity"], self.identity)
        if differing:
            raise ValueError(
                f"checkpoint {label(self.path)} belongs to a run with other {differing}; "
                "remove it, or give what it was made with"
            )
        with self.restoring():
            return from_tree(facts["state"], tensors, device)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Turn every error of taking a state up into a sentence with the file's name."""
        try:
            yield
        # A state is taken up by many objects, and each has errors of its own.
        except Exception as error:
            raise ValueError(
                f"checkpoint {label(self.path)} is damaged ({reason(error)}); {KIND.remedy}"
            ) from error


def differences(saved: dict[str, Any], identity: dict[str, str]) -> str:
    """Names of what differs between two runs, for a message; empty where they are the same."""
    names = [name for name, value in identity.items() if saved.get(name) != value]
    return " and ".join(names)


def to_tree(value: Any, tensors: Tensors) -> Any:
    """State as JSON can hold it, with its tensors put into ``tensors`` by name.

    JSON has no tuples and no numbers as keys, which the states of optimisers have.

    Raises
    ------
    TypeError
        If something is neither a tensor nor plain.
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        pairs = [[key, to_tree(entry, tensors)] for key, entry in value.items()]
        return {"dict": pairs}
    if isinstance(value, tuple):
        return {"tuple": [to_tree(entry, tensors) for entry in value]}
    if isinstance(value, list):
        return [to_tree(entry, tensors) for entry in value]
    if value is None or isinstance(value, PLAIN):
        return value
    raise TypeError(
        f"a {type(value).__name__} in the state of a run cannot be saved; "
        "use tensors, numbers and text"
    )


def from_tree(tree: Any, tensors: Tensors, device: torch.device) -> Any:
    """Undo :func:`to_tree`; tensors go to ``device``."""
    if isinstance(tree, list):
        return [from_tree(entry, tensors, device) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content].to(device)
    if kind == "tuple":
        return tuple(from_tree(entry, tensors, device) for entry in content)
    if kind == "dict":
        return {key: from_tree(entry, tensors, device) for key, entry in content}
    raise ValueError(f"there is no {kind!r} in a state")
