"""Equal waiting times are grouped before anything is exponentiated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

# Differences of times such as 0.1 k: ten million steps of rounding of the gap itself.
ALIKE = 1e-9
_SMALLEST = 1e-300  # keeps gaps of 0, which pad short paths, from being divided by


def group_gaps(gaps: Tensor, tolerance: float = ALIKE) -> tuple[Tensor, Tensor]:
    """Distinct waiting times, and which of them each entry is.

    Parameters
    ----------
    gaps : Tensor, ``(n,)`` float64
        Waiting times, none of them negative.
    tolerance : float
        No gap of a group is longer than its shortest one by more than this share of it.

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
    # A regular grid is recognised without sorting, which costs as much as all that follows.
    slack = tolerance * shortest
    if bool(longest - shortest <= slack):
        return gaps.mean(0, keepdim=True), number
    ordered, order = gaps.sort()
    group = _numbered(_new_groups(ordered, tolerance))
    number.scatter_(0, order, group)
    size = torch.bincount(group)
    total = ordered.new_zeros(len(size))
    total.index_add_(0, group, ordered)
    return total / size, number


def _new_groups(ordered: Tensor, tolerance: float) -> Tensor:
    """Which of the ascending gaps after the first ``(n - 1,)`` begin a group of their own."""
    slack = tolerance * ordered[:-1]
    is_apart = ordered.diff() > slack
    chain = _numbered(is_apart)
    is_first = pad(is_apart, (1, 0), value=True)
    shortest_of_chain = ordered[is_first]
    shortest = shortest_of_chain[chain]
    # Many irregular gaps lie so close that neighbours chain up: such a chain is cut into pieces
    # of one tolerance each, or the longest of it would count as the shortest.
    excess = ordered - shortest
    relative = excess / shortest.clamp(min=_SMALLEST)
    tolerances = relative.log1p() / tolerance
    is_cut = tolerances.floor().diff() > 0
    return is_apart | is_cut


def _numbered(is_new: Tensor) -> Tensor:
    """Group ``(n,)`` of each gap: the first opens group 0, and every new one the next."""
    number = is_new.long().cumsum(0)
    return pad(number, (1, 0))
