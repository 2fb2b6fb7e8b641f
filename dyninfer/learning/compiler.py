"""``torch.compile``, where it can work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch

# What torch looks for on a CPU, beside the name in CXX.
_COMPILERS = ("g++", "clang++", "c++", "cl")


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """The function, compiled when it is first called.

    Raises
    ------
    RuntimeError
        On a CPU without a C++ compiler. What a GPU runs is compiled by what torch brings along.
    """
    if device.type == "cpu":
        _check_compiler()
    return torch.compile(function)


def _check_compiler() -> None:
    names = (os.environ.get("CXX", ""), *_COMPILERS)
    if not any(name and shutil.which(name) for name in names):
        raise RuntimeError(
            "compile=True needs a C++ compiler on a CPU, and there is none: install g++ or "
            "clang++, name one in the environment variable CXX, or leave compile out"
        )
