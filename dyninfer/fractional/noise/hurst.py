"""Classical estimators of the Hurst index from paths: likelihood, periodogram, and scaling laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.linalg import eigh, solve_triangular
from scipy.special import gamma, zeta

from dyninfer.fractional.noise.motion import FractionalBrownianMotion

_GRID = np.linspace(0.005, 0.995, 67)
_DROP = 0.5 * 3.8415  # fall of the log-likelihood at the ends of a 95 % interval
_NOISE_RATIOS = np.concatenate([[0.0], np.geomspace(1e-4, 1e4, 81)])


@dataclass(frozen=True)
class HurstEstimate:
    """Hurst index of every path, or of all together.

    Attributes
    ----------
    hurst : ndarray, ``(n,)``
        One value per path; a single one where paths were pooled.
    standard_error : ndarray, ``(n,)``, optional
        From the observed information; None for scaling laws.
    interval : ndarray, ``(n, 2)``, optional
        Where the profile log-likelihood is within 1.92 of its maximum: 95 %. None for scaling laws.
    """

    hurst: np.ndarray
    standard_error: np.ndarray | None = None
    interval: np.ndarray | None = None


def hurst_mle(
    paths: Any, times: Any = None, *, observation_noise: bool = False, pooled: bool = False
) -> HurstEstimate:
    """Maximum likelihood of fractional Brownian motion of kind I with unknown amplitude and offset.

    The increments are Gaussian with an exact covariance. The amplitude, and the variance of the observation noise in
    units of it, are profiled out on a grid of 67 indices; the profile is a cubic spline through them. One Cholesky
    factor (with noise: one eigen problem) per index serves all paths: ``O(n_times³)`` each.

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
    x, t = _check(paths, times, least=4)
    dx = np.diff(x, axis=1).T
    likelihood = _noisy_profile if observation_noise else _profile
    # An even change of the time unit keeps the ratios of noise on one grid for all time scales.
    t = (t - t[0]) / np.mean(np.diff(t))
    return _maximum(np.stack([likelihood(h, t, dx, pooled) for h in _GRID], axis=-1))


