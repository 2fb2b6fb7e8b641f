"""Classical estimators of the Hurst index from paths: likelihood, periodogram, and scaling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh, solve_triangular
from scipy.special import gammaln, zeta

from dyninfer.fractional.noise.motion import FractionalBrownianMotion
from dyninfer.fractional.noise.moving import moving, rounding_of

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
# Lags of the variogram: the shortest say most of the index.
_VARIOGRAM_LAGS = (1, 2, 4, 8)
# Fewest values of a path that is worth dividing into windows; how many its windows need beyond
# that, the choice of their sizes says.
_FEWEST_FOR_WINDOWS = 33


@dataclass(frozen=True)
class HurstEstimate:
    """Hurst index of every path, or of all together.

    Attributes
    ----------
    hurst : ndarray, ``(n,)``
        One value per path; a single one where paths were pooled. NaN, with a warning, where a path
        does not move, or moves along the trend that the method removes: a line, say.
    standard_error : ndarray, ``(n,)``, optional
        From the observed information; None for scaling laws.
    interval : ndarray, ``(n, 2)``, optional
        Where the profile log-likelihood is within 1.92 of its maximum: 95 %. None for scaling laws.
    """

    hurst: np.ndarray
    standard_error: np.ndarray | None = None
    interval: np.ndarray | None = None


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
    """
    x = _as_paths(paths, least=4)
    t = _as_times(times, x.shape[1])
    # In units of the mean step, one grid of noise ratios serves all time scales.
    elapsed = t - t[0]
    mean_step = np.diff(t).mean()

    def estimate(increments: np.ndarray) -> HurstEstimate:
        likelihood = _Likelihood(
            times=elapsed / mean_step,
            increments=increments.T,
            pooled=pooled,
        )
        at_index = likelihood.with_noise if observation_noise else likelihood.without_noise
        return _maximum([at_index(h) for h in _GRID])

    increments = np.diff(x, axis=1)
    moves = moving(_root_mean_square(increments), paths)
    return _of_moving(increments, moves, pooled, estimate)


def hurst_whittle(paths: Any, *, pooled: bool = False) -> HurstEstimate:
    """Whittle's likelihood of the periodogram of the increments, with the exact spectrum.

    The spectrum is ``|1 − e^{iλ}|² Σ_j |λ + 2πj|^{−2H−1}`` (Beran, Statistics for Long-Memory
    Processes, 1994, Eq. 2.17), its sum a Hurwitz zeta function. Arguments and result as in
    :func:`hurst_mle`; even times only.
    """
    x = _as_paths(paths, least=8)
    increments = np.diff(x, axis=1)
    # The mean, which is a trend of the path, has the frequency 0, which is left out.
    centred = increments - increments.mean(1, keepdims=True)
    moves = moving(_root_mean_square(centred), paths)

    def estimate(rows: np.ndarray) -> HurstEstimate:
        return _maximum(_whittle_profiles(rows, pooled))

    return _of_moving(centred, moves, pooled, estimate)


