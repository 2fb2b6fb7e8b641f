"""Gaussian chains seen now and then: Kalman's likelihood, and everything that conditioning on the future needs.

Shapes: ``P`` paths, ``G`` independent groups of coordinates, ``L`` times, ``S`` states and ``p`` observed numbers of
a group. Where all paths share their times and gaps, what does not depend on the numbers seen has one path for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Observations:
    """What is seen of ``P`` chains at ``L`` times: ``o = C z + N(0, R)``, with gaps.

    Attributes
    ----------
    values : Tensor, ``(P, L, G, p)``
        0 where nothing was seen.
    mask : Tensor of bool, ``(P or 1, L, G, p)``
    loading : Tensor, ``(G, p, S)``
        ``C``.
    variance : Tensor, ``(G, p)``, or ``(P or 1, L, G, p)``
        Diagonal of ``R``.
    """

    values: Tensor
    mask: Tensor
    loading: Tensor
    variance: Tensor

    def at(self, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Values, loading and variance at time ``n``, and the number of values seen: what is not seen has loading 0."""
        mask = self.mask[:, n]
        variance = self.variance if self.variance.ndim == 2 else self.variance[:, n]
        loading = self.loading * mask.unsqueeze(-1)
        return (
            self.values[:, n] * mask,
            loading,
            torch.where(mask, variance, 1),
            mask.sum(-1).to(loading),
        )


class Start(NamedTuple):
    """Law of the chain at its first time: mean ``(G, S)``, covariance ``(G, S, S)``."""

    mean: Tensor
    covariance: Tensor


def log_likelihood(
    start: Start, transition: Tensor, noise: Tensor, gap: Tensor, seen: Observations
) -> Tensor:
    """Log-likelihood of the observations by Kalman's filter, ``(P, G)``, with gradients.

    Parameters
    ----------
    start : Start
    transition, noise : Tensor, ``(u, G, S, S)``
        ``Φ`` and ``Q`` of every distinct gap.
    gap : Tensor of int64, ``(P or 1, L − 1)``
        Which of them lies between two times.
    seen : Observations
    """
    mean = start.mean.expand(len(seen.values), *start.mean.shape)
    cov = start.covariance.expand(len(gap), *start.covariance.shape)
    total = mean.new_zeros(mean.shape[:2])
    for n in range(seen.values.shape[1]):
        if n:
            phi = transition[gap[:, n - 1]]
            mean = (phi @ mean.unsqueeze(-1)).squeeze(-1)
            cov = phi @ cov @ phi.mT + noise[gap[:, n - 1]]
        value, loading, variance, count = seen.at(n)
        cross = cov @ loading.mT
        error = value - (loading @ mean.unsqueeze(-1)).squeeze(-1)
        gain, fit, determinant = _innovation(loading @ cross, variance, cross, error)
        mean = mean + (gain @ error.unsqueeze(-1)).squeeze(-1)
        cov = cov - gain @ cross.mT
        cov = 0.5 * (cov + cov.mT)
        total = total - 0.5 * (fit + determinant + count * _LOG_2PI)
    return total


