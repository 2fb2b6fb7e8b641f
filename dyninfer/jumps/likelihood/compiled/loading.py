"""The compiled recursions, or None where numba cannot be imported."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from torch import Tensor


@cache
def recursions() -> ModuleType | None:
    """Module :mod:`~dyninfer.jumps.likelihood.compiled.recursion`; None without numba."""
    try:
        # Imported late: numba takes a fifth of a second.
        from dyninfer.jumps.likelihood.compiled import recursion
    except ImportError:
        return None
    return recursion


def can_run_on(tensor: Tensor) -> bool:
    """Whether compiled recursions exist and can read the numbers of a tensor where they are."""
    return tensor.device.type == "cpu" and recursions() is not None
