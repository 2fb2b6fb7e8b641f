"""Starting states: checks, precision, device, and which rows the paths start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dyninfer.data.arrays import as_floats
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
    process: nn.Module,
    x0: Any,
    n_paths: int | None,
    seed: int,
    *,
    keep_precision: bool = False,
    differentiable: bool = False,
) -> Start:
    """Check ``x0`` and draw the starting row of every path.

    The run takes the precision of the process' parameters, or that of ``x0`` on request. Results
    carry their graph on request, or where ``x0`` is a tensor and something seen requires grad.

    Raises
    ------
    ValueError
        If a state overflows in the precision of the run.
    """
    x = as_states(x0, "x0")
    is_double = x.dtype == torch.float64
    dtype = torch.float64 if is_double else torch.float32
    precision = dtype
    if not keep_precision:
        precision = _precision_of(process, dtype)
    sizes = x.detach().abs()
    largest = float(sizes.max())
    if largest > torch.finfo(precision).max:
        raise ValueError(
            f"x0 holds values of size {largest:.3g}, but the process runs in {precision}, which "
            f"ends at {torch.finfo(precision).max:.3g}; give smaller units, or process.double()"
        )
    device = device_of(process, x.device)
    x = x.to(device, precision)
    rows = starting_rows(len(x), n_paths, seed)
    # Where every row is taken once, x itself stays, and its graph is short.
    if n_paths is not None and n_paths != len(x):
        x = x[rows.to(x.device)]
    is_differentiable = differentiable or _is_differentiable(process, x0)
    return Start(x, rows, dtype, is_differentiable)


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
    states = _as_tensor(x, name)
    shape = tuple(states.shape)
    if states.ndim != 2:
        remedy = f"; for one state write {name}[None]" if states.ndim == 1 else ""
        raise ValueError(f"{name} must be (n, d), but its shape is {shape}{remedy}")
    if 0 in shape:
        raise ValueError(
            f"{name} must have at least one row and one column, but its shape is {shape}"
        )
    _check_finite(states, name)
    return states


def chunks(n: int, size: int) -> list[range]:
    """Path numbers ``0 … n - 1`` in consecutive ranges of at most ``size``."""
    numbers = range(n)
    return [numbers[first : first + size] for first in numbers[::size]]


def _as_tensor(x: Any, name: str) -> Tensor:
    """A floating tensor; one that is so already stays, with its graph."""
    if isinstance(x, Tensor) and x.is_complex():
        raise TypeError(f"{name} must be real, but its dtype is {x.dtype}")
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.is_meta:
        # Whole numbers beyond what float32 holds become float64, and truth values are refused.
        return torch.from_numpy(as_floats(x, name))
    return x.to_dense()


def _check_finite(states: Tensor, name: str) -> None:
    is_finite = states.detach().isfinite()
    is_bad = ~is_finite.all(dim=1)
    if not is_bad.any():
        return
    first = int(torch.nonzero(is_bad)[0])
    raise ValueError(
        f"{name} must be finite, but {int(is_bad.sum())} of its {len(states)} rows contain NaN or "
        f"infinity, the first is row {first}; remove them"
    )


def _precision_of(process: nn.Module, default: torch.dtype) -> torch.dtype:
    """Precision of the process' parameters, or the default where it has none."""
    for parameter in process.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
    return default


def device_of(process: nn.Module, default: torch.device) -> torch.device:
    """Device of the process' tensors, or the default where it has none."""
    for tensor in (*process.parameters(), *process.buffers()):
        return tensor.device
    return default


def _is_differentiable(process: nn.Module, x0: Any) -> bool:
    # An array cannot ask for gradients, and their memory is not spent on it.
    if not (torch.is_grad_enabled() and isinstance(x0, Tensor)):
        return False
    if x0.requires_grad:
        return True
    return any(p.requires_grad for p in process.parameters())
