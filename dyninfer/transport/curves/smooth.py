"""Smooth curves through chains of coupled samples."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor

from dyninfer.transport.couplings import CoupledSamples
from dyninfer.transport.curves.base import DensityBatch, PairCurve
from dyninfer.transport.curves.interpolated import with_weights
from dyninfer.transport.splines import natural_splines, spline_weights


class SmoothCurve(PairCurve):
    """Natural cubic splines through chains of coupled samples, one of every snapshot in each.

    The velocity is continuous in time, unlike that of straight lines; unequal gaps are respected.

    Parameters
    ----------
    samples : CoupledSamples
        Chains, by a coupling that conserves mass.
    """

    knows_velocity: ClassVar[bool] = True

    def __init__(self, samples: CoupledSamples):
        # Without a growth of the plans, every chain weighs what its snapshot does.
        if bool((samples.log_weights != samples.log_mass).any()):
            raise ValueError(
                "interpolation='cubic' needs a coupling that conserves mass; use coupling='ot', or "
                "interpolation='linear'"
            )
        super().__init__(samples)
        times = samples.times.double().cpu().numpy()
        cubics = torch.as_tensor(natural_splines(times))
        self.cardinal = cubics.to(samples.times)

    def draw(self, t: Tensor, density: Tensor, generator: Generator) -> DensityBatch:
        """See :meth:`Curve.draw`."""
        interval = self.samples.interval(t)
        chains = self.samples.draw(interval, generator)
        start, gap = self.samples.span(interval)
        elapsed = t - start
        cardinal = self.cardinal[:, interval]
        weights, slopes = spline_weights(cardinal, elapsed)
        knots = chains.knots
        state = torch.einsum("nk,nkd->nd", weights, knots)
        velocity = torch.einsum("nk,nkd->nd", slopes, knots)
        rows = torch.arange(len(t), device=t.device)
        before = knots[rows, interval]
        after = knots[rows, interval + 1]
        batch = DensityBatch(
            time=t,
            density=density,
            state=state,
            velocity=velocity,
            start_time=start,
            start_state=before,
            end_time=start + gap,
            end_state=after,
            gap=gap,
            code=chains.code,
        )
        if not self.weighted:
            return batch
        part = elapsed / gap
        return with_weights(batch, chains.log_start, chains.log_end, part)
