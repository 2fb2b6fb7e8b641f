"""Markov state models: transition matrices at a lag, from counted pairs of labels."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.jumps.process.chain import reachable
from dyninfer.learning.random import numpy_stream

# Of the iteration for detailed balance, relative: digits that no interval shows.
_TOLERANCE = 1e-12
_MOST_ITERATIONS = 100_000


def estimate(counts: Tensor, reversible: bool) -> Tensor:
    """Transition matrices ``(..., S, S)`` of maximum likelihood.

    With detailed balance, the fixed point of ``x_ij = (c_ij + c_ji) / (c_i / x_i + c_j / x_j)``
    (Prinz et al. 2011, J. Chem. Phys. 134, 174105).

    Parameters
    ----------
    counts : Tensor, ``(..., S, S)``
        Pairs at the lag; every row has some.
    reversible : bool
        Whether the chain has detailed balance.

    Raises
    ------
    ValueError
        If detailed balance cannot be: some states are left for good.
    """
    n_leaving = counts.sum(-1, keepdim=True)
    if not reversible:
        return counts / n_leaving
    if not bool(reachable(counts).all()):
        raise ValueError(
            "detailed balance needs every state to be reached from every other; take a shorter "
            "lag, or reversible=False"
        )
    symmetric = counts + counts.mT
    flow = symmetric
    for _ in range(_MOST_ITERATIONS):
        weight = n_leaving / flow.sum(-1, keepdim=True)
        updated = symmetric / (weight + weight.mT)
        change = ((updated - flow).abs().amax((-1, -2)) / updated.amax((-1, -2))).max()
        flow = updated
        if float(change) < _TOLERANCE:
            break
    return flow / flow.sum(-1, keepdim=True)


def posterior_draws(
    counts: Tensor, lag: int, reversible: bool, n_samples: int, seed: int
) -> Tensor:
    """Transition matrices ``(draw, S, S)`` as the counted pairs leave them possible.

    Rows have Dirichlet distributions. Pairs overlap, ``lag`` of them in the time of one, and count
    as so many fewer.
    """
    effective = counts / lag
    g = numpy_stream(seed, "transition matrices", lag)
    shape = (n_samples, *counts.shape)
    weights = torch.from_numpy(g.standard_gamma(effective.numpy(), size=shape))
    total = weights.sum(-1, keepdim=True)
    point = estimate(counts, False)
    # Of a row with hardly a count, all weights may be too small for a number.
    draws = torch.where(total > 0, weights / total, point)
    if not reversible:
        return draws
    row_sums = effective.sum(-1, keepdim=True)
    return estimate(draws * row_sums, True)


def implied_time_scales(transition: Tensor, lag: float) -> Tensor:
    """``−τ / ln |λ|`` of the eigenvalues but the first ``(..., S − 1)``, the slowest first.

    Eigenvalues of size one, of further closed classes or of a cycle, have infinite times.
    """
    sizes = torch.linalg.eigvals(transition).abs()
    slowest_first, _ = sizes.sort(-1, descending=True)
    decay = -slowest_first[..., 1:].log()
    # Of an eigenvalue 1, rounding leaves a logarithm around zero.
    is_endless = decay < 1e-14 * transition.shape[-1]
    return (lag / decay).masked_fill(is_endless, torch.inf)


def powers(transition: Tensor, n: int) -> Tensor:
    """The first ``n`` powers ``(..., n, S, S)``."""
    power = transition
    every = [power]
    for _ in range(n - 1):
        power = power @ transition
        every.append(power)
    return torch.stack(every, dim=-3)
