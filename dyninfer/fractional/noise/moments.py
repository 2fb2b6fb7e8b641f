"""The integrals whose minimiser are the optimal weights of a Markov approximation, on the unit horizon.

``Y_g`` solves ``dY = −g Y dt + dW`` with the ``W`` of the motion. With a node ``g = 0`` among them, ``Y_0 = W``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dyninfer.fractional.noise.incomplete_gamma import gamma_p, power_series, scaled_gamma_q
from dyninfer.fractional.noise.motion import kernel_variance

_SPLIT = 4.0  # below, power series: the closed forms cancel there


def gram(nodes: Tensor, kind: str) -> Tensor:
    """``A_ij = ∫_0^1 E[(Y_i(t) − Y_i(0)) (Y_j(t) − Y_j(0))] dt``.

    Parameters
    ----------
    nodes : Tensor, ``(..., K)`` float64
        Not negative, in units of the inverse horizon.
    kind : str

    Returns
    -------
    Tensor, ``(..., K, K)``
    """
    sums = nodes.unsqueeze(-1) + nodes.unsqueeze(-2)
    if kind == "II":
        return _mean_decay(sums)
    shares = nodes * _mean_decay(nodes)
    matrix = (shares.unsqueeze(-1) + shares.unsqueeze(-2)) / torch.where(sums > 0, sums, 1)
    return torch.where(sums > 0, matrix, 0.5)


def cross(hurst: Tensor, nodes: Tensor, kind: str) -> Tensor:
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
    a, g = torch.broadcast_tensors(hurst + 0.5, nodes)
    low, high = g.clamp_max(_SPLIT), g.clamp_min(_SPLIT)
    if kind == "II":
        small = torch.exp(-low) * power_series(a + 1, low, growth=1.0)
        large = (gamma_p(a, high) - a / high * gamma_p(a + 1, high)) * high**-a
    else:
        small = power_series(a + 1, low) - 2 * low.clamp_min(1e-300) ** (2 - a) * _odd_series(low)
        tail = torch.exp(-high) - scaled_gamma_q(a, high)
        large = (2 + tail / high) * high**-a - torch.exp(-torch.lgamma(a + 1)) / high
    return torch.where(g <= _SPLIT, small, large)


def power(hurst: Tensor, kind: str) -> Tensor:
    """``c = ∫_0^1 Var B(t) dt`` for the motion of the kernel normalisation, the shape of ``hurst``."""
    return kernel_variance(hurst, kind) / (2 * hurst + 1)


def _mean_decay(x: Tensor) -> Tensor:
    """``∫_0^1 (1 − e^{−xt})/x dt = (x − 1 + e^{−x}) / x²``, ½ at 0."""
    small, large = x.clamp_max(1), x.clamp_min(1)
    series = torch.zeros_like(x)
    for n in range(17, -1, -1):  # Σ (−x)^n / (n + 2)!
        series = 1 / math.factorial(n + 2) - small * series
    return torch.where(x < 1, series, (large + torch.expm1(-large)) / large.square())


def _odd_series(x: Tensor) -> Tensor:
    """``(sinh x − x) / x³ = Σ_j x^{2j} / (2j + 3)!``."""
    j = 2 * torch.arange(16, dtype=x.dtype, device=x.device)
    return (x.unsqueeze(-1) ** j * torch.exp(-torch.lgamma(j + 4))).sum(-1)
