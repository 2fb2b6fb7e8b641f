"""Paths whose states are hidden behind wrong labels or noise: likelihood, smoothing, Viterbi."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.forward_backward import Chain, log_likelihoods, smoothed
from dyninfer.jumps.likelihood.gaps import ALIKE, group_gaps
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.likelihood.viterbi import likeliest
from dyninfer.jumps.process.chain import off_diagonal, transition_matrix

Exponential = Callable[[Tensor, Tensor], Tensor]


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

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        parts: dict[str, Any] = {}
        for field in fields(self):
            part = getattr(self, field.name)
            if isinstance(part, Tensor):
                parts[field.name] = part.to(device)
        return replace(self, **parts)

    @property
    def device(self) -> torch.device:
        """Where the paths are."""
        return self.gaps.device

    @property
    def n_observed(self) -> Tensor:
        """Number of observed values."""
        return self.mask.sum().to(torch.float64)

    @cached_property
    def incoming_gap(self) -> np.ndarray:
        """Which waiting time leads to each time ``(n, L)``, path after path; 0 for a first one."""
        number = self.gap_number.T
        return torch.nn.functional.pad(number, (1, 0)).numpy()

    @cached_property
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
        value = log_likelihoods(chain, self)
        return value.reshape(*chain.batch, -1)

    @torch.no_grad()
    def smooth(self, generator: Tensor, emission: Emission, initial: Tensor) -> Tensor:
        """Probability of every state at every time given the whole path ``(..., n, L, S)``."""
        chain = self._chain(generator, emission, initial, transition_matrix)
        gamma = smoothed(chain, self)
        own_shape = gamma.shape[1:]
        return gamma.reshape(*chain.batch, *own_shape)

    @torch.no_grad()
    def viterbi(
        self, generator: Tensor, emission: Emission, initial: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Most probable sequence of states at the observed times.

        Returns
        -------
        states : Tensor, ``(..., n, L)`` int64
            The sequence.
        log_probability : Tensor, ``(..., n)``
            ``max_x log P(x, observed)``.
        """
        chain = self._chain(generator, emission, initial, transition_matrix)
        states, value = likeliest(chain, self)
        own_shape = states.shape[1:]
        return states.reshape(*chain.batch, *own_shape), value.reshape(*chain.batch, -1)

    def propagate(self, state: Tensor, p: Tensor, k: int) -> Tensor:
        """Distributions ``(B, n, S)`` of the state, one step further: from time ``k`` to ``k + 1``.

        ``p`` ``(B, G, S, S)`` holds the transition probabilities of the distinct waiting times.
        """
        shared = self.shared_gap[k]
        if shared >= 0:
            return state @ p[:, shared]
        of_path = p[:, self.gap_number[k]]
        return (state.unsqueeze(2) @ of_path).squeeze(2)

    def _transitions(self, generator: Tensor, exponential: Exponential) -> Tensor:
        """Probabilities of all waiting times ``(..., G, S, S)``, then densities of entries."""
        p = exponential(generator.unsqueeze(-3), self.gaps)
        if not self.has_exact_entries:
            return p
        # An entry into j after the time t has the density Σ_{k≠j} P_ik(t) Q_kj.
        jumps = off_diagonal(generator).unsqueeze(-3)
        density = p @ jumps
        return torch.cat([p, density], dim=-3)

    def _chain(
        self, generator: Tensor, emission: Emission, initial: Tensor, exponential: Exponential
    ) -> Chain:
        p = self._transitions(generator, exponential)
        log_e = emission.log_prob(self.observed, self.mask)
        # Not by torch, whose function first imports half a second of symbolic algebra.
        common = np.broadcast_shapes(p.shape[:-3], log_e.shape[:-3], initial.shape[:-1])
        batch = torch.Size(common)
        return Chain(
            p=_flat_batch(p, batch, 3),
            log_e=_flat_batch(log_e, batch, 3).to(p),
            initial=_flat_batch(initial, batch, 1).to(p),
            batch=batch,
        )


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