def _innovation(
    spread: Tensor, variance: Tensor, cross: Tensor, error: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gain, squared error and log determinant of one update."""
    if variance.shape[-1] == 1:
        total = spread + variance.unsqueeze(-1)
        return (
            cross / total,
            (error.square() / total.squeeze(-1)).squeeze(-1),
            total.log().flatten(-2).squeeze(-1),
        )
    factor = torch.linalg.cholesky(spread + torch.diag_embed(variance))
    gain = torch.cholesky_solve(cross.mT, factor).mT
    white = torch.linalg.solve_triangular(factor, error.unsqueeze(-1), upper=False).squeeze(-1)
    return gain, white.square().sum(-1), 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class Message(NamedTuple):
    """``log p(what is seen from now on | z) = −½ z'Λz + η'z + c``."""

    precision: Tensor  # (P or 1, G, S, S)
    slope: Tensor  # (P, G, S)
    constant: Tensor  # (P, G)

    def control(self, z: Tensor, gain: Tensor) -> Tensor:
        """Optimal control ``u* = G' ∇_z log p(what is seen | z)``; ``z`` ``(P, G, S)``, ``gain`` ``(G, S)``."""
        return ((self.slope - (self.precision @ z.unsqueeze(-1)).squeeze(-1)) * gain).sum(-1)


def absorb(message: Message, seen: Observations, n: int) -> Message:
    """Take in what is seen at time ``n``."""
    value, loading, variance, count = seen.at(n)
    scaled = loading / variance.unsqueeze(-1)
    constant = value.square() / variance + variance.log()
    return Message(
        message.precision + loading.mT @ scaled,
        message.slope + (scaled.mT @ value.unsqueeze(-1)).squeeze(-1),
        message.constant - 0.5 * (constant.sum(-1) + count * _LOG_2PI),
    )


def nothing(paths: int, shared: int, groups: int, states: int, like: Tensor) -> Message:
    """The message of no observation."""
    return Message(
        like.new_zeros(shared, groups, states, states),
        like.new_zeros(paths, groups, states),
        like.new_zeros(paths, groups),
    )


def step_back(message: Message, transition: Tensor, root: Tensor) -> Message:
    """The message before a transition ``z' = Φ z + N ε`` with ``ε ~ N(0, I)``.

    Parameters
    ----------
    transition : Tensor, ``(P or 1, G, S, S)``
    root : Tensor, ``(P or 1, G, S, r)``
        ``N``.
    """
    pull, factor = _pull(message, root)
    white = torch.linalg.solve_triangular(factor, pull.mT, upper=False)
    push = torch.linalg.solve_triangular(factor, root.mT @ message.slope.unsqueeze(-1), upper=False)
    precision = transition.mT @ (message.precision - white.mT @ white) @ transition
    slope = transition.mT @ (message.slope.unsqueeze(-1) - white.mT @ push)
    gained = 0.5 * push.square().sum((-1, -2)) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return Message(0.5 * (precision + precision.mT), slope.squeeze(-1), message.constant + gained)


def evidence(message: Message, start: Start, root: Tensor) -> Tensor:
    """Log-likelihood ``(P, G)`` from the message at the first time; ``root`` ``(G, S, r)`` is that of the start."""
    eye = torch.eye(root.shape[-2], dtype=root.dtype, device=root.device)
    slope = message.slope - (message.precision @ start.mean.unsqueeze(-1)).squeeze(-1)
    about = Message(message.precision, slope, message.constant)
    at_mean = ((message.slope + slope) * start.mean).sum(-1) / 2
    return step_back(about, eye, root).constant + at_mean


class Twist(NamedTuple):
    """Law ``N(μ, V)`` of the noise ``ε`` of a step, given where the step would end without it and what is seen later."""

    mean: Tensor  # (..., P, G, r)
    factor: Tensor  # (P or 1, G, r, r): V⁻¹ = F F'

    def draw(self, normals: Tensor) -> Tensor:
        """Turn standard normals, of the shape of ``mean``, into ``ε``."""
        spread = torch.linalg.solve_triangular(self.factor.mT, normals.unsqueeze(-1), upper=True)
        return self.mean + spread.squeeze(-1)

    def half_log_determinant(self) -> Tensor:
        """``½ log det V⁻¹``."""
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def twist(message: Message, ahead: Tensor, root: Tensor) -> Twist:
    """Condition the noise of one step on all that is seen from its end on.

    Parameters
    ----------
    message : Message
        At the end of the step.
    ahead : Tensor, ``(..., P, G, S)``
        Where the step ends without noise.
    root : Tensor, ``(P or 1, G, S, r)``
    """
    _, factor = _pull(message, root)
    slope = message.slope - (message.precision @ ahead.unsqueeze(-1)).squeeze(-1)
    mean = torch.cholesky_solve(
        root.mT @ slope.unsqueeze(-1), factor.expand(*slope.shape[:-1], *factor.shape[-2:])
    )
    return Twist(mean.squeeze(-1), factor)


def messages(transition: Tensor, root: Tensor, gap: Tensor, seen: Observations) -> list[Message]:
    """Messages at every time, what is seen at that time included."""
    paths, length, groups, _ = seen.values.shape
    states = transition.shape[-1]
    message = nothing(paths, len(seen.mask), groups, states, transition)
    found = [absorb(message, seen, length - 1)]
    for n in range(length - 2, -1, -1):
        before = step_back(found[-1], transition[gap[:, n]], root[gap[:, n]])
        found.append(absorb(before, seen, n))
    return found[::-1]


def draw(
    start: Start,
    start_root: Tensor,
    transition: Tensor,
    root: Tensor,
    gap: Tensor,
    seen: Observations,
    n_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Draw chains given all that is seen of them, exactly: ``(n_samples, P, L, G, S)``."""
    ahead = start.mean.expand(n_samples, len(seen.values), *start.mean.shape)
    found = messages(transition, root, gap, seen)
    drawn: list[Tensor] = []
    for n, message in enumerate(found):
        noise = root[gap[:, n - 1]] if n else start_root
        if n:
            ahead = (transition[gap[:, n - 1]] @ drawn[-1].unsqueeze(-1)).squeeze(-1)
        law = twist(message, ahead, noise)
        normals = torch.randn(
            law.mean.shape, generator=generator, dtype=ahead.dtype, device=ahead.device
        )
        drawn.append(ahead + (noise @ law.draw(normals).unsqueeze(-1)).squeeze(-1))
    return torch.stack(drawn, dim=2)


def covariance_root(covariance: Tensor) -> Tensor:
    """Root ``N N'`` of positive semi-definite matrices; eigenvalues that are rounding are clipped."""
    scale = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    safe = torch.where(scale > 0, scale, 1)
    values, vectors = torch.linalg.eigh(covariance / (safe.unsqueeze(-1) * safe.unsqueeze(-2)))
    kept = torch.where(values > 1e-14, values, 0)
    return scale.unsqueeze(-1) * vectors * kept.sqrt().unsqueeze(-2)


def _pull(message: Message, root: Tensor) -> tuple[Tensor, Tensor]:
    pull = message.precision @ root
    eye = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
    return pull, torch.linalg.cholesky(eye + root.mT @ pull)
