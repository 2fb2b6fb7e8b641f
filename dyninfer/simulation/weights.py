"""Log-weights: effective sample size and systematic resampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """``(Σ w)² / Σ w²`` along the first axis; rows whose weight is NaN count for nothing."""
    is_nothing = log_weights.isnan()
    w = torch.where(is_nothing, -torch.inf, log_weights)
    # By logarithms, so that weights of any size neither overflow nor vanish.
    log_square_of_sum = 2 * torch.logsumexp(w, 0)
    log_sum_of_squares = torch.logsumexp(2 * w, 0)
    return torch.exp(log_square_of_sum - log_sum_of_squares)


def systematic_resample(log_weights: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw rows in proportion to their weights with a single uniform number (Kitagawa, 1996).

    Row ``i`` is drawn ``⌊n w_i⌋`` or ``⌈n w_i⌉`` times, ``w`` normalised.

    Parameters
    ----------
    log_weights : Tensor, ``(n,)`` float64
        ``-inf`` for rows that must not be drawn.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor, ``(n,)`` int64
        The rows, in increasing order.
    Tensor, ``(n,)`` float64
        The logarithm of the mean weight for every row: the total mass is conserved.
    """
    n = len(log_weights)
    uniform = torch.rand((), generator=generator, dtype=torch.float64)
    shift = uniform.item()
    numbers = torch.arange(n, dtype=torch.float64, device=log_weights.device)
    positions = (numbers + shift) / n
    cumulative = torch.softmax(log_weights, 0).cumsum(0)
    rows = torch.searchsorted(cumulative, positions, right=True)
    # Rounding may leave the sum below 1: the last row with weight takes what is beyond it.
    has_weight = log_weights > -torch.inf
    with_weight = torch.nonzero(has_weight)
    last = with_weight.max()
    rows = rows.clamp(max=last)
    log_total = torch.logsumexp(log_weights, 0)
    log_mean = log_total - math.log(n)
    return rows, log_mean.expand(n)
