"""Optimal weights of a Markov approximation, and the nodes they are best for.

Rates are in units of the inverse horizon and times in units of the horizon, so that one problem
serves all time scales.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from dyninfer.fractional.gaussian.matrices import solve
from dyninfer.fractional.noise.moments import cross, gram, power
from dyninfer.fractional.noise.motion import Kind

Weighting = Literal["multi", "single"]

# Added to the Gram matrix of unit diagonal where it is singular in float64.
RIDGE = 1e-12
# Smallest eigenvalue below which a Gram matrix counts as singular.
_SINGULAR = 1e-11
# Horizons from dt to T that share the error evenly across time scales.
_N_HORIZONS = 9
# Nodes reach beyond 100/dt only where neighbours stay within a factor of 15: what is faster
# enters the sum of the weights alone.
_FASTEST = 100.0
_RATIO = 15.0
# Hurst indices at which a grid is judged.
_N_INDICES = 5


@dataclass(frozen=True)
class WeightProblem:
    """The linear system ``A w = b`` whose solution is optimal for one Hurst index.

    Attributes
    ----------
    kind : {"I", "II"}
    weighting : {"multi", "single"}
        Average ``A/c`` and ``b/c`` over horizons from ``dt`` to 1, or take the last alone.
    dt : float
        Shortest lag that matters.
    """

    kind: Kind
    weighting: Weighting
    dt: float

    def grams(self, nodes: Tensor) -> Tensor:
        """``A`` over every horizon, ``(..., horizon, K, K)`` for nodes ``(..., K)``."""
        return gram(self._rescaled(nodes), self.kind)

    def system(self, hurst: Tensor, nodes: Tensor, grams: Tensor) -> tuple[Tensor, Tensor]:
        """``A (..., K, K)`` and ``b (..., K)``, averaged over the horizons in units of ``c``.

        ``A(τ)/c(τ) = τ^{1−2H} A(1; γτ)/c(1)``, and ``b(τ)/c(τ)`` likewise with ``τ^{½−H}``.
        """
        horizons = self._horizons(nodes)
        h = hurst.unsqueeze(-1)
        powers = power(h, self.kind)
        total = powers * len(horizons)
        share = 1 / total
        matrix_growth = horizons ** (1 - 2 * h)
        matrix_share = share * matrix_growth
        vector_growth = horizons ** (0.5 - h)
        vector_share = share * vector_growth
        rescaled = self._rescaled(nodes)
        of_nodes = h.unsqueeze(-1)
        vectors = cross(of_nodes, rescaled, self.kind)
        shared_matrices = matrix_share[..., None, None] * grams
        shared_vectors = vector_share.unsqueeze(-1) * vectors
        matrix = shared_matrices.sum(-3)
        vector = shared_vectors.sum(-2)
        return matrix, vector

    def solve(self, hurst: Tensor, nodes: Tensor, grams: Tensor, ridge: float) -> Tensor:
        """Optimal weights of the kernel's motion over the unit horizon, ``(..., K)``."""
        matrix, vector = self.system(hurst, nodes, grams)
        # The entries span many powers of ten; of unit diagonal, the system is well conditioned.
        unit, scale = _unit_diagonal(matrix)
        diagonal = torch.full_like(vector, ridge)
        regular = unit + torch.diag_embed(diagonal)
        right_side = scale * vector
        solution = solve(regular, right_side)
        return scale * solution

    def relative_error(self, hurst: Tensor, nodes: Tensor, gram: Tensor, w: Tensor) -> Tensor:
        """``∫_0^1 E (B − B̂)² dt / c = (w'Aw − 2 b'w + c) / c`` over the whole horizon."""
        h = hurst.unsqueeze(-1)
        vector = cross(h, nodes, self.kind)
        column = w.unsqueeze(-1)
        product = (gram @ column).squeeze(-1)
        slope = product - 2 * vector
        total = (w * slope).sum(-1)
        relative = total / power(hurst, self.kind)
        return 1 + relative

    def ridge(self, nodes: Tensor, grams: Tensor) -> float:
        """What the system of these nodes needs on its diagonal: nothing, unless it is singular."""
        middle = torch.tensor(0.5, dtype=torch.float64)
        matrix, _ = self.system(middle, nodes, grams)
        unit, _ = _unit_diagonal(matrix)
        eigenvalues = torch.linalg.eigvalsh(unit)
        if float(eigenvalues[0]) < _SINGULAR:
            return RIDGE
        return 0.0

    def _horizons(self, like: Tensor) -> Tensor:
        if self.weighting == "single":
            return torch.ones(1, dtype=torch.float64, device=like.device)
        return torch.logspace(
            start=math.log10(self.dt),
            end=0,
            steps=_N_HORIZONS,
            dtype=torch.float64,
            device=like.device,
        )

    def _rescaled(self, nodes: Tensor) -> Tensor:
        """Nodes in units of the inverse of every horizon, ``(..., horizon, K)``."""
        horizons = self._horizons(nodes)
        each = nodes.unsqueeze(-2)
        return each * horizons.unsqueeze(1)


def best_grid(
    problem: WeightProblem,
    n_nodes: int,
    hurst_range: tuple[float, float],
    zero_node: bool,
) -> Tensor:
    """Geometric grid of rates ``(n_nodes,)`` whose error is least for its worst index."""
    rates = _candidates(n_nodes, problem.dt)
    nodes = rates
    if zero_node:
        nodes = with_zero(rates)
    grams = problem.grams(nodes)
    whole_horizon = grams[:, -1]
    worst = rates.new_zeros(len(rates))
    for h in torch.linspace(*hurst_range, _N_INDICES, dtype=torch.float64):
        hurst = h.expand(len(rates))
        w = problem.solve(hurst, nodes, grams, RIDGE)
        error = problem.relative_error(hurst, nodes, whole_horizon, w)
        worst = torch.maximum(worst, error)
    return rates[worst.argmin()]


def with_zero(rates: Tensor) -> Tensor:
    """Rates ``(..., K)`` after a zero, ``(..., K + 1)``."""
    return pad(rates, (1, 0))


def _candidates(n_nodes: int, dt: float) -> Tensor:
    """Geometric grids ``(grid, n_nodes)`` between many slowest and fastest rates."""
    slowest = torch.logspace(-9, 0, 10, dtype=torch.float64)
    beyond = torch.logspace(0, 4, 9, dtype=torch.float64)
    low, reach = torch.meshgrid(slowest, beyond, indexing="ij")
    high = reach / dt
    widest = _RATIO ** (n_nodes - 1)
    is_dense = high / low <= widest
    is_slow = reach <= _FASTEST
    is_candidate = is_slow | is_dense
    lows = low[is_candidate].unsqueeze(-1)
    highs = high[is_candidate].unsqueeze(-1)
    log_low = lows.log()
    log_high = highs.log()
    share = torch.linspace(0, 1, n_nodes, dtype=torch.float64)
    if n_nodes == 1:
        # A single node lies in the middle.
        share = share + 0.5
    from_low = log_low * (1 - share)
    from_high = log_high * share
    log_rates = from_low + from_high
    return log_rates.exp()


def _unit_diagonal(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix scaled to unit diagonal, and the scale of its rows and columns."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    scale = diagonal.rsqrt()
    rows = scale.unsqueeze(-1)
    columns = scale.unsqueeze(-2)
    products = rows * columns
    return matrix * products, scale
