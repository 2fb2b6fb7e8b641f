"""A linear equation driven by fractional noise, as a Gaussian chain at any times."""

from __future__ import annotations

import torch
from torch import Tensor


def transitions(
    nodes: Tensor, weights: Tensor, rate: Tensor, scale: Tensor, gaps: Tensor
) -> tuple[Tensor, Tensor]:
    r"""How ``dX = −θ X dt + σ dB̂`` and its memory move over a gap ``h``: ``Z' = Φ Z + N(0, Q)``, exactly.

    ``Z = (X, √(2γ_1) Y_1, …, √(2γ_K) Y_K)``, the memory in units of its stationary deviation; the zero node, which
    feeds nothing back, is left out. A unit impulse of ``W`` moves ``X`` after ``r`` by ``g(r) = σ Σ_k w_k
    [e^{−γ_k r} − θ D(θ, γ_k; r)]`` with ``D(a, b; r) = (e^{−ar} − e^{−br})/(b − a)``, and ``Q = ∫_0^h g g' dr``.

    Parameters
    ----------
    nodes : Tensor, ``(K + 1,)`` float64
        Rates, with or without a zero.
    weights : Tensor, ``(d, K + 1)``
    rate : Tensor, ``(d,)``
        ``θ ≥ 0``.
    scale : Tensor, ``(d,)``
        ``σ``.
    gaps : Tensor, ``(u,)``
        Not negative.

    Returns
    -------
    transition, noise : Tensor, ``(u, d, S, S)`` with ``S = 1 +`` the number of positive nodes
    """
    g = nodes[nodes > 0]
    decays = torch.exp(-g * gaps[:, None])
    memory = torch.diag_embed(torch.nn.functional.pad(decays, (1, 0)))
    transition = memory[:, None].repeat(1, len(rate), 1, 1)
    transition[:, :, 0] = _state_row(nodes, weights, rate, scale, gaps)
    return transition, _noise(nodes, weights, rate, scale, gaps)


def state_covariance(
    nodes: Tensor, weights: Tensor, rate: Tensor, scale: Tensor, start: Tensor, times: Tensor
) -> Tensor:
    """Covariance of ``X`` at increasing times, best of few distinct lags: ``(d, L, L)``.

    Parameters
    ----------
    nodes, weights, rate, scale : Tensor
        As in :func:`transitions`.
    start : Tensor, ``(d, S, S)``
        Covariance of ``Z`` at ``times[0]``.
    times : Tensor, ``(L,)``
    """
    gaps, gap = rounded_unique(times.diff())
    phi, noise = transitions(nodes, weights, rate, scale, gaps)
    spread, carried = start, [start[:, :, 0]]
    for k in gap.tolist():
        spread = phi[k] @ spread @ phi[k].mT + noise[k]
        carried.append(spread[:, :, 0])  # Cov(Z_s, X_s), (d, S)
    lags, index = rounded_unique((times[:, None] - times).abs())
    rows = _state_row(nodes, weights, rate, scale, lags).transpose(0, 1)
    by_lag = torch.stack(carried, dim=1) @ rows.mT  # (d, L, u)
    upper = by_lag.gather(2, index.expand(len(rate), -1, -1)).triu()  # row s, column t ≥ s
    return upper + upper.triu(1).mT


def rounded_unique(gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct values and their numbers; what differs by rounding is one."""
    unit = gaps.max().clamp_min(1e-300) if gaps.numel() else gaps.new_ones(())
    whole, index = (gaps / unit * 1e10).round().unique(return_inverse=True)
    return whole * unit / 1e10, index


def _state_row(nodes: Tensor, weights: Tensor, rate: Tensor, scale: Tensor, gaps: Tensor) -> Tensor:
    """First row of ``Φ``, ``(u, d, S)``."""
    moving = nodes > 0
    g, w = nodes[moving], weights[:, moving]
    pull = -scale[:, None] * w * (g / 2).sqrt() * _divided(rate[:, None], g, gaps[:, None, None])
    return torch.cat([torch.exp(-rate * gaps[:, None])[..., None], pull], dim=-1)


def _noise(nodes: Tensor, weights: Tensor, rate: Tensor, scale: Tensor, gaps: Tensor) -> Tensor:
    """``Q = ∫_0^h g g' dr``: ``X`` answers an impulse by the exponentials of the nodes and of ``θ``."""
    moving = nodes > 0
    g = nodes[moving]
    theta = rate[:, None]
    # Where θ meets a node, two terms would cancel: it passes by at a ten-thousandth.
    close = (g - theta).abs() < 1e-4 * g
    theta = torch.where(
        close.any(-1, keepdim=True), (close * g * (1 + 1e-4)).sum(-1, keepdim=True), theta
    )
    apart = g - theta
    share = weights[:, moving]
    own = weights.sum(-1, keepdim=True) - (share * g / apart).sum(-1, keepdim=True)
    state = scale[:, None] * torch.cat([share * g / apart, own], dim=-1)  # on (γ_1 … γ_K, θ)
    memory = torch.nn.functional.pad(torch.diag((2 * g).sqrt()), (0, 1)).expand(len(rate), -1, -1)
    answer = torch.cat([state[:, None], memory], dim=1)  # (d, S, K + 1)
    rates = torch.cat([g.expand(len(rate), -1), theta], dim=-1)
    sums = rates.unsqueeze(-1) + rates.unsqueeze(-2)
    decayed = -torch.expm1(-sums * gaps[:, None, None, None])
    held = torch.where(
        sums > 0, decayed / torch.where(sums > 0, sums, 1), gaps[:, None, None, None]
    )
    return answer @ held @ answer.mT


def _divided(a: Tensor, b: Tensor, r: Tensor) -> Tensor:
    """``(e^{−ar} − e^{−br})/(b − a)``, exact also where ``a`` meets ``b``."""
    apart = ((a - b).abs() * r).clamp_min(1e-12)
    return torch.exp(-torch.minimum(a, b) * r) * r * -torch.expm1(-apart) / apart


def stationary_memory(nodes: Tensor, kind: str) -> Tensor:
    """Covariance of the scaled memory ``√(2γ) Y`` at the start, ``(K, K)``: 0 for kind II."""
    g = nodes[nodes > 0]
    if kind == "II":
        return g.new_zeros(len(g), len(g))
    return 2 * (g[:, None] * g).sqrt() / (g[:, None] + g)