def hurst_variogram(paths: Any, *, order: int = 2) -> HurstEstimate:
    """Slope of the log mean square of differences against the log lag, over lags 1, 2, 4, 8.

    Lags that do not fit into the paths are left out.

    Parameters
    ----------
    paths : array, ``(n_paths, n_times)``
        At even times.
    order : {1, 2}
        Differences ``x(t + l) − x(t)``, or second differences, whose error stays Gaussian for
        ``H > ¾`` (Istas & Lang, Ann. IHP B 33:407, 1997).
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, found {order!r}")
    x = _as_paths(paths, least=8)
    lags = []
    mean_squares = []
    for lag in _VARIOGRAM_LAGS:
        if 2 * order * lag >= x.shape[1]:
            break
        difference = x
        for _ in range(order):
            difference = difference[:, lag:] - difference[:, :-lag]
        lags.append(lag)
        mean_squares.append((difference**2).mean(1))
    smallest = np.min(mean_squares, axis=0)
    moves = moving(np.sqrt(smallest), paths)
    # The mean square grows like the lag to the power 2H.
    return HurstEstimate(0.5 * _slope(lags, mean_squares, moves))


def hurst_rs(paths: Any) -> HurstEstimate:
    """Rescaled range of the increments over windows of doubling size (Hurst, 1951).

    It is divided by its expectation for white noise (Anis & Lloyd, Biometrika 63:111, 1976), so
    that ``H = ½`` is unbiased; far from it the estimate is biased towards ½. Even times only.
    """
    x = _as_paths(paths, least=_FEWEST_FOR_WINDOWS)
    increments = np.diff(x, axis=1)
    sizes = _window_sizes(increments.shape[1], smallest=8)
    rounding = rounding_of(paths)[:, None]
    ratios = []
    largest_spreads = []
    for size in sizes:
        windows = _windows(increments, size)
        centred = windows - windows.mean(-1, keepdims=True)
        profile = centred.cumsum(-1)
        reach = np.ptp(profile, axis=-1)
        spread = centred.std(-1)
        # A window in which the path rests has a range of 0 / 0, and is left out.
        is_moving = spread > rounding
        ratio = reach / np.where(is_moving, spread, 1.0)
        total = np.where(is_moving, ratio, 0.0).sum(-1)
        rescaled = total / np.maximum(is_moving.sum(-1), 1)
        ratios.append(rescaled / _white_rescaled_range(size))
        largest_spreads.append(spread.max(-1))
    moves = moving(np.min(largest_spreads, axis=0), paths)
    return HurstEstimate(0.5 + _slope(sizes, ratios, moves))


def hurst_dfa(paths: Any, *, degree: int = 1) -> HurstEstimate:
    """Detrended fluctuation analysis: scaling of the residuals about a trend.

    Peng et al., Phys. Rev. E 49:1685, 1994.

    Parameters
    ----------
    paths : array, ``(n_paths, n_times)``
        At even times.
    degree : int
        Of the polynomial that is fitted in each window.
    """
    x = _as_paths(paths, least=_FEWEST_FOR_WINDOWS)
    # A window needs several times as many values as its trend has coefficients.
    n_coefficients = degree + 1
    smallest = max(8, 4 * n_coefficients)
    sizes = _window_sizes(x.shape[1], smallest)
    spreads = []
    for size in sizes:
        position = np.linspace(-1, 1, size)
        polynomials = np.vander(position, n_coefficients)
        basis, _ = np.linalg.qr(polynomials)
        windows = _windows(x, size)
        coefficients = windows @ basis
        residual = windows - coefficients @ basis.T
        variance = (residual**2).mean((1, 2))
        spreads.append(np.sqrt(variance))
    moves = moving(np.min(spreads, axis=0), paths)
    return HurstEstimate(_slope(sizes, spreads, moves))


def _whittle_profiles(increments: np.ndarray, pooled: bool) -> list[np.ndarray]:
    """Whittle's log-likelihood of paths at every index of the grid, the amplitude at its best."""
    n_paths, n = increments.shape
    # Frequencies between 0, where the mean sits, and Nyquist's.
    n_frequencies = (n - 1) // 2
    frequencies = np.arange(1, n_frequencies + 1) / n
    transform = np.fft.rfft(increments, axis=1)
    amplitude = np.abs(transform[:, 1 : n_frequencies + 1])
    power = amplitude**2
    count = n_frequencies
    if pooled:
        count *= n_paths
    profiles = []
    for h in _GRID:
        spectrum = _spectrum(h, frequencies)
        scale = (power / spectrum).mean(-1)
        if pooled:
            scale = scale.mean(keepdims=True)
        level = np.log(scale) + np.log(spectrum).mean()
        profiles.append(-count * level)
    return profiles


def _root_mean_square(rows: np.ndarray) -> np.ndarray:
    return np.sqrt((rows**2).mean(1))


def _of_moving(
    increments: np.ndarray,
    moves: np.ndarray,
    pooled: bool,
    estimate: Callable[[np.ndarray], HurstEstimate],
) -> HurstEstimate:
    """The estimate of the paths that move; NaN for the others, and where none moves."""
    if moves.all() or (pooled and moves.any()):
        return estimate(increments)
    n = 1 if pooled else len(moves)
    hurst = np.full(n, np.nan)
    error = np.full(n, np.nan)
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

    times: np.ndarray
    increments: np.ndarray
    pooled: bool

    def without_noise(self, h: float) -> np.ndarray:
        """``(path,)`` at the index ``h``; one value where paths are pooled."""
        factor = np.linalg.cholesky(self._covariance(h))
        white = solve_triangular(factor, self.increments, lower=True, check_finite=False)
        squares = (white**2).sum(0)
        half_log_determinant = np.log(np.diag(factor)).sum()
        return self._gaussian(squares, 2 * half_log_determinant)

    def with_noise(self, h: float) -> np.ndarray:
        """The best over the ratio ρ of the noise: ``R + ρ D`` is diagonal in one basis."""
        n = len(self.increments)
        # D: covariance of the increments of white noise, whose determinant is n + 1.
        above = np.eye(n, k=1)
        white = 2 * np.eye(n) - above - above.T
        values, vectors = eigh(self._covariance(h), white)
        projected = vectors.T @ self.increments
        squares = projected**2
        log_likelihoods = []
        for ratio in _NOISE_RATIOS:
            variance = values + ratio
            log_determinant = np.log(variance).sum() + np.log(n + 1)
            scaled = (squares / variance[:, None]).sum(0)
            log_likelihoods.append(self._gaussian(scaled, log_determinant))
        return np.max(log_likelihoods, axis=0)

    def _covariance(self, h: float) -> np.ndarray:
        """Covariance ``(n, n)`` of the increments, of amplitude one."""
        covariance = FractionalBrownianMotion(h).covariance(self.times).numpy()
        between_rows = np.diff(covariance, axis=0)
        return np.diff(between_rows, axis=1)

    def _gaussian(self, squares: np.ndarray, log_determinant: float) -> np.ndarray:
        """Log-likelihood with the amplitude at its best, less constants."""
        n = len(self.increments)
        if self.pooled:
            variance = squares.mean() / n
            deviance = n * np.log(variance) + log_determinant
            return np.array([-0.5 * len(squares) * deviance])
        variance = squares / n
        deviance = n * np.log(variance) + log_determinant
        return -0.5 * deviance


