"""Metrics by name, and the comparison of a population with a reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from dyninfer.data.arrays import as_names
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.warn import warn
from dyninfer.metrics.floors import (
    KNOWN_FLOORS,
    Score,
    Sides,
    floor_by_splits,
    measured_at,
    sides_of_comparison,
)
from dyninfer.metrics.kernels import energy_distance, mmd
from dyninfer.metrics.samples import (
    Array,
    Sample,
    UndefinedMetricError,
    check_count,
    check_sample,
    check_samples,
)
from dyninfer.metrics.transport import sliced_wasserstein, wasserstein

# Every entry is called as metric(x, y, x_weights=, y_weights=, seed=).
METRICS: dict[str, Score] = {
    "w1": partial(wasserstein, p=1),
    "w2": partial(wasserstein, p=2),
    "sliced_w2": sliced_wasserstein,
    "mmd": mmd,
    "energy": energy_distance,
}
# Ten million pairs: the mean distance is good to a thousandth.
MOST_PAIRED = 4500


@own_surroundings()
def finite_sample_floor(
    y: Array,
    metric: str | Callable[..., float],
    *,
    n: int | tuple[int, int] | None = None,
    repeats: int | None = None,
    seed: int = 0,
    y_weights: Array | None = None,
) -> float:
    """Mean metric between two samples of the population of ``y``: the score of a perfect model.

    It is measured between disjoint random parts of ``y``. If these are smaller than ``n``, the
    power law between quarters and halves is extrapolated to ``n``: ``f(n/2)² / f(n/4)`` for all of
    ``y``. For the energy distance the mean is known, ``2 E|y−y′| / n``; for the unbiased MMD it is
    zero.

    Parameters
    ----------
    y : array ``(m, d)``
        Independent draws; repeated points, from sampling with replacement, lower the floor.
    metric : str or callable
        A name of :data:`METRICS`, or a function called as ``metric(x, y, x_weights=...,
        y_weights=...)``.
    n : int or pair of int, optional
        Samples on each side of the comparison, or on its two sides; by default ``m``. A side more
        than four times as large as the other counts as four times as large.
    repeats : int, optional
        Random splits to average over, drawn with ``seed``. By default 3 to 30: the smaller the
        parts, the more.

    Raises
    ------
    UndefinedMetricError
        If ``y`` has fewer than four, or fewer than ``n / 2``, samples of positive weight.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> x = np.random.default_rng(0).normal(size=(400, 2))
    >>> bool(0 < di.metrics.finite_sample_floor(x, "w1", n=100) < 0.5)
    True
    """
    if repeats is not None:
        check_count("repeats", repeats)
    score = _metric(metric) if isinstance(metric, str) else metric
    if not callable(score):
        raise TypeError(f"metric must be a name or a function, found {brief(metric)}")
    sample = check_sample(y, y_weights, "y")
    name = metric if isinstance(metric, str) else ""
    sides = _sides(n, len(sample.points))
    return _floor(name, score, sample, sides, repeats, seed)


def _sides(n: int | tuple[int, int] | None, available: int) -> Sides:
    if n is None:
        n = available
    pair = n if isinstance(n, tuple) else (n, n)
    if len(pair) != 2:
        raise ValueError(f"n is {brief(n)}; give one number, or one for each of two sides")
    n_x = check_count("n", pair[0])
    n_y = check_count("n", pair[1])
    return Sides(n_x, n_y)


def _floor(
    name: str, score: Score, sample: Sample, sides: Sides, repeats: int | None, seed: int
) -> float:
    """Floor of a metric at these sizes; the name is empty for a function of the user."""
    generator = stream(seed, "metrics", "floor")
    if name not in KNOWN_FLOORS:
        return floor_by_splits(score, sample, sides, repeats, generator)
    size = len(sample.points)
    if size > MOST_PAIRED:
        order = torch.randperm(size, generator=generator)
        rows = order[:MOST_PAIRED].to(sample.points.device)
        sample = sample.take(rows)
    return KNOWN_FLOORS[name](sample, sides)


@own_surroundings()
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
        Most samples on each side; all metrics see the same ones. None keeps all. The default keeps
        memory below 1 GB.
    floor : bool
        Add ``<name>_floor``, the :func:`finite_sample_floor` of the reference at the sizes of the
        comparison.

    Returns
    -------
    dict
        ``<name>`` and ``<name>_floor`` for every metric, the sample sizes ``n_x`` and ``n_y``, and
        ``n_used``, the cap on both sides of the comparison. With floors also ``n_floor``, the most
        samples on a side with which floors were measured; they are extrapolated from there if the
        reference is too small to split. A value that does not exist, such as the floor of fewer
        than four samples, is NaN, and a warning names it.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> x = np.zeros((5, 1))
    >>> di.metrics.compare_populations(x, x + 1.0, metrics=["w1"])["w1"]
    1.0
    """
    names = metric_names(metrics)
    scores: dict[str, Score] = {name: partial(_metric(name), seed=seed) for name in names}
    reference = check_sample(y, y_weights, "y")
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    n_x = len(a.points)
    n_y = len(b.points)
    n_used = max(n_x, n_y)
    sides = sides_of_comparison(a, b, reference)
    row: dict[str, float] = {}
    for name, score in scores.items():
        row[name] = _or_nan(score, a.points, b.points, x_weights=a.weights, y_weights=b.weights)
        if floor:
            row[f"{name}_floor"] = _or_nan(_floor, name, score, reference, sides, None, seed)
    absent = [name for name, value in row.items() if math.isnan(value)]
    if absent:
        warn(
            f"{', '.join(absent)} do not exist for samples of {len(a.points)} and {len(b.points)} "
            "such points, and are NaN"
        )
    row |= {"n_x": _n_rows(x), "n_y": _n_rows(y), "n_used": n_used}
    if floor:
        parts = measured_at(len(reference.points), sides)
        row["n_floor"] = int(max(parts))
    return row


def _n_rows(x: Array) -> int:
    """Number of samples, also of a sparse matrix, which has no length."""
    shape = getattr(x, "shape", None)
    return int(shape[0]) if shape else len(x)


def _metric(name: str) -> Callable[..., float]:
    if not isinstance(name, str) or name not in METRICS:
        raise ValueError(f"metric {brief(name)} is not known; choose from {', '.join(METRICS)}")
    return METRICS[name]


def _or_nan(f: Callable[..., float], *args: Any, **kwargs: Any) -> float:
    try:
        return f(*args, **kwargs)
    except UndefinedMetricError:
        return math.nan


def metric_names(metrics: str | Iterable[str]) -> list[str]:
    """One name, or several, as a list of names that are known."""
    names = as_names(metrics, "metrics")
    for name in names:
        _metric(name)
    return names
