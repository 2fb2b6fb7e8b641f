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
        put = placer(device, dtype)
        times = scaling.times(data.times)
        gaps = np.diff(times)
        # A snapshot stands for half of the gap on either side.
        share = 0.5 * (np.append(0, gaps) + np.append(gaps, 0))
        self.times = put(times)
        self.states = put(np.concatenate([scaling.states(s) for s in data.samples]))
        self.levels = torch.as_tensor(np.cumsum(share)[:-1], device=device)
        # Snapshot k owns the stretch (k, k + 1] of one long cumulative sum: one search serves all.
        cumulative = [k + np.cumsum(data.weights_at(t)) for k, t in enumerate(data.times)]
        self.cumulative = torch.as_tensor(np.concatenate(cumulative), device=device)
        self.mass = put(np.exp(log_masses(data)))
        self.weighted = data.masses is not None

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Draw samples at the snapshots.

        The times ``t`` choose among them, with trapezoidal probabilities where they are uniform.
        """
        n = len(t)
        k = torch.searchsorted(self.levels, t.double())
        first, last = torch.zeros_like(k), torch.full_like(k, len(self.times) - 1)
        u = torch.rand(3, n, generator=generator, device=t.device, dtype=torch.float64)
        start, end = self.times[first], self.times[last]
        return DensityBatch(
            time=self.times[k],
            state=self._states(k, u[0]),
            density=density,
            weight=self._weight(k),
            start_time=start,
            start_state=self._states(first, u[1]),
            start_weight=self._weight(first),
            end_time=end,
            end_state=self._states(last, u[2]),
            end_weight=self._weight(last),
            gap=end - start,
        )

    def _states(self, k: Tensor, u: Tensor) -> Tensor:
        """Samples of the snapshots ``k``, chosen by levels ``u`` in [0, 1)."""
        row = torch.searchsorted(self.cumulative, k + u)
        return self.states[row.clamp(max=len(self.states) - 1)]

    def _weight(self, k: Tensor) -> Tensor | None:
        return self.mass[k] if self.weighted else None
