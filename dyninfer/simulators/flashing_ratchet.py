"""A particle on a ring of three sites whose potential switches on and off: a jump process out of equilibrium."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps import LabelNoise, observe
from dyninfer.jumps.process import MarkovJump, with_diagonal
from dyninfer.jumps.simulation import simulate_jumps
from dyninfer.simulators.base import check_positive, check_times, stream

_NAMES = ("on 0", "on 1", "on 2", "off 0", "off 1", "off 2")


@dataclass(frozen=True, kw_only=True)
class FlashingRatchet:
    """Discrete flashing ratchet (Roldán and Parrondo 2010, Phys. Rev. Lett. 105, 150607), started at rest.

    States 0 to 2 are the sites with the potential on, 3 to 5 the same sites with it off. With it on, the jump from
    ``i`` to ``j`` has the rate ``exp(−potential (j − i) / 2)``; with it off every jump has the rate ``off_rate``;
    the potential switches either way at ``switch_rate``.

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

    def __post_init__(self) -> None:
        check_positive(switch_rate=self.switch_rate, off_rate=self.off_rate)

    def process(self) -> MarkovJump:
        """Return the true process, which starts in its stationary law."""
        site = torch.arange(3, dtype=torch.float64)
        rates = torch.zeros(6, 6, dtype=torch.float64)
        rates[:3, :3] = torch.exp(-0.5 * self.potential * (site - site[:, None]))
        rates[3:, 3:] = self.off_rate
        rates[:3, 3:] = rates[3:, :3] = self.switch_rate * torch.eye(3, dtype=torch.float64)
        return MarkovJump(with_diagonal(rates), state_names=_NAMES)

    def paths(
        self, times: Iterable[float], n: int, seed: int = 0, label_noise: float = 0.0
    ) -> Paths:
        """Observe ``n`` individuals at increasing times; a share ``label_noise`` of the labels is wrong."""
        check_positive(n=n)
        runs = simulate_jumps(self.process(), n, check_times(times), seed=stream(seed, 0))
        return observe(runs, LabelNoise.uniform(6, label_noise), seed=stream(seed, 1))

    @staticmethod
    def parameters_of(generator: Tensor) -> dict[str, Tensor]:
        """Read ``potential``, ``switch_rate`` and ``off_rate`` ``(...)`` off generators ``(..., 6, 6)``.

        Means over the six rates that each governs, of the potential as each log-rate alone gives it.
        """
        q = generator
        log = q[..., :3, :3].clamp(min=1e-300).log()
        down = log[..., 1, 0] + log[..., 2, 1] - log[..., 0, 1] - log[..., 1, 2]
        down = 2 * down + log[..., 2, 0] - log[..., 0, 2]
        switch = torch.diagonal(q[..., :3, 3:], dim1=-2, dim2=-1) + torch.diagonal(
            q[..., 3:, :3], dim1=-2, dim2=-1
        )
        off = q[..., 3:, 3:]
        others = off.sum((-1, -2)) - torch.diagonal(off, dim1=-2, dim2=-1).sum(-1)
        return {"potential": down / 6, "switch_rate": switch.mean(-1) / 2, "off_rate": others / 6}
