"""Settings objects: scikit-learn parameters that turn into plain data and back."""

from __future__ import annotations

import types
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy import ndarray
from sklearn.base import BaseEstimator
from torch import nn

# In a file, stands for a module of the user's own, which is code and has no place there.
OWN_MODULE = "own module: "


@dataclass(kw_only=True, repr=False, eq=False)
class Settings(BaseEstimator):
    """Base of every object configured by keywords: estimators, training, couplings.

    ``get_params``, ``set_params``, ``clone`` and the repr come from scikit-learn. A subclass
    registers itself by name, so that a file of settings finds its class without importing a module
    by name.
    """

    registry: ClassVar[dict[str, type[Settings]]] = {}

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        Settings.registry[cls.__name__] = cls

    def to_plain(self) -> dict[str, Any]:
        """Parameters as JSON can hold them."""
        values = self.get_params(deep=False)
        return {name: to_plain(value, name) for name, value in values.items()}

    def check_kinds(self, prefix: str = "") -> None:
        """Raise a TypeError that names the first setting whose value has the wrong type."""
        check_fields(self, prefix)


def check_fields(owner: Any, prefix: str = "") -> None:
    """Raise a TypeError naming the first field of a dataclass that is not of the declared kind."""
    try:
        hints = get_type_hints(type(owner))
    # A class may name types that are there for type checkers only.
    except NameError:
        return
    for field in fields(owner):
        name = field.name
        value = getattr(owner, name)
        kinds = _alternatives(hints[name])
        if value is None and types.NoneType in kinds:
            continue
        if any(_is_of(value, kind) for kind in kinds):
            continue
        names = " or ".join(_called(kind) for kind in kinds)
        raise TypeError(f"{prefix}{name} must be {names}, found {brief(value)}")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Kinds that a type hint allows."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return get_args(hint)
    return (hint,)


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
    if not is_whole(seed):
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


def check_word(value: Any, name: str, words: Collection[str]) -> None:
    """Raise a ValueError that names a setting unless it is one of a few words."""
    # Not every value compares with a word: a missing value does not, nor a table of cells.
    if isinstance(value, str) and value in words:
        return
    *others, last = map(repr, words)
    choice = f"{', '.join(others)} or {last}"
    raise ValueError(f"{name} must be {choice}, found {brief(value)}")


def check_count(n: Any, name: str = "n_samples") -> int:
    """Return a number of things as an int, at least 1, or raise an error that names it."""
    if not is_whole(n):
        raise TypeError(f"{name} must be a whole number, found {brief(n)}")
    if n < 1:
        raise ValueError(f"{name} must be at least 1, found {brief(n)}")
    if n >= _TOO_MANY:
        raise ValueError(f"{name} must be less than 2^63, found {brief(n)}")
    return int(n)


def check_level(level: Any) -> float:
    """Return the coverage of an interval as a float, or raise an error."""
    is_number = isinstance(level, int | float | np.integer | np.floating)
    if isinstance(level, bool) or not is_number:
        raise TypeError(f"level must be a number between 0 and 1, found {brief(level)}")
    # Not "level <= 0 or level >= 1", which a NaN would pass.
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {brief(level)}")
    return float(level)


_DICT = "dict"  # stands in a file for the class of a mapping
# Of the text of a value: a message has 300 characters, and a table or a model has pages.
_LONGEST_VALUE = 80
# As many bits as generators take; Python refuses to write numbers of thousands of digits.
LARGEST_SEED = 2**128
# Torch and files count in 64 bits.
_TOO_MANY = 2**63
_SEQUENCES = (tuple, list, Sequence)
PLAIN = (bool, int, float, str)
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
        members = []
        for member in get_args(kind):
            name = _called(member)
            # A pair of numbers is a list of numbers, and dots say that there may be more.
            if member is not Ellipsis and name not in members:
                members.append(name)
        return f"a list of {' and '.join(members)}"
    if get_origin(kind) is Literal:
        choices = map(str, get_args(kind))
        return f"one of {', '.join(choices)}"
    if kind in _KINDS:
        return _KINDS[kind]
    # A base class that nobody makes has a word for what is made of it.
    name = getattr(kind, "__name__", str(kind))
    return getattr(kind, "called", name)


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value is of a common kind; other kinds are left to the class itself."""
    if kind is bool:
        return isinstance(value, bool | np.bool_)
    if kind is int:
        return is_whole(value)
    if kind is float:
        return is_number(value)
    # Which of the words it is, the class itself asks.
    if kind is str or get_origin(kind) is Literal:
        return isinstance(value, str)
    if get_origin(kind) in _SEQUENCES:
        return _are_of(value, get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Settings):
        return isinstance(value, kind)
    return kind is not types.NoneType


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; True and False are not, though Python counts with them."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int | np.integer)


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
    if isinstance(value, np.generic | ndarray):
        return value.ndim == 0 and value.dtype.kind in "iuf"
    return isinstance(value, float)


def _are_of(values: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether a value is a sequence with members of these kinds."""
    if isinstance(values, ndarray):
        values = values.tolist()
    if isinstance(values, str) or not isinstance(values, Sequence):
        return False
    if Ellipsis in kinds or len(kinds) == 1:
        kinds = kinds[:1] * len(values)
    if len(values) != len(kinds):
        return False
    pairs = zip(values, kinds, strict=True)
    return all(_is_of(value, kind) for value, kind in pairs)


