"""Metropolis walkers: samples of a density that is known up to a factor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

LogAmplitude = Callable[[Tensor, Tensor], Tensor]

# Of proposals in several dimensions, a move that is taken this often goes furthest.
_TAKEN = 0.4
# From normal numbers to a density whose place and width are unknown.
_MOVES_TO_REST = 400


class Walkers:
    """Points that follow ``|ψ|²`` while its parameters change.

    Parameters
    ----------
    log_psi : callable, ``(parameters, (n, d)) -> (n,)``
        Logarithm of ``|ψ|``.
    parameters : Tensor
        Of any shape that ``log_psi`` takes.
    x : Tensor, ``(n, d)``
        Where the walkers are.
    generator : Generator, optional
        Of the proposals; by default torch's own.
    width : Tensor, ``(n, d)`` or ``(d,)``, optional
        Of the density, in whose units moves are; by default that of the walkers.
    """

    def __init__(
        self,
        log_psi: LogAmplitude,
        parameters: Tensor,
        x: Tensor,
        generator: Generator | None = None,
        width: Tensor | None = None,
    ):
        self.log_psi = log_psi
        self.parameters = parameters
        self.x = x
        self.generator = generator
        self.width = width
        self.step = 0.5

    @classmethod
    def at_rest(
        cls, log_psi: LogAmplitude, parameters: Tensor, n: int, dimension: int, generator: Generator
    ) -> Walkers:
        """Walkers that have forgotten where they began."""
        x = torch.randn(n, dimension, generator=generator, dtype=torch.float64)
        walkers = cls(log_psi, parameters, x, generator)
        walkers.move(_MOVES_TO_REST)
        return walkers

    def follow(self, parameters: Tensor, n_moves: int) -> None:
        """Move under other parameters."""
        self.parameters = parameters
        self.move(n_moves)

    @torch.no_grad()
    def move(self, n_moves: int) -> None:
        """Propose so many moves to every walker, of all coordinates at once."""
        log_psi = self.log_psi(self.parameters, self.x)
        for _ in range(n_moves):
            noise = torch.randn(self.x.shape, generator=self.generator, dtype=self.x.dtype)
            # Wide and narrow coordinates get steps of their own.
            width = self.x.std(0) if self.width is None else self.width
            proposal = self.x + self.step * width * noise
            proposed = self.log_psi(self.parameters, proposal)
            chance = torch.rand(len(self.x), generator=self.generator, dtype=self.x.dtype)
            is_taken = chance.log() < 2 * (proposed - log_psi)
            self.x = torch.where(is_taken[:, None], proposal, self.x)
            log_psi = torch.where(is_taken, proposed, log_psi)
            share = is_taken.double().mean()
            # By a tenth at most, so that the rule of acceptance hardly depends on the walkers.
            self.step *= float(torch.exp(0.2 * (share - _TAKEN)))


def log_density_change(log_psi: LogAmplitude, before: Tensor, after: Tensor, x: Tensor) -> Tensor:
    """``log q`` of the parameters after, less that of those before, ``(n,)``."""
    with torch.no_grad():
        return 2 * (log_psi(after, x) - log_psi(before, x))
