"""What every metric is given: checked, weighted samples, at most as many as asked for, and their distances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Generator, Tensor

    Array = np.ndarray | Tensor


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
        return Sample(self.points[rows], weights / weights.sum(), self.uniform)


def check_samples(
    x: Array,
    y: Array,
    x_weights: Array | None,
    y_weights: Array | None,
    max_samples: int | None,
    seed: int,
) -> tuple[Sample, Sample]:
    """Both samples checked, capped, in float64 on the device of x, around the mean of y."""
    a, b = check_sample(x, x_weights, "x"), check_sample(y, y_weights, "y")
    if a.points.shape[1] != b.points.shape[1]:
        raise ValueError(
            f"x has {a.points.shape[1]} features and y has {b.points.shape[1]}; compare samples of the same space"
        )
    generator = seeded(seed)
    if max_samples is not None:
        check_count("max_samples", max_samples)
        a, b = _capped(a, max_samples, generator), _capped(b, max_samples, generator)
    points, weights = b.points.to(a.points.device).double(), b.weights.to(a.points.device)
    # Distances of points far from the origin would lose their digits.
    origin = weights @ points
    return a._replace(points=a.points.double() - origin), Sample(
        points - origin, weights, b.uniform
    )


def check_sample(x: Array, weights: Array | None, name: str) -> Sample:
    """A checked sample without its points of weight zero; points keep their precision."""
    import torch

    points = check_points(x, name)
    n = len(points)
    if weights is None:
        w = torch.full((n,), 1 / n, dtype=torch.float64, device=points.device)
        return Sample(points, w, True)
    w = _tensor(weights, f"{name}_weights").to(points.device).double()
    if w.shape != (n,):
        raise ValueError(
            f"{name}_weights has shape {tuple(w.shape)} and {name} has {n} samples; give one weight each"
        )
    if not bool(torch.isfinite(w).all()) or bool((w < 0).any()):
        raise ValueError(
            f"{name}_weights must be finite and non-negative; exponentiate log-weights first"
        )
    total = w.sum()
    if not 0 < float(total) < math.inf:
        raise ValueError(
            f"{name}_weights sum to {float(total):g}; at least one must be positive, and the sum finite"
        )
    keep = w > 0
    points, w = (points, w) if bool(keep.all()) else (points[keep], w[keep])
    return Sample(points, w / total, bool((w == w[0]).all()))


def check_points(x: Array, name: str) -> Tensor:
    """Points ``(n, d)`` as a tensor, where they are finite and there is at least one."""
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
            raise TypeError(
                f"{name} has dtype {x.dtype}; give a dense array or tensor of real numbers"
            )
        x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float64)
        x = torch.from_numpy(np.require(x, requirements=["C", "W"]))
    if x.is_complex():
        raise TypeError(f"{name} is complex; give real numbers")
    # MPS has no float64.
    return x.detach().cpu() if x.device.type == "mps" else x.detach()


def _capped(sample: Sample, n: int, generator: Generator) -> Sample:
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
    return Sample(points, sample.weights.new_full((n,), 1 / n), True)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """``|x_i − y_j|²`` of all pairs ``(n, m)``, never negative."""
    norms = x.square().sum(1, keepdim=True) + y.square().sum(1)
    return norms.addmm_(x, y.T, alpha=-2).clamp_(min=0)


def check_count(name: str, value: int) -> int:
    """A whole number, at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, at least 1")
    return int(value)


def seeded(seed: int) -> Generator:
    """A generator of random numbers on the CPU, so that draws are the same on every device."""
    import torch

    return torch.Generator().manual_seed(int(seed))