def to_plain(value: Any, name: str = "value") -> Any:
    """Turn settings into what JSON can hold.

    Raises
    ------
    TypeError
        If a setting is a function or another object without a plain form.
    """
    if isinstance(value, Settings):
        class_name = type(value).__name__
        return {"class": class_name, "settings": value.to_plain()}
    if isinstance(value, list | tuple):
        return [to_plain(v, name) for v in value]
    if isinstance(value, dict):
        # As pairs: in a file, a table with names is a setting.
        pairs = [[to_plain(key, name), to_plain(v, name)] for key, v in value.items()]
        return {"class": _DICT, "settings": pairs}
    if isinstance(value, torch.device):
        return str(value)
    # Arrays, tensors and their numbers.
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, nn.Module):
        return OWN_MODULE + _sized(value)
    if value is None or isinstance(value, PLAIN):
        return value
    raise TypeError(
        f"setting {name!r} is a {type(value).__name__}, which cannot be saved; "
        "use numbers, text or named settings"
    )


def _sized(module: nn.Module) -> str:
    """Kind of a module and how many weights it has, by which two are told apart."""
    # Lazy layers have none yet.
    weights = [p for p in module.parameters() if not nn.parameter.is_lazy(p)]
    n_weights = sum(weight.numel() for weight in weights)
    return f"{type(module).__name__} of {n_weights} weights"


def with_modules(settings: Settings, modules: dict[str, Any]) -> None:
    """Put modules of the user's own where a file left their places, wherever in the settings.

    Parameters
    ----------
    settings : Settings
        As :func:`from_plain` makes them; changed in place.
    modules : dict
        By the names of their settings.

    Raises
    ------
    TypeError
        If a name has no such place.
    """
    places = _places(settings)
    for name, module in modules.items():
        if name not in places:
            among = ", ".join(places) or "none"
            raise TypeError(f"{name} is not a module that this file needs; those are: {among}")
        setattr(places[name], name, module)


def _places(settings: Settings) -> dict[str, Settings]:
    """Settings objects that lack a module, by the name of the setting."""
    places: dict[str, Settings] = {}
    for name, value in settings.get_params(deep=False).items():
        if isinstance(value, Settings):
            places |= _places(value)
        elif isinstance(value, str) and value.startswith(OWN_MODULE):
            places[name] = settings
    return places


def fingerprint(settings: Settings, skip: Collection[str] = ()) -> str:
    """Text that is the same for equal settings.

    Of what has no plain form, such as a function, it holds the kind.
    """
    parts = []
    for name, text in setting_texts(settings).items():
        if name not in skip:
            parts.append(f"{name}={text}")
    return ", ".join(parts)


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
    if isinstance(value, list):
        return [from_plain(v) for v in value]
    if not isinstance(value, dict):
        return value
    name = value["class"]
    if name == _DICT:
        return {from_plain(key): from_plain(v) for key, v in value["settings"]}
    if name not in Settings.registry:
        names = ", ".join(sorted(Settings.registry))
        raise ValueError(
            f"the file holds a {name!r}, which is not known here; import the module that "
            f"defines it, then load again (known: {names})"
        )
    settings = {}
    for key, plain in value["settings"].items():
        settings[key] = from_plain(plain)
    return Settings.registry[name](**settings)
