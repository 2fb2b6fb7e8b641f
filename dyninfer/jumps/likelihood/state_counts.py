"""How many individuals were in each state at each time, and nothing of who was where before."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.jumps.process.chain import transition_matrix


@dataclass(frozen=True, eq=False)
class StateCounts:
    """Counts of individuals in each state, of other individuals at every time.

    Attributes
    ----------
    ages : Tensor, ``(time,)`` float64
        Since the first time, ascending from 0.
    counts : Tensor, ``(time, S)`` float64
        Individuals in each state.
    """

    ages: Tensor
    counts: Tensor

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return self.counts.shape[-1]

    @property
    def n_observed(self) -> Tensor:
        """Number of individuals, each as often as it was counted."""
        return self.counts.sum()

    def log_likelihood(self, generator: Tensor, initial: Tensor) -> Tensor:
        """``Σ n_k(t) log [p e^{Qt}]_k`` ``(...)``, without the multinomial coefficients.

        Parameters
        ----------
        generator : Tensor, ``(..., S, S)``
        initial : Tensor, ``(..., S)``
            Distribution at the first time.
        """
        p = transition_matrix(generator.unsqueeze(-3), self.ages)
        start = initial.unsqueeze(-2).unsqueeze(-2)
        share = (start @ p).squeeze(-2)
        # 0 log 0 is 0, also in the gradient.
        possible = torch.where(self.counts > 0, share, 1.0)
        return (self.counts * possible.log()).sum((-1, -2))
