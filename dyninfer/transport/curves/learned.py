"""A learned density curve.

Every pair's optimal arc, a correction that vanishes at the snapshots, and a Brownian bridge.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dyninfer.learning.networks import hidden_layers, value_and_slope
from dyninfer.transport.couplings import Coupled, CoupledSamples
from dyninfer.transport.curves.geodesic import Arc, cone_arc, sphere_time, straight
from dyninfer.transport.lagrangians import ScaledLagrangian


class PairBatch(NamedTuple):
    """Coupled pairs at times between them; every entry has ``n`` rows."""

    time: Tensor  # (n,)
    density: Tensor  # (n,) density that the time was drawn from
    pairs: Coupled
    noise: Tensor | None  # (n, d) standard normal
    probe: Tensor | None  # (n, 1, d) random signs for Hutchinson's estimate of the Laplacian


class CurvePoint(NamedTuple):
    """Where samples of the curve are, how they move, and what they weigh."""

    state: Tensor  # (n, d)
    velocity: Tensor  # (n, d) forward drift of the pair's own process
    weight: Tensor  # (n,)
    weight_rate: Tensor  # (n,)
    score: Tensor | None = None  # (n, d) ∇ log of its density given the pair; None without noise

    def detach(self) -> CurvePoint:
        """The same without the graph of the curve."""
        return CurvePoint(
            state=self.state.detach(),
            velocity=self.velocity.detach(),
            weight=self.weight.detach(),
            weight_rate=self.weight_rate.detach(),
            score=None if self.score is None else self.score.detach(),
        )


class LearnedCurve(nn.Module):
    r"""Mixture of the paths of pairs ``(x_0, x_1)``, at the part ``τ`` of their interval.

    .. math:: x_t = \mathrm{arc}(\tau) + 4\tau(1-\tau)\, f_\theta(t, \tau, x_0, x_1)
        + \sigma\sqrt{\tau(1-\tau)\,\Delta t}\; z

    The arc is the closed-form optimum for one pair (a straight line, or a Wasserstein-Fisher-Rao
    geodesic with its mass), and ``f`` starts at zero: without a potential and with the right
    coupling, training begins at the solution. Where mass may change, ``f`` has one more output that
    corrects its logarithm in the same way. The velocity is the drift of the Brownian bridge,
    ``(x_1 − x_t)/(t_1 − t)`` for a straight arc, whose average over all pairs at a point is the
    drift of the mixture of bridges (arXiv 2303.16852, 2307.03672); the Laplacian of a potential is
    then not needed to fit one. In a potential, arc and noise are those of
    :class:`~dyninfer.transport.lagrangians.QuadraticBridge`.

    Parameters
    ----------
    samples : CoupledSamples
        Pairs of neighbours.
    lagrangian : ScaledLagrangian
    width, depth : int
        Hidden layers of ``f``.
    """

    # Part of the way before the second snapshot at which the bridge's pull stops to grow.
    closest = 1e-4

    def __init__(
        self,
        samples: CoupledSamples,
        lagrangian: ScaledLagrangian,
        width: int = 128,
        depth: int = 2,
    ):
        super().__init__()
        self.samples = samples
        self.lagrangian = lagrangian
        self.grows = lagrangian.growth_penalty is not None
        self.weighted = self.grows or samples.weighted
        d = samples.states.shape[1]
        # t, τ and both ends.
        n_inputs = 2 + 2 * d
        n_outputs = d
        if self.grows:
            # The log-weights of both ends, and the correction of that in between.
            n_inputs += 2
            n_outputs += 1
        if samples.codes is not None:
            n_inputs += samples.codes.shape[1]
        self.hidden = hidden_layers(n_inputs, width, depth)
        self.output = nn.Linear(width, n_outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.to(samples.states)
        self.use(samples)

    def use(self, samples: CoupledSamples) -> None:
        """Go through other pairs of the same snapshots from now on."""
        self.samples = samples
        self.angle: Tensor | None = None
        if self.lagrangian.constrained:
            self.angle = self._angles()

    def through(self, samples: CoupledSamples) -> LearnedCurve:
        """A copy through other pairs of the same snapshots."""
        # What is not learned is shared: pairs are many, and a potential may be any function.
        parts = (self.samples, self.lagrangian)
        shared = {id(value): value for value in parts}
        curve = copy.deepcopy(self, shared)
        curve.use(samples)
        return curve

    def point(self, batch: PairBatch) -> CurvePoint:
        """State and motion of the pairs at the batch's times; differentiable in the parameters."""
        tau, gap = self._place(batch)
        arc = self._arc(tau, batch.pairs)
        velocity = arc.velocity / gap[:, None]
        mass_rate = arc.mass_rate / gap
        point = CurvePoint(
            state=arc.position,
            velocity=velocity,
            weight=arc.mass,
            weight_rate=mass_rate,
        )
        point = self._corrected(point, batch, tau, gap)
        if batch.noise is None:
            return point
        return self._noisy(point, batch.noise, tau, gap)

    def prescribed_mass(self, batch: PairBatch) -> Tensor:
        """Total mass ``(n,)`` at the batch's times: exponential between the snapshots."""
        tau, _ = self._place(batch)
        log_start, log_end = self._log_masses(batch.pairs)
        return torch.lerp(log_start, log_end, tau).exp()

    def interval_mass(self, batch: PairBatch) -> Tensor:
        """Geometric mean ``(n,)`` of the total masses at the two ends of the batch's intervals."""
        log_start, log_end = self._log_masses(batch.pairs)
        return (0.5 * (log_start + log_end)).exp()

    def pair_action(self, batch: PairBatch) -> Tensor:
        """Action of the pairs' own paths ``(n,)``: kinetic and growth energy less the potential."""
        lagrangian = self.lagrangian
        penalty = lagrangian.growth_penalty
        # The noise of a bridge has infinite action; its mean path has not.
        mean = self.point(batch._replace(noise=None))
        weight = mean.weight
        weight_rate = mean.weight_rate
        if lagrangian.constrained:
            # What is prescribed is not this action's to choose.
            weight = weight.detach()
            weight_rate = weight_rate.detach()
        squared_speed = mean.velocity.square().sum(1)
        action = 0.5 * weight * squared_speed
        if penalty is not None:
            tiny = torch.finfo(weight.dtype).tiny
            positive = weight.clamp_min(tiny)
            divisor = 2 * penalty * positive
            growth_energy = weight_rate.square() / divisor
            action = action + growth_energy
        if lagrangian.potential is not None:
            point = mean
            # The potential, unlike the motion, is felt where the noise has brought the sample.
            if batch.noise is not None:
                point = self.point(batch)
            energy = lagrangian.energy(batch.time, point.state)
            action = action - weight * energy
        return action

    def _place(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Part ``τ`` of the interval that has passed at the batch's times, and its length."""
        interval = batch.pairs.interval
        start, gap = self.samples.span(interval)
        elapsed = batch.time - start
        tau = elapsed / gap
        # The last time of an interval lies beyond it by its rounding.
        tau = tau.clamp(0, 1)
        return tau, gap

    def _log_masses(self, pairs: Coupled) -> tuple[Tensor, Tensor]:
        """Logarithm of the total mass ``(n,)`` at the two ends of the pairs' intervals."""
        log_mass = self.samples.log_mass
        log_start = log_mass[pairs.interval]
        log_end = log_mass[pairs.interval + 1]
        return log_start, log_end

    def _arc(self, tau: Tensor, pairs: Coupled) -> Arc:
        """Optimal paths of the pairs, with derivatives in ``τ``."""
        penalty = self.lagrangian.growth_penalty
        x0 = pairs.source
        x1 = pairs.target
        log_m0 = pairs.log_start
        log_m1 = pairs.log_end
        if penalty is not None and self.angle is not None:
            angle = self.angle[pairs.interval]
            return self._sphere_arc(tau, pairs, angle, penalty)
        if penalty is not None:
            return cone_arc(tau, x0, x1, log_m0, log_m1, penalty)
        arc = straight(tau, x0, x1)
        bridge = self.lagrangian.bridge
        if bridge is not None:
            _, gap = self.samples.span(pairs.interval)
            elapsed = tau * gap
            position, velocity = bridge.mean(elapsed, gap, x0, x1)
            rate = velocity * gap[:, None]
            arc = arc._replace(position=position, velocity=rate)
        if not self.samples.weighted:
            return arc
        log_mass = torch.lerp(log_m0, log_m1, tau)
        mass = log_mass.exp()
        growth = log_m1 - log_m0
        mass_rate = mass * growth
        return arc._replace(mass=mass, mass_rate=mass_rate)

    def _sphere_arc(self, tau: Tensor, pairs: Coupled, angle: Tensor, penalty: float) -> Arc:
        """Cone geodesics, normalised so that all together have the prescribed mass."""
        beta, speed, total = sphere_time(tau, angle)
        # The geodesic is one of unit masses.
        log_start, log_end = self._log_masses(pairs)
        log_m0 = pairs.log_start - log_start
        log_m1 = pairs.log_end - log_end
        x0 = pairs.source
        x1 = pairs.target
        arc = cone_arc(beta, x0, x1, log_m0, log_m1, penalty)
        velocity = arc.velocity * speed[:, None]
        # M(β) = 1 − 2β(1 − β)(1 − cos Φ), and its derivative in β.
        cosine = angle.clamp_min(1e-3).cos()
        slope = 2 * (2 * beta - 1)
        total_rate = slope * (1 - cosine)
        # m(β(τ)) / M(β(τ)), and its derivative in τ.
        share = arc.mass / total
        excess_rate = arc.mass_rate - share * total_rate
        share_rate = speed * excess_rate / total
        log_prescribed = torch.lerp(log_start, log_end, tau)
        prescribed = log_prescribed.exp()
        growth = log_end - log_start
        mass_rate = prescribed * (share_rate + share * growth)
        return Arc(
            position=arc.position,
            velocity=velocity,
            mass=prescribed * share,
            mass_rate=mass_rate,
        )

    def _corrected(
        self, point: CurvePoint, batch: PairBatch, tau: Tensor, gap: Tensor
    ) -> CurvePoint:
        """Add ``4τ(1 − τ) f`` to the states, and to the log-masses where they may change."""
        f, f_rate = self._correction(batch, tau, gap)
        hump = 4 * tau * (1 - tau)
        hump_slope = 4 * (1 - 2 * tau)
        hump_rate = hump_slope / gap
        hump = hump[:, None]
        hump_rate = hump_rate[:, None]
        shift = hump * f
        shift_rate = hump_rate * f + hump * f_rate
        d = point.state.shape[1]
        weight = point.weight
        weight_rate = point.weight_rate
        if self.grows:
            factor = shift[:, d].exp()
            log_rate = shift_rate[:, d]
            weight_rate = (weight_rate + weight * log_rate) * factor
            weight = weight * factor
        state_shift = shift[:, :d]
        velocity_shift = shift_rate[:, :d]
        return CurvePoint(
            state=point.state + state_shift,
            velocity=point.velocity + velocity_shift,
            weight=weight,
            weight_rate=weight_rate,
        )

    def _noisy(self, point: CurvePoint, noise: Tensor, tau: Tensor, gap: Tensor) -> CurvePoint:
        """Add the noise of a bridge, and its pull towards the second snapshot."""
        bridge = self.lagrangian.bridge
        if bridge is not None:
            elapsed = tau * gap
            displacement, drift, score = bridge.noise(elapsed, gap, noise)
            return point._replace(
                state=point.state + displacement,
                velocity=point.velocity + drift,
                score=score,
            )
        sigma = self.lagrangian.sigma
        rest = (1 - tau).clamp_min(self.closest)
        both_ways = tau * (1 - tau)
        variance = both_ways * gap
        squared_pull = tau / (rest * gap)
        spread = sigma * variance.sqrt()
        pull = sigma * squared_pull.sqrt()
        spread = spread[:, None]
        pull = pull[:, None]
        state = point.state + spread * noise
        velocity = point.velocity - pull * noise
        # At a snapshot itself there is no density, and no score.
        least_variance = both_ways.clamp_min(self.closest) * gap
        width = sigma * least_variance.sqrt()
        return point._replace(state=state, velocity=velocity, score=-noise / width[:, None])

    def _correction(self, batch: PairBatch, tau: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        """``f`` and its derivative in time, carried forward together."""
        pairs = batch.pairs
        time = batch.time[:, None]
        part = tau[:, None]
        columns = [time, part, pairs.source, pairs.target]
        if self.grows:
            # What vanishes has a log-weight of −60, which would saturate the network.
            for log_weight in (pairs.log_start, pairs.log_end):
                bounded = log_weight.clamp(-5, 5)
                columns.append(bounded[:, None])
        if pairs.code is not None:
            columns.append(pairs.code)
        inputs = torch.cat(columns, 1)
        first, *others = self.hidden
        h = first(inputs)
        # Of the inputs, t and τ alone move with time, and τ by one over the gap.
        weight: Any = first.weight
        by_time = weight[:, 0]
        by_part = weight[:, 1]
        rate = by_time + by_part / gap[:, None]
        layer: Any
        for layer in others:
            h, slope = value_and_slope(h, "silu")
            h = layer(h)
            rate = (slope * rate) @ layer.weight.T
        h, slope = value_and_slope(h, "silu")
        f = self.output(h)
        f_rate = (slope * rate) @ self.output.weight.T
        return f, f_rate

    def _angles(self) -> Tensor:
        """Angle of every interval's two snapshots on the sphere of probability measures."""
        penalty = self.lagrangian.growth_penalty or 0.0
        half_root = 0.5 * penalty**0.5
        log_mass = self.samples.log_mass
        angles = []
        for k in range(len(log_mass) - 1):
            pairs, mass = self.samples.pairs_in(k)
            log_m0 = pairs.log_start - log_mass[k]
            after = log_mass[k + 1]
            log_m1 = pairs.log_end - after
            log_root_mass = 0.5 * (log_m0 + log_m1)
            displacement = pairs.target - pairs.source
            theta = half_root * displacement.norm(dim=1)
            theta = theta.clamp(max=0.5 * torch.pi)
            overlap = log_root_mass.exp() * theta.cos()
            cosine = (mass * overlap).sum()
            # Rounding carries the cosine of equal snapshots above one.
            angle = cosine.clamp(-1, 1).arccos()
            angles.append(angle)
        return torch.stack(angles)
