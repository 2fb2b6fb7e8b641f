"""Running statistics of the Hamilton-Jacobi residual along a density curve."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.learning.parallel import mean_over_processes, sum_over_processes

# Keeps a division by no mass, or by no energy, finite.
LEAST = 1e-12


class Measurement(NamedTuple):
    """What one batch says about the curve; every entry has ``n`` rows."""

    time: Tensor
    residual: Tensor  # ∂s/∂t + H
    mass: Tensor
    prescribed_mass: Tensor
    kinetic: Tensor  # kinetic energy of the potential's flow
    pair_action: Tensor  # action of the pairs' own paths


class ResidualStatistics:
    """Mean and spread of the residual by time, and the energies that it is compared with.

    Attributes
    ----------
    moments : tensor ``(4, bins)``
        Mass, mass times residual, mass times its square, and prescribed mass, by time.
    kinetic, pair_action : scalar tensors
        Running means.
    unit : scalar tensor
        Kinetic energy before the curve moved; zero until then.
    """

    bins = 24  # of time
    memory = 0.98
    # Price of an excess of mass, in units of the kinetic energy: weaker lets the mass drift,
    # stronger makes the curve stiff.
    stiffness = 20.0

    def __init__(self, device: torch.device):
        # Double precision: squares are subtracted from each other.
        zero = torch.zeros((), device=device, dtype=torch.float64)
        self.moments = zero.new_zeros(4, self.bins)
        self.kinetic = zero.clone()
        self.pair_action = zero.clone()
        self.unit = zero.clone()

    @property
    def spread(self) -> Tensor:
        """Standard deviation of the residual at one time, over the mean kinetic energy."""
        mass, total, squares, _ = self.moments
        counted = mass.clamp_min(LEAST)
        mean = total / counted
        variance = squares / counted - mean.square()
        variance = variance.clamp_min(0)
        total_mass = mass.sum().clamp_min(LEAST)
        total_variance = (variance * mass).sum()
        mean_variance = total_variance / total_mass
        # Before the curve moves there is no unit yet.
        has_unit = self.unit > 0
        energy = torch.where(has_unit, self.unit, self.kinetic)
        energy = energy.clamp_min(LEAST)
        return mean_variance.sqrt() / energy

    def mass_price(self, t: Tensor) -> Tensor:
        """Price of mass at times ``(n,)`` that keeps it at what is prescribed."""
        mass, total, _, prescribed = self.moments
        ratio = mass / prescribed.clamp_min(LEAST)
        excess = ratio - 1
        mean_residual = total / mass.clamp_min(LEAST)
        unit_price = self.stiffness * self.kinetic
        price = mean_residual + unit_price * excess
        price = price.to(t.dtype)
        return price[self._bin(t)]

    @torch.no_grad()
    def update(self, measurement: Measurement) -> None:
        """Follow one batch."""
        residual = measurement.residual.double()
        mass = measurement.mass.double()
        prescribed = measurement.prescribed_mass.double()
        first = mass * residual
        second = mass * residual.square()
        moments = torch.stack([mass, first, second, prescribed])
        new = torch.zeros_like(self.moments)
        rows = self._bin(measurement.time)
        new.index_add_(1, rows, moments)
        sum_over_processes([new])
        self.moments.mul_(self.memory).add_(new)
        kinetic = measurement.kinetic.double().mean()
        pair_action = measurement.pair_action.double().mean()
        fresh = torch.stack([kinetic, pair_action])
        mean_over_processes([fresh])
        running = torch.stack([self.kinetic, self.pair_action])
        share = 1 - self.memory
        running = torch.lerp(running, fresh, share)
        # The first batch is not averaged with the zeros it finds.
        has_begun = self.kinetic > 0
        self.kinetic, self.pair_action = torch.where(has_begun, running, fresh)

    def forget(self) -> None:
        """Begin anew, but for the unit."""
        self.moments.zero_()
        self.kinetic = torch.zeros_like(self.kinetic)

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return {
            "moments": self.moments,
            "kinetic": self.kinetic,
            "pair_action": self.pair_action,
            "unit": self.unit,
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.moments = state["moments"]
        self.kinetic = state["kinetic"]
        self.pair_action = state["pair_action"]
        self.unit = state["unit"]

    def _bin(self, t: Tensor) -> Tensor:
        last = self.bins - 1
        row = (t * self.bins).long()
        return row.clamp(0, last)
