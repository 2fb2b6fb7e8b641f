"""Equal waiting times are grouped before anything is exponentiated."""

from __future__ import annotations

import torch
from torch import Tensor


def group_gaps(gaps: Tensor, tolerance: float = 1e-9) -> tuple[Tensor, Tensor]:
    """Distinct waiting times, and which of them each entry is.

    Parameters
    ----------
    gaps : Tensor, ``(n,)`` float64
        Waiting times.
    tolerance : float
        Gaps count as equal where sorted neighbours differ by at most this share of the largest.

    Returns
    -------
    distinct : Tensor, ``(G,)`` float64
        Mean of each group, ascending.
    number : Tensor, ``(n,)`` int64
        Group of each gap.
    """
    ordered, order = gaps.sort()
    new = ordered.diff() > tolerance * ordered[-1:].abs()
    group = torch.cat([torch.zeros_like(order[:1]), new.long().cumsum(0)])
    number = torch.empty_like(order).scatter_(0, order, group)
    size = int(group[-1]) + 1 if len(group) else 0
    zeros = torch.zeros(size, dtype=gaps.dtype, device=gaps.device)
    total = zeros.index_add(0, group, ordered)
    return total / zeros.index_add(0, group, torch.ones_like(ordered)), number
