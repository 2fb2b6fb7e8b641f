"""Wasserstein distances: exact, by linear programming, and sliced, along random directions."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dyninfer.learning.random import stream
from dyninfer.metrics.samples import (
    Array,
    Pair,
    Sample,
    check_count,
    check_samples,
    distances,
    in_own_unit,
)

CHUNK = 2**20  # projected values in memory at a time: 8 MB
EMD_ITERATIONS = 100_000_000  # minutes; the largest problems that fit need fewer
EMD_BYTES = 41  # of POT for each pair of points
EMD_PAIRS = 400_000_000  # the most that are tried: 16 GB
# Costs that are this many times those of the plan leave it twelve digits. Beyond, they are cut off
# at a few times the dearest pair of the plan, and the plan is made again.
FAR = 1e4
CUT = 4.0
CUTS = 20
# A share of the smaller end of a pair, below which its flow is the rounding of the weights.
ROUNDING = 1e-11
# Largest share of the cost by which a plan may miss the best before it is announced.
GAP = 1e-6


class Plan(NamedTuple):
    """Pairs that exchange mass: rows of x and y, and the mass ``(pair,)``, which sums to one."""

    rows: np.ndarray
    columns: np.ndarray
    mass: np.ndarray
    lower: float  # bound on the cost of any plan, from the dual problem


def wasserstein(
    x: Array,
    y: Array,
    *,
    p: int = 1,
    x_weights: Array | None = None,
    y_weights: Array | None = None,
    max_samples: int | None = None,
    seed: int = 0,
) -> float:
    """Exact Wasserstein distance, by linear programming.

    It is ``W_p = (min_π Σ π_ij |x_i − y_j|^p)^(1/p)``.

    Parameters
    ----------
    x, y : arrays ``(n, d)``, ``(m, d)``
    p : 1 or 2
    x_weights, y_weights : arrays ``(n,)``, ``(m,)``, optional
        Non-negative; normalised to sum to one. Uniform when left out.
    max_samples : int, optional
        Samples used a side, drawn by weight with ``seed``. The distance of finite samples depends
        on their number, so report the cap with the value, next to its
        :func:`finite_sample_floor`. Time grows with the 2.5th power of it, memory with the square
        (4,500 samples: seconds, 0.8 GB).

    Raises
    ------
    ValueError
        If a sample or its weights are unusable, or the samples are too many to solve exactly.

    Notes
    -----
    The network simplex of POT [1]_; one feature is solved by sorting. The cost is compared with
    the dual bound, and a warning tells where they differ.

    .. [1] Flamary et al., POT: Python Optimal Transport, JMLR 22 (2021).
    """
    _check_power(p)
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    pair = in_own_unit(a, b)
    if a.points.shape[1] == 1:
        u, v = pair.x.points.T, pair.y.points.T
        cost = float(_line_costs(pair.x, pair.y, u, v, p))
    else:
        cost = _transport_cost(pair, p)
    return pair.unit * cost ** (1 / p)


def sliced_wasserstein(
    x: Array,
    y: Array,
    *,
    p: int = 2,
    n_projections: int = 200,
    x_weights: Array | None = None,
    y_weights: Array | None = None,
    max_samples: int | None = None,
    seed: int = 0,
) -> float:
    """Sliced Wasserstein distance ``(E_θ W_p^p(θ·x, θ·y))^(1/p)`` over random directions θ.

    Memory is linear in the number of samples, time nearly so. Projections of samples with weights,
    or of different sizes, are compared through their quantile functions:
    ``W_p^p = ∫₀¹ |F⁻¹(q) − G⁻¹(q)|^p dq`` [1]_.

    Parameters
    ----------
    x, y : arrays ``(n, d)``, ``(m, d)``
    p : 1 or 2
    n_projections : int
        Directions, drawn with ``seed``; the relative error falls as ``1/√n_projections``.
    x_weights, y_weights, max_samples
        As in :func:`wasserstein`.

    References
    ----------
    .. [1] Bonneel et al., Sliced and Radon Wasserstein barycenters of measures, J. Math. Imaging
       Vis. 51 (2015).
    """
    _check_power(p)
    check_count("n_projections", n_projections)
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    a, b, unit = in_own_unit(a, b)
    # Drawn on the CPU, so that every device sees the same directions.
    generator = stream(seed, "metrics", "projections")
    shape = (n_projections, a.points.shape[1])
    theta = torch.randn(shape, generator=generator, dtype=torch.float64)
    theta = theta / theta.norm(dim=1, keepdim=True)
    theta = theta.to(a.points.device)
    total = a.points.new_zeros(())
    n_rows = max(1, CHUNK // (len(a.points) + len(b.points)))
    for part in theta.split(n_rows):
        u = part @ a.points.T
        v = part @ b.points.T
        total += _line_costs(a, b, u, v, p)
    return unit * float(total / n_projections) ** (1 / p)


def _transport_cost(pair: Pair, p: int) -> float:
    """``min_π Σ π_ij |x_i − y_j|^p``, in the unit of the pair."""
    n, m = len(pair.x.points), len(pair.y.points)
    n_pairs = n * m
    if n_pairs > EMD_PAIRS:
        gigabytes = EMD_BYTES * n_pairs / 1e9
        raise ValueError(
            f"exact transport between {n:,} and {m:,} samples would take about "
            f"{gigabytes:.0f} GB; give max_samples (5,000, say), or use sliced_wasserstein"
        )
    cost = distances(pair.x.points, pair.y.points).pow_(p).cpu().numpy()
    plan = _best_plan(cost, pair)
    value = float(plan.mass @ cost[plan.rows, plan.columns])
    rounding = np.finfo(np.float64).eps * cost.max()
    if value - plan.lower > GAP * value + rounding:
        most = pair.unit * value ** (1 / p)
        least = pair.unit * max(plan.lower, 0) ** (1 / p)
        warnings.warn(
            "the transport problem was not solved, so the Wasserstein distance is not exact: "
            f"it is at most {most:.6g}, and at least {least:.6g}; lower max_samples",
            stacklevel=3,
        )
    return value


def _best_plan(cost: np.ndarray, pair: Pair) -> Plan:
    """Plan of least cost.

    Costs that no good plan uses, such as those between groups far apart, would drown the others in
    their rounding. They are cut off at a few times the dearest pair of the plan so far. A plan that
    then uses none of them is the best of the whole problem: to cut off only lowers costs.
    """
    plan = _simplex(cost, pair)
    dearest = float(cost.max())
    for _ in range(CUTS):
        used = _dearest_pair(cost, plan)
        if used == 0 or dearest <= FAR * used:
            return plan
        cut = CUT * used
        better = _simplex(np.minimum(cost, cut), pair)
        if _dearest_pair(cost, better) >= cut:
            # It counts on a price that is not true; the bound tells whether the plan is good.
            return plan
        plan = better
        dearest = cut
    return plan


def _dearest_pair(cost: np.ndarray, plan: Plan) -> float:
    return float(cost[plan.rows, plan.columns].max())


def _simplex(cost: np.ndarray, pair: Pair) -> Plan:
    """Solve by the network simplex of POT, costs around one and weights whole where they can be."""
    import ot

    unit = cost.max() or 1.0
    a, b = _whole_weights(pair)
    with warnings.catch_warnings():
        # What it warns of is found out by the dual bound.
        warnings.simplefilter("ignore")
        plan, log = ot.emd(a, b, cost / unit, numItermax=EMD_ITERATIONS, log=True)
    rows, columns = np.nonzero(plan)
    mass = plan[rows, columns]
    smaller_end = np.minimum(a[rows], b[columns])
    is_flow = mass > ROUNDING * smaller_end
    total = a.sum()
    potentials = (unit * log["u"], unit * log["v"])
    lower = _dual_bound(cost, a / total, b / total, *potentials)
    return Plan(rows[is_flow], columns[is_flow], mass[is_flow] / total, lower)


def _whole_weights(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Weights of both sides with one sum; of uniform samples whole numbers, which never round."""
    n, m = len(pair.x.points), len(pair.y.points)
    if pair.x.uniform and pair.y.uniform:
        common = math.gcd(n, m)
        a = np.full(n, m / common)
        b = np.full(m, n / common)
        return a, b
    return pair.x.weights.cpu().numpy(), pair.y.weights.cpu().numpy()


