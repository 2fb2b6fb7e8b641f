"""The guide: the equation as the backward filter sees it, linear and in Euler's steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from dyninfer.fractional.gaussian.chain import Chain, pick
from dyninfer.fractional.inference.memory_steps import MemorySteps
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.reference import Frozen
from dyninfer.fractional.inference.series import Series, spread_out


class PseudoObservations(NamedTuple):
    """What the guide takes every coordinate of the state to be observed as.

    They shape draws, never what these are worth.

    Attributes
    ----------
    values : Tensor, ``(P, L, d)``
    precision : Tensor, ``(P or 1, L, d)``
        Inverse variance; 0 where nothing is observed.
    may_end_early : bool
        Whether there may be many times after the last observation.
    """

    values: Tensor
    precision: Tensor
    may_end_early: bool = True

    @classmethod
    def of(cls, prior: LinearPrior, series: Series) -> PseudoObservations:
        """The observations themselves, of a state whose coordinates are the features."""
        precision = (-2 * prior.log_noise).exp()
        return cls(series.values, series.mask * precision, series.has_further_times)

    def tempered(self, path_weight: float) -> PseudoObservations:
        """The same with the likelihood to the power ``1/w``: errors have ``w`` times the variance.

        So the guide of a linear equation draws the very optimum of the weighted bound.
        """
        return self._replace(precision=self.precision / path_weight)

    def refined(self, n_steps: int) -> PseudoObservations:
        """The same at times with ``n_steps`` steps in every gap."""
        return PseudoObservations(
            spread_out(self.values, n_steps),
            spread_out(self.precision, n_steps),
            self.may_end_early,
        )

    def last(self) -> int:
        """Number of the last time at which anything is observed, 0 where nothing is.

        That of the last time where few can follow: a look at the numbers would wait for the device.
        """
        if not self.may_end_early:
            return self.values.shape[1] - 1
        is_observed = self.precision > 0
        at_any_path = is_observed.any(-1).any(0)
        (numbers,) = at_any_path.nonzero(as_tuple=True)
        if len(numbers) == 0:
            return 0
        return int(numbers[-1])


@dataclass(frozen=True)
class EulerSteps:
    """Every distinct step of state and scaled memory: ``z' = Φ z + N ε``.

    Attributes
    ----------
    transition : Tensor, ``(u, d, S, S)``
        ``Φ``.
    root : Tensor, ``(u, d, S, r)``
        ``N``.
    number : Tensor of int64, ``(P or 1, L − 1)``
        Which of the steps lies between two times.
    start_root : Tensor, ``(d, S, r)``
        Root of the covariance of state and memory at the first time.
    along : Tensor, ``(v, r)``
        What a control of one does to ``ε``, for every distinct gap.
    """

    transition: Tensor
    root: Tensor
    number: Tensor
    start_root: Tensor
    along: Tensor

    @classmethod
    def of(cls, prior: LinearPrior, series: Series, memory: MemorySteps) -> EulerSteps:
        """Steps whose memory is exact, and whose drift follows Euler's rule."""
        table = prior.euler(series, memory)
        return cls(
            transition=table.transition,
            root=table.noise,
            number=table.number,
            start_root=_start_root(prior, memory.start_root),
            along=memory.along,
        )

    def chain(self, prior: LinearPrior) -> Chain:
        """The chain of coordinates over all steps."""
        return Chain(
            mean=prior.chain_start(),
            start_root=self.start_root,
            transition=pick(self.transition, self.number),
            root=pick(self.root, self.number),
        )


def frozen_chain(chain: Chain, lengths: Tensor, frozen: Frozen) -> Chain:
    """The chain with the slope of a drift and an amplitude in its steps ``(P or 1, L − 1)``."""
    transition = chain.transition
    root = chain.root
    n_states, n_noises = root.shape[-2:]
    first_state = root.new_zeros(n_states, n_states)
    # Filled, not assigned: a number that is assigned is sent to the device.
    first_state[0, 0].fill_(1)
    if frozen.amplitude is not None:
        # The amplitude scales what the noise does to the state: first row, less its own entry.
        change = _for_matrices(frozen.amplitude) - 1
        recall = torch.zeros_like(first_state)
        recall[0, 1:].fill_(1)
        kick = root.new_zeros(n_states, n_noises)
        kick[0].fill_(1)
        transition = transition * (1 + change * recall)
        root = root * (1 + change * kick)
    # As Euler's rule has it: over a step the drift adds its slope times the length.
    spans = lengths.unsqueeze(-1)
    change_of_state = frozen.slope * spans
    growth = _for_matrices(change_of_state)
    transition = transition + growth * first_state
    return chain._replace(transition=transition, root=root)


def of_first_state(x: Tensor, n_states: int) -> Tensor:
    """``(P, L, d)`` as the first of the states of a chain: ``(L, P, d, S)``, the others 0."""
    by_time = x.transpose(0, 1)
    state = by_time.unsqueeze(-1)
    n_others = n_states - 1
    return pad(state, (0, n_others))


def _for_matrices(x: Tensor) -> Tensor:
    """``(P, L − 1, d)`` as factors of the matrices of a chain, ``(L − 1, P, d, 1, 1)``."""
    by_step = x.transpose(0, 1)
    return by_step[..., None, None]


def _start_root(prior: LinearPrior, stationary: Tensor) -> Tensor:
    """Root of the covariance of state and memory at the first time, ``(d, S, r)``."""
    memory = prior.memory_root(stationary)
    n_memory, rank = memory.shape
    deviation = prior.log_start.exp()
    of_state = deviation[:, None, None]
    # The state in the first row and column, its memory in the others.
    with_state = pad(of_state, (0, rank, 0, n_memory))
    with_memory = pad(memory, (1, 0, 1, 0))
    return with_state + with_memory
