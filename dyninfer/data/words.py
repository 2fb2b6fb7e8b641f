"""Names and times as messages show them: as long as they say something, and no longer."""

from __future__ import annotations

from collections.abc import Iterable

# A message has 300 characters: several names, or one list of them, and a sentence around it.
LONGEST_NAME = 40
LONGEST_LIST = 120
# What other programs write, as text, where nothing is known. "None" and "null" are no such words:
# they are names of treatments and of genotypes.
MISSING_WORDS = frozenset({"", "nan", "<na>", "na", "n/a", "nat"})
# Six digits are what a reader expects; from here on, those before the point alone are as many.
MANY_DIGITS = 1e5


def quoted(name: object) -> str:
    """A name as Python writes it, cut where it is long."""
    # It brings torch along, for which no misspelt flag of the shell should wait.
    from dyninfer.learning.settings import brief

    return shortened(brief(name), LONGEST_NAME)


def shortened(text: str, most: int) -> str:
    """The text, or its first characters where it has more than ``most``."""
    if len(text) <= most:
        return text
    beginning = text[: most - 3]
    return f"{beginning}..."


def listed(names: Iterable[object], most: int = 8) -> str:
    """Names in quotes with commas, the rest of a long list counted."""
    every = list(names)
    if not every:
        return "none"
    first = [quoted(str(name)) for name in every[:most]]
    while len(first) > 1 and len(", ".join(first)) > LONGEST_LIST:
        first.pop()
    text = ", ".join(first)
    if len(first) == len(every):
        return text
    return f"{text}, ... ({len(every)} in all)"


def counted(n: int, noun: str) -> str:
    """Number and noun, in the plural where it is not one."""
    if n == 1:
        return f"{n} {noun}"
    return f"{n} {noun}s"


def as_text(time: float, digits: int = 6) -> str:
    """A time with the digits that tell it from its neighbours, such as those of unix seconds."""
    if abs(time) >= MANY_DIGITS:
        digits = max(digits, 12)
    return f"{time:.{digits}g}"


def texts(values: Iterable[object]) -> tuple[str, ...]:
    """Names as text, whatever they were: those of columns may be numbers."""
    return tuple(str(value) for value in values)


def refuse_missing_words(names: Iterable[str], what: str, remedy: str) -> None:
    """Raise a ValueError where a name reads as a missing value, which would count as a group."""
    for name in names:
        if name.strip().casefold() in MISSING_WORDS:
            raise ValueError(
                f"{what} holds the text {quoted(name)}, which reads as a missing value; write None "
                f"or NaN where nothing is known, {remedy}"
            )
