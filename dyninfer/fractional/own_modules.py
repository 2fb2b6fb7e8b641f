"""Modules of the user's own among the settings of a model: files hold their kinds, not them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, TypeVar

from torch import Tensor, nn

from dyninfer.learning.settings import OWN_MODULE

Model = TypeVar("Model")

# Settings that take a module, and the settings object of the model that they are in.
_OWNERS = {
    "drift": None,
    "diffusion": None,
    "hurst": "noise",
    "decoder": "state",
    "encoder": "state",
    "control": "inference",
}


def parts_of(model: Any) -> dict[str, Any]:
    """Settings of a model that may be modules, by name."""
    parts = {}
    for name, owner in _OWNERS.items():
        settings = model
        if owner is not None:
            settings = getattr(model, owner)
        if hasattr(settings, name):
            parts[name] = getattr(settings, name)
    return parts


def with_parts(model: Model, parts: dict[str, Any]) -> Model:
    """The same model with other parts; its own settings objects stay as they are.

    Raises
    ------
    TypeError
        If the model has no such part.
    """
    parts_there = parts_of(model)
    # Shallow: neither data nor modules are copied.
    other = copy.copy(model)
    for name, part in parts.items():
        if name not in parts_there:
            raise TypeError(
                f"{name} is not a setting of this model that takes a module; "
                f"those are {', '.join(parts_there)}"
            )
        owner = _OWNERS[name]
        if owner is None:
            setattr(other, name, part)
        else:
            # A new object: that of the user may be in other models too.
            settings = replace(getattr(other, owner), **{name: part})
            setattr(other, owner, settings)
    return other


def without_modules(model: Model) -> Model:
    """The same model with the kinds of the user's modules in their place, as a file can hold it."""
    kinds = {}
    for name, part in parts_of(model).items():
        if callable(part):
            kinds[name] = OWN_MODULE + type(part).__name__
    return with_parts(model, kinds)


def check_present(model: Any) -> None:
    """Raise a ValueError naming a module that a file could not hold, and how to give it again."""
    for name, part in parts_of(model).items():
        if isinstance(part, str) and part.startswith(OWN_MODULE):
            kind = part.removeprefix(OWN_MODULE)
            raise ValueError(
                f"the model has a {name} of your own ({kind}), which no file holds: "
                f"load it with {type(model).__name__}.load(path, {name}=...)"
            )


def load_tensors(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load what a file holds; a ValueError names the first tensor that does not fit."""
    own_state = model.state_dict()
    built = {name: tensor.shape for name, tensor in own_state.items()}
    saved = {name: tensor.shape for name, tensor in tensors.items()}
    for name in sorted(built.keys() | saved.keys()):
        if built.get(name) != saved.get(name):
            raise ValueError(
                f"the file does not fit the model at {name!r}; modules of your own must be "
                "given as they were fitted, with the same sizes"
            )
    model.load_state_dict(tensors)
