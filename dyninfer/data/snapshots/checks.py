"""What `Snapshots` asks of its fields, and the form it keeps them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.data.arrays import (
    as_array,
    as_floats,
    as_list,
    by_columns,
    check_unique,
    column_names,
    default_features,
)
from dyninfer.data.conditions import as_labels
from dyninfer.data.stored_rows import StoredRows
from dyninfer.data.time_reading import as_times
from dyninfer.data.times import Clock
from dyninfer.data.words import as_text, counted, quoted, texts
from dyninfer.learning.settings import brief


def check_times(values: Any, n_samples: int) -> ndarray:
    """At least two distinct times, one for each sample."""
    times = as_times(values)
    if len(times) != n_samples:
        raise ValueError(
            f"times has {len(times)} entries but samples has {n_samples}; give one sample per time"
        )
    if len(times) < 2:
        raise ValueError(f"snapshots need at least two times, found {times.tolist()}")
    clock = Clock.of(times)
    if len(clock) < len(times):
        raise ValueError(
            f"times must differ, found {brief(times.tolist())}; join the samples of equal times "
            "into one array"
        )
    return times


def as_samples(
    samples: Sequence[Any], times: ndarray, features: Sequence[str]
) -> tuple[list[ndarray], tuple[str, ...]]:
    """Samples ``(n_k, feature)`` with the same features in the same order, and their names."""
    columns = [column_names(sample) for sample in samples]
    # Names that were given choose among the columns; else all samples must have the same.
    features = as_list(() if features is None else features, "features", "one name per feature")
    if not features:
        features = _shared_columns(columns, times)
    feature_names = texts(features)
    arrays = []
    rows = zip(samples, columns, times, strict=True)
    for sample, own, t in rows:
        name = f"the sample at time {as_text(t)}"
        if own is not None:
            sample = by_columns(sample, feature_names, name)
        arrays.append(_as_sample(sample, name))
    widths = {array.shape[1] for array in arrays}
    if len(widths) > 1:
        raise ValueError(
            f"samples differ in their number of features: {brief(sorted(widths))}; "
            "give the same features at all times"
        )
    n_features = widths.pop()
    feature_names = feature_names or default_features(n_features)
    if len(feature_names) != n_features:
        raise ValueError(
            f"features names {counted(len(feature_names), 'feature')} but the samples have "
            f"{n_features}"
        )
    check_unique(feature_names, "features")
    return arrays, feature_names


def as_masses(masses: Any, times: ndarray) -> ndarray | None:
    """One positive mass ``(time,)`` for each time."""
    if masses is None:
        return None
    masses = _numbers(masses, "masses")
    if masses.shape != times.shape:
        raise ValueError(
            f"masses has shape {masses.shape}; give one mass for each of the "
            f"{counted(len(times), 'time')}"
        )
    is_finite = np.isfinite(masses)
    is_positive = is_finite & (masses > 0)
    if not is_positive.all():
        raise ValueError(f"masses must be positive and finite, found {brief(masses.tolist())}")
    return masses


def as_weights(values: Any, samples: Sequence[ndarray], times: ndarray) -> Any:
    """Weights ``(n_k,)`` of every sample, finite, non-negative and not all zero at any time."""
    if values is None:
        return None
    weights = _columns("weights", values, samples, times, _numbers)
    for weight, t in zip(weights, times, strict=True):
        # One sum tells of NaN and infinity anywhere.
        total = weight.sum()
        if not np.isfinite(total) or (weight < 0).any() or total <= 0:
            raise ValueError(
                f"weights at time {as_text(t)} must be finite, non-negative and not all zero"
            )
    return weights


def as_growth(values: Any, samples: Sequence[ndarray], times: ndarray) -> Any:
    """Log-growth ``(n_k,)`` per unit of time that every sample is expected to have, finite."""
    if values is None:
        return None
    growth = _columns("growth", values, samples, times, _numbers)
    for rate, t in zip(growth, times, strict=True):
        if not np.isfinite(rate).all():
            raise ValueError(f"growth at time {as_text(t)} must be finite")
    return growth


def as_conditions(values: Any, samples: Sequence[ndarray], times: ndarray) -> Any:
    """Labels ``(n_k,)`` of every sample, none of them missing, of one kind at all times."""
    if values is None:
        return None
    labels = _columns("conditions", values, samples, times, as_labels)
    common = np.result_type(*labels)
    if common.kind not in "iuf":
        # Where one time has text, numbers of other times are names too.
        return [label.astype(str) for label in labels]
    return [label.astype(common) for label in labels]


def as_names(values: Any, samples: Sequence[ndarray], times: ndarray) -> Any:
    """Names ``(n_k,)`` of every sample."""
    if values is None:
        return None
    return _columns("names", values, samples, times, _as_names)


def _as_names(values: Any, name: str) -> ndarray:
    if hasattr(values, "detach"):
        # NumPy knows neither every type of number of torch nor its devices.
        return as_array(values, name)
    return np.asarray(values)


def _shared_columns(columns: list[tuple[str, ...] | None], times: ndarray) -> tuple[str, ...]:
    """Columns of the first DataFrame, which all must have; empty where no sample has names."""
    first = columns[0]
    for own, t in zip(columns, times, strict=True):
        first_time = as_text(times[0])
        own_time = as_text(t)
        both = f"the samples at time {first_time} and at time {own_time}"
        if (own is None) != (first is None):
            raise ValueError(
                f"{both} are a DataFrame and an array; the order of an array's columns is not "
                "known: give DataFrames, or features"
            )
        if own is not None and set(own) != set(first or ()):
            differing = sorted(set(own) ^ set(first or ()))
            raise ValueError(
                f"{both} have different columns: {quoted(differing[0])} is in only one of them"
            )
    return first or ()


def _as_sample(values: Any, name: str) -> ndarray:
    # Read and checked when they were stored.
    if isinstance(values, StoredRows) and len(values) > 0:
        return values  # type: ignore[return-value]
    array = as_array(values, name)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} has shape {array.shape}; it must be (samples, features)")
    if len(array) == 0:
        raise ValueError(f"{name} is empty; leave that time out")
    return as_floats(array, name)


def _numbers(values: Any, name: str) -> ndarray:
    try:
        return as_array(values, name).astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers, found {brief(values)}") from None


def _columns(
    name: str,
    values: Any,
    samples: Sequence[ndarray],
    times: ndarray,
    read: Callable[[Any, str], ndarray],
) -> list[ndarray]:
    """One entry ``(n_k,)`` for every sample of each time, as ``read(value, what)`` gives it."""
    values = _one_for_each(name, values, times)
    columns = []
    for value, sample, t in zip(values, samples, times, strict=True):
        column = read(value, f"{name} at time {as_text(t)}")
        _check_length(name, column, sample, t)
        columns.append(column)
    return columns


def _one_for_each(name: str, values: Any, times: ndarray) -> list[Any]:
    values = as_list(values, name, "one array per time")
    if len(values) != len(times):
        raise ValueError(
            f"{name} has {len(values)} entries but there are {counted(len(times), 'time')}"
        )
    return values


def _check_length(name: str, values: ndarray, sample: ndarray, time: float) -> None:
    if values.shape != (len(sample),):
        raise ValueError(
            f"{name} at time {as_text(time)} has shape {values.shape} but there are {len(sample)} "
            "samples"
        )
