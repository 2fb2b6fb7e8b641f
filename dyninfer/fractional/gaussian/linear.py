"""A linear equation driven by fractional noise, as a Gaussian chain at any times."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.noise.moments import integrated_decay, pair_sums
from dyninfer.fractional.noise.motion import Kind

# Nearer than this to a node, relative to it, the rate θ is moved aside: two terms would cancel.
_MEETING = 1e-4


class LinearEquation(NamedTuple):
    """``dX = −θ X dt + σ dB̂`` in ``d`` coordinates, with the memory of the approximation.

    Attributes
    ----------
    nodes : Tensor, ``(K + 1,)`` float64
        Rates, with or without a zero.
    weights : Tensor, ``(d, K + 1)``
    rate : Tensor, ``(d,)``
        ``θ ≥ 0``.
    scale : Tensor, ``(d,)``
        ``σ``.
    """

    nodes: Tensor
    weights: Tensor
    rate: Tensor
    scale: Tensor


def transitions(equation: LinearEquation, gaps: Tensor) -> tuple[Tensor, Tensor]:
    r"""How the equation and its memory move over a gap ``h``: ``Z' = Φ Z + N(0, Q)``, exactly.

    ``Z = (X, √(2γ_1) Y_1, …, √(2γ_K) Y_K)``, the memory in units of its stationary deviation; the
    zero node, which feeds nothing back, is left out. A unit impulse of ``W`` moves ``X`` after
    ``r`` by ``g(r) = σ Σ_k w_k [e^{−γ_k r} − θ D(θ, γ_k; r)]`` with
    ``D(a, b; r) = (e^{−ar} − e^{−br})/(b − a)``, and ``Q = ∫_0^h g g' dr``.

    Parameters
    ----------
    equation : LinearEquation
    gaps : Tensor, ``(u,)``
        Not negative.

    Returns
    -------
    transition, noise : Tensor, ``(u, d, S, S)`` with ``S = 1 +`` the number of positive nodes
    """
    g = equation.nodes[equation.nodes > 0]
    decays = torch.exp(-g * gaps[:, None])
    memory = torch.diag_embed(torch.nn.functional.pad(decays, (1, 0)))
    transition = memory[:, None].repeat(1, len(equation.rate), 1, 1)
    transition[:, :, 0] = _state_row(equation, gaps)
    return transition, _noise(equation, gaps)


def state_covariance(equation: LinearEquation, start: Tensor, times: Tensor) -> Tensor:
    """Covariance of ``X`` at increasing times, best of few distinct lags: ``(d, L, L)``.

    Parameters
    ----------
    equation : LinearEquation
    start : Tensor, ``(d, S, S)``
        Covariance of ``Z`` at ``times[0]``.
    times : Tensor, ``(L,)``
    """
    gaps, gap = rounded_unique(times.diff())
    phi, noise = transitions(equation, gaps)
    covariance = start
    carried = [start[:, :, 0]]
    for k in gap.tolist():
        covariance = phi[k] @ covariance @ phi[k].mT + noise[k]
        carried.append(covariance[:, :, 0])  # Cov(Z_s, X_s), (d, S)
    lags, lag = rounded_unique((times[:, None] - times).abs())
    rows = _state_row(equation, lags).transpose(0, 1)
    by_lag = torch.stack(carried, dim=1) @ rows.mT  # (d, L, u)
    upper = by_lag.gather(2, lag.expand(len(start), -1, -1)).triu()  # row s, column t ≥ s
    return upper + upper.triu(1).mT


def stationary_memory(nodes: Tensor, kind: Kind) -> Tensor:
    """Covariance of the scaled memory ``√(2γ) Y`` at the start, ``(K, K)``: 0 for kind II."""
    g = nodes[nodes > 0]
    if kind == "II":
        return g.new_zeros(len(g), len(g))
    return 2 * (g[:, None] * g).sqrt() / pair_sums(g)


def rounded_unique(gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct values and their numbers; what differs by rounding is one."""
    unit = gaps.max().clamp_min(1e-300) if gaps.numel() else gaps.new_ones(())
    # Times have sixteen digits, of which differences lose some: ten tell gaps apart.
    whole, index = (gaps / unit * 1e10).round().unique(return_inverse=True)
    return whole * unit / 1e10, index


def _state_row(equation: LinearEquation, gaps: Tensor) -> Tensor:
    """First row of ``Φ``, ``(u, d, S)``."""
    nodes, weights, rate, scale = equation
    moving = nodes > 0
    g = nodes[moving]
    h = gaps[:, None, None]
    pull = scale[:, None] * weights[:, moving] * (g / 2).sqrt()
    answer = -pull * _divided_difference(rate[:, None], g, h)
    decay = torch.exp(-rate[:, None] * h)  # (u, d, 1)
    return torch.cat([decay, answer], dim=-1)


def _noise(equation: LinearEquation, gaps: Tensor) -> Tensor:
    """``Q = ∫_0^h g g' dr``: ``X`` answers an impulse by the exponentials of the nodes and of ``θ``."""
    nodes, weights, rate, scale = equation
    moving = nodes > 0
    g = nodes[moving]
    theta = _apart_from(g, rate[:, None])
    share = weights[:, moving] * g / (g - theta)
    own = weights.sum(-1, keepdim=True) - share.sum(-1, keepdim=True)
    state = scale[:, None] * torch.cat([share, own], dim=-1)  # on (γ_1 … γ_K, θ)
    unit = torch.diag((2 * g).sqrt())
    memory = torch.nn.functional.pad(unit, (0, 1)).expand(len(rate), -1, -1)
    answer = torch.cat([state[:, None], memory], dim=1)  # (d, S, K + 1)
    rates = torch.cat([g.expand(len(rate), -1), theta], dim=-1)
    integrals = integrated_decay(pair_sums(rates), gaps[:, None, None, None])
    return answer @ integrals @ answer.mT


def _apart_from(g: Tensor, theta: Tensor) -> Tensor:
    """``θ`` ``(d, 1)``, moved aside where it meets a node."""
    close = (g - theta).abs() < _MEETING * g
    aside = (close * g * (1 + _MEETING)).sum(-1, keepdim=True)
    return torch.where(close.any(-1, keepdim=True), aside, theta)


def _divided_difference(a: Tensor, b: Tensor, r: Tensor) -> Tensor:
    """``(e^{−ar} − e^{−br})/(b − a)``, exact also where ``a`` meets ``b``."""
    apart = ((a - b).abs() * r).clamp_min(1e-12)
    slower = torch.exp(-torch.minimum(a, b) * r)
    return slower * r * -torch.expm1(-apart) / apart
