"""Draws of an equation whose noise is guided: given all that is observed later, step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.backward import BackwardFilter, ConditionalNoise
from dyninfer.fractional.inference.equation import Control, Equation
from dyninfer.fractional.inference.guide import (
    EulerSteps,
    PseudoObservations,
    frozen_chain,
    of_first_state,
)
from dyninfer.fractional.inference.reference import Field, Frozen
from dyninfer.fractional.inference.series import Series, interpolated
from dyninfer.fractional.inference.whole_walk import WholeWalk, fits_at_once


class GuidedEquation:
    """An equation with its guide. Chains ``z`` lie as ``(P, d, S, n_samples)``."""

    def __init__(
        self,
        equation: Equation,
        series: Series,
        pseudo: PseudoObservations,
        n_steps: int,
    ):
        fine = series.refined(n_steps)
        prior = equation.prior
        self.equation = equation
        self.fine = fine
        self.level = prior.mean(fine.times)  # (P, L, d)
        self.lengths = fine.gaps[fine.gap]  # (P or 1, L − 1)
        memory = prior.known_steps.of(series.gaps, n_steps)
        steps = EulerSteps.of(prior, fine, memory)
        along = steps.along[fine.gap]
        self.along = along.unbind(1)
        self.chain = steps.chain(prior)
        # Later steps know of nothing that is observed after them.
        self.n_guided = n_steps * pseudo.last()
        refined = pseudo.refined(n_steps)
        self.filter, self.drives = self._guide(refined)

    def _guide(self, pseudo: PseudoObservations) -> tuple[BackwardFilter, tuple[Tensor, Tensor]]:
        """The backward filter of the guided steps, and what it drives them by."""
        chain = self.chain.first(self.n_guided)
        n_times = self.n_guided + 1
        level = self.level[:, :n_times]
        precision = pseudo.precision[:, :n_times]
        values = pseudo.values[:, :n_times]
        # The chain counts from the level.
        target = precision * (values - level)
        size = chain.mean.shape[-1]
        observed = of_first_state(target, size)
        precisions = of_first_state(precision, size)
        information = torch.diag_embed(precisions)
        # Weights are those of what is drawn, whatever guides: in training, digits may go.
        may_round = torch.is_grad_enabled()
        if self.n_guided == 0 or self.equation.is_linear:
            linear = BackwardFilter.of(chain, information, may_round=may_round)
            return linear, linear.drives(observed)
        # The fields are frozen along the likely path, which carries no gradient itself.
        with torch.no_grad():
            linear = BackwardFilter.of(chain, information, may_round=may_round)
            mean = linear.mean(observed)
            before_steps = mean[:-1, ..., 0]
            before = before_steps.transpose(0, 1)
            likely = before + level[:, :-1]
        times = self.fine.times[:, : self.n_guided]
        lengths = self.lengths[:, : self.n_guided]
        frozen = Frozen.along(
            path=likely,
            times=times,
            drift=self.equation.drift,
            amplitude=self.equation.amplitude,
        )
        # The frozen drift does not count from the level.
        level_before = level[:, :-1]
        at_level = frozen.slope * level_before
        rate = frozen.push + at_level
        push = rate * lengths.unsqueeze(-1)
        steps = frozen_chain(chain, lengths, frozen)
        guide = BackwardFilter.of(steps, information, may_round=may_round)
        by_path = push.transpose(0, 1)
        drives = guide.drives(observed, by_path)
        return guide, drives

    def draw(
        self,
        n_samples: int,
        generator: torch.Generator,
        steering: Steering | None,
    ) -> tuple[Tensor, Tensor]:
        """States at all fine times ``(n_samples, P, L, d)``, and ``log p(ε) − log q(ε)``."""
        opening, steps = self.drives
        z, start_weights = self._start(opening, n_samples, generator)
        guide_steps = self.filter.steps
        drives, step_weights = _noise(guide_steps, steps, n_samples, generator)
        free = self._free_noise(n_samples, generator)
        weights = start_weights + step_weights + _half_square(free)
        noise = torch.cat([drives, free])
        networks = self.equation.networks
        # Draws without a gradient have no way back to be shortened.
        if networks is not None and torch.is_grad_enabled() and fits_at_once(z, len(noise)):
            whole = WholeWalk(self, networks, steering)
            every_state, epsilon = whole.run(z, noise)
            weights = weights - _half_square(epsilon)
            return every_state.permute(3, 1, 0, 2), weights.T
        # Unbound once: the gradient of an index is a whole tensor of zeros at every step.
        kicks = noise.unbind(0)
        by_time = self.level.transpose(0, 1)
        first_level, *levels = by_time.unsqueeze(-1).unbind(0)
        walk = _Walk(self, steering)
        x = _state_of(z) + first_level
        states = [x]
        shocks = []
        for n, level in enumerate(levels):
            z, epsilon = walk.step(n, x, z, kicks[n], level)
            x = _state_of(z) + level
            shocks.append(epsilon)
            states.append(x)
        if shocks:
            all_shocks = torch.stack(shocks)
            weights = weights - _half_square(all_shocks)
        stacked = torch.stack(states, dim=1)
        return stacked.permute(3, 0, 1, 2), weights.T

    def _start(
        self,
        opening: Tensor,
        n_samples: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """First states of the chain ``(P, d, S, n_samples)``, and their weights."""
        noise = self.filter.start
        drive, weights = _noise(noise, opening, n_samples, generator)
        ahead = self.chain.mean.unsqueeze(-1)
        pull_back = noise.back[0] @ ahead
        epsilon = drive[0] - pull_back
        kick = self.chain.start_root @ epsilon
        # Subtracted here and not with the steps': so the weights of noise that nothing guides are
        # exactly 0.
        cost = _half_square(epsilon.unsqueeze(0))
        return ahead + kick, weights - cost

    def _free_noise(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Standard normals of the steps that nothing guides."""
        n_steps, *_, rank = self.chain.root.shape
        n_free = n_steps - self.n_guided
        n_paths, _, d = self.level.shape
        free = self.level.new_empty(n_free, n_paths, d, rank, n_samples)
        return free.normal_(generator=generator)


