"""Snapshots so dense in time that nothing lies between them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.curves.base import Curve, DensityBatch, log_masses, placer


class DenseCurve(Curve):
    """Snapshots so dense in time that nothing is interpolated: the trapezoidal rule over their times."""

    def __init__(self, data: Snapshots, scaling: Scaling, device: torch.device, dtype: torch.dtype):
        put = placer(device, dtype)
        times = scaling.times(data.times)
        gaps = np.diff(times)
        share = 0.5 * (np.concatenate([[0], gaps]) + np.concatenate([gaps, [0]]))
        self.times = put(times)
        self.states = put(np.concatenate([scaling.states(s) for s in data.samples]))
        self.levels = torch.as_tensor(np.cumsum(share)[:-1], device=device)
        self.cumulative = torch.as_tensor(
            np.concatenate([k + np.cumsum(data.weights_at(t)) for k, t in enumerate(data.times)]),
            device=device,
        )
        self.mass = put(np.exp(log_masses(data)))
        self.weighted = data.masses is not None

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at the snapshots; ``t`` chooses among them, with trapezoidal probabilities where it is uniform."""
        n = len(t)
        k = torch.searchsorted(self.levels, t.double())
        u = torch.rand(3, n, generator=generator, device=t.device, dtype=torch.float64)
        first, last = torch.zeros_like(k), torch.full_like(k, len(self.times) - 1)
        x, x0, x1 = (
            self.states[self._rows(index, v)] for index, v in zip((k, first, last), u, strict=True)
        )
        mass = [self.mass[index] if self.weighted else None for index in (k, first, last)]
        t0, t1 = self.times[first], self.times[last]
        return DensityBatch(
            self.times[k],
            x,
            density,
            mass[0],
            None,
            None,
            t0,
            x0,
            mass[1],
            t1,
            x1,
            mass[2],
            t1 - t0,
            None,
        )

    def _rows(self, k: Tensor, u: Tensor) -> Tensor:
        return torch.searchsorted(self.cumulative, k + u).clamp(max=len(self.states) - 1)
