"""The action of a density curve: what Action Matching minimises."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Generator, Tensor

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.learning.objective import Objective
from dyninfer.learning.random import stream
from dyninfer.transport.couplings import CoupledSamples
from dyninfer.transport.couplings.folds import Folds
from dyninfer.transport.curves import Curve, DensityBatch, TimeSampler
from dyninfer.transport.lagrangians import ScaledLagrangian
from dyninfer.transport.objectives.potential_effort import steps_of_potential
from dyninfer.transport.objectives.score import ScoreMatching, ScorePoints
from dyninfer.transport.objectives.settling import settle_total_mass

# Samples by which a learned growth is settled: the mean of a rate of size one is then known within
# half a per cent, which is what mass is off by.
SETTLING_SIZE = 65536


class ActionObjective(Objective):
    r"""The action of a potential ``s`` along a density curve ``q``, in scaled units.

    .. math:: \mathcal L(s) = E_{q_0}[s_0] - E_{q_1}[s_1]
        + \int E_{q_t}[\partial_t s + H(t, x, s)]\,dt

    or, where the velocity ``v`` and the growth rate ``g`` of the curve are known,
    ``∫ E[H − ∇s·v − g s] dt``, which is the same number (arXiv 2210.06662).

    With noise, the curve is looked at through a very narrow kernel: every sample is moved by ``± h
    e`` with random signs e. Given a sample, the score of that is ``∓ e/h``, and ``−½σ² ∇s·score``
    takes the place of ``½σ² Δs``, whose mean over both sides it is (Hutchinson's estimate, by a
    central difference). The same two points teach a second potential the score of the curve.

    Parameters
    ----------
    process : ScaledDiffusion
        Of a PotentialDiffusion, whose noise and growth penalty make the Hamiltonian.
    folds : Folds of a Curve
        Curve that is learned from, and those by which the number of steps is chosen.
    form : {"auto", "velocity", "boundary"}
        Which of the two formulas; "auto" is "velocity" where the curve knows its own.
    adaptive_times : bool
        Whether times are drawn more densely where the integrand varies more.
    seed : int
    """

    # h, in scaled units: rounding in single precision is a ten-thousandth of a slope over it.
    kernel_width = 0.02
    validation_size = 4096

    def __init__(
        self,
        process: ScaledDiffusion,
        folds: Folds[Curve],
        *,
        form: str = "auto",
        adaptive_times: bool = True,
        seed: int = 0,
    ):
        curve = folds.training
        if form == "velocity" and not curve.knows_velocity:
            raise ValueError(
                "objective='velocity' needs a curve whose velocity is known; use "
                "interpolation='linear' or 'cubic', or objective='boundary'"
            )
        like = next(process.parameters())
        inner = process.inner
        scaling = process.scaling
        self.process = process
        self.folds = folds
        self.curve = curve
        self.held_out = folds.share
        self.form = form
        self.seed = seed
        self.by_velocity = curve.knows_velocity and form != "boundary"
        self.lagrangian = ScaledLagrangian(inner.sigma, inner.growth_penalty)
        self.action_unit = scaling.action_unit
        self.n_features = scaling.n_features
        self.axes = torch.eye(self.n_features).to(like)
        self.score = ScoreMatching(self.axes) if inner.second is not None else None
        self.times = TimeSampler(adaptive_times, like.device, like.dtype)
        self.validation_batch: DensityBatch | None = None
        if folds.validation is not None:
            even = TimeSampler(False, like.device, like.dtype)
            generator = stream(seed, "validation", device=like.device)
            self.validation_batch = self._draw(
                folds.validation, even, self.validation_size, generator
            )

    def reach(self, step: int) -> None:
        """Let blocks of the plan be solved, where they are in turn."""
        self.curve.reach(step)

    def batch(self, n: int, generator: Generator) -> DensityBatch:
        """Draw ``n`` samples of the curve; with noise, half of them, which are used twice."""
        return self._draw(self.curve, self.times, n, generator)

    def loss(self, process: ScaledDiffusion, batch: DensityBatch) -> dict[str, Tensor]:
        """Action per sample ``(n,)``: its mean is the action of the scaled problem."""
        points = both_sides(batch)
        density = self._action_density(process, batch, points)
        action = density / batch.density
        terms = {
            "loss": action,
            "action": action.detach() * self.action_unit,
            "integrand": density.detach(),
        }
        if self.score is not None:
            score_density, square = self._score_density(process, batch, points)
            score = score_density / batch.density
            balanced = self.score.balanced(score)
            terms["loss"] = action + balanced
            terms["score"] = score.detach()
            terms["score_square"] = square
        return terms

    def observe(self, batch: DensityBatch, terms: dict[str, Tensor]) -> None:
        """Tell the time sampler how the integrand varied."""
        integrand = terms.pop("integrand")
        self.times.observe(batch.time, integrand)
        if self.score is not None:
            self.score.observe(terms.pop("score_square"))

    def validation(self, process: ScaledDiffusion) -> float | None:
        """Action on what is held out, always at the same times."""
        batch = self.validation_batch
        if batch is None:
            return None
        with torch.no_grad():
            points = both_sides(batch)
            value = self._action_density(process, batch, points).mean()
            if self.score is not None:
                score_density, _ = self._score_density(process, batch, points)
                value = value + self.score.validation(score_density)
        return float(value)

    def effort(self, process: ScaledDiffusion, batch: DensityBatch) -> Tensor:
        """Predicted steps of the flow of the potential; see :meth:`Objective.effort`."""
        steps = steps_of_potential(process.inner, batch.time, batch.state, batch.code)
        return steps / batch.density

    def companions(self) -> list[tuple[Any, Objective]]:
        """The same action with other pairs held out."""
        others: list[tuple[Any, Objective]] = []
        for folds in self.folds.others():
            process = copy.deepcopy(self.process)
            objective = ActionObjective(
                process,
                folds,
                form=self.form,
                adaptive_times=self.times.adaptive,
                seed=self.seed,
            )
            others.append((process, objective))
        return others

    def learn_from_all(self) -> None:
        """Draw from the whole curve from now on."""
        self.curve = self.folds.whole

    def settle(self) -> None:
        """Set mean and bounds of the growth by what was learned, on fresh samples of the curve."""
        if self.lagrangian.growth_penalty is None:
            return
        like = self.axes
        even = TimeSampler(False, like.device, like.dtype)
        generator = stream(self.seed, "settled growth", device=like.device)
        batch = self._draw(self.curve, even, SETTLING_SIZE, generator)
        self.process.inner.settle_growth(batch.time, batch.state, batch.weight, batch.code)
        samples = getattr(self.curve, "samples", None)
        if isinstance(samples, CoupledSamples):
            settle_total_mass(self.process, samples, self.seed)

    def state(self) -> dict[str, Any]:
        """Moments of the adaptive times, and of the score."""
        state: dict[str, Any] = {"times": self.times.state()}
        if self.score is not None:
            state["score"] = self.score.state()
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`."""
        self.times.restore(state["times"])
        if self.score is not None:
            self.score.restore(state["score"])

    def action_density(self, process: ScaledDiffusion, batch: DensityBatch) -> Tensor:
        """Integrand of the action ``(n,)``, by whichever form; exact where there is no probe."""
        return self._action_density(process, batch, both_sides(batch))

    def _action_density(
        self, process: ScaledDiffusion, batch: DensityBatch, points: DensityBatch
    ) -> Tensor:
        """Integrand ``(n,)`` of a batch whose samples were moved to ``points``."""
        network = process.inner.network
        directions = None
        if self.lagrangian.sigma and batch.probe is None:
            directions = self.axes
        s = network.derivatives(points.time, points.state, directions, points.code)
        if points.probe is not None:
            along = (s.gradient * points.probe).sum(1)
            laplacian = along / self.kernel_width**2
            s = s._replace(laplacian=laplacian)
        energy = self.lagrangian.hamiltonian(points.time, points.state, s)
        if self.by_velocity and points.velocity is not None:
            # d/dt E[w s(t, x_t)] along the curve replaces ∂s/∂t and the boundary terms.
            advance = (s.gradient * points.velocity).sum(1)
            if points.growth is not None:
                by_growth = points.growth * s.value
                advance = advance + by_growth
            density = energy - advance
            if points.weight is not None:
                density = points.weight * density
            return over_sides(density, batch)
        interior = energy + s.time
        if points.weight is not None:
            interior = interior * points.weight
        boundary = self._boundary(network, batch)
        return boundary + over_sides(interior, batch)

    def _boundary(self, network: Any, batch: DensityBatch) -> Tensor:
        """Boundary terms ``(n,)`` of the stretches that the samples lie on."""
        times = torch.cat([batch.start_time, batch.end_time])
        states = torch.cat([batch.start_state, batch.end_state])
        codes = twice(batch.code)
        values = network(times, states, codes)
        first, last = values.chunk(2)
        if batch.weight is not None:
            first = first * batch.start_weight
            last = last * batch.end_weight
        return (first - last) / batch.gap

    def _score_density(
        self, process: ScaledDiffusion, batch: DensityBatch, points: DensityBatch
    ) -> tuple[Tensor, Tensor]:
        """Integrand ``(n,)`` of the loss of the score, and its squares at the points."""
        assert self.score is not None
        assert points.probe is not None
        score_points = ScorePoints(
            time=points.time,
            state=points.state,
            target=points.probe / -(self.kernel_width**2),
            weight=points.weight,
            code=points.code,
        )
        density, square = self.score.loss(process.inner.second, score_points)
        return over_sides(density, batch), square

    def _draw(self, curve: Curve, times: TimeSampler, n: int, generator: Generator) -> DensityBatch:
        if not self.lagrangian.sigma:
            t, density = times.draw(n, generator)
            return curve.draw(t, density, generator)
        n_used_twice = (n + 1) // 2
        t, density = times.draw(n_used_twice, generator)
        batch = curve.draw(t, density, generator)
        signs = random_signs(t, self.n_features, generator)
        probe = self.kernel_width * signs[:, 0]
        return batch._replace(probe=probe)


