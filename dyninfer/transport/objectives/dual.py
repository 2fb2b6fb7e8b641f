"""The dual problem of Wasserstein Lagrangian flows: a potential against a density curve."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.diffusions import ScaledDiffusion
from dyninfer.learning.networks import Derivatives
from dyninfer.learning.objective import Objective
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import as_coupling
from dyninfer.transport.curves import TimeSampler, check_conserved
from dyninfer.transport.curves.diagnostics import diagnose
from dyninfer.transport.curves.learned import CurvePoint, LearnedCurve, PairBatch
from dyninfer.transport.curves.optimizer import CurveOptimizer, pair_action
from dyninfer.transport.curves.pairs import CoupledPairs, Pairs, natural_couplings
from dyninfer.transport.lagrangians import ScaledLagrangian

if TYPE_CHECKING:
    from dyninfer.estimators.lagrangian_flow import WassersteinLagrangianFlow


class DualObjective(Objective):
    """The two players of the dual problem, in scaled units: the loop's potential and, in here, the density curve."""

    exact_laplacian_up_to = 10  # features; above, one random direction per sample (Hutchinson)
    validation_size = 4096
    alone = 200  # steps in which the potential finds the first path, before that path moves
    noisy_every = 4  # steps between two moves of the path where there is noise: its residual needs a Laplacian
    warm_steps, warm_size = 1000, 512  # of the path alone, where there is a potential

    def __init__(
        self,
        model: WassersteinLagrangianFlow,
        process: ScaledDiffusion,
        data: Snapshots,
        scaling: Scaling,
        seed: int,
    ):
        parameter = next(process.parameters())
        device, dtype = parameter.device, parameter.dtype
        settings = model.training_
        train, held = data, None
        if settings.validation_fraction:
            train, held = data.split(settings.validation_fraction, seed)
        self.model, self.process, self.scaling = model, process, scaling
        self.lagrangian = model.lagrangian.scaled(train, scaling)
        gaps = scaling.times(data.times[1:]) - scaling.times(data.times[:-1])
        coupling: Any = as_coupling(model.coupling) if model.coupling != "auto" else None
        solve = coupling or natural_couplings(self.lagrangian, gaps)
        pairs = CoupledPairs(train, scaling, solve, seed, device, dtype)
        if self.lagrangian.growth_penalty is None:
            check_conserved(pairs.weighted)
        else:
            _warn_in_place(pairs, data.times, model.lagrangian.penalty)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed + 1)
            self.curve = LearnedCurve(pairs, self.lagrangian, model.curve_width)
        fraction = model.curve_fraction
        if fraction is None:
            # A prescribed mass that changes makes haste while it is small; the arcs of the sphere do not.
            uneven = self.lagrangian.constrained and bool(pairs.log_mass.any())
            fraction = 0.6 if coupling is not None or uneven else 0.0
        last = round(fraction * settings.max_steps)
        every = self.noisy_every if self.lagrangian.sigma else 1
        self.opponent = CurveOptimizer(
            self.curve, model.curve_learning_rate, min(self.alone, last), last, every
        )
        self.times = TimeSampler(True, device, dtype)
        self.axes = torch.eye(scaling.n_features, device=device, dtype=dtype)
        self.energy_unit = scaling.energy_unit
        self.held = None
        if held is not None:
            generator = torch.Generator(device).manual_seed(seed + 7919)
            others = CoupledPairs(held, scaling, solve, seed + 1, device, dtype)
            self.held = self._draw(
                others, TimeSampler(False, device, dtype), self.validation_size, generator
            )
        if self.lagrangian.potential is not None:
            first = torch.Generator(device).manual_seed(seed + 104729)
            self.opponent.descend(
                lambda batch: pair_action(self.curve, batch).mean(),
                self.warm_steps,
                self.warm_size,
                lambda n: self._draw(pairs, TimeSampler(False, device, dtype), n, first),
            )

    def batch(self, n: int, generator: torch.Generator) -> PairBatch:
        """Draw ``n`` pairs and times; with noise, every draw of it is used with both signs."""
        return self._draw(self.curve.pairs, self.times, n, generator)

    def loss(self, process: ScaledDiffusion, batch: PairBatch) -> dict[str, Tensor]:
        """Loss of the potential per sample; while the path is learned, its gradient rides along."""
        if not self.opponent.listens or not torch.is_grad_enabled():
            with torch.no_grad():
                point = self.curve.point(batch)
            return self._potential_loss(process, batch, point)
        point = self.curve.point(batch)
        here = CurvePoint(*(value.detach() for value in point))
        state = here.state.requires_grad_()
        s = process.inner.network.derivatives(batch.time, state, self._directions(batch))
        residual = s.time + self.lagrangian.hamiltonian(batch.time, state, s)
        (slope,) = torch.autograd.grad(residual.sum(), state, retain_graph=True)
        residual = residual.detach()
        terms = self._potential_loss(process, batch, here, s)
        # The path ascends the residual: its loss has no value of its own here, only a gradient.
        excess = residual - self.opponent.level(batch.time)
        rise = here.weight * (slope * point.state).sum(1) + excess * point.weight
        own = self.model.damping * self.opponent.part_left
        spent = pair_action(self.curve, batch)
        pull = own * spent - (1 - own) * rise
        terms["loss"] = terms["loss"] + (pull - pull.detach()) / batch.density
        terms["residual"] = residual
        terms["mass"] = here.weight
        terms["spent"] = spent.detach() / batch.density
        return terms

    def observe(self, batch: PairBatch, terms: dict[str, Tensor]) -> None:
        """Let the path make its step, and tell the time sampler how the integrand varied."""
        self.times.observe(batch.time, terms.pop("integrand"))
        measured = None
        if "residual" in terms:
            measured = terms.pop("residual"), terms.pop("mass"), terms.pop("spent")
        self.opponent.step(batch.time, measured, self.curve.given_mass(batch), terms["kinetic"])
        terms["residual_std"] = self.opponent.spread.detach().clone()

    def validation(self, process: ScaledDiffusion) -> float | None:
        """Loss on the pairs that were kept apart, once the path stands still; before, losses are of different problems."""
        if self.held is None or not self.opponent.done:
            return None
        with torch.no_grad():
            terms = self._potential_loss(process, self.held, self.curve.point(self.held))
            return float(terms["loss"].mean())

    def state(self) -> dict[str, Any]:
        """Moments of the adaptive times, and the path with its optimiser."""
        return {
            "moments": self.times.moments,
            "density": self.times.density,
            "opponent": self.opponent.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`."""
        self.times.moments, self.times.density = state["moments"], state["density"]
        self.opponent.restore(state["opponent"])

    def diagnostics(self) -> pd.DataFrame:
        """Averages over fresh samples of the path; see :meth:`WassersteinLagrangianFlow.report`."""
        generator = torch.Generator(self.axes.device).manual_seed(271828)
        batch = self._draw(
            self.curve.pairs,
            TimeSampler(False, self.axes.device, self.axes.dtype),
            16384,
            generator,
        )
        table = diagnose(
            self.process.inner.network, self.curve, batch, self._directions(batch), self.scaling
        )
        table.attrs["runaways"] = self.opponent.runaways
        return table

    def _potential_loss(
        self,
        process: ScaledDiffusion,
        batch: PairBatch,
        point: CurvePoint,
        s: Derivatives | None = None,
    ) -> dict[str, Tensor]:
        """Regression of ∇s on the path's drift and of λs on its growth; its least value is minus the action."""
        state, penalty = point.state, self.lagrangian.growth_penalty
        if self.model.refinement_steps and torch.is_grad_enabled():
            return self._refined_loss(process, batch, point)
        if s is None:
            s = process.inner.network.derivatives(batch.time, state)
        kinetic = 0.5 * point.weight * s.gradient.square().sum(1)
        density = kinetic - point.weight * (s.gradient * point.velocity).sum(1)
        if penalty is not None:
            density = density + 0.5 * penalty * point.weight * s.value.square()
        if self.curve.weighted:
            density = density - point.weight_rate * s.value
        return self._terms(density, kinetic, batch, point)

    def _refined_loss(
        self, process: ScaledDiffusion, batch: PairBatch, point: CurvePoint
    ) -> dict[str, Tensor]:
        """The dual problem as the paper writes it, at samples moved along the gradient of the residual."""
        pairs = batch.pairs
        tau = (batch.time - pairs.start) / pairs.gap
        reach = (self.model.refinement_size * 2 * tau * (1 - tau))[:, None]
        state = point.state
        for _ in range(self.model.refinement_steps):
            state = state.detach().requires_grad_()
            s = process.inner.network.derivatives(batch.time, state, self._directions(batch))
            residual = s.time + self.lagrangian.hamiltonian(batch.time, state, s)
            (slope,) = torch.autograd.grad(residual.sum(), state)
            state = (state + reach * slope.clamp(-1, 1)).detach()
        s = process.inner.network.derivatives(batch.time, state, self._directions(batch))
        plain = ScaledLagrangian(self.lagrangian.sigma, self.lagrangian.growth_penalty)
        inner = point.weight * (s.time + plain.hamiltonian(batch.time, state, s))
        ends = process.inner.network(
            torch.cat([pairs.start, pairs.start + pairs.gap]),
            torch.cat([pairs.source, pairs.target]),
        )
        first, last = ends.chunk(2)
        if self.curve.weighted:
            first, last = first * pairs.log_source.exp(), last * pairs.log_target.exp()
        kinetic = 0.5 * point.weight * s.gradient.square().sum(1)
        return self._terms(
            (first - last) / pairs.gap + inner, kinetic, batch, point._replace(state=state)
        )

    def _terms(
        self, density: Tensor, kinetic: Tensor, batch: PairBatch, point: CurvePoint
    ) -> dict[str, Tensor]:
        value = -density.detach()
        if self.lagrangian.potential is not None:
            with torch.no_grad():
                value = value - point.weight * self.lagrangian.potential(batch.time, point.state)
        action = value / batch.density * (self.energy_unit * self.scaling.duration)
        return {
            "loss": density / batch.density,
            "action": action,
            "kinetic": kinetic.detach() / batch.density,
            "integrand": density.detach(),
        }

    def _directions(self, batch: PairBatch) -> Tensor | None:
        """Along which the Laplacian is summed, where noise makes it part of the Hamiltonian."""
        if not self.lagrangian.sigma:
            return None
        return self.axes if batch.probe is None else batch.probe

    def _draw(
        self, pairs: CoupledPairs, times: TimeSampler, n: int, generator: torch.Generator
    ) -> PairBatch:
        noise = probe = None
        if not self.lagrangian.sigma:
            t, density = times.draw(n, generator)
            return PairBatch(t, density, pairs.at(t, generator), None, None)
        # Every draw of the noise serves with both signs: what is singular near a snapshot cancels.
        t, density = times.draw((n + 1) // 2, generator)
        found, d = pairs.at(t, generator), len(self.axes)
        noise = torch.randn(len(t), d, generator=generator, device=t.device, dtype=t.dtype)
        if d > self.exact_laplacian_up_to:
            sign = torch.rand(n, 1, d, generator=generator, device=t.device) < 0.5
            probe = sign.to(t.dtype) * 2 - 1
        twice = [torch.cat([v, v])[:n] for v in (t, density, *found)]
        return PairBatch(
            twice[0], twice[1], Pairs(*twice[2:]), torch.cat([noise, -noise])[:n], probe
        )


def _warn_in_place(pairs: CoupledPairs, times: np.ndarray, penalty: Any) -> None:
    k, share = pairs.in_place()
    if share > 0.1:
        warnings.warn(
            f"{share:.0%} of the mass between times {times[k]:g} and {times[k + 1]:g} is destroyed or created in place, where no simulated path "
            f"leads to it: cells farther apart than π/√λ = {math.pi / penalty**0.5:.3g} are not connected; a smaller growth_penalty reaches farther",
            stacklevel=4,
        )
