"""Paths whose states are hidden behind wrong labels or noise: likelihood, smoothing, Viterbi."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.gaps import ALIKE, group_gaps
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.process.chain import off_diagonal, transition_matrix

Exponential = Callable[[Tensor, Tensor], Tensor]

# Below it log-emissions are cut, so that an impossible observation divides out as a finite number.
_LEAST_LOG = -1e300


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
    gap_number : Tensor, ``(L − 1, n)`` int64
        Which of them lies between an observation and the next; plus ``G`` where the next is an
        exact entry.
    shared_gap : list of L − 1 int
        That number where all paths have the same, else −1.
    """

    observed: Tensor
    mask: Tensor
    gaps: Tensor
    gap_number: Tensor
    shared_gap: list[int]

    @classmethod
    def of(
        cls,
        paths: Paths,
        exact: Sequence[int] = (),
        tolerance: float = ALIKE,
        device: torch.device | str = "cpu",
        begin: float | None = None,
    ) -> HiddenPaths:
        """Prepare paths once for many likelihoods.

        Parameters
        ----------
        paths : Paths
            Labels or numbers.
        exact : sequence of int
            Labels of states whose entry is observed at its exact time and without error, such as
            death.
        tolerance : float
            Gaps count as equal where they differ by at most this share of the shorter.
        device : torch.device or str
            Where to compute.
        begin : float, optional
            Time before all others at which nothing is observed, put in front of every path.
        """
        times, observed, mask = paths.padded()
        if begin is not None:
            times = _preceded(times, begin)
            observed = _preceded(observed, 0)
            mask = _preceded(mask, False)
        waits = times.diff(dim=1).T
        gaps, number = group_gaps(waits.flatten(), tolerance)
        number = number.reshape(waits.shape)
        if exact:
            is_entry = _entries(observed, mask, exact)
            number = number + len(gaps) * is_entry.T
        # Where all paths wait alike, one product of matrices serves them all.
        first_number = number[:, :1]
        is_shared = (number == first_number).all(1)
        shared = torch.where(is_shared, first_number.squeeze(1), -1)
        return cls(
            observed=observed.to(device),
            mask=mask.to(device),
            gaps=gaps.to(device),
            gap_number=number.to(device),
            shared_gap=shared.tolist(),
        )

    @property
    def n_observed(self) -> Tensor:
        """Number of observed values."""
        return self.mask.sum().to(torch.float64)

    @property
    def has_exact_entries(self) -> bool:
        """Whether an entry into a state was observed at its exact time."""
        is_entry = self.gap_number >= len(self.gaps)
        return bool(is_entry.any())

    def log_likelihood(
        self,
        generator: Tensor,
        emission: Emission,
        initial: Tensor,
        exponential: Exponential = transition_matrix,
    ) -> Tensor:
        """Log-likelihood of each path ``(..., n)``, batched and differentiable in every argument.

        The forward recursion, scaled at every time; the gradient comes from the backward recursion
        and not from a graph through time (Fisher's identity), which is several times faster and
        needs less memory.

        Parameters
        ----------
        generator : Tensor, ``(..., S, S)``
            Rates.
        emission : Emission
            What is observed of a state; its parameters may have the same leading dimensions.
        initial : Tensor, ``(..., S)``
            Distribution of the state at the first time of every path.
        exponential : callable
            Transition probabilities of generators and times.
        """
        chain = self._chain(generator, emission, initial, exponential)
        value = _HiddenLikelihood.apply(chain.p, chain.log_e, chain.initial, self)
        return value.reshape(*chain.batch, -1)

    @torch.no_grad()
    def smooth(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Probability of every state at every time given the whole path ``(..., n, L, S)``."""
        chain = self._chain(generator, emission, initial, transition_matrix)
        p = chain.p
        e, _ = _scaled(chain.log_e)
        past = _forward(p, e, chain.initial, self)
        # Weights only scale the slopes, which are not asked for.
        weight = torch.ones_like(past.scale[0])
        gamma = _backward(p, e, past, weight, self).gamma
        own_shape = gamma.shape[1:]
        return gamma.reshape(*chain.batch, *own_shape)

    @torch.no_grad()
    def viterbi(
        self, generator: Tensor, emission: Emission, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Most probable sequence of states at the observed times, of one model.

        Returns
        -------
        states : Tensor, ``(n, L)`` int64
            The sequence.
        log_probability : Tensor, ``(n,)``
            ``max_x log P(x, observed)``.
        """
        chain = self._chain(generator, emission, initial, transition_matrix)
        if chain.batch:
            raise ValueError(
                f"generator must be one (S, S) for viterbi, got a batch {tuple(chain.batch)}"
            )
        log_p = chain.p[0].log()
        log_e, *later = chain.log_e[0].unbind(1)
        best = chain.initial[0].log() + log_e
        origins = []
        for number, log_e in zip(self.gap_number, later, strict=True):
            joint = best.unsqueeze(2) + log_p[number]
            best, origin = joint.max(dim=1)
            best = best + log_e
            origins.append(origin)
        value, state = best.max(dim=1)
        states = [state]
        every_path = torch.arange(len(state), device=state.device)
        for origin in reversed(origins):
            state = origin[every_path, state]
            states.append(state)
        states.reverse()
        return torch.stack(states, dim=1), value

    def propagate(self, state: Tensor, p: Tensor, k: int) -> Tensor:
        """Distributions ``(B, n, S)`` of the state, one step further: from time ``k`` to ``k + 1``.

        ``p`` ``(B, G, S, S)`` holds the transition probabilities of the distinct waiting times.
        """
        shared = self.shared_gap[k]
        if shared >= 0:
            return state @ p[:, shared]
        of_path = p[:, self.gap_number[k]]
        return (state.unsqueeze(2) @ of_path).squeeze(2)

    def _chain(
        self, generator: Tensor, emission: Emission, initial: Tensor, exponential: Exponential
    ) -> _Chain:
        p = exponential(generator.unsqueeze(-3), self.gaps)
        if self.has_exact_entries:
            # An entry into j after the time t has the density Σ_{k≠j} P_ik(t) Q_kj.
            jumps = off_diagonal(generator).unsqueeze(-3)
            density = p @ jumps
            p = torch.cat([p, density], dim=-3)
        log_e = emission.log_prob(self.observed, self.mask)
        batch = torch.broadcast_shapes(
            p.shape[:-3],
            log_e.shape[:-3],
            initial.shape[:-1],
        )
        return _Chain(
            p=_flat_batch(p, batch, 3),
            log_e=_flat_batch(log_e, batch, 3).to(p),
            initial=_flat_batch(initial, batch, 1).to(p),
            batch=batch,
        )


class _Chain(NamedTuple):
    """A hidden Markov chain in discrete time, its models in one leading dimension ``B``."""

    p: Tensor  # (B, G or 2 G, S, S): transitions, and densities of exact entries after them
    log_e: Tensor  # (B, n, L, S): log-emissions
    initial: Tensor  # (B, S)
    batch: torch.Size


def _flat_batch(tensor: Tensor, batch: torch.Size, n_own: int) -> Tensor:
    """Expand to the batch and make one dimension of it; the last ``n_own`` are the tensor's own."""
    own = tensor.shape[tensor.ndim - n_own :]
    expanded = tensor.expand(*batch, *own)
    return expanded.reshape(batch.numel(), *own)


def _entries(observed: Tensor, mask: Tensor, exact: Sequence[int]) -> Tensor:
    """Where one of the states ``exact`` was entered since the last time ``(n, L − 1)`` bool."""
    states = torch.tensor(exact)
    is_in = mask & torch.isin(observed, states)
    was_in = is_in[:, :-1]
    is_now_in = is_in[:, 1:]
    # Who stays there has not entered anew: one who stays dead dies once.
    is_same = observed.diff(dim=1) == 0
    stays = was_in & is_same
    return is_now_in & ~stays


def _preceded(tensor: Tensor, value: float) -> Tensor:
    """The tensor ``(n, L, ...)`` with one more time before all others."""
    first = torch.full_like(tensor[:, :1], value)
    return torch.cat([first, tensor], dim=1)


class _HiddenLikelihood(torch.autograd.Function):
    """Log-likelihoods ``(B, n)`` whose gradient is the backward recursion."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, log_e: Tensor, initial: Tensor, data: HiddenPaths) -> Tensor:
        e, shift = _scaled(log_e)
        past = _forward(p, e, initial, data)
        ctx.save_for_backward(p, e, *past.alpha, *past.scale)
        ctx.data = data
        # Probabilities of whole paths underflow; the logs of their factors do not.
        log_scale = torch.stack(past.scale).log()
        return log_scale.sum(0) + shift

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        p, e, *saved = ctx.saved_tensors
        # Autograd saves a flat list: a distribution for every time, then as many scales.
        n_times = len(saved) // 2
        past = _Past(
            alpha=list(saved[:n_times]),
            scale=list(saved[n_times:]),
        )
        (weight,) = slopes
        smoothed = _backward(p, e, past, weight, ctx.data)
        # Fisher's identity: the slope in a log-emission is the probability of its state.
        slope_log_e = torch.einsum("bnls,bn->bnls", smoothed.gamma, weight)
        return smoothed.slope_p, slope_log_e, smoothed.slope_initial, None


def _scaled(log_e: Tensor) -> tuple[Tensor, Tensor]:
    """Emissions divided by the largest of each time, and the log ``(B, n)`` of what was divided."""
    largest = log_e.amax(-1).clamp(min=_LEAST_LOG)
    e = (log_e - largest.unsqueeze(-1)).exp()
    return e, largest.sum(-1)


class _Past(NamedTuple):
    """What the forward recursion says, time by time."""

    alpha: list[Tensor]  # (B, n, S): distribution of the state given the past
    scale: list[Tensor]  # (B, n): probability of the new observation


def _forward(p: Tensor, e: Tensor, initial: Tensor, data: HiddenPaths) -> _Past:
    state = initial.unsqueeze(1)
    alpha: list[Tensor] = []
    scale: list[Tensor] = []
    for k, e_k in enumerate(e.unbind(2)):
        if k > 0:
            state = data.propagate(state, p, k - 1)
        joint = state * e_k
        total = joint.sum(-1)
        state = joint / _positive(total)
        alpha.append(state)
        scale.append(total)
    return _Past(alpha, scale)


class _Smoothed(NamedTuple):
    """What the whole data say of the states, and slopes of ``Σ weight log L``."""

    gamma: Tensor  # (B, n, L, S): distribution of the state given all
    slope_p: Tensor  # of the shape of p
    slope_initial: Tensor  # (B, S)


def _backward(p: Tensor, e: Tensor, past: _Past, weight: Tensor, data: HiddenPaths) -> _Smoothed:
    slope_p = torch.zeros_like(p)
    weight = weight.unsqueeze(-1)
    e_of = e.unbind(2)
    alpha = past.alpha
    divisor = [_positive(scale) for scale in past.scale]
    beta = torch.ones_like(alpha[0])
    gamma = [alpha[-1]]
    for k in range(len(alpha) - 1, 0, -1):
        future = e_of[k] * beta / divisor[k]
        before = alpha[k - 1]
        weighted = before * weight
        shared = data.shared_gap[k - 1]
        if shared >= 0:
            slope_p[:, shared] += weighted.mT @ future
            beta = future @ p[:, shared].mT
        else:
            number = data.gap_number[k - 1]
            outer = weighted.unsqueeze(-1) * future.unsqueeze(-2)
            slope_p.index_add_(1, number, outer)
            of_path = p[:, number]
            beta = torch.einsum("bnij,bnj->bni", of_path, future)
        gamma.append(before * beta)
    future = e_of[0] * beta / divisor[0]
    gamma.reverse()
    return _Smoothed(
        gamma=torch.stack(gamma, dim=2),
        slope_p=slope_p,
        slope_initial=(weight * future).sum(1),
    )


def _positive(scale: Tensor) -> Tensor:
    """Divisors ``(B, n, 1)``: the probabilities, and 1 where data are impossible."""
    divisor = torch.where(scale > 0, scale, 1.0)
    return divisor.unsqueeze(-1)
