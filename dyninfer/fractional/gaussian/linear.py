"""A linear equation driven by fractional noise, as a Gaussian chain at any times."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from dyninfer.fractional.noise.moments import integrated_decay, pair_sums
from dyninfer.fractional.noise.motion import Kind

# A rate θ within this relative distance of a node is moved away from it: two terms of the
# covariance would cancel and lose half of their digits.
_MEETING = 1e-4
# Relative distance below which two gaps are the same. Times have sixteen digits, and their
# differences fewer; ten are enough to tell gaps apart.
_SAME_GAP = 1e-10


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

    @property
    def memory_rates(self) -> Tensor:
        """The positive nodes ``γ``, ``(K,)``."""
        is_memory = self.nodes > 0
        return self.nodes[is_memory]

    @property
    def memory_weights(self) -> Tensor:
        """The weights of the positive nodes, ``(d, K)``."""
        is_memory = self.nodes > 0
        return self.weights[:, is_memory]


def transitions(equation: LinearEquation, gaps: Tensor) -> tuple[Tensor, Tensor]:
    r"""Exact transition of the state and its memory over a gap ``h``: ``Z' = Φ Z + N(0, Q)``.

    ``Z = (X, √(2γ_1) Y_1, …, √(2γ_K) Y_K)``, with the memory divided by its stationary deviation.
    The zero node does not act on ``X`` later, so it is not part of ``Z``. A unit impulse of ``W``
    changes ``X`` a time ``r`` later by ``g(r) = σ Σ_k w_k [e^{−γ_k r} − θ D(θ, γ_k; r)]`` with
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
    n_coordinates = len(equation.rate)
    lengths = gaps.unsqueeze(1)
    exponent = -equation.memory_rates * lengths
    decay = torch.exp(exponent)
    # The state comes first; its row is filled in below.
    with_state = pad(decay, (1, 0))
    memory = torch.diag_embed(with_state)
    of_each = memory.unsqueeze(1)
    transition = of_each.repeat(1, n_coordinates, 1, 1)
    state_row = _state_row(equation, gaps)
    transition[:, :, 0] = state_row
    noise = _noise(equation, gaps)
    return transition, noise


def state_covariance(equation: LinearEquation, start: Tensor, times: Tensor) -> Tensor:
    """Covariance of ``X`` at increasing times, ``(d, L, L)``.

    It is cheapest where the times have few distinct lags.

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
        carried = phi[k] @ covariance
        moved = carried @ phi[k].mT
        covariance = moved + noise[k]
        columns.append(covariance[:, :, 0])
    state_columns = torch.stack(columns, dim=1)  # (d, L, S)
    differences = times[:, None] - times
    lags, lag = rounded_unique(differences.abs())
    by_coordinate = _state_row(equation, lags)
    rows = by_coordinate.transpose(0, 1)  # (d, u, S)
    by_lag = state_columns @ rows.mT  # (d, L, u)
    n_coordinates = len(start)
    lag = lag.expand(n_coordinates, -1, -1)
    # Row s, column t ≥ s.
    square = by_lag.gather(2, lag)
    upper = square.triu()
    above_diagonal = upper.triu(1)
    return upper + above_diagonal.mT


def stationary_memory(nodes: Tensor, kind: Kind) -> Tensor:
    """Covariance of the scaled memory ``√(2γ) Y`` at the start, ``(K, K)``: 0 for kind II."""
    g = nodes[nodes > 0]
    if kind == "II":
        n = len(g)
        return g.new_zeros(n, n)
    # √(2γ_i) √(2γ_j) / (γ_i + γ_j)
    products = g[:, None] * g
    deviations = 2 * products.sqrt()
    return deviations / pair_sums(g)


def rounded_unique(gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct gaps, and which of them each gap is; gaps that differ by rounding are the same."""
    if gaps.numel() == 0:
        no_index = torch.zeros_like(gaps, dtype=torch.int64)
        return gaps.flatten(), no_index
    # Where all gaps are 0, the smallest number that can divide them takes the place of a unit.
    longest = gaps.max().clamp_min(1e-300)
    unit = longest * _SAME_GAP
    multiples = (gaps / unit).round()
    distinct, index = multiples.unique(return_inverse=True)
    return distinct * unit, index


