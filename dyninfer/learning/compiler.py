"""``torch.compile``, where it can work."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import torch

# What torch runs on a CPU where CXX names none; it looks for no other.
_COMPILERS = {"darwin": "clang++", "win32": "cl"}


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The function, compiled when it is first called.

    Raises
    ------
    RuntimeError
        On a CPU without the C++ compiler that torch runs; for a GPU, torch brings its own.
    """
    if device.type == "cpu":
        _check_compiler()
    return torch.compile(function)


def _check_compiler() -> None:
    usual = _COMPILERS.get(sys.platform, "g++")
    name = os.environ.get("CXX", usual)
    if shutil.which(name) is None:
        raise RuntimeError(
            f"compile=True needs a C++ compiler on a CPU, and {name!r} is not there: install it, "
            "name another in the environment variable CXX, or leave compile out"
        )
