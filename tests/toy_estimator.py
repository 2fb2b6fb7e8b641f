"""A sixth method in one file outside the package: the population's mean moves, and everybody with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from dyninfer.diffusions import Diffusion, ScaledDiffusion
from dyninfer.diffusions.diffusion import batch_times
from dyninfer.estimators import SnapshotEstimator
from dyninfer.learning.objective import Objective
from dyninfer.transport.couplings import IndependentCoupling
from dyninfer.transport.curves import DensityBatch, TimeSampler, choose_curve


class MeanDrift(Diffusion):
    def __init__(self, n_features, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, n_features))

    def drift(self, t, x):
        return self.net(batch_times(t, x)[:, None]) + 0 * x


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
        return ScaledDiffusion(MeanDrift(scaling.n_features, self.width), scaling)

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
        velocity = process.inner.net(batch.time[:, None])
        return {"loss": (velocity - batch.velocity).square().sum(1)}
