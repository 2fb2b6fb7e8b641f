"""Distances from all pairs of points: maximum mean discrepancy and energy distance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.arrays import as_array
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief, check_switch
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.metrics.samples import (
    Array,
    Sample,
    UndefinedMetricError,
    check_sample,
    check_samples,
    distances,
    in_own_unit,
)

TILE = 512  # rows and columns of a block of pairs: 2 MB, which stays in the cache
GPU_TILE = 8192  # 512 MB in float64: 256 times fewer launches, each of more work
_NO_DISTANCE = (
    "all points of the reference y coincide, so there is no median distance; give a bandwidth"
)
MEDIAN_POINTS = 2000  # two million pairs: the median is good to a thousandth


@own_surroundings()
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
    """Squared maximum mean discrepancy with a Gaussian kernel [1]_.

    It is ``E k(x, x′) + E k(y, y′) − 2 E k(x, y)``.

    The kernel is ``k(x, y) = exp(−|x−y|² / (2 bandwidth²))``, or the sum of ``exp(−gamma |x−y|²)``
    over the values of ``gamma``. The value is the square, without a root: unbiased, it is zero on
    average for equal populations, and so may be negative. The hydrogen experiment of Action
    Matching reports ``abs(mmd(x, y, gamma=[1e-4] * 3))``.

    Parameters
    ----------
    x, y : arrays ``(n, d)``, ``(m, d)``
    bandwidth : float, optional
        In the units of the samples. By default the median distance within the reference ``y``
        (:func:`median_distance`), so that models with the same reference share a kernel.
    gamma : float or sequence of floats, optional
        Instead of ``bandwidth``: one kernel, or several to be added.
    unbiased : bool
        Leave out the pairs of a sample with itself: ``Σ_{i≠j} w_i w_j k_ij / (1 − Σ w_i²)``. The
        biased value keeps them and is never negative.
    x_weights, y_weights, max_samples, seed
        As in :func:`wasserstein`. Time is quadratic in the number of samples, memory linear.

    Raises
    ------
    UndefinedMetricError
        If a sample has one point only (unbiased), or all points of ``y`` coincide (no median
        distance).

    References
    ----------
    .. [1] Gretton et al., A kernel two-sample test, JMLR 13 (2012).

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(200, 1)), rng.normal(3, 1, size=(200, 1))
    >>> bool(di.metrics.mmd(x, y) > 0.1)
    True
    """
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    widths = _widths(bandwidth, gamma, b, seed)
    unbiased = check_switch(unbiased, "unbiased")
    a, b, unit = in_own_unit(a, b)

    def kernel(distance: Tensor) -> Tensor:
        total = torch.zeros_like(distance)
        for width in widths:
            scale = unit / width
            total += (distance * scale).square_().neg_().exp_()
        return total

    # Each of the kernels is one at zero.
    at_zero = len(widths)
    k_xx = _kernel_within(kernel, at_zero, a, "x", unbiased)
    k_yy = _kernel_within(kernel, at_zero, b, "y", unbiased)
    k_xy = _mean_between(kernel, a, b)
    return float(k_xx + k_yy - 2 * k_xy)


@own_surroundings()
def median_distance(y: Array, *, y_weights: Array | None = None, seed: int = 0) -> float:
    """Median of the positive distances between the points of ``y``, over at most 2,000 of them.

    With weights, a pair counts by the product of its two weights.

    Raises
    ------
    UndefinedMetricError
        If no two points differ.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> round(float(di.metrics.median_distance(np.array([[0.0], [1.0], [3.0]]))), 6)
    2.0
    """
    return _median_distance(check_sample(y, y_weights, "y"), seed)


def _median_distance(sample: Sample, seed: int) -> float:
    generator = stream(seed, "metrics", "median")
    order = torch.randperm(len(sample.points), generator=generator)
    rows = order[:MEDIAN_POINTS]
    rows = rows.to(sample.points.device)
    points = sample.points[rows]
    some = sample._replace(points=points.double())
    some, _, unit = in_own_unit(some, some)
    apart = torch.pdist(some.points)
    is_apart = apart > 0
    if sample.uniform:
        # A median of nothing is NaN, which saves a question before.
        median = float(torch.where(is_apart, apart, torch.nan).nanmedian())
        if math.isnan(median):
            raise UndefinedMetricError(_NO_DISTANCE)
        return unit * median
    if not bool(is_apart.any()):
        raise UndefinedMetricError(_NO_DISTANCE)
    # In the order of the distances: (0, 1), (0, 2), ..., (1, 2), ...
    first, second = torch.triu_indices(len(rows), len(rows), offset=1, device=apart.device)
    weights = sample.weights[rows]
    pair_weights = weights[first] * weights[second]
    values = apart[is_apart]
    own_weights = pair_weights[is_apart]
    return unit * _weighted_median(values, own_weights)


def _weighted_median(values: Tensor, weights: Tensor) -> float:
    """Least value below which, itself included, lies half of the weight."""
    ordered, order = values.sort()
    below = weights[order].cumsum(0)
    # Rounding must not skip a value that is at the half, as sums of whole numbers are.
    half = 0.5 * below[-1] * (1 - 1e-12)
    return float(ordered[torch.searchsorted(below, half)])


@own_surroundings()
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

    It is never negative, and zero only for equal distributions. Parameters as in
    :func:`wasserstein`; time is quadratic in the number of samples, memory linear.

    References
    ----------
    .. [1] Székely and Rizzo, Energy statistics, J. Stat. Plan. Inference 143 (2013).

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> x = np.zeros((5, 1))
    >>> round(float(di.metrics.energy_distance(x, x + 2.0)), 6)  # 2 E|x - y|, two points alone
    4.0
    """
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    a, b, unit = in_own_unit(a, b)
    between = _mean_between(_identity, a, b)
    within_x = _mean_within(_identity, a)
    within_y = _mean_within(_identity, b)
    energy = 2 * between - within_x - within_y
    return unit * float(energy)


