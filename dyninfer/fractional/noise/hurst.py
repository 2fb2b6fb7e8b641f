"""Likelihoods of the Hurst index of paths: exact, and that of the periodogram."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh, solve_triangular
from scipy.special import zeta

from dyninfer.fractional.noise.checks import as_increasing
from dyninfer.fractional.noise.estimate import HurstEstimate, as_paths, in_unit
from dyninfer.fractional.noise.motion import FractionalBrownianMotion
from dyninfer.fractional.noise.moving import moving
from dyninfer.learning.settings import check_switch

# Indices at which a profile is computed; a cubic spline through them is exact to 1e-4.
_GRID = np.linspace(0.005, 0.995, 67)
# Indices at which the spline is searched: 5e-5 apart.
_FINE = np.linspace(_GRID[0], _GRID[-1], 19_801)
# Fall of the log-likelihood at the ends of a 95 % interval: half the quantile of χ² of one degree.
_DROP = 0.5 * 3.8415
# Variances of the observation noise that are tried, in units of the motion's: none at all, then
# twenty for every factor of a hundred.
_POSITIVE_RATIOS = np.geomspace(1e-4, 1e4, 81)
_NOISE_RATIOS = np.concatenate([[0.0], _POSITIVE_RATIOS])


def hurst_mle(
    paths: Any,
    times: Any = None,
    *,
    observation_noise: bool = False,
    pooled: bool = False,
) -> HurstEstimate:
    """Maximum likelihood of fractional Brownian motion of kind I with unknown amplitude and offset.

    The increments are Gaussian with an exact covariance. The amplitude, and the variance of the
    observation noise in units of it, are profiled out on a grid of 67 indices; the profile is a
    cubic spline through them. One Cholesky factor (with noise: one eigen problem) per index serves
    all paths: ``O(n_times³)`` each.

    Parameters
    ----------
    paths : array, ``(n_paths, n_times)``
    times : array, ``(n_times,)``, optional
        Increasing, even or not; by default 0, 1, 2, …
    observation_noise : bool
        Whether every value carries independent Gaussian noise of unknown variance.
    pooled : bool
        One index, amplitude and noise for all paths.

    Returns
    -------
    HurstEstimate

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer.fractional import hurst_mle
    >>> walk = np.random.default_rng(0).normal(size=400).cumsum()[None]
    >>> round(float(hurst_mle(walk).hurst[0]), 1)
    0.5
    """
    x = as_paths(paths, least=4)
    n_times = x.shape[1]
    if times is None:
        times = np.arange(n_times)
    t = as_increasing(times, n_times)
    pooled = check_switch(pooled, "pooled")
    observation_noise = check_switch(observation_noise, "observation_noise")
    # In units of the mean step, one grid of noise ratios serves all time scales.
    elapsed = t - t[0]
    mean_step = np.diff(t).mean()
    steps = elapsed / mean_step

    def estimate(increments: ndarray) -> HurstEstimate:
        likelihood = _Likelihood(
            times=steps,
            increments=increments.T,
            pooled=pooled,
        )
        at_index = likelihood.without_noise
        if observation_noise:
            at_index = likelihood.with_noise
        profiles = [at_index(h) for h in _GRID]
        return _maximum(profiles)

    x = in_unit(x, pooled)
    increments = np.diff(x, axis=1)
    spread = _root_mean_square(increments)
    moves = moving(spread, x, paths)
    return _of_moving(increments, moves, pooled, estimate)


def hurst_whittle(paths: Any, *, pooled: bool = False) -> HurstEstimate:
    """Whittle's likelihood of the periodogram of the increments, with the exact spectrum.

    The spectrum is ``|1 − e^{iλ}|² Σ_j |λ + 2πj|^{−2H−1}`` (Beran, Statistics for Long-Memory
    Processes, 1994, Eq. 2.17), its sum a Hurwitz zeta function. Arguments and result as in
    :func:`hurst_mle`; even times only.

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer.fractional import hurst_whittle
    >>> walk = np.random.default_rng(0).normal(size=2000).cumsum()[None]
    >>> round(float(hurst_whittle(walk).hurst[0]), 1)
    0.5
    """
    x = as_paths(paths, least=8)
    pooled = check_switch(pooled, "pooled")
    x = in_unit(x, pooled)
    increments = np.diff(x, axis=1)
    # The mean, which is a trend of the path, has the frequency 0, which is left out.
    mean = increments.mean(1, keepdims=True)
    centred = increments - mean
    spread = _root_mean_square(centred)
    moves = moving(spread, x, paths)

    def estimate(rows: ndarray) -> HurstEstimate:
        profiles = _whittle_profiles(rows, pooled)
        return _maximum(profiles)

    return _of_moving(centred, moves, pooled, estimate)


def _whittle_profiles(increments: ndarray, pooled: bool) -> list[ndarray]:
    """Whittle's log-likelihood of paths at every index of the grid, the amplitude at its best."""
    n_paths, n = increments.shape
    # Frequencies between 0, where the mean sits, and Nyquist's.
    n_frequencies = (n - 1) // 2
    end = n_frequencies + 1
    numbers = np.arange(1, end)
    frequencies = numbers / n
    transform = np.fft.rfft(increments, axis=1)
    oscillations = transform[:, 1:end]
    power = np.abs(oscillations) ** 2
    count = n_frequencies
    if pooled:
        count *= n_paths
    profiles = []
    for h in _GRID:
        spectrum = _spectrum(h, frequencies)
        relative = power / spectrum
        scale = relative.mean(-1)
        if pooled:
            scale = scale.mean(keepdims=True)
        log_spectrum = np.log(spectrum)
        mean_log = log_spectrum.mean()
        level = np.log(scale) + mean_log
        profiles.append(-count * level)
    return profiles


