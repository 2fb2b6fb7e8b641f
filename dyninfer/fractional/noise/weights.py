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
        share = 1 / (power(h, self.kind) * len(horizons))
        matrix_share = share * horizons ** (1 - 2 * h)
        vector_share = share * horizons ** (0.5 - h)
        vectors = cross(h.unsqueeze(-1), self._rescaled(nodes), self.kind)
        matrices = matrix_share[..., None, None] * grams
        vectors = vector_share.unsqueeze(-1) * vectors
        return matrices.sum(-3), vectors.sum(-2)

    def solve(self, hurst: Tensor, nodes: Tensor, grams: Tensor, ridge: float) -> Tensor:
        """Optimal weights of the kernel's motion over the unit horizon, ``(..., K)``."""
        matrix, vector = self.system(hurst, nodes, grams)
        # The entries span many powers of ten; of unit diagonal, the system is well conditioned.
        unit, scale = _unit_diagonal(matrix)
        eye = torch.eye(unit.shape[-1], dtype=unit.dtype, device=unit.device)
        solution = torch.linalg.solve(unit + ridge * eye, scale * vector)
        return scale * solution

    def relative_error(self, hurst: Tensor, nodes: Tensor, gram: Tensor, w: Tensor) -> Tensor:
        """``∫_0^1 E (B − B̂)² dt / c = (w'Aw − 2 b'w + c) / c`` over the whole horizon."""
        vector = cross(hurst.unsqueeze(-1), nodes, self.kind)
        column = w.unsqueeze(-1)
        product = (gram @ column).squeeze(-1)
        change = w * (product - 2 * vector)
        total = change.sum(-1)
        return 1 + total / power(hurst, self.kind)

    def ridge(self, nodes: Tensor, grams: Tensor) -> float:
        """What the system of these nodes needs on its diagonal: nothing, unless it is singular."""
        middle = torch.tensor(0.5, dtype=torch.float64)
        matrix, _ = self.system(middle, nodes, grams)
        unit, _ = _unit_diagonal(matrix)
        smallest = float(torch.linalg.eigvalsh(unit)[0])
        return RIDGE if smallest < _SINGULAR else 0.0

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
        return nodes.unsqueeze(-2) * horizons[:, None]


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
    worst = torch.zeros(len(rates), dtype=torch.float64)
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
    is_candidate = (reach <= _FASTEST) | is_dense
    log_low = low[is_candidate].log()
    log_high = high[is_candidate].log()
    if n_nodes == 1:
        share = torch.full((1,), 0.5, dtype=torch.float64)
    else:
        share = torch.linspace(0, 1, n_nodes, dtype=torch.float64)
    from_low = log_low.unsqueeze(-1) * (1 - share)
    from_high = log_high.unsqueeze(-1) * share
    return torch.exp(from_low + from_high)


def _unit_diagonal(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix scaled to unit diagonal, and the scale of its rows and columns."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    scale = diagonal.rsqrt()
    products = scale.unsqueeze(-1) * scale.unsqueeze(-2)
    return matrix * products, scale
