"""Draws from many discrete distributions at a cost that does not grow with their outcomes."""

from __future__ import annotations

import torch
from torch import Tensor


def alias_tables(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Tables ``(n · S,)`` of Walker's alias method for weights ``(n, S)``.

    A column drawn evenly stays with the first table's probability, and is else exchanged for the
    second's (Walker, 1977, ACM Trans. Math. Softw. 3, 253).
    """
    size = weights.shape[-1]
    total = weights.sum(-1, keepdim=True)
    mass = weights * (size / total)
    # The weights of absorbing states are all 0; nothing is drawn from them.
    mass = mass.nan_to_num(nan=1.0)
    stay = torch.ones_like(mass)
    other = torch.zeros_like(mass, dtype=torch.int64)
    is_full = torch.zeros_like(mass, dtype=torch.bool)
    for _ in range(size - 1):
        # What the smallest column lacks, the largest gives.
        for_low = mass.masked_fill(is_full, torch.inf)
        for_high = mass.masked_fill(is_full, -torch.inf)
        smallest, low = for_low.min(-1, keepdim=True)
        high = for_high.argmax(-1, keepdim=True)
        stay.scatter_(-1, low, smallest)
        other.scatter_(-1, low, high)
        mass.scatter_add_(-1, high, smallest - 1)
        is_full.scatter_(-1, low, True)
    return stay.flatten(), other.flatten()
