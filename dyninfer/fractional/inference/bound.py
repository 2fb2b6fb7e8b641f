"""The evidence lower bound of a path: guided noise, weighed against the prior's step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.inference.guide import (
    Guide,
    Laws,
    PseudoObservations,
    Steps,
    frozen_steps,
    start_root,
)
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.reference import Field, Frozen
from dyninfer.fractional.inference.series import Series

Residual = Callable[..., Tensor]
Likelihood = Callable[[Tensor], Tensor]


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
        """``log p(o, path) − log q(path)``: the mean is the bound, the log mean exponential the likelihood."""
        return self.path_weights + self.fits

    @property
    def bound(self) -> Tensor:
        """Evidence lower bound of every path ``(P,)``."""
        return self.log_weights.mean(0)

    @property
    def log_likelihood(self) -> Tensor:
        """Importance-weighted log-likelihood of every path ``(P,)``; it tends to the truth from below."""
        return self.log_weights.logsumexp(0) - math.log(len(self.log_weights))


def guided_paths(
    prior: LinearPrior,
    series: Series,
    n_samples: int,
    *,
    extra_drift: Field | None = None,
    amplitude: Field | None = None,
    residual: Residual | None = None,
    pseudo: PseudoObservations | None = None,
    likelihood: Likelihood | None = None,
    context: Tensor | None = None,
    rests: Tensor | None = None,
    n_steps: int = 4,
    seed: int = 0,
) -> Guided:
    r"""Draw paths of ``dX = [a − θ X + f(t, X)] dt + σ g(t, X) ∘ dB̂`` towards what is seen of them, with their weights.

    Between two times lie ``n_steps`` steps; the memory is stepped exactly, the drift by Euler's rule and the amplitude
    by Heun's, so a path is a function of standard normals ``ε``, those of the start included: ``q(X_0)`` and ``q(Y_0)``
    are inferred. ``q`` draws each ``ε`` from its law given all that is seen later, as a linear equation has it: the
    prior's, with ``f`` linearised and ``g`` frozen along the linear equation's posterior mean. The residual control ``u`` shifts ``ε``
    further along the Brownian motion. Whatever guides, weights are those of what was drawn.

    With mean and variance of a step both guided, the bound has no gap of the grid: without ``f``, ``g`` and ``u`` every
    weight is the evidence itself. For short steps ``Σ KL(q(ε) ‖ N(0, I))`` is Girsanov's ``½ E ∫ |u* + u|² dt``, with
    nothing divided by the diffusion.

    Parameters
    ----------
    prior : LinearPrior
        Seen coordinate by coordinate, or not at all by itself: then ``pseudo`` and ``likelihood`` are needed.
    series : Series
        Standardised.
    n_samples : int
        Draws per path.
    extra_drift : callable, ``(n,), (n, d) -> (n, d)``, optional
        ``f``, standardised, per time unit.
    amplitude : callable, ``(n,), (n, d) -> (n, d)``, optional
        ``g``, positive, in the sense of Stratonovich.
    residual : callable, ``(n,), (n, d), (n, d, K) -> (n, d)``, optional
        ``u(t, x, y)``, with the memory in units of its stationary deviation, without the zero node; with ``context`` of
        its time ``(n, c)`` as a fourth argument where there is one.
    pseudo : PseudoObservations, optional
        What the guide takes the state to be seen as; by default the observations themselves.
    likelihood : callable, ``(n_samples, P, L, d) -> (n_samples, P)``, optional
        ``log p(o | x)``; by default that of the prior's own normal noise.
    context : Tensor, ``(P, L, c)``, optional
        Interpolated between the times of the series.
    rests : Tensor, ``(P,)``, optional
        Time of every path from which on ``u`` is 0.
    n_steps : int
    seed : int

    Returns
    -------
    Guided
        With gradients in the parameters of the prior, of all fields and of the likelihood.
    """
    fine = series.refined(n_steps)
    pseudo = PseudoObservations.of(prior, series) if pseudo is None else pseudo
    run = _Run(prior, fine, pseudo, n_steps, extra_drift, amplitude)
    generator = torch.Generator(fine.times.device).manual_seed(seed)
    control = None if residual is None else _Control(residual, fine.times, context, rests, n_steps)
    states, weights = run.draw(n_samples, generator, control)
    kept = states[:, :, ::n_steps]
    fits = normal_fit(prior, series, kept) if likelihood is None else likelihood(kept)
    return Guided(weights, fits, kept)


def normal_fit(prior: LinearPrior, series: Series, means: Tensor) -> Tensor:
    """``log N(o; means, R)`` of what is seen of a series, summed over it: ``(..., P)`` of ``(..., P, L, F)``."""
    error = (series.values - means) * (-prior.log_noise).exp()
    density = -0.5 * error.square() - prior.log_noise - 0.5 * math.log(2 * math.pi)
    return (density * series.mask).sum((-1, -2))


class _Run:
    """A guide along its reference path, and draws from it. A chain ``z`` lies as ``(P, d, S, n_samples)``."""

    def __init__(
        self,
        prior: LinearPrior,
        fine: Series,
        pseudo: PseudoObservations,
        n_steps: int,
        drift: Field | None,
        amplitude: Field | None,
    ):
        self.steps, self.fine, self.drift, self.amplitude = (
            Steps.of(prior, fine.gaps),
            fine,
            drift,
            amplitude,
        )
        self.level, self.first = prior.mean(fine.times), start_root(prior)
        self.ahead = prior.start().mean
        self.lengths = fine.gaps[fine.gap]  # (P or 1, L − 1)
        spread = self.level.new_zeros(*self.level.shape[:2], pseudo.values.shape[-1])
        information = spread[: len(pseudo.precision)].clone()
        information[:, ::n_steps] = pseudo.precision
        values = spread.clone()
        values[:, ::n_steps] = pseudo.values
        target = information * (values - self.level)
        self.phi, self.root = self.steps.at(fine.gap)
        self.led = n_steps * _last(
            pseudo.precision
        )  # later steps know of nothing that is seen after them
        information, target = information[:, : self.led + 1], target[:, : self.led + 1]
        phi, root, push = self.phi[: self.led], self.root[: self.led], None
        if self.led and (drift is not None or amplitude is not None):
            frozen = self._frozen(phi, root, information, target)
            lengths = self.lengths[:, : self.led]
            phi, root = frozen_steps(phi, root, lengths, frozen)
            push = (frozen.push + frozen.slope * self.level[:, : self.led]) * lengths.unsqueeze(-1)
        self.guide = Guide.of(self.first, phi, root, information)
        self.drives = self.guide.drives(target, push)

    def _frozen(self, phi: Tensor, root: Tensor, information: Tensor, target: Tensor) -> Frozen:
        """Drift and amplitude along the linear equation's posterior mean."""
        with torch.no_grad():
            guide = Guide.of(self.first, phi, root, information)
            mean = (
                guide.mean(self.ahead, self.first, phi, root, target)[:, :-1]
                + self.level[:, : self.led]
            )
        return Frozen.along(mean, self.fine.times[:, : self.led], self.drift, self.amplitude)

    def draw(
        self, n_samples: int, generator: torch.Generator, control: _Control | None
    ) -> tuple[Tensor, Tensor]:
        """States at all fine times ``(n_samples, P, L, d)`` and ``log p(ε) − log q(ε)`` ``(n_samples, P)``."""
        start, steps = self.guide.start, self.guide.steps
        opening, weights = self._noise(start, self.drives[0].unsqueeze(0), n_samples, generator)
        ahead = self.ahead.unsqueeze(-1)
        epsilon = opening[0] - start.back[0] @ ahead
        weights = weights - _half_square(epsilon.unsqueeze(0))
        z = ahead + self.first @ epsilon
        drives, more = self._noise(steps, self.drives[1], n_samples, generator)
        free = z.new_empty(len(self.phi) - self.led, *z.shape[:2], self.root.shape[-1], n_samples)
        free = free.normal_(generator=generator)
        weights = weights + more + _half_square(free)
        level = self.level.transpose(0, 1).unsqueeze(-1).unbind(0)  # (P, d, 1) each
        along = self.steps.along[self.fine.gap].unbind(1)
        states, shocks = [z[:, :, 0] + level[0]], []
        noise, back = [*drives.unbind(0), *free.unbind(0)], steps.back.unbind(0)
        for n, (epsilon, phi, root) in enumerate(
            zip(noise, self.phi.unbind(0), self.root.unbind(0), strict=True)
        ):
            x, ahead = states[-1], phi @ z
            line, recall = self._line(n, x, z[:, :, 0], phi, ahead[:, :, 0])
            expected, scale = line + recall, None
            if self.amplitude is not None:
                scale = _on(self.amplitude, self.fine.times[:, n], x)
                expected = line + scale * recall
            if n < self.led:
                epsilon = epsilon - back[n] @ torch.cat(
                    [expected.unsqueeze(2), ahead[:, :, 1:]], dim=2
                )
            if control is not None:
                epsilon = epsilon + along[n][:, None, :, None] * control(
                    n, x, z[:, :, 1:]
                ).unsqueeze(2)
            change = root @ epsilon
            kick = recall + change[:, :, 0]  # σ ΔB̂
            if self.amplitude is not None and scale is not None:
                guess = line + scale * kick + level[n + 1]
                kick = 0.5 * (scale + _on(self.amplitude, self.fine.times[:, n + 1], guess)) * kick
            z = torch.cat([(line + kick).unsqueeze(2), ahead[:, :, 1:] + change[:, :, 1:]], dim=2)
            shocks.append(epsilon)
            states.append(z[:, :, 0] + level[n + 1])
        if shocks:
            weights = weights - _half_square(torch.stack(shocks))
        return torch.stack(states, dim=1).permute(3, 0, 1, 2), weights.T

    def _line(
        self, n: int, x: Tensor, own: Tensor, phi: Tensor, ahead: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where the drift leads to, and what the memory alone adds to ``σ ΔB̂``."""
        line = phi[..., 0, 0].unsqueeze(-1) * own
        recall = ahead - line
        if self.drift is not None:
            line = line + _on(self.drift, self.fine.times[:, n], x) * self.lengths[:, n, None, None]
        return line, recall

    @staticmethod
    def _noise(
        laws: Laws, drives: Tensor, n_samples: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """``G η + T ξ`` for all steps, ``(n, P, d, r, n_samples)``, and ``−½ log det V + ½ |ξ|²``, ``(P, n_samples)``."""
        normals = torch.randn(
            *drives.shape, n_samples, generator=generator, dtype=drives.dtype, device=drives.device
        )
        return drives.unsqueeze(-1) + laws.spread @ normals, laws.cost.unsqueeze(-1) + _half_square(
            normals
        )


class _Control:
    """A residual control at a step, with what it is told of the time."""

    def __init__(
        self,
        residual: Residual,
        times: Tensor,
        context: Tensor | None,
        rests: Tensor | None,
        n_steps: int,
    ):
        self.residual, self.times = residual, times
        self.context: tuple[Tensor, ...] | None = None
        self.active = None if rests is None else (times < rests.unsqueeze(1)).to(times)
        if context is not None:
            share = (
                torch.arange(n_steps, dtype=context.dtype, device=context.device)[:, None] / n_steps
            )
            inner = context[:, :-1, None] + context.diff(dim=1).unsqueeze(2) * share
            # In rows: the gradient of an index is a whole tensor of zeros at every step.
            self.context = torch.cat([inner.flatten(1, 2), context[:, -1:]], dim=1).unbind(1)

    def __call__(self, n: int, x: Tensor, y: Tensor) -> Tensor:
        """``u`` ``(P, d, n_samples)`` at states of that shape and memory ``(P, d, K, n_samples)``."""
        samples = x.shape[-1]
        parts = [self.times[:, n].repeat(samples), _rows(x), _rows(y)]
        if self.context is not None:
            parts.append(self.context[n].repeat(samples, 1))
        u = _back(self.residual(*parts), samples)
        return u if self.active is None else u * self.active[:, n, None, None]


def _last(precision: Tensor) -> int:
    """Number of the last time at which anything is seen, 0 where nothing is."""
    seen = (precision > 0).any(-1).any(0)
    return int((seen * torch.arange(len(seen), device=seen.device)).max())


def _half_square(x: Tensor) -> Tensor:
    """``½ |x|²`` of ``(n, P, d, r, n_samples)`` for every path and sample."""
    return 0.5 * x.square().sum((0, 2, 3))


def _on(field: Field, t: Tensor, x: Tensor) -> Tensor:
    """Apply a field of ``(n,), (n, d)`` to times ``(P,)`` and states ``(P, d, n_samples)``."""
    return _back(field(t.repeat(x.shape[-1]), _rows(x)), x.shape[-1])


def _rows(x: Tensor) -> Tensor:
    """``(P, …, n_samples)`` to ``(n_samples · P, …)``."""
    return x.movedim(-1, 0).flatten(0, 1)


def _back(x: Tensor, samples: int) -> Tensor:
    return x.unflatten(0, (samples, -1)).movedim(0, -1)
