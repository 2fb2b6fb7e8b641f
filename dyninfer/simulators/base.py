"""The face that every simulator shows, and the few checks they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.learning.random import subseed
from dyninfer.learning.settings import check_seed

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths
    from dyninfer.data.snapshots import Snapshots


class Simulator:
    """A system whose truth is known: its parameters are the fields of a frozen dataclass.

    A subclass gives :meth:`process` (the true fields) and :meth:`sample` (the population at a
    time); :meth:`snapshots` follows from them. Where ``grows`` is true, ``n`` counts the founders
    of a culture, a sample holds all cells alive at its time, and snapshots carry ``masses`` (cells
    per founder).
    """

    grows = False

    def process(self) -> Diffusion:
        """Return the true drift, diffusion and, where known, growth, score and potential."""
        raise NotImplementedError(f"{type(self).__name__} must define process()")

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Sample the population at time ``t``: independent individuals ``(n, d)``, float32."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(t, n, seed)")

    def snapshots(self, times: Iterable[float], n: int, seed: int = 0) -> Snapshots:
        """Sample ``n`` individuals, or the offspring of ``n`` founders, at each time.

        All samples are independent: none of one time is paired with one of another.
        """
        from dyninfer.data.snapshots import Snapshots

        # Before the seeds of the samples are derived from it: those are never negative.
        check_seed(seed)
        times = np.array([float(t) for t in times])
        samples = []
        for k, t in enumerate(times.tolist()):
            sample = self.sample(t, n, subseed(seed, "snapshot", k))
            samples.append(sample.numpy())
        masses = None
        if self.grows:
            masses = np.array([len(sample) / n for sample in samples])
        return Snapshots(times=times, samples=tuple(samples), masses=masses)


def check_positive(**values: float) -> None:
    """Raise a ValueError naming the first parameter that is not a positive number."""
    for name, value in values.items():
        # Not "value <= 0", which a NaN would pass.
        if not value > 0:
            raise ValueError(f"{name} must be positive, found {value!r}")


def check_not_negative(**values: float) -> None:
    """Raise a ValueError naming the first parameter that is negative or not a number."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, found {value!r}")


def check_draw(n: int, seed: int, t: float = 0.0) -> None:
    """Raise a ValueError for an empty sample, a negative seed, or a time before zero."""
    check_not_negative(t=t)
    check_positive(n=n)
    check_seed(seed)


def check_times(times: Iterable[float]) -> list[float]:
    """Return increasing times from zero on as floats, or raise a ValueError."""
    values = [float(t) for t in times]
    # Not "not any(<= 0)", which a NaN would pass.
    increasing = all(np.diff(values) > 0)
    if not values or values[0] < 0 or not increasing:
        raise ValueError(f"times must be increasing and not negative, found {values}")
    return values


def paths_of(times: Sequence[float], states: Tensor) -> Paths:
    """Collect individuals ``(path, time, feature)`` observed at the same times, as float32."""
    from dyninfer.data.paths import Paths

    return Paths(times=(np.asarray(times),) * len(states), states=tuple(states.float().numpy()))


def vector(value: float | Sequence[float], dimension: int, name: str) -> Tensor:
    """Return a number or ``dimension`` numbers as a ``(dimension,)`` float64 tensor."""
    x = torch.as_tensor(value, dtype=torch.float64)
    if x.ndim == 0:
        return x.expand(dimension)
    if x.shape != (dimension,):
        raise ValueError(f"{name} must be a number or {dimension} numbers, found {value!r}")
    return x
