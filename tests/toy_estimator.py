"""A sixth method in one file outside the package: the population's mean moves, and everybody with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import batch_times
from dyninfer.estimators import SnapshotEstimator
from dyninfer.learning.objective import Objective
from dyninfer.transport.couplings import IndependentCoupling
from dyninfer.transport.curves import DensityBatch, TimeSampler, choose_curve


class MeanDrift(Diffusion):
    def __init__(self, scaling, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Linear(width, len(scaling.shift))
        )
        self.start, self.duration, self.unit = scaling.start, scaling.duration, scaling.unit

    def drift(self, t, x):
        tau = (batch_times(t, x) - self.start) / self.duration
        return self.net(tau[:, None]) * (self.unit / self.duration) + 0 * x


@dataclass(kw_only=True, repr=False, eq=False)
class MeanMatching(SnapshotEstimator):
    r"""Everybody moves with the mean.

    .. math:: b(t) = \frac{d}{dt} E[x_t]

    Parameters
    ----------
    width : int
        Units of the hidden layer.
    """

    citation: ClassVar[str] = "@misc{toy, title={A toy}}"
    width: int = 16

    def build(self, data, scaling):
        return MeanDrift(scaling, self.width)

    def make_objective(self, process, data, scaling, seed):
        return Regression(data, scaling, seed)


class Regression(Objective):
    def __init__(self, data, scaling, seed):
        device, dtype = torch.device("cpu"), torch.float32
        self.curve = choose_curve(
            data, scaling, "linear", IndependentCoupling(), seed, device, dtype
        )
        self.times = TimeSampler(False, device, dtype)

    def batch(self, n, generator) -> DensityBatch:
        return self.curve.draw(*self.times.draw(n, generator), generator)

    def loss(self, process, batch):
        velocity = process.net(batch.time[:, None])
        return {"loss": (velocity - batch.velocity).square().sum(1)}
