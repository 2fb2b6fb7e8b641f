"""A channel that opens in bursts, and a recorder that misses what is too short."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps import GaussianEmission
from dyninfer.jumps.dwell import DwellTimes, simulate_dwell_times
from dyninfer.jumps.process import MarkovJump
from dyninfer.simulators.base import System, check_draw, check_not_negative, check_positive
from dyninfer.simulators.observed_jumps import observed_jumps

_NAMES = ("open", "short shut", "long shut")


@dataclass(frozen=True, kw_only=True)
class BurstingChannel(System):
    """A channel with one open state, a short shut state within bursts, and a long one between.

    The scheme is that of del Castillo and Katz (1957). Rates, level and noise are invented, with
    the magnitude of those of a muscle nicotinic receptor.

    Parameters
    ----------
    rates : tuple of 4 floats
        Rates of open→short, short→open, short→long and long→short, per millisecond; positive.
    level : float
        Current of the open channel, in pA; that of the shut channel is 0.
    noise : float
        Standard deviation of the current, in pA; positive.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> paths = di.simulators.BurstingChannel().paths(np.arange(50) * 0.1, 2)
    >>> len(paths)
    2
    """

    rates: tuple[float, ...] = (0.8, 8.0, 2.0, 0.2)
    level: float = 5.0
    noise: float = 0.8

    def _check(self) -> None:
        if len(self.rates) != 4:
            raise ValueError(f"rates must hold 4 numbers, found {self.rates}")
        self._check_positive("noise")
        for k, rate in enumerate(self.rates):
            check_positive(**{f"rates[{k}]": rate})

    @property
    def open_states(self) -> tuple[str, ...]:
        """Names of the open states."""
        return _NAMES[:1]

    @property
    def jumps(self) -> list[str]:
        """The jumps that can happen, as :class:`~dyninfer.Only` takes them."""
        is_jump = self.process().generator > 0
        edges = is_jump.nonzero().tolist()
        return [f"{_NAMES[source]}>{_NAMES[target]}" for source, target in edges]

    def process(self) -> MarkovJump:
        """Return the true process of the gate, which starts in its stationary distribution."""
        rates = torch.zeros(3, 3, dtype=torch.float64)
        own_rates = torch.tensor(self.rates, dtype=torch.float64)
        rates[[0, 1, 1, 2], [1, 0, 2, 1]] = own_rates
        return MarkovJump.from_rates(rates, state_names=_NAMES)

    def emission(self) -> GaussianEmission:
        """Return the true distribution of the current in each state."""
        return GaussianEmission.of([self.level, 0.0, 0.0], self.noise)

    def dwell_times(
        self, duration: float, n: int = 1, dead_time: float = 0.05, seed: int = 0
    ) -> DwellTimes:
        """Record the open and shut times of ``n`` channels for a duration, in milliseconds.

        Visits shorter than ``dead_time`` are missed.
        """
        check_draw(n, seed)
        check_positive(duration=duration)
        check_not_negative(dead_time=dead_time)
        process = self.process()
        return simulate_dwell_times(process, self.open_states, duration, n, dead_time, seed)

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Measure the current of ``n`` channels at increasing times, in milliseconds.

        The current is the only feature, and continuous.
        """
        process = self.process()
        return observed_jumps(process, self.emission(), times, n, seed)
