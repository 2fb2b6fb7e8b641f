"""Straight lines between coupled samples, carrying mass."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.transport.curves.base import Curve, DensityBatch
from dyninfer.transport.curves.pairs import CoupledPairs


class InterpolatedCurve(CoupledPairs, Curve):
    """Straight lines between coupled samples of neighbouring snapshots, each carrying mass.

    A pair ``(x_k, x_{k+1})`` moves at constant velocity, and its mass changes at a constant rate from what makes the pairs
    reproduce the first snapshot to what makes them reproduce the second; given masses change exponentially between
    the times. The path is exact at the snapshots.
    """

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at times ``(n,)``."""
        _, x0, x1, t0, gap, a, b = self.at(t, generator)
        tau = (t - t0) / gap
        velocity = (x1 - x0) / gap[:, None]
        state = torch.lerp(x0, x1, tau[:, None])
        t1 = t0 + gap
        if not self.weighted:
            return DensityBatch(
                t, state, density, None, velocity, None, t0, x0, None, t1, x1, None, gap, None
            )
        weight, rate = torch.lerp(a, b, tau).exp(), (b - a) / gap
        return DensityBatch(
            t, state, density, weight, velocity, rate, t0, x0, a.exp(), t1, x1, b.exp(), gap, None
        )
