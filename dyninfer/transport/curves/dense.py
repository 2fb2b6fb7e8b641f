"""Snapshots so dense in time that nothing lies between them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings.samples import placer
from dyninfer.transport.couplings.stretches import log_masses
from dyninfer.transport.curves.base import Curve, DensityBatch


class DenseCurve(Curve):
    """Snapshots between which nothing is interpolated: the trapezoidal rule over their times."""

    def __init__(self, data: Snapshots, scaling: Scaling, device: torch.device, dtype: torch.dtype):
        to_device = placer(device, dtype)
        times = scaling.times(data.times)
        gaps = np.diff(times)
        # A snapshot stands for half of the gap on either side.
        before, after = np.append(0, gaps), np.append(gaps, 0)
        share = 0.5 * (before + after)
        self.times = to_device(times)
        self.states = to_device(np.concatenate([scaling.states(s) for s in data.samples]))
        self.levels = torch.as_tensor(np.cumsum(share)[:-1], device=device)
        # Snapshot k owns the stretch (k, k + 1] of one long cumulative sum: one search serves all.
        weights = [data.weights_at(t) for t in data.times]
        cumulative = np.concatenate([k + np.cumsum(w) for k, w in enumerate(weights)])
        self.cumulative = torch.as_tensor(cumulative, device=device)
        self.mass = to_device(np.exp(log_masses(data)))
        self.weighted = data.masses is not None

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Draw samples at the snapshots.

        The times ``t`` choose among them, with trapezoidal probabilities where they are uniform.
        """
        k = torch.searchsorted(self.levels, t.double())
        first = torch.zeros_like(k)
        last = torch.full_like(k, len(self.times) - 1)
        u = torch.rand(3, len(t), generator=generator, device=t.device, dtype=torch.float64)
        start, end = self.times[first], self.times[last]
        batch = DensityBatch(
            time=self.times[k],
            density=density,
            state=self._states(k, u[0]),
            start_time=start,
            start_state=self._states(first, u[1]),
            end_time=end,
            end_state=self._states(last, u[2]),
            gap=end - start,
        )
        if not self.weighted:
            return batch
        return batch._replace(
            weight=self.mass[k], start_weight=self.mass[first], end_weight=self.mass[last]
        )

    def _states(self, k: Tensor, u: Tensor) -> Tensor:
        """Samples of the snapshots ``k``, chosen by levels ``u`` in [0, 1)."""
        row = torch.searchsorted(self.cumulative, k + u)
        return self.states[row.clamp(max=len(self.states) - 1)]
