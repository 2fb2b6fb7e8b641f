"""A particle on a ring of three sites whose potential flashes: jumps out of equilibrium."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps import LabelNoise
from dyninfer.jumps.process import MarkovJump, with_diagonal
from dyninfer.simulators.base import System, check_positive
from dyninfer.simulators.observed_jumps import observed_jumps

_NAMES = ("on 0", "on 1", "on 2", "off 0", "off 1", "off 2")
# An estimate may be exactly zero; its logarithm must stay finite. Near the smallest float64.
_SMALLEST_RATE = 1e-300


@dataclass(frozen=True, kw_only=True)
class FlashingRatchet(System):
    """Discrete flashing ratchet (Roldán and Parrondo 2010, Phys. Rev. Lett. 105, 150607).

    States 0 to 2 are the sites with the potential on, 3 to 5 the same sites with it off. With it
    on, the jump from ``i`` to ``j`` has the rate ``exp(−potential (j − i) / 2)``; with it off every
    jump has the rate ``off_rate``; the potential switches either way at ``switch_rate``. Paths
    start in the stationary distribution.

    Parameters
    ----------
    potential : float
        V, energy between neighbouring sites in units of kT.
    switch_rate, off_rate : float
        r and b, per time unit; positive.
    """

    potential: float = 1.0
    switch_rate: float = 1.0
    off_rate: float = 1.0

    def _check(self) -> None:
        check_positive(switch_rate=self.switch_rate, off_rate=self.off_rate)

    def process(self) -> MarkovJump:
        """Return the true process, which starts in its stationary distribution."""
        site = torch.arange(3, dtype=torch.float64)
        climb = self.potential * (site - site[:, None])
        switch = self.switch_rate * torch.eye(3, dtype=torch.float64)
        rates = torch.zeros(6, 6, dtype=torch.float64)
        rates[:3, :3] = torch.exp(-climb / 2)
        rates[3:, 3:] = self.off_rate
        rates[:3, 3:] = switch
        rates[3:, :3] = switch
        return MarkovJump(with_diagonal(rates), state_names=_NAMES)

    def paths(
        self, times: Iterable[float], n: int, seed: int = 0, label_noise: float = 0.0
    ) -> Paths:
        """Observe ``n`` individuals at increasing times; a share of the labels may be wrong."""
        emission = LabelNoise.uniform(6, label_noise)
        return observed_jumps(self.process(), emission, times, n, seed)

    @staticmethod
    def parameters_of(generator: Tensor) -> dict[str, Tensor]:
        """Read ``potential``, ``switch_rate`` and ``off_rate`` from generators ``(..., 6, 6)``.

        Each is the mean over the six rates that depend on it; of the potential, the mean of what
        every log-rate alone says.
        """
        log_rate = generator[..., :3, :3].clamp(min=_SMALLEST_RATE).log()
        downhill = torch.tril(log_rate, -1) - torch.triu(log_rate, 1).mT
        # A neighbour's log-rate is half the potential, that between the ends the whole of it.
        neighbours = downhill[..., 1, 0] + downhill[..., 2, 1]
        ends = downhill[..., 2, 0]
        switch_off = _diagonal(generator[..., :3, 3:])
        switch_on = _diagonal(generator[..., 3:, :3])
        switches = switch_off + switch_on
        off = generator[..., 3:, 3:]
        leaving = _diagonal(off)
        jumps_while_off = off.sum((-1, -2)) - leaving.sum(-1)
        return {
            "potential": (2 * neighbours + ends) / 6,
            "switch_rate": switches.mean(-1) / 2,
            "off_rate": jumps_while_off / 6,
        }


def _diagonal(matrices: Tensor) -> Tensor:
    return torch.diagonal(matrices, dim1=-2, dim2=-1)
