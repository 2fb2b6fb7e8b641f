"""The quadratic losses of velocity, denoiser and growth, as one objective of the training loop."""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.learning.objective import Objective
from dyninfer.learning.parallel import mean_of_rows
from dyninfer.learning.random import stream
from dyninfer.simulation.solvers.predicted import predicted_steps
from dyninfer.transport.couplings import NOTHING, Coupled, CoupledSamples
from dyninfer.transport.couplings.folds import Folds
from dyninfer.transport.curves import TimeSampler
from dyninfer.transport.interpolated import InterpolatedDiffusion
from dyninfer.transport.objectives.settling import settle_total_mass

# Points by which a learned growth is settled, see there.
SETTLING_SIZE = 65536


class MatchingBatch(NamedTuple):
    """Points of the interpolant in scaled units, and what the network shall say there."""

    time: Tensor  # (n,)
    state: Tensor  # (n, d)
    # (n, outputs) velocity, then growth rate, then score or z; times the mass of the point
    target: Tensor
    weight: Tensor | None  # (n, 1) the mass; None where all are one
    code: Tensor | None  # (n, m) the condition


class InterpolantDraw(NamedTuple):
    """The interpolant of a batch of coupled samples, before its noise is added; ``n`` rows each."""

    time: Tensor  # (n,)
    line: Tensor  # (n, d) I
    velocity: Tensor  # (n, d) ∂I/∂t
    gamma: Tensor | None  # (n, 1) or (n, d) what multiplies z; None without noise
    gamma_slope: Tensor | None
    weight: Tensor | None  # (n, 1) mass; None where all are one
    weight_rate: Tensor | None  # (n, 1) its derivative in time
    code: Tensor | None


