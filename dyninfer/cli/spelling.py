"""Misspelt flags, told before anything slow is imported: the names are read from the source.

Importing a method takes seconds, most of them torch's. The names of its flags stand in its file as
text, as those of its settings and of the arguments of its ``fit`` do.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

# Before a name that two groups of flags share.
_PREFIXES = ("own.", "fit.", "training.")


class Definition(NamedTuple):
    """What the source says of a class.

    Attributes
    ----------
    bases : list of str
    fields : set of str
        Annotated names, class variables not among them.
    fit : set of str
        Keyword-only arguments of its own ``fit``.
    """

    bases: list[str]
    fields: set[str]
    fit: set[str]


def names_for_fit(method: str) -> set[str] | None:
    """Names of all flags of a method, dashes as underscores; None where it is not one of ours."""
    definitions: dict[str, Definition] = {}
    package = files("dyninfer")
    for file in (package / "estimators").iterdir():
        if file.name.endswith(".py"):
            definitions |= _definitions(file)
    if method not in definitions:
        return None
    names: set[str] = set()
    waiting = [method]
    has_fit = False
    while waiting:
        definition = definitions.get(waiting.pop(0))
        # Bases from elsewhere hold no settings.
        if definition is None:
            continue
        names |= definition.fields
        # The nearest ``fit`` is the one that is called.
        if definition.fit and not has_fit:
            names |= definition.fit
            has_fit = True
        waiting += definition.bases
    if "training" in names:
        settings = package / "learning" / "training" / "settings.py"
        names |= _definitions(settings)["Training"].fields
    return names


def unknown_flag(words: Iterable[str], names: Iterable[str]) -> str | None:
    """Sentence about the first flag that is none of the names; None where all are."""
    options = set(names)
    for word in words:
        # What follows is no flag, whatever it looks like.
        if word == "--":
            return None
        if word.startswith("--") and _setting(word) not in options:
            return unrecognized([word], [f"--{name.replace('_', '-')}" for name in options])
    return None


def unrecognized(words: Sequence[str], options: Iterable[str]) -> str:
    """Sentence about words that nothing asks for, with the option that was meant."""
    message = f"unrecognized arguments: {' '.join(words)}"
    flag = words[0].partition("=")[0]
    closest = difflib.get_close_matches(flag, sorted(options), n=1)
    if flag.startswith("--") and closest:
        message += f"; did you mean {closest[0]!r}?"
    return message


def option_text(argv: Sequence[str], option: str) -> str | None:
    """Text that ``argv`` gives for an option, before there is a parser that knows it."""
    text = None
    for k, word in enumerate(argv):
        if word == option:
            text = argv[k + 1] if k + 1 < len(argv) else None
        elif word.startswith(f"{option}="):
            text = word.removeprefix(f"{option}=")
    return text


def _setting(word: str) -> str:
    """Setting that a flag such as ``--no-progress`` or ``--noise.hurst=0.7`` is about."""
    dashed = word.removeprefix("--").partition("=")[0]
    name = dashed.replace("-", "_")
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    # Parts of a setting are known once its class is.
    name = name.partition(".")[0]
    return name.removeprefix("no_")


def _definitions(file: Traversable) -> dict[str, Definition]:
    """Classes of a file by name."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {node.name: _definition(node) for node in classes}


def _definition(node: ast.ClassDef) -> Definition:
    fields = set()
    fit: set[str] = set()
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            # What ends in an underscore is learned, and no setting.
            is_learned = name.endswith("_")
            is_shared = ast.unparse(statement.annotation).startswith("ClassVar")
            if not (is_learned or is_shared):
                fields.add(name)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "fit":
            fit = {argument.arg for argument in statement.args.kwonlyargs}
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return Definition(bases, fields, fit)
