"""Whether forecasts are as sure as they may be: how often regions hold what was then observed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dyninfer.learning.settings import brief
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.metrics.scores import as_forecasts, as_state_forecasts

# Of the regions whose coverage is told.
LEVEL = 0.9
# Of the mean distance between coverage and level; ends of 0 and 1 hold nothing and everything.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@own_surroundings()
def coverage(draws: Any, observed: Any, level: float = LEVEL) -> Tensor:
    """Whether the central region of a forecast holds the observation, number by number.

    If draws and observation follow one law, the observation takes each of the ``m + 1`` ranks
    equally often. So for a calibrated forecast the mean over many observations equals the level,
    whatever the number of draws. It is lower if forecasts are too narrow, higher if too wide.

    Parameters
    ----------
    draws : array ``(m, ...)``
        ``m`` independent draws of every forecast, at least two.
    observed : array ``(...)``
    level : float
        Share of the forecast that the region holds, between 0 and 1.

    Returns
    -------
    Tensor ``(...)`` float64
        1 inside, 0 outside, a fraction if the rank straddles the edge; NaN where the observation is
        missing.

    References
    ----------
    Gneiting, Balabdaoui, Raftery. Probabilistic forecasts, calibration and sharpness. J. R. Stat.
    Soc. B 69, 2007.

    Examples
    --------
    >>> draws = [[k] for k in range(99)]
    >>> float(coverage(draws, [49.5])), float(coverage(draws, [98.5]))
    (1.0, 0.0)
    """
    draws, observed = as_forecasts(draws, observed)
    m = len(draws)
    n_below = (draws < observed).double().sum(0)
    n_until = (draws <= observed).double().sum(0)
    # Among equal numbers, the middle of the ranks that the observation may have.
    rank = (n_below + n_until) / 2
    distance = (2 * rank - m).abs()
    # The levels at which the region first holds this rank, one rank or two wide.
    first = (distance - 1).clamp(min=0) / (m + 1)
    last = (distance + 1) / (m + 1)
    inside = _share_inside(first, last, level)
    return torch.where(observed.isnan(), torch.nan, inside)


@own_surroundings()
def state_coverage(draws: Any, observed: Any, n_states: int, level: float = LEVEL) -> Tensor:
    """Whether the likeliest states of a forecast, up to a level, include the observed state.

    As for :func:`coverage`, the mean over many observations equals the level for a calibrated
    forecast.

    Parameters
    ----------
    draws : integers ``(m, ...)``
        Independent draws of every forecast.
    observed : integers ``(...)``
        A negative number marks a missing observation.
    n_states : int
        States are numbered from 0 to ``n_states − 1``.
    level : float
        Share of the forecast that the states hold, between 0 and 1.

    Returns
    -------
    Tensor ``(...)`` float64
        1 inside, 0 outside, a fraction if the state straddles the edge; NaN where the observation
        is missing.

    Examples
    --------
    >>> draws = [[0, 0]] * 19
    >>> state_coverage(draws, [0, 1], n_states=2).tolist()
    [0.9, 0.0]
    """
    draws, observed = as_state_forecasts(draws, observed, n_states)
    m = len(draws)
    # A state that is nowhere counts nothing, and there may be many.
    both = torch.cat([draws.flatten(), observed.flatten()])
    states = both.unique()
    is_observed = observed.unsqueeze(-1) == states
    is_drawn = draws.unsqueeze(-1) == states
    # The observation counts with the draws: only then are all m + 1 alike.
    n_drawn = is_drawn.double().sum(0)
    n_observed = is_observed.double()
    count = n_drawn + n_observed
    own_count = (count * is_observed).sum(-1, keepdim=True)
    # States of equal count share their place.
    above = torch.where(count > own_count, count, 0)
    n_before = above.sum(-1)
    not_below = torch.where(count >= own_count, count, 0)
    n_until = not_below.sum(-1)
    share_before = n_before / (m + 1)
    share_until = n_until / (m + 1)
    inside = _share_inside(share_before, share_until, level)
    return torch.where(observed < 0, torch.nan, inside)


def _share_inside(first: Tensor, last: Tensor, level: Any) -> Tensor:
    """Part of the levels from ``first`` to ``last`` that lies within a level."""
    if not isinstance(level, float | int) or not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, found {brief(level)}")
    share = (level - first) / (last - first)
    return share.clamp(0, 1)
