"""From a file back to a model: nothing in the file is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from dyninfer.jumps.dwell.saving import KEY, read_fit
from dyninfer.learning.budget import MemoryBudget
from dyninfer.learning.files import label
from dyninfer.learning.model_file import check_format, read_model, reading
from dyninfer.learning.parallel import pick_device
from dyninfer.learning.settings import Settings, brief, from_plain, with_modules
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.training.checkpoint import differences


@own_surroundings()
def load(path: str | Path, device: str = "auto", **modules: Any) -> Any:
    """Load a model that :meth:`~dyninfer.Estimator.save` wrote, or a fit of dwell times.

    Parameters
    ----------
    path : path
        A safetensors file; it holds numbers and text, and loading it runs no code from it.
    device : str
        Device on which the process is placed.
    **modules
        Your own modules that the model was made with, by the names of their settings, such as
        ``network=``: a file holds their weights and no code.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or is not a dyninfer model, its class is unknown here, its format is
        no longer read, or it needs a module.
    TypeError
        If a module is given for which the file has no place.

    Examples
    --------
    >>> import tempfile, dyninfer as di
    >>> paths = di.simulators.IonChannel().paths([0, 1, 2, 3], 20)
    >>> model = di.MarkovJumpInference(observation=di.Gaussian(3)).fit(paths, progress=False)
    >>> file = model.save(tempfile.mkdtemp() + "/model.safetensors")
    >>> bool((di.load(file).generator_ == model.generator_).all())
    True
    """
    metadata, tensors = read_model(path)
    # First of all: what is unknown in a file of another format is no damage.
    check_format(path, metadata)
    if KEY in metadata:
        return _loaded_fit(path, metadata, tensors, modules)
    with reading(path):
        model = from_plain(metadata["model"])
    if isinstance(model, Settings):
        # Whatever else is no model is told below.
        with_modules(model, modules)
    return restored(model, path, metadata, tensors, device)


def _loaded_fit(
    path: str | Path,
    metadata: dict[str, Any],
    tensors: dict[str, Tensor],
    modules: dict[str, Any],
) -> Any:
    if modules:
        name = next(iter(modules))
        raise TypeError(f"{name} is not a module that this file needs: it holds a fit")
    return read_fit(path, metadata, tensors)


def restored(
    model: Any,
    path: str | Path,
    metadata: dict[str, Any],
    tensors: dict[str, Tensor],
    device: str = "auto",
) -> Any:
    """Put what a file holds into a model with its settings.

    Raises
    ------
    ValueError
        If the file does not fit the settings, or asks for far more memory than it has weights.
    """
    target = pick_device(device)
    with reading(path):
        # Settings of a coupling are settings as well, and no model.
        if not hasattr(model, "_restore"):
            raise ValueError(f"it holds a {type(model).__name__} and not a model")
        model.check_kinds()
        model.check()
        # Settings of strangers may name any size, which is compared before it is built.
        with MemoryBudget(tensors.values()):
            model._restore(metadata, tensors, target)
    return model


def check_shapes(expected: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Raise a ValueError where weights are not those of the settings."""
    hint = ""
    if any(".module." in name for name in expected):
        hint = "; a network of your own must be given as it was fitted"
    different = sorted(expected.keys() ^ tensors.keys())
    if different:
        raise ValueError(f"its settings and its weights differ in {brief(different[0])}{hint}")
    for name, value in expected.items():
        shape = tuple(value.shape)
        saved_shape = tuple(tensors[name].shape)
        if saved_shape != shape:
            raise ValueError(f"{name!r} is {saved_shape}, and its settings ask for {shape}{hint}")


def check_identity(path: str | Path, saved: Any, identity: dict[str, str]) -> None:
    """Raise a ValueError that says by what a checkpoint is of another fit."""
    if not isinstance(saved, dict):
        saved = {}
    differing = differences(saved, identity)
    if differing:
        raise ValueError(
            f"checkpoint {label(path)} belongs to a run with other {differing}; "
            "remove it, or give what it was made with"
        )
