"""Who descends from whom where rows were resampled on the way, and the drawing of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.trajectories import population
from dyninfer.data.words import as_text
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief, check_count

if TYPE_CHECKING:
    from dyninfer.data.trajectories.trajectories import Trajectories


def founders(parents: Tensor) -> Tensor:
    """Row at the first time from which each row at each time descends ``(path, time)``."""
    row = parents[:, 0]
    columns = [row]
    for k in range(1, parents.shape[1]):
        parent = parents[:, k]
        row = row[parent]
        columns.append(row)
    return torch.stack(columns, dim=1)


def lines(traj: Trajectories, ends: Tensor) -> Trajectories:
    """Ancestral lines ``(m, time)`` that end in the final rows ``ends``, ``(m,)``.

    Each line carries, at all times, the weight of its end.
    """
    assert traj.parents is not None
    rows = _line_rows(traj.parents, ends)
    first_rows = rows[:, 0].cpu().numpy()
    columns = torch.arange(traj.n_times, device=rows.device)
    log_weights = traj.log_weights
    if log_weights is not None:
        at_end = log_weights[ends, -1:]
        log_weights = at_end.expand(-1, traj.n_times)
    return replace(
        traj,
        states=traj.states[rows, columns],
        log_weights=log_weights,
        origin=traj.origin[first_rows],
        status=traj.status[ends],
        parents=None,
    )


def at_times(traj: Trajectories, columns: ndarray) -> Trajectories:
    """Resampled rows at some times only: steps over the times left out are composed."""
    assert traj.parents is not None
    if (np.diff(columns) <= 0).any():
        raise ValueError("times of resampled trajectories can be selected in their own order only")
    first = columns[0]
    rows = founders(traj.parents)
    first_rows = rows[:, first]
    log_weights = traj.log_weights
    if log_weights is not None:
        log_weights = log_weights[:, columns]
    return replace(
        traj,
        states=traj.states[:, columns],
        times=traj.times[columns],
        log_weights=log_weights,
        origin=traj.origin[first_rows.cpu().numpy()],
        parents=_composed(traj.parents, columns),
    )


def resampled(traj: Trajectories, n_paths: int, time: float, seed: int) -> Trajectories:
    """Whole paths drawn by their weight at ``time``; see `Trajectories.resample`."""
    check_count(n_paths, "n_paths")
    if traj.parents is not None:
        end = (traj.n_times - 1, 0.0)
        if population.locate(traj, time) != end:
            raise ValueError(
                "rows were resampled on the way, so whole paths can be drawn at the last time "
                f"only, not at {as_text(time)}; cut first: traj[:, :k].resample()"
            )
        # The lines are the history of the population that the draw is from.
        traj = traj.lineages()
    log_weights = population.log_weights_at(traj, time)
    shares = torch.softmax(log_weights, dim=0)
    weights = shares.detach().cpu().numpy()
    if not np.isfinite(weights).all():
        raise ValueError(f"no path has any mass left at time {as_text(time)}, nothing can be drawn")
    rows = systematic(weights, n_paths, seed)
    selection = traj[rows]
    if selection.log_weights is None:
        return selection
    log_total = torch.logsumexp(log_weights, dim=0)
    log_mass = log_total - population.log_n_alive(traj)
    # Equal weights at this time, and the mass of the population at every time.
    at_time = log_weights[rows][:, None]
    relative = selection.log_weights - at_time
    return replace(selection, log_weights=relative + log_mass)


def systematic(weights: ndarray, n: int, seed: int) -> ndarray:
    """Draw ``n`` rows in proportion to ``weights``: row i comes ⌊n wᵢ⌋ or ⌈n wᵢ⌉ times.

    One random offset serves all rows (Kitagawa, 1996), which keeps the variance low.
    """
    # The steps, their levels, and the rows.
    n_bytes = 3 * 8 * n
    check_memory(n_bytes, f"{brief(n)} rows")
    generator = stream(seed, "trajectories", "resample")
    offset = torch.rand((), dtype=torch.float64, generator=generator)
    cumulative = np.cumsum(weights)
    total = cumulative[-1]
    shift = offset.item()
    steps = np.arange(n) + shift
    level = total * steps / n
    rows = np.searchsorted(cumulative, level, side="right")
    # Rounding may lift the last level beyond the sum; a row without weight is never drawn.
    with_weight = np.flatnonzero(weights)
    last = with_weight[-1]
    return np.minimum(rows, last)


def _line_rows(parents: Tensor, ends: Tensor) -> Tensor:
    """Rows ``(m, time)`` that the lines pass through, from the last time back."""
    row = ends
    rows = [row]
    last = parents.shape[1] - 1
    for k in range(last, 0, -1):
        row = parents[row, k]
        rows.append(row)
    rows.reverse()
    return torch.stack(rows, dim=1)


def _composed(parents: Tensor, columns: ndarray) -> Tensor:
    """Parents ``(path, m)`` when only the times ``columns`` are stored."""
    own = parents[:, 0]
    composed = [own]
    neighbours = zip(columns[:-1], columns[1:], strict=True)
    for earlier, later in neighbours:
        rows = own
        for k in range(later, earlier, -1):
            rows = parents[rows, k]
        composed.append(rows)
    return torch.stack(composed, dim=1)
