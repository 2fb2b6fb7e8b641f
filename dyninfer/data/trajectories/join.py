"""Runs of different paths, side by side as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dyninfer.data.trajectories.trajectories import Trajectories


def join_runs(runs: Sequence[Trajectories], rows: Sequence[np.ndarray]) -> Trajectories:
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
    order = torch.as_tensor(np.argsort(np.concatenate(rows)))
    log_weights = None
    if runs[0].log_weights is not None:
        log_weights = torch.cat([run.log_weights for run in runs])[order]  # type: ignore[misc]
    return Trajectories(
        states=torch.cat([run.states for run in runs])[order],
        times=runs[0].times,
        log_weights=log_weights,
        origin=np.arange(len(order)),
        status=torch.cat([run.status for run in runs])[order],
        features=runs[0].features,
        attrs=runs[0].attrs,
    )
