"""Straight lines between coupled samples, carrying mass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dyninfer.couplings import Coupling
from dyninfer.density_paths.base import DensityBatch, PathSampler, couple, interval, log_masses, placer
from dyninfer.scaling import Scaling
from dyninfer.snapshots import Snapshots


class InterpolatedPath(PathSampler):
    """Straight lines between coupled samples of neighbouring snapshots, each carrying mass.

    A pair ``(x_k, x_{k+1})`` moves at constant velocity, and its mass changes at a constant rate from what makes the pairs
    reproduce the first snapshot to what makes them reproduce the second; given masses change exponentially between
    the times. The path is exact at the snapshots.
    """

    def __init__(
        self,
        data: Snapshots,
        scaling: Scaling,
        coupling: Coupling,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ):
        samples = [scaling.states(s) for s in data.samples]
        plans = couple(data, samples, coupling, seed)
        offsets = np.concatenate([[0], np.cumsum(data.sizes)])
        put = placer(device, dtype)
        self.states = put(np.concatenate(samples))
        self.times = put(scaling.times(data.times))
        self.source = torch.as_tensor(
            np.concatenate([p.source + o for p, o in zip(plans, offsets, strict=False)]), device=device
        )
        self.target = torch.as_tensor(
            np.concatenate([p.target + o for p, o in zip(plans, offsets[1:], strict=False)]), device=device
        )
        # Interval k owns the stretch (k, k + 1] of one long cumulative sum, so one search serves all intervals.
        self.cumulative = torch.as_tensor(
            np.concatenate([k + np.cumsum(p.mass) / p.mass.sum() for k, p in enumerate(plans)]), device=device
        )
        log_mass = log_masses(data)
        counts = [len(p.mass) for p in plans]
        log_start = np.concatenate([p.log_source for p in plans]) + np.repeat(log_mass[:-1], counts)
        log_end = np.concatenate([p.log_target for p in plans]) + np.repeat(log_mass[1:], counts)
        self.weighted = bool(np.any(log_start) or np.any(log_end))
        self.log_start, self.log_end = put(log_start), put(log_end)

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at times ``(n,)``."""
        k = interval(self.times, t)
        u = torch.rand(len(t), generator=generator, device=t.device, dtype=torch.float64)
        pair = torch.searchsorted(self.cumulative, k + u).clamp(max=len(self.source) - 1)
        x0, x1 = self.states[self.source[pair]], self.states[self.target[pair]]
        t0, t1 = self.times[k], self.times[k + 1]
        gap = t1 - t0
        tau = (t - t0) / gap
        velocity = (x1 - x0) / gap[:, None]
        state = torch.lerp(x0, x1, tau[:, None])
        if not self.weighted:
            return DensityBatch(
                t, state, density, None, velocity, None, t0, x0, None, t1, x1, None, gap, None
            )
        a, b = self.log_start[pair], self.log_end[pair]
        return DensityBatch(
            t,
            state,
            density,
            torch.lerp(a, b, tau).exp(),
            velocity,
            (b - a) / gap,
            t0,
            x0,
            a.exp(),
            t1,
            x1,
            b.exp(),
            gap,
            None,
        )
