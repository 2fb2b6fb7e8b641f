"""Gaussian wave packets: quantum motion with Gaussian densities and known Bohmian velocities."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.simulators.base import (
    Simulator,
    check_draw,
    check_times,
    normals,
    paths_of,
    time_like,
)

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths


class GaussianPacket(Simulator):
    """A wave packet with ``|ψ(t, x)|² = N(q(t), σ(t)²)`` in every coordinate.

    The Bohmian velocity ``v = ∇S/m`` of its phase S is ``q̇ + (σ̇/σ) (x − q)``: the gradient of a
    potential, so it is also the velocity that Action Matching must find. A subclass defines q, σ²
    and their derivatives.
    """

    dimension: int

    def center(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``q(t)`` and ``q̇(t)``, each the shape of ``t``."""
        raise NotImplementedError(f"{type(self).__name__} must define center(t)")

    def spread(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``σ(t)²`` and ``d σ²/dt``, each the shape of ``t``."""
        raise NotImplementedError(f"{type(self).__name__} must define spread(t)")

    def process(self) -> Diffusion:
        """Return the flow along the Bohmian velocity, with its score and potential."""
        return Diffusion(
            drift=self.velocity,
            score=self.score,
            potential=self.potential,
        )

    def velocity(self, t: Time, x: Tensor) -> Tensor:
        """``q̇ + (σ̇/σ) (x − q)``, shape ``(n, d)``."""
        at = self._local(t, x)
        return at.speed + at.strain * at.y

    def potential(self, t: Time, x: Tensor) -> Tensor:
        """``q̇·y + ½ (σ̇/σ) |y|²`` with ``y = x − q``, shape ``(n,)``.

        The phase over m, up to a function of time.
        """
        at = self._local(t, x)
        of_motion = at.speed * at.y
        square = at.y.square()
        of_breathing = at.strain * square / 2
        per_coordinate = of_motion + of_breathing
        return per_coordinate.sum(-1)

    def score(self, t: Time, x: Tensor) -> Tensor:
        """``∇ log |ψ|² = −(x − q)/σ²``, shape ``(n, d)``."""
        at = self._local(t, x)
        return -at.y / at.variance

    def log_density(self, t: Time, x: Tensor) -> Tensor:
        """``log |ψ(t, x)|²``, shape ``(n,)``."""
        at = self._local(t, x)
        log_norm = torch.log(2 * math.pi * at.variance)
        square = at.y.square()
        distance = square / at.variance
        per_coordinate = distance + log_norm
        return -per_coordinate.sum(-1) / 2

    def mean(self, t: float) -> float:
        """``q(t)`` of every coordinate."""
        time = torch.tensor(t, dtype=torch.float64)
        center, _ = self.center(time)
        return center.item()

    def std(self, t: float) -> float:
        """``σ(t)`` of every coordinate."""
        time = torch.tensor(t, dtype=torch.float64)
        variance, _ = self.spread(time)
        return math.sqrt(variance.item())

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` exact samples of ``|ψ(t)|²``, ``(n, d)`` float32."""
        check_draw(n, seed, t)
        xi = normals(seed, "sample", n, self.dimension)
        return self._carried(xi, t).float()

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Draw ``n`` exact Bohmian trajectories.

        They are ``x(t) = q(t) + σ(t) ξ``, each with its own standard normal ``ξ``.
        """
        times = check_times(times)
        check_draw(n, seed)
        xi = normals(seed, "paths", n, self.dimension)
        states = [self._carried(xi, t) for t in times]
        in_time = torch.stack(states, dim=1)
        return paths_of(times, in_time)

    def _carried(self, xi: Tensor, t: float) -> Tensor:
        """``q(t) + σ(t) ξ``."""
        deviation = self.std(t) * xi
        return self.mean(t) + deviation

    def _local(self, t: Time, x: Tensor) -> _Local:
        one_time = time_like(t, x)
        t = one_time.unsqueeze(-1)  # one time for every row of x, or for all
        q, speed = self.center(t)
        variance, change = self.spread(t)
        return _Local(
            y=x - q,
            speed=speed,
            strain=change / (2 * variance),
            variance=variance,
        )


class _Local(NamedTuple):
    """A packet at some states, ready to broadcast against them."""

    y: Tensor  # x − q
    speed: Tensor  # q̇
    strain: Tensor  # σ̇/σ
    variance: Tensor  # σ²


@dataclass(frozen=True, kw_only=True)
class HarmonicWavePacket(GaussianPacket):
    """A Gaussian packet in the well ``½ m ω² |x|²``.

    It swings, and it breathes unless its width is that of the ground state:
    ``q = q₀ cos ωt + (p₀/mω) sin ωt`` and ``σ² = w² cos² ωt + (ħ/2mωw)² sin² ωt``. With
    ``w = √(ħ/2mω)`` (:attr:`ground_width`) it is a coherent state and keeps its width.

    Parameters
    ----------
    frequency, mass, hbar : float
        ω, m and ħ; positive.
    position, momentum : float
        q₀ and p₀ of every coordinate.
    width : float
        w, standard deviation of ``|ψ(0)|²`` in every coordinate; positive.
    dimension : int
        Number of coordinates.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.simulators.HarmonicWavePacket().snapshots([0, 1], 50).samples[1].shape
    (50, 2)
    """

    frequency: float = 1.0
    mass: float = 1.0
    hbar: float = 1.0
    position: float = 2.0
    momentum: float = 0.0
    width: float = 0.5
    dimension: int = 2

    def _check(self) -> None:
        self._check_positive("frequency", "mass", "hbar")
        self._check_positive("width", "dimension")

    @property
    def ground_width(self) -> float:
        """``√(ħ/2mω)``, the width of the ground state and of every coherent state."""
        stiffness = self.mass * self.frequency
        return math.sqrt(self.hbar / (2 * stiffness))

    def center(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``q(t)`` and ``q̇(t)``, each the shape of ``t``."""
        phase = self.frequency * t
        cos = torch.cos(phase)
        sin = torch.sin(phase)
        inertia = self.mass * self.frequency
        swing = self.momentum / inertia
        center = self.position * cos + swing * sin
        slope = swing * cos - self.position * sin
        return center, self.frequency * slope

    def spread(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``σ(t)²`` and ``d σ²/dt``, each the shape of ``t``."""
        at_start = self.width**2
        # ħ/2mωw, the width a quarter of a period later.
        width_later = self.ground_width**2 / self.width
        quarter_later = width_later**2
        mean = (at_start + quarter_later) / 2
        swing = (at_start - quarter_later) / 2
        # Twice the frequency: the width is the same on both sides of the well.
        frequency = 2 * self.frequency
        phase = frequency * t
        variance = mean + swing * torch.cos(phase)
        amplitude = -frequency * swing
        change = amplitude * torch.sin(phase)
        return variance, change


@dataclass(frozen=True, kw_only=True)
class FreeWavePacket(GaussianPacket):
    """A Gaussian packet without forces: ``q = q₀ + p₀ t/m`` and ``σ² = w² + (ħ t/2mw)²``.

    Parameters
    ----------
    mass, hbar : float
        m and ħ; positive.
    position, momentum : float
        q₀ and p₀ of every coordinate.
    width : float
        w, standard deviation of ``|ψ(0)|²`` in every coordinate; positive.
    dimension : int
        Number of coordinates.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.simulators.FreeWavePacket().snapshots([0, 1], 50).samples[1].shape
    (50, 2)
    """

    mass: float = 1.0
    hbar: float = 1.0
    position: float = 0.0
    momentum: float = 1.0
    width: float = 0.5
    dimension: int = 2

    def _check(self) -> None:
        self._check_positive("mass", "hbar", "width", "dimension")

    def center(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``q(t)`` and ``q̇(t)``, each the shape of ``t``."""
        velocity = self.momentum / self.mass
        speed = torch.full_like(t, velocity)
        center = self.position + speed * t
        return center, speed

    def spread(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``σ(t)²`` and ``d σ²/dt``, each the shape of ``t``."""
        # The spread of the momentum over the mass carries the packet's parts apart.
        inertia = 2 * self.mass * self.width
        speed = self.hbar / inertia
        square = speed**2
        growth = square * t.square()
        variance = self.width**2 + growth
        change = 2 * square * t
        return variance, change
