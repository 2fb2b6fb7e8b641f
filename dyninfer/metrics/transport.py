"""Wasserstein distances: exact, by linear programming, and sliced, along random directions."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from dyninfer.metrics.samples import Sample, check_count, check_samples, seeded, squared_distances

if TYPE_CHECKING:
    from torch import Tensor

    from dyninfer.metrics.samples import Array

CHUNK = 2**20  # projected values held at a time
EMD_ITERATIONS = 100_000_000
EMD_PAIRS = 400_000_000  # the most that are tried: POT takes 41 bytes a pair, 16 GB in all


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
    """Exact Wasserstein distance ``W_p = (min_π Σ π_ij |x_i − y_j|^p)^(1/p)``, by linear programming.

    Parameters
    ----------
    x, y : arrays ``(n, d)``, ``(m, d)``
    p : 1 or 2
    x_weights, y_weights : arrays ``(n,)``, ``(m,)``, optional
        Non-negative; normalised to sum to one. Uniform when left out.
    max_samples : int, optional
        Samples kept a side, drawn by weight with ``seed``. The distance of finite samples depends on their number, so
        report the cap with the value, next to its :func:`finite_sample_floor`. Time grows with the 2.5th power of it,
        memory with the square (4,500 samples: seconds, 0.8 GB).

    Raises
    ------
    ValueError
        If a sample or its weights are unusable, or the samples are too many to solve exactly.

    Notes
    -----
    The network simplex of POT [1]_; one feature is solved by sorting.

    .. [1] Flamary et al., POT: Python Optimal Transport, JMLR 22 (2021).
    """
    _check_power(p)
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    if a.points.shape[1] == 1:
        return float(_line_costs(a, b, a.points.T, b.points.T, p)) ** (1 / p)
    return _transport_cost(a, b, p) ** (1 / p)


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
    """Sliced Wasserstein distance ``(E_θ W_p^p(θ·x, θ·y))^(1/p)`` over random directions θ of the unit sphere.

    Memory is linear in the number of samples, time nearly so. Projections of samples with weights, or of different
    sizes, are compared through their quantile functions: ``W_p^p = ∫₀¹ |F⁻¹(q) − G⁻¹(q)|^p dq`` [1]_.

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
    .. [1] Bonneel et al., Sliced and Radon Wasserstein barycenters of measures, J. Math. Imaging Vis. 51 (2015).
    """
    import torch

    _check_power(p)
    check_count("n_projections", n_projections)
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    theta = torch.randn(
        n_projections, a.points.shape[1], generator=seeded(seed), dtype=torch.float64
    )  # (projections, d)
    theta = (theta / theta.norm(dim=1, keepdim=True)).to(a.points.device)
    rows = max(1, CHUNK // (len(a.points) + len(b.points)))
    costs = [
        _line_costs(a, b, part @ a.points.T, part @ b.points.T, p) for part in theta.split(rows)
    ]
    return float(sum(costs) / n_projections) ** (1 / p)


def _transport_cost(a: Sample, b: Sample, p: int) -> float:
    """``min_π Σ π_ij |x_i − y_j|^p`` by the network simplex."""
    import ot

    if len(a.points) * len(b.points) > EMD_PAIRS:
        raise ValueError(
            f"exact transport between {len(a.points):,} and {len(b.points):,} samples would take about "
            f"{41e-9 * len(a.points) * len(b.points):.0f} GB; give max_samples (5,000, say), or use sliced_wasserstein"
        )
    squared = squared_distances(a.points, b.points)
    cost = (squared if p == 2 else squared.sqrt_()).cpu().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd(
            a.weights.cpu().numpy(),
            b.weights.cpu().numpy(),
            cost,
            numItermax=EMD_ITERATIONS,
            log=True,
        )
    if log["warning"] is not None:
        warnings.warn(
            f"the transport problem was not solved ({log['warning']}), so the Wasserstein distance is not exact; "
            "lower max_samples, or rescale samples of extreme values",
            stacklevel=3,
        )
    # Distances of the pairs themselves: those of the cost matrix carry the rounding of |x|² + |y|² − 2 x·y.
    i, j = np.nonzero(plan)
    gap = np.linalg.norm(a.points.cpu().numpy()[i] - b.points.cpu().numpy()[j], axis=1)
    return float(plan[i, j] @ gap**p)


def _line_costs(a: Sample, b: Sample, u: Tensor, v: Tensor, p: int) -> Tensor:
    """Sum of ``W_p^p`` over the rows of ``u (k, n)`` and ``v (k, m)``, the samples projected onto k lines."""
    import torch

    if a.uniform and b.uniform and u.shape == v.shape:
        gap, width = _sorted(u)[0] - _sorted(v)[0], torch.full_like(u[:1], 1 / u.shape[1])
    else:
        (u, below_u), (v, below_v) = _quantiles(u, a), _quantiles(v, b)
        k = max(len(below_u), len(below_v))
        below = torch.cat([below_u.expand(k, -1), below_v.expand(k, -1)], 1)
        level, order = _sorted(
            below, ranks=True
        )  # (k, n + m): both quantile functions are constant in between
        width = level.diff(dim=1, prepend=level.new_zeros(k, 1))
        from_u = order < below_u.shape[1]
        gap = _constant_pieces(u, from_u) - _constant_pieces(v, ~from_u)
    return ((gap.abs() if p == 1 else gap.square()) * width).sum()


def _quantiles(u: Tensor, sample: Sample) -> tuple[Tensor, Tensor]:
    """Sorted rows of ``u (k, n)`` and the mass up to each value, ``(k, n)``, or ``(1, n)`` for uniform weights."""
    import torch

    n = u.shape[1]
    if sample.uniform:
        return _sorted(u)[0], torch.arange(1, n + 1, dtype=u.dtype, device=u.device)[None] / n
    values, order = _sorted(u, ranks=True)
    mass = sample.weights[order].cumsum(1)
    return values, mass / mass[:, -1:]


def _constant_pieces(values: Tensor, own: Tensor) -> Tensor:
    """Quantile functions of sorted rows ``values (k, n)`` before each merged level, ``own (1 or k, q)`` or the other's."""
    passed = own.cumsum(1) - own.long()
    return values.gather(1, passed.clamp_(max=values.shape[1] - 1).expand(len(values), -1))


def _sorted(u: Tensor, ranks: bool = False) -> tuple[Tensor, Tensor]:
    """Rows in ascending order, and with ``ranks`` their indices."""
    import torch

    if u.device.type != "cpu":
        return torch.sort(u, dim=1)
    # NumPy's vectorised sort is ten times faster than torch's on a CPU.
    if not ranks:
        return torch.from_numpy(np.sort(u.numpy(), axis=1)), u
    order = torch.from_numpy(np.argsort(u.numpy(), axis=1))
    return u.gather(1, order), order


def _check_power(p: int) -> None:
    if p not in (1, 2):
        raise ValueError(f"p is {p}; Wasserstein distances are computed for p=1 and p=2")
