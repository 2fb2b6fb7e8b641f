"""Checks of what a user asks a fitted model for."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyninfer.data.times import as_times


def asked_times(times: Any) -> np.ndarray:
    """Times ``(q,)`` that a user asks for, at least one."""
    found = as_times(times)
    if len(found) == 0:
        raise ValueError("times is empty; give one time at least")
    return found


def check_draws(n: Any, name: str = "n_samples") -> int:
    """A number of draws, or an error that names it."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"{name} must be a whole number, found {n!r}")
    if n < 1:
        raise ValueError(f"{name} must be at least 1, found {n}")
    return int(n)
