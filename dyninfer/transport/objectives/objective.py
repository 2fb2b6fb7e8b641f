"""The quadratic losses of velocity, denoiser and growth, as one objective of the training loop."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.learning.objective import Objective
from dyninfer.learning.parallel import mean_over_processes
from dyninfer.transport.couplings import NOTHING
from dyninfer.transport.curves import TimeSampler
from dyninfer.transport.interpolants import Moment
from dyninfer.transport.interpolated import InterpolatedDiffusion
from dyninfer.transport.objectives.coupled import CoupledSamples, Ends


class MatchingBatch(NamedTuple):
    """Points of the interpolant in scaled units, and what the network shall say there; every entry has ``n`` rows."""

    time: Tensor  # (n,)
    state: Tensor  # (n, d)
    target: Tensor  # (n, outputs) velocity, then growth rate, then score or z; times the mass carried by the point
    weight: Tensor | None  # (n, 1) the mass; None where all are one
    code: Tensor | None  # (n, m) the condition


class MatchingObjective(Objective):
    r"""``E w [½|b|² − b·(∂_t I + γ' z) + ½|s|² + s·z/γ + ½g² − g ẇ/w]`` (arXiv 2303.08797, eqs. 2.13 and 2.16).

    With a denoiser in place of the score, ``½|η|² − η·z`` (eq. 2.19). Targets that are infinite at the ends, γ' z and z/γ, come in
    pairs of points ``I ± γ z`` (section 6.1 there): their infinite parts cancel, and the variance of the loss stays bounded.

    Every term is divided by one more than the mean square of its field over the last hundred steps: the score of a narrow
    population is large, and would leave nothing to the velocity.

    Parameters
    ----------
    process : ScaledDiffusion
        Of an InterpolatedDiffusion.
    samples : CoupledSamples
    held : CoupledSamples, optional
        Samples kept apart, on which the validation is computed.
    seed : int
    """

    validation_size = 4096

    def __init__(
        self,
        process: ScaledDiffusion,
        samples: CoupledSamples,
        held: CoupledSamples | None,
        seed: int,
    ):
        inner: InterpolatedDiffusion = process.inner
        schedule, d = inner.schedule, process.scaling.n_features
        self.schedule, self.samples = schedule, samples
        like = samples.states
        self.times = TimeSampler(False, like.device, like.dtype)
        one_sided = schedule.interpolant.gaussian_base
        self.length, self.base = inner.noise_length, inner.base_mean if one_sided else None
        self.head, self.grows = inner.head, inner.grows
        self.antithetic = schedule.singular or inner.head == "score"
        columns = {"velocity": d}
        if self.grows:
            columns["growth"] = 1
        if self.head:
            columns[self.head] = d
        self.names = list(columns)
        blocks = [torch.full((width, 1), 1 / width) for width in columns.values()]
        self.mean = torch.block_diag(*blocks).to(
            like
        )  # (outputs, terms): mean over the features of every term
        self.squares, self.steps = torch.zeros(len(self.names)).to(like), 0
        self.yardstick: Tensor | None = None  # for all validations of a run
        self.held = None
        if held is not None:
            generator = torch.Generator(like.device).manual_seed(seed + 7919)
            self.held = self._draw(held, self.validation_size, generator)

    def batch(self, n: int, generator: torch.Generator) -> MatchingBatch:
        """Draw ``n`` points of the interpolant, or ``n`` pairs of points."""
        return self._draw(self.samples, n, generator)

    def loss(self, process: ScaledDiffusion, batch: MatchingBatch) -> dict[str, Tensor]:
        """Loss per point ``(n,)`` and its terms, in scaled units."""
        found = process.inner.fields(batch.time, batch.state, batch.code)
        energy = 0.5 * found if batch.weight is None else 0.5 * batch.weight * found
        terms = ((energy - batch.target) * found) @ self.mean
        shown = dict(zip(self.names, terms.detach().unbind(1), strict=True))
        squares = (2 * energy * found).detach() @ self.mean
        return {"loss": terms @ (1 / (1 + self.squares)), **shown, "squares": squares.mean(0)}

    def observe(self, batch: MatchingBatch, terms: dict[str, Tensor]) -> None:
        """Follow the mean squares of the fields, by which their losses are brought to one size."""
        squares = terms.pop("squares")
        mean_over_processes([squares])
        self.steps += 1
        self.squares = torch.lerp(self.squares, squares, max(0.01, 1 / self.steps))

    def validation(self, process: ScaledDiffusion) -> float | None:
        """Loss on the samples that were kept apart, always at the same points."""
        if self.held is None:
            return None
        if self.yardstick is None:
            self.yardstick = self.squares.clone()
        with torch.no_grad():
            terms = self.loss(process, self.held)
        return float(
            sum(
                terms[name].mean() / (1 + v)
                for name, v in zip(self.names, self.yardstick, strict=True)
            )
        )

    def state(self) -> dict[str, Tensor]:
        """Mean squares of the fields, now and at the first validation."""
        kept = {"squares": self.squares, "steps": torch.tensor(self.steps)}
        return kept if self.yardstick is None else {**kept, "yardstick": self.yardstick}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.squares, self.steps = state["squares"], int(state["steps"])
        self.yardstick = state.get("yardstick")

    def _draw(self, samples: CoupledSamples, n: int, generator: torch.Generator) -> MatchingBatch:
        tau = self._times(n, generator)
        moment = self.schedule.moment(tau)
        ends = samples.draw(moment.interval, generator)
        if self.base is not None:
            ends.knots[:, 0] = self.base
        line = torch.bmm(torch.stack([moment.weights, moment.slopes], 1), ends.knots)
        z = None
        if moment.gamma is not None:
            z = torch.randn(
                line[:, 0].shape, generator=generator, device=line.device, dtype=line.dtype
            )
        mass = self._mass(tau, ends)
        if z is None or not self.antithetic:
            return self._points(tau, moment, line, z, mass, ends.code)
        both = (self._points(tau, moment, line, v, mass, ends.code) for v in (z, -z))
        return MatchingBatch(
            *(None if v[0] is None else torch.cat(v) for v in zip(*both, strict=True))  # type: ignore[arg-type]
        )

    def _points(
        self,
        tau: Tensor,
        moment: Moment,
        line: Tensor,
        z: Tensor | None,
        mass: tuple[Tensor, Tensor] | None,
        code: Tensor | None,
    ) -> MatchingBatch:
        """Points ``I + γ z`` and their targets, given ``I`` and ``∂I/∂t`` as ``(n, 2, d)``."""
        state, velocity = line.unbind(1)
        second: list[Tensor] = []
        if z is not None:
            gamma, slope = (v[:, None] * self.length for v in (moment.gamma, moment.gamma_slope))  # type: ignore[index]
            state, velocity = state + gamma * z, velocity + slope * z
            if self.head is not None:
                second = [z if self.head == "denoiser" else -z / gamma]
        if mass is None:
            return MatchingBatch(tau, state, torch.cat([velocity, *second], 1), None, code)
        weight, rate = mass
        targets = [weight * velocity, *[rate] * self.grows, *[weight * v for v in second]]
        return MatchingBatch(tau, state, torch.cat(targets, 1), weight, code)

    def _times(self, n: int, generator: torch.Generator) -> Tensor:
        """Scaled times ``(n,)``: even, but half of them denser towards the ends where noise makes the ends hard."""
        tau, _ = self.times.draw(n, generator)
        if not self.schedule.noisy:
            return tau
        k, s, gap = self.schedule.locate(tau)
        bent = self.schedule.knots[k] + (0.5 - 0.5 * torch.cos(math.pi * s)) * gap
        return torch.where(torch.arange(n, device=tau.device) % 2 == 0, tau, bent)

    def _mass(self, tau: Tensor, ends: Ends) -> tuple[Tensor, Tensor] | None:
        """Mass of every point and its derivative in time, ``(n, 1)`` each.

        It changes at a constant rate, or along a straight line where it begins or ends with nothing.
        """
        if ends.log_start is None or ends.log_end is None:
            return None
        _, s, gap = self.schedule.locate(tau)
        first, last = ends.log_start, ends.log_end
        fades = torch.minimum(first, last) < NOTHING / 2
        steady = torch.lerp(first, last, s).exp()
        weight = torch.where(fades, torch.lerp(first.exp(), last.exp(), s), steady)
        rate = torch.where(fades, last.exp() - first.exp(), steady * (last - first)) / gap
        return weight[:, None], rate[:, None]
