"""Importance sampling: draws of a mixture that is easy to draw from, weighted by the density that is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_DEGREES = 30  # of Student's law: tails a little heavier than a normal law's, at little cost in thirty dimensions

LogDensity = Callable[[Tensor], Tensor]


class Law(Protocol):
    """What can be drawn from, and has a density."""

    def log_density(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``."""


@dataclass(frozen=True, eq=False)
class StudentLaw:
    """Student's law around ``mean`` ``(p,)`` with the Cholesky factor ``root`` ``(p, p)`` of its scale."""

    mean: Tensor
    root: Tensor

    def log_density(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""
        p, dof = len(self.mean), _DEGREES
        z = torch.linalg.solve_triangular(self.root, (x - self.mean)[..., None], upper=False)[
            ..., 0
        ]
        constant = (
            math.lgamma((dof + p) / 2) - math.lgamma(dof / 2) - p / 2 * math.log(dof * math.pi)
        )
        volume = self.root.diagonal().log().sum()
        return constant - volume - (dof + p) / 2 * torch.log1p(z.square().sum(-1) / dof)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``."""
        like = self.mean.expand(n, -1)
        z = torch.empty_like(like).normal_(generator=generator) @ self.root.T
        chi = (
            like.new_empty(n, _DEGREES).normal_(generator=generator).square().mean(-1, keepdim=True)
        )
        return self.mean + z / chi.sqrt()


@dataclass(frozen=True, eq=False)
class Product:
    """Independent parts: ``first`` is the law of the numbers at ``chosen`` ``(p,)`` bool, ``second`` that of the others."""

    chosen: Tensor
    first: Law
    second: Law

    def log_density(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""
        return self.first.log_density(x[..., self.chosen]) + self.second.log_density(
            x[..., ~self.chosen]
        )

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``."""
        one, two = self.first.sample(n, generator), self.second.sample(n, generator)
        x = one.new_empty(n, len(self.chosen))
        x[:, self.chosen], x[:, ~self.chosen] = one, two
        return x


@dataclass(frozen=True, eq=False)
class Blend:
    """A mixture of laws with shares that sum to one."""

    laws: tuple[Law, ...]
    shares: tuple[float, ...]

    def log_density(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""
        parts = [
            math.log(s) + law.log_density(x) for s, law in zip(self.shares, self.laws, strict=True)
        ]
        return torch.logsumexp(torch.stack(parts), dim=0)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``, of every law as many as its share says, which leaves less to chance."""
        ends = [round(n * sum(self.shares[: k + 1])) for k in range(len(self.shares))]
        sizes = [b - a for a, b in zip([0, *ends], ends, strict=False)]
        return torch.cat(
            [law.sample(k, generator) for law, k in zip(self.laws, sizes, strict=True)]
        )


def weighted_draws(
    target: LogDensity, proposal: Law, n: int, seed: int, at_once: int = 64
) -> tuple[Tensor, Tensor]:
    """Draws ``(n, p)`` of a proposal and their weights ``(n,)``, which sum to one, for a target density.

    Parameters
    ----------
    target : callable, ``(m, p) -> (m,)``
        Log-density, up to a constant.
    proposal : Law
        What is drawn from; it must be positive wherever the target is.
    n : int
        Number of draws.
    seed : int
        Fixes them.
    at_once : int
        Draws that the target is asked of together; the weights do not depend on it.
    """
    x = proposal.sample(n, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        wanted = torch.cat([target(part) for part in x.split(at_once)])
        return x, (wanted - proposal.log_density(x)).softmax(0)


def effective_size(weight: Tensor) -> float:
    """``1 / Σ w²`` of weights ``(n,)`` that sum to one (Kong 1992)."""
    return float(1 / weight.square().sum())


def resampled(weight: Tensor, n: int, seed: int) -> Tensor:
    """Numbers ``(n,)`` of draws, each as often as its weight says, up to rounding (Kitagawa 1996)."""
    u = torch.rand(1, generator=torch.Generator().manual_seed(seed), dtype=weight.dtype)
    place = (torch.arange(n) + u) / n
    return torch.searchsorted(weight.cumsum(0), place).clamp(max=len(weight) - 1)
