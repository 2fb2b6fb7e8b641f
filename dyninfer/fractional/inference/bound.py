"""The evidence lower bound of a path: guided noise, weighed against the prior's step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.backward import BackwardFilter, ConditionalNoise
from dyninfer.fractional.inference.guide import (
    EulerSteps,
    PseudoObservations,
    frozen_chain,
    of_first_state,
)
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.reference import Field, Frozen
from dyninfer.fractional.inference.series import Series
from dyninfer.learning.random import stream

Residual = Callable[..., Tensor]
Likelihood = Callable[[Tensor], Tensor]


class Equation(NamedTuple):
    """``dX = [a − θ X + f(t, X)] dt + σ g(t, X) ∘ dB̂``, standardised.

    Attributes
    ----------
    prior : LinearPrior
    drift : callable, ``(n,), (n, d) -> (n, d)``, optional
        ``f``, per time unit.
    amplitude : callable, ``(n,), (n, d) -> (n, d)``, optional
        ``g``, positive, in the sense of Stratonovich.
    """

    prior: LinearPrior
    drift: Field | None = None
    amplitude: Field | None = None

    @property
    def is_linear(self) -> bool:
        """Whether nothing stands beside the linear part."""
        return self.drift is None and self.amplitude is None


class Control(NamedTuple):
    """A residual control ``u`` that shifts the Brownian motion beside what the guide does.

    Attributes
    ----------
    residual : callable, ``(n,), (n, d), (n, d, K) -> (n, d)``
        ``u(t, x, y)``, with the memory in units of its stationary deviation, without the zero node;
        with the context of its time ``(n, c)`` as a fourth argument where there is one.
    context : Tensor, ``(P, L, c)``, optional
        Interpolated between the times of the series.
    rests : Tensor, ``(P,)``, optional
        Time of every path from which on ``u`` is 0.
    """

    residual: Residual
    context: Tensor | None = None
    rests: Tensor | None = None


class Readout(NamedTuple):
    """How the state is observed where its coordinates are not the features.

    Attributes
    ----------
    pseudo : PseudoObservations
        What the guide takes the state to be observed as.
    likelihood : callable, ``(n_samples, P, L, d) -> (n_samples, P)``
        ``log p(o | x)``.
    """

    pseudo: PseudoObservations
    likelihood: Likelihood


class Guided(NamedTuple):
    """Paths drawn near their posterior.

    Attributes
    ----------
    path_weights : Tensor, ``(n_samples, P)``
        ``log p(path) − log q(path)``: minus the mean is the divergence of the draws from the prior.
    fits : Tensor, ``(n_samples, P)``
        ``log p(o | path)``.
    states : Tensor, ``(n_samples, P, L, d)``
        At the times of the series.
    """

    path_weights: Tensor
    fits: Tensor
    states: Tensor

    @property
    def log_weights(self) -> Tensor:
        """``log p(o, path) − log q(path)``.

        The mean is the bound, the log mean exponential the likelihood.
        """
        return self.path_weights + self.fits

    @property
    def bound(self) -> Tensor:
        """Evidence lower bound of every path ``(P,)``."""
        return self.log_weights.mean(0)

    @property
    def log_likelihood(self) -> Tensor:
        """Importance-weighted log-likelihood ``(P,)``; it tends to the truth from below."""
        return self.log_weights.logsumexp(0) - math.log(len(self.log_weights))


def guided_paths(
    equation: Equation,
    series: Series,
    n_samples: int,
    *,
    control: Control | None = None,
    readout: Readout | None = None,
    n_steps: int = 4,
    seed: int = 0,
) -> Guided:
    r"""Draw paths of an equation towards what is observed of them, with their weights.

    Between two times lie ``n_steps`` steps; the memory is stepped exactly, the drift by Euler's
    rule and the amplitude by Heun's, so a path is a function of standard normals ``ε``, those of
    the start included: ``q(X_0)`` and ``q(Y_0)`` are inferred. ``q`` draws each ``ε`` from its
    distribution given all that is observed later, as a linear equation has it: the prior's, with
    ``f`` linearised and ``g`` frozen along the linear equation's posterior mean. The residual
    control ``u`` shifts ``ε`` further along the Brownian motion. Whatever guides, weights are those
    of what was drawn.

    With mean and variance of a step both guided, the bound has no gap of the grid: without ``f``,
    ``g`` and ``u`` every weight is the evidence itself. For short steps ``Σ KL(q(ε) ‖ N(0, I))`` is
    Girsanov's ``½ E ∫ |u* + u|² dt``, with nothing divided by the diffusion.

    Parameters
    ----------
    equation : Equation
    series : Series
        Standardised.
    n_samples : int
        Draws per path.
    control : Control, optional
    readout : Readout, optional
        By default the coordinates are observed themselves, with the prior's normal noise.
    n_steps : int
    seed : int

    Returns
    -------
    Guided
        With gradients in the parameters of the prior, of all fields and of the likelihood.
    """
    prior = equation.prior
    if readout is None:
        pseudo = PseudoObservations.of(prior, series)
        readout = Readout(pseudo, lambda x: normal_fit(prior, series, x))
    guide = _GuidedEquation(equation, series.refined(n_steps), readout.pseudo, n_steps)
    steering = None
    if control is not None:
        steering = _Steering(control, guide.fine.times, n_steps)
    generator = stream(seed, "guided paths", device=series.times.device)
    states, weights = guide.draw(n_samples, generator, steering)
    at_times = states[:, :, ::n_steps]
    return Guided(weights, readout.likelihood(at_times), at_times)


def normal_fit(prior: LinearPrior, series: Series, means: Tensor) -> Tensor:
    """``log N(o; means, R)`` of a series, summed over it: ``(..., P)`` of ``(..., P, L, F)``."""
    error = (series.values - means) * (-prior.log_noise).exp()
    log_normalisation = prior.log_noise + 0.5 * math.log(2 * math.pi)
    density = -0.5 * error.square() - log_normalisation
    return (density * series.mask).sum((-1, -2))


class _GuidedEquation:
    """An equation with its guide. Chains ``z`` lie as ``(P, d, S, n_samples)``."""

    def __init__(
        self,
        equation: Equation,
        fine: Series,
        pseudo: PseudoObservations,
        n_steps: int,
    ):
        prior = equation.prior
        self.equation = equation
        self.fine = fine
        self.level = prior.mean(fine.times)  # (P, L, d)
        self.lengths = fine.gaps[fine.gap]  # (P or 1, L − 1)
        steps = EulerSteps.of(prior, fine.gaps)
        self.along = steps.along[fine.gap].unbind(1)
        self.chain = steps.chain(prior, fine.gap)
        # Later steps know of nothing that is observed after them.
        self.n_guided = n_steps * pseudo.last()
        self.filter, self.drives = self._guide(pseudo.refined(n_steps))

    def _guide(self, pseudo: PseudoObservations) -> tuple[BackwardFilter, tuple[Tensor, Tensor]]:
        """The backward filter of the guided steps, and what it drives them by."""
        end = self.n_guided + 1
        level = self.level[:, :end]
        precision = pseudo.precision[:, :end]
        target = precision * (pseudo.values[:, :end] - level)
        chain = self.chain.first(self.n_guided)
        size = chain.mean.shape[-1]
        observed = of_first_state(target, size)
        information = torch.diag_embed(of_first_state(precision, size))
        if self.n_guided == 0 or self.equation.is_linear:
            linear = BackwardFilter.of(chain, information)
            return linear, linear.drives(observed)
        # The path that is likely is where the fields are frozen; it carries no gradient itself.
        with torch.no_grad():
            linear = BackwardFilter.of(chain, information)
            mean = linear.mean(observed)[:-1, ..., 0]
            likely = mean.transpose(0, 1) + level[:, :-1]
        times = self.fine.times[:, : self.n_guided]
        lengths = self.lengths[:, : self.n_guided]
        frozen = Frozen.along(likely, times, self.equation.drift, self.equation.amplitude)
        # The chain counts from the level, the frozen drift does not.
        rate = frozen.push + frozen.slope * level[:, :-1]
        push = rate * lengths.unsqueeze(-1)
        guide = BackwardFilter.of(frozen_chain(chain, lengths, frozen), information)
        return guide, guide.drives(observed, push.transpose(0, 1))

    def draw(
        self, n_samples: int, generator: torch.Generator, steering: _Steering | None
    ) -> tuple[Tensor, Tensor]:
        """States at all fine times ``(n_samples, P, L, d)``, and ``log p(ε) − log q(ε)``."""
        opening, steps = self.drives
        first, start_weights = _noise(self.filter.start, opening, n_samples, generator)
        ahead = self.chain.mean.unsqueeze(-1)
        epsilon = first[0] - self.filter.start.back[0] @ ahead
        z = ahead + self.chain.start_root @ epsilon
        # Summed in this order, the weights of noise that nothing guides are exactly 0.
        start_weights = start_weights - _half_square(epsilon.unsqueeze(0))
        drives, step_weights = _noise(self.filter.steps, steps, n_samples, generator)
        free = self._free_noise(n_samples, generator)
        weights = start_weights + step_weights + _half_square(free)
        # Unbound once: the gradient of an index is a whole tensor of zeros at every step.
        noise = [*drives.unbind(0), *free.unbind(0)]
        level = self.level.transpose(0, 1).unsqueeze(-1).unbind(0)
        walk = _Walk(self, steering)
        states = [z[:, :, 0] + level[0]]
        shocks = []
        for n, drive in enumerate(noise):
            z, epsilon = walk.step(n, states[-1], z, drive, level[n + 1])
            shocks.append(epsilon)
            states.append(z[:, :, 0] + level[n + 1])
        if shocks:
            weights = weights - _half_square(torch.stack(shocks))
        return torch.stack(states, dim=1).permute(3, 0, 1, 2), weights.T

    def _free_noise(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Standard normals of the steps that nothing guides."""
        root = self.chain.root
        n_free = len(root) - self.n_guided
        n_paths, _, d = self.level.shape
        free = self.level.new_empty(n_free, n_paths, d, root.shape[-1], n_samples)
        return free.normal_(generator=generator)