def _spectrum(h: float, frequencies: np.ndarray) -> np.ndarray:
    exponent = 2 * h + 1
    aliases = zeta(exponent, frequencies) + zeta(exponent, 1 - frequencies)
    angle = 2 * np.pi * frequencies
    return (1 - np.cos(angle)) * aliases


def _white_rescaled_range(size: int) -> float:
    """Expected rescaled range of white noise in windows of ``size``."""
    k = np.arange(1, size)
    # Γ((n−1)/2) / Γ(n/2) in logarithms: neither is finite alone for long windows.
    log_ratio = gammaln((size - 1) / 2) - gammaln(size / 2)
    ratio = np.exp(log_ratio) / np.sqrt(np.pi)
    total = np.sqrt(size / k - 1).sum()
    return total * ratio


def _maximum(profiles: list[np.ndarray]) -> HurstEstimate:
    """Maximum, curvature and 95 % interval of profiles over the grid."""
    values_on_grid = np.stack(profiles, axis=-1)
    spline = CubicSpline(_GRID, values_on_grid, axis=1)
    values = spline(_FINE)
    hurst = _FINE[values.argmax(1)]
    # The spline of every profile, at the maximum of that profile alone.
    curvature = np.array([spline(h, 2)[row] for row, h in enumerate(hurst)])
    # A maximum at an end of the grid may be no maximum of the likelihood, and has no error.
    has_peak = curvature < 0
    information = -curvature[has_peak]
    error = np.full(len(hurst), np.nan)
    error[has_peak] = 1 / np.sqrt(information)
    return HurstEstimate(hurst, error, _interval(values))


def _interval(values: np.ndarray) -> np.ndarray:
    """First and last index ``(n, 2)`` of profiles ``(n, fine)`` that is not far below the best."""
    best = values.max(1, keepdims=True)
    is_inside = values >= best - _DROP
    first = is_inside.argmax(1)
    from_end = is_inside[:, ::-1].argmax(1)
    last = len(_FINE) - 1 - from_end
    return np.stack([_FINE[first], _FINE[last]], axis=1)


def _slope(sizes: Any, values: list[np.ndarray], moves: np.ndarray) -> np.ndarray:
    """Least-squares slope in logarithms ``(n,)``; NaN for paths that do not move."""
    u = np.log(np.asarray(sizes, dtype=float))
    # What does not move has no logarithm.
    v = np.log(np.where(moves, np.stack(values), 1.0))
    centred = u - u.mean()
    spread = centred @ centred
    slope = centred @ v / spread
    return np.where(moves, slope, np.nan)


def _window_sizes(n: int, smallest: int) -> list[int]:
    """Doubling sizes of which at least four windows fit."""
    sizes = []
    while smallest <= n // 4:
        sizes.append(smallest)
        smallest *= 2
    if len(sizes) < 2:
        raise ValueError(f"paths must have room for windows of two sizes, but they have {n} values")
    return sizes


def _windows(x: np.ndarray, size: int) -> np.ndarray:
    """Windows without overlap, ``(n, window, size)``."""
    n_paths, n_values = x.shape
    count = n_values // size
    whole = x[:, : count * size]
    return whole.reshape(n_paths, count, size)


def _as_paths(paths: Any, least: int) -> np.ndarray:
    x = np.asarray(paths, dtype=np.float64)
    is_long_enough = x.ndim == 2 and x.shape[1] >= least
    if not is_long_enough or not np.isfinite(x).all():
        raise ValueError(
            f"paths must be finite, (n_paths, n_times) with at least {least} times, "
            f"but its shape is {x.shape}"
        )
    return x


def _as_times(times: Any, n: int) -> np.ndarray:
    if times is None:
        return np.arange(n, dtype=np.float64)
    t = np.asarray(times, dtype=np.float64)
    if t.shape != (n,) or (np.diff(t) <= 0).any():
        raise ValueError(f"times must be {n} increasing numbers, one per column of paths")
    return t