def _state_row(equation: LinearEquation, gaps: Tensor) -> Tensor:
    """First row of ``Φ``, ``(u, d, S)``: what the state and the memory of now make of ``X``."""
    g = equation.memory_rates
    theta = equation.rate[:, None]
    h = gaps[:, None, None]
    # dX holds −γ_k w_k σ Y_k dt, and Z holds √(2γ_k) Y_k.
    per_unit_memory = (g / 2).sqrt()
    scale = equation.scale.unsqueeze(1)
    pull = scale * equation.memory_weights * per_unit_memory
    response = _divided_difference(theta, g, h)
    from_memory = -pull * response
    from_state = torch.exp(-theta * h)  # (u, d, 1)
    return torch.cat([from_state, from_memory], dim=-1)


def _noise(equation: LinearEquation, gaps: Tensor) -> Tensor:
    """``Q = ∫_0^h g g' dr``, ``(u, d, S, S)``.

    The response to an impulse is a sum of exponentials of the rates ``γ_1 … γ_K`` and ``θ``. All
    of them appear in the response of ``X``; each memory responds with its own rate alone.
    """
    g = equation.memory_rates
    rate = equation.rate.unsqueeze(1)
    theta = _apart_from(g, rate)
    response = _impulse_response(equation, theta)
    per_coordinate = g.expand(len(theta), -1)
    rates = torch.cat([per_coordinate, theta], dim=-1)
    sums = pair_sums(rates)
    lengths = gaps[:, None, None, None]
    integrals = integrated_decay(sums, lengths)
    return response @ integrals @ response.mT


def _impulse_response(equation: LinearEquation, theta: Tensor) -> Tensor:
    """Coefficients ``(d, S, K + 1)`` of ``e^{−γ_1 r} … e^{−γ_K r}, e^{−θ r}`` in ``g(r)``."""
    g = equation.memory_rates
    distance = g - theta
    gains = equation.memory_weights * g
    of_nodes = gains / distance
    # Right after the impulse the coefficients add up to all weights, that of the zero node too.
    at_once = equation.weights.sum(-1, keepdim=True)
    total = of_nodes.sum(-1, keepdim=True)
    of_theta = at_once - total
    coefficients = torch.cat([of_nodes, of_theta], dim=-1)
    scale = equation.scale.unsqueeze(1)
    state = scale * coefficients
    unit = (2 * g).sqrt()
    of_memory = pad(unit.diag(), (0, 1))
    memory = of_memory.expand(len(state), -1, -1)
    row = state.unsqueeze(1)
    return torch.cat([row, memory], dim=1)


def _apart_from(g: Tensor, theta: Tensor) -> Tensor:
    """``θ`` ``(d, 1)``, moved away from a node that it is too close to."""
    distance = (g - theta).abs()
    is_close = distance < _MEETING * g
    beside = g * (1 + _MEETING)
    # Nodes lie far apart, so at most one of them is close.
    of_close = is_close * beside
    aside = of_close.sum(-1, keepdim=True)
    is_any_close = is_close.any(-1, keepdim=True)
    return torch.where(is_any_close, aside, theta)


def _divided_difference(a: Tensor, b: Tensor, r: Tensor) -> Tensor:
    """``(e^{−ar} − e^{−br})/(b − a)``, exact also where ``a`` meets ``b``."""
    slower = torch.minimum(a, b)
    decay = torch.exp(-slower * r)
    # (1 − e^{−x})/x at x = |a − b| r, which tends to 1; 1e-12 stands for x = 0.
    distance = (a - b).abs()
    x = (distance * r).clamp_min(1e-12)
    lost = -torch.expm1(-x)
    share = lost / x
    return decay * r * share
