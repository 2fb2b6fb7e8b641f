"""Paths whose states are hidden behind wrong labels or noise: likelihood, smoothing and the likeliest path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.gaps import group_gaps
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.likelihood.panel import Exponential
from dyninfer.jumps.process.chain import off_diagonal, transition_matrix


@dataclass(frozen=True, eq=False, kw_only=True)
class HiddenPaths:
    """Observed paths as one batch, their waiting times grouped.

    Attributes
    ----------
    observed : Tensor, ``(n, L)`` int64 or ``(n, L, d)`` float
        Labels or numbers; paths shorter than ``L`` are padded with unobserved times.
    mask : Tensor of bool, of the shape of ``observed``
        Where a value was observed.
    gaps : Tensor, ``(G,)`` float64
        Distinct waiting times; padding waits 0.
    number : Tensor, ``(L − 1, n)`` int64
        Which of them lies between an observation and the next; plus ``G`` where the next is an exact entry.
    shared : list of L − 1 int
        That number where all paths have the same, else −1.
    """

    observed: Tensor
    mask: Tensor
    gaps: Tensor
    number: Tensor
    shared: list[int]

    @classmethod
    def of(
        cls,
        paths: Paths,
        exact: Sequence[int] = (),
        tolerance: float = 1e-9,
        device: torch.device | str = "cpu",
        begin: float | None = None,
    ) -> HiddenPaths:
        """Prepare paths once for many likelihoods.

        Parameters
        ----------
        paths : Paths
            Labels or numbers.
        exact : sequence of int
            Labels of states whose entry is seen at its exact time and without error, such as death.
        tolerance : float
            Gaps count as equal where they differ by at most this share of the longest.
        device : torch.device or str
            Where to compute.
        begin : float, optional
            Time before all others at which nothing is observed, put in front of every path.
        """
        times, observed, mask = (part.to(device) for part in paths.padded())
        if begin is not None:
            times = torch.cat([torch.full_like(times[:, :1], begin), times], dim=1)
            observed = torch.cat([torch.zeros_like(observed[:, :1]), observed], dim=1)
            mask = torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1)
        waits = times.diff(dim=1).T.contiguous()
        gaps, number = group_gaps(waits.reshape(-1), tolerance)
        number = number.reshape(waits.shape)
        if exact:
            entered = torch.isin(observed, torch.tensor(list(exact), device=observed.device)) & mask
            again = entered[:, 1:] & entered[:, :-1] & (observed[:, 1:] == observed[:, :-1])
            entered[:, 1:] &= ~again  # one who stays dead dies once
            number = number + len(gaps) * entered[:, 1:].T
        same = (number == number[:, :1]).all(1)
        shared = torch.where(same, number[:, 0], -1).tolist()
        return cls(observed=observed, mask=mask, gaps=gaps, number=number, shared=shared)

    @property
    def n_observed(self) -> Tensor:
        """Number of observed values."""
        return self.mask.sum().to(torch.float64)

    def log_likelihood(
        self,
        generator: Tensor,
        emission: Emission,
        initial: Tensor,
        exponential: Exponential = transition_matrix,
    ) -> Tensor:
        """Log-likelihood of each path ``(..., n)``, batched over generators and differentiable in every argument.

        The forward recursion, scaled at every time; the gradient comes from the backward recursion and not from
        a graph through time (Fisher's identity), which is several times faster and needs less memory.

        Parameters
        ----------
        generator : Tensor, ``(..., S, S)``
            Rates.
        emission : LabelNoise or GaussianEmission
            What is seen of a state; its parameters may have the same leading dimensions.
        initial : Tensor, ``(..., S)``
            Law of the state at the first time of every path.
        exponential : callable
            Transition probabilities of generators and times.
        """
        p, log_e, first, batch = self._parts(generator, emission, initial, exponential)
        return _HiddenLikelihood.apply(p, log_e, first, self).reshape(*batch, -1)

    def smooth(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Probability of every state at every time given the whole path ``(..., n, L, S)``."""
        with torch.no_grad():
            p, log_e, first, batch = self._parts(generator, emission, initial, transition_matrix)
            e = _scaled(log_e)[0]
            alpha, scale = _forward(p, e, first, self)
            gamma, _, _ = _backward(p, e, alpha, scale, torch.ones_like(scale[0]), self)
            return gamma.reshape(*batch, *gamma.shape[1:])

    def viterbi(
        self, generator: Tensor, emission: Emission, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Likeliest states at the observed times ``(n, L)`` of one model, and the log-probability ``(n,)`` of them.

        With the data: ``max_x log P(x, observed)``.
        """
        with torch.no_grad():
            p, log_e, first, batch = self._parts(generator, emission, initial, transition_matrix)
            if batch:
                raise ValueError(
                    f"generator must be one (S, S) for viterbi, got a batch {tuple(batch)}"
                )
            log_p, log_e = p[0].log(), log_e[0]
            best = first[0].log() + log_e[:, 0]
            back = []
            for step, number in enumerate(self.number):
                best, origin = (best[:, :, None] + log_p[number]).max(dim=1)
                best = best + log_e[:, step + 1]
                back.append(origin)
            value, state = best.max(dim=1)
            states = [state]
            for origin in reversed(back):
                state = origin.gather(1, state[:, None])[:, 0]
                states.append(state)
            return torch.stack(states[::-1], dim=1), value

    def _parts(
        self, generator: Tensor, emission: Emission, initial: Tensor, exponential: Exponential
    ) -> tuple[Tensor, Tensor, Tensor, torch.Size]:
        """Transitions ``(B, G or 2 G, S, S)``, log-emissions ``(B, n, L, S)`` and first laws ``(B, S)``."""
        p = exponential(generator[..., None, :, :], self.gaps)
        if self.number.numel() and int(self.number.max()) >= len(self.gaps):
            p = torch.cat([p, p @ off_diagonal(generator)[..., None, :, :]], dim=-3)
        log_e = emission.log_emission(self.observed, self.mask)
        batch = torch.broadcast_shapes(p.shape[:-3], log_e.shape[:-3], initial.shape[:-1])
        p = p.expand(*batch, *p.shape[-3:]).reshape(batch.numel(), *p.shape[-3:])
        log_e = log_e.expand(*batch, *log_e.shape[-3:]).reshape(batch.numel(), *log_e.shape[-3:])
        return p, log_e.to(p), initial.to(p).expand(*batch, -1).reshape(-1, p.shape[-1]), batch


class _HiddenLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, log_e: Tensor, first: Tensor, data: HiddenPaths) -> Tensor:
        e, shift = _scaled(log_e)
        alpha, scale = _forward(p, e, first, data)
        ctx.save_for_backward(p, e, *alpha, *scale)
        ctx.data = data
        return torch.stack(scale).log().sum(0) + shift

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        p, e, *rest = ctx.saved_tensors
        half = len(rest) // 2
        gamma, to_p, to_first = _backward(p, e, rest[:half], rest[half:], slopes[0], ctx.data)
        return to_p, gamma * slopes[0][:, :, None, None], to_first, None


def _scaled(log_e: Tensor) -> tuple[Tensor, Tensor]:
    """Emissions divided by the largest of each time, and the logarithm ``(B, n)`` of what was divided out."""
    top = log_e.amax(-1, keepdim=True).clamp(min=-1e300)
    return (log_e - top).exp(), top[..., 0].sum(-1)


def _forward(
    p: Tensor, e: Tensor, first: Tensor, data: HiddenPaths
) -> tuple[list[Tensor], list[Tensor]]:
    """Laws of the state given the past ``(B, n, S)``, and the probability of each new observation ``(B, n)``."""
    joint = first[:, None] * e[:, :, 0]
    alpha: list[Tensor] = []
    scale: list[Tensor] = []
    for k in range(e.shape[2]):
        if k:
            joint = _ahead(alpha[-1], p, k - 1, data) * e[:, :, k]
        total = joint.sum(-1)
        alpha.append(joint / torch.where(total > 0, total, 1.0)[..., None])
        scale.append(total)
    return alpha, scale


def _ahead(law: Tensor, p: Tensor, k: int, data: HiddenPaths) -> Tensor:
    if data.shared[k] >= 0:
        return law @ p[:, data.shared[k]]
    return (law[:, :, None] @ p[:, data.number[k]])[:, :, 0]


def _backward(
    p: Tensor,
    e: Tensor,
    alpha: list[Tensor],
    scale: list[Tensor],
    weight: Tensor,
    data: HiddenPaths,
) -> tuple[Tensor, Tensor, Tensor]:
    """Smoothed laws ``(B, n, L, S)``, and slopes of ``Σ weight log L`` in ``p`` and in the first law."""
    to_p = torch.zeros_like(p)
    beta = torch.ones_like(alpha[0])
    gamma = [alpha[-1]]
    for k in range(len(alpha) - 1, 0, -1):
        safe = torch.where(scale[k] > 0, scale[k], 1.0)[..., None]
        coming = e[:, :, k] * beta / safe
        before = alpha[k - 1] * weight[..., None]
        if data.shared[k - 1] >= 0:
            to_p[:, data.shared[k - 1]] += before.transpose(-1, -2) @ coming
            beta = coming @ p[:, data.shared[k - 1]].transpose(-1, -2)
        else:
            to_p.index_add_(1, data.number[k - 1], before[..., :, None] * coming[..., None, :])
            beta = (p[:, data.number[k - 1]] @ coming[..., None])[..., 0]
        gamma.append(alpha[k - 1] * beta)
    safe = torch.where(scale[0] > 0, scale[0], 1.0)[..., None]
    to_first = (weight[..., None] * e[:, :, 0] * beta / safe).sum(1)
    return torch.stack(gamma[::-1], dim=2), to_p, to_first
