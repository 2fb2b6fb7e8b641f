"""Steps of state and scaled memory as matrices, for every distinct move between two times."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from dyninfer.fractional.gaussian.linear import rounded_unique
from dyninfer.fractional.inference.series import Series

if TYPE_CHECKING:
    from dyninfer.fractional.inference.prior import LinearPrior


class StepTable(NamedTuple):
    """``z' = Φ z + N(0, Q)`` for every distinct step, and which of them is where.

    Attributes
    ----------
    transition : Tensor, ``(u, G, S, S)``
        ``Φ``.
    noise : Tensor
        ``Q`` ``(u, G, S, S)`` of exact steps; of Euler's, its root ``(u, G, S, r)``.
    number : Tensor of int64, ``(P or 1, L − 1)``
    """

    transition: Tensor
    noise: Tensor
    number: Tensor


class Moves(NamedTuple):
    """Distinct pairs of a time and of the gap after it.

    Attributes
    ----------
    begin, length : Tensor, ``(u,)``
    gap : Tensor of int64, ``(u,)``
        Which of the gaps of the series the length is.
    number : Tensor of int64, ``(P or 1, L − 1)``
        Which of the moves lies between two times; one row where all paths share their times.
    """

    begin: Tensor
    length: Tensor
    gap: Tensor
    number: Tensor

    @classmethod
    def of(cls, series: Series) -> Moves:
        """Moves of all paths; times that differ by rounding are the same."""
        n_paths, n_times = series.times.shape
        gap = series.gap.expand(n_paths, -1)
        begin = series.times[:, : n_times - 1]
        # One row for all costs a filter as little as one path does.
        if shares_times(series):
            gap = gap[:1]
            begin = begin[:1]
        first = series.times.min()
        moments, moment = rounded_unique(begin - first)
        n_gaps = max(1, len(series.gaps))
        # One number for each pair, so that pairs are told apart by one sort.
        pair = moment * n_gaps + gap
        distinct, number = pair.unique(return_inverse=True)
        of_move = distinct % n_gaps
        moment_of_move = distinct.div(n_gaps, rounding_mode="floor")
        return cls(
            begin=first + moments[moment_of_move],
            length=series.gaps[of_move],
            gap=of_move,
            number=number,
        )


def shares_times(series: Series) -> bool:
    """Whether all paths have the same times."""
    is_same = series.times == series.times[:1]
    return bool(is_same.all())


def euler_transition(prior: LinearPrior, lengths: Tensor) -> Tensor:
    """``Φ`` ``(u, d, S, S)`` over lengths ``(u, 1)``: exact memory, drift by Euler's rule."""
    # The zero node is the Brownian motion itself: it is in the kick and remembers nothing.
    rates = prior.noise.memory_rates
    exponent = -lengths * rates
    loss = -torch.expm1(exponent)
    # dX = … + σ Σ_k w_k dY_k, and the chain holds √(2γ_k) Y_k.
    scale = prior.scale.unsqueeze(1)
    of_memory = prior.weights[:, prior.noise.first_memory :]
    amplitude = scale * of_memory
    pull = -amplitude * loss.unsqueeze(1) / memory_unit(rates)
    stay = 1 - prior.rate * lengths
    first_row = torch.cat([stay.unsqueeze(-1), pull], dim=-1)
    decays = pad(1 - loss, (1, 0))
    with_first = torch.diag_embed(decays)
    return stacked_rows(first_row, with_first[:, 1:])


def euler_root(prior: LinearPrior, factor: Tensor) -> Tensor:
    """``N`` ``(u, d, S, r)`` from the roots ``(u, K + 1, r)`` of the noise of the memory."""
    unit = memory_unit(prior.noise.memory_rates).unsqueeze(1)
    scale = prior.scale.unsqueeze(1)
    amplitude = scale * prior.weights
    kick = amplitude @ factor  # (u, d, r)
    memory = unit * factor[:, prior.noise.first_memory :]
    return stacked_rows(kick, memory)


def stacked_rows(first: Tensor, others: Tensor) -> Tensor:
    """Matrices of a first row ``(u, d, n)`` and of rows ``(u, K, n)`` that coordinates share."""
    n_states = first.shape[1]
    of_each = others.unsqueeze(1).expand(-1, n_states, -1, -1)
    row = first.unsqueeze(2)
    return torch.cat([row, of_each], dim=2)


def memory_unit(rates: Tensor) -> Tensor:
    """``√(2γ)``, the inverse of the stationary deviation of a memory."""
    return (2 * rates).sqrt()
