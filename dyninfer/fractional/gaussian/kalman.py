"""Kalman's filter: the likelihood of what is observed of a Gaussian chain."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.chain import Observations, Start
from dyninfer.fractional.gaussian.matrices import (
    apply,
    cholesky,
    half_log_determinant,
    symmetric,
    whiten,
)

_LOG_2PI = math.log(2 * math.pi)


def log_likelihood(
    start: Start,
    transition: Tensor,
    noise: Tensor,
    gap: Tensor,
    observations: Observations,
) -> Tensor:
    """Log-likelihood of the observations, ``(P, G)``, with gradients.

    Parameters
    ----------
    start : Start
    transition, noise : Tensor, ``(u, G, S, S)``
        ``Φ`` and ``Q`` of every distinct gap.
    gap : Tensor of int64, ``(P or 1, L − 1)``
        Which of them lies between two times.
    observations : Observations
    """
    n_paths, n_times = observations.values.shape[:2]
    # One row where all paths share their times and what is missing.
    n_rows = len(gap)
    mean = start.mean.expand(n_paths, -1, -1)
    covariance = start.covariance.expand(n_rows, -1, -1, -1)
    total = mean.new_zeros(mean.shape[:2])
    for n in range(n_times):
        if n > 0:
            step = gap[:, n - 1]
            phi = transition[step]
            mean = apply(phi, mean)
            carried = phi @ covariance @ phi.mT
            covariance = carried + noise[step]
        now = observations.at(n)
        cross = covariance @ now.loading.mT
        spread = now.loading @ cross
        expected = apply(now.loading, mean)
        error = now.values - expected
        update = _innovation(spread, now.variance, cross, error)
        mean = mean + apply(update.gain, error)
        explained = update.gain @ cross.mT
        # Rounding would make the difference of two covariances lose its symmetry step by step.
        covariance = symmetric(covariance - explained)
        constant = now.n_observed * _LOG_2PI
        deviance = update.squared_error + update.log_determinant + constant
        total = total - 0.5 * deviance
    return total


class _Innovation(NamedTuple):
    """What the filter needs to know of one update."""

    gain: Tensor  # (P or 1, G, S, p)
    squared_error: Tensor  # (P, G), in units of its variance
    log_determinant: Tensor  # (P or 1, G)


def _innovation(spread: Tensor, variance: Tensor, cross: Tensor, error: Tensor) -> _Innovation:
    """One update by observations of covariance ``C P C'`` ``(P or 1, G, p, p)`` and their noise."""
    if variance.shape[-1] == 1:
        # A single number needs no factor, which would cost ten times as much.
        total = spread + variance.unsqueeze(-1)
        scalar = total.squeeze(-1)
        squared_error = error.square() / scalar
        return _Innovation(
            gain=cross / total,
            squared_error=squared_error.squeeze(-1),
            log_determinant=scalar.log().squeeze(-1),
        )
    noise = torch.diag_embed(variance)
    factor = cholesky(spread + noise)
    gain = torch.cholesky_solve(cross.mT, factor)
    white = whiten(factor, error.unsqueeze(-1))
    return _Innovation(
        gain=gain.mT,
        squared_error=white.square().sum((-1, -2)),
        log_determinant=2 * half_log_determinant(factor),
    )
