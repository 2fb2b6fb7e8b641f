"""Output times, and the fixed steps between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.times import as_times

DEFAULT_STEPS = 100
_SLACK = 1e-4  # a step may be this much longer than dt: times in float32 must not cost one more


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
    def of(cls, times: Tensor, dt: float | None) -> Grid:
        """Divide every interval evenly into the fewest steps no longer than ``dt``."""
        span = abs(float(times[-1] - times[0]))
        dt = span / DEFAULT_STEPS if dt is None else dt
        gaps = torch.diff(times).abs().tolist()
        return cls(times, tuple(max(1, math.ceil(gap / dt * (1 - _SLACK))) for gap in gaps))

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
        return range(self._first[interval], self._first[interval + 1])

    @cached_property
    def lengths(self) -> Tensor:
        """Signed length of every step ``(step,)`` float64."""
        counts = torch.tensor(self.substeps)
        return torch.repeat_interleave(torch.diff(self.times) / counts, counts)

    @cached_property
    def starts(self) -> Tensor:
        """Time at which every step starts ``(step,)`` float64."""
        counts = torch.tensor(self.substeps)
        within = torch.arange(self.n_steps) - torch.repeat_interleave(
            torch.tensor(self._first[:-1]), counts
        )
        return torch.repeat_interleave(self.times[:-1], counts) + within * self.lengths

    def nodes(self, c: Sequence[float], like: Tensor) -> list[tuple[Tensor, ...]]:
        """Scalar times ``start + c · length`` of every step, on the device and in the dtype of ``like``.

        One transfer for the whole run: inside the loop no time is copied to the device.
        """
        table = self.starts[:, None] + torch.tensor(c, dtype=torch.float64) * self.lengths[:, None]
        scalars = table.to(like).flatten().unbind()
        return list(zip(*(scalars[i :: len(c)] for i in range(len(c))), strict=True))

    @cached_property
    def _first(self) -> list[int]:
        return [0, *np.cumsum(self.substeps, dtype=int).tolist()]


def check_times(times: Any, backward: bool) -> Tensor:
    """Return ``times`` as a strictly monotone float64 tensor on the CPU, or raise a sentence."""
    values = torch.from_numpy(as_times(times))
    if len(values) == 0:
        raise ValueError("times is empty; give at least one number")
    gaps = torch.diff(values)
    if backward and len(gaps) and (gaps > 0).all():
        raise ValueError(
            "times increase but backward=True runs time downwards; reverse them: times[::-1]"
        )
    if not backward and len(gaps) and (gaps < 0).all():
        raise ValueError(
            "times decrease; pass backward=True to run time downwards, or reverse them: times[::-1]"
        )
    wrong = torch.nonzero(gaps >= 0 if backward else gaps <= 0)
    if len(wrong):
        k = int(wrong[0])
        order = "decrease" if backward else "increase"
        raise ValueError(
            f"times must strictly {order}, but {values[k].item():g} is followed by {values[k + 1].item():g}; "
            "sort them and remove repeats"
        )
    return values
