"""Diffusion in a double well: rare transitions with exact rates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from scipy.integrate import cumulative_simpson
from scipy.linalg import eigvalsh_tridiagonal, solve_banded
from scipy.special import exprel, ndtr
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.learning.random import stream, subseed, uniforms
from dyninfer.simulators.base import (
    Simulator,
    check_draw,
    check_not_negative,
    check_times,
    normals,
    paths_of,
)

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths

# The grid ends where the stationary density is e^-40 of its peak, less than float64 adds to 1.
_EDGE = 40.0
# Passage times weigh the tail by the inverse of the density: they are integrated from e^-300.
_FAR = 300.0
# Cells of the grid, which set the error of the density: below 1e-4 at the default parameters.
_CELLS = 1000
# Points of the quadratures: cheap, so twenty for every cell of the grid.
_POINTS = 20_001


@dataclass(frozen=True, kw_only=True)
class DoubleWell(Simulator):
    """Motion between two wells, ``dX = −∇V dt + σ dW`` with ``V = a (x₁² − 1)² + ½ b |x_rest|²``.

    The wells are at ``x₁ = ±1`` and the barrier between them is ``a``. The start is
    ``N(m₀, s₀²)`` in x₁ and ``N(0, s₀²)`` in the other coordinates.

    The distribution of x₁ at any time solves the Fokker-Planck equation on a fine grid, with second
    order in space, a generator that keeps detailed balance, and its exponential instead of time
    steps. The other coordinates are Ornstein-Uhlenbeck processes with known distributions.

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

    Examples
    --------
    >>> import dyninfer as di
    >>> di.simulators.DoubleWell().snapshots([0, 1], 50).samples[1].shape
    (50, 2)
    """

    barrier: float = 1.0
    stiffness: float = 2.0
    sigma: float = 0.8
    initial_mean: float = -1.0
    initial_std: float = 0.2
    dimension: int = 2

    def _check(self) -> None:
        self._check_positive("barrier", "stiffness", "sigma")
        self._check_positive("initial_std", "dimension")

    def process(self) -> Diffusion:
        """Return the true process; the potential is ``−V``, whose gradient is the drift."""
        return Diffusion(
            drift=self.drift,
            diffusion=self.sigma,
            potential=self._potential,
        )

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """``−∇V``, shape ``(n, d)``."""
        first = x[:, :1]
        rest = x[:, 1:]
        from_wells = first.square() - 1
        along = -4 * self.barrier * first * from_wells
        across = -self.stiffness * rest
        return torch.cat([along, across], dim=1)

    def energy(self, first: Tensor, rest: Tensor | None = None) -> Tensor:
        """``V`` of the first coordinate ``(...)`` and, if given, of the others ``(..., d − 1)``."""
        from_wells = first.square() - 1
        energy = self.barrier * from_wells.square()
        if rest is not None:
            square = rest.square().sum(-1)
            energy = energy + self.stiffness / 2 * square
        return energy

    def stationary_log_density(self, x: Tensor) -> Tensor:
        """``log`` of the normalised stationary density ``∝ e^{−2V/σ²}``, shape ``(n,)``."""
        temperature = self.sigma**2 / 2
        energy = self._potential(0.0, x)
        exponent = energy / temperature
        # Each other coordinate is Gaussian with variance σ²/2b.
        variance = temperature / self.stiffness
        log_norm = math.log(2 * math.pi * variance) / 2
        n_others = self.dimension - 1
        log_others = n_others * log_norm
        return exponent - self._log_normaliser - log_others

    def stationary_score(self, x: Tensor) -> Tensor:
        """``∇ log`` of the stationary density, ``2 drift / σ²``, shape ``(n, d)``."""
        drift = self.drift(0.0, x)
        return 2 * drift / self.sigma**2

    def marginal_density(self, t: float) -> tuple[ndarray, ndarray]:
        """Density of x₁ at time ``t``.

        Returns
        -------
        points, density : arrays ``(m,)``
            Midpoints of the grid cells, and the mean density in each.
        """
        check_not_negative(t=t)
        grid = self._grid
        deviation = grid.edges - self.initial_mean
        standardised = deviation / self.initial_std
        probability = np.diff(ndtr(standardised))
        if t > 0:
            up = t * grid.up
            down = t * grid.down
            probability = exponential_of_generator(up, down, probability)
        # Rounding leaves a hair below zero in empty cells.
        probability = np.clip(probability, 0, None)
        widths = np.diff(grid.edges)
        density = probability / widths
        return _middles(grid.edges), density

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` samples of the distribution at ``t``, ``(n, d)`` float32.

        x₁ is drawn by inverting its distribution function, which is within 1e-4 of the exact one
        for the default parameters.
        """
        check_draw(n, seed, t)
        first = self._sample_first(t, n, seed)
        rest = self._sample_rest(t, n, seed)
        x = torch.cat([first, rest], dim=1)
        return x.float()

    def paths(self, times: Iterable[float], n: int, seed: int = 0, dt: float = 1e-3) -> Paths:
        """Simulate ``n`` individuals with steps of ``dt`` and record them at increasing times."""
        from dyninfer.simulation import simulate, solvers

        times = check_times(times)
        start_seed = subseed(seed, "start")
        start = self.sample(times[0], n, start_seed)
        solver = solvers.SRA1(dt=dt)
        motion = subseed(seed, "motion")
        process = self.process()
        runs = simulate(process, start, times, solver=solver, seed=motion)
        return paths_of(times, runs.states)

    @property
    def kramers_rate(self) -> float:
        """Rate of leaving a well at low noise, per time unit.

        ``√(V''(1) |V''(0)|) / 2π · e^{−2a/σ²}``.
        """
        in_well = 8 * self.barrier  # V''(±1)
        on_top = 4 * self.barrier  # |V''(0)|
        curvature = math.sqrt(in_well * on_top)
        attempts = curvature / (2 * math.pi)
        exponent = 2 * self.barrier / self.sigma**2
        return attempts * math.exp(-exponent)

    def mean_first_passage_time(self, start: float = -1.0, target: float = 1.0) -> float:
        """Mean first-passage time of x₁ from ``start`` to ``target``, by quadrature.

        For ``start < target`` it is
        ``2/σ² ∫_start^target e^{2V(y)/σ²} ∫_{−∞}^y e^{−2V(z)/σ²} dz dy``
        (Gardiner, Stochastic Methods, section 5.5); the other direction is its mirror image.

        Raises
        ------
        ValueError
            If the stationary density has all but vanished at ``start`` or ``target``.
        """
        farthest = self._place_of(_EDGE)
        for name, x in {"start": start, "target": target}.items():
            # Not "abs(x) > farthest", which a NaN would pass.
            if not abs(x) <= farthest:
                raise ValueError(
                    f"{name} must be between {-farthest:.3g} and {farthest:.3g}, found {x!r}"
                )
        # The potential is even.
        if start > target:
            start = -start
            target = -target
        far_left = -self._place_of(_FAR)
        y = np.linspace(far_left, target, _POINTS)
        exponent = self._exponent(y)
        density = np.exp(-exponent)
        below = cumulative_simpson(density, x=y, initial=0)
        integrand = np.exp(exponent) * below
        integral = cumulative_simpson(integrand, x=y, initial=0)
        until_start = np.interp(start, y, integral)
        from_start = integral[-1] - until_start
        return float(2 / self.sigma**2 * from_start)

    @property
    def relaxation_rate(self) -> float:
        """Slowest non-zero rate at which x₁ relaxes to its stationary distribution.

        Twice Kramers' rate at low noise.
        """
        grid = self._grid
        # The generator made symmetric by detailed balance; its zeroth rate is 0.
        rates = eigvalsh_tridiagonal(
            _leaving(grid.up, grid.down),
            -np.sqrt(grid.up * grid.down),
            select="i",
            select_range=(1, 1),
        )
        return float(rates[0])

    @cached_property
    def _grid(self) -> _Grid:
        # Eight standard deviations hold all of the start that float64 can tell from nothing.
        beyond_start = 8 * self.initial_std
        farthest_start = abs(self.initial_mean) + beyond_start
        end = max(self._place_of(_EDGE), farthest_start)
        edges = np.linspace(-end, end, _CELLS + 1)
        exponent = self._exponent(_middles(edges))
        climb = np.diff(exponent)
        width = edges[1] - edges[0]
        variance = self.sigma**2
        hop = variance / (2 * width**2)
        # Scharfetter and Gummel's rates, by a function that never overflows.
        return _Grid(
            edges=edges,
            up=hop / exprel(climb),
            down=hop / exprel(-climb),
        )

    def _sample_first(self, t: float, n: int, seed: int) -> Tensor:
        """x₁ of ``n`` individuals, ``(n, 1)``."""
        edges = self._grid.edges
        _, density = self.marginal_density(t)
        probability = density * np.diff(edges)
        cumulative = np.cumsum(probability)
        below = np.concatenate([[0.0], cumulative])
        distribution = below / below[-1]
        g = stream(seed, "first coordinate")
        u = uniforms(g, n, 1)
        levels = u.numpy()
        first = np.interp(levels, distribution, edges)
        return torch.from_numpy(first)

    def _sample_rest(self, t: float, n: int, seed: int) -> Tensor:
        """The other coordinates ``(n, d − 1)``, Ornstein-Uhlenbeck processes around zero."""
        rate = 2 * self.stiffness
        decay = math.exp(-rate * t)
        stationary = self.sigma**2 / rate
        remembered = decay * self.initial_std**2
        variance = remembered + (1 - decay) * stationary
        n_others = self.dimension - 1
        noise = normals(seed, "other coordinates", n, n_others)
        return math.sqrt(variance) * noise

    def _potential(self, t: Time, x: Tensor) -> Tensor:
        first = x[:, 0]
        rest = x[:, 1:]
        return -self.energy(first, rest)

    def _exponent(self, first: ndarray) -> ndarray:
        """``2V/σ²`` along the first coordinate."""
        x = torch.from_numpy(first)
        energy = self.energy(x).numpy()
        return 2 * energy / self.sigma**2

    def _place_of(self, exponent: float) -> float:
        """The positive x₁ outside the wells at which ``2V/σ²`` is ``exponent``."""
        energy = exponent * self.sigma**2 / 2
        root = math.sqrt(energy / self.barrier)
        square = 1 + root
        return math.sqrt(square)

    @cached_property
    def _log_normaliser(self) -> float:
        """``log ∫ e^{−2V/σ²} dx₁``."""
        end = self._place_of(_EDGE)
        x = np.linspace(-end, end, _POINTS)
        exponent = self._exponent(x)
        weight = np.exp(-exponent)
        integral = np.trapezoid(weight, x)
        return math.log(integral)


