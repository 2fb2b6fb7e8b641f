"""The face that every simulator shows, and the few checks they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths
    from dyninfer.data.snapshots import Snapshots


class Simulator:
    """A system whose truth is known: its parameters are the fields of a frozen dataclass.

    A subclass gives :meth:`process` (the true fields) and :meth:`sample` (the population at a time);
    :meth:`snapshots` follows from them. Where ``grows`` is true, ``n`` counts the founders of a culture,
    a sample holds all cells alive at its time, and snapshots carry ``masses`` (cells per founder).
    """

    grows = False

    def process(self) -> Diffusion:
        """Return the true drift, diffusion and, where they are known, growth, score and potential."""
        raise NotImplementedError(f"{type(self).__name__} must define process()")

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Sample the population at time ``t``: independent individuals ``(n, d)``, float32."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(t, n, seed)")

    def snapshots(self, times: Iterable[float], n: int, seed: int = 0) -> Snapshots:
        """Sample ``n`` individuals (or the offspring of ``n`` founders) at each time; all samples are unpaired."""
        from dyninfer.data.snapshots import Snapshots

        times = np.array([float(t) for t in times])
        samples = tuple(
            self.sample(t, n, stream(seed, k)).numpy() for k, t in enumerate(times.tolist())
        )
        masses = np.array([len(x) / n for x in samples]) if self.grows else None
        return Snapshots(times=times, samples=samples, masses=masses)


def stream(seed: int, k: int) -> int:
    """Derive the seed of the ``k``-th independent stream of ``seed``."""
    if seed < 0:
        raise ValueError(f"seed must be a non-negative integer, found {seed!r}")
    return int(np.random.SeedSequence((seed, k)).generate_state(1, np.uint64)[0] >> 1)


def generator(seed: int) -> torch.Generator:
    """Make a random generator of our own; the global one is never touched."""
    return torch.Generator().manual_seed(seed)


def check_positive(**values: float) -> None:
    """Raise a ValueError naming the first parameter that is not a positive number."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, found {value!r}")


def check_not_negative(**values: float) -> None:
    """Raise a ValueError naming the first parameter that is negative or not a number."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, found {value!r}")


def check_draw(t: float, n: int) -> None:
    """Raise a ValueError for a time before zero or a sample without individuals."""
    check_not_negative(t=t)
    check_positive(n=n)


def check_times(times: Iterable[float]) -> list[float]:
    """Return increasing times from zero on as floats, or raise a ValueError."""
    times = [float(t) for t in times]
    if not times or times[0] < 0 or any(b <= a for a, b in zip(times, times[1:], strict=False)):
        raise ValueError(f"times must be increasing and not negative, found {times}")
    return times


def paths_of(times: Sequence[float], states: Tensor) -> Paths:
    """Collect individuals ``(path, time, feature)`` that were all observed at the same times, as float32."""
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
