"""Importance sampling: draws of a proposal, weighted by the density that is aimed at."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dyninfer.jumps.posterior.distributions import Distribution
from dyninfer.learning.random import stream

LogDensity = Callable[[Tensor], Tensor]


def weighted_draws(
    target: LogDensity, proposal: Distribution, n: int, seed: int, at_once: int = 64
) -> tuple[Tensor, Tensor]:
    """Draws ``(n, p)`` of a proposal and their weights ``(n,)``, which sum to one.

    Parameters
    ----------
    target : callable, ``(m, p) -> (m,)``
        Log-density, up to a constant.
    proposal : Distribution
        What is drawn from; it must be positive wherever the target is.
    n : int
        Number of draws.
    seed : int
        Fixes them.
    at_once : int
        Draws that the target is asked of together; the weights do not depend on it.
    """
    x = proposal.sample(n, stream(seed, "importance draws"))
    with torch.no_grad():
        parts = [target(part) for part in x.split(at_once)]
        log_proposal = proposal.log_prob(x)
        log_weight = torch.cat(parts) - log_proposal
    # Softmax: both densities may lack a constant, and their ratio may overflow.
    return x, log_weight.softmax(0)


def effective_size(weight: Tensor) -> float:
    """``1 / Σ w²`` of weights ``(n,)`` that sum to one (Kong 1992)."""
    return float(1 / weight.square().sum())


def resampled(weight: Tensor, n: int, seed: int) -> Tensor:
    """Numbers ``(n,)`` of draws, each as often as its weight, up to rounding (Kitagawa 1996)."""
    g = stream(seed, "resampling")
    offset = torch.rand(1, generator=g, dtype=weight.dtype)
    place = (torch.arange(n) + offset) / n
    cumulative = weight.cumsum(0)
    number = torch.searchsorted(cumulative, place)
    # The sum of all weights may miss 1 by rounding.
    last = len(weight) - 1
    return number.clamp(max=last)