def _middles(edges: ndarray) -> ndarray:
    ends = edges[1:] + edges[:-1]
    return ends / 2


class _Grid(NamedTuple):
    """Cells along the first coordinate, and the rates of hopping between neighbours."""

    edges: ndarray  # (m + 1,)
    up: ndarray  # (m − 1,)
    down: ndarray  # (m − 1,)


def exponential_of_generator(up: ndarray, down: ndarray, start: ndarray) -> ndarray:
    """Probabilities one time unit after ``start``, for hops between neighbours.

    ``e^A = (1/2πi) ∫ e^z (z − A)^{−1} dz`` by the trapezoidal rule on Talbot's contour with 20
    nodes, right to 1e-11 (Trefethen, Weideman and Schmelzer 2006, BIT 46, 653).

    Parameters
    ----------
    up, down : arrays ``(m − 1,)``
        Rates of hopping from a cell to the next, and back.
    start : array ``(m,)``
        Probabilities at first.
    """
    nodes, weights = _talbot_contour(20)
    leaving = _leaving(up, down)
    # z − A in SciPy's form for banded matrices: above, on and below the diagonal.
    n_cells = len(start)
    bands = np.zeros((3, n_cells), dtype=complex)
    bands[0, 1:] = -down
    bands[2, :-1] = -up
    total = np.zeros(len(start))
    contour = zip(nodes, weights, strict=True)
    for node, weight in contour:
        bands[1] = node + leaving
        resolvent = solve_banded((1, 1), bands, start)
        total += (weight * resolvent).real
    return total


def _talbot_contour(n: int) -> tuple[ndarray, ndarray]:
    """Nodes and weights of half the contour; the other half is its conjugate.

    ``z(θ) = n (0.5017 θ cot 0.6407θ − 0.6122 + 0.2645 i θ)``, the best such contour (same paper).
    """
    odd = np.arange(1, n, 2)
    theta = np.pi * odd / n
    angle = 0.6407 * theta
    cotangent = 1 / np.tan(angle)
    real = 0.5017 * theta * cotangent - 0.6122
    nodes = n * (real + 0.2645j * theta)
    # d/dθ of θ cot 0.6407θ, and with it dz/dθ.
    sin_square = np.sin(angle) ** 2
    slope = cotangent - angle / sin_square
    velocity = 0.5017 * slope + 0.2645j
    exponential = np.exp(nodes)
    weights = -2j * exponential * velocity
    return nodes, weights


def _leaving(up: ndarray, down: ndarray) -> ndarray:
    """Rate of leaving each cell; no hop leads beyond the ends."""
    from_below = np.append(up, 0.0)
    from_above = np.append(0.0, down)
    return from_below + from_above