def mean_distance(sample: Sample) -> float:
    """``E|y−y′|`` between different points of a sample, by weight.

    Raises
    ------
    UndefinedMetricError
        If the sample has one point only.
    """
    itself = float(sample.weights.square().sum())
    if len(sample.points) == 1:
        raise UndefinedMetricError(
            "y has one point of positive weight, so there is no distance within it"
        )
    double = sample._replace(points=sample.points.double())
    own, _, unit = in_own_unit(double, double)
    within = float(_mean_within(_identity, own))
    return unit * within / (1 - itself)


def _kernel_within(
    kernel: Callable[[Tensor], Tensor], at_zero: float, sample: Sample, name: str, unbiased: bool
) -> Tensor:
    """Mean of the kernel within a sample, with or without the pairs of a point with itself."""
    others = _mean_within(kernel, sample)
    itself = sample.weights.square().sum()
    if not unbiased:
        return others + at_zero * itself
    if len(sample.points) == 1:
        raise UndefinedMetricError(
            f"{name} has one point of positive weight, so the unbiased MMD is not defined; "
            "give unbiased=False"
        )
    return others / (1 - itself)


def _mean_between(f: Callable[[Tensor], Tensor], a: Sample, b: Sample) -> Tensor:
    """``Σ_ij a_i b_j f(|x_i − y_j|)``, block by block."""
    total = a.weights.new_zeros(())
    for x, w in _tiles(a):
        for y, v in _tiles(b):
            block = f(distances(x, y))
            total += w @ block @ v
    return total


def _mean_within(f: Callable[[Tensor], Tensor], a: Sample) -> Tensor:
    """``Σ_{i≠j} a_i a_j f(|x_i − x_j|)``, from the blocks on and above the diagonal."""
    tiles = list(_tiles(a))
    total = a.weights.new_zeros(())
    for k, (x, w) in enumerate(tiles):
        # Without the pairs of a point with itself: the kernel is one there, not zero.
        block = f(distances(x, x)).fill_diagonal_(0)
        total += w @ block @ w
        others = tiles[k + 1 :]
        for y, v in others:
            block = f(distances(x, y))
            # Once for the pairs below the diagonal.
            total += 2 * (w @ block @ v)
    return total


def _tiles(sample: Sample) -> Iterator[tuple[Tensor, Tensor]]:
    size = GPU_TILE if sample.points.is_cuda else TILE
    points = sample.points.split(size)
    weights = sample.weights.split(size)
    return zip(points, weights, strict=True)


def _identity(distance: Tensor) -> Tensor:
    return distance


def _widths(
    bandwidth: float | None, gamma: float | Sequence[float] | None, reference: Sample, seed: int
) -> list[float]:
    """Lengths ``1 / √gamma``, one for each kernel: gamma overflows before distances do."""
    if bandwidth is not None and gamma is not None:
        raise ValueError(
            "bandwidth and gamma are both given; gamma is 1 / (2 bandwidth²), so give one of them"
        )
    if bandwidth is None and gamma is None:
        bandwidth = _median_distance(reference, seed)
    if bandwidth is not None:
        lengths = _positive(bandwidth, "bandwidth")
        if len(lengths) > 1:
            raise ValueError(f"bandwidth is {brief(bandwidth)}; give one number, or several gamma")
        h = float(lengths[0])
        return [math.sqrt(2) * h]
    gammas = _positive(gamma, "gamma").tolist()
    return [1 / math.sqrt(g) for g in gammas]


def _positive(values: Any, name: str) -> np.ndarray:
    """Positive finite numbers ``(n,)``, at least one."""
    numbers = as_array(values, name).astype(np.float64)
    is_right = np.isfinite(numbers) & (numbers > 0)
    if numbers.size == 0 or not is_right.all():
        raise ValueError(f"{name} is {brief(values)}; it must be positive and finite")
    return numbers.ravel()
