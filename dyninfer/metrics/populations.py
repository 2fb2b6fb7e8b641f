"""Metrics by name, and the comparison of a population with a reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from dyninfer.data.arrays import as_list
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.warn import warn
from dyninfer.metrics.kernels import energy_distance, median_distance, mmd
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
METRICS: dict[str, Callable[..., float]] = {
    "w1": partial(wasserstein, p=1),
    "w2": partial(wasserstein, p=2),
    "sliced_w2": sliced_wasserstein,
    "mmd": mmd,
    "energy": energy_distance,
}


@own_surroundings()
def finite_sample_floor(
    y: Array,
    metric: str | Callable[..., float],
    *,
    n: int | None = None,
    repeats: int = 3,
    seed: int = 0,
    y_weights: Array | None = None,
) -> float:
    """Metric between two disjoint random parts of ``y``: what a perfect model would score.

    Parameters
    ----------
    y : array ``(m, d)``
    metric : str or callable
        A name of :data:`METRICS`, or a function called as ``metric(x, y, x_weights=...,
        y_weights=...)``.
    n : int, optional
        Samples of each part; half of ``y`` when left out.
    repeats : int
        Random splits, drawn with ``seed``, to average over.

    Raises
    ------
    UndefinedMetricError
        If ``y`` has fewer than ``2 n``, or fewer than two, samples of positive weight.
    """
    check_count("repeats", repeats)
    score = _metric(metric) if isinstance(metric, str) else metric
    if not callable(score):
        raise TypeError(f"metric must be a name or a function, found {brief(metric)}")
    sample = check_sample(y, y_weights, "y")
    available = len(sample.points)
    size = available // 2 if n is None else check_count("n", n)
    if size < 1 or 2 * size > available:
        needed = max(size, 1)
        raise UndefinedMetricError(
            f"a floor at n={brief(needed)} needs {brief(2 * needed)} samples of positive weight "
            f"and y has {available}; lower n or give more samples"
        )
    generator = stream(seed, "metrics", "floor")
    total = 0.0
    # Disjoint parts of one order: samples with replacement would share points and score too low.
    for _ in range(repeats):
        order = torch.randperm(available, generator=generator).to(sample.points.device)
        one = sample.take(order[:size])
        two = sample.take(order[size : 2 * size])
        total += score(one.points, two.points, x_weights=one.weights, y_weights=two.weights)
    return total / repeats


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
        Samples kept a side; all metrics see the same ones. None keeps all. The default keeps memory
        below 1 GB.
    floor : bool
        Add ``<name>_floor``, the :func:`finite_sample_floor` of the reference, with the kernel of
        the comparison.

    Returns
    -------
    dict
        ``<name>`` and ``<name>_floor`` for every metric, the sample sizes ``n_x`` and ``n_y``, the
        number ``n_used`` that neither side exceeded in the comparison, and with floors ``n_floor``,
        the samples of each part: less than ``n_used`` (and the floor a little high) where the
        reference is too small to be split. A value that does not exist, such as the floor of a
        single sample, is NaN, and a warning names it.
    """
    names = metric_names(metrics)
    scores: dict[str, Callable[..., float]] = {
        name: partial(_metric(name), seed=seed) for name in names
    }
    reference = check_sample(y, y_weights, "y")
    a, b = check_samples(x, y, x_weights, y_weights, max_samples, seed)
    if "mmd" in scores:
        scores["mmd"] = _with_kernel_of(b, scores["mmd"], seed)
    n_used = max(len(a.points), len(b.points))
    # A floor of fewer samples than the comparison is too high, one of more too low.
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
    absent = [name for name, value in row.items() if math.isnan(value)]
    if absent:
        warn(
            f"{', '.join(absent)} do not exist for samples of {len(a.points)} and {len(b.points)} "
            "such points, and are NaN"
        )
    row |= {"n_x": _n_rows(x), "n_y": _n_rows(y), "n_used": n_used}
    if floor:
        row["n_floor"] = n_floor
    return row


def _n_rows(x: Array) -> int:
    """Number of samples, also of a sparse matrix, which has no length."""
    shape = getattr(x, "shape", None)
    return int(shape[0]) if shape else len(x)


def _with_kernel_of(
    reference: Sample, score: Callable[..., float], seed: int
) -> Callable[..., float]:
    """The score with the kernel of the comparison, so that its floor has the same."""
    bandwidth = _or_nan(median_distance, reference.points, y_weights=reference.weights, seed=seed)
    return partial(score, bandwidth=bandwidth) if bandwidth > 0 else score


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
    names = [metrics] if isinstance(metrics, str) else as_list(metrics, "metrics", "names")
    for name in names:
        _metric(name)
    return names
