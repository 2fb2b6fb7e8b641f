"""The dual problem of Wasserstein Lagrangian flows: a potential against a density curve."""

from __future__ import annotations

import copy
from typing import Any

import pandas as pd
import torch
from torch import Generator, Tensor

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.learning.networks import Derivatives
from dyninfer.learning.objective import Objective
from dyninfer.learning.random import stream, subseed
from dyninfer.learning.training import train
from dyninfer.transport.couplings import CoupledSamples
from dyninfer.transport.couplings.folds import Folds
from dyninfer.transport.curves import TimeSampler
from dyninfer.transport.curves.diagnostics import diagnose
from dyninfer.transport.curves.learned import CurvePoint, LearnedCurve, PairBatch
from dyninfer.transport.curves.optimizer import CurveOptimizer
from dyninfer.transport.curves.population import Population
from dyninfer.transport.curves.residual import Measurement
from dyninfer.transport.lagrangians import ScaledLagrangian
from dyninfer.transport.objectives.action import SETTLING_SIZE, random_signs, twice
from dyninfer.transport.objectives.game import Game, PairAction, bending, draw_pairs
from dyninfer.transport.objectives.potential_effort import steps_of_potential
from dyninfer.transport.objectives.score import ScoreMatching, ScorePoints
from dyninfer.transport.objectives.settling import settle_total_mass


