"""Who descends from whom in a population that was resampled on the way."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def lines(parents: Tensor, ends: Tensor) -> Tensor:
    """Rows ``(m, time)`` that the ancestral lines of the final rows ``ends``, ``(m,)``, pass through."""
    rows = [ends]
    for k in range(parents.shape[1] - 1, 0, -1):
        rows.append(parents[rows[-1], k])
    return torch.stack(rows[::-1], dim=1)


def founders(parents: Tensor) -> Tensor:
    """Row at the first time from which each row at each time descends ``(path, time)``."""
    rows = [parents[:, 0]]
    for k in range(1, parents.shape[1]):
        rows.append(rows[-1][parents[:, k]])
    return torch.stack(rows, dim=1)


def thinned(parents: Tensor, kept: np.ndarray) -> Tensor:
    """Parents when only the times ``kept`` (ascending positions) are stored: the steps between are composed."""
    own = parents[:, 0]
    columns = [own]
    for earlier, later in zip(kept[:-1], kept[1:], strict=True):
        rows = own
        for k in range(later, earlier, -1):
            rows = parents[rows, k]
        columns.append(rows)
    return torch.stack(columns, dim=1)


def systematic(weights: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Draw ``n`` rows in proportion to ``weights`` with one random offset: row i comes ⌊n wᵢ⌋ or ⌈n wᵢ⌉ times."""
    generator = torch.Generator().manual_seed(seed)
    offset = torch.rand((), dtype=torch.float64, generator=generator).item()
    cumulative = np.cumsum(weights)
    points = (offset + np.arange(n)) / n * cumulative[-1]
    last = np.flatnonzero(weights)[-1]
    return np.minimum(np.searchsorted(cumulative, points, side="right"), last)
