"""Runs of different paths, side by side as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.trajectories.trajectories import Trajectories


def join_runs(runs: Sequence[Trajectories], rows: Sequence[ndarray]) -> Trajectories:
    """Put runs at the same times together, the paths of each at their own rows.

    Parameters
    ----------
    runs : sequence of Trajectories
        With weights all, or none.
    rows : sequence of arrays of integers
        Where the paths of each run come to lie; together all numbers from 0.

    Returns
    -------
    Trajectories
        With features and provenance of the first run; ``origin`` numbers the rows.
    """
    first = runs[0]
    places = np.concatenate(rows)
    order = torch.as_tensor(np.argsort(places))
    columns: dict[str, Tensor] = {}
    for name in ("states", "log_weights", "status"):
        parts = [getattr(run, name) for run in runs]
        # All runs have weights, or none.
        if parts[0] is not None:
            column = torch.cat(parts)
            columns[name] = column[order]
    return Trajectories(
        times=first.times,
        origin=np.arange(len(order)),
        features=first.features,
        attrs=first.attrs,
        **columns,
    )
