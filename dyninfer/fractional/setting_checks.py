"""Checks that several settings of an equation share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from dyninfer.learning.settings import Settings, brief


def check_at_least(settings: Settings, prefix: str, least: dict[str, int]) -> None:
    """Raise a ValueError naming the first number below its bound; None is no number."""
    for name, bound in least.items():
        value = getattr(settings, name)
        if value is None or value >= bound:
            continue
        raise ValueError(f"{prefix}{name} must be at least {bound}, found {brief(value)}")


def check_part(name: str, value: Any, choices: Collection[str]) -> None:
    """Raise an error unless a setting is one of the names, or a module or function."""
    if isinstance(value, type):
        raise TypeError(
            f"{name} is the class {value.__name__}; "
            f"give a module of it: {name.rpartition('.')[2]}={value.__name__}(...)"
        )
    is_choice = isinstance(value, str) and value in choices
    if callable(value) or is_choice:
        return
    raise ValueError(
        f"{name} must be one of {', '.join(choices)}, or a module; found {brief(value)}"
    )
