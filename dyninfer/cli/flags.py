"""Command-line flags made from what Python already says: dataclass fields, signatures, docstrings.

A setting that is itself made of settings can be given whole, ``--noise
"FractionalNoise(hurst=0.7)"``, or part by part, ``--noise.hurst 0.7``.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from dyninfer.cli.docstrings import parameter_texts
from dyninfer.cli.spelling import option_text
from dyninfer.cli.values import argument_options, settings_classes, written
from dyninfer.learning.settings import Settings

REQUIRED = inspect.Parameter.empty


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
    """Flags of a dataclass of settings, without fields of types that cannot be written as text."""
    hints = _type_hints(cls)
    texts = parameter_texts(cls)
    flags = []
    for field in dataclasses.fields(cls):
        if field.init and field.name not in skip:
            text = texts.get(field.name, "")
            hint = hints[field.name]
            default = _default(field)
            flag = Flag(field.name, hint, default, text)
            flags.append(flag)
    return _writable(flags)


def of_signature(
    function: Callable[..., Any], skip: Collection[str] = (), explained_by: Iterable[Any] = ()
) -> list[Flag]:
    """Flags of the keyword-only arguments of a function.

    Where it hands arguments on without a word, the docstrings of ``explained_by`` say more.
    """
    hints = _type_hints(function)
    texts: dict[str, str] = {}
    for other in (*explained_by, function):
        texts |= parameter_texts(other)
    flags = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in skip:
            hint = hints.get(name, str)
            text = texts.get(name, "")
            flag = Flag(name, hint, parameter.default, text)
            flags.append(flag)
    return _writable(flags)


def of_parts(flag: Flag, argv: Sequence[str]) -> dict[str, list[Flag]]:
    """Flags of the parts of a setting that is made of settings, by the title of their group.

    The parts are those of the class that ``argv`` names for it, else of its default, else of the
    only class that it can be.
    """
    cls = _class_in(option_text(argv, flag.option)) or _class_of(flag.annotation, flag.default)
    if cls is None or not dataclasses.is_dataclass(cls):
        return {}
    parts = []
    for part in of_fields(cls):
        default = part.default
        if type(flag.default) is cls:
            default = getattr(flag.default, part.name)
        parts.append(dataclasses.replace(part, name=f"{flag.name}.{part.name}", default=default))
    groups = {f"{flag.name}: {cls.__name__}": parts}
    for part in parts:
        groups |= of_parts(part, argv)
    return {title: flags for title, flags in groups.items() if flags}


def add(
    group: Any, flags: Iterable[Flag], prefix: str = "", reserved: Collection[str] = ()
) -> None:
    """Add flags to a parser; those that are not given leave no trace in the result.

    ``prefix`` goes before the name in the result and, where the plain name is ``reserved``, on the
    command line.
    """
    for flag in flags:
        option = flag.option
        if flag.name in reserved:
            option = f"--{prefix}{option.removeprefix('--')}"
        group.add_argument(
            option,
            dest=prefix + flag.name,
            # Python knows the defaults; what is not given stays ungiven.
            default=argparse.SUPPRESS,
            help=_help(flag).replace("%", "%%"),  # argparse formats help texts
            **(argument_options(flag.annotation) or {}),
        )


def compose(base: type | Settings, values: dict[str, Any]) -> Any:
    """Make settings of a class, or change some that are there; dotted names reach into their parts.

    Parameters
    ----------
    base : class or Settings
        What to make, or what to start from.
    values : dict
        By name, as flags give them. A class as a value stands for settings of that class.
    """
    keywords: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        owner, dot, part = name.partition(".")
        if dot:
            parts.setdefault(owner, {})[part] = value
            continue
        keywords[name] = value
        if isinstance(value, type):
            parts.setdefault(name, {})
    for owner, changes in parts.items():
        whole = keywords[owner] if owner in keywords else _whole(base, owner)
        keywords[owner] = compose(whole, changes)
    if isinstance(base, type):
        return base(**keywords)
    return dataclasses.replace(base, **keywords)  # type: ignore[type-var]


def _type_hints(documented: Any) -> dict[str, Any]:
    """Types by name; those that are imported for type checkers only count as any."""
    unseen: dict[str, Any] = {}
    while True:
        try:
            return typing.get_type_hints(documented, localns=unseen)
        except NameError as error:
            if error.name is None or error.name in unseen:
                raise
            unseen[error.name] = Any


def _writable(flags: Iterable[Flag]) -> list[Flag]:
    return [flag for flag in flags if argument_options(flag.annotation) is not None]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED


def _help(flag: Flag) -> str:
    sentences = [flag.help]
    classes = settings_classes(flag.annotation)
    if len(classes) > 1:
        names = ", ".join(cls.__name__ for cls in classes)
        sentences.append(f"One of {names}.")
    if flag.default is not REQUIRED:
        sentences.append(f"(default: {written(flag.default)})")
    return " ".join(sentences).strip()


def _class_in(text: str | None) -> type[Settings] | None:
    """Class that a text names, bare or with brackets; None for a sum or what cannot be read."""
    try:
        node = ast.parse(text or "", mode="eval").body
    except SyntaxError:
        return None
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Name):
        return Settings.registry.get(node.id)
    return None


def _class_of(annotation: Any, default: Any) -> type[Settings] | None:
    """Class of the default settings, or the only class that the annotation allows."""
    # What was chosen as the default says more than what is allowed.
    if isinstance(default, Settings):
        return type(default)
    classes = settings_classes(annotation)
    if len(classes) == 1:
        return classes[0]
    return None


def _whole(base: type | Settings, name: str) -> Any:
    """What the parts of a setting are changed in where it is not given as a whole."""
    if isinstance(base, Settings):
        whole = getattr(base, name)
    else:
        (field,) = (field for field in dataclasses.fields(base) if field.name == name)
        whole = _default(field)
    if isinstance(whole, Settings):
        return whole
    cls = base if isinstance(base, type) else type(base)
    return _class_of(_type_hints(cls)[name], whole)
