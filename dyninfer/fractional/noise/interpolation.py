"""Weights of a Markov approximation at hundreds of indices, interpolated in Chebyshev's nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from dyninfer.fractional.noise.markov import MarkovApproximation

Weights = Callable[[Tensor], Tensor]

# The weights are analytic inside (0, 1): on this range, 96 polynomials are exact to 1e-8.
_LOW, _HIGH = 0.015, 0.985
_DEGREE = 96
_INTERPOLATED: WeakKeyDictionary[MarkovApproximation, Weights] = WeakKeyDictionary()


def weights_of_many(noise: MarkovApproximation, hurst: Tensor) -> Tensor:
    """``noise.weights(hurst)``: solved for each of a few indices, interpolated for a hundred.

    Paths and covariances change by less than 1e-8 of their size. The interpolation is kept as long
    as the noise.
    """
    inside = bool(((hurst >= _LOW) & (hurst <= _HIGH)).all())
    # Fewer indices than polynomials are cheaper to solve for.
    if hurst.numel() < _DEGREE or not inside:
        return noise.weights(hurst)
    if noise not in _INTERPOLATED:
        with torch.inference_mode(False):
            _INTERPOLATED[noise] = interpolated_weights(noise)
    weights = _INTERPOLATED[noise](hurst.flatten())
    return weights.unflatten(0, hurst.shape)


def interpolated_weights(noise: MarkovApproximation) -> Weights:
    """Weights ``(m, K + 1)`` of indices ``(m,)`` in [0.015, 0.985], with gradients."""
    order = torch.arange(_DEGREE, dtype=torch.float64, device=noise.nodes.device)
    angle = (order + 0.5) * math.pi / _DEGREE
    indices = _LOW + (_HIGH - _LOW) * 0.5 * (1 + angle.cos())
    cosines = torch.cos(order[:, None] * angle)
    coefficients = 2 / _DEGREE * cosines @ noise.weights(indices)
    # The constant polynomial has twice the norm of the others.
    coefficients[0] /= 2

    def weights(hurst: Tensor) -> Tensor:
        x = (2 * hurst - _LOW - _HIGH) / (_HIGH - _LOW)
        polynomials = torch.cos(order.to(x) * torch.acos(x)[:, None])
        return polynomials @ coefficients.to(x)

    return weights