class MatchingObjective(Objective):
    r"""Least squares on the velocity, the score and the growth rate of coupled samples.

    .. math:: E\, w\,[\tfrac12|b|^2 - b\cdot(\partial_t I + \gamma' z)
        + \tfrac12|s|^2 + s\cdot z/\gamma + \tfrac12 g^2 - g\,\dot w/w]

    (arXiv 2303.08797, eqs. 2.13 and 2.16). With a denoiser in place of the score, ``½|η|² − η·z``
    (eq. 2.19). Targets that are infinite at the ends, γ' z and z/γ, come in pairs of points
    ``I ± γ z`` (section 6.1 there): their infinite parts cancel, and the variance of the loss stays
    bounded.

    Every term is divided by one more than the mean square of its field over the last hundred steps:
    the score of a narrow population is large, and would leave nothing to the velocity.

    Parameters
    ----------
    process : ScaledDiffusion
        Of an InterpolatedDiffusion.
    folds : Folds of CoupledSamples
        Samples that are learned from, and those by which the number of steps is chosen.
    seed : int
    """

    validation_size = 4096

    def __init__(
        self,
        process: ScaledDiffusion,
        folds: Folds[CoupledSamples],
        seed: int,
    ):
        samples = folds.training
        inner: InterpolatedDiffusion = process.inner
        like = samples.states
        self.process = process
        self.seed = seed
        self.folds = folds
        self.samples = samples
        self.held_out = folds.share
        self.schedule = inner.schedule
        self.times = TimeSampler(False, like.device, like.dtype)
        self.noise_length = inner.noise_length
        self.base: Tensor | None = None
        if inner.schedule.interpolant.gaussian_base:
            self.base = inner.base_mean
        self.head = inner.head
        self.grows = inner.grows
        # What is infinite at the ends cancels between the two signs of the noise.
        self.antithetic = inner.schedule.singular or inner.head == "score"
        widths = field_widths(inner, process.scaling.n_features)
        self.names = list(widths)
        self.mean = field_means(widths, like)
        n_fields = len(widths)
        self.squares = torch.zeros(n_fields).to(like)
        self.steps = 0
        # Mean squares at the first validation: the same for all of a run, or they could not be
        # compared.
        self.validation_squares: Tensor | None = None
        self.validation_batch: MatchingBatch | None = None
        if folds.validation is not None:
            generator = stream(seed, "validation", device=like.device)
            self.validation_batch = self._draw(folds.validation, self.validation_size, generator)

    def reach(self, step: int) -> None:
        """Let blocks of the plan be solved, where they are in turn."""
        self.samples.reach(step)

    def batch(self, n: int, generator: Generator) -> MatchingBatch:
        """Draw ``n`` points of the interpolant, or ``n`` pairs of points."""
        return self._draw(self.samples, n, generator)

    def loss(self, process: ScaledDiffusion, batch: MatchingBatch) -> dict[str, Tensor]:
        """Loss per point ``(n,)`` and its terms, in scaled units."""
        fields = process.inner.fields(batch.time, batch.state, batch.code)
        half = 0.5 * fields
        if batch.weight is not None:
            half = batch.weight * half
        densities = (half - batch.target) * fields
        terms = densities @ self.mean
        # The score of a narrow population would leave nothing to the velocity.
        balance = 1 / (1 + self.squares)
        loss = terms @ balance
        weighted_squares = 2 * half * fields
        squares = weighted_squares.detach() @ self.mean
        columns = terms.detach().unbind(1)
        by_name = dict(zip(self.names, columns, strict=True))
        return {
            "loss": loss,
            **by_name,
            "squares": squares,
        }

    def observe(self, batch: MatchingBatch, terms: dict[str, Tensor]) -> None:
        """Follow the mean squares of the fields, by which their losses are brought to one size."""
        squares = mean_of_rows(terms.pop("squares"))
        self.steps += 1
        # A plain mean over the first hundred steps, then one that forgets.
        part = max(0.01, 1 / self.steps)
        self.squares = torch.lerp(self.squares, squares.to(self.squares), part)

    def validation(self, process: ScaledDiffusion) -> float | None:
        """Loss on the samples that are held out, always at the same points."""
        if self.validation_batch is None:
            return None
        if self.validation_squares is None:
            self.validation_squares = self.squares.clone()
        with torch.no_grad():
            terms = self.loss(process, self.validation_batch)
        means = [terms[name].mean() for name in self.names]
        balance = 1 + self.validation_squares
        balanced = torch.stack(means) / balance
        return float(balanced.sum())

    def effort(self, process: ScaledDiffusion, batch: MatchingBatch) -> Tensor:
        """Predicted steps of the flow of the velocity; see :meth:`Objective.effort`."""
        network = process.inner.network
        d = batch.state.shape[1]

        def velocity(t: Tensor, x: Tensor) -> Tensor:
            return network(t, x, batch.code)[:, :d]

        return predicted_steps(velocity, batch.time, batch.state)

    def companions(self) -> list[tuple[Any, Objective]]:
        """The same losses with other pairs held out."""
        others: list[tuple[Any, Objective]] = []
        for folds in self.folds.others():
            process = copy.deepcopy(self.process)
            objective = MatchingObjective(process, folds, self.seed)
            others.append((process, objective))
        return others

    def learn_from_all(self) -> None:
        """Draw from all samples from now on."""
        self.samples = self.folds.whole

    def settle(self) -> None:
        """Set mean and bounds of the growth by what was learned, on fresh points."""
        inner: InterpolatedDiffusion = self.process.inner
        if not inner.grows:
            return
        generator = stream(self.seed, "settled growth", device=self.mean.device)
        points = self._draw(self.samples, SETTLING_SIZE, generator)
        with torch.no_grad():
            outputs = inner.network(points.time, points.state, points.code)
        weight = None
        if points.weight is not None:
            weight = points.weight[:, 0]
        rate = outputs[:, -1]
        inner.settle_law(points.time, rate, weight, points.code)
        # A Gaussian base has no cells to begin with.
        if self.base is None:
            settle_total_mass(self.process, self.samples, self.seed)

    def state(self) -> dict[str, Tensor]:
        """Mean squares of the fields, now and at the first validation."""
        state = {
            "squares": self.squares,
            "steps": torch.tensor(self.steps),
        }
        if self.validation_squares is not None:
            state["validation_squares"] = self.validation_squares
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.squares = state["squares"]
        self.steps = int(state["steps"])
        self.validation_squares = state.get("validation_squares")

    def _draw(self, samples: CoupledSamples, n: int, generator: Generator) -> MatchingBatch:
        tau = self._times(n, generator)
        draw = self._interpolants(samples, tau, generator)
        if draw.gamma is None:
            return self._points(draw, None)
        z = normal_like(draw.line, generator)
        if not self.antithetic:
            return self._points(draw, z)
        one = self._points(draw, z)
        other = self._points(draw, -z)
        return _joined(one, other)

    def _times(self, n: int, generator: Generator) -> Tensor:
        """Scaled times ``(n,)``: even, but half of them denser towards the ends of an interval."""
        tau, _ = self.times.draw(n, generator)
        if not self.schedule.noisy:
            return tau
        # Noise makes the ends hard: there γ falls to zero.
        k, s, gap = self.schedule.locate(tau)
        angle = math.pi * s
        s = 0.5 - 0.5 * torch.cos(angle)
        start = self.schedule.knots[k]
        to_the_ends = start + s * gap
        number = torch.arange(n, device=tau.device)
        is_even = number % 2 == 0
        return torch.where(is_even, tau, to_the_ends)

    def _interpolants(
        self, samples: CoupledSamples, tau: Tensor, generator: Generator
    ) -> InterpolantDraw:
        moment = self.schedule.moment(tau)
        coupled = samples.draw(moment.interval, generator)
        if self.base is not None:
            coupled.knots[:, 0] = self.base
        line, velocity = moment.line(coupled.knots)
        gamma = self._by_feature(moment.gamma)
        gamma_slope = self._by_feature(moment.gamma_slope)
        weight = weight_rate = None
        if samples.weighted or self.grows:
            weight, weight_rate = self._mass(tau, coupled)
        return InterpolantDraw(
            time=tau,
            line=line,
            velocity=velocity,
            gamma=gamma,
            gamma_slope=gamma_slope,
            weight=weight,
            weight_rate=weight_rate,
            code=coupled.code,
        )

    def _by_feature(self, gamma: Tensor | None) -> Tensor | None:
        """``γ`` of times ``(n,)``, or its slope, of every feature."""
        if gamma is None:
            return None
        return gamma[:, None] * self.noise_length

    def _points(self, draw: InterpolantDraw, z: Tensor | None) -> MatchingBatch:
        """Points ``I + γ z`` and their targets."""
        state = draw.line
        velocity = draw.velocity
        second = None
        if z is not None and draw.gamma is not None and draw.gamma_slope is not None:
            state = state + draw.gamma * z
            velocity = velocity + draw.gamma_slope * z
            if self.head == "denoiser":
                second = z
            elif self.head == "score":
                second = -z / draw.gamma
        targets = [velocity]
        if second is not None:
            targets.append(second)
        if draw.weight is not None:
            targets = [draw.weight * target for target in targets]
            if self.grows and draw.weight_rate is not None:
                targets.insert(1, draw.weight_rate)
        return MatchingBatch(
            time=draw.time,
            state=state,
            target=torch.cat(targets, 1),
            weight=draw.weight,
            code=draw.code,
        )

    def _mass(self, tau: Tensor, coupled: Coupled) -> tuple[Tensor, Tensor]:
        """Mass of every point and its derivative in time, ``(n, 1)`` each.

        It changes at a constant rate, or along a straight line where it begins or ends with
        nothing.
        """
        _, s, gap = self.schedule.locate(tau)
        first = coupled.log_start
        last = coupled.log_end
        log_steady = torch.lerp(first, last, s)
        steady = log_steady.exp()
        steady_rate = steady * (last - first)
        start = first.exp()
        end = last.exp()
        straight = torch.lerp(start, end, s)
        straight_rate = end - start
        least = torch.minimum(first, last)
        fades = least < NOTHING / 2
        weight = torch.where(fades, straight, steady)
        slope = torch.where(fades, straight_rate, steady_rate)
        rate = slope / gap
        return weight[:, None], rate[:, None]


def normal_like(x: Tensor, generator: Generator) -> Tensor:
    """Standard normal draws of the shape of ``x``."""
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def field_widths(process: InterpolatedDiffusion, n_features: int) -> dict[str, int]:
    """Outputs of each field of the process, in their order."""
    widths = {"velocity": n_features}
    if process.grows:
        widths["growth"] = 1
    if process.head:
        widths[process.head] = n_features
    return widths


def field_means(widths: dict[str, int], like: Tensor) -> Tensor:
    """Matrix ``(outputs, fields)`` that averages over the features of every field."""
    blocks = []
    for width in widths.values():
        shape = (width, 1)
        share = 1 / width
        equal = like.new_full(shape, share)
        blocks.append(equal)
    return torch.block_diag(*blocks)


def _joined(first: MatchingBatch, second: MatchingBatch) -> MatchingBatch:
    """Points of both batches, row after row."""

    def joined(one: Any, other: Any) -> Any:
        if one is None:
            return None
        return torch.cat([one, other])

    return MatchingBatch(*map(joined, first, second))
