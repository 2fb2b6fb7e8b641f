"""Scores of forecasts against what was then observed, and a distance between states' frequencies.

Each score is proper: on average nobody does better than by forecasting what they believe.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dyninfer.data.arrays import as_tensor
from dyninfer.data.words import counted
from dyninfer.learning.settings import check_count
from dyninfer.learning.surroundings import own_surroundings

_MOST_DISTANCES = 2**23  # between draws at once: 64 MiB


@own_surroundings()
def crps(draws: Any, observed: Any) -> Tensor:
    r"""Continuous ranked probability score of forecasts of single numbers, in their units.

    .. math:: \mathrm{CRPS} = E|X - y| - \tfrac12 E|X - X'|

    A forecast by a single number scores its absolute error; 0 is perfect.

    Parameters
    ----------
    draws : array ``(m, ...)``
        ``m`` independent draws of every forecast, at least two.
    observed : array ``(...)``

    Returns
    -------
    Tensor ``(...)`` float64
        NaN where the observation is. The mean over draws is unbiased, whatever their number.

    Raises
    ------
    ValueError
        If a draw is not finite, or the shapes do not fit.

    References
    ----------
    Gneiting, Raftery. Strictly proper scoring rules, prediction, and estimation. J. Am. Stat.
    Assoc. 102, 2007, eq. 21; the unbiased form: Ferro, Q. J. R. Meteorol. Soc. 140, 2014.

    Examples
    --------
    >>> float(crps([[1.0], [3.0]], [2.0]))
    0.0
    >>> float(crps([[5.0], [5.0]], [2.0]))
    3.0
    """
    draws, observed = as_forecasts(draws, observed)
    m = len(draws)
    n_pairs = m * (m - 1)
    # About the observation: sums of draws far from zero would lose the digits of their differences.
    deviation = draws - observed
    unit = _unit(deviation.abs(), (0,))
    deviation = deviation / unit
    error = deviation.abs().mean(0)
    # Of all pairs, Σ |x_i − x_j|: among the sorted draws the i-th counts 2 i − m − 1 times.
    rank = torch.arange(1, m + 1, dtype=torch.float64, device=draws.device)
    factors = 2 * rank - m - 1
    ordered, _ = deviation.sort(dim=0)
    total = 2 * torch.tensordot(factors, ordered, dims=1)
    spread = total / n_pairs
    return unit * (error - 0.5 * spread)


@own_surroundings()
def energy_score(draws: Any, observed: Any) -> Tensor:
    r"""Energy score of forecasts of vectors: the CRPS with the Euclidean norm.

    .. math:: \mathrm{ES} = E\|X - y\| - \tfrac12 E\|X - X'\|

    Parameters
    ----------
    draws : array ``(m, ..., d)``
        ``m`` independent draws of every forecast, at least two.
    observed : array ``(..., d)``

    Returns
    -------
    Tensor ``(...)`` float64
        NaN where a part of the observation is. The mean over draws is unbiased.

    Raises
    ------
    ValueError
        If a draw is not finite, or the shapes do not fit.

    References
    ----------
    Gneiting, Raftery. Strictly proper scoring rules, prediction, and estimation. J. Am. Stat.
    Assoc. 102, 2007, eq. 22.

    Examples
    --------
    >>> float(energy_score([[[3.0, 4.0]], [[3.0, 4.0]]], [[0.0, 0.0]]))
    5.0
    """
    draws, observed = as_forecasts(draws, observed)
    m = len(draws)
    deviation = draws - observed
    unit = _unit(deviation.abs(), (0, -1))
    deviation = deviation / unit[..., None]
    error = deviation.norm(dim=-1).mean(0)
    # (forecast, draw, d)
    d = deviation.shape[-1]
    flat = deviation.reshape(m, -1, d)
    flat = flat.transpose(0, 1)
    n_pairs = m * (m - 1)
    # In blocks: all distances of many forecasts at once would fill the memory.
    block = max(1, _MOST_DISTANCES // m**2)
    spreads = []
    for part in flat.split(block):
        # From differences: products of matrices lose the digits of what is far from zero.
        apart = torch.cdist(part, part, compute_mode="donot_use_mm_for_euclid_dist")
        spreads.append(apart.sum((1, 2)) / n_pairs)
    spread = torch.cat(spreads).reshape(error.shape)
    score = error - 0.5 * spread
    return unit * score


@own_surroundings()
def brier_score(draws: Any, observed: Any, n_states: int) -> Tensor:
    r"""Brier score of forecasts of states, ``Σ_s (p_s − 1[s = y])²``, from 0 to 2.

    Parameters
    ----------
    draws : integers ``(m, ...)``
        Independent draws; their frequencies are the forecast ``p``.
    observed : integers ``(...)``
        A negative number marks a missing observation.
    n_states : int
        States are numbered from 0 to ``n_states − 1``.

    Returns
    -------
    Tensor ``(...)`` float64
        NaN where the observation is missing.

    References
    ----------
    Brier. Verification of forecasts expressed in terms of probability. Mon. Weather Rev. 78, 1950.

    Examples
    --------
    >>> float(brier_score([[0], [1]], [0], n_states=2))
    0.5
    """
    draws, observed = as_state_forecasts(draws, observed, n_states)
    # A state that is nowhere adds nothing, and there may be many.
    predicted = draws.flatten()
    actual = observed.flatten()
    occurring = torch.cat([predicted, actual])
    states = occurring.unique()
    is_drawn = draws.unsqueeze(-1) == states
    is_observed = observed.unsqueeze(-1) == states
    probability = is_drawn.double().mean(0)
    difference = probability - is_observed.double()
    score = difference.square().sum(-1)
    return torch.where(observed < 0, torch.nan, score)


@own_surroundings()
def hellinger_distance(p: Any, q: Any) -> Tensor:
    r"""Hellinger distance between distributions over states, from 0 (equal) to 1 (disjoint).

    .. math:: H^2(p, q) = 1 - \sum_s \sqrt{p_s q_s}

    Parameters
    ----------
    p, q : array ``(..., S)``
        Probabilities or counts of the states; each is divided by its sum.

    Returns
    -------
    Tensor ``(...)`` float64

    References
    ----------
    Hellinger. Neue Begründung der Theorie quadratischer Formen von unendlichvielen Veränderlichen.
    J. reine angew. Math. 136, 1909.

    Examples
    --------
    >>> float(hellinger_distance([1.0, 0.0], [0.0, 1.0]))
    1.0
    """
    p = _as_distribution(p, "p")
    q = _as_distribution(q, "q")
    n_p = p.shape[-1]
    n_q = q.shape[-1]
    if n_p != n_q:
        raise ValueError(f"p has {counted(n_p, 'state')} and q has {n_q}; give the same")
    # As a sum of squares: 1 − Σ √(p q) would leave rounding of 1e-8 where p and q are equal.
    difference = p.sqrt() - q.sqrt()
    squared = difference.square().sum(-1)
    return (squared / 2).sqrt()


def as_state_forecasts(draws: Any, observed: Any, n_states: int) -> tuple[Tensor, Tensor]:
    """Numbers of states that were drawn ``(m, ...)`` and observed ``(...)``, on one device."""
    check_count(n_states, "n_states")
    draws = _as_numbers(draws, "draws")
    observed = _as_numbers(observed, "observed").to(draws.device)
    shape = tuple(draws.shape)
    expected = tuple(observed.shape)
    if shape[1:] != expected or len(shape) == 0 or shape[0] == 0:
        raise ValueError(
            f"draws must be (draw, ...) of the shape of the observations, {expected}; found {shape}"
        )
    _check_states(draws, n_states, "draws", lowest=0)
    # Also of missing observations.
    _check_states(observed, n_states, "observed", lowest=-(2**53))
    return draws, observed


def _as_numbers(values: Any, name: str) -> Tensor:
    """Numbers of states."""
    numbers = as_tensor(values, name)
    # The fraction of NaN, and of infinity, is no zero.
    is_whole = numbers.frac() == 0
    is_exact = numbers.abs() < 2**53
    if not bool((is_whole & is_exact).all()):
        raise ValueError(f"{name} must hold whole numbers of states")
    return numbers.long()


def _check_states(numbers: Tensor, n_states: int, name: str, lowest: int) -> None:
    is_state = (numbers >= lowest) & (numbers < n_states)
    if not bool(is_state.all()):
        example = int(numbers[~is_state][0])
        raise ValueError(
            f"{name} holds state {example}, but the {n_states} states are numbered from 0 to "
            f"{n_states - 1}; give the right n_states"
        )


def _as_distribution(values: Any, name: str) -> Tensor:
    """Probabilities that sum to one."""
    weights = as_tensor(values, name)
    if weights.ndim == 0:
        raise ValueError(f"{name} must be (..., S), found one number")
    total = weights.sum(-1, keepdim=True)
    no_negative = (weights >= 0).all()
    has_total = (total > 0).all()
    is_positive = no_negative & has_total
    is_usable = is_positive & total.isfinite().all()
    if not bool(is_usable):
        raise ValueError(f"{name} must hold finite numbers, none negative and not all zero")
    return weights / total


def as_forecasts(draws: Any, observed: Any) -> tuple[Tensor, Tensor]:
    """Draws ``(m, ...)``, two at least, and what was observed ``(...)``, in float64."""
    draws = as_tensor(draws, "draws")
    observed = as_tensor(observed, "observed").to(draws.device)
    if draws.ndim == 0:
        raise ValueError("draws must be (draw, ...), found one number")
    shape = tuple(draws.shape)
    expected = tuple(observed.shape)
    if shape[1:] != expected:
        raise ValueError(
            f"draws must have the shape of the observations, {expected}, after their number; "
            f"found {shape}"
        )
    if len(draws) < 2:
        raise ValueError(f"a score needs at least two draws of a forecast, found {len(draws)}")
    n_bad = int((~draws.isfinite()).sum())
    if n_bad:
        raise ValueError(
            f"{n_bad} of {draws.numel()} numbers of draws are NaN or infinite; leave out the draws "
            "that diverged, or the forecasts that hold them"
        )
    if bool(observed.isinf().any()):
        raise ValueError("observed holds infinity; mark what was not observed by NaN")
    return draws, observed


def _unit(size: Tensor, dims: tuple[int, ...]) -> Tensor:
    """For each forecast about the largest size, so that no sum or square overflows or vanishes."""
    largest = size.nan_to_num(nan=0.0).amax(dim=dims)
    # A power of two, by which division is exact.
    exponent = torch.frexp(largest).exponent - 1
    return torch.ldexp(torch.ones_like(largest), exponent)
