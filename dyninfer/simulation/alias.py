"""Draws from many discrete laws at a cost that does not grow with the number of outcomes."""

from __future__ import annotations

import torch
from torch import Tensor


def alias_tables(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Tables ``(n · S,)`` of Walker's alias method (1977, ACM Trans. Math. Softw. 3, 253) for weights ``(n, S)``.

    A column drawn evenly is kept with the first table's probability, and else exchanged for the second's.
    """
    size = weights.shape[-1]
    left = weights * (size / weights.sum(-1, keepdim=True))
    left = left.nan_to_num(nan=1.0)  # absorbing states, which nothing is drawn from
    own, other = torch.ones_like(left), torch.zeros_like(left, dtype=torch.int64)
    done = torch.zeros_like(left, dtype=torch.bool)
    for _ in range(size - 1):  # what the smallest column lacks, the largest gives
        least, low = left.masked_fill(done, torch.inf).min(-1, keepdim=True)
        high = left.masked_fill(done, -torch.inf).argmax(-1, keepdim=True)
        own.scatter_(-1, low, least)
        other.scatter_(-1, low, high)
        left.scatter_add_(-1, high, least - 1)
        done.scatter_(-1, low, True)
    return own.reshape(-1), other.reshape(-1)
