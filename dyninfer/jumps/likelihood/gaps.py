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
    number = torch.zeros_like(gaps, dtype=torch.int64)
    if len(gaps) == 0:
        return gaps, number
    shortest, longest = gaps.aminmax()
    slack = tolerance * longest.abs()
    # A regular grid is recognised without sorting, which costs as much as all that follows.
    if bool(longest - shortest <= slack):
        return gaps.mean().reshape(1), number
    ordered, order = gaps.sort()
    is_new = ordered.diff() > slack
    # The first gap opens group 0; every step beyond the slack opens the next.
    steps = is_new.long().cumsum(0)
    group = torch.nn.functional.pad(steps, (1, 0))
    number.scatter_(0, order, group)
    size = torch.bincount(group)
    total = ordered.new_zeros(len(size)).index_add(0, group, ordered)
    return total / size, number
