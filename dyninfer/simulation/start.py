"""Starting states: checks, precision, device, and which rows the paths start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dyninfer.learning.random import stream


@dataclass(frozen=True)
class Start:
    """Where the paths start.

    Attributes
    ----------
    states : Tensor, ``(n, d)``
        In the precision and on the device of the run.
    rows : Tensor, ``(n,)`` int64, on the CPU
        Row of ``x0`` that every path starts from.
    dtype : torch.dtype
        Precision of the results.
    is_differentiable : bool
        Whether results must carry their graph.
    """

    states: Tensor
    rows: Tensor
    dtype: torch.dtype
    is_differentiable: bool


def starting_states(
    process: nn.Module, x0: Any, n_paths: int | None, seed: int, keep_precision: bool = False
) -> Start:
    """Check ``x0`` and draw the starting row of every path.

    The run takes the precision of the process' parameters, or with ``keep_precision`` that of ``x0``.
    """
    x = as_states(x0, "x0")
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    precision, device = _home(process, dtype, x.device)
    x = x.to(device, x.dtype if keep_precision else precision)
    rows = starting_rows(len(x), n_paths, seed)
    if n_paths is not None and n_paths != len(x):
        x = x[rows.to(device)]
    return Start(x, rows, dtype, _is_differentiable(process, x0))


def starting_rows(n: int, n_paths: int | None, seed: int) -> Tensor:
    """Which of ``n`` rows the paths start from: every one once, or ``n_paths`` drawn at random.

    With replacement if there are more paths than rows, without if there are fewer.
    """
    if n_paths is None or n_paths == n:
        return torch.arange(n)
    generator = stream(seed, "start")
    if n_paths < n:
        return torch.randperm(n, generator=generator)[:n_paths]
    return torch.randint(n, (n_paths,), generator=generator)


def as_states(x: Any, name: str) -> Tensor:
    """Return ``x`` as a floating ``(n, d)`` tensor, or raise a sentence naming it."""
    try:
        states = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name} must be a numeric array (n, d), but it is a {type(x).__name__}"
        ) from error
    if states.is_complex():
        raise TypeError(f"{name} must be real, but its dtype is {states.dtype}")
    if states.ndim != 2:
        remedy = f"; for one state write {name}[None]" if states.ndim == 1 else ""
        raise ValueError(f"{name} must be (n, d), but its shape is {tuple(states.shape)}{remedy}")
    if 0 in states.shape:
        raise ValueError(
            f"{name} must have at least one row and one column, but its shape is {tuple(states.shape)}"
        )
    if not states.dtype.is_floating_point:
        states = states.to(torch.float32)
    bad = ~states.detach().isfinite().all(dim=1)
    if bad.any():
        first = int(torch.nonzero(bad)[0])
        raise ValueError(
            f"{name} must be finite, but {int(bad.sum())} of its {len(states)} rows contain NaN or infinity, the first "
            f"is row {first}; remove them"
        )
    return states


def chunks(n: int, size: int) -> list[range]:
    """Path numbers ``0 … n - 1`` in consecutive ranges of at most ``size``."""
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


def _home(
    process: nn.Module, dtype: torch.dtype, device: torch.device
) -> tuple[torch.dtype, torch.device]:
    """Precision of the process' parameters and device of its tensors, or those of the start."""
    parameters = [p for p in process.parameters() if p.is_floating_point()]
    tensors = [*parameters, *process.buffers()]
    if parameters:
        dtype = parameters[0].dtype
    if tensors:
        device = tensors[0].device
    return dtype, device


def _is_differentiable(process: nn.Module, x0: Any) -> bool:
    if not (torch.is_grad_enabled() and isinstance(x0, Tensor)):
        return False
    return x0.requires_grad or any(p.requires_grad for p in process.parameters())
