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
from dyninfer.data.time_reading import as_moment, requested_times
from dyninfer.data.times import Clock, spelled
from dyninfer.data.words import quoted
from dyninfer.jumps.formula import without_repeats
from dyninfer.jumps.likelihood.state_names import renumbered
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.settings import as_observation
from dyninfer.learning.settings import brief, check_word
from dyninfer.tools.jump_models import LearnedJumps, check_has_jumps, pairs_of

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

    A path counts as observed from its first observation to its last, and beyond that if it ends in
    an absorbing state. In between it is in the state observed last (Gentleman et al. 1994, Stat.
    Med. 13, 805). The expected share is the mean of ``e^{Q(t − t₁)}`` from the first observed state
    of every path that has begun, with its own covariates if rates depend on any. Hidden states are
    those of the likeliest sequence.

    Parameters
    ----------
    model : MarkovJumpInference or MarkovJump
        A fitted model, or a process; a process has no intervals.
    data : AnnData or Paths
        Read by the keys that ``fit`` was given.
    times : sequence of float, optional
        By default eleven, from the first observation to the last.
    interpolation : {"start", "midpoint"}
        State of a path between two observations: the first, or the nearer one. A state whose entry
        time is observed exactly is not entered earlier.
    followed_until : float, optional
        End of the study, after which paths in an absorbing state no longer count. Without it, the
        dead are still counted when the living no longer are.
    level : float
        Coverage of the intervals of the expected shares.
    n_samples, seed
        As in :func:`sojourn_times`.

    Returns
    -------
    DataFrame
        One row per time and state: ``time``, ``state``, ``n_paths`` (the number observed), the
        ``observed`` and the ``expected`` share, ``low``, ``high``.

    Raises
    ------
    TypeError, ValueError
        If the model has no jump process, no path is observed at a time, or an argument is invalid.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2)
    >>> paths = queue.paths(range(10), 200)
    >>> table = di.tl.prevalence(queue.process(), paths)
    >>> list(table.columns)
    ['time', 'state', 'n_paths', 'observed', 'expected']
    """
    check_word(interpolation, "interpolation", ("start", "midpoint"))
    check_has_jumps(model)
    records = _Records.of(model, data)
    jumps = LearnedJumps.of(model, level, n_samples, seed, records.covariates)
    if times is None:
        times = np.linspace(records.times.min(), records.times.max(), _N_TIMES)
    requested = requested_times(times)
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
        return records.expected(process, moments).flatten(-2)

    return jumps.with_values(rows, shares).rename(columns={"value": "expected"})


@dataclass(frozen=True)
class _Records:
    """States of observed paths, one row per observation, path after path.

    Attributes
    ----------
    times, states, path : array ``(n,)``
    is_absorbing : array ``(S,)`` bool
        States that the process never leaves.
    covariates : DataFrame or None
        Those that rates depend on, a row for each combination that a path has.
    row : array ``(path,)`` int64
        Combination of each path; 0 where there are none.
    is_exact : array ``(S,)`` bool
        States whose entry is observed when it happens.
    """

    times: ndarray
    states: ndarray
    path: ndarray
    is_absorbing: ndarray
    covariates: pd.DataFrame | None
    row: ndarray
    is_exact: ndarray

    @classmethod
    def of(cls, model: Any, data: Any) -> _Records:
        """Read paths, of a hidden model its likeliest states."""
        process = getattr(model, "process_", model)
        never_left = process.holding_times().isinf()
        # Where rates change in time, what is left in one period is not absorbing.
        is_absorbing = never_left.reshape(-1, process.n_states).all(0).numpy()
        if not isinstance(model, MarkovJump):
            table = model.posterior_states(data)
            number = {name: k for k, name in enumerate(process.state_names)}
            path, _ = pd.factorize(table["path"])
            states = table["viterbi"].map(number).to_numpy()
            covariates, row = _combinations(model, data, table["path"])
            times = table["time"].to_numpy()
            is_exact = np.zeros_like(is_absorbing)
            is_exact[as_observation(model.observation).entries_among(process.state_names)] = True
            return cls(times, states, path, is_absorbing, covariates, row, is_exact)
        if not isinstance(data, Paths) or not data.discrete:
            raise TypeError(
                f"data must be Paths of states where model is a process, found {brief(data)}"
            )
        paths = renumbered(data, process.state_names)
        states = np.concatenate(paths.states)
        is_observed = states >= 0
        path = np.repeat(np.arange(len(paths)), paths.lengths)
        times = np.concatenate(paths.times)
        own = times[is_observed], states[is_observed], path[is_observed]
        no_row = np.zeros(len(paths), dtype=np.int64)
        return cls(*own, is_absorbing, None, no_row, np.zeros_like(is_absorbing))

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
            # Nobody is dead before the day of death.
            is_exact = self.is_exact[self.states[following]]
            row = np.where((time > middle) & ~is_exact, following, row)
        return np.bincount(self.states[row[is_here]], minlength=self.n_states)

    def expected(self, process: MarkovJump, moments: ndarray) -> Tensor:
        """Shares ``(..., time, S)`` of the paths that have begun by each time.

        Paths with the same covariates go on together, from one time to the next.
        """
        breaks = process.breaks if len(process.breaks) else None
        generators = process.generator
        if self.covariates is None:
            # All paths have one process, as if their covariates were the same.
            generators = generators.unsqueeze(-3 if breaks is None else -4)
        steps = _Steps(MarkovJump(generators, breaks=breaks))
        order = np.argsort(moments)
        counts = generators.new_zeros(*steps.process.batch_shape, self.n_states)
        before = -math.inf
        shares = []
        for time in moments[order]:
            counts = steps.moved(counts, before, time)
            counts = counts + self._begun(steps, before, time)
            total = counts.sum((-2, -1)).unsqueeze(-1)
            shares.append(counts.sum(-2) / total)
            before = time
        in_order = torch.from_numpy(np.argsort(order))
        return torch.stack(shares, dim=-2).index_select(-2, in_order)

    def _begun(self, steps: _Steps, before: float, time: float) -> Tensor:
        """Where those are at a time that have begun since another ``(..., row, S)``."""
        times = self.times[self.is_first]
        states = self.states[self.is_first]
        rows = self.row[self.path[self.is_first]]
        total = torch.zeros((), dtype=torch.float64)
        is_new = (times > before) & (times <= time)
        for start in np.unique(times[is_new]):
            begins = times == start
            counts = np.zeros((self.row.max() + 1, self.n_states))
            np.add.at(counts, (rows[begins], states[begins]), 1.0)
            total = total + steps.moved(torch.from_numpy(counts), start, time)
        return total


class _Steps:
    """Expected numbers in states, moved by a process for each row of them."""

    def __init__(self, process: MarkovJump):
        self.process = process
        self.gap = -1.0

    def moved(self, counts: Tensor, start: float, time: float) -> Tensor:
        """Numbers ``(..., row, S)`` at ``time``, of those at ``start``."""
        if start == time or not bool(counts.any()):
            return counts
        gap = time - start
        # On an even grid all steps have the same probabilities, but for rounding.
        is_known = math.isclose(gap, self.gap, rel_tol=1e-9) and not len(self.process.breaks)
        if not is_known:
            self.probabilities = self.process.transition(gap, start)
            self.gap = gap
        return torch.einsum("...ri,...rij->...rj", counts, self.probabilities)


def _combinations(model: Any, data: Any, names: pd.Series) -> tuple[pd.DataFrame | None, ndarray]:
    """Covariates that paths have, and the row of each path; ``names`` are those of observations.

    Raises
    ------
    ValueError
        If a covariate changes along a path, which then has no process of its own.
    """
    path, every_name = pd.factorize(names)
    table = model.covariates_of(data)
    if table is None:
        return None, np.zeros(len(every_name), dtype=np.int64)
    combinations, number = without_repeats(table)
    first = np.flatnonzero(np.diff(path, prepend=-1))
    row = number[first]
    changes = number != row[path]
    if changes.any():
        name = every_name[path[changes][0]]
        raise ValueError(
            f"covariates change along path {quoted(str(name))}; prevalence needs constant ones, "
            "such as those of the first observation"
        )
    return combinations, row
