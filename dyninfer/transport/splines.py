"""Natural cubic splines as weights of their knots."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from torch import Tensor


def natural_splines(times: ndarray) -> ndarray:
    """Cardinal natural cubic splines over ``K`` times.

    Returns
    -------
    array ``(power, interval, knot)``
        Coefficients, highest power first: in interval ``k`` the weight of a knot is a cubic of
        ``t − times[k]``.
    """
    from scipy.interpolate import CubicSpline

    if len(times) > 2:
        unit_values = np.eye(len(times))
        return CubicSpline(times, unit_values, bc_type="natural").c
    # Through two points, the straight line.
    coefficients = np.zeros((4, 1, 2))
    gap = times[1] - times[0]
    coefficients[2, 0] = -1 / gap, 1 / gap
    coefficients[3, 0] = 1, 0
    return coefficients


def spline_weights(cubics: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the knots and their derivatives in time, ``(n, K)`` each.

    Parameters
    ----------
    cubics : tensor ``(4, n, K)``
        Coefficients in the interval of every row, highest power first.
    elapsed : tensor ``(n,)``
        Time since that interval began.
    """
    h = elapsed[:, None]
    c3, c2, c1, c0 = cubics
    # Horner's scheme.
    quadratic = (c3 * h + c2) * h
    weights = (quadratic + c1) * h + c0
    slopes = (3 * c3 * h + 2 * c2) * h + c1
    return weights, slopes
