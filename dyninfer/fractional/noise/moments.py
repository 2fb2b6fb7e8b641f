"""The integrals that the optimal weights of a Markov approximation solve, on the unit horizon.

``Y_g`` solves ``dY = −g Y dt + dW`` with the ``W`` of the motion; for ``g = 0``, ``Y_0 = W``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dyninfer.fractional.noise.incomplete_gamma import (
    SPLIT,
    TINY,
    gamma_p,
    power_series,
    scaled_gamma_q,
)
from dyninfer.fractional.noise.motion import Kind, kernel_variance


def gram(nodes: Tensor, kind: Kind) -> Tensor:
    """``A_ij = ∫_0^1 E[(Y_i(t) − Y_i(0)) (Y_j(t) − Y_j(0))] dt``.

    Parameters
    ----------
    nodes : Tensor, ``(..., K)`` float64
        Not negative, in units of the inverse horizon.
    kind : {"I", "II"}

    Returns
    -------
    Tensor, ``(..., K, K)``
    """
    sums = pair_sums(nodes)
    if kind == "II":
        # Nothing lies before the start.
        return _mean_decay(sums)
    shares = nodes * _mean_decay(nodes)
    inverse = inverse_or_zero(sums)
    moving = pair_sums(shares) * inverse
    # Of two zero nodes, E W(t)² = t, whose mean is ½.
    return torch.where(sums > 0, moving, 0.5)


def cross(hurst: Tensor, nodes: Tensor, kind: Kind) -> Tensor:
    """``b_k = ∫_0^1 E[B(t) (Y_k(t) − Y_k(0))] dt`` for the motion of the kernel normalisation.

    Parameters
    ----------
    hurst : Tensor
        Broadcasts against ``nodes``.
    nodes : Tensor, float64

    Returns
    -------
    Tensor, the shape of both broadcast; differentiable in ``hurst``.
    """
    order = hurst + 0.5
    a, g = torch.broadcast_tensors(order, nodes)
    # The closed forms cancel for slow nodes, so those have power series.
    slow = g.clamp_max(SPLIT)
    fast = g.clamp_min(SPLIT)
    if kind == "II":
        of_slow = _slow_cross_ii(a, slow)
        of_fast = _fast_cross_ii(a, fast)
    else:
        of_slow = _slow_cross_i(a, slow)
        of_fast = _fast_cross_i(a, fast)
    return torch.where(g <= SPLIT, of_slow, of_fast)


def power(hurst: Tensor, kind: Kind) -> Tensor:
    """``c = ∫_0^1 Var B(t) dt`` for the motion of the kernel normalisation."""
    at_one = kernel_variance(hurst, kind)
    return at_one / (2 * hurst + 1)


def pair_sums(nodes: Tensor) -> Tensor:
    """``γ_i + γ_j``: ``(..., K)`` gives ``(..., K, K)``."""
    rows = nodes.unsqueeze(-1)
    columns = nodes.unsqueeze(-2)
    return rows + columns


def as_double(x: Any, like: Tensor) -> Tensor:
    """Numbers in float64 on the device of ``like``."""
    # Not by way of the default dtype, which would round plain numbers to single precision.
    return torch.as_tensor(x, dtype=torch.float64, device=like.device)


def inverse_or_zero(x: Tensor) -> Tensor:
    """``1/x``, and 0 where ``x`` is not positive, with finite gradients."""
    is_positive = x > 0
    # The branch that is not selected must be finite too, or its gradient is NaN.
    divisor = torch.where(is_positive, x, 1)
    return torch.where(is_positive, 1 / divisor, 0)


def integrated_decay(rates: Tensor, time: Tensor | float) -> Tensor:
    """``∫_0^t e^{−γ r} dr = (1 − e^{−γ t})/γ``, and ``t`` for ``γ = 0``."""
    exponent = -rates * time
    lost = -torch.expm1(exponent)
    decayed = lost * inverse_or_zero(rates)
    return torch.where(rates > 0, decayed, time)


def _slow_cross_ii(a: Tensor, g: Tensor) -> Tensor:
    series = power_series(a + 1, g, growth=1.0)
    return torch.exp(-g) * series


def _fast_cross_ii(a: Tensor, g: Tensor) -> Tensor:
    ratio = a / g
    part = gamma_p(a + 1, g)
    correction = ratio * part
    falling = g**-a
    difference = gamma_p(a, g) - correction
    return falling * difference


def _slow_cross_i(a: Tensor, g: Tensor) -> Tensor:
    positive = g.clamp_min(TINY)
    power_of_node = positive ** (2 - a)
    past = power_of_node * _odd_series(g)
    series = power_series(a + 1, g)
    return series - 2 * past


def _fast_cross_i(a: Tensor, g: Tensor) -> Tensor:
    decay = torch.exp(-g)
    difference = decay - scaled_gamma_q(a, g)
    log_gamma = torch.lgamma(a + 1)
    inverse_gamma = torch.exp(-log_gamma)
    early = inverse_gamma / g
    factor = 2 + difference / g
    late = factor * g**-a
    return late - early


def _mean_decay(x: Tensor) -> Tensor:
    """``∫_0^1 (1 − e^{−xt})/x dt = (x − 1 + e^{−x}) / x²``, ½ at 0."""
    small = x.clamp_max(1)
    large = x.clamp_min(1)
    # Σ_n (−x)^n / (n + 2)! by Horner's rule; eighteen terms are exact in float64 for x ≤ 1.
    series = torch.zeros_like(x)
    for n in reversed(range(18)):
        coefficient = 1 / math.factorial(n + 2)
        series = coefficient - small * series
    lost = torch.expm1(-large)
    numerator = large + lost
    closed = numerator / large.square()
    return torch.where(x < 1, series, closed)


def _odd_series(x: Tensor) -> Tensor:
    """``(sinh x − x) / x³ = Σ_j x^{2j} / (2j + 3)!``."""
    # Sixteen terms are exact in float64 for x ≤ 4.
    exponents = torch.arange(0, 32, 2, dtype=torch.float64, device=x.device)
    powers = x.unsqueeze(-1) ** exponents
    log_factorial = torch.lgamma(exponents + 4)
    coefficients = torch.exp(-log_factorial)
    return (powers * coefficients).sum(-1)
