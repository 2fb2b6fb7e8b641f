"""Smooth curves through chains of coupled samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import Coupling, sample_chains
from dyninfer.transport.curves.base import (
    Curve,
    DensityBatch,
    couple,
    interval,
    log_masses,
    placer,
)


class SmoothCurve(Curve):
    """Natural cubic splines through chains of coupled samples, one sample of every snapshot in each.

    The velocity is continuous in time, unlike that of straight lines; unequal gaps are respected.
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
        from scipy.interpolate import CubicSpline

        samples = [scaling.states(s) for s in data.samples]
        plans = couple(data, samples, coupling, seed)
        if any(np.any(p.log_source) or np.any(p.log_target) for p in plans):
            raise ValueError(
                "interpolation='cubic' needs a coupling that conserves mass; use coupling='ot', or interpolation='linear'"
            )
        chains = sample_chains(plans, list(data.sizes), max(8192, 2 * max(data.sizes)), seed + 1)
        put = placer(device, dtype)
        self.states = put(np.concatenate(samples))
        self.chains = torch.as_tensor(
            chains + np.concatenate([[0], np.cumsum(data.sizes)[:-1]]), device=device
        )
        times = scaling.times(data.times)
        self.times = put(times)
        # Splines are linear in the knots: coefficients of the cardinal splines, (power, interval, knot).
        self.cardinal = put(CubicSpline(times, np.eye(len(times)), bc_type="natural").c)
        self.log_mass = put(log_masses(data))
        self.weighted = data.masses is not None

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at times ``(n,)``."""
        k = interval(self.times, t)
        pick = torch.randint(len(self.chains), (len(t),), generator=generator, device=t.device)
        knots = self.states[self.chains[pick]]  # (n, K, d)
        h = (t - self.times[k])[:, None]
        c3, c2, c1, c0 = self.cardinal[:, k]
        state = torch.einsum("nk,nkd->nd", ((c3 * h + c2) * h + c1) * h + c0, knots)
        velocity = torch.einsum("nk,nkd->nd", (3 * c3 * h + 2 * c2) * h + c1, knots)
        rows = torch.arange(len(t), device=t.device)
        t0, t1, x0, x1 = self.times[k], self.times[k + 1], knots[rows, k], knots[rows, k + 1]
        gap = t1 - t0
        if not self.weighted:
            return DensityBatch(
                t, state, density, None, velocity, None, t0, x0, None, t1, x1, None, gap, None
            )
        a, b = self.log_mass[k], self.log_mass[k + 1]
        weight = torch.lerp(a, b, h[:, 0] / gap).exp()
        return DensityBatch(
            t,
            state,
            density,
            weight,
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