class _Walk:
    """The steps of a guided equation, its tables unbound into rows of steps."""

    def __init__(self, guide: _GuidedEquation, steering: _Steering | None):
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
        phi = self.transition[n]
        ahead = phi @ z
        line = phi[..., 0, 0].unsqueeze(-1) * z[:, :, 0]
        recall = ahead[:, :, 0] - line  # what the memory alone adds to σ ΔB̂
        if self.drift is not None:
            rate = _on(self.drift, self.times[n], x)
            line = line + rate * self.lengths[n][:, None, None]
        scale = None
        expected = line + recall
        if self.amplitude is not None:
            scale = _on(self.amplitude, self.times[n], x)
            expected = line + scale * recall
        epsilon = drive
        # What the guide subtracts is evaluated at the path itself, so no linearisation enters.
        if n < self.n_guided:
            end = torch.cat([expected.unsqueeze(2), ahead[:, :, 1:]], dim=2)
            epsilon = epsilon - self.back[n] @ end
        if self.steering is not None:
            u = self.steering(n, x, z[:, :, 1:])
            epsilon = epsilon + self.along[n][:, None, :, None] * u.unsqueeze(2)
        change = self.root[n] @ epsilon
        kick = recall + change[:, :, 0]  # σ ΔB̂
        if self.amplitude is not None and scale is not None:
            # Heun's rule for the noise: the mean of the amplitude here and where it leads to.
            guess = line + scale * kick + next_level
            next_scale = _on(self.amplitude, self.times[n + 1], guess)
            kick = 0.5 * (scale + next_scale) * kick
        memory = ahead[:, :, 1:] + change[:, :, 1:]
        return torch.cat([(line + kick).unsqueeze(2), memory], dim=2), epsilon


