"""Modules of compiled loops, or None where numba cannot be imported."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType

from torch import Tensor


@cache
def compiled_module(name: str) -> ModuleType | None:
    """A module of :mod:`dyninfer.jumps.compiled`; None without numba."""
    try:
        # Imported late: numba takes a fifth of a second.
        return import_module(f"dyninfer.jumps.compiled.{name}")
    except ImportError:
        return None


def can_run_on(tensor: Tensor) -> bool:
    """Whether compiled loops exist and can read the numbers of a tensor where they are."""
    return tensor.device.type == "cpu" and compiled_module("recursion") is not None
