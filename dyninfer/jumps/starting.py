"""Where the paths of a jump process start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.process import MarkovJump


@dataclass(frozen=True)
class Start:
    """First states, or the distributions that they are drawn from.

    Attributes
    ----------
    n_paths : int
        Paths of each process.
    states : Tensor, ``(..., n)`` int64, or None
        First states; None where they are drawn.
    distribution : Tensor, ``(process, S)``, or None
        What they are drawn from.
    """

    n_paths: int
    states: Tensor | None
    distribution: Tensor | None

    @classmethod
    def of(cls, process: MarkovJump, start: Any, time: float) -> Start:
        """Read a number of paths, or the states that they start in, at the first time.

        Raises
        ------
        TypeError, ValueError
            If it is neither, or a state does not exist.
        """
        if isinstance(start, int | np.integer) and not isinstance(start, bool):
            return cls(int(start), None, _distribution_at(process, int(start), time))
        states = as_state_numbers(process, start)
        return cls(states.shape[-1], states.expand(*process.batch_shape, -1), None)


def as_state_numbers(process: MarkovJump, states: Any) -> Tensor:
    """Return states ``(..., n)``, given by number or by name, as int64 on the process' device."""
    if not isinstance(states, Tensor):
        states = np.asarray(states)
        if states.dtype.kind in "US" or states.dtype == object:
            states = _numbers_of(states, process.state_names)
    states = torch.as_tensor(states, device=process.generator.device)
    if states.is_floating_point() or states.dtype == torch.bool or states.ndim < 1:
        raise TypeError(
            "the states that paths start in must be integers or names (n,), found "
            f"{states.dtype} of shape {tuple(states.shape)}"
        )
    last = process.n_states - 1
    if states.numel() == 0 or int(states.min()) < 0 or int(states.max()) > last:
        raise ValueError(
            f"paths must start in states 0 to {last}, found {states.unique().tolist()}"
        )
    return states.long()


def draw_states(distributions: Tensor, u: Tensor) -> Tensor:
    """Draw a state ``(n,)`` of every distribution ``(n, S)`` by a uniform number ``(n,)``."""
    return index_below(distributions.cumsum(-1), u)


def index_below(cumulative: Tensor, u: Tensor) -> Tensor:
    """Index ``(n,)`` of the interval of cumulative weights ``(n, S)`` that holds ``u`` of their sum."""
    return (cumulative[:, :-1] <= (u * cumulative[:, -1])[:, None]).sum(-1)


def _distribution_at(process: MarkovJump, n_paths: int, time: float) -> Tensor:
    """Distributions of the first states ``(process, S)``, one per process."""
    if n_paths < 1:
        raise ValueError(f"the number of paths must be positive, found {n_paths}")
    distribution = process.start_distribution()
    if time > 0:
        distribution = process.marginal(torch.tensor(time, dtype=torch.float64))
    return distribution.expand(*process.batch_shape, -1).reshape(-1, process.n_states)


def _numbers_of(names: np.ndarray, known: Sequence[str]) -> np.ndarray:
    """Numbers of states that are given by name."""
    number = {name: k for k, name in enumerate(known)}
    unknown = sorted({str(name) for name in names.ravel()} - number.keys())
    if unknown:
        raise ValueError(
            f"x0 names the state {unknown[0]!r}, which does not exist; there are {', '.join(known)}"
        )
    numbers = [number[str(name)] for name in names.ravel()]
    return np.array(numbers, dtype=np.int64).reshape(names.shape)
