"""Trajectories on another device, or in another precision, which may not hold their states."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dyninfer.learning.parallel import pick_device
from dyninfer.learning.settings import brief
from dyninfer.learning.warn import warn

if TYPE_CHECKING:
    from dyninfer.data.trajectories import Trajectories


def moved(
    run: Trajectories, device: torch.device | str | None, dtype: torch.dtype | None
) -> Trajectories:
    """See :meth:`Trajectories.to`."""
    if device is not None:
        device = pick_device(device)
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be one of torch, found {brief(dtype)}")
    states_dtype = None if run.discrete else dtype
    states = run.states.to(device=device, dtype=states_dtype)
    tensors: dict[str, Any] = {"states": states}
    for name in ("times", "log_weights", "status", "parents"):
        tensor = getattr(run, name)
        if tensor is not None:
            tensors[name] = tensor.to(device=device)
    result = replace(run, **tensors)
    if states_dtype is None:
        return result
    return without_overflow(result, before=run.states)


def without_overflow(run: Trajectories, before: Tensor) -> Trajectories:
    """A run whose states ``before`` were more precise, without paths that have overflown since.

    These are NaN from there on, with status 1, as paths that diverge in a solver are.

    Warns
    -----
    UserWarning
        If there are any.
    """
    is_finite = before.isfinite()
    was_finite = is_finite.to(run.states.device)
    overflows = run.states.isinf() & was_finite
    overflowing = overflows.any(-1)
    failed = overflowing.cummax(dim=1).values
    is_lost = failed[:, -1]
    n_lost = int(is_lost.sum())
    if n_lost == 0:
        return run
    warn(
        f"states of {n_lost} of {run.n_paths} paths overflow in {run.states.dtype}; they are NaN "
        "from there on and their status is 1"
    )
    states = run.states.masked_fill(failed[:, :, None], torch.nan)
    status = run.status.masked_fill(is_lost, 1)
    return replace(run, states=states, status=status)