def _dual_bound(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, u: np.ndarray, v: np.ndarray
) -> float:
    """Lower bound ``a·u + b·v`` on the cost, with v lowered until ``u_i + v_j ≤ c_ij``."""
    feasible_v = v.copy()
    # Row by row: the whole difference would be another matrix of the costs' size.
    for costs, potential in zip(cost, u, strict=True):
        np.minimum(feasible_v, costs - potential, out=feasible_v)
    return float(a @ u + b @ feasible_v)


def _line_costs(a: Sample, b: Sample, u: Tensor, v: Tensor, p: int) -> Tensor:
    """Sum of ``W_p^p`` over the rows of ``u (k, n)`` and ``v (k, m)``: samples on k lines."""
    if a.uniform and b.uniform and u.shape == v.shape:
        gap = _sorted(u) - _sorted(v)
        return gap.abs().pow(p).sum() / u.shape[1]
    u, below_u = _quantiles(u, a)
    v, below_v = _quantiles(v, b)
    k = max(len(below_u), len(below_v))
    below_u = below_u.expand(k, -1)
    below_v = below_v.expand(k, -1)
    below = torch.cat([below_u, below_v], dim=1)
    order = _order(below)
    # Between neighbouring levels (k, n + m) both quantile functions are constant.
    level = below.gather(1, order)
    width = level.diff(dim=1, prepend=level.new_zeros(k, 1))
    from_u = order < below_u.shape[1]
    pieces_u = _constant_pieces(u, from_u)
    pieces_v = _constant_pieces(v, ~from_u)
    gap = (pieces_u - pieces_v).abs()
    return (gap.pow(p) * width).sum()


