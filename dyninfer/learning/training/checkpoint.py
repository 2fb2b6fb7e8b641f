"""The file in which the state of a run is kept."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from dyninfer import __version__

# Of the layout of the file. Format 1 had none written in it.
FORMAT = 2


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
        self.path, self.identity = Path(path), identity
        if not self.path.parent.is_dir():
            raise ValueError(
                f"the folder of checkpoint {str(path)!r} does not exist; create it first"
            )
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"checkpoint {str(path)!r} is a folder or a device; name a file")

    def write(self, state: dict[str, Any]) -> None:
        """Replace the file; warn where that fails, as a full disk must not cost the fit."""
        labels = {"format": FORMAT, "version": __version__, "identity": self.identity}
        # Written beside the old file and moved over it: a run killed meanwhile loses nothing.
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            torch.save(state | labels, partial)
            os.replace(partial, self.path)
        except (OSError, RuntimeError) as error:
            warnings.warn(
                f"the checkpoint {str(self.path)!r} could not be written ({error}); "
                "training goes on",
                stacklevel=5,
            )
        finally:
            partial.unlink(missing_ok=True)

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """State that was written last, or None where nothing was written yet.

        Raises
        ------
        ValueError
            If the file is no checkpoint, or one of another run or another version.
        """
        if not self.path.exists():
            return None
        state = self._load(device)
        if state.get("format") != FORMAT:
            version = state.get("version", "0.1.0 or earlier")
            raise ValueError(
                f"checkpoint {str(self.path)!r} was written by dyninfer {version}, in a format "
                f"that version {__version__} does not resume; remove it to start anew"
            )
        saved = state["identity"]
        other = [name for name, value in self.identity.items() if saved.get(name) != value]
        if other:
            raise ValueError(
                f"checkpoint {str(self.path)!r} is of a run with other {' and '.join(other)}; "
                "remove it, or give what it was made with"
            )
        return state

    def _load(self, device: torch.device) -> dict[str, Any]:
        try:
            # Weights only: a checkpoint from elsewhere must not run code.
            state = torch.load(self.path, map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            state = None
        if not isinstance(state, dict) or "identity" not in state:
            raise ValueError(
                f"checkpoint {str(self.path)!r} is damaged, or not one that this version wrote; "
                "remove it to start anew"
            )
        return state
