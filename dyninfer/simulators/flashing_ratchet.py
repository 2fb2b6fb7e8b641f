"""A particle on a ring of three sites whose potential flashes: jumps out of equilibrium."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps import LabelNoise
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.chain import diagonal, identity, off_diagonal
from dyninfer.simulators.base import System
from dyninfer.simulators.observed_jumps import observed_jumps

_NAMES = ("on 0", "on 1", "on 2", "off 0", "off 1", "off 2")
# An estimate may be exactly zero; its logarithm must stay finite. Near the smallest float64.
_SMALLEST_RATE = 1e-300


@dataclass(frozen=True, kw_only=True)
class FlashingRatchet(System):
    """Discrete flashing ratchet (Roldán and Parrondo 2010, Phys. Rev. Lett. 105, 150607).

    States 0 to 2 are the sites with the potential on, 3 to 5 the same sites with it off. When it is
    on, the jump from ``i`` to ``j`` has rate ``exp(−potential (j − i) / 2)``; when it is off, every
    jump has rate ``off_rate``. The potential switches on and off at ``switch_rate``. Paths start in
    the stationary distribution.

    Parameters
    ----------
    potential : float
        V, energy between neighbouring sites in units of kT.
    switch_rate, off_rate : float
        r and b, per time unit; positive.

    Examples
    --------
    >>> import dyninfer as di
    >>> ratchet = di.simulators.FlashingRatchet()
    >>> round(float(ratchet.process().stationary()[:3].sum()), 6)  # on for half of the time
    0.5
    >>> paths = ratchet.paths([0, 1, 2], 10)
    """

    potential: float = 1.0
    switch_rate: float = 1.0
    off_rate: float = 1.0

    def _check(self) -> None:
        self._check_positive("switch_rate", "off_rate")

    def process(self) -> MarkovJump:
        """Return the true process, which starts in its stationary distribution."""
        site = torch.arange(3, dtype=torch.float64)
        difference = site - site[:, None]
        climb = self.potential * difference
        while_on = torch.exp(-climb / 2)
        while_off = torch.full_like(while_on, self.off_rate)
        # The site stays where it is when the potential is switched.
        switch = self.switch_rate * identity(while_on)
        from_on = torch.cat([while_on, switch], dim=1)
        from_off = torch.cat([switch, while_off], dim=1)
        rates = torch.cat([from_on, from_off])
        return MarkovJump.from_rates(rates, state_names=_NAMES)

    def paths(
        self, times: Iterable[float], n: int, seed: int = 0, label_noise: float = 0.0
    ) -> Paths:
        """Observe ``n`` individuals at increasing times; a share of the labels may be wrong."""
        emission = LabelNoise.uniform(6, label_noise)
        process = self.process()
        return observed_jumps(process, emission, times, n, seed)

    @staticmethod
    def parameters_of(generator: Tensor) -> dict[str, Tensor]:
        """Read ``potential``, ``switch_rate`` and ``off_rate`` from generators ``(..., 6, 6)``.

        Each is the mean over the six rates that depend on it; the potential is the mean of the
        values from each log-rate.
        """
        from_on, from_off = generator.split(3, dim=-2)
        while_on, switch_off = from_on.split(3, dim=-1)
        switch_on, while_off = from_off.split(3, dim=-1)
        log_rate = while_on.clamp(min=_SMALLEST_RATE).log()
        downhill = log_rate - log_rate.mT
        # A neighbour's log-rate is half the potential, that between the ends the whole of it.
        one_to_zero = downhill[..., 1, 0]
        two_to_one = downhill[..., 2, 1]
        neighbours = one_to_zero + two_to_one
        ends = downhill[..., 2, 0]
        turning_off = diagonal(switch_off)
        turning_on = diagonal(switch_on)
        switches = turning_off + turning_on
        jumps = off_diagonal(while_off)
        jumps_while_off = jumps.sum((-1, -2))
        return {
            "potential": (2 * neighbours + ends) / 6,
            "switch_rate": switches.mean(-1) / 2,
            "off_rate": jumps_while_off / 6,
        }
