"""Particles with inertia: positions that follow velocities, and velocities that are pushed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dyninfer.data.words import listed
from dyninfer.diffusions.diffusion import Time
from dyninfer.diffusions.regression.increments import Increments
from dyninfer.diffusions.regression.libraries import Functions
from dyninfer.diffusions.regression.process import LibraryDiffusion
from dyninfer.learning.scaling import Scaling

# Share of the squared displacements that velocities may leave unexplained. Over a gap of a whole
# velocity memory 1/γ it is 0.08 for velocities at the observations, and 0 for means over the gaps.
_MOST_UNEXPLAINED = 0.1


class InertialDiffusion(LibraryDiffusion):
    """``dx = v dt``, ``dv = Φ(x, v) W dt + √(Ψ(x, v) V) dW``; states are ``(x, v)``.

    Parameters
    ----------
    drift_functions, noise_functions : Functions
        Φ and Ψ, of scaled states.
    scaling : Scaling
        Of positions and velocities, which each have a shift and a unit.
    gap : float
        Usual time between observations, scaled: longer steps would miss how a particle swings.
    """

    def __init__(
        self,
        drift_functions: Functions,
        noise_functions: Functions,
        scaling: Scaling,
        gap: float,
    ):
        n_features = scaling.n_features
        if n_features % 2:
            raise ValueError(
                "inertia=True needs as many velocities as positions, the positions first, and "
                f"there are {n_features} features; di.tl.with_velocities(paths) makes them"
            )
        n = n_features // 2
        super().__init__(drift_functions, noise_functions, n)
        self.scaling = scaling
        self.longest_step = gap
        self.n_positions = n
        self.moving = slice(n, None)

    def speeds(self, z: Tensor) -> Tensor:
        """Velocities ``(n, d/2)`` of scaled states, in scaled positions per scaled time."""
        n = self.n_positions
        x = self.scaling.user_states(z)
        # Velocities stand where positions were, whose unit they then take.
        exchanged = x.roll(n, dims=1)
        speeds = self.scaling.velocities(exchanged)
        return speeds[:, :n]

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """``(v, Φ W)``, shape ``(n, d)``."""
        speeds = self.speeds(x)
        forces = super().drift(t, x)
        return torch.cat([speeds, forces], dim=1)

    def diffusion(self, t: Time, x: Tensor) -> Tensor:
        """``(0, √(Ψ V))``, shape ``(n, d)``, or ``(d,)`` where it is constant."""
        kicks = super().diffusion(t, x)
        # Not the root of a zero, which has no slope.
        still = torch.zeros_like(kicks)
        return torch.cat([still, kicks], dim=-1)


def check_velocities(
    increments: Increments, process: InertialDiffusion, features: Sequence[str]
) -> None:
    """Raise a ValueError unless positions move by the mean of the velocities before and after."""
    start = torch.as_tensor(increments.start)
    end = torch.as_tensor(increments.start + increments.step)
    mean_speed = (process.speeds(start) + process.speeds(end)).numpy() / 2
    n = process.n_positions
    moved = increments.step[:, :n]
    left = moved - mean_speed * increments.gap[:, None]
    unexplained = (left**2).sum(0)
    total = (moved**2).sum(0)
    is_wrong = unexplained > _MOST_UNEXPLAINED * total
    if is_wrong.any():
        names = [features[number] for number in is_wrong.nonzero()[0]]
        raise ValueError(
            f"positions {listed(names)} do not move by the velocities in the second half of the "
            "features; check order and units, observe more often, or use "
            "di.tl.with_velocities(paths)"
        )
