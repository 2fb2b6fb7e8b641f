"""What the fields of a diffusion return: their shapes, and whether noise depends on the state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.learning.functions import check_dense
from dyninfer.learning.settings import brief, is_number

# How the shapes that a field may return are written in a message.
_SHAPES = {
    "drift": "(n, d)",
    "growth": "(n,)",
    "score": "(n, d)",
    "diffusion": "a scalar, (d,), (n, 1) or (n, d)",
}


def check_fields(process: Diffusion, x: Tensor, t: float) -> tuple[Tensor | None, bool | None]:
    """Call every field once near the first state.

    Parameters
    ----------
    process : Diffusion
    x : Tensor, ``(n, d)``
    t : float

    Returns
    -------
    Tensor, ``(m,)``, or None
        Growth of some states.
    bool or None
        Whether the noise does not depend on the state; None where there is no noise.

    Raises
    ------
    TypeError, ValueError
        If a field returns anything but a tensor of the right shape, or the longest step is none.
    """
    step = process.longest_step
    if step is not None and not (is_number(step) and step > 0):
        raise ValueError(
            f"longest_step of the process must be a positive number or None, found {brief(step)}"
        )
    rows = rows_near(x)
    n, d = rows.shape
    # In double precision first: single precision refuses times beyond its largest number.
    times = torch.full((n,), t, dtype=torch.float64).to(x)
    with torch.no_grad():
        drift, growth = process.drift_and_growth(times, rows)
    check_shape("drift", drift, [(n, d)], rows)
    if growth is not None:
        check_shape("growth", growth, [(n,)], rows)
    with torch.enable_grad():
        diffusion = process.diffusion(times, rows.requires_grad_(True))
    if diffusion is None:
        return growth, None
    shapes = [(), (1,), (d,), (n, 1), (n, d)]
    check_shape("diffusion", diffusion, shapes, rows)
    return growth, _is_additive(diffusion, rows)


def rows_near(x: Tensor) -> Tensor:
    """Some different states close to the first one."""
    first = x[:1].detach()
    n = 2
    if x.shape[1] == n:
        # One more tells the shape (n,) from (d,).
        n = 3
    shifts = torch.linspace(0.0, 0.1, n).to(x)
    # Relative to the state, so that they differ in float32 whatever its size and unit.
    largest = first.abs().max()
    size = torch.where(largest > 0, largest, 1.0)
    return first + shifts[:, None] * size


def _is_additive(diffusion: Tensor, x: Tensor) -> bool:
    """Whether the amplitude does not depend on the state.

    It must have no path to the state in the graph, and no difference between states: either alone
    may be hidden.
    """
    if diffusion.ndim < 2:
        return True
    if diffusion.requires_grad:
        # A caller may have turned gradients off, and the state itself has no graph of its own.
        with torch.enable_grad():
            total = diffusion.sum()
        (slope,) = torch.autograd.grad(total, x, allow_unused=True)
        if slope is not None:
            return False
    is_same = diffusion == diffusion[:1]
    return bool(is_same.all())


def check_shape(name: str, value: Any, shapes: Sequence[tuple[int, ...]], x: Tensor) -> None:
    """Raise an error unless a field returned a tensor of one of these shapes for states ``x``."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}(t, x) of the process must return a tensor, but it returned a "
            f"{type(value).__name__}"
        )
    check_dense(value, f"{name}(t, x) of the process")
    if tuple(value.shape) in shapes:
        return
    hint = ""
    if name == "diffusion":
        hint = "; for noise that depends on time alone write t[:, None]"
    raise ValueError(
        f"{name}(t, x) of the process returned shape {tuple(value.shape)} for x of shape "
        f"{tuple(x.shape)}; it must be {_SHAPES[name]}{hint}"
    )
