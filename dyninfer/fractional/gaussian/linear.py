"""A linear equation driven by fractional noise, as a Gaussian chain at any times."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

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
    memory = torch.diag_embed(pad(decays, (1, 0)))
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
    # Cov(Z_s, X_s) is carried from time to time, and from there over every lag at once.
    covariance = start
    columns = [covariance[:, :, 0]]
    for k in gap.tolist():
        covariance = phi[k] @ covariance @ phi[k].mT + noise[k]
        columns.append(covariance[:, :, 0])
    lags, lag = rounded_unique((times[:, None] - times).abs())
    rows = _state_row(equation, lags).transpose(0, 1)  # (d, u, S)
    by_lag = torch.stack(columns, dim=1) @ rows.mT  # (d, L, u)
    lag = lag.expand(len(start), -1, -1)
    upper = by_lag.gather(2, lag).triu()  # row s, column t ≥ s
    return upper + upper.triu(1).mT


def stationary_memory(nodes: Tensor, kind: Kind) -> Tensor:
    """Covariance of the scaled memory ``√(2γ) Y`` at the start, ``(K, K)``: 0 for kind II."""
    g = nodes[nodes > 0]
    if kind == "II":
        return g.new_zeros(len(g), len(g))
    return 2 * (g[:, None] * g).sqrt() / pair_sums(g)


def rounded_unique(gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct values and their numbers; what differs by rounding is one."""
    if gaps.numel() == 0:
        return gaps.flatten(), torch.zeros_like(gaps, dtype=torch.int64)
    # Times have sixteen digits, of which differences lose some: ten tell gaps apart. The least
    # unit stands for gaps that are all 0.
    unit = gaps.max().clamp_min(1e-300) / 1e10
    multiples, index = (gaps / unit).round().unique(return_inverse=True)
    return multiples * unit, index


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
    """``Q = ∫_0^h g g' dr``, ``(u, d, S, S)``.

    An impulse is answered by exponentials of the rates ``γ_1 … γ_K`` and ``θ``: ``X`` by all of
    them, every memory by its own.
    """
    nodes, weights, rate, scale = equation
    d = len(rate)
    moving = nodes > 0
    g = nodes[moving]
    theta = _apart_from(g, rate[:, None])
    of_nodes = weights[:, moving] * g / (g - theta)
    of_theta = weights.sum(-1, keepdim=True) - of_nodes.sum(-1, keepdim=True)
    state = scale[:, None] * torch.cat([of_nodes, of_theta], dim=-1)
    unit = torch.diag((2 * g).sqrt())
    memory = pad(unit, (0, 1)).expand(d, -1, -1)
    answer = torch.cat([state[:, None], memory], dim=1)  # (d, S, K + 1)
    rates = torch.cat([g.expand(d, -1), theta], dim=-1)
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
