"""Wasserstein distances: exact, by linear programming, and sliced, along random directions."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.warn import warn
from dyninfer.metrics.samples import (
    Array,
    Pair,
    Sample,
    check_count,
    check_samples,
    distances,
    in_own_unit,
)
from dyninfer.metrics.simplex import best_plan

CHUNK = 2**20  # projected values in memory at a time: 8 MB
EMD_BYTES = 41  # of POT for each pair of points
EMD_PAIRS = 400_000_000  # the most that are tried: 16 GB


@own_surroundings()
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
        Most samples on each side, drawn by weight with ``seed``. The distance between finite
        samples depends on their number, so report the cap with the value, next to its
        :func:`finite_sample_floor`. Time grows with the power 2.5 of the number, memory with its
        square (4,500 samples: seconds, 0.8 GB).

    Raises
    ------
    ValueError
        If a sample or its weights are unusable, or the samples are too many to solve exactly.

    Notes
    -----
    The network simplex of POT [1]_; one feature is solved by sorting. The cost is checked against
    the dual bound, with a warning if they differ.

    .. [1] Flamary et al., POT: Python Optimal Transport, JMLR 22 (2021).

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> x = np.zeros((5, 2))
    >>> round(float(di.metrics.wasserstein(x, x + [3.0, 4.0])), 6)  # every point moves by 5
    5.0
    """
    check_power(p)
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    pair = in_own_unit(a, b)
    if a.points.shape[1] == 1:
        u = pair.x.points.T
        v = pair.y.points.T
        costs = _line_costs(pair.x, pair.y, u, v, p)
        cost = float(costs)
    else:
        cost = _transport_cost(pair, p)
    return pair.unit * cost ** (1 / p)


@own_surroundings()
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
        Number of directions, drawn with ``seed``; the relative error falls as ``1/√n_projections``.
    x_weights, y_weights, max_samples
        As in :func:`wasserstein`.

    Notes
    -----
    In two or more dimensions, lengths below 1e-16 of the spread of the samples are lost to rounding
    in projections.

    References
    ----------
    .. [1] Bonneel et al., Sliced and Radon Wasserstein barycenters of measures, J. Math. Imaging
       Vis. 51 (2015).

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> float(di.metrics.sliced_wasserstein(x, x))
    0.0
    """
    check_power(p)
    check_count("n_projections", n_projections)
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    a, b, unit = in_own_unit(a, b)
    if a.points.shape[1] > 1:
        # Projections of an offset that both share would round what differs.
        origin = b.points.median(dim=0).values
        a = a._replace(points=a.points - origin)
        b = b._replace(points=b.points - origin)
    # Drawn on the CPU, so that every device sees the same directions.
    generator = stream(seed, "metrics", "projections")
    shape = (n_projections, a.points.shape[1])
    n_bytes = 8 * math.prod(shape)
    check_memory(n_bytes, f"{brief(n_projections)} directions")
    theta = torch.randn(shape, generator=generator, dtype=torch.float64)
    theta = theta / theta.norm(dim=1, keepdim=True)
    theta = theta.to(a.points.device)
    total = a.points.new_zeros(())
    n_points = len(a.points) + len(b.points)
    n_rows = max(1, CHUNK // n_points)
    for part in theta.split(n_rows):
        u = part @ a.points.T
        v = part @ b.points.T
        total += _line_costs(a, b, u, v, p)
    mean = float(total / n_projections)
    return unit * mean ** (1 / p)


def _transport_cost(pair: Pair, p: int) -> float:
    """``min_π Σ π_ij |x_i − y_j|^p``, in the unit of the pair."""
    n = len(pair.x.points)
    m = len(pair.y.points)
    n_pairs = n * m
    if n_pairs > EMD_PAIRS:
        gigabytes = EMD_BYTES * n_pairs / 1e9
        raise ValueError(
            f"exact transport between {n:,} and {m:,} samples would take about "
            f"{gigabytes:.0f} GB; give max_samples (5,000, say), or use sliced_wasserstein"
        )
    distance = distances(pair.x.points, pair.y.points)
    cost = distance.pow_(p)
    costs = cost.cpu().numpy()
    plan = best_plan(costs, _weights_here(pair.x), _weights_here(pair.y))
    if not plan.is_optimal:
        lower = max(plan.lower, 0)
        most = pair.unit * plan.cost ** (1 / p)
        least = pair.unit * lower ** (1 / p)
        warn(
            "the transport problem was not solved, so the Wasserstein distance is not exact: "
            f"it is at most {most:.6g}, and at least {least:.6g}; lower max_samples",
        )
    return plan.cost


def _weights_here(sample: Sample) -> np.ndarray:
    """Weights on the CPU; equal ones are known there, and not fetched from a device."""
    weights = sample.weights
    if sample.uniform and weights.device.type != "cpu":
        n = len(weights)
        return np.full(n, 1 / n)
    return weights.cpu().numpy()


def _line_costs(a: Sample, b: Sample, u: Tensor, v: Tensor, p: int) -> Tensor:
    """Sum of ``W_p^p`` over the rows of ``u (k, n)`` and ``v (k, m)``: samples on k lines."""
    if a.uniform and b.uniform and u.shape == v.shape:
        gap = _sorted(u) - _sorted(v)
        total = gap.abs().pow(p).sum()
        return total / u.shape[1]
    u, below_u = _quantiles(u, a)
    v, below_v = _quantiles(v, b)
    k = max(len(below_u), len(below_v))
    below_u = below_u.expand(k, -1)
    below_v = below_v.expand(k, -1)
    below = torch.cat([below_u, below_v], dim=1)
    order = _order(below)
    # Between neighbouring levels (k, n + m) both quantile functions are constant.
    level = below.gather(1, order)
    start = level.new_zeros(k, 1)
    width = level.diff(dim=1, prepend=start)
    n_u = u.shape[1]
    from_u = order < n_u
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
    ordered = u.gather(1, order)
    mass = sample.weights[order].cumsum(1)
    # Rounding must not leave the last level short of one.
    total = mass[:, -1:]
    return ordered, mass / total


def _constant_pieces(values: Tensor, own: Tensor) -> Tensor:
    """Quantile functions of sorted rows ``values (k, n)`` before each merged level.

    ``own (1 or k, q)`` says which of the levels are theirs.
    """
    k, n = values.shape
    rank = own.cumsum(1) - own.long()
    rank = rank.clamp(max=n - 1)
    rank = rank.expand(k, -1)
    return values.gather(1, rank)


def _sorted(u: Tensor) -> Tensor:
    """Rows in ascending order."""
    if u.device.type != "cpu":
        return torch.sort(u, dim=1).values
    # NumPy's vectorised sort is ten times faster than torch's on a CPU.
    ordered = np.sort(u.numpy(), axis=1)
    return torch.from_numpy(ordered)


def _order(u: Tensor) -> Tensor:
    """Indices that put rows in ascending order."""
    if u.device.type != "cpu":
        return torch.argsort(u, dim=1)
    order = np.argsort(u.numpy(), axis=1)
    return torch.from_numpy(order)


def check_power(p: int) -> None:
    """Refuse a power for which no distance is computed."""
    if not isinstance(p, int | float) or p not in (1, 2):
        raise ValueError(f"p is {brief(p)}; Wasserstein distances are computed for p=1 and p=2")
