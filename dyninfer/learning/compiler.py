"""Whether ``torch.compile`` can work here."""

from __future__ import annotations

import os
import shutil

import torch

# What torch looks for on a CPU, beside the name in CXX.
_COMPILERS = ("g++", "clang++", "c++", "cl")


def check_compiler(device: torch.device) -> None:
    """Raise a RuntimeError where ``torch.compile`` would end in pages about a missing compiler.

    Code for a GPU is compiled by what torch brings along.
    """
    if device.type != "cpu":
        return
    names = (os.environ.get("CXX", ""), *_COMPILERS)
    if not any(name and shutil.which(name) for name in names):
        raise RuntimeError(
            "compile=True needs a C++ compiler on a CPU, and there is none: install g++ or "
            "clang++, name one in the environment variable CXX, or leave compile out"
        )
