"""What `MarkovJump` asks of its arguments."""

from __future__ import annotations

import operator
from collections.abc import Sequence, Set
from typing import Any

import torch
from torch import Tensor

from dyninfer.data.arrays import as_list, as_tensor
from dyninfer.data.display import listed
from dyninfer.data.words import counted
from dyninfer.jumps.process.chain import exit_rates, is_diagonal, with_diagonal
from dyninfer.learning.settings import brief

_SLACK = 1e-5  # rows may miss zero by this much of their exit rate: what float32 leaves
# Sums of float32 probabilities miss 1 by up to about 1e-5.
_PROBABILITY_SLACK = 1e-4
# As many halvings as a transition matrix is made by.
_MOST_JUMPS = 2.0**60


def as_generator(generator: Any) -> Tensor:
    """Float64 generator ``(..., S, S)`` whose diagonal makes every row sum to zero exactly.

    Raises
    ------
    ValueError
        If it is not square, or has a negative rate, a value that is not finite, or a row that does
        not sum to zero.
    """
    q = as_square(generator, "generator")
    values = q.detach()
    row_sum = values.sum(-1)
    largest = values.abs().amax(-1)
    slack = _SLACK * largest
    _refuse(
        ~values.isfinite(),
        values,
        "generator holds {value} at {place}; every rate must be a finite number",
    )
    _refuse(
        (values < 0) & ~is_diagonal(q),
        values,
        "generator has the negative rate {value} at {place}; rates are at least 0",
    )
    _refuse(
        row_sum.abs() > slack,
        row_sum,
        "generator has a row that sums to {value}, row {place}; the diagonal must be minus the sum "
        "of the other entries (MarkovJump.from_rates fills it in)",
    )
    return with_diagonal(q)


def as_square(matrix: Any, name: str) -> Tensor:
    """Float64 matrices ``(..., S, S)``, or an error that names them."""
    square = as_tensor(matrix, name)
    *_, n_rows, n_columns = (0, 0, *square.shape)
    if n_rows != n_columns or n_rows < 1:
        shape = tuple(square.shape)
        raise ValueError(f"{name} must be (S, S) or (..., S, S), got shape {shape}")
    return square


def as_finite(values: Any, name: str, like: Tensor) -> Tensor:
    """Finite float64 numbers on the device of ``like``, or an error that names them."""
    numbers = as_tensor(values, name).to(like.device)
    if not bool(numbers.isfinite().all()):
        raise ValueError(f"{name} must be finite, found {brief(values)}")
    return numbers


def check_jumps(generator: Tensor, dt: Tensor) -> None:
    """Raise a ValueError for a time with more jumps than double precision tells apart."""
    if not dt.numel():
        return
    rates = exit_rates(generator.detach())
    fastest = float(rates.max())
    longest = float(dt.detach().max())
    if fastest * longest > _MOST_JUMPS:
        raise ValueError(
            f"{longest:g} time units with {fastest:g} jumps each are too many for double "
            "precision; ask stationary() for where the process ends"
        )


def _refuse(is_wrong: Tensor, values: Tensor, message: str) -> None:
    """Raise the message about the first wrong value, if there is one."""
    if not bool(is_wrong.any()):
        return
    first = is_wrong.nonzero()[0]
    place = tuple(first.tolist())
    value = float(values[place])
    where = ", ".join(map(str, place))
    if len(place) > 1:
        where = f"({where})"
    number = f"{value:g}"
    raise ValueError(message.format(value=number, place=where))


def as_distribution(initial: Any, like: Tensor) -> Tensor | None:
    """Float64 probabilities ``(..., S)``, or None."""
    if initial is None:
        return None
    distribution = as_tensor(initial, "initial").to(like.device)
    size = like.shape[-1]
    if distribution.shape[-1:] != (size,):
        raise ValueError(
            f"initial must hold {size} probabilities, got shape {tuple(distribution.shape)}"
        )
    total = distribution.sum(-1, keepdim=True)
    is_whole = (total - 1).abs() < _PROBABILITY_SLACK
    is_possible = distribution >= 0
    if not bool((is_whole & is_possible).all()):
        raise ValueError(
            f"initial must be probabilities that sum to 1, found {brief(distribution.tolist())}"
        )
    # What sums to one but for rounding stays to the bit, so that files give back what they took.
    rounding = size * torch.finfo(torch.float64).eps
    is_normal = (total - 1).abs() <= rounding
    return torch.where(is_normal, distribution, distribution / total)


def as_breaks(breaks: Any, generator: Tensor) -> Tensor:
    """Float64 times ``(k - 1,)`` at which the generators ``(..., k, S, S)`` take turns.

    Empty where there is one generator.
    """
    if breaks is None:
        return generator.new_zeros(0)
    times = as_tensor(breaks, "breaks")
    times = times.to(generator.device).reshape(-1)
    n_periods = len(times) + 1
    if generator.shape[-3:-2] != (n_periods,):
        raise ValueError(
            f"breaks names {counted(len(times), 'time')}, which need "
            f"{counted(n_periods, 'generator')} "
            f"(..., {n_periods}, S, S); generator has shape {tuple(generator.shape)}"
        )
    steps = times.diff()
    is_increasing = bool((steps > 0).all())
    is_finite = bool(times.isfinite().all())
    if not is_increasing or not is_finite:
        raise ValueError(f"breaks must be increasing finite times, found {brief(times.tolist())}")
    return times


def as_names(names: Sequence[str] | None, size: int) -> tuple[str, ...]:
    """One unique name per state; by default their numbers."""
    if names is None:
        return tuple(str(number) for number in range(size))
    every_name = as_list(names, "state_names", "a name for each state")
    texts = tuple(str(name) for name in every_name)
    n_different = len(set(texts))
    if len(texts) != size or n_different != size:
        raise ValueError(f"state_names must be {size} different names, found {brief(texts)}")
    return texts


def as_numbers(states: Any, names: tuple[str, ...], argument: str) -> list[int]:
    """Numbers of states given by number or name, one or several."""
    if isinstance(states, str | int):
        states = [states]
    elif not isinstance(states, Set):
        states = as_list(states, argument, "names or numbers of states")
    numbers = [_as_number(state, names, argument) for state in states]
    n_different = len(set(numbers))
    if n_different == 0 or n_different < len(numbers):
        raise ValueError(
            f"{argument} must name at least one state, and each once, found {brief(states)}"
        )
    return numbers


def _as_number(state: Any, names: tuple[str, ...], argument: str) -> int:
    if isinstance(state, str):
        if state in names:
            return names.index(state)
    else:
        try:
            number = operator.index(state)
        except TypeError:
            # Half a state, or none.
            number = -1
        if 0 <= number < len(names):
            return number
    every = listed(names)
    raise ValueError(f"{argument} names the state {brief(state)}; there are {every}")
