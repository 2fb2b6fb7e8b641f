"""Diffusion in a double well: rare transitions with exact rates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.integrate import cumulative_simpson
from scipy.linalg import eigvalsh_tridiagonal, solve_banded
from scipy.special import exprel, ndtr
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.simulators.base import (
    Simulator,
    check_draw,
    check_not_negative,
    check_positive,
    check_times,
    generator,
    paths_of,
    stream,
)

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths

_EDGE = 40.0  # the grid ends where the stationary density is e^-40 of its peak
_FAR = 300.0  # passage times are integrated from where it is e^-300
_CELLS = 1000


@dataclass(frozen=True, kw_only=True)
class DoubleWell(Simulator):
    """Motion between two wells, ``dX = −∇V dt + σ dW`` with ``V = a (x₁² − 1)² + ½ b |x_rest|²``.

    The wells are at ``x₁ = ±1`` and the barrier between them is ``a``. The start is
    ``N(m₀, s₀²)`` in x₁ and ``N(0, s₀²)`` in the other coordinates.

    The law of x₁ at any time comes from the Fokker-Planck equation on a fine grid: of second order in space, with a
    generator that keeps detailed balance, and with the exponential of that generator (no time stepping). The other
    coordinates are Ornstein-Uhlenbeck processes with known laws.

    Parameters
    ----------
    barrier : float
        a, height of the barrier, in the unit of σ² (state unit squared per time unit); positive.
    stiffness : float
        b, relaxation rate of the other coordinates; positive.
    sigma : float
        Noise σ, in state units per square root of time; positive.
    initial_mean, initial_std : float
        m₀ and s₀; the standard deviation is positive.
    dimension : int
        Number of coordinates, at least 1.
    """

    barrier: float = 1.0
    stiffness: float = 2.0
    sigma: float = 0.8
    initial_mean: float = -1.0
    initial_std: float = 0.2
    dimension: int = 2

    def __post_init__(self) -> None:
        check_positive(barrier=self.barrier, stiffness=self.stiffness, sigma=self.sigma)
        check_positive(initial_std=self.initial_std, dimension=self.dimension)

    def process(self) -> Diffusion:
        """Return the true process; the potential is ``−V``, whose gradient is the drift."""
        return Diffusion(
            drift=self.drift,
            diffusion=self.sigma,
            potential=lambda t, x: -self.energy(x[:, 0], x[:, 1:]),
        )

    def drift(self, t: Tensor | float, x: Tensor) -> Tensor:
        """``−∇V``, shape ``(n, d)``."""
        first = -4 * self.barrier * x[:, :1] * (x[:, :1].square() - 1)
        return torch.cat([first, -self.stiffness * x[:, 1:]], dim=1)

    def energy(self, first: Tensor, rest: Tensor | None = None) -> Tensor:
        """``V`` of the first coordinate ``(...)`` and, if given, of the other coordinates ``(..., d − 1)``."""
        along = self.barrier * (first.square() - 1).square()
        return along if rest is None else along + 0.5 * self.stiffness * rest.square().sum(-1)

    def stationary_log_density(self, x: Tensor) -> Tensor:
        """``log`` of the normalised stationary density ``∝ e^{−2V/σ²}``, shape ``(n,)``."""
        rest_norm = 0.5 * (self.dimension - 1) * math.log(math.pi * self.sigma**2 / self.stiffness)
        return (
            -2 * self.energy(x[:, 0], x[:, 1:]) / self.sigma**2 - self._log_normaliser - rest_norm
        )

    def stationary_score(self, x: Tensor) -> Tensor:
        """``∇ log`` of the stationary density, ``2 drift / σ²``, shape ``(n, d)``."""
        return 2 * self.drift(0.0, x) / self.sigma**2

    def marginal_density(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Points ``(m,)`` of the grid and the density ``(m,)`` of x₁ there at time ``t`` (cell averages)."""
        check_not_negative(t=t)
        edges, up, down = self._grid
        start = np.diff(ndtr((edges - self.initial_mean) / self.initial_std))
        probability = exponential_of_generator(t * up, t * down, start) if t > 0 else start
        return 0.5 * (edges[1:] + edges[:-1]), np.clip(probability, 0, None) / np.diff(edges)

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` samples of the law at ``t``, ``(n, d)`` float32; x₁ by inverting its distribution function.

        The distribution function of x₁ is within 1e-4 of the exact one at the default parameters.
        """
        check_draw(t, n)
        g = generator(seed)
        edges = self._grid[0]
        _, density = self.marginal_density(t)
        below = np.concatenate([[0.0], np.cumsum(density * np.diff(edges))])
        first = np.interp(
            torch.rand(n, generator=g, dtype=torch.float64).numpy(), below / below[-1], edges
        )
        decay = math.exp(-2 * self.stiffness * t)
        variance = self.initial_std**2 * decay + self.sigma**2 / (2 * self.stiffness) * (1 - decay)
        rest = math.sqrt(variance) * torch.randn(
            n, self.dimension - 1, generator=g, dtype=torch.float64
        )
        return torch.cat([torch.from_numpy(first)[:, None], rest], dim=1).float()

    def paths(self, times: Iterable[float], n: int, seed: int = 0, dt: float = 1e-3) -> Paths:
        """Simulate ``n`` individuals with steps of ``dt`` and record them at increasing times."""
        from dyninfer.simulation import simulate

        times = check_times(times)
        start = self.sample(times[0], n, stream(seed, 0))
        runs = simulate(self.process(), start, times, dt=dt, seed=stream(seed, 1))
        return paths_of(times, runs.states)

    @property
    def kramers_rate(self) -> float:
        """Rate of leaving a well at low noise, ``√(V''(1) |V''(0)|) / 2π · e^{−2a/σ²}``, per time unit."""
        return (
            math.sqrt(32)
            * self.barrier
            / (2 * math.pi)
            * math.exp(-2 * self.barrier / self.sigma**2)
        )

    def mean_first_passage_time(self, start: float = -1.0, target: float = 1.0) -> float:
        """Mean time for x₁ to get from ``start`` to ``target`` for the first time, by quadrature.

        For ``start < target`` it is ``2/σ² ∫_start^target e^{2V(y)/σ²} ∫_{−∞}^y e^{−2V(z)/σ²} dz dy``
        (Gardiner, Stochastic Methods, section 5.5); the other direction is its mirror image.

        Raises
        ------
        ValueError
            If start or target is where the stationary density has all but vanished.
        """
        reach = self._reach(_EDGE)
        for name, x in (("start", start), ("target", target)):
            if not abs(x) <= reach:
                raise ValueError(
                    f"{name} must be between {-reach:.3g} and {reach:.3g}, found {x!r}"
                )
        if start > target:
            start, target = -start, -target
        y = np.linspace(-self._reach(_FAR), target, 20_001)
        exponent = 2 * self.energy(torch.from_numpy(y)).numpy() / self.sigma**2
        reached = cumulative_simpson(np.exp(-exponent), x=y, initial=0)
        time = cumulative_simpson(np.exp(exponent) * reached, x=y, initial=0)
        return float(2 / self.sigma**2 * (time[-1] - np.interp(start, y, time)))

    @property
    def relaxation_rate(self) -> float:
        """Smallest non-zero rate at which the law of x₁ becomes stationary (twice Kramers' rate at low noise)."""
        _, up, down = self._grid
        slow = eigvalsh_tridiagonal(
            _leaving(up, down), -np.sqrt(up * down), select="i", select_range=(1, 1)
        )
        return float(slow[0])

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges of the cells ``(m + 1,)``, and rates of hopping up and down between neighbours, each ``(m − 1,)``."""
        reach = max(self._reach(_EDGE), abs(self.initial_mean) + 8 * self.initial_std)
        edges = np.linspace(-reach, reach, _CELLS + 1)
        centre = torch.from_numpy(0.5 * (edges[1:] + edges[:-1]))
        climb = np.diff(2 * self.energy(centre).numpy() / self.sigma**2)
        hop = 0.5 * self.sigma**2 / (edges[1] - edges[0]) ** 2
        return (
            edges,
            hop / exprel(climb),
            hop / exprel(-climb),
        )  # Scharfetter-Gummel: never overflows

    def _reach(self, exponent: float) -> float:
        """The x₁ at which ``2V/σ²`` is ``exponent``."""
        return math.sqrt(1 + math.sqrt(0.5 * exponent * self.sigma**2 / self.barrier))

    @cached_property
    def _log_normaliser(self) -> float:
        x = np.linspace(-self._reach(_EDGE), self._reach(_EDGE), 20_001)
        weight = np.exp(-2 * self.energy(torch.from_numpy(x)).numpy() / self.sigma**2)
        return math.log(np.trapezoid(weight, x))


def exponential_of_generator(up: np.ndarray, down: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Probabilities ``(m,)`` one time unit after ``start`` for hops between neighbours at rates ``(m − 1,)``.

    ``e^A = (1/2πi) ∫ e^z (z − A)^{−1} dz`` by the trapezoidal rule on Talbot's contour with 20 nodes, right to 1e-11
    (Trefethen, Weideman and Schmelzer 2006, BIT 46, 653).
    """
    n, m = 20, len(start)
    theta = np.pi * np.arange(1, n, 2) / n  # the upper half; the lower one is its conjugate
    angle = 0.6407 * theta
    z = n * (0.5017 * theta / np.tan(angle) - 0.6122 + 0.2645j * theta)
    slope = n * (0.5017 / np.tan(angle) - 0.5017 * angle / np.sin(angle) ** 2 + 0.2645j)
    bands = np.zeros((3, m), dtype=complex)
    bands[0, 1:], bands[2, :-1] = -down, -up
    total = np.zeros(m)
    for node, weight in zip(z, -2j / n * np.exp(z) * slope, strict=True):
        bands[1] = node + _leaving(up, down)
        total += (weight * solve_banded((1, 1), bands, start)).real
    return total


def _leaving(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    return np.append(up, 0.0) + np.append(0.0, down)
