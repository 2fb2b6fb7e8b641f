"""Distances between two weighted samples: Wasserstein, sliced Wasserstein, MMD and energy distance.

Every distance takes ``x (n, d)`` and a reference ``y (m, d)``, NumPy arrays or tensors, with optional weights, and gives
a float. The work is done in float64 on the device of ``x``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Generator, Tensor

    Array = np.ndarray | Tensor

TILE = 512  # rows and columns of a block of pairs
CHUNK = 2**20  # projected values held at a time
EMD_ITERATIONS = 100_000_000
EMD_PAIRS = 400_000_000  # the most that are tried: POT takes 41 bytes a pair, 16 GB in all


class UndefinedMetricError(ValueError):
    """The samples are too few, or too alike, for the metric to exist."""


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
    a, b = _samples(x, y, x_weights, y_weights, max_samples, seed)
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
    _check_count("n_projections", n_projections)
    a, b = _samples(x, y, x_weights, y_weights, max_samples, seed)
    theta = torch.randn(
        n_projections, a.points.shape[1], generator=_generator(seed), dtype=torch.float64
    )  # (projections, d)
    theta = (theta / theta.norm(dim=1, keepdim=True)).to(a.points.device)
    rows = max(1, CHUNK // (len(a.points) + len(b.points)))
    costs = [_line_costs(a, b, part @ a.points.T, part @ b.points.T, p) for part in theta.split(rows)]
    return float(sum(costs) / n_projections) ** (1 / p)


def mmd(
    x: Array,
    y: Array,
    *,
    bandwidth: float | None = None,
    gamma: float | Sequence[float] | None = None,
    unbiased: bool = True,
    x_weights: Array | None = None,
    y_weights: Array | None = None,
    max_samples: int | None = None,
    seed: int = 0,
) -> float:
    """Squared maximum mean discrepancy ``E k(x,x′) + E k(y,y′) − 2 E k(x,y)`` with a Gaussian kernel [1]_.

    The kernel is ``k(x, y) = exp(−|x−y|² / (2 bandwidth²))``, or the sum of ``exp(−gamma |x−y|²)`` over the values of
    ``gamma``. The value is the square, without a root: unbiased, it is zero on average for equal populations, and so
    may be negative. The hydrogen experiment of Action Matching reports ``abs(mmd(x, y, gamma=[1e-4] * 3))``.

    Parameters
    ----------
    x, y : arrays ``(n, d)``, ``(m, d)``
    bandwidth : float, optional
        In the units of the samples. Left out, the median distance within the reference ``y``
        (:func:`median_distance`), so that different models of one reference share a kernel.
    gamma : float or sequence of floats, optional
        Instead of ``bandwidth``: one kernel, or several to be added.
    unbiased : bool
        Leave out the pairs of a sample with itself: ``Σ_{i≠j} w_i w_j k_ij / (1 − Σ w_i²)``. The biased value keeps
        them and is never negative.
    x_weights, y_weights, max_samples, seed
        As in :func:`wasserstein`. Time is quadratic in the number of samples, memory linear.

    Raises
    ------
    UndefinedMetricError
        If a sample has one point only (unbiased), or all points of ``y`` coincide (no median distance).

    References
    ----------
    .. [1] Gretton et al., A kernel two-sample test, JMLR 13 (2012).
    """
    import torch

    a, b = _samples(x, y, x_weights, y_weights, max_samples, seed)
    gammas = _gammas(bandwidth, gamma, b, seed)

    def kernel(squared: Tensor) -> Tensor:
        *others, last = gammas
        summands = [torch.exp(-g * squared) for g in others]
        return sum(summands, squared.mul_(-last).exp_())

    def within(name: str, sample: _Sample) -> float:
        others, itself = _mean_within(kernel, sample), float(sample.weights.square().sum())
        if not unbiased:
            return others + len(gammas) * itself
        if len(sample.points) == 1:
            raise UndefinedMetricError(
                f"{name} has one point of positive weight, so the unbiased MMD is not defined; give unbiased=False"
            )
        return others / (1 - itself)

    return within("x", a) + within("y", b) - 2 * _mean_between(kernel, a, b)


def median_distance(y: Array, *, seed: int = 0) -> float:
    """Median of the positive distances between the points of ``y``, over at most 2,000 of them.

    Raises
    ------
    UndefinedMetricError
        If no two points differ.
    """
    import torch

    points = _points(y, "y")
    kept = torch.randperm(len(points), generator=_generator(seed))[:2000].to(points.device)
    distances = torch.pdist(points[kept].double())
    distances = distances[distances > 0]
    if len(distances) == 0:
        raise UndefinedMetricError(
            "all points of the reference y coincide, so there is no median distance; give a bandwidth"
        )
    return float(distances.median())


def energy_distance(
    x: Array,
    y: Array,
    *,
    x_weights: Array | None = None,
    y_weights: Array | None = None,
    max_samples: int | None = None,
    seed: int = 0,
) -> float:
    """Energy distance ``2 E|x−y| − E|x−x′| − E|y−y′|``, without a root, over all pairs [1]_.

    It is never negative, and zero for equal distributions only. Parameters as in :func:`wasserstein`; time is quadratic
    in the number of samples, memory linear.

    References
    ----------
    .. [1] Székely and Rizzo, Energy statistics, J. Stat. Plan. Inference 143 (2013).
    """
    a, b = _samples(x, y, x_weights, y_weights, max_samples, seed)
    return 2 * _mean_between(_root, a, b) - _mean_within(_root, a) - _mean_within(_root, b)


def gaussian_kl(mean0: np.ndarray, cov0: np.ndarray, mean1: np.ndarray, cov1: np.ndarray) -> float:
    """Kullback-Leibler divergence ``KL(N(mean0, cov0) ‖ N(mean1, cov1))``, in nats.

    Parameters
    ----------
    mean0, mean1 : arrays ``(d,)``
    cov0, cov1 : arrays ``(d, d)``
        Symmetric positive definite.

    Raises
    ------
    ValueError
        If the shapes disagree or a covariance is not positive definite.
    """
    mean0, cov0, mean1, cov1 = (np.asarray(v, dtype=np.float64) for v in (mean0, cov0, mean1, cov1))
    d = mean0.size
    for name, value, shape in (("cov0", cov0, (d, d)), ("mean1", mean1, (d,)), ("cov1", cov1, (d, d))):
        if value.shape != shape:
            raise ValueError(f"{name} has shape {value.shape} and mean0 has {d} features; it must be {shape}")
    root0, root1 = _cholesky(cov0, "cov0"), _cholesky(cov1, "cov1")
    # The squares of the columns of root1⁻¹ root0 sum to the trace, those of the last one to the Mahalanobis term.
    ratio = np.linalg.solve(root1, np.column_stack([root0, mean1 - mean0]))
    log_volume = np.log(np.diagonal(root1) / np.diagonal(root0)).sum()
    return float(((ratio**2).sum() - d) / 2 + log_volume)


# Every entry is called as metric(x, y, x_weights=, y_weights=, seed=).
METRICS: dict[str, Callable[..., float]] = {
    "w1": partial(wasserstein, p=1),
    "w2": partial(wasserstein, p=2),
    "sliced_w2": sliced_wasserstein,
    "mmd": mmd,
    "energy": energy_distance,
}


def finite_sample_floor(
    y: Array,
    metric: str | Callable[..., float],
    *,
    n: int | None = None,
    repeats: int = 3,
    seed: int = 0,
    y_weights: Array | None = None,
) -> float:
    """Metric between two disjoint random parts of ``y``: what a perfect model would score with ``n`` samples a side.

    Parameters
    ----------
    y : array ``(m, d)``
    metric : str or callable
        A name of :data:`METRICS`, or a function called as ``metric(x, y, x_weights=..., y_weights=...)``.
    n : int, optional
        Samples of each part; half of ``y`` when left out.
    repeats : int
        Random splits, drawn with ``seed``, to average over.

    Raises
    ------
    UndefinedMetricError
        If ``y`` has fewer than ``2 n``, or fewer than two, samples of positive weight.
    """
    import torch

    _check_count("repeats", repeats)
    score = _metric(metric) if isinstance(metric, str) else metric
    sample = _sample(y, y_weights, "y")
    size = len(sample.points) // 2 if n is None else _check_count("n", n)
    if size < 1 or 2 * size > len(sample.points):
        raise UndefinedMetricError(
            f"a floor at n={max(size, 1)} needs {2 * max(size, 1)} samples of positive weight and y has "
            f"{len(sample.points)}; lower n or give more samples"
        )
    generator, values = _generator(seed), []
    for _ in range(repeats):
        order = torch.randperm(len(sample.points), generator=generator).to(sample.points.device)
        one, two = (sample.take(part) for part in (order[:size], order[size : 2 * size]))
        values.append(score(one.points, two.points, x_weights=one.weights, y_weights=two.weights))
    return sum(values) / repeats


def compare_populations(
    x: Array,
    y: Array,
    *,
    x_weights: Array | None = None,
    y_weights: Array | None = None,
    metrics: Iterable[str] = tuple(METRICS),
    max_samples: int | None = 4500,
    floor: bool = True,
    seed: int = 0,
) -> dict[str, float]:
    """Several metrics between a sample and a reference, each with its finite-sample floor.

    Parameters
    ----------
    x, y : arrays ``(n, d)``, ``(m, d)``
    x_weights, y_weights
        As in :func:`wasserstein`.
    metrics : names of :data:`METRICS`
    max_samples : int, optional
        Samples kept a side; all metrics see the same ones. None keeps all. The default keeps memory below 1 GB.
    floor : bool
        Add ``<name>_floor``, the :func:`finite_sample_floor` of the reference, with the kernel of the comparison.

    Returns
    -------
    dict
        ``<name>`` and ``<name>_floor`` for every metric, the sample sizes ``n_x`` and ``n_y``, the number ``n_used``
        that neither side exceeded in the comparison, and with floors ``n_floor``, the samples of each part: less than
        ``n_used`` (and the floor a little high) where the reference is too small to be split. A value that does not
        exist, such as the floor of a single sample, is NaN.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    scores = {name: partial(_metric(name), seed=seed) for name in names}
    reference = _sample(y, y_weights, "y")
    a, b = _samples(x, y, x_weights, y_weights, max_samples, seed)
    if "mmd" in scores:
        scale = _or_nan(median_distance, b.points, seed=seed)
        scores["mmd"] = partial(scores["mmd"], bandwidth=scale) if scale > 0 else scores["mmd"]
    n_used = max(len(a.points), len(b.points))
    n_floor = min(n_used, len(reference.points) // 2)
    row: dict[str, float] = {}
    for name, score in scores.items():
        row[name] = _or_nan(score, a.points, b.points, x_weights=a.weights, y_weights=b.weights)
        if floor:
            row[f"{name}_floor"] = _or_nan(
                finite_sample_floor,
                reference.points,
                score,
                n=max(n_floor, 1),
                seed=seed,
                y_weights=reference.weights,
            )
    return row | {"n_x": len(x), "n_y": len(y), "n_used": n_used} | ({"n_floor": n_floor} if floor else {})


class _Sample(NamedTuple):
    """Points ``(n, d)`` with positive float64 weights ``(n,)`` that sum to one."""

    points: Tensor
    weights: Tensor
    uniform: bool

    def take(self, rows: Tensor) -> _Sample:
        weights = self.weights[rows]
        return _Sample(self.points[rows], weights / weights.sum(), self.uniform)


def _samples(
    x: Array,
    y: Array,
    x_weights: Array | None,
    y_weights: Array | None,
    max_samples: int | None,
    seed: int,
) -> tuple[_Sample, _Sample]:
    """Both samples checked, capped, in float64 on the device of x, around the mean of y."""
    a, b = _sample(x, x_weights, "x"), _sample(y, y_weights, "y")
    if a.points.shape[1] != b.points.shape[1]:
        raise ValueError(
            f"x has {a.points.shape[1]} features and y has {b.points.shape[1]}; compare samples of the same space"
        )
    generator = _generator(seed)
    if max_samples is not None:
        _check_count("max_samples", max_samples)
        a, b = _capped(a, max_samples, generator), _capped(b, max_samples, generator)
    points, weights = b.points.to(a.points.device).double(), b.weights.to(a.points.device)
    # Distances of points far from the origin would lose their digits.
    origin = weights @ points
    return a._replace(points=a.points.double() - origin), _Sample(points - origin, weights, b.uniform)


def _sample(x: Array, weights: Array | None, name: str) -> _Sample:
    """A checked sample without its points of weight zero; points keep their precision."""
    import torch

    points = _points(x, name)
    n = len(points)
    if weights is None:
        w = torch.full((n,), 1 / n, dtype=torch.float64, device=points.device)
        return _Sample(points, w, True)
    w = _tensor(weights, f"{name}_weights").to(points.device).double()
    if w.shape != (n,):
        raise ValueError(
            f"{name}_weights has shape {tuple(w.shape)} and {name} has {n} samples; give one weight each"
        )
    if not bool(torch.isfinite(w).all()) or bool((w < 0).any()):
        raise ValueError(f"{name}_weights must be finite and non-negative; exponentiate log-weights first")
    total = w.sum()
    if not 0 < float(total) < math.inf:
        raise ValueError(
            f"{name}_weights sum to {float(total):g}; at least one must be positive, and the sum finite"
        )
    keep = w > 0
    points, w = (points, w) if bool(keep.all()) else (points[keep], w[keep])
    return _Sample(points, w / total, bool((w == w[0]).all()))


def _points(x: Array, name: str) -> Tensor:
    import torch

    points = _tensor(x, name)
    if points.ndim != 2 or 0 in points.shape:
        hint = "; give x[:, None] for one feature" if points.ndim == 1 else ""
        raise ValueError(
            f"{name} has shape {tuple(points.shape)}; a sample is (n, d), n and d at least one{hint}"
        )
    bad = ~torch.isfinite(points).all(1)
    if bool(bad.any()):
        raise ValueError(
            f"{name} has values that are not finite in {int(bad.sum())} of {len(points)} rows, first in row "
            f"{int(bad.int().argmax())}; drop those rows or impute them"
        )
    return points


def _tensor(x: Any, name: str) -> Tensor:
    import torch

    if not isinstance(x, torch.Tensor):
        x = np.asarray(x)
        if x.dtype.kind not in "fiub":
            raise TypeError(f"{name} has dtype {x.dtype}; give a dense array or tensor of real numbers")
        x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)
        x = torch.from_numpy(np.require(x, requirements=["C", "W"]))
    if x.is_complex():
        raise TypeError(f"{name} is complex; give real numbers")
    # MPS has no float64.
    return x.detach().cpu() if x.device.type == "mps" else x.detach()


