"""Random tensors of one generator, on its device."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Draws:
    """Draws of a generator: every call draws new numbers.

    Parameters
    ----------
    generator : torch.Generator
    """

    def __init__(self, generator: torch.Generator):
        self.generator = generator
        self.device = generator.device

    def uniform(self, *shape: int) -> Tensor:
        """Numbers between 0 and 1, never 0."""
        # Below the resolution of single precision; logarithms are taken of it.
        return self._rand(shape).clamp(min=1e-7)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers whose logarithms are uniform."""
        log_low = math.log(low)
        log_range = math.log(high) - log_low
        uniform = self.uniform(*shape)
        exponent = log_low + log_range * uniform
        return exponent.exp()

    def below_one(self, decades: Tensor | float, *shape: int) -> Tensor:
        """Numbers below 1 whose logarithms are uniform over ``decades`` decades."""
        uniform = self.uniform(*shape)
        exponent = -decades * uniform
        return 10**exponent

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(
            shape,
            generator=self.generator,
            device=self.device,
        )

    def integers(self, below: int, *shape: int) -> Tensor:
        """Whole numbers from 0 to ``below − 1``."""
        return torch.randint(
            below,
            shape,
            generator=self.generator,
            device=self.device,
        )

    def happens(self, probability: float, *shape: int) -> Tensor:
        """True with a probability."""
        return self._rand(shape) < probability

    def _rand(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(
            shape,
            generator=self.generator,
            device=self.device,
        )
