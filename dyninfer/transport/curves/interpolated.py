"""Straight lines between coupled samples, carrying mass."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor

from dyninfer.transport.curves.base import DensityBatch, PairCurve


class InterpolatedCurve(PairCurve):
    """Straight lines between coupled samples of neighbouring snapshots, each carrying mass.

    A pair ``(x_k, x_{k+1})`` moves at constant velocity, and its mass changes at a constant rate
    from what makes the pairs reproduce the first snapshot to what makes them reproduce the second;
    given masses change exponentially between the times. The curve is exact at the snapshots.

    Parameters
    ----------
    samples : CoupledSamples
        Pairs of neighbours.
    """

    knows_velocity: ClassVar[bool] = True

    def draw(self, t: Tensor, density: Tensor, generator: Generator) -> DensityBatch:
        """See :meth:`Curve.draw`."""
        interval = self.samples.interval(t)
        pairs = self.samples.draw(interval, generator)
        start, gap = self.samples.span(interval)
        tau = (t - start) / gap
        x0 = pairs.source
        x1 = pairs.target
        state = torch.lerp(x0, x1, tau[:, None])
        displacement = x1 - x0
        duration = gap[:, None]
        velocity = displacement / duration
        batch = DensityBatch(
            time=t,
            density=density,
            state=state,
            start_time=start,
            start_state=x0,
            end_time=start + gap,
            end_state=x1,
            gap=gap,
            velocity=velocity,
            code=pairs.code,
        )
        if not self.weighted:
            return batch
        return with_weights(batch, pairs.log_start, pairs.log_end, tau)


def with_weights(
    batch: DensityBatch, log_start: Tensor, log_end: Tensor, tau: Tensor
) -> DensityBatch:
    """Give samples weights that change at a constant rate over their interval."""
    log_weight = torch.lerp(log_start, log_end, tau)
    growth = (log_end - log_start) / batch.gap
    return batch._replace(
        weight=log_weight.exp(),
        growth=growth,
        start_weight=log_start.exp(),
        end_weight=log_end.exp(),
    )
