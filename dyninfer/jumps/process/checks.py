"""What `MarkovJump` asks of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_SLACK = 1e-5  # rows may miss zero by this much of their exit rate: what float32 leaves


def as_generator(generator: Any) -> Tensor:
    """Float64 generator ``(..., S, S)`` whose diagonal makes every row sum to zero exactly.

    Raises
    ------
    ValueError
        If it is not square, or has a negative rate, a value that is not finite, or a row that does not sum to zero.
    """
    q = torch.as_tensor(generator).to(torch.float64)
    if q.ndim < 2 or q.shape[-1] != q.shape[-2] or q.shape[-1] < 1:
        raise ValueError(f"generator must be (S, S) or (..., S, S), got shape {tuple(q.shape)}")
    found = q.detach()
    _refuse(
        ~found.isfinite(), found, "holds {value} at {place}; every rate must be a finite number"
    )
    diagonal = torch.eye(q.shape[-1], dtype=torch.bool, device=q.device)
    _refuse(
        (found < 0) & ~diagonal,
        found,
        "has the negative rate {value} at {place}; rates are at least 0",
    )
    sums, scale = found.sum(-1), found.abs().amax(-1)
    message = "has a row that sums to {value}, row {place}; the diagonal must be minus the sum of the other entries"
    _refuse(sums.abs() > _SLACK * scale, sums, message + " (MarkovJump.from_rates fills it in)")
    off = q - torch.diag_embed(torch.diagonal(q, dim1=-2, dim2=-1))
    return off - torch.diag_embed(off.sum(-1))


def _refuse(bad: Tensor, values: Tensor, message: str) -> None:
    if bool(bad.any()):
        place = tuple(bad.nonzero()[0].tolist())
        where = place[0] if len(place) == 1 else place
        raise ValueError(
            f"generator {message.format(value=f'{float(values[place]):g}', place=where)}"
        )


def as_law(initial: Any, like: Tensor) -> Tensor | None:
    """Float64 probabilities ``(..., S)``, or None."""
    if initial is None:
        return None
    law = torch.as_tensor(initial, device=like.device).to(torch.float64)
    if law.ndim < 1 or law.shape[-1] != like.shape[-1]:
        raise ValueError(
            f"initial must hold {like.shape[-1]} probabilities, got shape {tuple(law.shape)}"
        )
    total = law.detach().sum(-1)
    if not bool((law >= 0).all()) or not bool(((total - 1).abs() < 1e-4).all()):
        raise ValueError(
            f"initial must be probabilities that sum to 1, found {law.tolist()!s:.120}"
        )
    return law / law.sum(-1, keepdim=True)


def as_breaks(breaks: Any, generator: Tensor) -> Tensor:
    """Float64 times ``(k - 1,)`` at which the generators ``(..., k, S, S)`` take turns; empty where there is one."""
    if breaks is None:
        return torch.zeros(0, dtype=torch.float64, device=generator.device)
    times = torch.as_tensor(breaks, device=generator.device).to(torch.float64).reshape(-1)
    if generator.ndim < 3 or generator.shape[-3] != len(times) + 1:
        raise ValueError(
            f"breaks names {len(times)} times, which need {len(times) + 1} generators (..., {len(times) + 1}, S, S); "
            f"generator has shape {tuple(generator.shape)}"
        )
    if not bool((times.diff() > 0).all()) or not bool(times.isfinite().all()):
        raise ValueError(f"breaks must be increasing finite times, found {times.tolist()}")
    return times


def as_names(names: Sequence[str] | None, size: int) -> tuple[str, ...]:
    """One unique name per state; by default their numbers."""
    found = tuple(map(str, range(size) if names is None else names))
    if len(found) != size or len(set(found)) != size:
        raise ValueError(f"state_names must be {size} different names, found {found}")
    return found


def as_numbers(states: Any, names: tuple[str, ...], argument: str) -> list[int]:
    """Numbers of states given by number or name, one or several."""
    several = [states] if isinstance(states, str | int) else list(states)
    numbers = [names.index(s) if isinstance(s, str) and s in names else s for s in several]
    for s in numbers:
        if isinstance(s, str) or not 0 <= int(s) < len(names):
            raise ValueError(f"{argument} names the state {s!r}; there are {', '.join(names)}")
    if not numbers or len({int(s) for s in numbers}) != len(numbers):
        raise ValueError(
            f"{argument} must name at least one state, and each once, found {states!r}"
        )
    return [int(s) for s in numbers]
