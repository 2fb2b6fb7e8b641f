"""Where the paths of a jump process start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from pandas.api.types import infer_dtype
from torch import Tensor

from dyninfer.data.arrays import as_array
from dyninfer.data.display import listed
from dyninfer.data.paths import Paths
from dyninfer.jumps.process import MarkovJump
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief, check_count


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
        # To Python True is a number, and it is none of paths.
        if isinstance(start, int | np.integer) and not isinstance(start, bool):
            n_paths = int(start)
            distribution = _distribution_at(process, n_paths, time)
            return cls(n_paths, None, distribution)
        states = as_state_numbers(process, start)
        states = states.expand(*process.batch_shape, -1)
        n_paths = states.shape[-1]
        return cls(n_paths, states, None)

    def owners(self, process: MarkovJump) -> Tensor:
        """Number of the process of each path ``(process · n_paths,)``, process by process."""
        n_processes = process.batch_shape.numel()
        numbers = torch.arange(n_processes, device=process.generator.device)
        return numbers.repeat_interleave(self.n_paths)

    def first_states(self, rows: slice, owner: Tensor, u: Tensor) -> Tensor:
        """First states ``(m,)`` of some paths, numbered process by process.

        Parameters
        ----------
        rows : slice
            Numbers of the paths.
        owner : Tensor, ``(m,)`` int64
            Number of the process that each of them is one of.
        u : Tensor, ``(m,)``
            Uniform numbers, for states that are drawn.
        """
        if self.distribution is None:
            assert self.states is not None
            return self.states.reshape(-1)[rows]
        cumulative = self.distribution.cumsum(-1)
        return index_below(cumulative[owner], u)


def drawn_states(distribution: Tensor, n_paths: int | None, seed: int) -> ndarray:
    """First states ``(n_paths,)``, drawn from a distribution ``(S,)``, or ``(n, S)`` of each."""
    if n_paths is None:
        raise ValueError(
            "n_paths is needed where the first states are drawn: simulate(None, times, n_paths=...)"
        )
    n = check_count(n_paths, "n_paths")
    g = stream(seed, "first states")
    if distribution.ndim == 1 or len(distribution) == 1:
        states = torch.multinomial(distribution.view(-1), n, replacement=True, generator=g)
        return states.numpy()
    if len(distribution) != n:
        raise ValueError(
            f"covariates has {len(distribution)} rows; give one value of each covariate, or a row "
            f"for each of the {n} paths"
        )
    return torch.multinomial(distribution, 1, generator=g).squeeze(1).numpy()


def last_states(past: Paths, probability: Tensor, n_draws: int, seed: int) -> Tensor:
    """Draws ``(path · draw,)`` of the state at the last observation of every path.

    ``probability`` ``(n, L, S)`` is that of every state at every observation; a ValueError names a
    path of which that is impossible.
    """
    every_path = torch.arange(len(past))
    last_row = torch.as_tensor(past.lengths) - 1
    # Drawn on the CPU, so that every device goes on from the same states.
    last = probability.cpu()[every_path, last_row]
    # Torch refuses a row of zeros too, but knows no names.
    is_possible = last.sum(-1) > 0
    for name, possible in zip(past.names, is_possible.tolist(), strict=True):
        if not possible:
            raise ValueError(
                f"path {brief(name)} is impossible in the learned process, at any time"
            )
    g = stream(seed, "states behind observations")
    draws = torch.multinomial(last, n_draws, replacement=True, generator=g)
    return draws.flatten()


def as_state_numbers(process: MarkovJump, states: Any) -> Tensor:
    """Return states ``(..., n)``, given by number or by name, as int64 on the process' device."""
    if not isinstance(states, Tensor):
        states = _as_numbers(states, process.state_names)
    numbers = as_array(states, "x0")
    if numbers.dtype.kind not in "iu" or numbers.ndim < 1:
        raise TypeError(
            "the states that paths start in must be integers or names (n,), found "
            f"{numbers.dtype} of shape {numbers.shape}"
        )
    batch = tuple(process.batch_shape)
    if numbers.ndim > 1 and numbers.shape[:-1] != batch:
        raise ValueError(
            "the states that paths start in must be (n,), or have a row for each process; found "
            f"shape {numbers.shape}"
        )
    last = process.n_states - 1
    exists = (numbers >= 0) & (numbers <= last)
    if numbers.size == 0 or not exists.all():
        every = np.unique(numbers).tolist()
        raise ValueError(f"paths must start in states 0 to {last}, found {brief(every)}")
    whole = numbers.astype(np.int64)
    return torch.as_tensor(whole, device=process.generator.device)


def index_below(cumulative: Tensor, u: Tensor) -> Tensor:
    """Index ``(...)`` of where ``u`` times the sum falls among cumulative weights ``(..., S)``."""
    # Times their sum, which rounding may leave beside 1.
    height = u * cumulative[..., -1]
    thresholds = cumulative[..., :-1]
    is_below = thresholds <= height.unsqueeze(-1)
    return is_below.sum(-1)


def _distribution_at(process: MarkovJump, n_paths: int, time: float) -> Tensor:
    """Distributions of the first states ``(process, S)``, one per process."""
    check_count(n_paths, "n_paths")
    if time < 0 and process.initial is not None:
        raise ValueError(
            f"first states cannot be drawn at time {time:g}, as initial is the distribution at "
            "time 0; count times from the start, or give the states that paths start in"
        )
    distribution = process.start_distribution()
    if time > 0:
        distribution = process.marginal(time)
    of_processes = distribution.expand(*process.batch_shape, -1)
    return of_processes.reshape(-1, process.n_states)


def _as_numbers(states: Any, state_names: Sequence[str]) -> ndarray:
    """Numbers of states, which tables may hold as objects too; NaN where one is masked."""
    objects = np.asarray(states, dtype=object)
    kind = infer_dtype(objects.ravel(), skipna=False)
    if kind in ("string", "mixed"):
        return _numbers_of(objects, state_names)
    if kind == "integer" and not isinstance(states, np.ma.MaskedArray):
        # Not int64: a number that it does not hold is no state, and is told below.
        return np.asarray(objects.tolist())
    return as_array(states, "x0")


def _numbers_of(states: ndarray, state_names: Sequence[str]) -> ndarray:
    """Numbers of states that are given by name."""
    number_of = {name: number for number, name in enumerate(state_names)}
    names = [str(name) for name in states.ravel()]
    unknown = sorted(set(names) - number_of.keys())
    if unknown:
        raise ValueError(
            f"x0 names the state {brief(unknown[0])}, which does not exist; there are "
            f"{listed(state_names)}"
        )
    numbers = [number_of[name] for name in names]
    array = np.array(numbers, dtype=np.int64)
    return array.reshape(states.shape)
