"""Objectives of one row of parameters, for a batch of rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def by_row(value: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """Values ``(...)`` of parameters ``(..., p)``, one row after the other."""
    rows = theta.reshape(-1, theta.shape[-1])
    values = [value(row) for row in rows]
    return torch.stack(values).reshape(theta.shape[:-1])
