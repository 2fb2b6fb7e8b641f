"""Density of a flow at given points."""

from __future__ import annotations

from typing import Any


def log_density(*args: Any, **kwargs: Any) -> Any:
    """Not written yet."""
    raise NotImplementedError("log_density is not written yet")
