"""The face that every simulator shows, and the few checks they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from inspect import isfunction
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.arrays import as_tensor
from dyninfer.data.time_reading import as_times
from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.learning.random import stream, subseed
from dyninfer.learning.settings import brief, check_count, check_fields, check_seed
from dyninfer.learning.surroundings import own_surroundings

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths
    from dyninfer.data.snapshots import Snapshots


# More individuals than any computer holds.
LARGEST = 10**9
# Sizes of parameters whose products and powers double precision still holds.
_LEAST_SIZE = 1e-50
_LARGEST_SIZE = 1e50
_NUMBERS = (int, float, np.integer, np.floating)


class System:
    """A system whose parameters, the fields of a frozen dataclass, are checked on creation.

    Its public methods ignore the default device of the program.
    """

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        for name, member in list(vars(cls).items()):
            if isfunction(member) and not name.startswith("_"):
                setattr(cls, name, own_surroundings()(member))

    def __post_init__(self) -> None:
        check_fields(self)
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if getattr(value, "shape", None) == ():
                # One number of NumPy or torch: formulas mix both.
                value = value.item()
                object.__setattr__(self, field.name, value)
            if isinstance(value, int) and abs(value) > LARGEST:
                raise ValueError(f"{field.name} must be below {LARGEST}, found {brief(value)}")
            if isinstance(value, float):
                _check_size(value, field.name)
        self._check()

    def _check(self) -> None:
        """Raise a ValueError that names an invalid parameter."""

    def _check_positive(self, *names: str) -> None:
        """Raise a ValueError naming the first of these parameters that is not positive."""
        for name in names:
            check_positive(**{name: getattr(self, name)})

    def _check_not_negative(self, *names: str) -> None:
        """Raise a ValueError naming the first of these parameters that is negative."""
        for name in names:
            check_not_negative(**{name: getattr(self, name)})


class Simulator(System):
    """A system whose truth is known: its parameters are the fields of a frozen dataclass.

    A subclass defines :meth:`process` (the true fields) and :meth:`sample` (the population at a
    time); :meth:`snapshots` follows from them. If ``grows`` is true, ``n`` counts the founders of a
    culture, a sample holds all cells alive at its time, and snapshots carry ``masses`` (cells per
    founder).
    """

    grows = False

    def process(self) -> Diffusion:
        """Return the true drift, diffusion and, where known, growth, score and potential."""
        raise NotImplementedError(f"{type(self).__name__} must define process()")

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Sample the population at time ``t``: independent individuals ``(n, d)``, float32."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(t, n, seed)")

    def snapshots(self, times: Iterable[float], n: int, seed: int = 0) -> Snapshots:
        """Sample ``n`` individuals, or the descendants of ``n`` founders, at each time.

        All samples are independent; nothing pairs those of different times.
        """
        from dyninfer.data.snapshots import Snapshots

        # Before the seeds of the samples are derived from it: those are never negative.
        check_seed(seed)
        times = as_times(times)
        samples = []
        for k, t in enumerate(times.tolist()):
            own_seed = subseed(seed, "snapshot", k)
            sample = self.sample(t, n, own_seed)
            _check_sample(sample, t)
            samples.append(sample.numpy())
        masses = None
        if self.grows:
            counts = [len(sample) for sample in samples]
            sizes = np.array(counts)
            masses = sizes / n
        return Snapshots(times=times, samples=tuple(samples), masses=masses)


def _check_sample(sample: Tensor, time: float) -> None:
    if not bool(sample.isfinite().all()):
        raise ValueError(
            f"the states at time {time:g} are beyond what single precision holds; "
            "give earlier times, or smaller parameters"
        )


def _check_size(value: float, name: str) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, found {value}")
    is_in_range = _LEAST_SIZE <= abs(value) <= _LARGEST_SIZE
    if value and not is_in_range:
        raise ValueError(
            f"{name} must be zero or of a size between {_LEAST_SIZE:g} and {_LARGEST_SIZE:g}, "
            f"found {value:g}; use other units"
        )


def check_positive(**values: float) -> None:
    """Raise a ValueError naming the first parameter that is not a positive number."""
    for name, value in values.items():
        _check_number(value, name)
        # Not "value <= 0", which a NaN would pass.
        if not value > 0:
            raise ValueError(f"{name} must be positive, found {brief(value)}")


def check_not_negative(**values: float) -> None:
    """Raise a ValueError naming the first parameter that is negative or not a number."""
    for name, value in values.items():
        _check_number(value, name)
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, found {brief(value)}")


def _check_number(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        raise TypeError(f"{name} must be a number, found {brief(value)}")


def check_draw(n: int, seed: int, t: float = 0.0) -> None:
    """Raise a ValueError for an empty sample, a negative seed, or a time before zero."""
    check_not_negative(t=t)
    check_positive(n=n)
    if check_count(n, "n") > LARGEST:
        raise ValueError(f"n must be at most {LARGEST}, found {brief(n)}")
    check_seed(seed)


def check_times(times: Iterable[float]) -> list[float]:
    """Return increasing times from zero on as floats, or raise a ValueError."""
    values = as_times(times).tolist()
    # Not "not any(<= 0)", which a NaN would pass.
    steps = np.diff(values)
    increasing = all(steps > 0)
    if not values or values[0] < 0 or not increasing:
        raise ValueError(f"times must be increasing and not negative, found {brief(values)}")
    return values


def time_like(t: Time, x: Tensor) -> Tensor:
    """A time in the precision of the states ``x``, and on their device."""
    return torch.as_tensor(t, dtype=x.dtype, device=x.device)


def normals(seed: int, name: str, *shape: int) -> Tensor:
    """Standard normal numbers of one stream of the seed, float64."""
    return torch.randn(
        shape,
        generator=stream(seed, name),
        dtype=torch.float64,
    )


def paths_of(times: Sequence[float], states: Tensor) -> Paths:
    """Collect individuals ``(path, time, feature)`` observed at the same times, as float32."""
    numbers = states.float()
    _check_sample(numbers, times[-1])
    from dyninfer.data.paths import Paths

    shared_times = np.asarray(times)
    return Paths(
        times=(shared_times,) * len(states),
        states=tuple(states.float().numpy()),
    )


def vector(value: float | Sequence[float], dimension: int, name: str) -> Tensor:
    """Return a number or ``dimension`` numbers as a ``(dimension,)`` float64 tensor."""
    x = as_tensor(value, name)
    if x.ndim == 0:
        return x.expand(dimension)
    if x.shape != (dimension,):
        raise ValueError(f"{name} must be a number or {dimension} numbers, found {brief(value)}")
    return x
