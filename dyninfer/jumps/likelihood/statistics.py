"""Additive statistics of paths of labels: counted transitions, by the time between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths

LAGS = (1, 2, 4, 8, 16)
FINE_BINS = 128  # four to a factor of two, about the unit of time
COARSE_BINS = 12  # one to a factor of two, the first from 2^-8 mean times between jumps down, the last from 2^3 up


@dataclass(frozen=True, eq=False)
class JumpStatistics:
    """How often label ``j`` was seen some time after label ``i``, for pairs 1, 2, 4, 8 and 16 observations apart.

    Statistics of two sets of paths add up to those of all of them, if they share their unit of time.

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
            By default the median time between neighbours. Give that of the first set to those to be added to it.

        Raises
        ------
        TypeError, ValueError
            If the paths are continuous, hold a label beyond ``n_states``, or no path has two labels.
        """
        if not paths.discrete:
            raise TypeError(
                "statistics of jumps need paths of integer states; these are continuous"
            )
        labels = np.concatenate(paths.states)
        times, owner = np.concatenate(paths.times), np.repeat(np.arange(len(paths)), paths.lengths)
        seen = labels >= 0
        labels, times, owner = labels[seen], times[seen], owner[seen]
        n = n_states or paths.n_states or int(labels.max()) + 1
        if int(labels.max()) >= n:
            raise ValueError(f"paths has the label {int(labels.max())}, but n_states is {n}")
        near = owner[1:] == owner[:-1]
        if not near.any():
            raise ValueError(
                "no path has two labels, so that no jump can be seen; give longer paths"
            )
        gaps = np.diff(times)[near]
        centre = torch.tensor(float(np.median(gaps)) if unit is None else unit, dtype=torch.float64)
        counts, sums = _count_flat(labels, times, owner, n, centre)
        first = np.concatenate([[True], owner[1:] != owner[:-1]])
        tensor = torch.as_tensor
        return cls(
            counts=counts,
            gap_sums=sums,
            starts=tensor(np.bincount(labels[first], minlength=n)).double(),
            span=tensor(gaps.sum()).double(),
            steps=tensor(float(near.sum())).double(),
            changes=tensor(float((labels[1:] != labels[:-1])[near].sum())).double(),
            unit=centre,
        )

    @classmethod
    def of_batch(cls, labels: Tensor, times: Tensor, n_states: int) -> JumpStatistics:
        """Count the pairs of a batch of processes that were all seen at the same times.

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
        n, unit = n_states, times.diff().median()
        owner = torch.arange(batch, device=labels.device)[:, None] * (FINE_BINS * n * n)
        totals = torch.zeros(batch * FINE_BINS * n * n, device=labels.device, dtype=torch.float64)
        pairs_of_bin = torch.zeros(FINE_BINS, dtype=torch.float64, device=labels.device)
        sums = torch.zeros_like(pairs_of_bin)
        source, changes = labels * n + owner, None
        for lag in [lag for lag in LAGS if lag < length]:
            gap = times[lag:] - times[:-lag]
            fine = _fine_bin(gap, unit)
            code = source[:-lag] + labels[lag:] + (fine * n * n)[:, None, None]
            totals += torch.bincount(code.reshape(-1), minlength=len(totals))
            sums.index_add_(0, fine, gap * n_paths)
            if lag == 1:
                changes = (labels[1:] != labels[:-1]).sum((0, 2)).double()
        starts = torch.nn.functional.one_hot(labels[0], n).sum(1).double()
        ones = torch.ones(batch, dtype=torch.float64, device=labels.device)
        assert changes is not None
        return cls(
            counts=totals.reshape(batch, FINE_BINS, n, n),
            gap_sums=sums.expand(batch, -1),
            starts=starts,
            span=(times[-1] - times[0]) * n_paths * ones,
            steps=float((length - 1) * n_paths) * ones,
            changes=changes,
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
                f"statistics of {self.n_states} and of {other.n_states} states do not add up; give n_states"
            )
        if not torch.equal(self.unit, other.unit):
            raise ValueError(
                f"statistics in units of {self.unit.tolist()} and {other.unit.tolist()} do not add up; make the second "
                "with unit=float(first.unit)"
            )
        summed = {k: v + getattr(other, k) for k, v in vars(self).items() if k != "unit"}
        return JumpStatistics(**summed, unit=self.unit)

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.starts.shape[-1]

    @property
    def tau(self) -> Tensor:
        """Observed time per observed change ``(...)``, one more change than was seen."""
        return self.span / (self.changes + 1)

    def coarse(self) -> CoarseStatistics:
        """Counts in bins relative to ``tau``: what a network reads, the same whatever the unit of time."""
        pairs = self.counts.sum((-1, -2))
        gap = self.gap_sums / pairs.clamp(min=1)
        place = (torch.log2(gap.clamp(min=1e-300) / self.tau[..., None]) + 8).floor().long()
        member = torch.nn.functional.one_hot(place.clamp(0, COARSE_BINS - 1), COARSE_BINS)
        member = (member * (pairs > 0)[..., None]).to(self.counts.dtype)
        counts = torch.einsum("...fc,...fij->...cij", member, self.counts)
        total = counts.sum((-1, -2))
        mean = torch.einsum("...fc,...f->...c", member, self.gap_sums) / total.clamp(min=1)
        log_gap = torch.where(total > 0, (mean / self.tau[..., None]).clamp(min=1e-300).log(), 0.0)
        return CoarseStatistics(
            counts.float(),
            log_gap.float(),
            self.starts.float(),
            self.steps.float(),
            self.changes.float(),
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
        return CoarseStatistics(**{k: v.to(device) for k, v in vars(self).items()})


def _fine_bin(gap: Tensor, unit: Tensor) -> Tensor:
    # Centred on the unit: gaps of a regular grid lie in the middle of bins, where rounding does no harm.
    return (
        (4 * torch.log2(gap / unit) + 0.5)
        .floor()
        .long()
        .add(FINE_BINS // 2)
        .clamp(0, FINE_BINS - 1)
    )


def _count_flat(
    labels: np.ndarray, times: np.ndarray, owner: np.ndarray, n: int, unit: Tensor
) -> tuple[Tensor, Tensor]:
    """Pairs ``(F, S, S)`` and sums of gaps ``(F,)`` of paths that lie one after the other."""
    size = FINE_BINS * n * n
    totals, sums = (
        torch.zeros(size, dtype=torch.float64),
        torch.zeros(FINE_BINS, dtype=torch.float64),
    )
    for lag in [lag for lag in LAGS if lag < len(times)]:
        here = owner[lag:] == owner[:-lag]
        gap = torch.from_numpy((times[lag:] - times[:-lag])[here])
        fine = _fine_bin(gap, unit)
        pair = torch.from_numpy((labels[:-lag] * n + labels[lag:])[here].astype(np.int64))
        totals += torch.bincount(fine * n * n + pair, minlength=size)
        sums.index_add_(0, fine, gap)
    return totals.reshape(FINE_BINS, n, n), sums
