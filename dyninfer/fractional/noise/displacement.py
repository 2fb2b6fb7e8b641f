"""Mean squared displacement of tracks, and the exponent of their anomalous diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_EXPONENTS = np.linspace(0.005, 2.0, 400)


@dataclass(frozen=True)
class MSDExponent:
    """What :func:`msd_exponent` returns: one row per track, a single one where tracks were pooled.

    Attributes
    ----------
    exponent : ndarray, ``(n,)``
        ``α``; twice the Hurst index of fractional Brownian motion. NaN where a track is too short.
    coefficient : ndarray, ``(n,)``
        ``C``, in squared units of the tracks per time unit to the power ``α``.
    noise_variance : ndarray, ``(n,)``
        Variance of the localisation noise per coordinate; 0 where none was fitted.
    lags : ndarray, ``(lag,)``
        In time units.
    msd : ndarray, ``(n, lag)``
    """

    exponent: np.ndarray
    coefficient: np.ndarray
    noise_variance: np.ndarray
    lags: np.ndarray
    msd: np.ndarray


def msd_exponent(
    tracks: Any,
    max_lag: int | None = None,
    *,
    dt: float = 1.0,
    localisation_noise: bool = False,
    pooled: bool = False,
) -> MSDExponent:
    r"""Exponent of anomalous diffusion from the time-averaged mean squared displacement.

    ``MSD(τ) = mean_t |x(t + τ) − x(t)|²`` is fitted by ``C τ^α``, a line in logarithms, or by ``C τ^α + 2 d σ²`` with the
    localisation noise ``σ`` of ``d`` coordinates (Michalet, Phys. Rev. E 82:041914, 2010, Eq. 4, for ``α = 1``), by least
    squares of the relative errors. Without the second term, noise lowers ``α``. Lags of one track share its
    displacements, so neither fit is efficient: a likelihood, as that of ``FractionalSDE(drift="none")``, is sharper.

    Parameters
    ----------
    tracks : array, ``(n, time)`` or ``(n, time, d)``
        At even times; NaN where a track was not seen, as after its end.
    max_lag : int, optional
        In frames; by default a quarter of the times, at least 4 and at most 10.
    dt : float
        Time between two frames.
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
    x = np.asarray(tracks, dtype=np.float64)
    x = x[..., None] if x.ndim == 2 else x
    least = 3 + localisation_noise
    if x.ndim != 3 or x.shape[1] <= least or np.isinf(x).any():
        raise ValueError(
            f"tracks must be (n, time) or (n, time, d) with more than {least} times, without infinities; found shape "
            f"{np.shape(tracks)}"
        )
    reach = max(min(x.shape[1] // 4, 10), 4) if max_lag is None else max_lag
    if not least <= reach < x.shape[1]:
        raise ValueError(f"max_lag must be {least} to {x.shape[1] - 1} frames, found {max_lag!r}")
    if not 0 < dt < np.inf:
        raise ValueError(f"dt must be positive, found {dt!r}")
    msd, lags = _msd(x, reach, pooled), dt * np.arange(1, reach + 1)
    fit = _with_constant if localisation_noise else _power_law
    exponent, coefficient, constant = fit(lags, msd)
    return MSDExponent(exponent, coefficient, constant / (2 * x.shape[2]), lags, msd)


def _msd(x: np.ndarray, reach: int, pooled: bool) -> np.ndarray:
    """Mean squared displacement ``(n, lag)``; NaN where no two frames of a track lie that far apart."""
    totals, counts = [], []
    for lag in range(1, reach + 1):
        square = ((x[:, lag:] - x[:, :-lag]) ** 2).sum(-1)
        totals.append(np.nansum(square, axis=1))
        counts.append((~np.isnan(square)).sum(1))
    total, count = np.stack(totals, axis=1), np.stack(counts, axis=1)
    if pooled:
        total, count = total.sum(0, keepdims=True), count.sum(0, keepdims=True)
    return np.where((count > 0) & (total > 0), total, np.nan) / np.maximum(count, 1)


def _power_law(lags: np.ndarray, msd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, v = np.log(lags), np.log(msd)
    slope = (v @ (u - u.mean())) / ((u - u.mean()) ** 2).sum()
    return slope, np.exp(v.mean(1) - slope * u.mean()), np.zeros(len(msd))


def _with_constant(lags: np.ndarray, msd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares of ``(C τ^α + b)/MSD − 1`` with ``b ≥ 0``: linear for every exponent of a grid."""
    a = lags ** _EXPONENTS[:, None] / msd[:, None]  # (n, exponent, lag)
    b = 1 / np.broadcast_to(msd[:, None], a.shape)
    aa, ab, bb = (a * a).sum(-1), (a * b).sum(-1), (b * b).sum(-1)
    ya, yb = a.sum(-1), b.sum(-1)
    constant = np.maximum((aa * yb - ab * ya) / (aa * bb - ab * ab), 0)
    coefficient = (ya - ab * constant) / aa
    error = ((coefficient[..., None] * a + constant[..., None] * b - 1) ** 2).sum(-1)
    best = np.where((coefficient > 0) & ~np.isnan(error), error, np.inf).argmin(1)
    exponent = np.where(np.isnan(msd).any(1), np.nan, _EXPONENTS[best])
    track = np.arange(len(msd))
    return exponent, coefficient[track, best], constant[track, best]
