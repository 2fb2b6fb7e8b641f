"""Paths from one set of states to another: how many per time unit, and which way they go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.jumps.process.chain import off_diagonal
from dyninfer.jumps.process.process import MarkovJump

# Of the whole flux: what is left below it is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class ReactiveFlux:
    """Transition-path theory of jump processes (Metzner et al. 2009, Multiscale Model. Simul. 7).

    Attributes
    ----------
    stationary : Tensor, ``(..., S)``
    forward : Tensor, ``(..., S)``
        Probability of entering the target before the source.
    backward : Tensor, ``(..., S)``
        Probability of having been in the source after the target.
    gross : Tensor, ``(..., S, S)``
        ``π_i q⁻_i Q_ij q⁺_j``: jumps per time unit on the way from source to target.
    in_source : Tensor of bool, ``(S,)``
    """

    stationary: Tensor
    forward: Tensor
    backward: Tensor
    gross: Tensor
    in_source: Tensor

    @classmethod
    def of(cls, process: MarkovJump, source: list[int], target: list[int]) -> ReactiveFlux:
        """Of a process, or a batch of them, whose states are all visited again and again."""
        stationary = process.stationary()
        is_transient = (stationary <= 0).reshape(-1, process.n_states).any(0)
        if bool(is_transient.any()):
            name = process.state_names[int(is_transient.int().argmax())]
            raise ValueError(
                f"state {name!r} is left for good, but reactive paths need a stationary process; "
                "restrict() to the recurrent states"
            )
        forward = process.committor(source, target)
        weight = stationary.unsqueeze(-1)
        # Rates of reversed time: π_j Q_ji / π_i.
        reversed_rates = (weight * process.generator).mT / weight
        backward = MarkovJump.from_rates(reversed_rates).committor(target, source)
        start = (stationary * backward).unsqueeze(-1)
        gross = start * off_diagonal(process.generator) * forward.unsqueeze(-2)
        in_source = torch.zeros(process.n_states, dtype=torch.bool)
        in_source[source] = True
        return cls(stationary, forward, backward, gross, in_source)

    @property
    def net(self) -> Tensor:
        """Flux less that of the way back ``(..., S, S)``, at least 0."""
        return (self.gross - self.gross.mT).clamp(min=0)

    @property
    def total(self) -> Tensor:
        """Reactive paths per time unit ``(...)``."""
        return self.gross[..., self.in_source, :].sum((-1, -2))

    @property
    def rate(self) -> Tensor:
        """Reactive paths per unit of time that was last spent in the source ``(...)``."""
        return self.total / (self.stationary * self.backward).sum(-1)

    @property
    def reactive_share(self) -> Tensor:
        """Share of all time on the way from source to target ``(...)``."""
        return (self.stationary * self.backward * self.forward).sum(-1)


def pathways(
    net: ndarray, source: list[int], target: list[int], share: float = 1.0
) -> dict[tuple[int, ...], float]:
    """Pathways of a net flux ``(S, S)``, the strongest first, each with its flux.

    The pathway whose weakest jump is the strongest is taken out, and the next looked for in what is
    left.

    Parameters
    ----------
    net : array ``(S, S)``
    source, target : list of int
    share : float
        Of the whole flux, after which the rest is left.
    """
    rest = net.copy()
    whole = rest[source].sum()
    strengths: dict[tuple[int, ...], float] = {}
    covered = 0.0
    # The strongest one is told however small the share is.
    while not strengths or covered < (share - _ROUNDING) * whole:
        path, strength = _widest(rest, source, target)
        if strength <= _ROUNDING * whole:
            break
        here = np.array(path)
        rest[here[:-1], here[1:]] -= strength
        strengths[path] = strength
        covered += strength
    return strengths


def _widest(flux: ndarray, source: list[int], target: list[int]) -> tuple[tuple[int, ...], float]:
    """Path from source to target whose weakest jump is the strongest, and that jump."""
    n_states = len(flux)
    width = np.zeros(n_states)
    width[source] = np.inf
    previous = np.full(n_states, -1)
    # A path without a loop has no more jumps than there are states.
    for _ in range(n_states):
        reach = np.minimum(width[:, None], flux)
        best = reach.argmax(0)
        wider = reach.max(0)
        is_wider = wider > width
        if not is_wider.any():
            break
        width = np.where(is_wider, wider, width)
        previous = np.where(is_wider, best, previous)
    state = max(target, key=width.__getitem__)
    strength = float(width[state])
    path = [state]
    while previous[state] >= 0:
        state = int(previous[state])
        path.append(state)
    return tuple(reversed(path)), strength
