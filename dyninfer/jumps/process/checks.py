"""What `MarkovJump` asks of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dyninfer.data.arrays import as_tensor
from dyninfer.jumps.process.chain import with_diagonal

_SLACK = 1e-5  # rows may miss zero by this much of their exit rate: what float32 leaves


def as_generator(generator: Any) -> Tensor:
    """Float64 generator ``(..., S, S)`` whose diagonal makes every row sum to zero exactly.

    Raises
    ------
    ValueError
        If it is not square, or has a negative rate, a value that is not finite, or a row that does
        not sum to zero.
    """
    q = as_tensor(generator, "generator")
    if q.ndim < 2 or q.shape[-1] != q.shape[-2] or q.shape[-1] < 1:
        raise ValueError(f"generator must be (S, S) or (..., S, S), got shape {tuple(q.shape)}")
    values = q.detach()
    is_diagonal = torch.eye(q.shape[-1], dtype=torch.bool, device=q.device)
    sums, largest = values.sum(-1), values.abs().amax(-1)
    _refuse(
        ~values.isfinite(),
        values,
        "generator holds {value} at {place}; every rate must be a finite number",
    )
    _refuse(
        (values < 0) & ~is_diagonal,
        values,
        "generator has the negative rate {value} at {place}; rates are at least 0",
    )
    _refuse(
        sums.abs() > _SLACK * largest,
        sums,
        "generator has a row that sums to {value}, row {place}; the diagonal must be minus the sum "
        "of the other entries (MarkovJump.from_rates fills it in)",
    )
    return with_diagonal(q)


def _refuse(is_wrong: Tensor, values: Tensor, message: str) -> None:
    """Raise the message about the first wrong value, if there is one."""
    if not bool(is_wrong.any()):
        return
    place = tuple(is_wrong.nonzero()[0].tolist())
    where = place[0] if len(place) == 1 else place
    raise ValueError(message.format(value=f"{float(values[place]):g}", place=where))


def as_distribution(initial: Any, like: Tensor) -> Tensor | None:
    """Float64 probabilities ``(..., S)``, or None."""
    if initial is None:
        return None
    distribution = as_tensor(initial, "initial").to(like.device)
    size = like.shape[-1]
    if distribution.ndim < 1 or distribution.shape[-1] != size:
        raise ValueError(
            f"initial must hold {size} probabilities, got shape {tuple(distribution.shape)}"
        )
    total = distribution.detach().sum(-1)
    # Sums of float32 probabilities miss 1 by up to about 1e-5.
    is_whole = bool(((total - 1).abs() < 1e-4).all())
    if not is_whole or not bool((distribution >= 0).all()):
        raise ValueError(
            f"initial must be probabilities that sum to 1, found {distribution.tolist()!s:.120}"
        )
    return distribution / distribution.sum(-1, keepdim=True)


def as_breaks(breaks: Any, generator: Tensor) -> Tensor:
    """Float64 times ``(k - 1,)`` at which the generators ``(..., k, S, S)`` take turns.

    Empty where there is one generator.
    """
    if breaks is None:
        return torch.zeros(0, dtype=torch.float64, device=generator.device)
    times = as_tensor(breaks, "breaks").to(generator.device).reshape(-1)
    n = len(times)
    if generator.ndim < 3 or generator.shape[-3] != n + 1:
        raise ValueError(
            f"breaks names {n} times, which need {n + 1} generators (..., {n + 1}, S, S); "
            f"generator has shape {tuple(generator.shape)}"
        )
    if not bool((times.diff() > 0).all()) or not bool(times.isfinite().all()):
        raise ValueError(f"breaks must be increasing finite times, found {times.tolist()}")
    return times


def as_names(names: Sequence[str] | None, size: int) -> tuple[str, ...]:
    """One unique name per state; by default their numbers."""
    if names is None:
        return tuple(str(number) for number in range(size))
    unique = tuple(str(name) for name in names)
    if len(unique) != size or len(set(unique)) != size:
        raise ValueError(f"state_names must be {size} different names, found {unique}")
    return unique


def as_numbers(states: Any, names: tuple[str, ...], argument: str) -> list[int]:
    """Numbers of states given by number or name, one or several."""
    if isinstance(states, str | int):
        states = [states]
    numbers = [_as_number(state, names, argument) for state in states]
    if not numbers or len(set(numbers)) != len(numbers):
        raise ValueError(
            f"{argument} must name at least one state, and each once, found {states!r}"
        )
    return numbers


def _as_number(state: Any, names: tuple[str, ...], argument: str) -> int:
    if isinstance(state, str) and state in names:
        return names.index(state)
    if isinstance(state, str) or not 0 <= int(state) < len(names):
        raise ValueError(f"{argument} names the state {state!r}; there are {', '.join(names)}")
    return int(state)
