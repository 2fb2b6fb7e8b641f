"""One ion channel under a patch clamp: a hidden gate behind a noisy current."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps import GaussianEmission
from dyninfer.jumps.process import MarkovJump
from dyninfer.simulators.base import System, check_positive
from dyninfer.simulators.observed_jumps import observed_jumps


@dataclass(frozen=True, kw_only=True)
class IonChannel(System):
    """A channel with three states in equilibrium, whose current is measured with Gaussian noise.

    The default rates give the mean first-passage times that Köhs et al. (2022) found for the viral
    potassium channel Kcv: 68, 54, 133, 33, 181 and 92 ms (0→1, 0→2, 1→0, 1→2, 2→0, 2→1). The levels
    and the noise of the current are invented: this stands in for a recording and is not one.

    Parameters
    ----------
    rates : tuple of 6 floats
        Rates of 0→1, 0→2, 1→0, 1→2, 2→0 and 2→1, per second; positive.
    levels : tuple of 3 floats
        Mean current of each state, relative to that of the open channel.
    noise : float
        Standard deviation of the current, in the same units; positive.

    Examples
    --------
    >>> import dyninfer as di
    >>> channel = di.simulators.IonChannel()
    >>> di.tl.first_passage(channel.process(), 1, start=0)["value"].round(3).tolist()  # 68 ms
    [0.068]
    >>> paths = channel.paths([0, 0.1, 0.2], 10)
    """

    rates: tuple[float, ...] = (18.678, 11.255, 23.957, 45.549, 2.839, 10.129)
    levels: tuple[float, ...] = (0.0, 0.5, 1.0)
    noise: float = 0.1

    def _check(self) -> None:
        sizes = len(self.rates), len(self.levels)
        if sizes != (6, 3):
            raise ValueError(
                f"rates and levels must hold 6 and 3 numbers, found {self.rates} and {self.levels}"
            )
        self._check_positive("noise")
        for k, rate in enumerate(self.rates):
            check_positive(**{f"rates[{k}]": rate})

    def process(self) -> MarkovJump:
        """Return the true process of the gate, which starts in its stationary distribution."""
        source = [0, 0, 1, 1, 2, 2]
        target = [1, 2, 0, 2, 0, 1]
        rates = torch.zeros(3, 3, dtype=torch.float64)
        own_rates = torch.tensor(self.rates, dtype=torch.float64)
        rates[source, target] = own_rates
        return MarkovJump.from_rates(rates)

    def emission(self) -> GaussianEmission:
        """Return the true distribution of the current in each state."""
        return GaussianEmission.of(self.levels, self.noise)

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Measure the current of ``n`` channels at increasing times, in seconds.

        The current is the only feature, and continuous.
        """
        process = self.process()
        return observed_jumps(process, self.emission(), times, n, seed)
