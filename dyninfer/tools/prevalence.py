"""Shares of the states over time: of observed paths, and as a jump process has them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.time_reading import as_moment, as_times
from dyninfer.data.times import Clock, spelled
from dyninfer.jumps.likelihood.state_names import renumbered
from dyninfer.jumps.process import MarkovJump
from dyninfer.learning.settings import brief, check_word
from dyninfer.tools.jump_models import LearnedJumps, pairs_of

if TYPE_CHECKING:
    from anndata import AnnData

# As many times as msm takes where none are named.
_N_TIMES = 11


def prevalence(
    model: Any,
    data: AnnData | Paths,
    times: Any = None,
    *,
    interpolation: str = "start",
    followed_until: float | None = None,
    level: float = 0.9,
    n_samples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of every state over time, observed and expected: whether a jump process fits.

    Observed is a path from its first observation to its last, and beyond it in an absorbing state.
    In between it is in the state that was observed last (Gentleman et al. 1994, Stat. Med. 13,
    805). Expected is the mean of ``e^{Q(t − t₁)}`` from the first observed state of every path that
    has begun. Hidden states are the likeliest sequence of each path.

    Parameters
    ----------
    model : MarkovJumpInference or MarkovJump
        Fitted, or a process, of which there are no intervals.
    data : AnnData or Paths
        Read by the keys that ``fit`` was given.
    times : sequence of float, optional
        By default eleven, from the first observation to the last.
    interpolation : {"start", "midpoint"}
        In which state a path is between two observations: in the first, or in the nearer one.
    followed_until : float, optional
        End of the study: beyond it, paths in an absorbing state are not observed any more. Without
        it the dead are counted where the living no longer are.
    level : float
        Coverage of the intervals of what is expected.
    n_samples, seed
        As in :func:`sojourn_times`.

    Returns
    -------
    DataFrame
        A row for every time and state: ``time``, ``state``, ``n_paths`` that are observed,
        ``observed`` share of them, ``expected`` share, ``low``, ``high``.

    Raises
    ------
    TypeError, ValueError
        If the model has no jump process, no path is observed at a time, or an argument cannot be.
    """
    check_word(interpolation, "interpolation", ("start", "midpoint"))
    _check_covariates(model)
    jumps = LearnedJumps.of(model, level, n_samples, seed)
    records = _Records.of(model, data, jumps.process)
    if times is None:
        times = np.linspace(records.times.min(), records.times.max(), _N_TIMES)
    requested = np.atleast_1d(as_times(times))
    end = math.inf if followed_until is None else as_moment(followed_until, "followed_until")
    moments = records.moments(requested)
    counts = np.stack([records.counts(t, interpolation == "midpoint", end) for t in moments])
    n_paths = counts.sum(1)
    unobserved = requested[n_paths == 0]
    if len(unobserved):
        raise ValueError(
            f"no path is observed at time {spelled(unobserved)[0]}; ask for times between the "
            "first and the last observation"
        )
    rows = pairs_of(requested, jumps.names, ("time", "state"))
    rows["n_paths"] = np.repeat(n_paths, len(jumps.names))
    rows["observed"] = (counts / n_paths[:, None]).ravel()

    def shares(process: MarkovJump) -> Tensor:
        return torch.cat([records.expected(process, time) for time in moments], dim=-1)

    return jumps.with_values(rows, shares).rename(columns={"value": "expected"})


def _check_covariates(model: Any) -> None:
    """Raise a ValueError where every path has rates of its own."""
    effects = getattr(model, "covariates", None)
    if effects is not None and effects.columns:
        raise ValueError(
            "model has covariates, and its process is that where they are 0; give "
            "model.effects_.process(covariates) and the paths that have these"
        )


@dataclass(frozen=True)
class _Records:
    """States of observed paths, one row per observation, path after path.

    Attributes
    ----------
    times, states, path : array ``(n,)``
    is_absorbing : array ``(S,)`` bool
        States that the process never leaves.
    """

    times: ndarray
    states: ndarray
    path: ndarray
    is_absorbing: ndarray

    @classmethod
    def of(cls, model: Any, data: Any, process: MarkovJump) -> _Records:
        """Read paths, of a hidden model its likeliest states."""
        never_left = process.holding_times().isinf()
        # Where rates change in time, what is left in one period is not absorbing.
        is_absorbing = never_left.reshape(-1, process.n_states).all(0).numpy()
        if not isinstance(model, MarkovJump):
            table = model.posterior_states(data)
            number = {name: k for k, name in enumerate(process.state_names)}
            path, _ = pd.factorize(table["path"])
            states = table["viterbi"].map(number).to_numpy()
            return cls(table["time"].to_numpy(), states, path, is_absorbing)
        if not isinstance(data, Paths) or not data.discrete:
            raise TypeError(
                f"data must be Paths of states where model is a process, found {brief(data)}"
            )
        paths = renumbered(data, process.state_names)
        states = np.concatenate(paths.states)
        is_observed = states >= 0
        path = np.repeat(np.arange(len(paths)), paths.lengths)
        times = np.concatenate(paths.times)
        return cls(times[is_observed], states[is_observed], path[is_observed], is_absorbing)

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return len(self.is_absorbing)

    @property
    def is_first(self) -> ndarray:
        """Whether a row is the first of its path ``(n,)`` bool."""
        return np.diff(self.path, prepend=-1) != 0

    def moments(self, requested: ndarray) -> ndarray:
        """Requested times, as the paths write them where they have the same."""
        clock = Clock.of(self.times)
        position = clock.positions(requested)
        # The latest of the times that are one but for rounding: until then all of them were.
        positions = clock.positions(self.times)
        latest = np.full(len(clock), -np.inf)
        np.maximum.at(latest, positions, self.times)
        return np.where(position >= 0, latest[position], requested)

    def counts(self, time: float, is_nearer: bool, end: float) -> ndarray:
        """Paths in each state at a time ``(S,)``."""
        first = np.flatnonzero(self.is_first)
        last = np.append(first[1:], len(self.path)) - 1
        is_past = self.times <= time
        n_past = np.add.reduceat(is_past.astype(int), first)
        row = first + n_past - 1
        has_begun = n_past > 0
        is_over = self.times[last] < time
        is_absorbed = self.is_absorbing[self.states[last]] & (time <= end)
        is_here = has_begun & (~is_over | is_absorbed)
        if is_nearer:
            following = np.minimum(row + 1, last)
            middle = (self.times[row] + self.times[following]) / 2
            row = np.where(time > middle, following, row)
        return np.bincount(self.states[row[is_here]], minlength=self.n_states)

    def expected(self, process: MarkovJump, time: float) -> Tensor:
        """Shares ``(..., S)`` of the paths that have begun by a time."""
        times = self.times[self.is_first]
        states = self.states[self.is_first]
        total = process.generator.new_zeros(())
        for start in np.unique(times[times <= time]):
            count = np.bincount(states[times == start], minlength=self.n_states)
            weight = torch.from_numpy(count / len(times))
            arrival = process.transition(time - start, start)
            total = total + weight.to(arrival) @ arrival
        return total / total.sum(-1, keepdim=True)
