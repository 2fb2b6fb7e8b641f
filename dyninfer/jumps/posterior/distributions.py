"""Distributions of parameters, all with ``log_prob`` and ``sample``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

# Of Student's distribution: tails a little heavier than a normal one's, at little cost in thirty
# dimensions.
_DEGREES = 30
_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


def draw_normal(mean: Tensor, covariance: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draws ``(n, p)`` of a normal distribution, whose covariance ``(p, p)`` may be singular.

    It is where rates are tied.
    """
    values, vectors = torch.linalg.eigh(covariance)
    std = values.clamp_min(0).sqrt()
    z = mean.new_empty(n, len(mean))
    z.normal_(generator=generator)
    scaled = z * std
    return mean + scaled @ vectors.T


class Distribution(Protocol):
    """What can be drawn from, and has a density."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``."""


@dataclass(frozen=True, eq=False)
class NormalMixtures:
    """Independent numbers, each from a mixture of normal distributions.

    Attributes
    ----------
    log_weight, mean, std : Tensor, ``(p, component)`` float64
        Log-weights sum to one in their exponentials; −inf leaves a component out.
    """

    log_weight: Tensor
    mean: Tensor
    std: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""
        shift = x.unsqueeze(-1) - self.mean
        z = shift / self.std
        log_constant = self.std.log() + _LOG_ROOT_2PI
        log_normal = -z.square() / 2 - log_constant
        log_joint = self.log_weight + log_normal
        return log_joint.logsumexp(-1).sum(-1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``."""
        weight = self.log_weight.exp()
        component = torch.multinomial(weight, n, replacement=True, generator=generator)
        mean = self.mean.gather(1, component).T
        std = self.std.gather(1, component).T
        z = torch.empty_like(mean)
        z.normal_(generator=generator)
        return mean + std * z

    def part(self, mask: Tensor) -> NormalMixtures:
        """Distribution of the numbers at ``mask`` ``(p,)`` bool."""
        return NormalMixtures(
            log_weight=self.log_weight[mask],
            mean=self.mean[mask],
            std=self.std[mask],
        )

    def mixed(self, weight: float, mean: Tensor, std: Tensor) -> NormalMixtures:
        """The same with one more component, ``mean`` and ``std`` ``(p,)``, of this weight."""
        # On tensors: the logarithm of a weight of 0 is −inf, and leaves the component out.
        shares = mean.new_tensor([1 - weight, weight])
        log_old, log_new = shares.log()
        return NormalMixtures(
            log_weight=_appended(self.log_weight + log_old, log_new.expand_as(mean)),
            mean=_appended(self.mean, mean),
            std=_appended(self.std, std),
        )


def _appended(columns: Tensor, column: Tensor) -> Tensor:
    """The columns ``(p, component)`` and one more ``(p,)``."""
    return torch.cat([columns, column.unsqueeze(1)], dim=1)


@dataclass(frozen=True, eq=False)
class StudentT:
    """Student's distribution with thirty degrees of freedom.

    Attributes
    ----------
    mean : Tensor, ``(p,)``
        Centre.
    root : Tensor, ``(p, p)``
        Cholesky factor of the scale matrix.
    """

    mean: Tensor
    root: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""
        shift = x - self.mean
        column = shift.unsqueeze(-1)
        z = torch.linalg.solve_triangular(self.root, column, upper=False)
        squares = z.square()
        distance = squares.sum((-1, -2))
        power = (_DEGREES + len(self.mean)) / 2
        log_scaled = torch.log1p(distance / _DEGREES)
        log_density = -power * log_scaled
        return log_density + self._log_constant()

    def _log_constant(self) -> Tensor:
        """What makes the density integrate to one."""
        p = len(self.mean)
        nu = _DEGREES
        log_gamma = math.lgamma((nu + p) / 2)
        log_gamma_of_one = math.lgamma(nu / 2)
        log_sphere = p / 2 * math.log(nu * math.pi)
        log_volume = self.root.diagonal().log().sum()
        return log_gamma - log_gamma_of_one - log_sphere - log_volume

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``."""
        z = self._normals(n, len(self.mean), generator)
        # A normal vector over the root of a mean of squares of as many normal numbers as degrees.
        chi = self._normals(n, _DEGREES, generator)
        mean_square = chi.square().mean(-1, keepdim=True)
        scale = mean_square.sqrt()
        shift = z @ self.root.T / scale
        return self.mean + shift

    def _normals(self, n: int, size: int, generator: torch.Generator) -> Tensor:
        numbers = self.mean.new_empty(n, size)
        return numbers.normal_(generator=generator)


@dataclass(frozen=True, eq=False)
class Product:
    """Two independent parts.

    Attributes
    ----------
    mask : Tensor, ``(p,)`` bool
        Which numbers are of the first part.
    first, second : Distribution
        Of the numbers at ``mask``, and of all others.
    """

    mask: Tensor
    first: Distribution
    second: Distribution

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""
        own = x[..., self.mask]
        of_first = self.first.log_prob(own)
        other = x[..., ~self.mask]
        of_second = self.second.log_prob(other)
        return of_first + of_second

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``."""
        first = self.first.sample(n, generator)
        second = self.second.sample(n, generator)
        x = first.new_empty(n, len(self.mask))
        x[:, self.mask] = first
        x[:, ~self.mask] = second
        return x


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of distributions, with shares that sum to one."""

    parts: tuple[Distribution, ...]
    shares: tuple[float, ...]

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""
        terms = []
        components = zip(self.parts, self.shares, strict=True)
        for part, share in components:
            log_prob = part.log_prob(x)
            terms.append(log_prob + math.log(share))
        return torch.logsumexp(torch.stack(terms), dim=0)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``: of every part as many as its share, which leaves less to chance."""
        draws = []
        begin = 0
        # Rounded sums of shares, and not rounded shares, add up to n.
        totals = accumulate(self.shares)
        for part, total in zip(self.parts, totals, strict=True):
            end = round(n * total)
            n_part = end - begin
            draws.append(part.sample(n_part, generator))
            begin = end
        return torch.cat(draws)
