"""How sharp a mean squared displacement is, of displacements that overlap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

# So small that positions do not remember each other, as those of a track that is bound to a point.
_LEAST_EXPONENT = 1e-6


class PowerLaw(NamedTuple):
    """``C τ^α + b`` of every row of a mean squared displacement, ``(n,)`` each."""

    exponent: ndarray
    coefficient: ndarray
    constant: ndarray


def standard_errors(
    is_observed: ndarray,
    law: PowerLaw,
    n_lags: int,
    n_coordinates: int,
) -> ndarray:
    """Standard error of the mean square of the displacements over ``1 … n_lags`` frames.

    Squares of Gaussian displacements have the covariance ``2 c²``, where ``c`` is that of the
    displacements themselves; fractional motion with independent errors has it in closed form (Qian,
    Sheetz & Elson, Biophys. J. 60:910, 1991, for free diffusion).

    Parameters
    ----------
    is_observed : ndarray of bool, ``(track, time)``
    law : PowerLaw
        Per frame, of each track, or of all together in one row.
    n_lags, n_coordinates : int

    Returns
    -------
    ndarray, ``(n, lag)``
        NaN where there is no displacement, or no law.
    """
    is_pooled = len(law.exponent) == 1
    errors = []
    for lag in range(1, n_lags + 1):
        late = is_observed[:, lag:]
        early = is_observed[:, :-lag]
        counts = _pair_counts(late & early)
        if is_pooled:
            counts = counts.sum(0, keepdims=True)
        covariance = _covariance(law, lag, counts.shape[1], n_coordinates)
        terms = counts * covariance**2
        # Every pair of two displacements but that of one with itself counts in both orders.
        total = 2 * terms.sum(1) - terms[:, 0]
        n_displacements = np.where(counts[:, 0] > 0, counts[:, 0], np.nan)
        variance = 2 * n_coordinates * total / n_displacements**2
        errors.append(np.sqrt(variance))
    return np.stack(errors, axis=1)


def _pair_counts(has_displacement: ndarray) -> ndarray:
    """Pairs of displacements of one track that begin ``0, 1, …`` frames apart: ``(n, k)``."""
    n_begins = has_displacement.shape[1]
    # Twice the length, so that the end does not meet the beginning.
    spectrum = np.fft.rfft(has_displacement, 2 * n_begins)
    power = np.abs(spectrum) ** 2
    products = np.fft.irfft(power, 2 * n_begins)
    return np.rint(products[:, :n_begins])


def _covariance(law: PowerLaw, lag: int, n_shifts: int, n_coordinates: int) -> ndarray:
    """Covariance ``(n, k)`` of displacements in one coordinate that begin ``k`` frames apart."""
    shift = np.arange(n_shifts, dtype=float)
    # Short tracks give exponents that no motion has; at zero, powers of a lag of zero have none.
    possible = np.clip(law.exponent, _LEAST_EXPONENT, 2.0)
    exponent = possible[:, None]
    ahead = (shift + lag) ** exponent
    behind = np.abs(shift - lag) ** exponent
    bend = ahead + behind - 2 * shift**exponent
    coefficient = law.coefficient[:, None] / n_coordinates
    covariance = 0.5 * coefficient * bend
    error_variance = law.constant / (2 * n_coordinates)
    covariance[:, 0] += 2 * error_variance
    if lag < n_shifts:
        # The end of the one displacement is the beginning of the other.
        covariance[:, lag] -= error_variance
    return covariance
