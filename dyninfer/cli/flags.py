"""Command-line flags made from what Python already says: dataclass fields, signatures, docstrings."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from dyninfer.learning.settings import Settings

_WORDS = {
    bool: "yes or no",
    int: "a whole number",
    float: "a number",
    Settings: "Name(key=value, ...)",
    Path: "a path",
    str: "text",
}
_LISTS = (list, tuple, Sequence, Iterable, Collection)
_UNSEEN = {
    "AnnData": Any,
    "Snapshots": Any,
    "DensityCurve": Any,
    "Paths": Any,
}  # imported for type checkers only


@dataclasses.dataclass(frozen=True)
class Flag:
    """One setting as a flag: its Python name, type, default and what its docstring says."""

    name: str
    annotation: Any
    default: Any
    help: str

    @property
    def option(self) -> str:
        """Name on the command line."""
        return "--" + self.name.replace("_", "-")


def of_fields(cls: type, skip: Collection[str] = ()) -> list[Flag]:
    """Flags of a dataclass of settings; fields of types that cannot be written as text are left out."""
    hints, texts = typing.get_type_hints(cls, localns=_UNSEEN), docstring_parameters(cls)
    flags = [
        Flag(field.name, hints[field.name], _default(field), texts.get(field.name, ""))
        for field in dataclasses.fields(cls)
        if field.init and field.name not in skip
    ]
    return [flag for flag in flags if _argument(flag.annotation) is not None]


def of_signature(
    function: Callable[..., Any], skip: Collection[str] = (), explained_by: Iterable[Any] = ()
) -> list[Flag]:
    """Flags of the keyword-only arguments of a function; ``explained_by`` says more on arguments it hands on."""
    hints, texts = typing.get_type_hints(function, localns=_UNSEEN), docstring_parameters(function)
    for other in explained_by:
        texts |= docstring_parameters(other)
    flags = [
        Flag(name, hints.get(name, str), parameter.default, texts.get(name, ""))
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in skip
    ]
    return [flag for flag in flags if _argument(flag.annotation) is not None]


def add(group: Any, flags: Iterable[Flag], prefix: str = "", taken: Collection[str] = ()) -> None:
    """Add flags to a parser; those that are not given leave no trace in the result.

    ``prefix`` goes before the name in the result and, where the plain name is ``taken``, on the command line.
    """
    for flag in flags:
        kwargs: dict[str, Any] = dict(_argument(flag.annotation) or {})
        option = f"--{prefix}{flag.option[2:]}" if flag.name in taken else flag.option
        shown = (
            "" if flag.default is inspect.Parameter.empty else f"(default: {_shown(flag.default)})"
        )
        text = f"{flag.help} {shown}".strip().replace("%", "%%")
        group.add_argument(
            option, dest=prefix + flag.name, default=argparse.SUPPRESS, help=text, **kwargs
        )


def docstring_parameters(documented: Any) -> dict[str, str]:
    """Text of every entry under "Parameters" of a NumPy docstring, on one line; a class inherits those of its bases."""
    sources = documented.__mro__[::-1] if inspect.isclass(documented) else [documented]
    found: dict[str, str] = {}
    for source in sources:
        section = re.search(
            r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", _own_doc(source), re.S | re.M
        )
        entries = re.split(r"^(?=\S)", section[1], flags=re.M) if section else []
        for entry in filter(None, entries):
            names, _, text = entry.partition("\n")
            plain = " ".join(_without_markup(text).split())
            found |= {name.strip(" *"): plain for name in names.split(" : ")[0].split(",")}
    return found


def settings(text: str) -> Any:
    """Read settings written as in Python, ``Name(key=value, ...)``; several may be added with ``+``.

    Raises
    ------
    ValueError
        If the text is anything else, or the class or one of its settings is not known.
    """
    try:
        return _evaluate(ast.parse(text, mode="eval").body)
    except SyntaxError:
        raise ValueError(f"{text!r} cannot be read; write Name(key=value, ...)") from None
    except TypeError as error:
        raise ValueError(f"{text!r} cannot be made: {error}") from None


def _argument(annotation: Any) -> dict[str, Any] | None:
    """Keywords of ``add_argument`` for a type; None where text cannot give it."""
    members = _members(annotation)
    optional = type(None) in members
    lists = [m for m in members if (typing.get_origin(m) or m) in _LISTS]
    literals = [
        value for m in members if typing.get_origin(m) is Literal for value in typing.get_args(m)
    ]
    if members == [bool]:
        return {"action": argparse.BooleanOptionalAction}
    if literals:
        choices = [*literals, *([None] if optional else [])]
        names = {str(_shown(value)): value for value in choices}
        return {
            "type": lambda text: names.get(text.lower(), text),
            "choices": choices,
            "metavar": f"{{{','.join(names)}}}",
        }
    if lists:
        inner = [m for m in typing.get_args(lists[0]) if m is not Ellipsis]
        kinds = _kinds(inner[:1] or [str])
        return (
            None
            if not kinds
            else {"nargs": "+", "type": _reader(kinds, False), "metavar": _metavar(kinds)}
        )
    kinds = _kinds(members)
    return None if not kinds else {"type": _reader(kinds, optional), "metavar": _metavar(kinds)}


def _members(annotation: Any) -> list[Any]:
    return (
        list(typing.get_args(annotation))
        if typing.get_origin(annotation) in (Union, types.UnionType)
        else [annotation]
    )


def _kinds(members: Sequence[Any]) -> list[Any]:
    """What a text may become, the narrowest first."""
    order = [bool, int, float, Settings, Path, str]
    kinds = []
    for kind in order:
        for member in members:
            if member is kind or (
                kind is Settings and inspect.isclass(member) and issubclass(member, Settings)
            ):
                kinds.append(kind)
                break
    return kinds


def _reader(kinds: Sequence[Any], optional: bool) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if optional and text.lower() == "none":
            return None
        if Settings in kinds and ("(" in text or str not in kinds):
            try:
                return settings(text)
            except ValueError as error:
                raise argparse.ArgumentTypeError(str(error)) from None
        for kind in kinds:
            if kind in (int, float, Path, str):
                try:
                    return kind(text)
                except ValueError:
                    continue
        raise argparse.ArgumentTypeError(
            f"{text!r} is not {' or '.join(_WORDS[kind] for kind in kinds)}"
        )

    return read


def _evaluate(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _evaluate(node.left) + _evaluate(node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in Settings.registry:
            raise ValueError(
                f"{node.func.id!r} is not known; there are {', '.join(sorted(Settings.registry))}"
            )
        named = {str(k.arg): _evaluate(k.value) for k in node.keywords}
        return Settings.registry[node.func.id](*map(_evaluate, node.args), **named)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(
            f"{ast.unparse(node)!r} cannot be read; write Name(key=value, ...)"
        ) from None


def _metavar(kinds: Sequence[Any]) -> str:
    names = {
        int: "INT",
        float: "NUMBER",
        str: "TEXT",
        Path: "FILE",
        Settings: "SETTINGS",
        bool: "BOOL",
    }
    return "|".join(dict.fromkeys(names[k] for k in kinds if not (k is str and Path in kinds)))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return (
        inspect.Parameter.empty
        if field.default_factory is dataclasses.MISSING
        else field.default_factory()
    )


def _shown(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else value


def _own_doc(source: Any) -> str:
    return inspect.cleandoc(
        source.__dict__.get("__doc__") or "" if inspect.isclass(source) else source.__doc__ or ""
    )


def _without_markup(text: str) -> str:
    text = re.sub(r":\w+:`~?\.?([^`]*)`", r"\1", text)
    return re.sub(r"`{1,2}([^`]*)`{1,2}", r"\1", text)
