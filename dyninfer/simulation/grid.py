"""Output times, and the fixed steps between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dyninfer.data.time_reading import as_times
from dyninfer.learning.budget import check_memory

DEFAULT_STEPS = 100
_SLACK = 1e-4  # a step may be this much longer than dt: times in float32 must not cost one more
# More than any computer takes.
_MOST_STEPS = 10**15


@dataclass(frozen=True)
class Grid:
    """Output times and the number of equal steps in each interval between them.

    Attributes
    ----------
    times : Tensor, ``(time,)`` float64
        Strictly monotone output times.
    substeps : tuple of int, ``(time - 1,)``
        Steps per interval.
    """

    times: Tensor
    substeps: tuple[int, ...]

    @classmethod
    def of(cls, times: Tensor, dt: float | None, longest: float | None = None) -> Grid:
        """Divide every interval evenly into the fewest steps no longer than ``dt``.

        Without one, steps are a hundredth of the span, or ``longest`` where that is shorter.
        """
        if dt is None:
            span = float(times[-1] - times[0])
            dt = abs(span) / DEFAULT_STEPS
            if longest is not None:
                dt = min(dt, longest)
        substeps = []
        for gap in torch.diff(times).abs().tolist():
            n_steps = gap / dt * (1 - _SLACK)
            if n_steps > _MOST_STEPS:
                raise ValueError(
                    f"steps of {dt:g} are too short for an interval of {gap:g}; take longer ones"
                )
            substeps.append(max(1, math.ceil(n_steps)))
        # The start and the length of every step, and what they are made of.
        n_all = sum(substeps)
        n_bytes = 4 * 8 * n_all
        check_memory(n_bytes, f"{n_all:.3g} steps of {dt:g}")
        return cls(times, tuple(substeps))

    @property
    def intervals(self) -> range:
        """Numbers of the intervals between output times."""
        return range(len(self.substeps))

    @property
    def n_steps(self) -> int:
        """Number of steps in all."""
        return sum(self.substeps)

    def steps(self, interval: int) -> range:
        """Numbers of the steps of one interval."""
        first = self._first[interval]
        stop = self._first[interval + 1]
        return range(first, stop)

    @cached_property
    def lengths(self) -> Tensor:
        """Signed length of every step ``(step,)`` float64."""
        of_interval = torch.diff(self.times) / self._counts
        return torch.repeat_interleave(of_interval, self._counts)

    @cached_property
    def starts(self) -> Tensor:
        """Time at which every step starts ``(step,)`` float64."""
        first_step = torch.tensor(self._first[:-1], dtype=torch.int64)
        first = torch.repeat_interleave(first_step, self._counts)
        # Within its interval, each step counts from zero.
        number = torch.arange(self.n_steps) - first
        last_output = self.times[:-1]
        begin = torch.repeat_interleave(last_output, self._counts)
        # From the output before, not from step to step: rounding errors do not add up.
        return begin + number * self.lengths

    @cached_property
    def _counts(self) -> Tensor:
        return torch.tensor(self.substeps, dtype=torch.int64)

    @cached_property
    def _first(self) -> list[int]:
        """Number of the first step of every interval, and of the step after the last."""
        first = [0]
        for n_steps in self.substeps:
            first.append(first[-1] + n_steps)
        return first


def check_times(times: Any, backward: bool) -> Tensor:
    """Return ``times`` as a strictly monotone float64 tensor on the CPU, or raise a sentence."""
    values = torch.from_numpy(as_times(times))
    if len(values) == 0:
        raise ValueError("times is empty; give at least one number")
    _check_order(values, backward)
    return values


def _check_order(times: Tensor, backward: bool) -> None:
    gaps = torch.diff(times)
    if len(gaps) == 0:
        return
    if backward and (gaps > 0).all():
        raise ValueError(
            "times increase but backward=True runs back in time; reverse them: times[::-1]"
        )
    if not backward and (gaps < 0).all():
        raise ValueError(
            "times decrease; pass backward=True to run back in time, or reverse them: times[::-1]"
        )
    order = "increase"
    if backward:
        order = "decrease"
        gaps = -gaps
    is_wrong = gaps <= 0
    if not is_wrong.any():
        return
    # The first place, as argmax takes the first of equals.
    k = int(is_wrong.int().argmax())
    raise ValueError(
        f"times must strictly {order}, but {float(times[k]):g} is followed by "
        f"{float(times[k + 1]):g}; sort them and remove repeats"
    )
