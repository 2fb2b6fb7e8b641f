"""Exact likelihood of fractional motion that is seen through exposures, with localisation error.

The motion is that of the estimators' literature, not its Markov approximation: its covariance has a
closed form, for any times and gaps.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.matrices import covariance_root, whiten
from dyninfer.fractional.inference.groups import Batch
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series
from dyninfer.fractional.noise.blur import covariance_of_means, cross_covariance
from dyninfer.learning.random import stream

_LOG_2PI = math.log(2 * math.pi)


def blurred_log_likelihood(prior: LinearPrior, series: Series) -> Tensor:
    """Log-likelihood of every path ``(P,)`` of a standardised series, with gradients."""
    total = series.values.new_zeros(len(series))
    for batch in series.batches:
        of_members = _batch_log_likelihood(prior, batch)
        total = total.index_add(0, batch.rows.flatten(), of_members.flatten())
    return total


def _batch_log_likelihood(prior: LinearPrior, batch: Batch) -> Tensor:
    """``(g, m)``; 0 of what is padded."""
    middles = batch.elapsed + prior.shift
    covariance = _observed_covariance(prior, batch.feature, middles, batch.error)
    # Times past the end of a list become numbers of variance one, independent of all others.
    both = batch.is_time.unsqueeze(-1) & batch.is_time.unsqueeze(-2)
    rest = (~batch.is_time).to(covariance)
    factor = torch.linalg.cholesky(covariance * both + rest.diag_embed())
    mean = _mean(prior, batch.feature, middles)
    error = batch.values - mean.unsqueeze(-1)
    white = whiten(factor, error * batch.mask)
    # Rows past the end of a path do not act on those before.
    logs = factor.diagonal(dim1=-2, dim2=-1).log().unsqueeze(-1)
    terms = 0.5 * white.square() + logs + 0.5 * _LOG_2PI
    return -(terms * batch.mask).sum(-2)


def blurred_posterior(prior: LinearPrior, series: Series, n_samples: int, seed: int) -> Tensor:
    """Draw positions at every time given all that is observed, ``(n_samples, P, L, d)``."""
    n_paths, n_times, n_features = series.values.shape
    elapsed = series.times - series.times[:, :1]
    generator = stream(seed, "posterior", device=series.times.device)
    shape = n_samples, n_paths, n_times, n_features
    normals = torch.randn(
        shape, generator=generator, dtype=torch.float64, device=series.times.device
    )
    draws = torch.empty_like(normals)
    errors = torch.zeros_like(series.values) if series.error is None else series.error
    with torch.no_grad():
        for row in range(n_paths):
            for feature in range(n_features):
                is_observed = series.full_mask[row, :, feature]
                values = series.values[row, is_observed, feature]
                error = errors[row, is_observed, feature]
                seen = _Seen(elapsed[row, is_observed] + prior.shift, values, error)
                number = torch.tensor(feature)
                mean, root = _conditional(prior, number, elapsed[row], seen)
                own_normals = normals[:, row, :, feature]
                draws[:, row, :, feature] = mean + own_normals @ root.T
    return draws


class _Seen(NamedTuple):
    """Averages over exposures, of one feature of one path."""

    middles: Tensor  # (n,), of the exposures, elapsed from the first time of the path
    values: Tensor  # (n,)
    error: Tensor  # (n,), deviation of each; 0 where that of the feature counts


def _conditional(
    prior: LinearPrior,
    feature: Tensor,
    elapsed: Tensor,
    seen: _Seen,
) -> tuple[Tensor, Tensor]:
    """Mean ``(L,)`` and root ``(L, L)`` of the covariance of positions, given what was seen."""
    hurst, variance, start = _parameters(prior, feature)
    covariance = _observed_covariance(prior, feature, seen.middles, seen.error)
    factor = torch.linalg.cholesky(covariance)
    cross = start + variance * cross_covariance(elapsed, seen.middles, hurst, _exposure(prior))
    of_points = start + variance * covariance_of_means(elapsed, hurst, 0.0)
    error = seen.values - _mean(prior, feature, seen.middles)
    white_cross = whiten(factor, cross.T)
    white_error = whiten(factor, error.unsqueeze(1))
    shift = white_cross.T @ white_error
    mean = _mean(prior, feature, elapsed) + shift.squeeze(1)
    explained = white_cross.T @ white_cross
    rest = of_points - explained
    # Where all is explained, rounding may leave a variance below zero.
    lost = (-rest.diagonal()).clamp_min(0)
    return mean, covariance_root(rest + lost.diag())


def _observed_covariance(
    prior: LinearPrior, feature: Tensor, middles: Tensor, error: Tensor
) -> Tensor:
    """Covariance ``(..., n, n)`` of what is observed around elapsed times, of features ``(...)``.

    ``error`` ``(..., n)`` is the deviation of each observation; 0 where that of the feature counts.
    """
    hurst, variance, start = _parameters(prior, feature)
    motion = covariance_of_means(middles, hurst, _exposure(prior))
    of_feature = (2 * prior.log_noise[feature]).exp().unsqueeze(-1)
    noise = torch.where(error > 0, error.square(), of_feature)
    return start + variance * motion + noise.diag_embed()


def _parameters(prior: LinearPrior, feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Index, variance of the motion per time unit to the power 2H, and variance of the start.

    The variances are ``(..., 1, 1)``, to multiply matrices.
    """
    hurst = prior.hurst.expand(prior.n_states)[feature]
    variance = prior.scale[feature].square()
    start = (2 * prior.log_start[feature]).exp()
    return hurst, variance[..., None, None], start[..., None, None]


def _mean(prior: LinearPrior, feature: Tensor, elapsed: Tensor) -> Tensor:
    """Mean ``(..., n)``; averages over exposures around the times have that of their middles."""
    start = prior.start_mean[feature].unsqueeze(-1)
    if prior.drift_kind != "constant":
        return start.expand_as(elapsed)
    velocity = prior.level[feature].unsqueeze(-1) / prior.noise.horizon
    return start + velocity * elapsed


def _exposure(prior: LinearPrior) -> float:
    return prior.exposure or 0.0
