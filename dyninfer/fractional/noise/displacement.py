"""Mean squared displacement of tracks, and the exponent of their anomalous diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.data.paths import Paths
from dyninfer.data.paths.frames import on_frames
from dyninfer.fractional.noise.checks import as_numbers, check_positive, check_squares
from dyninfer.fractional.noise.displacement_error import PowerLaw, standard_errors
from dyninfer.learning.settings import brief, check_count, check_switch
from dyninfer.learning.warn import warn

# Exponents that are tried where a constant is fitted beside the power law: 0.005 apart.
_EXPONENTS = np.linspace(0.005, 2.0, 400)
# Most lags of a fit, unless the caller asks for more: long lags have few displacements, which
# overlap, so that they add noise.
_MOST_LAGS = 10


@dataclass(frozen=True)
class MSDExponent:
    """What :func:`msd_exponent` returns: one row per track, a single one where they were pooled.

    Attributes
    ----------
    exponent : ndarray, ``(n,)``
        ``α``; twice the Hurst index of fractional Brownian motion. NaN, with a warning, where a
        track is too short or stands still.
    coefficient : ndarray, ``(n,)``
        ``C``, in squared units of the tracks per time unit to the power ``α``.
    noise_variance : ndarray, ``(n,)``
        Variance of the localisation noise per coordinate; 0 where none was fitted.
    lags : ndarray, ``(lag,)``
        In time units.
    msd : ndarray, ``(n, lag)``
        NaN at a lag at which a track has no two frames.
    msd_error : ndarray, ``(n, lag)``
        Standard error of each mean square, by the fitted motion: displacements of one track overlap
        and depend on each other.
    """

    exponent: ndarray
    coefficient: ndarray
    noise_variance: ndarray
    lags: ndarray
    msd: ndarray
    msd_error: ndarray


def msd_exponent(
    tracks: Any,
    max_lag: int | None = None,
    *,
    dt: float | None = None,
    localisation_noise: bool = False,
    pooled: bool = False,
) -> MSDExponent:
    r"""Exponent of anomalous diffusion from the time-averaged mean squared displacement.

    ``MSD(τ) = mean_t |x(t + τ) − x(t)|²`` is fitted by ``C τ^α``, a line in logarithms, or by
    ``C τ^α + 2 d σ²`` with the localisation noise ``σ`` of ``d`` coordinates (Michalet, Phys. Rev.
    E 82:041914, 2010, Eq. 4, for ``α = 1``), by least squares of the relative errors. Without the
    second term, noise lowers ``α``. Lags of one track share its displacements, so neither fit is
    efficient: a likelihood, as that of ``FractionalSDE(drift="none")``, is sharper.

    Parameters
    ----------
    tracks : Paths, or array ``(n, time)`` or ``(n, time, d)``
        At even times, or Paths at multiples of a frame; NaN where a track was not observed, as
        after its end. Lags at which a track has no two frames, such as the odd ones of every second
        frame, are left out.
    max_lag : int, optional
        In frames; by default a quarter of the times, at least 4 and at most 10.
    dt : float, optional
        Time between two frames; by default the shortest gap of Paths, and 1 of an array.
    localisation_noise : bool
        Whether to fit the constant.
    pooled : bool
        One fit for the displacements of all tracks together.

    Returns
    -------
    MSDExponent

    Examples
    --------
    >>> from dyninfer.fractional import FractionalBrownianMotion, msd_exponent
    >>> tracks = FractionalBrownianMotion(0.3).sample(range(200), 50, n_features=2)
    >>> bool(abs(msd_exponent(tracks, pooled=True).exponent[0] - 0.6) < 0.05)
    True
    """
    # As many lags as the fit has parameters, and one more.
    fewest_lags = 3
    fit = _fit_power_law
    if isinstance(tracks, Paths):
        if tracks.discrete:
            raise TypeError("msd_exponent reads positions, and these paths have discrete states")
        tracks, dt = on_frames(tracks, dt)
    if check_switch(localisation_noise, "localisation_noise"):
        fewest_lags = 4
        fit = _fit_with_constant
    x = _as_tracks(tracks, fewest_lags)
    _, n_times, n_coordinates = x.shape
    n_lags = _number_of_lags(n_times, max_lag, fewest_lags)
    dt = check_positive(1.0 if dt is None else dt, "dt")
    pooled = check_switch(pooled, "pooled")
    msd = _mean_squared_displacement(x, n_lags, pooled)
    frames = np.arange(1, n_lags + 1)
    # A displacement of 0 is no power of any lag.
    is_zero = msd == 0
    stands_still = is_zero.any(1)
    has_lag = ~np.isnan(msd)
    is_long_enough = has_lag.sum(1) >= fewest_lags
    has_fit = is_long_enough & ~stands_still
    # Rows without a fit are fitted to 1, and what comes out is thrown away.
    rows = has_fit[:, None]
    fittable = np.where(rows, msd, 1.0)
    # In frames and in units of each track's own displacements, no power of them overflows.
    largest = np.nanmax(fittable, axis=1)
    _, doublings = np.frexp(largest)
    unit = np.ldexp(1.0, doublings)
    in_unit = fittable / unit[:, None]
    fitted = fit(frames, in_unit)
    for values in fitted:
        values[~has_fit] = np.nan
    _warn_without_fit(has_fit, pooled)
    is_whole = ~np.isnan(x).any(2)
    relative_error = standard_errors(is_whole, fitted, n_lags, n_coordinates)
    return MSDExponent(
        exponent=fitted.exponent,
        coefficient=_per_time(unit * fitted.coefficient, fitted.exponent, dt),
        noise_variance=unit * fitted.constant / (2 * n_coordinates),
        lags=dt * frames,
        msd=msd,
        msd_error=unit[:, None] * relative_error,
    )


def _warn_without_fit(has_fit: ndarray, pooled: bool) -> None:
    """Name the first of the rows ``(n,)`` whose exponent is NaN; the row of all if pooled."""
    rows = np.flatnonzero(~has_fit)
    if len(rows) == 0:
        return
    if pooled:
        warn(
            "the tracks together are too short or stand still, so that their exponent is NaN",
            UserWarning,
        )
        return
    warn(
        f"track {rows[0]} is too short or stands still, so that its exponent is NaN "
        f"({len(rows)} of {len(has_fit)} such)",
        UserWarning,
    )


def _per_time(coefficient: ndarray, exponent: ndarray, dt: float) -> ndarray:
    """Coefficients per frame to the power ``α`` as such per time, or a ValueError."""
    # What overflows is told below, in words of ours.
    with np.errstate(all="ignore"):
        scaled = coefficient / dt**exponent
    is_zero = scaled == 0
    has_lost = np.isinf(scaled) | is_zero
    if has_lost.any():
        raise ValueError(
            f"with dt={dt:g}, the coefficient of the exponent is beyond what double precision "
            "holds; give dt in another unit"
        )
    return scaled


def _as_tracks(tracks: Any, fewest_lags: int) -> ndarray:
    x = as_numbers(tracks, "tracks")
    if x.ndim == 2:
        x = x[..., None]
    is_table = x.ndim == 3
    is_long_enough = is_table and x.shape[1] > fewest_lags
    if not is_long_enough or np.isinf(x).any():
        raise ValueError(
            f"tracks must be (n, time) or (n, time, d) with more than {fewest_lags} times, "
            f"without infinities; found shape {x.shape}"
        )
    check_squares(x, "tracks")
    return x


def _number_of_lags(n_times: int, max_lag: int | None, fewest: int) -> int:
    if max_lag is None:
        quarter = n_times // 4
        usual = max(min(quarter, _MOST_LAGS), 4)
        # No two frames of four lie four apart.
        return min(usual, n_times - 1)
    if not fewest <= check_count(max_lag, "max_lag") < n_times:
        raise ValueError(
            f"max_lag must be {fewest} to {n_times - 1} frames, found {brief(max_lag)}"
        )
    return max_lag


def _mean_squared_displacement(x: ndarray, n_lags: int, pooled: bool) -> ndarray:
    """``(n, lag)``; NaN where no two frames of a track lie that far apart."""
    totals = []
    counts = []
    for lag in range(1, n_lags + 1):
        late = x[:, lag:]
        early = x[:, :-lag]
        squares = (late - early) ** 2
        distance = squares.sum(-1)
        is_observed = ~np.isnan(distance)
        totals.append(np.nansum(distance, axis=1))
        counts.append(is_observed.sum(1))
    total = np.stack(totals, axis=1)
    count = np.stack(counts, axis=1)
    if pooled:
        total = total.sum(0, keepdims=True)
        count = count.sum(0, keepdims=True)
    # Of no displacements there is no mean.
    total[count == 0] = np.nan
    return total / np.maximum(count, 1)


def _fit_power_law(lags: ndarray, msd: ndarray) -> PowerLaw:
    """A line through the logarithms, of the lags that each row has."""
    u = np.log(lags)
    v = np.log(msd)
    has_lag = ~np.isnan(v)
    n_lags = has_lag.sum(1)
    sum_u = (u * has_lag).sum(1)
    mean_u = sum_u / n_lags
    mean_v = np.nansum(v, axis=1) / n_lags
    distance = u - mean_u[:, None]
    centred = np.where(has_lag, distance, 0.0)
    squares = centred**2
    moments = v * centred
    covariance = np.nansum(moments, axis=1)
    slope = covariance / squares.sum(1)
    intercept = mean_v - slope * mean_u
    return PowerLaw(
        exponent=slope,
        coefficient=np.exp(intercept),
        constant=np.zeros(len(msd)),
    )


def _fit_with_constant(lags: ndarray, msd: ndarray) -> PowerLaw:
    """Least squares of ``(C τ^α + b)/MSD − 1`` with ``b ≥ 0``: linear for every ``α`` of a grid."""
    # A lag that a row has not weighs nothing: as if its displacement was infinite.
    has_no_lag = np.isnan(msd)
    weighty = np.where(has_no_lag, np.inf, msd)
    relative = weighty[:, None]  # (n, 1, lag)
    power = lags ** _EXPONENTS[:, None]
    a = power / relative  # (n, exponent, lag)
    b = np.broadcast_to(1 / relative, a.shape)
    # The normal equations of C and b.
    aa = (a * a).sum(-1)
    ab = (a * b).sum(-1)
    bb = (b * b).sum(-1)
    ya = a.sum(-1)
    yb = b.sum(-1)
    determinant = aa * bb - ab * ab
    numerator = aa * yb - ab * ya
    ratio = numerator / determinant
    constant = np.maximum(ratio, 0)
    rest = ya - ab * constant
    coefficient = rest / aa
    power_law = coefficient[..., None] * a
    level = constant[..., None] * b
    misfit = power_law + level - 1
    squares = misfit**2
    # What weighs nothing adds 1 to the error of every exponent alike.
    error = squares.sum(-1)
    is_positive = coefficient > 0
    is_impossible = np.isnan(error) | ~is_positive
    error[is_impossible] = np.inf
    best = error.argmin(1)
    track = np.arange(len(msd))
    return PowerLaw(
        exponent=_EXPONENTS[best],
        coefficient=coefficient[track, best],
        constant=constant[track, best],
    )