def both_sides(batch: DensityBatch) -> DensityBatch:
    """Every sample of ``n`` moved to either side by its probe: ``2n`` rows, without their ends.

    Where there is no probe, the batch as it is.
    """
    if batch.probe is None:
        return batch
    way = torch.cat([batch.probe, -batch.probe])
    time = torch.cat([batch.time, batch.time])
    middle = torch.cat([batch.state, batch.state])
    return batch._replace(
        time=time,
        state=middle + way,
        velocity=twice(batch.velocity),
        growth=twice(batch.growth),
        weight=twice(batch.weight),
        code=twice(batch.code),
        probe=way,
    )


def over_sides(values: Tensor, batch: DensityBatch) -> Tensor:
    """Mean ``(n,)`` over both sides of values ``(2n,)``, where the batch has sides."""
    if batch.probe is None:
        return values
    by_side = values.unflatten(0, (2, -1))
    return by_side.mean(0)


def twice(values: Tensor | None) -> Tensor | None:
    """Rows ``(2n, ...)`` for both ends, or both sides, of ``n``."""
    if values is None:
        return None
    return torch.cat([values, values])


def random_signs(t: Tensor, n_features: int, generator: Generator) -> Tensor:
    """Rademacher direction ``(n, 1, d)`` for each of the times ``(n,)``."""
    shape = (len(t), 1, n_features)
    u = torch.rand(shape, generator=generator, device=t.device, dtype=t.dtype)
    is_positive = (u < 0.5).to(t.dtype)
    return 2 * is_positive - 1
