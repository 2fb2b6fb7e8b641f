"""The linear Gaussian case: its exact likelihood, and exact draws of its posterior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.backward import BackwardFilter
from dyninfer.fractional.gaussian.chain import Chain
from dyninfer.fractional.gaussian.kalman import log_likelihood
from dyninfer.fractional.gaussian.matrices import half_log_determinant, whiten
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series
from dyninfer.fractional.inference.tracks import blurred_log_likelihood, blurred_posterior
from dyninfer.learning.random import stream

_LOG_2PI = math.log(2 * math.pi)
# Even times up to which one Cholesky factor is faster than the filter.
_DENSE = 1000
# Numbers of the backward filter that are held at once: 160 MB.
_NUMBERS = 20_000_000
# Matrices of every step that the backward filter holds: Φ, N, Λ, T, G and D among them.
_MATRICES = 7


def exact_log_likelihood(prior: LinearPrior, series: Series) -> Tensor:
    """Log-likelihood of every path ``(P,)`` of a standardised series, with gradients.

    Where all paths share even times and are observed coordinate by coordinate, one Cholesky factor
    serves all; else the filter takes the times one by one. Tracks with an exposure have a
    covariance in closed form.
    """
    if prior.exposure is not None:
        return blurred_log_likelihood(prior, series)
    is_short = series.times.shape[1] <= _DENSE
    if is_short and prior.has_one_factor(series):
        return _dense_log_likelihood(prior, series)
    fine = _refined(prior, series)
    steps = prior.steps(fine)
    observations = prior.observations(fine)
    start = prior.start()
    of_groups = log_likelihood(start, *steps, observations)
    return of_groups.sum(-1)


def exact_posterior(prior: LinearPrior, series: Series, n_samples: int, seed: int) -> Tensor:
    """Draw states given all that is observed, ``(n_samples, P, L, d)``, exactly."""
    if prior.exposure is not None:
        return blurred_posterior(prior, series, n_samples, seed)
    with torch.no_grad():
        pieces = _pieces(prior, series, n_samples)
        draws = []
        for k, rows in enumerate(pieces):
            device = series.times.device
            generator = stream(seed, "posterior", k, device=device)
            piece = series[rows]
            draws.append(_draw(prior, piece, n_samples, generator))
    return torch.cat(draws, dim=1)


def _draw(
    prior: LinearPrior,
    series: Series,
    n_samples: int,
    generator: torch.Generator,
) -> Tensor:
    start = prior.start()
    fine = _refined(prior, series)
    chain = Chain.of(start, *prior.steps(fine))
    observations = prior.observations(fine)
    information, slope = observations.information()
    posterior = BackwardFilter.of(chain, information)
    z = posterior.draw(slope, n_samples, generator)  # (L, P, G, S, n_samples)
    # Of every coordinate the first number is the state, the others its memory.
    numbers = z.flatten(2, 3)
    by_coordinate = numbers.unflatten(2, (prior.n_states, -1))
    x = by_coordinate[:: prior.n_steps, :, :, 0]
    mean = prior.mean(series.times)
    return x.permute(3, 1, 0, 2) + mean


def _refined(prior: LinearPrior, series: Series) -> Series:
    """The series with the steps that the prior is exact for, or as exact as it says."""
    if prior.n_steps == 1:
        return series
    return series.refined(prior.n_steps)


def _pieces(prior: LinearPrior, series: Series, n_samples: int) -> tuple[Tensor, ...]:
    """Numbers of the paths that are drawn together, so that they fit into memory."""
    n_numbers = prior.n_states * (1 + prior.n_memory)
    matrix_size = n_numbers**2
    if not prior.latent:
        # Coordinates that are observed one by one have a small matrix each.
        matrix_size = matrix_size // prior.n_states
    per_time = n_samples * n_numbers
    if len(series.gap) > 1:
        # Paths with times of their own have matrices of their own.
        per_time += _MATRICES * matrix_size
    per_path = per_time * prior.n_steps * series.times.shape[1]
    n_together = max(1, _NUMBERS // per_path)
    rows = torch.arange(len(series))
    return rows.split(n_together)


def _dense_log_likelihood(prior: LinearPrior, series: Series) -> Tensor:
    """Log-likelihood ``(P,)`` by one Cholesky factor, for paths that share their times."""
    start = prior.start()
    observations = prior.observations(series)
    times = series.times[0]
    mask = observations.mask[0, :, :, 0].T  # (d, L)
    rows = mask.unsqueeze(-1)
    columns = mask.unsqueeze(-2)
    both = rows & columns
    of_state = prior.state_covariance(times)
    observed = of_state * both
    # What is missing becomes a number of variance one that is independent of all others.
    noise = torch.where(mask, observations.variance, 1)
    covariance = observed + torch.diag_embed(noise)
    factor = torch.linalg.cholesky(covariance)
    elapsed = (times - times[0]).unsqueeze(1)
    exponent = -prior.rate * elapsed
    decay = torch.exp(exponent)
    start_mean = start.mean[:, 0]
    mean = decay * start_mean
    values = observations.values[..., 0]
    error = (values - mean) * mask.T
    by_coordinate = error.permute(2, 1, 0)
    white = whiten(factor, by_coordinate)
    squares = white.square().sum((0, 1))
    # A count times a number would be in single precision, torch's default.
    n_observed = mask.sum().to(squares)
    deviance = squares + n_observed * _LOG_2PI
    half_logs = half_log_determinant(factor)
    return -0.5 * deviance - half_logs.sum()
