"""What a text on the command line becomes, by the type of the setting that it is for."""

from __future__ import annotations

import argparse
import ast
import inspect
import math
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from dyninfer.cli.inputs import did_you_mean
from dyninfer.learning.settings import Settings, brief

# The narrowest first: a text becomes the first that it can be.
KINDS = {
    bool: ("BOOL", "yes or no"),
    int: ("INT", "a whole number"),
    float: ("NUMBER", "a number"),
    Settings: ("NAME(...)", "Name(key=value, ...)"),
    Path: ("FILE", "a path"),
    str: ("TEXT", "text"),
}
_LISTS = (list, tuple, Sequence, Iterable, Collection)
_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}
# Names without brackets that a repr of settings may hold.
_NUMBERS = {"inf": math.inf, "nan": math.nan}


def argument_options(annotation: Any) -> dict[str, Any] | None:
    """Keywords of ``add_argument`` for a type; None where no text can give it."""
    alternatives = members(annotation)
    if alternatives == [bool]:
        return {"action": argparse.BooleanOptionalAction}
    optional = types.NoneType in alternatives
    for member in alternatives:
        if typing.get_origin(member) is Literal:
            return _choice(typing.get_args(member), optional)
        if (typing.get_origin(member) or member) in _LISTS:
            arguments = typing.get_args(member)
            items = [item for item in arguments if item is not Ellipsis]
            item_kinds = members(items[0]) if items else [str]
            options = _single(item_kinds, optional=False)
            return None if options is None else {"nargs": "+", **options}
    return _single(alternatives, optional)


def members(annotation: Any) -> list[Any]:
    """Alternatives of a union; any other type is its only one."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return list(typing.get_args(annotation))
    return [annotation]


def settings_classes(annotation: Any) -> list[type[Settings]]:
    """Classes of settings that an annotation allows by name: those it names, and their kin."""
    classes: list[type[Settings]] = []
    for member in members(annotation):
        if _is_settings(member):
            kin = [cls for cls in Settings.registry.values() if issubclass(cls, member)]
            classes += [cls for cls in kin or [member] if _is_concrete(cls)]
    return classes


def read_settings(text: str) -> Any:
    """Read settings written as in Python, ``Name(key=value, ...)``, or a sum of them.

    Raises
    ------
    ValueError
        If the text is anything else, or the class or one of its settings is not known.
    """
    try:
        return _evaluate(ast.parse(text, mode="eval").body)
    except SyntaxError:
        raise ValueError(f"{brief(text)} cannot be read; write Name(key=value, ...)") from None
    except TypeError as error:
        raise ValueError(f"{brief(text)} cannot be made: {error}") from None


@dataclass(frozen=True)
class Reader:
    """Reads one text as the first of ``kinds`` that it can be; a bare class name is that class."""

    kinds: tuple[type, ...]
    classes: tuple[type[Settings], ...]
    optional: bool

    def __call__(self, text: str) -> Any:
        """Return the value.

        Raises
        ------
        argparse.ArgumentTypeError
            If the text is none of them.
        """
        if self.optional and text.lower() == "none":
            return None
        if self.classes and self._names_settings(text):
            return self._settings(text)
        if bool in self.kinds and text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        for kind in self.kinds:
            if kind not in (bool, Settings):
                try:
                    return kind(text)
                except ValueError:
                    continue
        words = [KINDS[kind][1] for kind in self.kinds]
        raise argparse.ArgumentTypeError(f"{brief(text)} is not {' or '.join(words)}")

    def _names_settings(self, text: str) -> bool:
        is_bare_name = text in Settings.registry
        return is_bare_name or "(" in text or self.kinds == (Settings,)

    def _settings(self, text: str) -> Any:
        if text in Settings.registry:
            value = Settings.registry[text]
            fits = issubclass(value, self.classes)
        else:
            try:
                value = read_settings(text)
            except ValueError as error:
                raise argparse.ArgumentTypeError(str(error)) from None
            fits = isinstance(value, self.classes)
        if not fits:
            names = [cls.__name__ for cls in settings_classes(Union[self.classes])]  # noqa: UP007
            raise argparse.ArgumentTypeError(f"{brief(text)} is not one of {', '.join(names)}")
        return value


def _choice(values: Sequence[Any], optional: bool) -> dict[str, Any]:
    """Options of an argument that takes one of some values."""
    # Written "none".
    if optional:
        values = [*values, None]
    by_text = {written(value): value for value in values}

    def read(text: str) -> Any:
        # argparse refuses what is not among the choices, and lists them.
        return by_text.get(text.lower(), text)

    spellings = ",".join(by_text)
    return {"type": read, "choices": list(values), "metavar": f"{{{spellings}}}"}


def _single(alternatives: Sequence[Any], optional: bool) -> dict[str, Any] | None:
    """Options of an argument that takes one word."""
    kinds = []
    for kind in KINDS:
        if any(_is_kind(member, kind) for member in alternatives):
            kinds.append(kind)
    if not kinds:
        return None
    classes = [member for member in alternatives if _is_settings(member)]
    reader = Reader(tuple(kinds), tuple(classes), optional)
    # A path is text as well; one of the two names is enough.
    if str in kinds and Path in kinds:
        kinds.remove(str)
    names = [KINDS[kind][0] for kind in kinds]
    return {"type": reader, "metavar": "|".join(names)}


def _is_kind(member: Any, kind: type) -> bool:
    if kind is Settings:
        return _is_settings(member)
    if kind is Path:
        return member is Path or (typing.get_origin(member) or member) is os.PathLike
    return member is kind


def _is_settings(member: Any) -> bool:
    return inspect.isclass(member) and issubclass(member, Settings)


def _is_concrete(cls: type[Settings]) -> bool:
    """Whether nothing is derived from a class: a base is a common face, not a choice of its own."""
    registered = Settings.registry.values()
    # A class that was replaced, as in a notebook, stays among the subclasses.
    is_base = any(child in registered for child in cls.__subclasses__())
    return not is_base and not cls.__name__.startswith("_")


def _evaluate(node: ast.expr) -> Any:
    """Value of an expression of settings, sums, lists and literals; nothing else is run."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        terms = _evaluate(node.left), _evaluate(node.right)
        if not all(isinstance(term, Settings) for term in terms):
            raise ValueError(f"{brief(ast.unparse(node))} cannot be added; both must be settings")
        return terms[0] + terms[1]  # type: ignore[operator]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        cls = _registered(node.func.id)
        keywords = {str(keyword.arg): _evaluate(keyword.value) for keyword in node.keywords}
        return cls(*map(_evaluate, node.args), **keywords)
    if isinstance(node, ast.List):
        return [_evaluate(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_evaluate(item) for item in node.elts)
    if isinstance(node, ast.Name) and node.id in _NUMBERS:
        return _NUMBERS[node.id]
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(
            f"{brief(ast.unparse(node))} cannot be read; write Name(key=value, ...)"
        ) from None


def _registered(name: str) -> Callable[..., Any]:
    if name not in Settings.registry:
        names = sorted(name for name in Settings.registry if not name.startswith("_"))
        raise ValueError(
            f"{brief(name)} is not known; {did_you_mean(name, names)}there are {', '.join(names)}"
        )
    return Settings.registry[name]


def written(value: Any) -> str:
    """Value as a user would type it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(str(value).split())