class DualObjective(Objective):
    r"""Both sides of the dual problem, in scaled units (arXiv 2310.10649).

    .. math:: \inf_q \sup_s\; E_{q_1}[s_1] - E_{q_0}[s_0] - \int E_{q_t}[\partial_t s + H]\,dt

    The loop's potential ``s`` is fitted by regression on the drift of the pairs' paths; the density
    curve ``q``, in here, ascends the Hamilton-Jacobi residual.

    Parameters
    ----------
    process : ScaledDiffusion
        Of a PotentialDiffusion.
    curve : LearnedCurve
        Through the pairs of ``folds`` that are learned from.
    folds : Folds of CoupledSamples
        Pairs that are learned from, and those by which the number of steps is chosen.
    game : Game
    seed : int
    """

    exact_laplacian_up_to = 10  # features; above, one random direction per sample (Hutchinson)
    validation_size = 4096
    diagnosis_size = 16384
    # Steps in which the potential finds the first curve, before that curve moves.
    alone = 200
    # Steps between two moves of the curve where there is noise: its residual needs a Laplacian.
    noisy_every = 4
    # Of the curve alone, where there is a potential energy that bends it.
    warm_steps, warm_size = 1000, 512

    def __init__(
        self,
        process: ScaledDiffusion,
        curve: LearnedCurve,
        folds: Folds[CoupledSamples],
        game: Game,
        seed: int,
    ):
        self.process = process
        self.curve = curve
        self.folds = folds
        self.held_out = folds.share
        self.game = game
        self.seed = seed
        self.scaling = process.scaling
        self.lagrangian = curve.lagrangian
        self.population = Population(curve, seed)
        states = curve.samples.states
        device = states.device
        dtype = states.dtype
        every = 1
        if self.lagrangian.sigma:
            every = self.noisy_every
        self.opponent = CurveOptimizer(
            curve,
            game.learning_rate,
            alone=min(self.alone, game.last_step),
            last=game.last_step,
            every=every,
        )
        has_score = process.inner.second is not None
        self.score = ScoreMatching(states) if has_score else None
        self.times = TimeSampler(True, device, dtype)
        self.even_times = TimeSampler(False, device, dtype)
        d = states.shape[1]
        self.axes = torch.eye(d, device=device, dtype=dtype)
        self.validation_batch: PairBatch | None = None
        if folds.validation is not None:
            generator = stream(seed, "validation", device=device)
            self.validation_batch = self._draw(
                folds.validation, self.even_times, self.validation_size, generator
            )

    def reach(self, step: int) -> None:
        """Let blocks of the plan be solved, where they are in turn."""
        self.curve.samples.reach(step)

    def batch(self, n: int, generator: Generator) -> PairBatch:
        """Draw ``n`` pairs and times; with noise, every draw of it is used with both signs."""
        samples = self.curve.samples
        return self._draw(samples, self.times, n, generator)

    def loss(self, process: ScaledDiffusion, batch: PairBatch) -> dict[str, Tensor]:
        """Loss of the potential per sample; the gradient of a curve that moves rides along."""
        if self.opponent.measures and torch.is_grad_enabled():
            return self._losses_of_both(process, batch)
        with torch.no_grad():
            point = self.curve.point(batch)
        terms = self._potential_loss(process, batch, point)
        return self._with_score(terms, process, batch, point)

    def observe(self, batch: PairBatch, terms: dict[str, Tensor]) -> None:
        """Let the curve make its step, and tell the time sampler how the integrand varied."""
        integrand = terms.pop("integrand")
        self.times.observe(batch.time, integrand)
        if self.score is not None:
            self.score.observe(terms.pop("score_square"))
        measurement = None
        if "residual" in terms:
            measurement = Measurement(
                time=batch.time,
                residual=terms.pop("residual"),
                mass=terms.pop("mass"),
                prescribed_mass=self.curve.prescribed_mass(batch),
                kinetic=terms["kinetic"],
                pair_action=terms.pop("pair_action"),
            )
        if self.opponent.moves:
            self.population.follow()
        self.opponent.step(measurement)
        spread = self.opponent.spread
        # A copy: the statistics change in place.
        terms["residual_std"] = spread.detach().clone()

    def validation(self, process: ScaledDiffusion) -> float | None:
        """Loss on the pairs that are held out, once the curve stands still."""
        # Before, losses are of different problems.
        batch = self.validation_batch
        if batch is None or not self.opponent.finished:
            return None
        with torch.no_grad():
            point = self.curve.point(batch)
            terms = self._potential_loss(process, batch, point)
            value = terms["loss"].mean()
            if self.score is not None:
                score, _ = self._score_loss(process, batch, point)
                value = value + self.score.validation(score)
        return float(value)

    def effort(self, process: ScaledDiffusion, batch: PairBatch) -> Tensor:
        """Predicted steps of the flow of the potential; see :meth:`Objective.effort`."""
        with torch.no_grad():
            state = self.curve.point(batch).state
        steps = steps_of_potential(process.inner, batch.time, state, batch.pairs.code)
        return steps / batch.density

    def companions(self) -> list[tuple[Any, Objective]]:
        """The same problem with other pairs held out."""
        others: list[tuple[Any, Objective]] = []
        for folds in self.folds.others():
            process = copy.deepcopy(self.process)
            curve = self.curve.through(folds.training)
            objective = DualObjective(process, curve, folds, self.game, self.seed)
            others.append((process, objective))
        return others

    def learn_from_all(self) -> None:
        """Draw from all pairs from now on."""
        self.curve.use(self.folds.whole)

    def settle(self) -> None:
        """Set mean and bounds of the growth by what was learned, on fresh samples of the curve."""
        if self.lagrangian.growth_penalty is None:
            return
        generator = stream(self.seed, "settled growth", device=self.axes.device)
        batch = self._draw(self.curve.samples, self.even_times, SETTLING_SIZE, generator)
        with torch.no_grad():
            point = self.curve.point(batch)
        code = batch.pairs.code
        self.process.inner.settle_growth(batch.time, point.state, point.weight, code)
        settle_total_mass(self.process, self.curve.samples, self.seed)

    def state(self) -> dict[str, Any]:
        """Moments of the adaptive times and of the score, and the curve with its optimiser."""
        state = {"times": self.times.state(), "opponent": self.opponent.state()}
        if self.score is not None:
            state["score"] = self.score.state()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`."""
        self.times.restore(state["times"])
        self.opponent.restore(state["opponent"])
        self.population.look()
        if self.score is not None:
            self.score.restore(state["score"])

    def diagnostics(self) -> pd.DataFrame:
        """Averages over fresh samples of the curve; see :func:`diagnose`."""
        generator = stream(self.seed, "diagnostics", device=self.axes.device)
        samples = self.curve.samples
        batch = self._draw(samples, self.even_times, self.diagnosis_size, generator)
        self.population.look()
        network = self.process.inner.network
        directions = self._directions(batch)
        table = diagnose(network, self.curve, batch, directions, self.scaling)
        table.attrs["runaways"] = self.opponent.runaways
        return table

    def warm_up(self) -> None:
        """Bend the pairs' paths by their own action, before the game; without a force, nothing."""
        if not (self.lagrangian.bends and self.warm_steps):
            return
        objective = PairAction(self._draw, self.curve.samples, self.even_times, self.population)
        settings = bending(self.warm_steps, self.warm_size, self.game.learning_rate)
        settings.device = str(self.axes.device)
        result = train(
            self.curve,
            objective,
            settings,
            seed=subseed(self.seed, "warm-up"),
            progress=False,
        )
        if result.status == "interrupted":
            raise KeyboardInterrupt
        self.population.look()
        self.population.warn_of_collapse()
        self.opponent.restart()

    def _losses_of_both(self, process: ScaledDiffusion, batch: PairBatch) -> dict[str, Tensor]:
        """Loss of the potential, with the gradient of the curve, and what is measured of it."""
        point = self.curve.point(batch)
        fixed = point.detach()
        state = fixed.state.requires_grad_()
        network = process.inner.network
        directions = self._directions(batch)
        s = network.derivatives(batch.time, state, directions, batch.pairs.code)
        H = self.lagrangian.hamiltonian(batch.time, state, s)
        residual = s.time + H
        (slope,) = torch.autograd.grad(residual.sum(), state, retain_graph=True)
        residual = residual.detach()
        terms = self._potential_loss(process, batch, fixed, s)
        terms = self._with_score(terms, process, batch, fixed.detach())
        # The curve ascends w (∂s/∂t + H): through its states by the slope, through its weights by
        # the value.
        price = self.opponent.mass_price(batch.time)
        excess = residual - price
        along_slope = (slope * point.state).sum(1)
        rise_by_state = fixed.weight * along_slope
        rise = rise_by_state + excess * point.weight
        action = self.curve.pair_action(batch)
        damping = self.game.damping * self.opponent.part_left
        game_share = 1 - damping
        descent = damping * action - game_share * rise
        # The value of the loss stays that of the potential.
        only_gradient = descent - descent.detach()
        curve_loss = only_gradient / (batch.density * self.curve.interval_mass(batch))
        terms["loss"] = terms["loss"] + curve_loss
        terms["residual"] = residual
        terms["mass"] = fixed.weight
        terms["pair_action"] = action.detach() / batch.density
        return terms

    def _with_score(
        self,
        terms: dict[str, Tensor],
        process: ScaledDiffusion,
        batch: PairBatch,
        point: CurvePoint,
    ) -> dict[str, Tensor]:
        """Terms of the potential and, where a score is learned, of that."""
        if self.score is None:
            return terms
        score, square = self._score_loss(process, batch, point)
        terms["loss"] = terms["loss"] + self.score.balanced(score)
        terms["score"] = score.detach()
        terms["score_square"] = square
        return terms

    def _score_loss(
        self, process: ScaledDiffusion, batch: PairBatch, point: CurvePoint
    ) -> tuple[Tensor, Tensor]:
        """Loss of the score per sample ``(n,)``, and its squares at the points."""
        assert self.score is not None
        assert point.score is not None
        points = ScorePoints(
            time=batch.time,
            state=point.state,
            target=point.score,
            weight=point.weight,
            code=batch.pairs.code,
        )
        density, square = self.score.loss(process.inner.second, points)
        return density / (batch.density * self.curve.interval_mass(batch)), square

    def _potential_loss(
        self,
        process: ScaledDiffusion,
        batch: PairBatch,
        point: CurvePoint,
        s: Derivatives | None = None,
    ) -> dict[str, Tensor]:
        """Regression of ∇s on the drift and of λs on the growth; its least value is −action."""
        if self.game.refinement_steps and torch.is_grad_enabled():
            return self._refined_loss(process, batch, point)
        if s is None:
            network = process.inner.network
            s = network.derivatives(batch.time, point.state, c=batch.pairs.code)
        weight = point.weight
        squared_speed = s.gradient.square().sum(1)
        kinetic = 0.5 * weight * squared_speed
        along_paths = (s.gradient * point.velocity).sum(1)
        density = kinetic - weight * along_paths
        penalty = self.lagrangian.growth_penalty
        if penalty is not None:
            growth_energy = 0.5 * penalty * weight * s.value.square()
            density = density + growth_energy
        if self.curve.weighted:
            along_weights = point.weight_rate * s.value
            density = density - along_weights
        return self._terms(density, kinetic, batch, point)

    def _refined_loss(
        self, process: ScaledDiffusion, batch: PairBatch, point: CurvePoint
    ) -> dict[str, Tensor]:
        """The dual problem as the paper writes it, at samples moved up the residual."""
        network = process.inner.network
        pairs = batch.pairs
        start, gap = self.curve.samples.span(pairs.interval)
        elapsed = batch.time - start
        tau = elapsed / gap
        state = self._refined(network, batch, point.state, tau)
        directions = self._directions(batch)
        s = network.derivatives(batch.time, state, directions, batch.pairs.code)
        # Without the potential energy, in which s does not occur.
        plain = ScaledLagrangian(
            sigma=self.lagrangian.sigma,
            growth_penalty=self.lagrangian.growth_penalty,
        )
        H = plain.hamiltonian(batch.time, state, s)
        interior = point.weight * (s.time + H)
        end = start + gap
        times = torch.cat([start, end])
        states = torch.cat([pairs.source, pairs.target])
        first, last = network(times, states, twice(pairs.code)).chunk(2)
        if self.curve.weighted:
            first = first * pairs.log_start.exp()
            last = last * pairs.log_end.exp()
        boundary = (first - last) / gap
        density = boundary + interior
        squared_speed = s.gradient.square().sum(1)
        kinetic = 0.5 * point.weight * squared_speed
        refined_point = point._replace(state=state)
        return self._terms(density, kinetic, batch, refined_point)

    def _refined(self, network: Any, batch: PairBatch, state: Tensor, tau: Tensor) -> Tensor:
        """Samples moved up the gradient of the residual, but at the snapshots."""
        step_size = 2 * self.game.refinement_size
        length = step_size * tau * (1 - tau)
        reach = length[:, None]
        directions = self._directions(batch)
        for _ in range(self.game.refinement_steps):
            state = state.detach().requires_grad_()
            s = network.derivatives(batch.time, state, directions, batch.pairs.code)
            H = self.lagrangian.hamiltonian(batch.time, state, s)
            residual = s.time + H
            (slope,) = torch.autograd.grad(residual.sum(), state)
            # Bounded: far from the data the residual of a young potential is steep.
            step = reach * slope.clamp(-1, 1)
            state = state + step
        return state.detach()

    def _terms(
        self, density: Tensor, kinetic: Tensor, batch: PairBatch, point: CurvePoint
    ) -> dict[str, Tensor]:
        value = -density.detach()
        if self.lagrangian.potential is not None:
            with torch.no_grad():
                energy = self.lagrangian.energy(batch.time, point.state)
            weight = point.weight.detach()
            value = value - weight * energy
        action_unit = self.scaling.energy_unit * self.scaling.duration
        return {
            # An interval counts for no more because it is heavier.
            "loss": density / (batch.density * self.curve.interval_mass(batch)),
            "action": value / batch.density * action_unit,
            "kinetic": kinetic.detach() / batch.density,
            "integrand": density.detach(),
        }

    def _directions(self, batch: PairBatch) -> Tensor | None:
        """Along which the Laplacian is summed, where noise makes it part of the Hamiltonian."""
        if not self.lagrangian.sigma:
            return None
        if batch.probe is None:
            return self.axes
        return batch.probe

    def _draw(
        self, samples: CoupledSamples, times: TimeSampler, n: int, generator: Generator
    ) -> PairBatch:
        is_noisy = bool(self.lagrangian.sigma)
        batch = draw_pairs(samples, times, n, generator, noisy=is_noisy)
        d = len(self.axes)
        if is_noisy and d > self.exact_laplacian_up_to:
            signs = random_signs(batch.time, d, generator)
            batch = batch._replace(probe=signs)
        return batch
