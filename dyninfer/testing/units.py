"""What a fit must not depend on: units and origins of states and times, and chunks of paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.estimators import Estimator

# In spreads of the data: solvers keep 1e-4, and networks compute in float32.
SAME = 1e-3


@dataclass(frozen=True)
class Units:
    """A state of 1 becomes ``shift + scale``, and a time of 1 ``start + duration``."""

    scale: float = 1.0
    shift: float = 0.0
    duration: float = 1.0
    start: float = 0.0

    def states(self, x: Any) -> Any:
        """States in these units."""
        return self.shift + self.scale * x

    def times(self, t: Any) -> Any:
        """Times in these units."""
        return self.start + self.duration * t

    def plain_states(self, x: Any) -> Any:
        """States in these units as they would be in units of one."""
        return (x - self.shift) / self.scale

    @property
    def noise(self) -> float:
        """A noise amplitude of 1, in state units per square root of time."""
        return self.scale / self.duration**0.5


PLAIN = Units()
# From picometres to light years, and from picoseconds to the age of the earth.
SCALES = (Units(scale=1e-12, duration=1e12), Units(scale=1e12, duration=1e-12))
# Features with a mean far from zero; times before the start, and seconds since 1970.
ORIGINS = (Units(shift=-1e3, start=-1e3), Units(start=1.7e9))
STARTS = (Units(start=-1e3), Units(start=1.7e9))


def units_for(model: Estimator) -> tuple[Units, ...]:
    """Units in which a method must learn the same with the same settings."""
    settings = model.get_params(deep=False)
    # States that are not standardised reach a network as they are.
    if settings.get("scale", "global") is None:
        return STARTS
    defaults = type(model)().get_params(deep=False)
    # A noise amplitude, say, would have to change with the units.
    is_set = [settings[name] != defaults[name] for name in model.with_units]
    if any(is_set):
        return ORIGINS
    return SCALES + ORIGINS


def check_same(one: ndarray, two: ndarray, where: str) -> None:
    """Refuse states that differ by more than rounding, in spreads of all of them."""
    spread = float(np.std(one))
    gap = np.abs(one - two)
    largest = float(gap.max())
    apart = largest / spread
    assert apart < SAME, f"paths differ by {apart:.2g} of their spread {where}"
