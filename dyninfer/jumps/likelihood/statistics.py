"""Additive statistics of paths of labels: counted transitions, by the time between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dyninfer.data.paths import Paths
from dyninfer.data.words import counted
from dyninfer.jumps.likelihood.flat import FlatLabels

# Observations between the two labels of a pair. Lag 1 is sufficient without noise; the others tell
# wrong labels, which do not last, from jumps.
LAGS = (1, 2, 4, 8, 16)
FINE_BINS = 128  # four to a factor of two, centred on the unit of time: 16 such factors either way
COARSE_BINS = 12  # one to a factor of two, from 2^-8 mean times between changes to 2^3
_OCTAVES_BELOW = 8  # of the mean time between changes that the first coarse bin lies
_SMALLEST = 1e-300  # an empty bin has a time of 0, whose logarithm is thrown away


@dataclass(frozen=True, eq=False)
class JumpStatistics:
    """How often label ``j`` followed label ``i``, by the time between them.

    Pairs are 1, 2, 4, 8 and 16 observations apart. Statistics of two sets of paths add up to those
    of all of them, if they share their unit of time.

    Attributes
    ----------
    counts : Tensor, ``(..., F, S, S)`` float64
        Pairs, by the bin of the time between them: four bins to a factor of two.
    gap_sums : Tensor, ``(..., F)`` float64
        Sum of those times, in the user's unit.
    starts : Tensor, ``(..., S)`` float64
        First labels of the paths.
    span : Tensor, ``(...)`` float64
        Total observed time.
    steps, changes : Tensor, ``(...)`` float64
        Pairs of neighbours in time, and those of them with different labels.
    unit : Tensor, ``(...)`` float64
        Time at the centre of the middle bin.
    """

    counts: Tensor
    gap_sums: Tensor
    starts: Tensor
    span: Tensor
    steps: Tensor
    changes: Tensor
    unit: Tensor

    @classmethod
    def of(
        cls, paths: Paths, n_states: int | None = None, unit: float | None = None
    ) -> JumpStatistics:
        """Count the pairs of paths; missing labels are left out.

        Parameters
        ----------
        paths : Paths
            Discrete paths on any grids.
        n_states : int, optional
            By default the number of states the paths name.
        unit : float, optional
            By default the median time between neighbours. Give that of the first set to those that
            are to be added to it.

        Raises
        ------
        TypeError, ValueError
            If paths are continuous, hold a label beyond ``n_states``, or none has two labels.
        """
        if not paths.discrete:
            raise TypeError(
                "statistics of jumps need paths of integer states; these are continuous"
            )
        flat = FlatLabels.of(paths)
        largest = int(flat.labels.max())
        n_states = n_states or paths.n_states or largest + 1
        if largest >= n_states:
            raise ValueError(f"paths has the label {largest}, but n_states is {n_states}")
        has_next = flat.has_next
        if not has_next.any():
            raise ValueError(
                "no path has two labels, so that no jump can be seen; give longer paths"
            )
        gaps = np.diff(flat.times)[has_next]
        if unit is None:
            unit = float(np.median(gaps))
        centre = torch.tensor(unit, dtype=torch.float64)
        counts, gap_sums = _count_pairs(flat, n_states, centre)
        return cls(
            counts=counts,
            gap_sums=gap_sums,
            starts=_double(flat.count_first(n_states)),
            span=_double(gaps.sum()),
            steps=_double(has_next.sum()),
            changes=_double(len(flat.departures())),
            unit=centre,
        )

    @classmethod
    def of_batch(cls, labels: Tensor, times: Tensor, n_states: int) -> JumpStatistics:
        """Count the pairs of a batch of processes that were all observed at the same times.

        Parameters
        ----------
        labels : Tensor, ``(L, batch, path)`` int64
            None is missing.
        times : Tensor, ``(L,)`` float64
            Increasing.
        n_states : int
            Number of states S.
        """
        length, batch, n_paths = labels.shape
        unit = times.diff().median()
        n_pairs = n_states**2
        n_cells = FINE_BINS * n_pairs
        total = times.new_zeros(batch * n_cells)
        gap_sums = times.new_zeros(FINE_BINS)
        # Cell (process, bin, i, j) as one number; the bin's part is added lag by lag.
        process = torch.arange(batch, device=labels.device)
        number_of_process = process.unsqueeze(1)
        source = labels * n_states + n_cells * number_of_process
        for lag in _lags_below(length):
            earlier_times = times[:-lag]
            gap = times[lag:] - earlier_times
            fine = _fine_bin(gap, unit)
            of_bin = fine * n_pairs
            target = labels[lag:]
            pair = source[:-lag] + target
            cell = pair + of_bin.reshape(-1, 1, 1)
            flat = cell.flatten()
            total += torch.bincount(flat, minlength=len(total))
            gap_sums.index_add_(0, fine, gap * n_paths)
        first = one_hot(labels[0], n_states)
        is_change = labels.diff(dim=0) != 0
        duration = times[-1] - times[0]
        span = duration * n_paths
        n_steps = (length - 1) * n_paths
        ones = times.new_ones(batch)
        return cls(
            counts=total.reshape(batch, FINE_BINS, n_states, n_states),
            gap_sums=gap_sums.expand(batch, -1),
            starts=first.sum(1).double(),
            span=span * ones,
            steps=n_steps * ones,
            changes=is_change.sum((0, 2)).double(),
            unit=unit * ones,
        )

    def __add__(self, other: JumpStatistics) -> JumpStatistics:
        """Statistics of both sets of paths together.

        Raises
        ------
        ValueError
            If they differ in their states or in their unit of time.
        """
        if self.starts.shape != other.starts.shape:
            raise ValueError(
                f"statistics of {self.n_states} and of {counted(other.n_states, 'state')} do not "
                "add up; count both with the same n_states"
            )
        if not torch.equal(self.unit, other.unit):
            raise ValueError(
                f"statistics in units of {self.unit.tolist()} and {other.unit.tolist()} do not "
                "add up; make the second with unit=float(first.unit)"
            )
        total = {}
        for name, mine in vars(self).items():
            total[name] = mine + getattr(other, name)
        total["unit"] = self.unit
        return JumpStatistics(**total)

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.starts.shape[-1]

    @property
    def tau(self) -> Tensor:
        """Observed time per observed change ``(...)``, counting one change more than there were."""
        return self.span / (self.changes + 1)

    def coarse(self) -> CoarseStatistics:
        """Counts in bins relative to ``tau``: what a network reads, whatever the unit of time."""
        tau = self.tau.unsqueeze(-1)
        mean_gap = _mean_gap(self.gap_sums, self.counts)
        octave = torch.log2(mean_gap / tau)
        place = (octave + _OCTAVES_BELOW).floor().long()
        # Beyond the range all times are alike: far too short to jump, or long enough to forget.
        place = place.clamp(0, COARSE_BINS - 1)
        member = one_hot(place, COARSE_BINS).to(self.counts.dtype)
        counts = torch.einsum("...fc,...fij->...cij", member, self.counts)
        gap_sums = torch.einsum("...fc,...f->...c", member, self.gap_sums)
        log_gap = (_mean_gap(gap_sums, counts) / tau).log()
        is_empty = counts.sum((-1, -2)) == 0
        return CoarseStatistics(
            counts=counts.float(),
            log_gap=log_gap.masked_fill(is_empty, 0.0).float(),
            starts=self.starts.float(),
            steps=self.steps.float(),
            changes=self.changes.float(),
        )


@dataclass(frozen=True, eq=False)
class CoarseStatistics:
    """Dimensionless statistics of a batch of processes.

    Attributes
    ----------
    counts : Tensor, ``(..., C, S, S)`` float32
        Pairs, by the time between them in units of ``tau``.
    log_gap : Tensor, ``(..., C)``
        Logarithm of the mean of that time; 0 where a bin is empty.
    starts : Tensor, ``(..., S)``
        First labels.
    steps, changes : Tensor, ``(...)``
        Pairs of neighbours in time, and those with different labels.
    """

    counts: Tensor
    log_gap: Tensor
    starts: Tensor
    steps: Tensor
    changes: Tensor

    def to(self, device: torch.device | str) -> CoarseStatistics:
        """The same on another device."""
        parts = {}
        for name, part in vars(self).items():
            parts[name] = part.to(device)
        return CoarseStatistics(**parts)


def _double(value: Any) -> Tensor:
    return torch.as_tensor(value).double()


def _mean_gap(gap_sums: Tensor, counts: Tensor) -> Tensor:
    """Mean time between the labels of a pair, by bin ``(..., F)``; positive in empty bins too."""
    n_pairs = counts.sum((-1, -2))
    mean = gap_sums / n_pairs.clamp(min=1)
    return mean.clamp(min=_SMALLEST)


def _lags_below(length: int) -> list[int]:
    return [lag for lag in LAGS if lag < length]


def _fine_bin(gap: Tensor, unit: Tensor) -> Tensor:
    """Bin of each gap: four to a factor of two."""
    # Centred on the unit: gaps of a regular grid lie in the middle of bins, where rounding does no
    # harm.
    quarter_octaves = 4 * torch.log2(gap / unit)
    place = (quarter_octaves + 0.5).floor().long()
    return (place + FINE_BINS // 2).clamp(0, FINE_BINS - 1)


def _count_pairs(flat: FlatLabels, n_states: int, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs ``(F, S, S)`` and sums of gaps ``(F,)`` of all lags."""
    n_pairs = n_states**2
    n_cells = FINE_BINS * n_pairs
    total = torch.zeros(n_cells, dtype=torch.float64)
    gap_sums = torch.zeros(FINE_BINS, dtype=torch.float64)
    for lag in _lags_below(len(flat.labels)):
        # Rows of all paths follow one another: not every two of them are of one path.
        before, after = flat[:-lag], flat[lag:]
        is_pair = before.path == after.path
        waits = after.times - before.times
        pairs = n_states * before.labels + after.labels
        gap = torch.from_numpy(waits[is_pair])
        pair = torch.from_numpy(pairs[is_pair])
        fine = _fine_bin(gap, unit)
        cell = fine * n_pairs + pair
        total += torch.bincount(cell, minlength=n_cells)
        gap_sums.index_add_(0, fine, gap)
    return total.reshape(FINE_BINS, n_states, n_states), gap_sums
