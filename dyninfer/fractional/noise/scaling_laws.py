"""Estimators of the Hurst index that fit a power law of a statistic over lags or windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray
from scipy.special import gammaln

from dyninfer.fractional.noise.estimate import HurstEstimate, as_paths, in_unit
from dyninfer.fractional.noise.moving import moving, rounding_of
from dyninfer.learning.settings import brief, check_count

# Lags of the variogram: the shortest say most of the index.
_VARIOGRAM_LAGS = (1, 2, 4, 8)
# Windows of a size, of which a mean says something; and the smallest window in which a range or a
# trend does.
_FEWEST_WINDOWS = 4
_SMALLEST_WINDOW = 8


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

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer.fractional import hurst_variogram
    >>> walk = np.random.default_rng(0).normal(size=2000).cumsum()[None]
    >>> round(float(hurst_variogram(walk).hurst[0]), 1)
    0.5
    """
    if check_count(order, "order") > 2:
        raise ValueError(f"order must be 1 or 2, found {brief(order)}")
    x = in_unit(as_paths(paths, least=8))
    n_times = x.shape[1]
    lags = []
    mean_squares = []
    for lag in _VARIOGRAM_LAGS:
        reach = order * lag
        # As many differences as values that they reach over, or there are too few for a mean.
        if 2 * reach >= n_times:
            break
        difference = x
        for _ in range(order):
            late = difference[:, lag:]
            early = difference[:, :-lag]
            difference = late - early
        squares = difference**2
        lags.append(lag)
        mean_squares.append(squares.mean(1))
    smallest = np.min(mean_squares, axis=0)
    spread = np.sqrt(smallest)
    moves = moving(spread, x, paths)
    # The mean square grows like the lag to the power 2H.
    slope = _slope(lags, mean_squares, moves)
    return HurstEstimate(0.5 * slope)


def hurst_rs(paths: Any) -> HurstEstimate:
    """Rescaled range of the increments over windows of doubling size (Hurst, 1951).

    It is divided by its expectation for white noise (Anis & Lloyd, Biometrika 63:111, 1976), so
    that ``H = ½`` is unbiased; far from it the estimate is biased towards ½. Even times only.

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer.fractional import hurst_rs
    >>> walk = np.random.default_rng(0).normal(size=2000).cumsum()[None]
    >>> round(float(hurst_rs(walk).hurst[0]), 1)
    0.5
    """
    # One more than the increments, of which windows are made.
    least = _fewest_values(_SMALLEST_WINDOW) + 1
    x = in_unit(as_paths(paths, least=least))
    increments = np.diff(x, axis=1)
    sizes = _window_sizes(increments.shape[1], _SMALLEST_WINDOW)
    rounding = rounding_of(x, paths)
    ratios = []
    largest_spreads = []
    for size in sizes:
        windows = _windows(increments, size)
        rescaled, spread = _rescaled_range(windows, rounding)
        of_white_noise = _white_rescaled_range(size)
        ratios.append(rescaled / of_white_noise)
        largest_spreads.append(spread)
    smallest = np.min(largest_spreads, axis=0)
    moves = moving(smallest, x, paths)
    slope = _slope(sizes, ratios, moves)
    return HurstEstimate(0.5 + slope)


