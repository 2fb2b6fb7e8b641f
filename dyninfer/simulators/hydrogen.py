"""Superpositions of hydrogen eigenstates: a density that moves for ever, and the particles that follow it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.polynomial import Polynomial, legendre
from scipy.integrate import cumulative_simpson
from scipy.special import genlaguerre
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.simulators.base import (
    Simulator,
    check_draw,
    check_positive,
    check_times,
    generator,
    paths_of,
    stream,
)

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths
    from dyninfer.data.trajectories import Trajectories


@dataclass(frozen=True, kw_only=True)
class HydrogenSuperposition(Simulator):
    """An electron in equal parts of several eigenstates of hydrogen, in three dimensions.

    ``ψ(t, x) = K^{−1/2} Σ_k ψ_k(x) e^{−i E_k t}`` with ``E = −1/(2 a² n²)``, in units where the electron's mass and ħ
    are 1 and a is the Bohr radius. The density is ``|ψ|²`` and particles that follow the Bohmian velocity
    ``∇S = Im(∇ψ/ψ)`` keep it.

    The defaults are the Schrödinger experiment of Action Matching [1]_. Its program sets the electron's charge and
    the vacuum permittivity to 1 as well, which makes ``a = 4π``: an atomic unit of length is 4π of its units and one of
    time 16π², so its duration of 14,000 is 88.7 atomic units or 0.98 of a beat. In atomic units proper
    (``bohr_radius=1``) 14,000 would be 155 beats. With two states of different m the density turns rigidly about the
    z axis, by ``(E₁ − E₂)/(m₁ − m₂)`` radians per time unit.

    The phase S is no potential: it grows by 2π around the lines where ψ is zero. So the process has none, and the
    gradient field that Action Matching converges to differs from the Bohmian velocity while it moves the same density.

    Parameters
    ----------
    states : tuple of (n, l, m)
        Quantum numbers, each once: ``n ≥ 1``, ``0 ≤ l < n``, ``|m| ≤ l``.
    bohr_radius : float
        a, in state units; positive.
    duration : float
        Time span of :meth:`bohmian_trajectories`; positive.

    References
    ----------
    .. [1] K. Neklyudov et al., Action Matching: learning stochastic dynamics from samples, ICML 2023.

    Examples
    --------
    >>> from dyninfer.simulators import HydrogenSuperposition
    >>> round(HydrogenSuperposition(bohr_radius=1.0).beat_period, 2)
    90.48
    """

    states: tuple[tuple[int, int, int], ...] = ((3, 2, -1), (2, 1, 0))
    bohr_radius: float = 4 * math.pi
    duration: float = 14_000.0

    dimension = 3

    def __post_init__(self) -> None:
        check_positive(bohr_radius=self.bohr_radius, duration=self.duration)
        if not self.states or len(set(self.states)) < len(self.states):
            raise ValueError(f"states must be different (n, l, m), found {self.states!r}")
        for n, l, m in self.states:
            if not (n >= 1 and 0 <= l < n and abs(m) <= l):
                raise ValueError(
                    f"states must have n >= 1, 0 <= l < n and |m| <= l, found {(n, l, m)}"
                )

    def process(self) -> Diffusion:
        """Return the deterministic flow along the Bohmian velocity, with the score of ``|ψ|²``."""
        return Diffusion(drift=self.velocity, score=self.score)

    @property
    def energies(self) -> tuple[float, ...]:
        """``E_k = −1/(2 a² n²)`` of the states."""
        return tuple(-0.5 / (self.bohr_radius * n) ** 2 for n, _, _ in self.states)

    @property
    def beat_period(self) -> float:
        """Longest period ``2π/|E_j − E_k|`` in the density; infinite if all energies are equal."""
        levels = sorted(set(self.energies))
        gaps = np.diff(levels)
        return 2 * math.pi / float(gaps.min()) if len(gaps) else math.inf

    def wavefunction(self, t: Tensor | float, x: Tensor) -> Tensor:
        """``ψ(t, x)``, complex ``(n,)``."""
        return self._value_and_gradient(t, x)[0]

    def density(self, t: Tensor | float, x: Tensor) -> Tensor:
        """``|ψ(t, x)|²``, shape ``(n,)``."""
        psi = self.wavefunction(t, x)
        return psi.real.square() + psi.imag.square()

    def velocity(self, t: Tensor | float, x: Tensor) -> Tensor:
        """Bohmian velocity ``Im(∇ψ/ψ)``, shape ``(n, 3)``."""
        psi, gradient = self._value_and_gradient(t, x)
        return (gradient / psi.unsqueeze(-1)).imag

    def score(self, t: Tensor | float, x: Tensor) -> Tensor:
        """``∇ log |ψ|² = 2 Re(∇ψ/ψ)``, shape ``(n, 3)``."""
        psi, gradient = self._value_and_gradient(t, x)
        return 2 * (gradient / psi.unsqueeze(-1)).real

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` independent samples of ``|ψ(t)|²``, ``(n, 3)`` float32."""
        return self._draw(t, n, seed).float()

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Follow ``n`` particles and record them at increasing times."""
        times = check_times(times)
        return paths_of(times, self._follow(times, n, seed).states)

    def bohmian_trajectories(
        self, n: int = 5000, n_times: int = 1001, seed: int = 0
    ) -> Trajectories:
        """Follow ``n`` particles over the duration: states ``(n, n_times, 3)``, float64, at equally spaced times.

        At the defaults every position is within 1e-4 Bohr radii of the exact trajectory (most within 1e-6).
        """
        return self._follow(np.linspace(0.0, self.duration, n_times).tolist(), n, seed)

    def _follow(self, times: list[float], n: int, seed: int) -> Trajectories:
        from dyninfer.simulation import simulate

        start = self._draw(times[0], n, stream(seed, 0))
        return simulate(self.process(), start, times, rtol=1e-8, atol=1e-8 * self.bohr_radius)

    def _value_and_gradient(self, t: Tensor | float, x: Tensor) -> tuple[Tensor, Tensor]:
        """``ψ`` complex ``(n,)`` and ``∇ψ`` complex ``(n, 3)``."""
        t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
        psi, gradient = torch.zeros_like(x[:, 0]), torch.zeros_like(x)
        for state, energy in zip(self._eigenstates, self.energies, strict=True):
            turn = torch.exp(-1j * energy * t) / math.sqrt(len(self.states))
            value, slope = state(x)
            psi, gradient = psi + turn * value, gradient + turn.unsqueeze(-1) * slope
        return psi, gradient

    def _draw(self, t: float, n: int, seed: int) -> Tensor:
        """Rejection from the mixture of ``|ψ_k|²``, of which ``|ψ|²`` is at most K times as dense: ``(n, 3)`` float64."""
        check_draw(t, n)
        g, kept, missing = generator(seed), [], n
        while missing > 0:
            m = len(self.states) * missing + 100
            which = torch.randint(len(self.states), (m,), generator=g)
            u = torch.rand(m, 4, generator=g, dtype=torch.float64)
            x = torch.empty(m, 3, dtype=torch.float64)
            for k, state in enumerate(self._eigenstates):
                x[which == k] = state.place(u[which == k, :3])
            envelope = sum(state(x)[0].abs().square() for state in self._eigenstates)
            kept.append(x[u[:, 3] * envelope < self.density(t, x)])
            missing -= len(kept[-1])
        return torch.cat(kept)[:n]

    @cached_property
    def _eigenstates(self) -> tuple[Eigenstate, ...]:
        return tuple(Eigenstate(n, l, m, self.bohr_radius) for n, l, m in self.states)


class Eigenstate:
    """One eigenstate ``ψ_nlm = R_nl(r) Y_lm(θ, φ)`` of hydrogen, with its gradient.

    It is evaluated as ``F(r) · (x ± iy)^|m| · Q(z, r²)``, with Q the polynomial part of the solid harmonic: smooth
    at the poles and the origin. Y has the Condon-Shortley phase.

    Parameters
    ----------
    n, l, m : int
        Quantum numbers.
    bohr_radius : float
        a, in state units.
    """

    def __init__(self, n: int, l: int, m: int, bohr_radius: float):
        self.decay, self.order, self.sign = 1 / (n * bohr_radius), abs(m), (1 if m >= 0 else -1)
        self.laguerre = Polynomial(genlaguerre(n - l - 1, 2 * l + 1).coef[::-1])(
            Polynomial([0, 2 * self.decay])
        )
        self.polar = Polynomial(legendre.leg2poly([0] * l + [1])).deriv(
            self.order
        )  # of cos θ, over sin^|m| θ
        self.l = l
        f = math.factorial
        radial = (
            math.sqrt((2 * self.decay) ** 3 * f(n - l - 1) / (2 * n * f(n + l)))
            * (2 * self.decay) ** l
        )
        angular = math.sqrt((2 * l + 1) / (4 * math.pi) * f(l - self.order) / f(l + self.order))
        self.norm = radial * angular * (-1 if m > 0 and m % 2 else 1)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``ψ`` complex ``(n,)`` and ``∇ψ`` complex ``(n, 3)`` at ``x`` ``(n, 3)``."""
        square = x.square().sum(-1)
        r, z = square.sqrt().clamp_min(torch.finfo(x.dtype).tiny), x[:, 2]
        shell = self.norm * torch.exp(-self.decay * r)
        f = shell * _horner(self.laguerre, r)
        df = shell * _horner(self.laguerre.deriv() - self.decay * self.laguerre, r)
        q, dq_dz, dq_ds = self._solid(z, square)
        plane = torch.complex(x[:, 0], self.sign * x[:, 1])
        turn = plane**self.order
        value = turn * (f * q)
        gradient = turn.unsqueeze(-1) * ((df * q / r + 2 * f * dq_ds).unsqueeze(-1) * x)
        if self.order:
            along = self.order * plane ** (self.order - 1) * (f * q)
            gradient[:, 0] += along
            gradient[:, 1] += 1j * self.sign * along
        gradient[:, 2] += turn * (f * dq_dz)
        return value, gradient

    def _solid(self, z: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``Q(z, s) = Σ_k p_k z^k s^{(l − |m| − k)/2}`` with ``s = r²``, and its two partial derivatives."""
        degree = self.l - self.order
        q, dq_dz, dq_ds = torch.zeros_like(z), torch.zeros_like(z), torch.zeros_like(z)
        for k in range(degree % 2, degree + 1, 2):
            p, j = float(self.polar.coef[k]), (degree - k) // 2
            q = q + p * z**k * s**j
            if k:
                dq_dz = dq_dz + p * k * z ** (k - 1) * s**j
            if j:
                dq_ds = dq_ds + p * j * z**k * s ** (j - 1)
        return q, dq_dz, dq_ds

    def place(self, u: Tensor) -> Tensor:
        """Carry uniform ``(n, 3)`` numbers to samples of ``|ψ|²``, ``(n, 3)``, by inverting distribution functions."""
        r = torch.from_numpy(np.interp(u[:, 0].numpy(), *self._radial_law))
        cos = torch.from_numpy(np.interp(u[:, 1].numpy(), *self._polar_law))
        phi, sin = 2 * math.pi * u[:, 2], (1 - cos.square()).sqrt()
        return r.unsqueeze(-1) * torch.stack(
            [sin * torch.cos(phi), sin * torch.sin(phi), cos], dim=1
        )

    @cached_property
    def _radial_law(self) -> tuple[np.ndarray, np.ndarray]:
        """Distribution function of r, and r."""
        n_a = 1 / self.decay
        r = np.linspace(0, n_a * (30 + 4 * (self.laguerre.degree() + self.l)), 20_001)
        weight = (r ** (self.l + 1) * np.exp(-r / n_a) * self.laguerre(r)) ** 2
        law = cumulative_simpson(weight, x=r, initial=0)
        return np.maximum.accumulate(law) / law.max(), r

    @cached_property
    def _polar_law(self) -> tuple[np.ndarray, np.ndarray]:
        """Distribution function of cos θ, and cos θ."""
        weight = Polynomial([1, 0, -1]) ** self.order * self.polar**2
        cos = np.linspace(-1, 1, 20_001)
        law = weight.integ(lbnd=-1)(cos)
        return np.maximum.accumulate(law) / law.max(), cos


def _horner(polynomial: Polynomial, x: Tensor) -> Tensor:
    value = torch.zeros_like(x)
    for c in polynomial.coef[::-1]:
        value = value * x + float(c)
    return value
