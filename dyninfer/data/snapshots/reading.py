"""`Snapshots` from an AnnData with one row per cell, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.columns import label_column, number_column, time_column
from dyninfer.data.representation import representation, warn_of_counts
from dyninfer.data.stored_rows import groups_of_rows
from dyninfer.data.time_bins import refuse_continuous
from dyninfer.data.time_reading import as_time, as_times
from dyninfer.data.times import Clock
from dyninfer.data.words import as_text, quoted

if TYPE_CHECKING:
    from anndata import AnnData

    from dyninfer.data.snapshots.snapshots import Snapshots


def fields_from_anndata(
    adata: AnnData,
    time_key: str | None,
    use_rep: str | None,
    columns: Mapping[str, str | None],
    hold_out: float | Iterable[float] | None,
) -> dict[str, Any]:
    """Fields of the `Snapshots` in an AnnData; arguments as in `Snapshots.from_anndata`.

    Keys of columns with a mass, a weight, a label and a growth of every cell are in ``columns``.
    """
    column = time_column(adata, time_key)
    array, features, rep = representation(adata, use_rep)
    clock = Clock.of(column)
    # Before anything else is read: no value of a time that is held out may matter.
    times = times_without(clock.times, hold_out, f"hold_out ({time_key})")
    if len(times) < 2:
        raise ValueError(
            f"need at least two times in adata.obs[{quoted(time_key)}], found {times.tolist()}"
        )
    refuse_continuous(column, clock.times, time_key)
    # Only these rows are read: what is held out may hold anything.
    rows = [clock.rows(column, t) for t in times]
    samples = groups_of_rows(array, rows, rep)
    warn_of_counts(adata, rep, samples[0])
    cell_names = np.asarray(adata.obs_names, dtype=object)
    names = [cell_names[row] for row in rows]
    # The representation by its name: data that are read later may have another default.
    source = {"time_key": time_key, "use_rep": rep}
    fields: dict[str, Any] = {
        "times": times,
        "samples": samples,
        "features": features,
        "names": names,
        "source": source,
    }
    _add_columns(fields, adata, columns, rows)
    return fields


def _add_columns(
    fields: dict[str, Any],
    adata: AnnData,
    columns: Mapping[str, str | None],
    rows: list[ndarray],
) -> None:
    """Add masses, weights, conditions and growth where they have a column, and its key."""
    mass_key = columns["mass_key"]
    if mass_key is not None:
        fields["masses"] = _masses(adata, mass_key, rows, fields["times"])
        fields["source"]["mass_key"] = mass_key
    weight_key = columns["weight_key"]
    if weight_key is not None:
        weights = [number_column(adata, weight_key, "weight_key", row) for row in rows]
        fields["weights"] = weights
        fields["source"]["weight_key"] = weight_key
    condition_key = columns["condition_key"]
    if condition_key is not None:
        # All times at once, so that the message counts what is missing in all of them.
        every_row = np.concatenate(rows)
        labels = label_column(adata, condition_key, "condition_key", every_row)
        sizes = [len(row) for row in rows]
        ends = np.cumsum(sizes)
        fields["conditions"] = np.split(labels, ends[:-1])
        fields["source"]["condition_key"] = condition_key
    growth_key = columns["growth_key"]
    if growth_key is not None:
        growth = [number_column(adata, growth_key, "growth_key", row) for row in rows]
        fields["growth"] = growth
        fields["source"]["growth_key"] = growth_key


def times_without(times: ndarray, left_out: float | Iterable[float] | None, name: str) -> ndarray:
    """Times that remain; a ValueError lists them where one that is to go is not among them."""
    if left_out is None:
        return times
    clock = Clock(times)
    requested = as_times(left_out, name)
    positions = [position(clock, t) for t in requested]
    return np.delete(times, positions)


def position(clock: Clock, time: float) -> int:
    """Position of a time among those of snapshots; a ValueError lists the times there are."""
    k = clock.nearest(time)
    if k is None:
        number = as_text(as_time(time))
        raise ValueError(f"no snapshot at time {number}; the times are {clock}")
    return k


def to_anndata(snapshots: Snapshots) -> AnnData:
    """One cell per row; see `Snapshots.to_anndata`."""
    from anndata import AnnData

    sizes = snapshots.sizes
    times = np.repeat(snapshots.times, sizes)
    obs = pd.DataFrame({"time": times})
    if snapshots.weights is not None:
        obs["weight"] = np.concatenate(snapshots.weights)
    if snapshots.conditions is not None:
        obs["condition"] = np.concatenate(snapshots.conditions)
    if snapshots.growth is not None:
        obs["growth"] = np.concatenate(snapshots.growth)
    if snapshots.masses is not None:
        masses = np.repeat(snapshots.masses, sizes)
        obs["mass"] = masses
    if snapshots.names is not None:
        names = np.concatenate(snapshots.names)
        row_names = names.astype(str)
        obs.index = pd.Index(row_names)
    else:
        obs.index = obs.index.astype(str)
    features = list(snapshots.features)
    samples = np.concatenate(snapshots.samples)
    var = pd.DataFrame(index=features)
    return AnnData(X=samples, obs=obs, var=var)


def _masses(adata: AnnData, key: str, rows: list[ndarray], times: ndarray) -> ndarray:
    masses = []
    for row, t in zip(rows, times, strict=True):
        values = number_column(adata, key, "mass_key", row)
        n_missing = int(np.isnan(values).sum())
        if n_missing:
            raise ValueError(
                f"mass_key {quoted(key)} is missing in {n_missing} of {len(values)} rows at time "
                f"{as_text(t)}; give one value per time"
            )
        low = values.min()
        high = values.max()
        # One value in float32 and float64 differs by rounding; masses are positive.
        if high - low > 1e-6 * high:
            raise ValueError(
                f"mass_key {quoted(key)} has several values at time {as_text(t)} ({low:g} to "
                f"{high:g}); give one per time; where conditions differ, give their sum, and "
                "their shares as weights of the cells (weight_key)"
            )
        masses.append(values[0])
    return np.array(masses)
