"""The guide: the equation as the backward filter sees it, linear and in Euler's steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from dyninfer.fractional.gaussian.chain import Chain, pick
from dyninfer.fractional.gaussian.linear import stationary_memory
from dyninfer.fractional.gaussian.matrices import apply, covariance_root
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.reference import Frozen
from dyninfer.fractional.inference.series import Series, spread_out
from dyninfer.fractional.noise.moments import integrated_decay
from dyninfer.fractional.stepper import noise_factors


class PseudoObservations(NamedTuple):
    """What the guide takes every coordinate of the state to be observed as.

    They shape draws, never what these are worth.

    Attributes
    ----------
    values : Tensor, ``(P, L, d)``
    precision : Tensor, ``(P or 1, L, d)``
        Inverse variance; 0 where nothing is observed.
    """

    values: Tensor
    precision: Tensor

    @classmethod
    def of(cls, prior: LinearPrior, series: Series) -> PseudoObservations:
        """The observations themselves, of a state whose coordinates are the features."""
        return cls(series.values, series.mask * (-2 * prior.log_noise).exp())

    def refined(self, n_steps: int) -> PseudoObservations:
        """The same at times with ``n_steps`` steps in every gap."""
        return PseudoObservations(
            spread_out(self.values, n_steps),
            spread_out(self.precision, n_steps),
        )

    def last(self) -> int:
        """Number of the last time at which anything is observed, 0 where nothing is."""
        is_observed = (self.precision > 0).any(-1).any(0)
        numbers = torch.arange(len(is_observed), device=is_observed.device)
        return int((is_observed * numbers).max())


@dataclass(frozen=True)
class EulerSteps:
    """One step of state and scaled memory for every distinct gap: ``z' = Φ z + N ε``.

    Attributes
    ----------
    transition : Tensor, ``(u, d, S, S)``
        ``Φ``.
    root : Tensor, ``(u, d, S, r)``
        ``N``.
    along : Tensor, ``(u, r)``
        What a control of one does to ``ε``.
    """

    transition: Tensor
    root: Tensor
    along: Tensor

    @classmethod
    def of(cls, prior: LinearPrior, gaps: Tensor) -> EulerSteps:
        """The memory is stepped exactly, the drift by Euler's rule."""
        nodes = prior.noise.nodes
        weights = prior.weights
        scale = prior.scale[:, None]
        d = prior.n_states
        # The zero node is the Brownian motion itself: it is in the kick and remembers nothing.
        moving = nodes > 0
        unit = (2 * nodes[moving]).sqrt()
        factor = noise_factors(nodes, gaps)
        kick = (scale * weights) @ factor  # (u, d, r)
        memory = unit[:, None] * factor[:, moving]
        memory = memory.unsqueeze(1).expand(-1, d, -1, -1)
        root = torch.cat([kick.unsqueeze(2), memory], dim=2)
        loss = -torch.expm1(-gaps[:, None] * nodes[moving])
        pull = -scale * weights[:, moving] * loss[:, None] / unit
        stay = (1 - prior.rate * gaps[:, None]).unsqueeze(-1)
        first_row = torch.cat([stay, pull], dim=-1).unsqueeze(2)
        decays = pad(1 - loss, (1, 0))
        other_rows = torch.diag_embed(decays)[:, 1:].unsqueeze(1).expand(-1, d, -1, -1)
        transition = torch.cat([first_row, other_rows], dim=2)
        # A constant control moves every memory by its gain: the ε of least norm that does so.
        gain = integrated_decay(nodes, gaps[:, None])
        along = apply(torch.linalg.pinv(factor), gain)
        return cls(transition, root, along)

    def chain(self, prior: LinearPrior, gap: Tensor) -> Chain:
        """The chain of coordinates over the gaps of numbers ``(P or 1, L − 1)``."""
        root = _start_root(prior)
        return Chain(prior.start().mean, root, pick(self.transition, gap), pick(self.root, gap))


def frozen_chain(chain: Chain, lengths: Tensor, frozen: Frozen) -> Chain:
    """The chain with the slope of a drift and an amplitude in its steps ``(P or 1, L − 1)``."""
    transition = chain.transition
    root = chain.root
    first_state = torch.zeros_like(transition[0, 0, 0])
    first_state[0, 0] = 1
    if frozen.amplitude is not None:
        # The amplitude scales what the noise does to the state: first row, less its own entry.
        change = frozen.amplitude.transpose(0, 1)[..., None, None] - 1
        recall = torch.zeros_like(first_state)
        recall[0, 1:] = 1
        kick = torch.zeros_like(root[0, 0, 0])
        kick[0] = 1
        transition = transition * (1 + change * recall)
        root = root * (1 + change * kick)
    # As Euler's rule has it: over a step the drift adds its slope times the length.
    slope = (frozen.slope * lengths.unsqueeze(-1)).transpose(0, 1)
    transition = transition + slope[..., None, None] * first_state
    return chain._replace(transition=transition, root=root)


def of_first_state(x: Tensor, n_states: int) -> Tensor:
    """``(P, L, d)`` as the first of the states of a chain: ``(L, P, d, S)``, the others 0."""
    return pad(x.transpose(0, 1).unsqueeze(-1), (0, n_states - 1))


def _start_root(prior: LinearPrior) -> Tensor:
    """Root of the covariance of state and memory at the first time, ``(d, S, S)``."""
    memory = covariance_root(stationary_memory(prior.noise.nodes, prior.noise.kind))
    size = len(memory)
    state = prior.log_start.exp()[:, None, None]
    return pad(state, (0, size, 0, size)) + pad(memory, (1, 0, 1, 0))
