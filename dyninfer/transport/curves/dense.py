"""Snapshots so dense in time that nothing lies between them."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Generator, Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings.folds import Folds, fold_numbers, folds_of
from dyninfer.transport.couplings.samples import cumulative_sums, placer
from dyninfer.transport.couplings.stretches import log_masses
from dyninfer.transport.curves.base import Curve, DensityBatch


class DenseCurve(Curve):
    """Snapshots between which nothing is interpolated: the trapezoidal rule over their times."""

    def __init__(self, data: Snapshots, scaling: Scaling, device: torch.device, dtype: torch.dtype):
        to_device = placer(device, dtype)
        times = scaling.times(data.times)
        gaps = np.diff(times)
        # A snapshot stands for half of the gap on either side.
        before = np.append(0, gaps)
        after = np.append(gaps, 0)
        share = 0.5 * (before + after)
        levels = np.cumsum(share)[:-1]
        states = [scaling.states(sample) for sample in data.samples]
        weights = [data.weights_at(t) for t in data.times]
        masses = np.exp(log_masses(data))
        self.times = to_device(times)
        self.levels = torch.as_tensor(levels, device=device)
        self.states = to_device(np.concatenate(states))
        self.row_weights = weights
        sums = cumulative_sums(weights)
        self.cumulative = torch.as_tensor(sums, device=device)
        self.mass = to_device(masses)
        self.weighted = data.masses is not None

    def draw(self, t: Tensor, density: Tensor, generator: Generator) -> DensityBatch:
        """Draw samples at the snapshots.

        The times ``t`` choose among them, with trapezoidal probabilities where they are uniform.
        """
        k = torch.searchsorted(self.levels, t.double())
        first = torch.zeros_like(k)
        last = torch.full_like(k, len(self.times) - 1)
        u = torch.rand(3, len(t), generator=generator, device=t.device, dtype=torch.float64)
        state = self._states(k, u[0])
        start_state = self._states(first, u[1])
        end_state = self._states(last, u[2])
        start = self.times[first]
        end = self.times[last]
        batch = DensityBatch(
            time=self.times[k],
            density=density,
            state=state,
            start_time=start,
            start_state=start_state,
            end_time=end,
            end_state=end_state,
            gap=end - start,
        )
        if not self.weighted:
            return batch
        mass = self.mass
        return batch._replace(
            weight=mass[k],
            start_weight=mass[first],
            end_weight=mass[last],
        )

    def folds(self, fraction: float, seed: int) -> Folds[Curve]:
        """See :meth:`Curve.folds`: samples of every snapshot, for there are no pairs."""
        groups = [np.flatnonzero(own > 0) for own in self.row_weights]
        numbers, share = fold_numbers(groups, range(len(groups)), fraction, seed)
        return folds_of(self, numbers, share, self._part)

    def _part(self, mask: np.ndarray) -> Curve:
        """The same curve of some samples, by a mask over those that weigh something."""
        weights = []
        begin = 0
        for own in self.row_weights:
            rows = np.flatnonzero(own > 0)
            end = begin + len(rows)
            part = np.zeros_like(own)
            part[rows] = own[rows] * mask[begin:end]
            weights.append(part / part.sum())
            begin = end
        curve = copy.copy(self)
        cumulative = torch.as_tensor(cumulative_sums(weights))
        curve.cumulative = cumulative.to(self.cumulative)
        return curve

    def _states(self, k: Tensor, u: Tensor) -> Tensor:
        """Samples of the snapshots ``k``, chosen by levels ``u`` in [0, 1)."""
        row = torch.searchsorted(self.cumulative, k + u)
        last = len(self.states) - 1
        return self.states[row.clamp(max=last)]
