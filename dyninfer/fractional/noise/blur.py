"""Fractional motion as a camera sees it: averages over the time that the shutter is open."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dyninfer.data.arrays import as_tensor
from dyninfer.fractional.noise.checks import check_index
from dyninfer.learning.settings import brief, is_number

# Lags of more exposures than this are summed as a series: the closed form is a second difference,
# which loses two digits for every factor of ten.
_FAR = 10.0
# Terms of the series, of order (exposure / lag)^{2k}: the next is below 1e-15 at the nearest lag.
_N_TERMS = 6


def blurred_covariance(times: Any, hurst: Any, exposure: float) -> Tensor:
    r"""Covariance of fractional Brownian motion averaged over an exposure around every time.

    With ``B`` of kind I and ``Var B(1) = 1``, started at 0 at the first time, and
    ``B̄_i = (1/e) ∫_{t_i − e/2}^{t_i + e/2} B(s) ds``,

    .. math:: \operatorname{Cov}(\bar B_i, \bar B_j) = ½ [m(t_i) + m(t_j) − M(t_i − t_j)],

    where ``m`` and ``M`` are the means of ``|s|^{2H}`` over one exposure and over the differences
    of two (Savin & Doyle, Biophys. J. 88:623, 2005, for ``H = ½``; Backlund et al., Phys. Rev. E
    91:062716, 2015).

    Parameters
    ----------
    times : array, ``(n,)``
        Middles of the exposures.
    hurst : float or Tensor
        ``H``; the result is differentiable in it.
    exposure : float
        ``e``, in units of time; 0 is motion seen at once.

    Returns
    -------
    Tensor, ``(n, n)`` float64

    Examples
    --------
    >>> from dyninfer.fractional import blurred_covariance
    >>> blur = blurred_covariance([0.0, 1.0], 0.5, 1.0)
    >>> float(blur[0, 0] + blur[1, 1] - 2 * blur[0, 1])  # 2/3: the increment of Brownian motion
    0.666...
    """
    if isinstance(hurst, float):
        check_index(hurst)
    if not is_number(exposure) or not 0 <= exposure < float("inf"):
        raise ValueError(f"exposure must be a time, 0 or more, found {brief(exposure)}")
    t = as_tensor(times, "times").double()
    index = torch.as_tensor(hurst, dtype=torch.float64)
    return covariance_of_means(t - t[:1], index, exposure)


def covariance_of_means(elapsed: Tensor, hurst: Tensor, exposure: float) -> Tensor:
    """:func:`blurred_covariance` at elapsed times ``(..., n)``, of indices ``(...)``."""
    exponent = 2 * hurst[..., None, None]
    column = elapsed.unsqueeze(-1)
    row = elapsed.unsqueeze(-2)
    own = mean_power(column, exponent, exposure)
    shared = mean_power_between((column - row).abs(), exponent, exposure)
    return 0.5 * (own + own.mT - shared)


def cross_covariance(points: Tensor, times: Tensor, hurst: Tensor, exposure: float) -> Tensor:
    """Covariance ``(m, n)`` of ``B`` at ``points`` with its averages at ``times``; both elapsed."""
    exponent = 2 * hurst
    of_points = points.abs() ** exponent
    of_averages = mean_power(times, exponent, exposure)
    lags = points[:, None] - times
    shared = mean_power(lags.abs(), exponent, exposure)
    return 0.5 * (of_points[:, None] + of_averages - shared)


def mean_power(lag: Tensor, exponent: Tensor, exposure: float) -> Tensor:
    """Mean of ``|lag + u|^a`` over ``u`` in ``[−e/2, e/2]``."""
    if exposure == 0:
        return lag.abs() ** exponent
    raised = exponent + 1
    half = exposure / 2
    # The integral of |s|^a is sgn(s) |s|^{a+1} / (a + 1).
    ahead = lag + half
    behind = lag - half
    upper = ahead.sign() * ahead.abs() ** raised
    lower = behind.sign() * behind.abs() ** raised
    return (upper - lower) / (raised * exposure)


def mean_power_between(lag: Tensor, exponent: Tensor, exposure: float) -> Tensor:
    """Mean of ``|lag + u − v|^a`` over ``u`` and ``v`` in ``[0, e]``, for lags ``≥ 0``."""
    if exposure == 0:
        return lag**exponent
    share = lag / exposure
    is_far = share > _FAR
    # Each branch is computed where it holds, and at a harmless lag elsewhere.
    near = torch.where(is_far, torch.zeros_like(share), share)
    far = torch.where(is_far, share, torch.full_like(share, 2 * _FAR))
    in_exposures = torch.where(is_far, _series(far, exponent), _second_difference(near, exponent))
    unit = exposure**exponent
    return unit * in_exposures


def _second_difference(share: Tensor, exponent: Tensor) -> Tensor:
    """``(|x + 1|^q + |x − 1|^q − 2 x^q)/(q (q − 1))`` with ``q = a + 2``."""
    q = exponent + 2
    ahead = (share + 1) ** q
    behind = (share - 1).abs() ** q
    middle = share**q
    bend = ahead + behind - 2 * middle
    return bend / (q * (q - 1))


def _series(share: Tensor, exponent: Tensor) -> Tensor:
    """``x^a Σ_k 2/(2k + 2)! a (a − 1) … (a − 2k + 1) x^{−2k}``, the same for large ``x``."""
    inverse_square = share**-2
    term = torch.ones_like(share)
    total = term
    for k in range(1, _N_TERMS):
        order = 2 * k
        falling = (exponent - order + 2) * (exponent - order + 1)
        # 2/(2k + 2)! over 2/(2k)!
        factor = falling / ((order + 1) * (order + 2))
        term = term * factor * inverse_square
        total = total + term
    return share**exponent * total
