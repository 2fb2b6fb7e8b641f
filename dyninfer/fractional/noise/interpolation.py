"""Weights of a Markov approximation at hundreds of indices, interpolated in Chebyshev's nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from dyninfer.fractional.noise.markov import MarkovApproximation
from dyninfer.fractional.noise.moments import as_double

Weights = Callable[[Tensor], Tensor]

# The weights are analytic inside (0, 1): on this range, 96 polynomials are exact to 1e-8.
_LOW = 0.015
_HIGH = 0.985
_WIDTH = _HIGH - _LOW
_DEGREE = 96
_INTERPOLATED: WeakKeyDictionary[MarkovApproximation, Weights] = WeakKeyDictionary()


def weights_of_many(noise: MarkovApproximation, hurst: Tensor, least: int = _DEGREE) -> Tensor:
    """``noise.weights(hurst)``: solved for each of a few indices, interpolated for ``least``.

    Paths and covariances change by less than 1e-8 of their size. The interpolation is kept as long
    as the noise.
    """
    is_inside = (hurst >= _LOW) & (hurst <= _HIGH)
    # Fewer indices than polynomials are cheaper to solve for, unless they are asked for often.
    is_small = hurst.numel() < least
    if is_small or not bool(is_inside.all()):
        return noise.weights(hurst)
    if noise not in _INTERPOLATED:
        with torch.inference_mode(False):
            _INTERPOLATED[noise] = interpolated_weights(noise)
    flat = hurst.flatten()
    weights = _INTERPOLATED[noise](flat)
    return weights.unflatten(0, hurst.shape)


def interpolated_weights(noise: MarkovApproximation) -> Weights:
    """Weights ``(m, K + 1)`` of indices ``(m,)`` in [0.015, 0.985], with gradients."""
    order = as_double(range(_DEGREE), like=noise.nodes)
    half_orders = order + 0.5
    angle = half_orders * math.pi / _DEGREE
    # Chebyshev's nodes lie in [−1, 1], and are moved into the range of indices.
    share = 0.5 * (1 + angle.cos())
    indices = _LOW + _WIDTH * share
    values = noise.weights(indices)
    angles = order[:, None] * angle
    # The discrete cosine transform of the values at the nodes.
    cosines = 2 / _DEGREE * angles.cos()
    coefficients = cosines @ values
    # The constant polynomial has twice the norm of the others.
    coefficients[0] /= 2

    def weights(hurst: Tensor) -> Tensor:
        from_middle = 2 * hurst - _LOW - _HIGH
        x = from_middle / _WIDTH
        angle = torch.acos(x).unsqueeze(1)
        # Chebyshev's polynomials: T_n(x) = cos(n arccos x).
        angles = order.to(x) * angle
        return angles.cos() @ coefficients.to(x)

    return weights
