"""Conditional flow matching: a sixth method, in one file outside the package."""

from dataclasses import dataclass

import torch

from dyninfer.diffusions import Diffusion, ScaledDiffusion
from dyninfer.estimators import SnapshotEstimator
from dyninfer.learning.networks import VectorNetwork
from dyninfer.learning.objective import Objective
from dyninfer.transport.couplings import OTCoupling
from dyninfer.transport.curves import choose_curve


@dataclass(kw_only=True, repr=False, eq=False)
class StraightFlow(SnapshotEstimator):
    r"""Regression of a velocity on straight lines between cells paired by optimal transport.

    .. math:: \min_v E\,|v(t, x_t) - (x_1 - x_0)|^2, \quad x_t = (1 - t) x_0 + t x_1

    Parameters
    ----------
    width : int
        Units of a hidden layer.
    """

    citation = "@article{lipman2022flow, title={Flow Matching for Generative Modeling}}"
    uses = frozenset({"weight_key"})
    width: int = 64

    def build(self, data, scaling):
        network = VectorNetwork(scaling.n_features, scaling.n_features, self.width)
        return ScaledDiffusion(Diffusion(drift=network), scaling)

    def make_objective(self, process, data, scaling, seed):
        weight = next(process.parameters())
        to = weight.device, weight.dtype
        return Regression(choose_curve(data, scaling, "linear", OTCoupling(), seed, *to), *to)


class Regression(Objective):
    def __init__(self, curve, device, dtype):
        self.curve, self.ones = curve, torch.ones((), device=device, dtype=dtype)

    def batch(self, n, generator):
        time = torch.rand(n, generator=generator, device=self.ones.device, dtype=self.ones.dtype)
        return self.curve.draw(time, self.ones.expand(n), generator)

    def loss(self, process, batch):
        error = process.inner.drift(batch.time, batch.state) - batch.velocity
        return {"loss": error.square().sum(1)}
