"""Regularised incomplete gamma functions that can be differentiated in both arguments.

``torch.special.gammainc`` has no derivative in its first argument, where the Hurst index enters.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.arrays import as_tensor

# Up to here the power series converges fast; above, the quadrature does.
SPLIT = 4.0
# Eighty terms of the series at z = 4 leave less than 1e-16.
_TERMS = 80
# Stands for z = 0, so that z^a has finite derivatives.
TINY = 1e-300
# Forty nodes of Gauss-Laguerre reach 1e-13 for z > 4 and a ≤ 4.
_QUADRATURE = np.polynomial.laguerre.laggauss(40)
_NODES = torch.from_numpy(_QUADRATURE[0])
_WEIGHTS = torch.from_numpy(_QUADRATURE[1])


def gamma_p(a: Tensor, z: Tensor) -> Tensor:
    """Lower regularised incomplete gamma function ``P(a, z) = γ(a, z) / Γ(a)``.

    Parameters
    ----------
    a, z : Tensor
        ``0 < a ≤ 4`` and ``z ≥ 0``, broadcast against each other; computed in float64.

    Returns
    -------
    Tensor
        Relative error below 1e-12 for ``z`` up to 1e6, and in the derivatives with respect to
        ``a``.
    """
    a, z = _as_float64(a, z)
    low, high = _branches(z)
    decay = torch.exp(-low)
    small = decay * _scaled_series(a, low)
    decay = torch.exp(-high)
    upper = decay * _laguerre(a, high)
    lower = 1 - upper
    return torch.where(z <= SPLIT, small, lower)


def gamma_q(a: Tensor, z: Tensor) -> Tensor:
    """Upper regularised incomplete gamma function ``Q = 1 − P``; see :func:`gamma_p`."""
    z = as_tensor(z, "z")
    decay = torch.exp(-z)
    return decay * scaled_gamma_q(a, z)


def scaled_gamma_q(a: Tensor, z: Tensor) -> Tensor:
    """``e^z Q(a, z)``, finite where ``e^z`` itself overflows; arguments as in :func:`gamma_p`."""
    a, z = _as_float64(a, z)
    low, high = _branches(z)
    growth = torch.exp(low)
    small = growth - _scaled_series(a, low)
    large = _laguerre(a, high)
    return torch.where(z <= SPLIT, small, large)


def power_series(a: Tensor, z: Tensor, growth: float = 0.0) -> Tensor:
    """``Σ_k (1 + growth · k) z^k / Γ(a + k + 1)``, entire in both arguments.

    Float64, for ``|z| ≤ 4``.
    """
    k = torch.arange(_TERMS, dtype=torch.float64, device=z.device)
    positive = z.clamp_min(TINY)
    log_z = positive.log().unsqueeze(-1)
    log_power = k * log_z
    order = a.unsqueeze(-1) + k
    log_gamma = torch.lgamma(order + 1)
    terms = torch.exp(log_power - log_gamma)
    factors = 1 + growth * k
    return (terms * factors).sum(-1)


def _as_float64(a: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    z = as_tensor(z, "z")
    a = as_tensor(a, "a").to(z.device)
    return torch.broadcast_tensors(a, z)


def _branches(z: Tensor) -> tuple[Tensor, Tensor]:
    """``z`` clamped into the range of each branch.

    The branch that ``torch.where`` does not select must be finite too, or its gradient is NaN.
    """
    low = z.clamp(TINY, SPLIT)
    high = z.clamp_min(SPLIT)
    return low, high


def _scaled_series(a: Tensor, z: Tensor) -> Tensor:
    """``e^z P(a, z) = z^a Σ_k z^k / Γ(a + k + 1)``."""
    series = power_series(a, z)
    return z**a * series


@cache
def _quadrature_on(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights, sent to a device once."""
    return _NODES.to(device), _WEIGHTS.to(device)


def _laguerre(a: Tensor, z: Tensor) -> Tensor:
    """``e^z Q(a, z) = z^{a−1}/Γ(a) ∫_0^∞ e^{−x} (1 + x/z)^{a−1} dx``, by Gauss and Laguerre."""
    nodes, weights = _quadrature_on(z.device)
    power = a - 1
    # (1 + x/z)^{a−1} in logarithms, which keep the digits of a small x/z.
    ratio = nodes / z.unsqueeze(-1)
    log_base = torch.log1p(ratio)
    log_integrand = power.unsqueeze(-1) * log_base
    integrand = log_integrand.exp()
    terms = weights * integrand
    log_power = power * z.log()
    log_gamma = torch.lgamma(a)
    factor = torch.exp(log_power - log_gamma)
    return factor * terms.sum(-1)
