"""Paths whose rates change from one observation to the next, by covariates and periods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.paths.checks import MISSING
from dyninfer.data.paths.covariates import cut_rows
from dyninfer.data.times import Clock
from dyninfer.jumps.likelihood.design import Design
from dyninfer.jumps.likelihood.forward_backward import Chain
from dyninfer.jumps.likelihood.hidden import Exponential, HiddenPaths
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.process.chain import off_diagonal


@dataclass(frozen=True, eq=False, kw_only=True)
class CovariatePaths(HiddenPaths):
    """Observed paths, with the covariates of every waiting time.

    Each distinct pair of a waiting time and a row of numbers has a transition matrix of its own;
    the generators of a likelihood are one for each row.

    Attributes
    ----------
    x : array ``(D, m)``
        Distinct rows of numbers that covariates make.
    n_intervals : array ``(D,)``
        Waiting times with each of them.
    row : Tensor, ``(G,)`` int64
        Row of numbers of each waiting time.
    place : Tensor, ``(n, L')`` int64
        Where the observations of the paths are among the times, which the breaks of periods are
        put between.
    log_first : Tensor, ``(n, S)``, optional
        Log-probabilities of the first state of each path, where paths differ in them.
    """

    x: ndarray
    n_intervals: ndarray
    row: Tensor
    place: Tensor
    log_first: Tensor | None = None

    @classmethod
    def with_design(
        cls,
        paths: Paths,
        design: Design,
        exact: Sequence[int] = (),
        conditional: bool = False,
    ) -> CovariatePaths:
        """Prepare paths once for many likelihoods.

        Parameters
        ----------
        paths : Paths
            With the covariates of the design.
        design : Design
            What rates depend on.
        exact : sequence of int
            Labels of states whose entry is observed at its exact time.
        conditional : bool
            Whether nothing happens before the first observed value of a path.
        """
        rows = _Rows.of(paths, design.effects.break_times)
        covariates = cut_rows(paths.covariates, rows.origin)
        x = design.matrix(covariates, rows.moments)
        distinct, number = np.unique(x, axis=0, return_inverse=True)
        plain = HiddenPaths.of(rows.paths(paths), exact)
        row_of_time = rows.padded(number.reshape(-1))
        row = row_of_time[:, :-1].T
        number_of_gap = plain.gap_number.numpy()
        n_gaps = len(plain.gaps)
        gap = number_of_gap % n_gaps
        if conditional:
            n_before = plain.mask.numpy().cumsum(1)[:, :-1]
            # Nothing happens in a gap of length 0, which is put behind all others below.
            gap = np.where(n_before.T == 0, n_gaps, gap)
        gaps = np.append(plain.gaps.numpy(), 0.0)
        # Equal waits with equal covariates are one group.
        groups, group = _grouped(row, gap, len(gaps))
        is_entry = number_of_gap >= n_gaps
        group = group + len(groups.row) * is_entry
        waits = gaps[gap] > 0
        return cls(
            observed=plain.observed,
            mask=plain.mask,
            gaps=torch.from_numpy(gaps[groups.gap]),
            gap_number=torch.from_numpy(group),
            shared_gap=_shared(group),
            x=distinct,
            n_intervals=np.bincount(row[waits], minlength=len(distinct)),
            row=torch.from_numpy(groups.row),
            place=torch.from_numpy(rows.place(paths.lengths)),
        )

    def starting(self, first: Tensor) -> CovariatePaths:
        """The paths with distributions ``(n, S)`` of their first states, each with its own."""
        return replace(self, log_first=first.log())

    def smooth(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Probability of every state at every observation given the whole path ``(n, L', S)``."""
        every = super().smooth(generator, emission, initial)
        n_states = every.shape[-1]
        place = self.place.unsqueeze(-1)
        return every.gather(1, place.expand(-1, -1, n_states))

    def viterbi(
        self, generator: Tensor, emission: Emission, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Most probable sequence of states at the observations; see :class:`HiddenPaths`."""
        states, value = super().viterbi(generator, emission, initial)
        return states.gather(1, self.place), value

    def _chain(
        self, generator: Tensor, emission: Emission, initial: Tensor, exponential: Exponential
    ) -> Chain:
        chain = super()._chain(generator, emission, initial, exponential)
        if self.log_first is None:
            return chain
        # What a path begins with counts as what is observed first.
        # Taken apart, as an assignment would change what others read.
        begin, *later = chain.log_e.unbind(2)
        log_e = torch.stack([begin + self.log_first, *later], dim=2)
        return chain._replace(log_e=log_e)

    def _transitions(self, generator: Tensor, exponential: Exponential) -> Tensor:
        """Probabilities of all waiting times ``(G, S, S)``, then densities of entries.

        ``generator`` ``(D, S, S)`` is one for each row of numbers.
        """
        q = generator[self.row]
        p = exponential(q, self.gaps)
        if not self.has_exact_entries:
            return p
        return torch.cat([p, p @ off_diagonal(q)])


class _Groups(NamedTuple):
    """Distinct pairs of a row of numbers and a gap, each ``(G,)``."""

    row: ndarray
    gap: ndarray


def _grouped(row: ndarray, gap: ndarray, n_gaps: int) -> tuple[_Groups, ndarray]:
    """Distinct pairs, and which of them each pair is."""
    pair = row * n_gaps + gap
    distinct, number = np.unique(pair, return_inverse=True)
    groups = _Groups(*np.divmod(distinct, n_gaps))
    return groups, number.reshape(pair.shape)


def _shared(group: ndarray) -> list[int]:
    """Group of each step where all paths have the same, else −1."""
    first = group[:, 0]
    is_shared = (group == first[:, None]).all(1)
    return np.where(is_shared, first, -1).tolist()


class _Rows(NamedTuple):
    """Rows of all paths with the breaks of periods among them."""

    times: ndarray  # (row,)
    moments: ndarray  # (row,): the same, a break where a time is one but for rounding
    owner: ndarray  # (row,): number of the path
    origin: ndarray  # (row,): the observation that is there, or the last one before
    is_break: ndarray  # (row,): whether nothing is observed there

    @classmethod
    def of(cls, paths: Paths, breaks: Sequence[float]) -> _Rows:
        times = np.concatenate(paths.times)
        numbers = np.arange(len(paths))
        owner = np.repeat(numbers, paths.lengths)
        moments = times.copy()
        first_times = np.array([of_path[0] for of_path in paths.times])
        last_times = np.array([of_path[-1] for of_path in paths.times])
        clock = Clock.of([*times, *breaks])
        new_times = [times]
        new_owners = [owner]
        for moment in breaks:
            rows = clock.rows(times, moment)
            moments[rows] = moment
            is_crossed = (first_times < moment) & (moment < last_times)
            # Who was observed then needs no other row.
            is_crossed[owner[rows]] = False
            crossing = numbers[is_crossed]
            new_owners.append(crossing)
            new_times.append(np.full(len(crossing), moment))
        n_observed = len(times)
        times = np.concatenate(new_times)
        owner = np.concatenate(new_owners)
        moments = np.append(moments, times[n_observed:])
        order = np.lexsort([times, owner])
        is_break = order >= n_observed
        # A break has the covariates of the observation before, of which every path has one.
        observation = np.where(is_break, -1, order)
        origin = np.maximum.accumulate(observation)
        return cls(times[order], moments[order], owner[order], origin, is_break)

    def paths(self, paths: Paths) -> Paths:
        """The paths with a missing observation at every break."""
        if not self.is_break.any():
            return paths
        states = np.concatenate(paths.states)[self.origin]
        states[self.is_break] = MISSING if paths.discrete else np.nan
        ends = np.cumsum(self.lengths)
        cuts = ends[:-1]
        return Paths(
            times=tuple(np.split(self.times, cuts)),
            states=tuple(np.split(states, cuts)),
            names=paths.names,
            features=paths.features,
            state_names=paths.state_names,
        )

    @property
    def lengths(self) -> ndarray:
        """Number of rows of each path ``(n,)``."""
        return np.bincount(self.owner)

    def padded(self, values: ndarray) -> ndarray:
        """Numbers of the rows as one batch ``(n, L)``; past its end a path has its last one."""
        ends = np.cumsum(self.lengths)
        first = ends - self.lengths
        step = np.arange(self.lengths.max())
        row = first[:, None] + step
        last = ends - 1
        return values[np.minimum(row, last[:, None])]

    def place(self, lengths: ndarray) -> ndarray:
        """Number in its path ``(n, L')`` of every observation; 0 past the end."""
        ends = np.cumsum(self.lengths)
        first = ends - self.lengths
        row = np.arange(len(self.owner))
        number_in_path = row - first[self.owner]
        step = np.arange(lengths.max())
        table = np.zeros((len(lengths), len(step)), dtype=np.int64)
        is_within = step < lengths[:, None]
        table[is_within] = number_in_path[~self.is_break]
        return table
