"""Likelihood of increments as Gaussian Euler steps."""

from __future__ import annotations

import math

import numpy as np
from numpy import ndarray

from dyninfer.diffusions.regression.increments import Increments, columns_at
from dyninfer.diffusions.regression.process import LibraryDiffusion

# Where the noise is learned to be 0, nothing that moved would be possible.
_LEAST_SHARE = 1e-12


def euler_log_likelihoods(process: LibraryDiffusion, increments: Increments) -> ndarray:
    """``log N(ΔX; ΦWΔ, ΨVΔ)`` of every increment ``(n,)``, in scaled units.

    Features that the libraries do not move are left out.
    """
    start = increments.start
    drift_weights = process.drift_weights.numpy(force=True)
    noise_weights = process.noise_weights.numpy(force=True)
    drift = columns_at(process.drift_functions, start) @ drift_weights
    rate = columns_at(process.noise_functions, start) @ noise_weights
    # The spread of scaled states is 1, and so is their time.
    rate = np.maximum(rate, _LEAST_SHARE)
    gap = increments.gap[:, None]
    variance = rate * gap
    mean = drift * gap
    residual = increments.step[:, process.moving] - mean
    exponent = residual**2 / variance
    circumference = 2 * math.pi * variance
    twice = exponent + np.log(circumference)
    total = twice.sum(1)
    return -total / 2
