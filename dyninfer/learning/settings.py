"""Settings objects: scikit-learn parameters that turn into plain data and back."""

from __future__ import annotations

import types
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from sklearn.base import BaseEstimator


@dataclass(kw_only=True, repr=False, eq=False)
class Settings(BaseEstimator):
    """Base of every object that is configured by keywords: estimators, training, couplings.

    ``get_params``, ``set_params``, ``clone`` and the repr come from scikit-learn. A subclass
    registers itself by name, which is how a file of settings finds its class without naming a
    module to import.
    """

    registry: ClassVar[dict[str, type[Settings]]] = {}

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        Settings.registry[cls.__name__] = cls

    def to_plain(self) -> dict[str, Any]:
        """Parameters as JSON can hold them."""
        return {name: to_plain(value, name) for name, value in self.get_params(deep=False).items()}

    def check_kinds(self, prefix: str = "") -> None:
        """Raise a TypeError naming the first setting whose value is not of the declared kind."""
        check_fields(self, prefix)


def check_fields(owner: Any, prefix: str = "") -> None:
    """Raise a TypeError naming the first field of a dataclass that is not of the declared kind."""
    try:
        hints = get_type_hints(type(owner))
    except NameError:  # a class may name types that are there for type checkers only
        return
    for name in (field.name for field in fields(owner)):
        value, hint = getattr(owner, name), hints[name]
        is_union = get_origin(hint) in (Union, types.UnionType)
        allowed = get_args(hint) if is_union else (hint,)
        if value is None and types.NoneType in allowed:
            continue
        if any(_is_of(value, kind) for kind in allowed):
            continue
        kinds = " or ".join(_called(kind) for kind in allowed)
        raise TypeError(f"{prefix}{name} must be {kinds}, found {brief(value)}")


def brief(value: Any) -> str:
    """A value in one short line, for a message."""
    try:
        text = " ".join(repr(value).split())
    # Python refuses to write very long numbers, and lists that hold lists without end.
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__}>"
    if len(text) > _LONGEST_VALUE:
        text = text[: _LONGEST_VALUE - 3] + "..."
    return text


def check_seed(seed: Any) -> int:
    """Return the seed as an int, or raise a sentence."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be a whole number, found {brief(seed)}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, found {brief(seed)}")
    if seed >= LARGEST_SEED:
        raise ValueError(f"seed must be smaller than 2**128, found {brief(seed)}")
    return int(seed)


def check_switch(value: Any, name: str) -> bool:
    """Return a choice between yes and no as a bool, or raise an error that names it.

    An array, a missing value or a word is neither, and Python would take most of them for a yes.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, found {brief(value)}")
    return bool(value)


def check_count(n: Any, name: str = "n_samples") -> int:
    """Return a number of things as an int, at least 1, or raise an error that names it."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"{name} must be a whole number, found {brief(n)}")
    if n < 1:
        raise ValueError(f"{name} must be at least 1, found {brief(n)}")
    if n >= _TOO_MANY:
        raise ValueError(f"{name} must be less than 2^63, found {brief(n)}")
    return int(n)


# Of the text of a value: a message has 300 characters, and a table or a model has pages.
_LONGEST_VALUE = 80
# As many bits as generators take; Python refuses to write numbers of thousands of digits.
LARGEST_SEED = 2**128
# Torch and files count in 64 bits.
_TOO_MANY = 2**63
_SEQUENCES = (tuple, list, Sequence)
_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    types.NoneType: "None",
}


def _called(kind: Any) -> str:
    """What a message calls a kind."""
    if get_origin(kind) in _SEQUENCES:
        members = [_called(member) for member in get_args(kind) if member is not Ellipsis]
        return f"a list of {' and '.join(dict.fromkeys(members))}"
    return _KINDS.get(kind, getattr(kind, "__name__", str(kind)))


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a common kind; other kinds are left to the class itself."""
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if kind is float:
        return is_number(value)
    if kind is str:
        return isinstance(value, str)
    if get_origin(kind) in _SEQUENCES:
        return _are_of(value, get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Settings):
        return isinstance(value, kind)
    return kind is not types.NoneType


def is_number(value: Any) -> bool:
    """Whether a value is one real number; a tensor of one number serves as well."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        # JSON and torch hold no others.
        return abs(value) < _TOO_MANY
    if isinstance(value, torch.Tensor):
        is_real = not value.is_complex() and value.dtype != torch.bool
        return value.ndim == 0 and is_real and value.device.type != "meta"
    if isinstance(value, np.generic | np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iuf"
    return isinstance(value, float)


def _are_of(values: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether a value is a sequence with members of these kinds."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, str) or not isinstance(values, Sequence):
        return False
    if Ellipsis in kinds or len(kinds) == 1:
        return all(_is_of(value, kinds[0]) for value in values)
    if len(values) != len(kinds):
        return False
    return all(_is_of(value, kind) for value, kind in zip(values, kinds, strict=True))


def to_plain(value: Any, name: str = "value") -> Any:
    """Turn settings into what JSON can hold.

    Raises
    ------
    TypeError
        If a setting is a function or another object without a plain form.
    """
    if isinstance(value, Settings):
        return {"class": type(value).__name__, "settings": value.to_plain()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v, name) for v in value]
    if isinstance(value, torch.device):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"setting {name!r} is a {type(value).__name__}, which cannot be saved; "
        "use numbers, text or named settings"
    )


def fingerprint(settings: Settings, skip: Collection[str] = ()) -> str:
    """Text that is the same for equal settings.

    Of what has no plain form, such as a function, it holds the kind.
    """
    texts = setting_texts(settings)
    return ", ".join(f"{name}={text}" for name, text in texts.items() if name not in skip)


def setting_texts(settings: Settings) -> dict[str, str]:
    """Value of every setting as text, by name; of what has no plain form, its kind."""
    texts = {}
    for name, value in settings.get_params(deep=False).items():
        try:
            texts[name] = repr(to_plain(value))
        except TypeError:
            texts[name] = type(value).__name__
    return texts


def from_plain(value: Any) -> Any:
    """Undo :func:`to_plain`.

    Raises
    ------
    ValueError
        If the class is not known; a class of the user's own must be imported first.
    """
    if isinstance(value, dict):
        name = value["class"]
        if name not in Settings.registry:
            raise ValueError(
                f"the file holds a {name!r}, which is not known here; import the module that "
                f"defines it, then load again (known: {', '.join(sorted(Settings.registry))})"
            )
        return Settings.registry[name](**{k: from_plain(v) for k, v in value["settings"].items()})
    return [from_plain(v) for v in value] if isinstance(value, list) else value
