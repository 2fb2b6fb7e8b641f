"""Who descends from whom where rows were resampled on the way, and the drawing of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dyninfer.learning.random import stream

if TYPE_CHECKING:
    from dyninfer.data.trajectories.trajectories import Trajectories


def founders(parents: Tensor) -> Tensor:
    """Row at the first time from which each row at each time descends ``(path, time)``."""
    columns = [parents[:, 0]]
    for k in range(1, parents.shape[1]):
        columns.append(columns[-1][parents[:, k]])
    return torch.stack(columns, dim=1)


def lines(traj: Trajectories, ends: Tensor) -> Trajectories:
    """Ancestral lines ``(m, time)`` that end in the final rows ``ends``, ``(m,)``.

    Each line carries, at all times, the weight of its end.
    """
    assert traj.parents is not None
    rows = _line_rows(traj.parents, ends)
    log_weights = traj.log_weights
    if log_weights is not None:
        log_weights = log_weights[ends, -1:].expand(-1, traj.n_times)
    return replace(
        traj,
        states=traj.states[rows, torch.arange(traj.n_times, device=rows.device)],
        log_weights=log_weights,
        origin=traj.origin[rows[:, 0].cpu().numpy()],
        status=traj.status[ends],
        parents=None,
    )


def at_times(traj: Trajectories, columns: np.ndarray) -> Trajectories:
    """Resampled rows at some times only: steps over the times left out are composed."""
    assert traj.parents is not None
    if (np.diff(columns) <= 0).any():
        raise ValueError("times of resampled trajectories can be selected in their own order only")
    first_rows = founders(traj.parents)[:, columns[0]]
    return replace(
        traj,
        states=traj.states[:, columns],
        times=traj.times[columns],
        log_weights=None if traj.log_weights is None else traj.log_weights[:, columns],
        origin=traj.origin[first_rows.cpu().numpy()],
        parents=_composed(traj.parents, columns),
    )


def systematic(weights: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` rows in proportion to ``weights``: row i comes ⌊n wᵢ⌋ or ⌈n wᵢ⌉ times.

    One random offset serves all rows (Kitagawa, 1996), which keeps the variance low.
    """
    generator = stream(seed, "trajectories", "resample")
    offset = torch.rand((), dtype=torch.float64, generator=generator).item()
    cumulative = np.cumsum(weights)
    points = (offset + np.arange(n)) / n * cumulative[-1]
    # Rounding may lift the last point beyond the sum; a row without weight is never drawn.
    last = np.flatnonzero(weights)[-1]
    return np.minimum(np.searchsorted(cumulative, points, side="right"), last)


def _line_rows(parents: Tensor, ends: Tensor) -> Tensor:
    """Rows ``(m, time)`` that the lines pass through, from the last time back."""
    rows = [ends]
    for k in range(parents.shape[1] - 1, 0, -1):
        rows.append(parents[rows[-1], k])
    return torch.stack(rows[::-1], dim=1)


def _composed(parents: Tensor, columns: np.ndarray) -> Tensor:
    """Parents ``(path, m)`` when only the times ``columns`` are stored."""
    own = parents[:, 0]
    composed = [own]
    for earlier, later in zip(columns[:-1], columns[1:], strict=True):
        rows = own
        for k in range(later, earlier, -1):
            rows = parents[rows, k]
        composed.append(rows)
    return torch.stack(composed, dim=1)
