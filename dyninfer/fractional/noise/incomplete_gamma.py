"""Regularised incomplete gamma functions that can be differentiated in both arguments.

``torch.special.gammainc`` has no derivative in its first argument, which is where the Hurst index enters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_SPLIT = 4.0  # the series is used up to here, the quadrature above
_TERMS = 80
_TINY = 1e-300  # stands for z = 0, so that z^a has finite derivatives
_NODES, _WEIGHTS = (torch.from_numpy(v) for v in np.polynomial.laguerre.laggauss(40))


def gamma_p(a: Tensor, z: Tensor) -> Tensor:
    """Lower regularised incomplete gamma function ``P(a, z) = γ(a, z) / Γ(a)``.

    Parameters
    ----------
    a, z : Tensor
        ``0 < a ≤ 4`` and ``z ≥ 0``, broadcast against each other; computed in float64.

    Returns
    -------
    Tensor
        Relative error below 1e-12 for ``z`` up to 1e6, and in the derivatives with respect to ``a``.
    """
    low, high = _branches(a, z)
    small = torch.exp(-low[1]) * low[1] ** low[0] * power_series(*low)
    large = 1 - torch.exp(-high[1]) * _laguerre(*high)
    return torch.where(torch.as_tensor(z) <= _SPLIT, small, large)


def gamma_q(a: Tensor, z: Tensor) -> Tensor:
    """Upper regularised incomplete gamma function ``Q(a, z) = 1 − P(a, z)``; arguments as in :func:`gamma_p`."""
    return torch.exp(-torch.as_tensor(z, dtype=torch.float64)) * scaled_gamma_q(a, z)


def scaled_gamma_q(a: Tensor, z: Tensor) -> Tensor:
    """``e^z Q(a, z)``, finite where ``e^z`` itself overflows; arguments as in :func:`gamma_p`."""
    low, high = _branches(a, z)
    small = torch.exp(low[1]) - low[1] ** low[0] * power_series(*low)
    return torch.where(torch.as_tensor(z) <= _SPLIT, small, _laguerre(*high))


def power_series(a: Tensor, z: Tensor, growth: float = 0.0) -> Tensor:
    """``Σ_k (1 + growth · k) z^k / Γ(a + k + 1)``, entire in both arguments; float64, for ``|z| ≤ 4``."""
    k = torch.arange(_TERMS, dtype=torch.float64, device=z.device)
    terms = torch.exp(
        k * z.clamp_min(_TINY).log().unsqueeze(-1) - torch.lgamma(a.unsqueeze(-1) + k + 1)
    )
    return (terms * (1 + growth * k)).sum(-1)


def _branches(a: Tensor, z: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Arguments clamped into the range of each branch: what is not selected must not give NaN gradients."""
    z = torch.as_tensor(z, dtype=torch.float64)
    a = torch.as_tensor(a, dtype=torch.float64, device=z.device)
    a, z = torch.broadcast_tensors(a, z)
    return (a, z.clamp(_TINY, _SPLIT)), (a, z.clamp_min(_SPLIT))


def _laguerre(a: Tensor, z: Tensor) -> Tensor:
    """``e^z Q(a, z) = z^{a−1}/Γ(a) ∫_0^∞ e^{−x} (1 + x/z)^{a−1} dx`` by Gauss-Laguerre quadrature."""
    nodes, weights = _NODES.to(z.device), _WEIGHTS.to(z.device)
    inner = torch.exp((a - 1).unsqueeze(-1) * torch.log1p(nodes / z.unsqueeze(-1)))
    return torch.exp((a - 1) * z.log() - torch.lgamma(a)) * (weights * inner).sum(-1)