def hurst_whittle(paths: Any, *, pooled: bool = False) -> HurstEstimate:
    """Whittle's likelihood of the periodogram of the increments, with the exact spectrum of fractional noise.

    The spectrum is ``|1 − e^{iλ}|² Σ_j |λ + 2πj|^{−2H−1}`` (Beran, Statistics for Long-Memory Processes, 1994,
    Eq. 2.17), its sum a Hurwitz zeta function. Arguments and result as in :func:`hurst_mle`; even times only.
    """
    x, _ = _check(paths, None, least=8)
    dx = np.diff(x, axis=1)
    n = dx.shape[1]
    at = np.arange(1, (n - 1) // 2 + 1) / n
    power = np.abs(np.fft.rfft(dx, axis=1)[:, 1 : len(at) + 1]) ** 2
    profile = []
    for h in _GRID:
        f = (1 - np.cos(2 * np.pi * at)) * (zeta(2 * h + 1, at) + zeta(2 * h + 1, 1 - at))
        scale = (power / f).mean(-1)
        count = len(at) * (len(x) if pooled else 1)
        level = np.log(scale.mean(keepdims=True) if pooled else scale)
        profile.append(-count * (level + np.log(f).mean()))
    return _maximum(np.stack(profile, axis=-1))


def hurst_variogram(paths: Any, *, order: int = 2) -> HurstEstimate:
    """Slope of the log mean square of differences against the log lag, over lags 1, 2, 4, 8 (as far as they fit).

    Parameters
    ----------
    paths : array, ``(n_paths, n_times)``
        At even times.
    order : 1 or 2
        Differences ``x(t + l) − x(t)``, or second differences, whose error stays Gaussian for ``H > ¾``
        (Istas & Lang, Ann. IHP B 33:407, 1997).
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, found {order!r}")
    x, _ = _check(paths, None, least=8)
    lags = [lag for lag in (1, 2, 4, 8) if 2 * order * lag < x.shape[1]]
    squares = []
    for lag in lags:
        d = x[:, lag:] - x[:, :-lag]
        d = d[:, lag:] - d[:, :-lag] if order == 2 else d
        squares.append((d**2).mean(1))
    return HurstEstimate(0.5 * _slope(lags, squares))


def hurst_rs(paths: Any) -> HurstEstimate:
    """Rescaled range of the increments over windows of doubling size (Hurst, 1951), less its bias for white noise.

    The expectation of Anis & Lloyd (Biometrika 63:111, 1976) is divided out, so that ``H = ½`` is unbiased; far from
    it the estimate is drawn to ½. Even times only.
    """
    x, _ = _check(paths, None, least=33)
    dx = np.diff(x, axis=1)
    sizes = _sizes(dx.shape[1], 8)
    ratios = []
    for size in sizes:
        w = _windows(dx, size)
        w = w - w.mean(-1, keepdims=True)
        walk = w.cumsum(-1)
        k = np.arange(1, size)
        white = (
            gamma((size - 1) / 2) / gamma(size / 2) / np.sqrt(np.pi)
            if size < 300
            else np.sqrt(2 / np.pi / size)
        )
        expected = white * np.sqrt((size - k) / k).sum()
        ratios.append((np.ptp(walk, axis=-1) / w.std(-1)).mean(-1) / expected)
    return HurstEstimate(0.5 + _slope(sizes, ratios))


def hurst_dfa(paths: Any, *, degree: int = 1) -> HurstEstimate:
    """Detrended fluctuation analysis (Peng et al., Phys. Rev. E 49:1685, 1994): scaling of residuals about a trend.

    Parameters
    ----------
    paths : array, ``(n_paths, n_times)``
        At even times.
    degree : int
        Of the polynomial that is fitted in each window.
    """
    x, _ = _check(paths, None, least=33)
    sizes = _sizes(x.shape[1], max(8, 4 * (degree + 1)))
    spreads = []
    for size in sizes:
        basis, _ = np.linalg.qr(np.vander(np.linspace(-1, 1, size), degree + 1))
        w = _windows(x, size)
        rest = w - (w @ basis) @ basis.T
        spreads.append(np.sqrt((rest**2).mean((1, 2))))
    return HurstEstimate(_slope(sizes, spreads))


def _profile(h: float, t: np.ndarray, dx: np.ndarray, pooled: bool) -> np.ndarray:
    factor = np.linalg.cholesky(_increments(h, t))
    squares = (solve_triangular(factor, dx, lower=True, check_finite=False) ** 2).sum(0)
    determinant = 2 * np.log(np.diag(factor)).sum()
    return _gaussian(squares, determinant, len(dx), pooled)


def _noisy_profile(h: float, t: np.ndarray, dx: np.ndarray, pooled: bool) -> np.ndarray:
    """Profile over the ratio ρ of the noise: ``R + ρ D`` is diagonal in one basis for every ρ."""
    n = len(dx)
    difference = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)  # increments of white noise
    values, vectors = eigh(_increments(h, t), difference)
    squares, constant = (vectors.T @ dx) ** 2, np.log(n + 1)  # det D = n + 1
    best = None
    for ratio in _NOISE_RATIOS:
        spread = values + ratio
        found = _gaussian(
            (squares / spread[:, None]).sum(0), np.log(spread).sum() + constant, n, pooled
        )
        best = found if best is None else np.maximum(best, found)
    assert best is not None
    return best


def _gaussian(squares: np.ndarray, determinant: float, n: int, pooled: bool) -> np.ndarray:
    """Log-likelihood with the amplitude at its best, less constants."""
    if pooled:
        return np.array([-0.5 * len(squares) * (n * np.log(squares.mean() / n) + determinant)])
    return -0.5 * (n * np.log(squares / n) + determinant)


def _increments(h: float, t: np.ndarray) -> np.ndarray:
    return np.diff(np.diff(FractionalBrownianMotion(h).covariance(t).numpy(), axis=0), axis=1)


def _maximum(profile: np.ndarray) -> HurstEstimate:
    """Maximum, curvature and 95 % interval of profiles ``(n, grid)``."""
    spline = CubicSpline(_GRID, profile, axis=1)
    fine = np.linspace(_GRID[0], _GRID[-1], 19_801)
    values = spline(fine)
    top = values.argmax(1)
    hurst = fine[top]
    curvature = np.array([spline(h, 2)[i] for i, h in enumerate(hurst)])
    inside = values >= values.max(1, keepdims=True) - _DROP
    ends = np.stack([fine[inside.argmax(1)], fine[::-1][inside[:, ::-1].argmax(1)]], axis=1)
    return HurstEstimate(
        hurst, np.where(curvature < 0, 1 / np.sqrt(np.abs(curvature)), np.nan), ends
    )


def _slope(sizes: Any, values: list[np.ndarray]) -> np.ndarray:
    """Least-squares slope in logarithms, one per path."""
    u = np.log(np.asarray(sizes, dtype=float))
    u -= u.mean()
    return u @ np.log(np.stack(values)) / (u @ u)


def _sizes(n: int, smallest: int) -> list[int]:
    sizes = []
    while smallest <= n // 4:
        sizes.append(smallest)
        smallest *= 2
    if len(sizes) < 2:
        raise ValueError(f"paths must have room for windows of two sizes, but they have {n} values")
    return sizes


def _windows(x: np.ndarray, size: int) -> np.ndarray:
    """Windows without overlap, ``(n, window, size)``."""
    count = x.shape[1] // size
    return x[:, : count * size].reshape(len(x), count, size)


def _check(paths: Any, times: Any, least: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.asarray(paths, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] < least or not np.isfinite(x).all():
        raise ValueError(
            f"paths must be finite, (n_paths, n_times) with at least {least} times, but its shape is {x.shape}"
        )
    t = (
        np.arange(x.shape[1], dtype=np.float64)
        if times is None
        else np.asarray(times, dtype=np.float64)
    )
    if t.shape != x.shape[1:] or (np.diff(t) <= 0).any():
        raise ValueError(f"times must be {x.shape[1]} increasing numbers, one per column of paths")
    return x, t
