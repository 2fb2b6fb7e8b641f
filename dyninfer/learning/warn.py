"""Warnings that name the line of the user's program, however deep in the package they arise."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

# What stands between two functions of the package: decorators, and dispatch by type.
_BETWEEN = ("contextlib", "functools")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the nearest line outside the package.

    A number of frames, as in ``stacklevel``, would be wrong after the next change of what calls
    what.
    """
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and _is_inside(frame.f_globals.get("__name__", "")):
        level += 1
        frame = frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_inside(module: str) -> bool:
    package = module.partition(".")[0]
    return package == "dyninfer" or package in _BETWEEN
