"""What becomes of states that a lower precision does not hold."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dyninfer.data.trajectories import Trajectories


def without_overflow(run: Trajectories, before: Tensor) -> Trajectories:
    """A run whose states ``before`` were more precise, without paths that have overflown since.

    These are NaN from there on, with status 1, as paths that diverge in a solver are.

    Warns
    -----
    UserWarning
        If there are any.
    """
    was_finite = before.isfinite().to(run.states.device)
    overflows = run.states.isinf() & was_finite
    failed = overflows.any(-1).cummax(dim=1).values
    is_lost = failed[:, -1]
    n_lost = int(is_lost.sum())
    if n_lost == 0:
        return run
    warnings.warn(
        f"states of {n_lost} of {run.n_paths} paths overflow in {run.states.dtype}; they are NaN "
        "from there on and their status is 1",
        UserWarning,
        stacklevel=3,
    )
    states = run.states.masked_fill(failed[:, :, None], torch.nan)
    status = run.status.masked_fill(is_lost, 1)
    return replace(run, states=states, status=status)