def _capped(sample: _Sample, n: int, generator: Generator) -> _Sample:
    """At most n points, drawn by weight: systematically, so each is within one of its expected count."""
    import torch

    size = len(sample.points)
    if size <= n:
        return sample
    order = torch.randperm(size, generator=generator)
    start = torch.rand((), generator=generator, dtype=torch.float64)
    cumulative = sample.weights.cpu()[order].cumsum(0)
    level = (torch.arange(n, dtype=torch.float64) + start) / n * cumulative[-1]
    rows = order[torch.searchsorted(cumulative, level, right=True).clamp_(max=size - 1)]
    points = sample.points[rows.to(sample.points.device)]
    return _Sample(points, sample.weights.new_full((n,), 1 / n), True)


def _transport_cost(a: _Sample, b: _Sample, p: int) -> float:
    """``min_π Σ π_ij |x_i − y_j|^p`` by the network simplex."""
    import ot

    if len(a.points) * len(b.points) > EMD_PAIRS:
        raise ValueError(
            f"exact transport between {len(a.points):,} and {len(b.points):,} samples would take about "
            f"{41e-9 * len(a.points) * len(b.points):.0f} GB; give max_samples (5,000, say), or use sliced_wasserstein"
        )
    squared = _squared_distances(a.points, b.points)
    cost = (squared if p == 2 else _root(squared)).cpu().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan, log = ot.emd(
            a.weights.cpu().numpy(), b.weights.cpu().numpy(), cost, numItermax=EMD_ITERATIONS, log=True
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


def _line_costs(a: _Sample, b: _Sample, u: Tensor, v: Tensor, p: int) -> Tensor:
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


def _quantiles(u: Tensor, sample: _Sample) -> tuple[Tensor, Tensor]:
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


def _mean_between(f: Callable[[Tensor], Tensor], a: _Sample, b: _Sample) -> float:
    """``Σ_ij a_i b_j f(|x_i − y_j|²)``, block by block."""
    total = a.weights.new_zeros(())
    for x, w in _tiles(a):
        for y, v in _tiles(b):
            total += w @ f(_squared_distances(x, y)) @ v
    return float(total)


def _mean_within(f: Callable[[Tensor], Tensor], a: _Sample) -> float:
    """``Σ_{i≠j} a_i a_j f(|x_i − x_j|²)``, from the blocks on and above the diagonal."""
    tiles, total = list(_tiles(a)), a.weights.new_zeros(())
    for k, (x, w) in enumerate(tiles):
        total += w @ f(_squared_distances(x, x)).fill_diagonal_(0) @ w
        for y, v in tiles[k + 1 :]:
            total += 2 * (w @ f(_squared_distances(x, y)) @ v)
    return float(total)


def _tiles(sample: _Sample) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(sample.points.split(TILE), sample.weights.split(TILE), strict=True)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:

    norms = x.square().sum(1, keepdim=True) + y.square().sum(1)
    return norms.addmm_(x, y.T, alpha=-2).clamp_(min=0)


def _root(squared: Tensor) -> Tensor:
    return squared.sqrt_()


def _gammas(
    bandwidth: float | None, gamma: float | Sequence[float] | None, reference: _Sample, seed: int
) -> list[float]:
    if bandwidth is not None and gamma is not None:
        raise ValueError(
            "bandwidth and gamma are both given; gamma is 1 / (2 bandwidth²), so give one of them"
        )
    if gamma is None:
        h = median_distance(reference.points, seed=seed) if bandwidth is None else bandwidth
        if not 0 < h < math.inf:
            raise ValueError(f"bandwidth is {h}; it must be positive and finite")
        return [1 / (2 * h**2)]
    gammas = [float(g) for g in np.atleast_1d(gamma)]
    if not gammas or not all(0 < g < math.inf for g in gammas):
        raise ValueError(f"gamma is {gamma}; give positive finite numbers")
    return gammas


def _cholesky(cov: np.ndarray, name: str) -> np.ndarray:
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"{name} is not positive definite; use more samples than features, or add a small diagonal"
        ) from None


def _metric(name: str) -> Callable[..., float]:
    if name not in METRICS:
        raise ValueError(f"metric {name!r} is not known; choose from {', '.join(METRICS)}")
    return METRICS[name]


def _or_nan(f: Callable[..., float], *args: Any, **kwargs: Any) -> float:
    try:
        return f(*args, **kwargs)
    except UndefinedMetricError:
        return math.nan


def _check_power(p: int) -> None:
    if p not in (1, 2):
        raise ValueError(f"p is {p}; Wasserstein distances are computed for p=1 and p=2")


def _check_count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, at least 1")
    return int(value)


def _generator(seed: int) -> Generator:
    import torch

    return torch.Generator().manual_seed(int(seed))
