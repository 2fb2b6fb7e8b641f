"""The likeliest motion of one segment of a track, and how sharp it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from dyninfer.fractional.noise.segmentation import Camera, Motion, Track

# Starts of the search: reverting, free and persistent motion.
_INDICES = (0.15, 0.5, 0.8)
# Largest logit of the index, which so stays in [0.01, 0.99], and logs of the variance about that of
# the displacements: beyond, the particle rests, or the error explains all.
_LARGEST_LOGIT = 4.6
_LOG_RANGE = 12.0
# Step of the differences that make the curvature.
_STEP = 1e-2
_LOG_2PI = float(np.log(2 * np.pi))


class SegmentFit(NamedTuple):
    """Maximum of the likelihood in the logit of the index and the log of the variance.

    Attributes
    ----------
    logit, log_variance : float
        NaN and -inf for a particle that rests.
    covariance : ndarray, ``(2, 2)``
        Inverse of the observed information; NaN at a bound.
    log_likelihood : float
    """

    logit: float
    log_variance: float
    covariance: ndarray
    log_likelihood: float


def fit_segment(track: Track, camera: Camera, can_rest: bool) -> SegmentFit:
    """Maximum likelihood of one motion for all of a track.

    Parameters
    ----------
    track : Track
    camera : Camera
    can_rest : bool
        Whether a particle that rests is considered: it needs two parameters less, and is taken
        where the moving one gains less than their share of the Bayesian information criterion.
    """
    displacements = track.displacements
    level = np.log(np.mean(displacements**2))
    centre = np.array([0.0, level])

    def loss(point: ndarray) -> float:
        return -log_likelihood(track, _motion(point), camera)

    starts = [np.array([np.log(h / (1 - h)), level]) for h in _INDICES]
    start = min(starts, key=loss)
    reach = np.array([_LARGEST_LOGIT, _LOG_RANGE])
    bounds = list(zip(centre - reach, centre + reach, strict=True))
    result = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    highest = -float(result.fun)
    rest = Motion(0.5, 0.0)
    at_rest = log_likelihood(track, rest, camera) if can_rest else -np.inf
    # Half the log of the number of values for each of the two.
    allowance = np.log(displacements.size)
    if at_rest > highest - allowance:
        return SegmentFit(np.nan, -np.inf, np.full((2, 2), np.nan), at_rest)
    is_inside = bool((np.abs(result.x - centre) < reach - 1e-6).all())
    covariance = np.full((2, 2), np.nan)
    if is_inside:
        covariance = _inverse_curvature(loss, result.x)
    return SegmentFit(float(result.x[0]), float(result.x[1]), covariance, highest)


def log_likelihood(track: Track, motion: Motion, camera: Camera) -> float:
    """Log density of the displacements of a track, in nats."""
    covariance = camera.covariance(track.frames, *motion, track.errors)
    factor = np.linalg.cholesky(covariance)
    displacements = track.displacements
    white = solve_triangular(factor, displacements, lower=True, check_finite=False)
    n_coordinates = displacements.shape[1]
    log_volume = np.log(np.diag(factor)).sum() * n_coordinates
    deviance = (white**2).sum() + displacements.size * _LOG_2PI
    return float(-0.5 * deviance - log_volume)


def _motion(point: ndarray) -> Motion:
    hurst = 1 / (1 + np.exp(-point[0]))
    return Motion(float(hurst), float(np.exp(point[1])))


def _inverse_curvature(loss: Callable[[ndarray], float], x: ndarray) -> ndarray:
    """Inverse ``(2, 2)`` of the second derivatives; NaN where they have no maximum."""
    curvature = np.empty((2, 2))
    steps = _STEP * np.eye(2)
    for i, one in enumerate(steps):
        for j, other in enumerate(steps):
            along = one + other
            across = one - other
            on_axis = loss(x + along) + loss(x - along)
            off_axis = loss(x + across) + loss(x - across)
            curvature[i, j] = (on_axis - off_axis) / (4 * _STEP**2)
    if np.linalg.eigvalsh(curvature).min() <= 0:
        return np.full((2, 2), np.nan)
    return np.linalg.inv(curvature)