class _Steering:
    """A control at every fine step, with the context of its time."""

    def __init__(self, control: Control, times: Tensor, n_steps: int):
        self.residual = control.residual
        self.times = times
        self.active: Tensor | None = None
        self.context: tuple[Tensor, ...] | None = None
        if control.rests is not None:
            self.active = (times < control.rests.unsqueeze(1)).to(times)
        if control.context is not None:
            fine = _interpolated(control.context, n_steps)
            # In rows: the gradient of an index is a whole tensor of zeros at every step.
            self.context = fine.unbind(1)

    def __call__(self, n: int, x: Tensor, y: Tensor) -> Tensor:
        """``u`` ``(P, d, n_samples)`` at such states and memory ``(P, d, K, n_samples)``."""
        n_samples = x.shape[-1]
        arguments = [self.times[:, n].repeat(n_samples), _rows(x), _rows(y)]
        if self.context is not None:
            arguments.append(self.context[n].repeat(n_samples, 1))
        u = _samples_last(self.residual(*arguments), n_samples)
        if self.active is None:
            return u
        return u * self.active[:, n, None, None]


def _noise(
    noise: ConditionalNoise,
    drives: Tensor,
    n_samples: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """``G η + T ξ`` of all steps ``(n, P, d, r, n_samples)``, and ``−log q(ξ) + log |T|``.

    The second is ``½ log det V + ½ |ξ|²``, ``(P, n_samples)``, less the constant of the normals.
    """
    shape = *drives.shape, n_samples
    normals = torch.randn(shape, generator=generator, dtype=drives.dtype, device=drives.device)
    weights = noise.cost.unsqueeze(-1) + _half_square(normals)
    return drives.unsqueeze(-1) + noise.spread @ normals, weights


def _interpolated(x: Tensor, n_steps: int) -> Tensor:
    """``(P, L, c)`` at ``n_steps`` even steps in every gap."""
    share = torch.arange(n_steps, dtype=x.dtype, device=x.device)[:, None] / n_steps
    inner = x[:, :-1, None] + x.diff(dim=1).unsqueeze(2) * share
    return torch.cat([inner.flatten(1, 2), x[:, -1:]], dim=1)


def _half_square(x: Tensor) -> Tensor:
    """``½ |x|²`` of ``(n, P, d, r, n_samples)`` for every path and sample."""
    return 0.5 * x.square().sum((0, 2, 3))


def _on(field: Field, t: Tensor, x: Tensor) -> Tensor:
    """Apply a field of ``(n,), (n, d)`` to times ``(P,)`` and states ``(P, d, n_samples)``."""
    n_samples = x.shape[-1]
    return _samples_last(field(t.repeat(n_samples), _rows(x)), n_samples)


def _rows(x: Tensor) -> Tensor:
    """``(P, …, n_samples)`` to ``(n_samples · P, …)``."""
    return x.movedim(-1, 0).flatten(0, 1)


def _samples_last(x: Tensor, n_samples: int) -> Tensor:
    """Undo :func:`_rows`."""
    return x.unflatten(0, (n_samples, -1)).movedim(0, -1)
