"""The process that a stochastic interpolant leaves behind: velocity and growth from one network, the score from another."""

from __future__ import annotations

import copy
from typing import Any, Literal, Self

import torch
from torch import Tensor

from dyninfer.data.conditions import ConditionCode
from dyninfer.diffusions.diffusion import Diffusion, batch_times
from dyninfer.learning.networks import VectorNetwork
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.interpolants import Moment, Schedule


class InterpolatedDiffusion(Diffusion):
    r"""Velocity ``b``, score ``s`` and denoiser ``η`` of an interpolant, in the user's units.

    ``drift`` is the velocity of the probability flow ``dX = b dt``. With the score, ``dX = (b ± ε s) dt + √(2ε) dW`` has the
    same marginals for every ε(t) ≥ 0, forward and backward in time.

    The score is ``s = −η/γ``, and γ is zero at every snapshot. Where the network's output is the score itself
    (``head="score"``), it is finite there and nothing is divided. Where it is the denoiser, the score within the first and last
    two hundredths of an interval is that of the nearest time inside, ``score_margin``; it tends to the same limit as
    the margin goes to zero, if the network is exact.

    Parameters
    ----------
    network : VectorNetwork
        Outputs in scaled units: the velocity, then (with growth) the growth rate.
    schedule : Schedule
        The interpolant over the scaled times of the snapshots.
    scaling : Scaling
    second : VectorNetwork, optional
        Network of the score or the denoiser, in scaled units. It shares no layer with the first: near narrow populations its gradients
        would drown those of the velocity.
    head : {"score", "denoiser"} or None
        What the second network is.
    grows : bool
        Whether there is a growth rate.
    code : ConditionCode, optional
        Code of the conditions that the network was told; see :meth:`given`.
    bend : VectorNetwork, optional
        Network of both end points by which a learned interpolant deviates from a straight line; no field depends on it.
    """

    score_margin = 0.02

    def __init__(
        self,
        network: VectorNetwork,
        schedule: Schedule,
        scaling: Scaling,
        second: VectorNetwork | None = None,
        head: Literal["score", "denoiser"] | None = None,
        grows: bool = False,
        code: ConditionCode | None = None,
        bend: VectorNetwork | None = None,
    ):
        super().__init__()
        self.network, self.second, self.schedule, self.bend = network, second, schedule, bend
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.as_tensor(scaling.shift, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(scaling.scale, dtype=torch.float64))
        self.start, self.duration = scaling.start, scaling.duration
        self.head, self.grows, self.code = head, grows, code
        self.condition: Tensor | None = None

    def given(self, condition: Any) -> Self:
        """Return the same process under one condition; parameters are shared, not copied.

        Raises
        ------
        ValueError
            If the process knows no conditions, or not this one.
        """
        if self.code is None:
            raise ValueError(
                "the process knows no conditions; fit with condition_key, or with Snapshots(conditions=...)"
            )
        process = copy.copy(self)
        process.condition = torch.as_tensor(self.code.encode([condition]))
        return process

    def drift(self, t: Tensor | float, x: Tensor) -> Tensor:
        """Velocity ``b`` ``(n, d)``."""
        return self._velocity(self._motion(*self._scaled(t, x)), x)

    def score(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """``∇ log ρ_t`` ``(n, d)``, or None for an interpolant without noise."""
        return None if self.head is None else self._score_at(*self._scaled(t, x)).to(x.dtype)

    def denoiser(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """``η = E[z | x_t = x]`` ``(n, d)``, or None for an interpolant without noise."""
        if self.head is None:
            return None
        tau, z = self._scaled(t, x)
        return self._denoiser(tau, z, self.schedule.moment(tau)).to(x.dtype)

    def growth(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """Rate of the log-weight ``(n,)``, or None where mass is conserved."""
        return self._rate_of_growth(self._motion(*self._scaled(t, x)), x) if self.grows else None

    def drift_and_growth(self, t: Tensor | float, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Both fields from one pass through the network."""
        outputs = self._motion(*self._scaled(t, x))
        return self._velocity(outputs, x), self._rate_of_growth(outputs, x) if self.grows else None

    def drift_growth_and_score(
        self, t: Tensor | float, x: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """All three fields: one pass through each network."""
        tau, z = self._scaled(t, x)
        outputs = self._motion(tau, z)
        growth = self._rate_of_growth(outputs, x) if self.grows else None
        score = None if self.head is None else self._score_at(tau, z).to(x.dtype)
        return self._velocity(outputs, x), growth, score

    def fields(self, tau: Tensor, z: Tensor, code: Tensor | None) -> Tensor:
        """Outputs of both networks side by side, in scaled units: what training compares with its targets."""
        found = self.network(tau, z, code)
        return found if self.second is None else torch.cat([found, self.second(tau, z, code)], 1)

    def divergence(self, t: Tensor | float, x: Tensor) -> Tensor:
        """Exact divergence of the velocity ``(n,)``."""
        tau, z = self._scaled(t, x)
        axes = torch.eye(x.shape[1], dtype=z.dtype, device=x.device)
        return self.network.divergence(tau, z, axes, self._code(z)).to(x.dtype) / self.duration

    def _scaled(self, t: Tensor | float, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled time and state, in the precision of the network; results return to that of ``x``."""
        tau = (batch_times(t, x) - self.start) / self.duration
        z = (x - self.shift.to(x)) / self.scale.to(x)
        return tau.to(self.shift.dtype), z.to(self.shift.dtype)

    def _motion(self, tau: Tensor, z: Tensor) -> Tensor:
        return self.network(tau, z, self._code(z))

    def _code(self, z: Tensor) -> Tensor | None:
        if self.code is None:
            return None
        if self.condition is None:
            raise ValueError(
                "the process was learned under conditions; name one: process.given(condition), or simulate(..., condition=...)"
            )
        return self.condition.to(z).expand(len(z), -1)

    def _velocity(self, outputs: Tensor, x: Tensor) -> Tensor:
        return outputs[:, : x.shape[1]].to(x.dtype) * (self.scale / self.duration).to(x)

    def _rate_of_growth(self, outputs: Tensor, x: Tensor) -> Tensor:
        return outputs[:, -1].to(x.dtype) / self.duration

    def _score_at(self, tau: Tensor, z: Tensor) -> Tensor:
        if self.head == "score":
            return self.second(tau, z, self._code(z)) / self.scale  # type: ignore[misc]
        inside = self.schedule.inside(tau, self.score_margin)
        moment = self.schedule.moment(inside)
        length = moment.gamma[:, None] * self._latent()  # type: ignore[index]
        return -self._denoiser(inside, z, moment) / (length * self.scale)

    def _denoiser(self, tau: Tensor, z: Tensor, moment: Moment) -> Tensor:
        second = self.second(tau, z, self._code(z))  # type: ignore[misc]
        if self.head == "denoiser":
            return second
        return -second * (moment.gamma[:, None] * self._latent())  # type: ignore[index]

    def _latent(self) -> Tensor:
        """Scaled length of the noise ``z`` of every feature ``(d,)``: a Gaussian base is standard in the user's units."""
        return (
            1 / self.scale
            if self.schedule.interpolant.gaussian_base
            else torch.ones_like(self.scale)
        )
