"""Samples as every metric reads them: checked, weighted, capped, in units of their own size."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from dyninfer.data.arrays import as_array, dense_tensor, in_columns_of
from dyninfer.data.words import counted
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief

Array = np.ndarray | Tensor

MANY_FEATURES = 8  # from here on a product of matrices is quicker than differences
SHORT = 1e-5  # squared distance over squared norm: five of sixteen digits are lost


class UndefinedMetricError(ValueError):
    """The samples are too few, or too alike, for the metric to exist."""


class Sample(NamedTuple):
    """Points ``(n, d)`` with positive float64 weights ``(n,)`` that sum to one."""

    points: Tensor
    weights: Tensor
    uniform: bool

    def take(self, rows: Tensor) -> Sample:
        """The points of ``rows``, their weights again summing to one."""
        weights = self.weights[rows]
        share = weights / weights.sum()
        return Sample(self.points[rows], share, self.uniform)


class Pair(NamedTuple):
    """Two samples in a unit of their own, in which no difference is far above one."""

    x: Sample
    y: Sample
    unit: float  # a length here is so many of the user's


def check_samples(
    x: Array,
    y: Array,
    x_weights: Array | None,
    y_weights: Array | None,
    max_samples: int | None,
    seed: int,
) -> tuple[Sample, Sample]:
    """Both samples checked and capped, in float64 on the device of x.

    Columns of DataFrames are matched by name, in the order of those of y.
    """
    x = in_columns_of(x, y, "x", "y")
    x_points = _shaped(x, "x")
    y_points = _shaped(y, "y")
    # Both at once: on a device, each question is waited for.
    _check_finite({"x": x_points, "y": y_points})
    a = _weighted(x_points, x_weights, "x")
    b = _weighted(y_points, y_weights, "y")
    n_x = a.points.shape[1]
    n_y = b.points.shape[1]
    if n_x != n_y:
        raise ValueError(
            f"x has {counted(n_x, 'feature')} and y has {n_y}; compare samples of the same space"
        )
    if max_samples is not None:
        check_count("max_samples", max_samples)
        # One stream for both, so that a sample against itself is drawn twice.
        generator = stream(seed, "metrics", "cap")
        a = capped(a, max_samples, generator)
        b = capped(b, max_samples, generator)
    device = a.points.device
    a_points = a.points.double()
    b_points = b.points.to(device).double()
    b_weights = b.weights.to(device)
    first = a._replace(points=a_points)
    second = b._replace(points=b_points, weights=b_weights)
    return first, second


def in_own_unit(a: Sample, b: Sample) -> Pair:
    """Samples in units of their widest feature, so that no square overflows or vanishes.

    Only features that never change are moved, to zero: to move others would round short distances
    beside a group far away.
    """
    # Twice: differences may overflow in the user's unit, and leave little of the first unit.
    outer = torch.maximum(power_of_two(a.points), power_of_two(b.points))
    x = a.points / outer
    y = b.points / outer
    x_low = x.amin(0)
    y_low = y.amin(0)
    low = torch.minimum(x_low, y_low)
    x_high = x.amax(0)
    y_high = y.amax(0)
    high = torch.maximum(x_high, y_high)
    origin = torch.where(low == high, low, 0.0)
    inner = power_of_two(high - low)
    x = (x - origin) / inner
    y = (y - origin) / inner
    # The one wait for a device.
    size, unit = torch.stack([outer, outer * inner]).tolist()
    if unit == 0 or math.isinf(unit):
        raise ValueError(
            f"samples of size {size:g} differ by less than float64 holds; rescale them"
        )
    first = a._replace(points=x)
    second = b._replace(points=y)
    return Pair(first, second, unit)


def check_sample(x: Array, weights: Array | None, name: str) -> Sample:
    """A checked sample without its points of weight zero; points keep their precision."""
    return _weighted(check_points(x, name), weights, name)


def _weighted(points: Tensor, weights: Array | None, name: str) -> Sample:
    """Points with weights that are checked, without those of weight zero."""
    n = len(points)
    if weights is None:
        share = 1 / n
        equal = torch.full((n,), share, dtype=torch.float64, device=points.device)
        return Sample(points, equal, True)
    tensor = _as_tensor(weights, f"{name}_weights")
    w = tensor.to(points.device).double()
    if w.shape != (n,):
        raise ValueError(
            f"{name}_weights has shape {tuple(w.shape)} and {name} has {counted(n, 'sample')}; "
            "give one weight each"
        )
    is_usable = torch.isfinite(w) & (w >= 0)
    if not bool(is_usable.all()):
        raise ValueError(
            f"{name}_weights must be finite and non-negative; exponentiate log-weights first"
        )
    total = float(w.sum())
    if not 0 < total < math.inf:
        raise ValueError(
            f"{name}_weights sum to {total:g}; at least one must be positive, and the sum finite"
        )
    is_positive = w > 0
    points = points[is_positive]
    w = w[is_positive]
    uniform = bool((w == w[0]).all())
    return Sample(points, w / total, uniform)


def check_points(x: Array, name: str) -> Tensor:
    """Points ``(n, d)`` as a tensor, where they are finite and there is at least one."""
    points = _shaped(x, name)
    _check_finite({name: points})
    return points


def _shaped(x: Array, name: str) -> Tensor:
    """Points ``(n, d)`` as a tensor, at least one."""
    points = _as_tensor(x, name)
    if points.ndim != 2 or 0 in points.shape:
        hint = "; give x[:, None] for one feature" if points.ndim == 1 else ""
        raise ValueError(
            f"{name} has shape {tuple(points.shape)}; a sample is (n, d), n and d at least "
            f"one{hint}"
        )
    return points


def _check_finite(samples: dict[str, Tensor]) -> None:
    """Raise a ValueError that names the first of some points which are not all finite."""
    are_finite = [torch.isfinite(points).all() for points in samples.values()]
    first_flag = are_finite[0]
    flags = [flag.to(first_flag.device) for flag in are_finite]
    if all(torch.stack(flags).tolist()):
        return
    for name, points in samples.items():
        invalid = (~torch.isfinite(points).all(1)).nonzero()
        n_invalid = len(invalid)
        if n_invalid:
            first = int(invalid[0])
            raise ValueError(
                f"{name} has values that are not finite in {n_invalid} of {len(points)} rows, "
                f"first in row {first}; drop those rows or impute them"
            )


def distances(x: Tensor, y: Tensor) -> Tensor:
    """``|x_i − y_j|`` of all pairs ``(n, m)``, each to eleven digits.

    ``|x|² + |y|² − 2 x·y`` is three times as quick in many dimensions, but loses short distances
    beside long ones; where there are any, and on a GPU, the differences themselves are taken.
    """
    # Elsewhere than on a CPU, every block would wait for the answer whether any are short.
    if x.shape[1] >= MANY_FEATURES and x.device.type == "cpu":
        # An offset that both share would drown all distances. A value that is there: of a constant
        # feature, a mean would leave its rounding.
        origin = y.median(dim=0).values
        x_moved = x - origin
        y_moved = y - origin
        x_norms = x_moved.square().sum(1, keepdim=True)
        y_norms = y_moved.square().sum(1)
        norms = x_norms + y_norms
        largest = norms.max()
        squared = norms.addmm_(x_moved, y_moved.T, alpha=-2)
        if bool(squared.min() > SHORT * largest):
            return squared.sqrt_()
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def check_count(name: str, value: int) -> int:
    """A whole number, at least 1."""
    is_integer = isinstance(value, int | np.integer)
    is_whole = is_integer and not isinstance(value, bool)
    if not is_whole or value < 1:
        raise ValueError(f"{name} is {brief(value)}; it must be a whole number, at least 1")
    return int(value)


def _as_tensor(values: Any, name: str) -> Tensor:
    if not isinstance(values, Tensor):
        array = as_array(values, name)
        # Whole numbers become float64, and so does half precision: distances add up many of them.
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float64)
        # Torch takes no read-only arrays, and no negative strides.
        array = np.require(array, requirements=["C", "W"])
        values = torch.from_numpy(array)
    values = dense_tensor(values.detach(), name)
    # MPS has no float64.
    return values.cpu() if values.device.type == "mps" else values


def capped(sample: Sample, n: int, generator: Generator) -> Sample:
    """At most n points, drawn by weight: systematically, each within one of its expected count."""
    size = len(sample.points)
    if size <= n:
        return sample
    order = torch.randperm(size, generator=generator)
    start = torch.rand((), generator=generator, dtype=torch.float64)
    weights = sample.weights.cpu()
    cumulative = weights[order].cumsum(0)
    steps = torch.arange(n, dtype=torch.float64)
    share = (steps + start) / n
    level = share * cumulative[-1]
    ranks = torch.searchsorted(cumulative, level, right=True)
    # Rounding may lift the last level beyond the sum.
    ranks = ranks.clamp(max=size - 1)
    rows = order[ranks].to(sample.points.device)
    equal = sample.weights.new_full((n,), 1 / n)
    return Sample(sample.points[rows], equal, True)


def power_of_two(points: Tensor) -> Tensor:
    """Largest power of two up to the largest coordinate: to divide by it is exact."""
    largest = points.abs().max()
    mantissa = torch.frexp(largest).mantissa
    # A mantissa lies between a half and one, and 2 to the next exponent might overflow.
    power = largest / (2 * mantissa)
    return torch.where(largest == 0, 1.0, power)
