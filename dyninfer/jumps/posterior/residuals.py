"""What a fitted hidden model leaves of a signal: a baseline that drifts, or noise with a memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import Emission, GaussianEmission
from dyninfer.learning.warn import warn

Model = tuple[Tensor, Emission, Tensor]

# Stretches of a record between the knots of a baseline: few, so that noise is no drift.
_STRETCHES = 6
# Observations in a stretch below which a record is too short to show a drift.
_LEAST_OBSERVATIONS = 25
# Share of the variance of the noise. Less moves no level by more than a third of the noise.
_DRIFT = 0.1
# Correlation with the observation before: less changes rates by a few per cent.
_CORRELATION = 0.1
_DEVIATIONS = 4.0  # standard errors that a correlation must lie above 0


class Residual(NamedTuple):
    """Residuals of one feature of one record, where it was observed."""

    record: int
    feature: int
    rows: ndarray  # (m,) int64
    times: ndarray  # (m,)
    values: ndarray  # (m,), in standard deviations of the noise


def warn_of_residuals(model: Model, paths: Paths) -> None:
    """Warn where a Gaussian signal has a baseline that drifts, or noise that is correlated.

    The likelihood takes the noise of every observation as independent of all others. Then what
    is left, the signal without the levels of its most probable states, has neither a trend nor a
    correlation from one observation to the next.

    Parameters
    ----------
    model : tuple of generator, emission and initial distribution
        The fit.
    paths : Paths
        The signal.
    """
    if not isinstance(model[1], GaussianEmission):
        return
    data = HiddenPaths.of(paths)
    with torch.no_grad():
        chances = data.smooth(*model)
    parts = [_sums(residual) for residual in residuals_of(model[1], paths, chances)]
    whole = _Sums(*np.sum(parts, axis=0))
    if whole.drift > _DRIFT * whole.square:
        deviations = np.sqrt(whole.drift / whole.n_observed)
        warn(
            f"the baseline of the signal drifts, by {deviations:.2g} standard deviations of the "
            "noise, which makes levels and rates wrong; subtract it, paths = "
            "di.tl.remove_baseline(model, paths), and fit again",
            UserWarning,
        )
        return
    # Levels without noise leave nothing.
    if whole.n_pairs == 0 or whole.square_without_trend <= 0:
        return
    variance = whole.square_without_trend / whole.n_observed
    correlation = whole.product / (whole.n_pairs * variance)
    by_chance = _DEVIATIONS / np.sqrt(whole.n_pairs)
    if correlation > max(_CORRELATION, by_chance):
        warn(
            f"the noise of the signal is correlated from one observation to the next "
            f"({correlation:.2f}), which makes rates wrong: the signal was filtered, or has "
            "more levels than states; use every tenth observation, or one more state",
            UserWarning,
        )


class _Sums(NamedTuple):
    """Sums over the observations of a feature of a record, or of all of them."""

    n_observed: float
    square: float  # of what is left
    drift: float  # of the trend, less what noise alone would give it
    square_without_trend: float
    product: float  # of neighbours, without the trend
    n_pairs: float


def _sums(residual: Residual) -> _Sums:
    values = residual.values
    n_observed = len(values)
    square = values @ values
    drift = 0.0
    if n_observed >= _STRETCHES * _LEAST_OBSERVATIONS:
        basis = hats(residual.times, _STRETCHES)
        trend = basis @ _least_squares(basis, values)
        # So much of independent noise follows any trend.
        share = basis.shape[1] / n_observed
        drift = trend @ trend - share * square
        values = values - trend
    is_next = np.diff(residual.rows) == 1
    products = values[1:] * values[:-1]
    return _Sums(
        n_observed=n_observed,
        square=square,
        drift=drift,
        square_without_trend=values @ values,
        product=products[is_next].sum(),
        n_pairs=is_next.sum(),
    )


def without_baseline(
    emission: GaussianEmission, paths: Paths, chances: Tensor, n_stretches: int
) -> Paths:
    """Paths without the piecewise-linear trend of what a model leaves of them.

    ``chances`` ``(n, L, S)`` are those of the states, given all of a record.
    """
    states = [record.astype(np.float64) for record in paths.states]
    typical_std = emission.std.mean(0).numpy()
    for residual in residuals_of(emission, paths, chances):
        n_knots = min(n_stretches, len(residual.times) // _LEAST_OBSERVATIONS)
        if n_knots < 1:
            continue
        basis = hats(residual.times, n_knots)
        trend = basis @ _least_squares(basis, residual.values)
        shift = trend * typical_std[residual.feature]
        states[residual.record][residual.rows, residual.feature] -= shift
    return replace(paths, states=tuple(states))


@torch.no_grad()
def residuals_of(emission: GaussianEmission, paths: Paths, chances: Tensor) -> Iterator[Residual]:
    """Residuals of every record and feature, with states smoothed over the record."""
    data = HiddenPaths.of(paths)
    shift = data.observed.unsqueeze(-2) - emission.mean
    z = shift / emission.std
    values = (chances.unsqueeze(-1) * z).sum(-2).numpy()
    mask = data.mask.numpy()
    for record, times in enumerate(paths.times):
        for feature in range(values.shape[-1]):
            (rows,) = mask[record, :, feature].nonzero()
            yield Residual(
                record=record,
                feature=feature,
                rows=rows,
                times=times[rows],
                values=values[record, rows, feature],
            )


def hats(times: ndarray, n_stretches: int) -> ndarray:
    """Piecewise-linear functions ``(m, n_stretches + 1)``: 1 at one knot, 0 at the others."""
    begin = times[0]
    duration = max(times[-1] - begin, np.finfo(float).tiny)
    place = (times - begin) / duration * n_stretches
    knots = np.arange(n_stretches + 1)
    distance = np.abs(place[:, None] - knots)
    return np.maximum(1 - distance, 0)


def _least_squares(basis: ndarray, values: ndarray) -> ndarray:
    """Coefficients; of the shortest kind where a stretch holds no observation."""
    coefficients, *_ = np.linalg.lstsq(basis, values, rcond=None)
    return coefficients
