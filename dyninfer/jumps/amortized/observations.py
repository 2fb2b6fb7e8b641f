"""How simulated processes are observed: grids of times, exact paths on them, wrong labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.process import with_diagonal
from dyninfer.jumps.process.chain import transition_matrix

# The paper's grid: 100 points on [0, 10].
FINE_POINTS = 100
HORIZON = 10.0
# Distinct waiting times of an uneven grid: each needs a transition matrix of its own.
_DISTINCT_GAPS = 8


class Grid(NamedTuple):
    """Times at which paths step, and those of them that are observed."""

    gaps: np.ndarray  # (G,) distinct waiting times
    gap_of_step: np.ndarray  # (steps,) which of them each step takes
    observed: np.ndarray  # (L,) numbers of the points that are observed

    @property
    def n_points(self) -> int:
        """Number of points, the first included."""
        return len(self.gap_of_step) + 1

    @property
    def times(self) -> np.ndarray:
        """Times of observation ``(L,)``."""
        points = np.concatenate([[0.0], np.cumsum(self.gaps[self.gap_of_step])])
        return points[self.observed]


def draw_grid(kind: str, rng: np.random.Generator) -> Grid:
    """Grid of a kind that :class:`~dyninfer.jumps.amortized.prior.JumpPrior` names."""
    gap = HORIZON / (FINE_POINTS - 1)
    if kind == "dense":
        return _regular(gap, 1)
    if kind == "regular":
        return _regular(gap, int(rng.integers(1, 5)))
    if kind == "thinned":
        share = rng.choice([0.25, 0.5])
        observed = np.flatnonzero(rng.random(FINE_POINTS) < share)
        if len(observed) < 2:
            observed = np.arange(2)
        return Grid(np.array([gap]), np.zeros(FINE_POINTS - 1, dtype=int), observed)
    if kind == "gaps":
        length = int(np.exp(rng.uniform(np.log(8), np.log(FINE_POINTS))))
        decades = rng.uniform(0.3, 3)
        gaps = 10 ** (-decades * rng.random(_DISTINCT_GAPS))
        gap_of_step = rng.integers(_DISTINCT_GAPS, size=length - 1)
        return Grid(gaps * HORIZON / gaps[gap_of_step].sum(), gap_of_step, np.arange(length))
    raise ValueError(f"grids names {kind!r}; there are 'dense', 'regular', 'thinned' and 'gaps'")


def _regular(gap: float, stride: int) -> Grid:
    n_points = len(range(0, FINE_POINTS, stride))
    steps = np.zeros(n_points - 1, dtype=int)
    return Grid(np.array([gap * stride]), steps, np.arange(n_points))


def simulate_on_grid(
    rates: Tensor, initial: Tensor, n_paths: int, grid: Grid, g: torch.Generator
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
    g : torch.Generator
    """
    batch, n_states = initial.shape
    thresholds = _thresholds(rates, torch.from_numpy(grid.gaps).to(g.device))
    owner = torch.arange(batch, device=g.device).repeat_interleave(n_paths)
    first_row, below = owner * n_states, initial.cumsum(-1)[owner, :-1]
    u = torch.rand(len(owner), 1, generator=g, device=g.device)
    state = (below <= u).sum(-1)
    observed, states = set(grid.observed.tolist()), []
    for point in range(grid.n_points):
        if point > 0:
            u = torch.rand(len(owner), generator=g, device=g.device)
            row = first_row + state
            state = torch.zeros_like(state)
            # One state at a time: a whole row for every path would fill the memory.
            for threshold in thresholds[:, grid.gap_of_step[point - 1]]:
                state += threshold[row] <= u
        if point in observed:
            states.append(state)
    return torch.stack(states).reshape(len(states), batch, n_paths)


def _thresholds(rates: Tensor, gaps: Tensor) -> Tensor:
    """Cumulative chances of the next state ``(S − 1, gap, batch × S)``, contiguous by row."""
    generator = with_diagonal(rates.double())[:, None]
    cumulative = transition_matrix(generator, gaps).cumsum(-1)[..., :-1].float()
    by_next_state = cumulative.permute(3, 1, 0, 2)
    return by_next_state.reshape(*by_next_state.shape[:2], -1).contiguous()


def with_wrong_labels(states: Tensor, noise: Tensor, n_states: int, g: torch.Generator) -> Tensor:
    """Labels of states: with probability ``noise`` any one of the others."""
    u = torch.rand(states.shape, generator=g, device=g.device)
    # Below `noise`, the same number says by how much the label is off.
    other = u / noise.clamp(min=1e-30) * (n_states - 1)
    shift = 1 + other.clamp(max=n_states - 2).long()
    return torch.where(u < noise, (states + shift) % n_states, states)
