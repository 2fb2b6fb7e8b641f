"""Superpositions of hydrogen eigenstates: a density that moves for ever, and its particles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
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
from dyninfer.simulators.eigenstate import Eigenstate

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths
    from dyninfer.data.trajectories import Trajectories

_QuantumNumbers = tuple[int, int, int]
# Relative and, in Bohr radii, absolute tolerance of the solver that follows particles.
_TOLERANCE = 1e-8


@dataclass(frozen=True, kw_only=True)
class HydrogenSuperposition(Simulator):
    """An electron in an equal superposition of eigenstates of hydrogen, in three dimensions.

    ``ψ(t, x) = K^{−1/2} Σ_k ψ_k(x) e^{−i E_k t}`` with ``E = −1/(2 a² n²)``, in units where the
    electron mass and ħ are 1 and a is the Bohr radius. The density is ``|ψ|²``, and particles that
    follow the Bohmian velocity ``∇S = Im(∇ψ/ψ)`` preserve it.

    The defaults reproduce the Schrödinger experiment of Action Matching [1]_. Its code also sets
    the electron charge and the vacuum permittivity to 1, which makes ``a = 4π``. An atomic unit of
    length is then 4π units, and one of time 16π², so the duration of 14,000 is 88.7 atomic units or
    0.98 of a beat. In true atomic units (``bohr_radius=1``), 14,000 would be 155 beats. With two
    states of different m the density rotates rigidly about the z axis, by ``(E₁ − E₂)/(m₁ − m₂)``
    radians per unit of time.

    The phase S is not a potential: it grows by 2π around the lines where ψ is zero. So the process
    has none, and the gradient field to which Action Matching converges differs from the Bohmian
    velocity, although it moves the same density.

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

        With the defaults every position is within 1e-4 Bohr radii of the exact trajectory (most
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
