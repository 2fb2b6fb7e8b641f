"""How simulated processes are observed: grids of times, exact paths on them, wrong labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.jumps.amortized.draws import Draws
from dyninfer.jumps.process import with_diagonal
from dyninfer.jumps.process.chain import transition_matrix

# The paper's grid: 100 points on [0, 10].
FINE_POINTS = 100
HORIZON = 10.0
FINE_GAP = HORIZON / (FINE_POINTS - 1)
# Distinct waiting times of an uneven grid: each needs a transition matrix of its own.
_DISTINCT_GAPS = 8


class Grid(NamedTuple):
    """Times at which paths step, and those of them that are observed."""

    gaps: ndarray  # (G,) distinct waiting times
    gap_of_step: ndarray  # (steps,) which of them each step takes
    observed: ndarray  # (L,) numbers of the points that are observed

    @property
    def n_points(self) -> int:
        """Number of points, the first included."""
        return len(self.gap_of_step) + 1

    @property
    def times(self) -> ndarray:
        """Times of observation ``(L,)``."""
        steps = self.gaps[self.gap_of_step]
        elapsed = np.cumsum(steps)
        points = np.concatenate([[0.0], elapsed])
        return points[self.observed]


def draw_grid(kind: str, rng: np.random.Generator) -> Grid:
    """Grid of a kind that :class:`~dyninfer.jumps.amortized.prior.JumpPrior` names."""
    if kind == "dense":
        return _regular(1)
    if kind == "regular":
        stride = int(rng.integers(1, 5))
        return _regular(stride)
    if kind == "thinned":
        return _thinned(rng)
    if kind == "gaps":
        return _uneven(rng)
    raise ValueError(f"grids names {kind!r}; there are 'dense', 'regular', 'thinned' and 'gaps'")


def _regular(stride: int) -> Grid:
    """Every ``stride``-th point of the fine grid."""
    n_points = len(range(0, FINE_POINTS, stride))
    return Grid(
        gaps=np.array([FINE_GAP * stride]),
        gap_of_step=np.zeros(n_points - 1, dtype=int),
        observed=np.arange(n_points),
    )


def _thinned(rng: np.random.Generator) -> Grid:
    """A quarter or half of the points of the fine grid at random, two at least."""
    share = rng.choice([0.25, 0.5])
    is_observed = rng.random(FINE_POINTS) < share
    observed = np.flatnonzero(is_observed)
    if len(observed) < 2:
        observed = np.arange(2)
    return Grid(
        gaps=np.array([FINE_GAP]),
        gap_of_step=np.zeros(FINE_POINTS - 1, dtype=int),
        observed=observed,
    )


def _uneven(rng: np.random.Generator) -> Grid:
    """Waiting times over up to three decades."""
    shortest, longest = np.log([8, FINE_POINTS])
    log_points = rng.uniform(shortest, longest)
    n_points = int(np.exp(log_points))
    decades = rng.uniform(0.3, 3)
    exponents = -decades * rng.random(_DISTINCT_GAPS)
    gaps = 10**exponents
    gap_of_step = rng.integers(_DISTINCT_GAPS, size=n_points - 1)
    total = gaps[gap_of_step].sum()
    return Grid(
        gaps=gaps * HORIZON / total,
        gap_of_step=gap_of_step,
        observed=np.arange(n_points),
    )


def simulate_on_grid(
    rates: Tensor, initial: Tensor, n_paths: int, grid: Grid, draws: Draws
) -> Tensor:
    """States ``(L, batch, path)`` of paths that step by the waiting times of a grid, exactly.

    Each step compares one uniform number with the cumulative row of ``exp(Q gap)``.

    Parameters
    ----------
    rates : Tensor ``(batch, S, S)``
    initial : Tensor ``(batch, S)``
        Distribution of the first state.
    n_paths : int
        Of every process.
    grid : Grid
    draws : Draws
    """
    batch, n_states = initial.shape
    gaps = torch.from_numpy(grid.gaps).to(draws.device)
    thresholds = _thresholds(rates, gaps)
    process = torch.arange(batch, device=draws.device)
    owner = process.repeat_interleave(n_paths)
    cumulative = initial.cumsum(-1)[:, :-1]
    uniform = draws.uniform(len(owner), 1)
    is_beyond = cumulative[owner] <= uniform
    state = is_beyond.sum(-1)
    observed = set(grid.observed.tolist())
    states = []
    for point in range(grid.n_points):
        if point > 0:
            gap = grid.gap_of_step[point - 1]
            row = owner * n_states + state
            row_thresholds = thresholds[:, gap]
            state = _next_state(row_thresholds, row, draws)
        if point in observed:
            states.append(state)
    states_in_time = torch.stack(states)
    return states_in_time.unflatten(1, (batch, n_paths))


def _thresholds(rates: Tensor, gaps: Tensor) -> Tensor:
    """Cumulative probabilities of the next state ``(S − 1, gap, batch × S)``."""
    generator = with_diagonal(rates.double())
    p = transition_matrix(generator[:, None], gaps)
    # The last one is 1 and never passed.
    cumulative = p.cumsum(-1)[..., :-1]
    by_next_state = cumulative.float().permute(3, 1, 0, 2)
    # Rows of one gap side by side: paths look them up by number.
    return by_next_state.flatten(2).contiguous()


def _next_state(thresholds: Tensor, row: Tensor, draws: Draws) -> Tensor:
    """Next states of paths that are in rows of the thresholds ``(S − 1, batch × S)``.

    The next state is the number of thresholds that a uniform number reaches.
    """
    u = draws.uniform(len(row))
    state = torch.zeros_like(row)
    # One state at a time: whole rows for all paths would fill the memory.
    for threshold in thresholds:
        state += threshold[row] <= u
    return state


def with_wrong_labels(states: Tensor, noise: Tensor, n_states: int, draws: Draws) -> Tensor:
    """Labels of states: with probability ``noise``, one of the other states."""
    u = draws.uniform(*states.shape)
    is_wrong = u < noise
    # Below `noise`, the same number says by how much the label is off.
    share = u / noise.clamp(min=1e-30)
    offset = (share * (n_states - 1)).long()
    below = offset.clamp(max=n_states - 2)
    shift = 1 + below
    other = (states + shift) % n_states
    return torch.where(is_wrong, other, states)