def _quantiles(u: Tensor, sample: Sample) -> tuple[Tensor, Tensor]:
    """Sorted rows of ``u (k, n)`` and the mass up to each value ``(k, n)``.

    The mass is ``(1, n)`` for uniform weights.
    """
    n = u.shape[1]
    if sample.uniform:
        rank = torch.arange(1, n + 1, dtype=u.dtype, device=u.device)
        mass = rank[None] / n
        return _sorted(u), mass
    order = _order(u)
    mass = sample.weights[order].cumsum(1)
    # Rounding must not leave the last level short of one.
    mass = mass / mass[:, -1:]
    return u.gather(1, order), mass


def _constant_pieces(values: Tensor, own: Tensor) -> Tensor:
    """Quantile functions of sorted rows ``values (k, n)`` before each merged level.

    ``own (1 or k, q)`` says which of the levels are theirs.
    """
    rank = own.cumsum(1) - own.long()
    rank = rank.clamp(max=values.shape[1] - 1)
    return values.gather(1, rank.expand(len(values), -1))


def _sorted(u: Tensor) -> Tensor:
    """Rows in ascending order."""
    if u.device.type != "cpu":
        return torch.sort(u, dim=1).values
    # NumPy's vectorised sort is ten times faster than torch's on a CPU.
    return torch.from_numpy(np.sort(u.numpy(), axis=1))


def _order(u: Tensor) -> Tensor:
    """Indices that put rows in ascending order."""
    if u.device.type != "cpu":
        return torch.argsort(u, dim=1)
    return torch.from_numpy(np.argsort(u.numpy(), axis=1))


def _check_power(p: int) -> None:
    if p not in (1, 2):
        raise ValueError(f"p is {p}; Wasserstein distances are computed for p=1 and p=2")
