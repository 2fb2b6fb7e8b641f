"""Superpositions of hydrogen eigenstates: a density that moves for ever, and its particles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from numpy.polynomial import Polynomial, legendre
from scipy.integrate import cumulative_simpson
from scipy.special import genlaguerre
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.learning.random import stream, subseed, uniforms
from dyninfer.simulators.base import (
    Simulator,
    check_draw,
    check_times,
    paths_of,
    time_like,
)

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths
    from dyninfer.data.trajectories import Trajectories

_QuantumNumbers = tuple[int, int, int]
# Points at which distribution functions are tabulated; between them they are linear.
_POINTS = 20_001
# Relative and, in Bohr radii, absolute tolerance of the solver that follows particles.
_TOLERANCE = 1e-8


@dataclass(frozen=True, kw_only=True)
class HydrogenSuperposition(Simulator):
    """An electron in equal parts of several eigenstates of hydrogen, in three dimensions.

    ``ψ(t, x) = K^{−1/2} Σ_k ψ_k(x) e^{−i E_k t}`` with ``E = −1/(2 a² n²)``, in units where the
    electron's mass and ħ are 1 and a is the Bohr radius. The density is ``|ψ|²`` and particles that
    follow the Bohmian velocity ``∇S = Im(∇ψ/ψ)`` keep it.

    The defaults are the Schrödinger experiment of Action Matching [1]_. Its program sets the
    electron's charge and the vacuum permittivity to 1 as well, which makes ``a = 4π``: an atomic
    unit of length is 4π of its units and one of time 16π², so its duration of 14,000 is 88.7 atomic
    units or 0.98 of a beat. In atomic units proper (``bohr_radius=1``) 14,000 would be 155 beats.
    With two states of different m the density turns rigidly about the z axis, by ``(E₁ − E₂)/(m₁ −
    m₂)`` radians per time unit.

    The phase S is no potential: it grows by 2π around the lines where ψ is zero. So the process has
    none, and the gradient field that Action Matching converges to differs from the Bohmian velocity
    while it moves the same density.

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
    .. [1] K. Neklyudov et al., Action Matching: learning stochastic dynamics from samples,
       ICML 2023.

    Examples
    --------
    >>> from dyninfer.simulators import HydrogenSuperposition
    >>> round(HydrogenSuperposition(bohr_radius=1.0).beat_period, 2)
    90.48
    """

    states: tuple[_QuantumNumbers, ...] = ((3, 2, -1), (2, 1, 0))
    bohr_radius: float = 4 * math.pi
    duration: float = 14_000.0

    dimension = 3

    def _check(self) -> None:
        self._check_positive("bohr_radius", "duration")
        n_different = len(set(self.states))
        if n_different == 0 or n_different < len(self.states):
            raise ValueError(f"states must be different (n, l, m), found {self.states!r}")
        for n, l, m in self.states:
            # 0 <= |m| <= l < n: with them n >= 1.
            if not abs(m) <= l < n:
                raise ValueError(
                    f"states must have n >= 1, 0 <= l < n and |m| <= l, found {(n, l, m)}"
                )

    def process(self) -> Diffusion:
        """Return the deterministic flow along the Bohmian velocity, with the score of ``|ψ|²``."""
        return Diffusion(drift=self.velocity, score=self.score)

    @property
    def energies(self) -> tuple[float, ...]:
        """``E_k = −1/(2 a² n²)`` of the states."""
        energies = []
        for n, _, _ in self.states:
            radius = self.bohr_radius * n
            energies.append(-0.5 / radius**2)
        return tuple(energies)

    @property
    def beat_period(self) -> float:
        """Longest period ``2π/|E_j − E_k|`` in the density; infinite if all energies are equal."""
        levels = sorted(set(self.energies))
        if len(levels) == 1:
            return math.inf
        gaps = np.diff(levels)
        smallest_gap = float(gaps.min())
        return 2 * math.pi / smallest_gap

    def wavefunction(self, t: Time, x: Tensor) -> Tensor:
        """``ψ(t, x)``, complex ``(n,)``."""
        psi, _ = self._value_and_gradient(t, x)
        return psi

    def density(self, t: Time, x: Tensor) -> Tensor:
        """``|ψ(t, x)|²``, shape ``(n,)``."""
        psi = self.wavefunction(t, x)
        return psi.real.square() + psi.imag.square()

    def velocity(self, t: Time, x: Tensor) -> Tensor:
        """Bohmian velocity ``Im(∇ψ/ψ)``, shape ``(n, 3)``."""
        return self._log_gradient(t, x).imag

    def score(self, t: Time, x: Tensor) -> Tensor:
        """``∇ log |ψ|² = 2 Re(∇ψ/ψ)``, shape ``(n, 3)``."""
        return 2 * self._log_gradient(t, x).real

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` independent samples of ``|ψ(t)|²``, ``(n, 3)`` float32."""
        return self._draw(t, n, seed).float()

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Follow ``n`` particles and record them at increasing times."""
        times = check_times(times)
        runs = self._follow(times, n, seed)
        return paths_of(times, runs.states)

    def bohmian_trajectories(
        self, n: int = 5000, n_times: int = 1001, seed: int = 0
    ) -> Trajectories:
        """Follow ``n`` particles over the duration.

        At the defaults every position is within 1e-4 Bohr radii of the exact trajectory (most
        within 1e-6).

        Returns
        -------
        Trajectories
            States ``(n, n_times, 3)``, float64, at equally spaced times.
        """
        times = np.linspace(0.0, self.duration, n_times).tolist()
        return self._follow(times, n, seed)

    def _follow(self, times: list[float], n: int, seed: int) -> Trajectories:
        from dyninfer.simulation import simulate, solvers

        own_seed = subseed(seed, "start")
        start = self._draw(times[0], n, own_seed)
        # Near the lines where ψ is zero particles are fast: steps follow them.
        solver = solvers.Tsit5(
            rtol=_TOLERANCE,
            atol=_TOLERANCE * self.bohr_radius,
        )
        return simulate(self.process(), start, times, solver=solver)

    def _value_and_gradient(self, t: Time, x: Tensor) -> tuple[Tensor, Tensor]:
        """``ψ`` complex ``(n,)`` and ``∇ψ`` complex ``(n, 3)``."""
        t = time_like(t, x)
        psi = torch.zeros_like(x[:, 0])
        gradient = torch.zeros_like(x)
        # Equal parts of all states.
        n_states = len(self.states)
        share = 1 / math.sqrt(n_states)
        terms = zip(self._eigenstates, self.energies, strict=True)
        for state, energy in terms:
            phase = -1j * energy * t
            factor = share * torch.exp(phase)
            value, slope = state(x)
            psi = psi + factor * value
            gradient = gradient + factor.unsqueeze(-1) * slope
        return psi, gradient

    def _log_gradient(self, t: Time, x: Tensor) -> Tensor:
        """``∇ψ/ψ``, complex ``(n, 3)``."""
        psi, gradient = self._value_and_gradient(t, x)
        return gradient / psi.unsqueeze(-1)

    def _draw(self, t: float, n: int, seed: int) -> Tensor:
        """Draw ``(n, 3)`` float64 samples by rejection from the mixture of the ``|ψ_k|²``.

        ``|ψ|²`` is at most K times as dense as that mixture.
        """
        check_draw(n, seed, t)
        n_states = len(self.states)
        g = stream(seed, "sample")
        accepted: list[Tensor] = []
        n_missing = n
        while n_missing > 0:
            # One of K is accepted on average; a few more spare another round most of the time.
            n_proposals = n_states * n_missing + 100
            which = torch.randint(n_states, (n_proposals,), generator=g)
            u = uniforms(g, n_proposals, 4)
            for_place = u[:, :3]
            for_choice = u[:, 3]
            x = torch.empty_like(for_place)
            for k, state in enumerate(self._eigenstates):
                is_of_state = which == k
                x[is_of_state] = state.place(for_place[is_of_state])
            height = for_choice * self._envelope(x)
            density = self.density(t, x)
            is_accepted = height < density
            accepted.append(x[is_accepted])
            n_missing -= int(is_accepted.sum())
        return torch.cat(accepted)[:n]

    def _envelope(self, x: Tensor) -> Tensor:
        """``Σ_k |ψ_k|²``, at least the density at any time, ``(n,)``."""
        total = torch.zeros_like(x[:, 0])
        for state in self._eigenstates:
            psi, _ = state(x)
            total += psi.abs().square()
        return total

    @cached_property
    def _eigenstates(self) -> tuple[Eigenstate, ...]:
        states = []
        for n, l, m in self.states:
            states.append(Eigenstate(n, l, m, self.bohr_radius))
        return tuple(states)


class Eigenstate:
    """One eigenstate ``ψ_nlm = R_nl(r) Y_lm(θ, φ)`` of hydrogen, with its gradient.

    It is evaluated as ``F(r) · (x ± iy)^|m| · Q(z, r²)``, with Q the polynomial part of the solid
    harmonic: smooth at the poles and the origin. Y has the Condon-Shortley phase.

    Parameters
    ----------
    n, l, m : int
        Quantum numbers.
    bohr_radius : float
        a, in state units.
    """

    def __init__(self, n: int, l: int, m: int, bohr_radius: float):
        self.l = l
        self.order = abs(m)
        self.sign = 1 if m >= 0 else -1
        self.decay = 1 / (n * bohr_radius)
        # SciPy writes the highest power first, NumPy the lowest.
        n_nodes = n - l - 1
        laguerre = genlaguerre(n_nodes, 2 * l + 1)
        coefficients = laguerre.coef[::-1]
        scaled_radius = Polynomial([0, 2 * self.decay])
        self.laguerre = Polynomial(coefficients)(scaled_radius)  # of r
        only_l = [0] * l + [1]
        legendre_l = Polynomial(legendre.leg2poly(only_l))
        self.polar = legendre_l.deriv(self.order)  # of cos θ, without its factor sin^|m| θ
        radial_norm = self._radial_norm(n, l)
        self.norm = radial_norm * self._angular_norm(l, m)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``ψ`` complex ``(n,)`` and ``∇ψ`` complex ``(n, 3)`` at ``x`` ``(n, 3)``."""
        x_0, x_1, z = x.unbind(1)
        square = x.square().sum(-1)
        # At the nucleus itself the gradient is taken a hair away from it.
        smallest = torch.finfo(x.dtype).tiny
        r = square.sqrt().clamp_min(smallest)
        f, df = self._radial(r)
        q, dq_dz, dq_ds = self._solid(z, square)
        plane = torch.complex(x_0, self.sign * x_1)
        turn = plane**self.order
        # The product rule: along x by r and r², along z by Q, in the plane by (x ± iy)^|m|.
        by_r = df * q / r
        by_square = 2 * f * dq_ds
        along_x = turn * (by_r + by_square)
        gradient = along_x.unsqueeze(-1) * x
        gradient[:, 2] += turn * f * dq_dz
        if self.order:
            lower_turn = plane ** (self.order - 1)
            in_plane = self.order * lower_turn * f * q
            gradient[:, 0] += in_plane
            gradient[:, 1] += 1j * self.sign * in_plane
        psi = turn * f * q
        return psi, gradient

    def _radial(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """``F(r)`` and its derivative."""
        decay = torch.exp(-self.decay * r)
        shell = self.norm * decay
        # The product rule, with the slope of the exponential as one more polynomial.
        faded = self.decay * self.laguerre
        slope = self.laguerre.deriv() - faded
        f = shell * _horner(self.laguerre, r)
        df = shell * _horner(slope, r)
        return f, df

    def place(self, u: Tensor) -> Tensor:
        """Turn uniform numbers ``(n, 3)`` into samples of ``|ψ|²``, ``(n, 3)``.

        Radius and cos θ come from their inverted distribution functions.
        """
        for_r, for_cos, for_phi = u.unbind(1)
        r = _inverted(self._radial_distribution, for_r)
        cos = _inverted(self._polar_distribution, for_cos)
        sin = (1 - cos.square()).sqrt()
        phi = 2 * math.pi * for_phi
        x = sin * torch.cos(phi)
        y = sin * torch.sin(phi)
        direction = torch.stack([x, y, cos], dim=1)
        return r.unsqueeze(-1) * direction

    def _radial_norm(self, n: int, l: int) -> float:
        """Makes ``∫ R² r² dr`` one."""
        scale = 2 * self.decay
        n_nodes = n - l - 1
        factorials = _factorial_ratio(n_nodes, n + l)
        square = scale**3 * factorials / (2 * n)
        # R holds (scale · r)^l, whose r^l is part of the solid harmonic.
        return math.sqrt(square) * scale**l

    def _angular_norm(self, l: int, m: int) -> float:
        """Makes ``∫ |Y|² dΩ`` one, with the Condon-Shortley phase."""
        upper = l - self.order
        lower = l + self.order
        factorials = _factorial_ratio(upper, lower)
        degeneracy = 2 * l + 1
        solid_angle = 4 * math.pi
        per_solid_angle = (degeneracy) / (solid_angle)
        norm = math.sqrt(per_solid_angle * factorials)
        if m > 0 and m % 2 == 1:
            return -norm
        return norm

    def _solid(self, z: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``Q(z, s) = Σ_k p_k z^k s^{(l − |m| − k)/2}``, ``s = r²``, and its two derivatives."""
        degree = self.l - self.order
        q = torch.zeros_like(z)
        dq_dz = torch.zeros_like(z)
        dq_ds = torch.zeros_like(z)
        # Powers of one parity only, so that those of s are whole.
        for k in range(degree % 2, degree + 1, 2):
            p = float(self.polar.coef[k])
            j = (degree - k) // 2
            z_power = z**k
            s_power = s**j
            q = q + p * z_power * s_power
            if k:
                z_slope = k * z ** (k - 1)
                dq_dz = dq_dz + p * z_slope * s_power
            if j:
                s_slope = j * s ** (j - 1)
                dq_ds = dq_ds + p * z_power * s_slope
        return q, dq_dz, dq_ds

    @cached_property
    def _radial_distribution(self) -> _Table:
        """Distribution function of r, and r."""
        # Thirty decay lengths and more for every power of r: what lies beyond is below float64.
        power = self.laguerre.degree() + self.l
        farthest = (30 + 4 * power) / self.decay
        r = np.linspace(0, farthest, _POINTS)
        decay = np.exp(-self.decay * r)
        power_of_r = r ** (self.l + 1)
        amplitude = power_of_r * self.laguerre(r) * decay
        density = amplitude**2
        below = cumulative_simpson(density, x=r, initial=0)
        return _Table(_rising_to_one(below), r)

    @cached_property
    def _polar_distribution(self) -> _Table:
        """Distribution function of cos θ, and cos θ."""
        sin_square = Polynomial([1, 0, -1])  # of cos θ
        density = sin_square**self.order * self.polar**2
        cos = np.linspace(-1, 1, _POINTS)
        integral = density.integ(lbnd=-1)
        return _Table(_rising_to_one(integral(cos)), cos)


def _rising_to_one(below: ndarray) -> ndarray:
    """A distribution function from an integral of its density."""
    # Simpson's rule may fall by a rounding error, and an inverse needs a rising function.
    rising = np.maximum.accumulate(below)
    return rising / below.max()


class _Table(NamedTuple):
    """A distribution function at some values."""

    below: ndarray
    values: ndarray


def _inverted(table: _Table, u: Tensor) -> Tensor:
    """Values at which a tabulated distribution function is ``u``."""
    inverse = np.interp(u.numpy(), table.below, table.values)
    return torch.from_numpy(inverse)


def _factorial_ratio(upper: int, lower: int) -> float:
    return math.factorial(upper) / math.factorial(lower)


def _horner(polynomial: Polynomial, x: Tensor) -> Tensor:
    """Evaluate a polynomial at a tensor."""
    value = torch.zeros_like(x)
    # Horner's rule: no powers, which overflow far from the nucleus.
    for coefficient in polynomial.coef[::-1]:
        value = value * x + float(coefficient)
    return value