def hurst_dfa(paths: Any, *, degree: int = 1) -> HurstEstimate:
    """Detrended fluctuation analysis: scaling of the residuals about a trend.

    Peng et al., Phys. Rev. E 49:1685, 1994.

    Parameters
    ----------
    paths : array, ``(n_paths, n_times)``
        At even times.
    degree : int
        Of the polynomial that is fitted in each window.

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer.fractional import hurst_dfa
    >>> walk = np.random.default_rng(0).normal(size=2000).cumsum()[None]
    >>> round(float(hurst_dfa(walk).hurst[0]), 1)
    0.5
    """
    is_whole = isinstance(degree, int | np.integer) and not isinstance(degree, bool)
    if not is_whole or degree < 0:
        raise ValueError(f"degree must be a whole number, 0 or more, found {brief(degree)}")
    # A window needs several times as many values as its trend has coefficients.
    n_coefficients = degree + 1
    smallest = max(_SMALLEST_WINDOW, 4 * n_coefficients)
    least = _fewest_values(smallest)
    x = in_unit(as_paths(paths, least=least))
    sizes = _window_sizes(x.shape[1], smallest)
    spreads = []
    for size in sizes:
        position = np.linspace(-1, 1, size)
        polynomials = np.vander(position, n_coefficients)
        basis, _ = np.linalg.qr(polynomials)
        windows = _windows(x, size)
        # Orthonormal polynomials, so the fit in each window is a projection.
        coefficients = windows @ basis
        trend = coefficients @ basis.T
        squares = (windows - trend) ** 2
        variance = squares.mean((1, 2))
        spreads.append(np.sqrt(variance))
    smallest_spread = np.min(spreads, axis=0)
    moves = moving(smallest_spread, x, paths)
    slope = _slope(sizes, spreads, moves)
    return HurstEstimate(slope)


def _rescaled_range(windows: ndarray, rounding: ndarray) -> tuple[ndarray, ndarray]:
    """Mean range of sums over deviation ``(n,)``, and the largest deviation of a window ``(n,)``.

    Parameters
    ----------
    windows : ndarray, ``(n, window, size)``
    rounding : ndarray, ``(n,)``
        Deviations up to which a path rests.
    """
    mean = windows.mean(-1, keepdims=True)
    centred = windows - mean
    profile = centred.cumsum(-1)
    reach = np.ptp(profile, axis=-1)
    spread = centred.std(-1)
    # A window in which the path rests has a range of 0 / 0, and is left out.
    is_moving = spread > rounding[:, None]
    divisor = np.where(is_moving, spread, 1.0)
    ratio = reach / divisor
    total = ratio.sum(-1, where=is_moving)
    n_moving = is_moving.sum(-1)
    rescaled = total / np.maximum(n_moving, 1)
    return rescaled, spread.max(-1)


def _white_rescaled_range(size: int) -> float:
    """Expected rescaled range of white noise in windows of ``size``."""
    k = np.arange(1, size)
    # Γ((n−1)/2) / Γ(n/2) in logarithms: neither is finite alone for long windows.
    half = size / 2
    log_above = gammaln(half - 0.5)
    log_below = gammaln(half)
    ratio = np.exp(log_above - log_below)
    factor = ratio / np.sqrt(np.pi)
    odds = size / k - 1
    terms = np.sqrt(odds)
    return terms.sum() * factor


def _slope(sizes: Any, values: list[ndarray], moves: ndarray) -> ndarray:
    """Least-squares slope in logarithms ``(n,)``; NaN for paths that do not move."""
    windows = np.array(sizes, dtype=float)
    u = np.log(windows)
    # What does not move has no logarithm.
    table = np.stack(values)
    positive = np.where(moves, table, 1.0)
    v = np.log(positive)
    centred = u - u.mean()
    spread = centred @ centred
    slope = centred @ v / spread
    return np.where(moves, slope, np.nan)


def _fewest_values(smallest: int) -> int:
    """Values that have room for windows of two sizes: a slope needs two points."""
    return _FEWEST_WINDOWS * 2 * smallest


def _window_sizes(n: int, smallest: int) -> list[int]:
    """Doubling sizes of windows, as long as a few of them fit into ``n`` values."""
    sizes = []
    size = smallest
    while _FEWEST_WINDOWS * size <= n:
        sizes.append(size)
        size *= 2
    return sizes


def _windows(x: ndarray, size: int) -> ndarray:
    """Windows without overlap, ``(n, window, size)``."""
    n_paths, n_values = x.shape
    count = n_values // size
    end = count * size
    whole = x[:, :end]
    return whole.reshape(n_paths, count, size)
