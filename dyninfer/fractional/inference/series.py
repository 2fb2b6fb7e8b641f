"""Paths as one batch of times, gaps and values, perhaps with further times without values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from dyninfer.data.paths import Paths
from dyninfer.data.paths.observed import rows_with_values
from dyninfer.data.times import Clock
from dyninfer.fractional.gaussian.linear import rounded_unique
from dyninfer.fractional.inference.groups import Batch, batches_of
from dyninfer.fractional.point_errors import error_paths
from dyninfer.learning.scaling import Scaling


@dataclass(frozen=True)
class Series:
    """``P`` paths of at most ``L`` times, float64.

    Attributes
    ----------
    times : Tensor, ``(P, L)``
        Not decreasing; past its end, a path repeats its last time.
    values : Tensor, ``(P, L, F)``
        0 where nothing was observed.
    mask : Tensor of bool, ``(P or 1, L, F)``
    gaps : Tensor, ``(u,)``
        Distinct gaps between neighbouring times.
    gap : Tensor of int64, ``(P or 1, L − 1)``
        Which of them lies between two times; one row where all paths share their times and what is
        missing.
    queried : Tensor of int64, ``(P, q)``
        Positions of the further times.
    placed : Tensor of int64, ``(P, l)``
        Positions of the times of the paths themselves.
    error : Tensor, ``(P, L, F)``, optional
        Deviation of every value, where each has its own; any number of what was not observed.
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    gaps: Tensor
    gap: Tensor
    queried: Tensor
    placed: Tensor
    error: Tensor | None = None

    @classmethod
    def of(cls, paths: Paths, query: Any = (), error_columns: Sequence[str] = ()) -> Series:
        """Batch of the paths, and of the times ``query`` ``(q,)`` in every one of them.

        ``error_columns`` are those of the covariates that hold an error for every value.

        Raises
        ------
        ValueError
            If a path begins after a time of the query.
        """
        # Past its end, a path repeats its last time: gaps of 0, over which nothing moves.
        own_times, values, mask = paths.padded()
        n_paths, n_own = own_times.shape
        queried = np.asarray(query, dtype=np.float64)
        further = torch.as_tensor(queried).reshape(-1)
        if len(further):
            _check_begun(paths, float(further.min()))
        further_times = further.expand(n_paths, -1)
        all_times = torch.cat([own_times, further_times], dim=1)
        # Stable: of equal times, that with an observation comes first.
        times, order = all_times.sort(dim=1, stable=True)
        rank = order.argsort(dim=1)
        # Nothing is observed at the further times.
        after = (0, 0, 0, len(further))
        values = pad(values.double(), after)
        mask = pad(mask, after)
        steps = times.diff(dim=1)
        gaps, gap = rounded_unique(steps)
        mask = rows_at(mask, order)
        gap, mask = _shared(gap, mask)
        error = None
        if error_columns:
            _, own_error, _ = error_paths(paths, error_columns).padded()
            error = rows_at(pad(own_error.double(), after), order)
        return cls(
            times=times,
            values=rows_at(values, order),
            mask=mask,
            gaps=gaps,
            gap=gap,
            queried=rank[:, n_own:],
            placed=rank[:, :n_own],
            error=error,
        )

    @classmethod
    def of_values(cls, paths: Paths, error_columns: Sequence[str] = ()) -> Series:
        """Batch of the rows in which anything was observed: others cost time and say nothing."""
        return cls.of(rows_with_values(paths), error_columns=error_columns)

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, rows: Tensor) -> Series:
        """Some of the paths, all with the same number of times."""
        some = replace(
            self,
            times=self.times[rows],
            values=self.values[rows],
            queried=self.queried[rows],
            placed=self.placed[rows],
            error=None if self.error is None else self.error[rows],
        )
        if len(self.gap) == 1:
            # All paths share their gaps, and what is missing.
            return some
        return replace(some, mask=self.mask[rows], gap=self.gap[rows])

    @property
    def has_further_times(self) -> bool:
        """Whether there are times beside those of the paths themselves."""
        return self.queried.shape[1] > 0

    @property
    def full_mask(self) -> Tensor:
        """Which values were observed, ``(P, L, F)``."""
        return self.mask.expand_as(self.values)

    @property
    def is_observed(self) -> Tensor:
        """At which times any value was observed, ``(P, L)``."""
        return self.full_mask.any(-1)

    @property
    def count(self) -> int:
        """Number of observed values."""
        return int(self.full_mask.sum())

    @cached_property
    def batches(self) -> list[Batch]:
        """Values feature by feature, in groups of paths that share their times."""
        # Grouped path by path on the CPU, once, and weighed where the series is.
        device = self.times.device
        error = torch.zeros_like(self.values) if self.error is None else self.error
        parts = (self.times, self.values, self.full_mask, error)
        batches = batches_of(*(part.cpu() for part in parts))
        return [Batch(*(part.to(device) for part in batch)) for batch in batches]

    def scaled(self, scaling: Scaling) -> Series:
        """The same series with scaled values, 0 where nothing was observed."""
        values = scaling.states(self.values)
        error = None if self.error is None else scaling.displacements(self.error)
        return replace(self, values=values * self.mask, error=error)

    def window(self, rows: Tensor, start: Tensor, length: int) -> Series:
        """Parts of ``length`` times of some paths, each from its own ``start`` ``(n,)``.

        The series has no further times.
        """
        n_paths = len(self)
        offsets = torch.arange(length, device=start.device)
        at = start.unsqueeze(1) + offsets
        row = rows.unsqueeze(1)
        # A gap follows every time but the last.
        every_gap = self.gap.expand(n_paths, -1)
        gap_at = at[:, :-1]
        gap = every_gap[row, gap_at]
        every_mask = self.mask.expand(n_paths, -1, -1)
        mask = every_mask[row, at]
        gap, mask = _shared(gap, mask)
        return replace(
            self,
            times=self.times[row, at],
            values=self.values[row, at],
            mask=mask,
            gap=gap,
            queried=self.queried[rows],
            placed=offsets.expand(len(rows), -1),
        )

    def to(self, device: torch.device) -> Series:
        """The same series on another device."""
        moved_tensors = {}
        for field in fields(self):
            tensor = getattr(self, field.name)
            if tensor is not None:
                moved_tensors[field.name] = tensor.to(device)
        return Series(**moved_tensors)

    def refined(self, n_steps: int) -> Series:
        """The same series with ``n_steps`` even steps in every gap; nothing is observed between."""
        return Series(
            times=interpolated(self.times, n_steps),
            values=spread_out(self.values, n_steps),
            mask=spread_out(self.mask, n_steps),
            gaps=self.gaps / n_steps,
            # Steps of equal gaps are equal, so distinct gaps stay as few as they were.
            gap=self.gap.repeat_interleave(n_steps, dim=1),
            queried=self.queried * n_steps,
            placed=self.placed * n_steps,
        )


