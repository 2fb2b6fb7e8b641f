"""Steps of the memory alone: what nothing that is learned changes, worked out once for a fit."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.gaussian.linear import stationary_memory
from dyninfer.fractional.gaussian.matrices import apply, covariance_root
from dyninfer.fractional.noise.markov import MarkovApproximation
from dyninfer.fractional.noise.moments import integrated_decay
from dyninfer.fractional.stepper import noise_factors


class MemorySteps(NamedTuple):
    """One exact step of the memory for every distinct length.

    Attributes
    ----------
    lengths : Tensor, ``(u, 1)``
    factor : Tensor, ``(u, K + 1, r)``
        Root of the covariance of its noise.
    along : Tensor, ``(u, r)``
        What a control of one does to the noise: the ``ε`` of least norm that moves every memory by
        its gain.
    start_root : Tensor, ``(K, K)``
        Root of the covariance of the scaled memory at the first time.
    """

    lengths: Tensor
    factor: Tensor
    along: Tensor
    start_root: Tensor

    @classmethod
    def of(cls, noise: MarkovApproximation, lengths: Tensor) -> MemorySteps:
        """Steps of lengths ``(u,)``; the decompositions in here wait for a device."""
        factor = noise_factors(noise.nodes, lengths)
        column = lengths[:, None]
        gain = integrated_decay(noise.nodes, column)
        inverse = torch.linalg.pinv(factor)
        covariance = stationary_memory(noise.nodes, noise.kind)
        return cls(
            lengths=column,
            factor=factor,
            along=apply(inverse, gain),
            start_root=covariance_root(covariance),
        )


class KnownSteps:
    """The steps that were asked for last: a fit asks for the same ones in every step."""

    def __init__(self, noise: MarkovApproximation):
        self.noise = noise
        self.gaps: Tensor | None = None
        self.n_steps = 0
        self.steps: MemorySteps | None = None

    def of(self, gaps: Tensor, n_steps: int) -> MemorySteps:
        """Steps of which ``n_steps`` cross each of the distinct gaps ``(u,)``."""
        # The very tensor, as a look at its numbers would wait for the device.
        is_same = self.gaps is gaps and self.n_steps == n_steps
        if self.steps is None or not is_same:
            self.steps = MemorySteps.of(self.noise, gaps / n_steps)
            self.gaps = gaps
            self.n_steps = n_steps
        return self.steps
