"""The process that a stochastic interpolant leaves behind.

Velocity and growth come from one network, the score from another.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dyninfer.data.conditions import ConditionCode
from dyninfer.diffusions.conditioned import ConditionedDiffusion
from dyninfer.diffusions.conditioned_growth import GrowthByCondition
from dyninfer.diffusions.diffusion import Time, batch_times
from dyninfer.diffusions.growth import BoundedGrowth
from dyninfer.learning.networks import VectorNetwork
from dyninfer.learning.own_networks import OwnVectorNetwork
from dyninfer.transport.linear_part import WithLinearPart
from dyninfer.transport.schedule import Moment, Schedule


class GaussianBase(NamedTuple):
    """Mean and standard deviation ``(d,)`` of the sample that a one-sided interpolant leaves."""

    mean: Tensor
    std: Tensor


class SecondNetwork(NamedTuple):
    """The network beside that of the velocity, and which field its outputs are."""

    network: VectorNetwork | OwnVectorNetwork
    head: Literal["score", "denoiser"]


class InterpolatedDiffusion(ConditionedDiffusion):
    r"""Velocity ``b``, score ``s`` and denoiser ``η`` of an interpolant.

    ``drift`` is the velocity of the probability flow ``dX = b dt``. With the score, ``dX = (b ± ε
    s) dt + √(2ε) dW`` has the same marginals for every ε(t) ≥ 0, forward and backward in time.

    The score is ``s = −η/γ``, and γ is zero at every snapshot. Where the network's output is the
    score itself (``head`` "score"), it is finite there and nothing is divided. Where it is the
    denoiser, the score within the first and last two hundredths of an interval is that of the
    nearest time inside, ``score_margin``; it tends to the same limit as the margin goes to zero,
    if the network is exact.

    Parameters
    ----------
    network : VectorNetwork, WithLinearPart or OwnVectorNetwork
        Its outputs are the velocity, then (with growth) the growth rate.
    schedule : Schedule
        The interpolant over the times of the snapshots.
    second : SecondNetwork, optional
        Network of the score or the denoiser. It shares no layer with the first: near narrow
        populations its gradients would drown those of the velocity.
    law : BoundedGrowth or GrowthByCondition, optional
        What is known of the growth rate, and its bounds; None where there is no growth.
    code : ConditionCode, optional
        Code of the conditions that the network was told; see :meth:`given`.
    bend : VectorNetwork, optional
        Network of both end points by which a learned interpolant deviates from a straight line;
        no field depends on it.
    base : GaussianBase, optional
        The normal sample that a one-sided interpolant starts from.

    See Also
    --------
    dyninfer.diffusions.ScaledDiffusion : the same in the units of data.
    """

    score_margin = 0.02

    def __init__(
        self,
        network: VectorNetwork | WithLinearPart | OwnVectorNetwork,
        schedule: Schedule,
        *,
        second: SecondNetwork | None = None,
        law: BoundedGrowth | GrowthByCondition | None = None,
        code: ConditionCode | None = None,
        bend: VectorNetwork | None = None,
        base: GaussianBase | None = None,
    ):
        super().__init__(code, law)
        self.network = network
        # Files know the weights by these names.
        self.second: VectorNetwork | OwnVectorNetwork | None = None
        self.head: str | None = None
        if second is not None:
            self.second, self.head = second
        self.schedule = schedule
        self.bend = bend
        self.grows = self.has_law
        if base is None:
            d = network.n_features
            mean = torch.zeros(d)
            std = torch.ones(d)
            base = GaussianBase(mean, std)
        self.base_mean: Tensor
        self.noise_length: Tensor
        self.register_buffer("base_mean", base.mean.clone(), persistent=False)
        # Length of the noise z of every feature: it is of unit size in these units, but for a base.
        self.register_buffer("noise_length", base.std.clone(), persistent=False)

    def breaks(self) -> Tensor:
        """Times where velocity or growth bend; see :meth:`Diffusion.breaks`."""
        # Both bend at the same ramps.
        if isinstance(self.network, WithLinearPart):
            return self.network.breaks()
        return super().breaks()

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """Velocity ``b`` ``(n, d)``."""
        times = batch_times(t, x)
        velocity, _ = self._motion(times, x)
        return velocity

    def score(self, t: Time, x: Tensor) -> Tensor | None:
        """``∇ log ρ_t`` ``(n, d)``, or None for an interpolant without noise."""
        if self.second is None:
            return None
        tau = batch_times(t, x)
        if self.head == "score":
            return self.second(tau, x, self._code(x))
        inside = self.schedule.inside(tau, self.score_margin)
        gamma = self._gamma(self.schedule.moment(inside))
        code = self._code(x)
        noise = self.second(inside, x, code)
        return -noise / gamma

    def denoiser(self, t: Time, x: Tensor) -> Tensor | None:
        """``η = E[z | x_t = x]`` ``(n, d)``, or None for an interpolant without noise."""
        if self.second is None:
            return None
        tau = batch_times(t, x)
        code = self._code(x)
        output = self.second(tau, x, code)
        if self.head == "denoiser":
            return output
        moment = self.schedule.moment(tau)
        gamma = self._gamma(moment)
        return -output * gamma

    def growth(self, t: Time, x: Tensor) -> Tensor | None:
        """Rate of the log-weight ``(n,)``, or None where mass is conserved."""
        if not self.grows:
            return None
        times = batch_times(t, x)
        _, rate = self._motion(times, x)
        return rate

    def drift_and_growth(self, t: Time, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Both fields from one pass through the network."""
        return self._motion(batch_times(t, x), x)

    def fields(self, t: Tensor, x: Tensor, code: Tensor | None) -> Tensor:
        """Outputs of both networks side by side: what training compares with its targets."""
        motion = self.network(t, x, code)
        if self.second is None:
            return motion
        noise = self.second(t, x, code)
        return torch.cat([motion, noise], 1)

    def divergence(self, t: Time, x: Tensor) -> Tensor:
        """Exact divergence of the velocity ``(n,)``."""
        tau = batch_times(t, x)
        axes = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        code = self._code(x)
        return self.network.divergence(tau, x, axes, code)

    def _motion(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Velocity ``(n, d)`` and growth rate ``(n,)``."""
        code = self._code(x)
        outputs = self.network(t, x, code)
        velocity = outputs[:, : x.shape[1]]
        if self.law is None:
            return velocity, None
        rate = self.law(t, outputs[:, -1])
        return velocity, rate

    def _gamma(self, moment: Moment) -> Tensor:
        """γ of every feature ``(n, d)``."""
        return moment.gamma[:, None] * self.noise_length  # type: ignore[index]