def rows_at(x: Tensor, positions: Tensor) -> Tensor:
    """``(P, L, c)`` at positions ``(P, l)`` of every path: ``(P, l, c)``."""
    n_columns = x.shape[-1]
    index = positions.unsqueeze(-1).expand(-1, -1, n_columns)
    return x.gather(1, index)


def interpolated(x: Tensor, n_steps: int) -> Tensor:
    """``(P, L, …)`` at ``n_steps`` even steps in every gap, linear between the times."""
    step = torch.arange(n_steps, dtype=x.dtype, device=x.device)
    # One axis of steps, before those of the values.
    n_axes_after = x.ndim - 2
    fraction = step / n_steps
    share = fraction.view(-1, *[1] * n_axes_after)
    before = x[:, :-1]
    early = before.unsqueeze(2)
    change = x.diff(dim=1).unsqueeze(2)
    inner = early + change * share
    last = x[:, -1:]
    flat = inner.flatten(1, 2)
    return torch.cat([flat, last], dim=1)


def spread_out(x: Tensor, n_steps: int) -> Tensor:
    """``(P, L, …)`` at every ``n_steps``-th of refined times, 0 between."""
    n_paths, n_times, *others = x.shape
    n_fine = (n_times - 1) * n_steps + 1
    fine = x.new_zeros(n_paths, n_fine, *others)
    fine[:, ::n_steps] = x
    return fine


def _shared(gap: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """One row for all paths where all have the same: precisions are then computed once.

    On a device they are computed for all at once, which costs less than to wait for the answer.
    """
    if gap.device.type != "cpu":
        return gap, mask
    first_gap = gap[:1]
    first_mask = mask[:1]
    is_same_gap = gap == first_gap
    is_same_mask = mask == first_mask
    if bool(is_same_gap.all() and is_same_mask.all()):
        return first_gap, first_mask
    return gap, mask


def _check_begun(paths: Paths, first: float) -> None:
    """Raise a ValueError if a path begins after the time ``first``."""
    for name, times in zip(paths.names, paths.times, strict=True):
        begins_later = times[0] > first
        # A time that differs from the first by rounding is the first.
        if begins_later and Clock(times).nearest(first) != 0:
            raise ValueError(
                f"times must not lie before a path begins, but {first:g} does: path "
                f"{str(name)!r} begins at {float(times[0]):g}"
            )


def at_all_times(series: Series, context: Tensor) -> Tensor:
    """Context at all times of a series: at further ones, that of the observation before."""
    n_paths, n_times = series.times.shape
    position = torch.arange(n_times, device=context.device)
    positions = position.expand(n_paths, -1).contiguous()
    observed = series.placed.contiguous()
    n_before = torch.searchsorted(observed, positions, right=True)
    before = (n_before - 1).clamp_min(0)
    return rows_at(context, before)


def last_observed(series: Series) -> Tensor:
    """Time of the last observation of every path ``(P,)``."""
    observed_times = torch.where(series.is_observed, series.times, -torch.inf)
    return observed_times.amax(1)