class _Walk:
    """The steps of a guided equation, its tables unbound into rows of steps."""

    def __init__(self, guide: GuidedEquation, steering: Steering | None):
        self.drift = guide.equation.drift
        self.amplitude = guide.equation.amplitude
        self.steering = steering
        self.n_guided = guide.n_guided
        self.times = guide.fine.times.unbind(1)
        self.lengths = guide.lengths.unbind(1)
        self.transition = guide.chain.transition.unbind(0)
        self.root = guide.chain.root.unbind(0)
        self.back = guide.filter.steps.back.unbind(0)
        self.along = guide.along

    def step(
        self, n: int, x: Tensor, z: Tensor, drive: Tensor, next_level: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The chain after a step, and the noise of the step; ``x`` is the state of ``z``."""
        t = self.times[n]
        phi = self.transition[n]
        ahead = phi @ z
        memory = _memory_of(ahead)
        first = phi[..., 0, 0]
        stay = first.unsqueeze(-1)
        line = stay * _state_of(z)
        recall = _state_of(ahead) - line  # what the memory alone adds to σ ΔB̂
        if self.drift is not None:
            rate = _on(self.drift, t, x)
            length = self.lengths[n][:, None, None]
            line = line + rate * length
        scale = None
        expected = line + recall
        if self.amplitude is not None:
            scale = _on(self.amplitude, t, x)
            expected = line + scale * recall
        epsilon = drive
        # What the guide subtracts is evaluated at the path itself, so no linearisation enters.
        if n < self.n_guided:
            end = _with_state(expected, memory)
            pull_back = self.back[n] @ end
            epsilon = epsilon - pull_back
        if self.steering is not None:
            u = self.steering(n, x, _memory_of(z))
            along = self.along[n][:, None, :, None]
            epsilon = epsilon + along * u.unsqueeze(2)
        change = self.root[n] @ epsilon
        kick = recall + _state_of(change)  # σ ΔB̂
        if self.amplitude is not None and scale is not None:
            # Heun's rule for the noise: the mean of the amplitude here and where it leads to.
            guess = line + scale * kick + next_level
            next_t = self.times[n + 1]
            next_scale = _on(self.amplitude, next_t, guess)
            mean_scale = 0.5 * (scale + next_scale)
            kick = mean_scale * kick
        memory = memory + _memory_of(change)
        return _with_state(line + kick, memory), epsilon


class Steering:
    """A control at every fine step, with the context of its time."""

    def __init__(self, control: Control, times: Tensor, n_steps: int):
        self.residual = control.residual
        self.times = times
        self.active: Tensor | None = None
        self.context: tuple[Tensor, ...] | None = None
        if control.rests is not None:
            is_active = times < control.rests.unsqueeze(1)
            self.active = is_active.to(times)
        if control.context is not None:
            fine = interpolated(control.context, n_steps)
            # In rows: the gradient of an index is a whole tensor of zeros at every step.
            self.context = fine.unbind(1)

    def at_all_steps(self, t: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """``u`` ``(n m P, d)`` at states and memory of all steps, where none of it rests.

        Rows are those of ``m`` samples of all paths, step after step.
        """
        if self.context is None:
            return self.residual(t, x, y)
        n_steps = len(self.times[0]) - 1
        contexts = torch.stack(self.context[:n_steps])
        n_samples = len(x) // (n_steps * len(self.times))
        repeated = contexts.unsqueeze(1).expand(-1, n_samples, -1, -1)
        return self.residual(t, x, y, repeated.flatten(0, 2))

    def __call__(self, n: int, x: Tensor, y: Tensor) -> Tensor:
        """``u`` ``(P, d, n_samples)`` at such states and memory ``(P, d, K, n_samples)``."""
        n_samples = x.shape[-1]
        times = self.times[:, n]
        repeated = times.repeat(n_samples)
        arguments = [repeated, _rows(x), _rows(y)]
        if self.context is not None:
            context = self.context[n]
            arguments.append(context.repeat(n_samples, 1))
        control = self.residual(*arguments)
        u = _samples_last(control, n_samples)
        if self.active is None:
            return u
        is_active = self.active[:, n, None, None]
        return u * is_active


def _noise(
    noise: ConditionalNoise,
    drives: Tensor,
    n_samples: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """``G η + T ξ`` of all steps ``(n, P, d, r, n_samples)``, and ``−log q(ξ) + log |T|``.

    The second is ``½ log det V + ½ |ξ|²``, ``(P, n_samples)``, less the constant of the normals.
    """
    normals = torch.randn(
        *drives.shape,
        n_samples,
        generator=generator,
        dtype=drives.dtype,
        device=drives.device,
    )
    weights = noise.cost.unsqueeze(-1) + _half_square(normals)
    mean = drives.unsqueeze(-1)
    spread = noise.spread @ normals
    return mean + spread, weights


def _half_square(x: Tensor) -> Tensor:
    """``½ |x|²`` of ``(n, P, d, r, n_samples)`` for every path and sample."""
    total = x.square().sum((0, 2, 3))
    return 0.5 * total


def _state_of(z: Tensor) -> Tensor:
    """The state ``(P, d, n_samples)`` of a chain ``(P, d, S, n_samples)``."""
    return z[:, :, 0]


def _memory_of(z: Tensor) -> Tensor:
    """The memory ``(P, d, K, n_samples)`` of a chain ``(P, d, S, n_samples)``."""
    return z[:, :, 1:]


def _with_state(state: Tensor, memory: Tensor) -> Tensor:
    """A chain ``(P, d, S, n_samples)`` of its state and its memory."""
    row = state.unsqueeze(2)
    return torch.cat([row, memory], dim=2)


def _on(field: Field, t: Tensor, x: Tensor) -> Tensor:
    """Apply a field of ``(n,), (n, d)`` to times ``(P,)`` and states ``(P, d, n_samples)``."""
    n_samples = x.shape[-1]
    times = t.repeat(n_samples)
    values = field(times, _rows(x))
    return _samples_last(values, n_samples)


def _rows(x: Tensor) -> Tensor:
    """``(P, …, n_samples)`` to ``(n_samples · P, …)``."""
    by_sample = x.movedim(-1, 0)
    return by_sample.flatten(0, 1)


def _samples_last(x: Tensor, n_samples: int) -> Tensor:
    """Undo :func:`_rows`."""
    by_sample = x.unflatten(0, (n_samples, -1))
    return by_sample.movedim(0, -1)