def _root_mean_square(rows: ndarray) -> ndarray:
    squares = rows**2
    return np.sqrt(squares.mean(1))


def _of_moving(
    increments: ndarray,
    moves: ndarray,
    pooled: bool,
    estimate: Callable[[ndarray], HurstEstimate],
) -> HurstEstimate:
    """The estimate of the paths that move; NaN for the others, and where none moves."""
    if moves.all() or (pooled and moves.any()):
        return estimate(increments)
    n = len(moves)
    if pooled:
        n = 1
    hurst = np.full(n, np.nan)
    error = hurst.copy()
    interval = np.full((n, 2), np.nan)
    if moves.any():
        part = estimate(increments[moves])
        hurst[moves] = part.hurst
        error[moves] = part.standard_error
        interval[moves] = part.interval
    return HurstEstimate(hurst, error, interval)


@dataclass(frozen=True)
class _Likelihood:
    """Log-likelihood of the increments of paths, with amplitude and noise at their best.

    Attributes
    ----------
    times : ndarray, ``(n + 1,)``
    increments : ndarray, ``(n, path)``
    pooled : bool
        One amplitude for all paths.
    """

    times: ndarray
    increments: ndarray
    pooled: bool

    def without_noise(self, h: float) -> ndarray:
        """``(path,)`` at the index ``h``; one value where paths are pooled."""
        covariance = self._covariance(h)
        factor = np.linalg.cholesky(covariance)
        white = solve_triangular(factor, self.increments, lower=True, check_finite=False)
        squares = white**2
        pivots = np.diag(factor)
        logs = np.log(pivots)
        half_log_determinant = logs.sum()
        squares_in_all = squares.sum(0)
        return self._gaussian(squares_in_all, 2 * half_log_determinant)

    def with_noise(self, h: float) -> ndarray:
        """The best over the ratio ρ of the noise: ``R + ρ D`` is diagonal in one basis."""
        n = len(self.increments)
        # D: covariance of the increments of white noise, whose determinant is n + 1.
        diagonal = 2 * np.eye(n)
        above = np.eye(n, k=1)
        white = diagonal - above - above.T
        covariance = self._covariance(h)
        values, vectors = eigh(covariance, white)
        projected = vectors.T @ self.increments
        squares = projected**2
        log_of_white = np.log(n + 1)
        log_likelihoods = []
        for ratio in _NOISE_RATIOS:
            variance = values + ratio
            logs = np.log(variance)
            log_determinant = logs.sum() + log_of_white
            scaled = squares / variance[:, None]
            total = scaled.sum(0)
            log_likelihood = self._gaussian(total, log_determinant)
            log_likelihoods.append(log_likelihood)
        return np.max(log_likelihoods, axis=0)

    def _covariance(self, h: float) -> ndarray:
        """Covariance ``(n, n)`` of the increments, of amplitude one."""
        motion = FractionalBrownianMotion(h)
        covariance = motion.covariance(self.times)
        rows = covariance.numpy()
        between_rows = np.diff(rows, axis=0)
        return np.diff(between_rows, axis=1)

    def _gaussian(self, squares: ndarray, log_determinant: float) -> ndarray:
        """Log-likelihood with the amplitude at its best, less constants."""
        n = len(self.increments)
        n_rows = 1
        if self.pooled:
            n_rows = len(squares)
            squares = squares.mean(keepdims=True)
        variance = squares / n
        log_variances = n * np.log(variance)
        deviance = log_variances + log_determinant
        return -0.5 * n_rows * deviance


def _spectrum(h: float, frequencies: ndarray) -> ndarray:
    exponent = 2 * h + 1
    ahead = zeta(exponent, frequencies)
    behind = zeta(exponent, 1 - frequencies)
    angle = 2 * np.pi * frequencies
    filtered = 1 - np.cos(angle)
    return filtered * (ahead + behind)


def _maximum(profiles: list[ndarray]) -> HurstEstimate:
    """Maximum, curvature and 95 % interval of profiles over the grid."""
    values_on_grid = np.stack(profiles, axis=-1)
    spline = CubicSpline(_GRID, values_on_grid, axis=1)
    values = spline(_FINE)
    hurst = _FINE[values.argmax(1)]
    bend = spline.derivative(2)
    error = np.full_like(hurst, np.nan)
    for row, h in enumerate(hurst):
        # The spline of every profile, at the maximum of that profile alone.
        curvature = bend(h)[row]
        # A maximum at an end of the grid may be no maximum of the likelihood, and has no error.
        if curvature < 0:
            information = -curvature
            error[row] = 1 / np.sqrt(information)
    return HurstEstimate(
        hurst=hurst,
        standard_error=error,
        interval=_interval(values),
    )


def _interval(values: ndarray) -> ndarray:
    """First and last index ``(n, 2)`` of profiles ``(n, fine)`` that is not far below the best."""
    best = values.max(1, keepdims=True)
    is_inside = values >= best - _DROP
    backwards = is_inside[:, ::-1]
    # ``argmax`` takes the first of equals.
    first = is_inside.argmax(1)
    n_beyond = backwards.argmax(1)
    last = len(_FINE) - 1 - n_beyond
    ends = np.stack([first, last], axis=1)
    return _FINE[ends]
