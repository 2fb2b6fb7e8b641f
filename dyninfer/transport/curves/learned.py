"""A learned density curve: every pair's optimal arc, a correction that vanishes at the snapshots, and a Brownian bridge."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dyninfer.learning.networks import value_and_slope
from dyninfer.transport.curves.geodesic import Arc, cone_arc, sphere_time, straight
from dyninfer.transport.curves.pairs import CoupledPairs, Pairs
from dyninfer.transport.lagrangians import ScaledLagrangian


class PairBatch(NamedTuple):
    """Coupled pairs at times between them; every entry has ``n`` rows."""

    time: Tensor  # (n,)
    density: Tensor  # (n,) density that the time was drawn from
    pairs: Pairs
    noise: Tensor | None  # (n, d) standard normal
    probe: Tensor | None  # (n, 1, d) random signs for Hutchinson's estimate of the Laplacian


class CurvePoint(NamedTuple):
    """Where the path is, how it moves, and what it weighs."""

    state: Tensor  # (n, d)
    velocity: Tensor  # (n, d) forward drift of the pair's own process
    weight: Tensor  # (n,)
    weight_rate: Tensor  # (n,)


class LearnedCurve(nn.Module):
    r"""Path of a pair ``(x_0, x_1)`` between two snapshots, ``τ`` being its part of the way.

    .. math:: x_t = \mathrm{arc}(\tau) + 4\tau(1-\tau)\, f_\theta(t, \tau, x_0, x_1) + \sigma\sqrt{\tau(1-\tau)\,\Delta t}\; z

    The arc is the closed-form optimum for one pair (a straight line, or a Wasserstein-Fisher-Rao geodesic with its mass), and
    ``f`` starts at zero: without a potential and with the right coupling, training begins at the solution. Where mass may
    change, ``f`` has one more output that corrects its logarithm in the same way. The velocity is the drift
    of the Brownian bridge, ``(x_1 − x_t)/(t_1 − t)`` for a straight arc, whose average over all pairs at a point is the drift of
    the mixture of bridges (arXiv 2303.16852, 2307.03672); the Laplacian of a potential is then not needed to fit one.

    Parameters
    ----------
    pairs : CoupledPairs
    lagrangian : ScaledLagrangian
    width, depth : int
        Hidden layers of ``f``.
    """

    closest = (
        1e-4  # part of the way before the second snapshot at which the bridge's pull stops to grow
    )

    def __init__(
        self, pairs: CoupledPairs, lagrangian: ScaledLagrangian, width: int = 128, depth: int = 2
    ):
        super().__init__()
        self.pairs, self.lagrangian = pairs, lagrangian
        self.grows = lagrangian.growth_penalty is not None
        self.weighted = self.grows or pairs.weighted
        d = pairs.states.shape[1]
        sizes = [2 + 2 * d + 2 * self.grows, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.output = nn.Linear(width, d + self.grows)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.to(pairs.states)
        self.angle = self._angles() if lagrangian.constrained else None

    def point(self, batch: PairBatch, corrected: bool = True) -> CurvePoint:
        """State and motion of the pairs at the batch's times; differentiable in the parameters."""
        k, x0, x1, start, gap, a, b = batch.pairs
        tau = ((batch.time - start) / gap).clamp(0, 1)
        arc = self._arc(tau, k, x0, x1, a, b)
        state, velocity = arc.position, arc.velocity / gap[:, None]
        weight, rate = arc.mass, arc.mass_rate / gap
        if corrected:
            value, speed = self._correction(batch.time, tau, gap, batch.pairs)
            hump, slope = 4 * tau * (1 - tau), 4 * (1 - 2 * tau) / gap
            shift = hump[:, None] * value
            drift = slope[:, None] * value + hump[:, None] * speed
            d = x0.shape[1]
            state, velocity = state + shift[:, :d], velocity + drift[:, :d]
            if self.grows:
                factor = shift[:, d].exp()
                rate = (rate + weight * drift[:, d]) * factor
                weight = weight * factor
        if batch.noise is not None:
            sigma = self.lagrangian.sigma
            rest = (1 - tau).clamp_min(self.closest)
            state = state + (sigma * (tau * (1 - tau) * gap).sqrt())[:, None] * batch.noise
            velocity = velocity - (sigma * (tau / (rest * gap)).sqrt())[:, None] * batch.noise
        return CurvePoint(state, velocity, weight, rate)

    def given_mass(self, batch: PairBatch) -> Tensor:
        """Total mass ``(n,)`` that is prescribed at the batch's times: exponential between the snapshots."""
        k, _, _, start, gap, _, _ = batch.pairs
        log_mass = self.pairs.log_mass
        return torch.lerp(
            log_mass[k], log_mass[k + 1], ((batch.time - start) / gap).clamp(0, 1)
        ).exp()

    def _arc(self, tau: Tensor, k: Tensor, x0: Tensor, x1: Tensor, a: Tensor, b: Tensor) -> Arc:
        penalty = self.lagrangian.growth_penalty
        if penalty is None:
            arc = straight(tau, x0, x1)
            if not self.pairs.weighted:
                return arc
            mass = torch.lerp(a, b, tau).exp()
            return arc._replace(mass=mass, mass_rate=mass * (b - a))
        if self.angle is None:
            return cone_arc(tau, x0, x1, a, b, penalty)
        log_start, log_end = self.pairs.log_mass[k], self.pairs.log_mass[k + 1]
        beta, speed, total = sphere_time(tau, self.angle[k])
        arc = cone_arc(beta, x0, x1, a - log_start, b - log_end, penalty)
        # The whole is held at the given mass, or at one.
        given = torch.lerp(log_start, log_end, tau).exp() / total
        cosine = self.angle[k].clamp_min(1e-3).cos()
        total_rate = 2 * (2 * beta - 1) * (1 - cosine)
        rate = speed * (arc.mass_rate - arc.mass * total_rate / total) + arc.mass * (
            log_end - log_start
        )
        return Arc(arc.position, arc.velocity * speed[:, None], arc.mass * given, rate * given)

    def _correction(
        self, t: Tensor, tau: Tensor, gap: Tensor, pairs: Pairs
    ) -> tuple[Tensor, Tensor]:
        """``f`` and its derivative in time, carried forward together."""
        columns = [t[:, None], tau[:, None], pairs.source, pairs.target]
        if self.grows:
            columns += [v.clamp(-5, 5)[:, None] for v in (pairs.log_source, pairs.log_target)]
        first, *others = self.hidden
        weight: Any = first.weight
        h = first(torch.cat(columns, 1))
        rate = weight[:, 0] + weight[:, 1] / gap[:, None]
        layer: Any
        for layer in others:
            h, slope = value_and_slope(h, "silu")
            h, rate = layer(h), (slope * rate) @ layer.weight.T
        h, slope = value_and_slope(h, "silu")
        return self.output(h), (slope * rate) @ self.output.weight.T

    def _angles(self) -> Tensor:
        """Angle of every interval's two snapshots on the sphere of probability measures."""
        found, half_root = [], 0.5 * (self.lagrangian.growth_penalty or 0.0) ** 0.5
        for k in range(len(self.pairs.times) - 1):
            x0, x1, a, b, mass = self.pairs.whole_interval(k)
            a, b = a - self.pairs.log_mass[k], b - self.pairs.log_mass[k + 1]
            theta = half_root * (x1 - x0).norm(dim=1)
            cosine = (mass * (0.5 * (a + b)).exp() * theta.clamp(max=0.5 * torch.pi).cos()).sum()
            found.append(cosine.clamp(-1, 1).arccos())
        return torch.stack(found)
