"""The one reader: what a method is given, as `Snapshots`, `Paths` or starting cells.

A fit reads by the keys that it was given. What is asked of a fitted model is read by the keys of
the fit, and must have its features, by name wherever both sides have names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_array, by_columns, column_names, default_features, dense_rows
from dyninfer.data.columns import label_column, number_column, time_column
from dyninfer.data.paths import Paths
from dyninfer.data.provenance import Provenance
from dyninfer.data.representation import check_finite, representation
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.snapshots.reading import position
from dyninfer.data.stored_rows import groups_of_rows
from dyninfer.data.times import Clock
from dyninfer.data.words import as_text, counted, quoted
from dyninfer.learning.warn import warn

if TYPE_CHECKING:
    from anndata import AnnData

Kind = TypeVar("Kind", Snapshots, Paths)

FEW_SAMPLES = 20  # below, what is learned at a time is mostly noise


@dataclass(frozen=True)
class Start:
    """Starting cells of a simulation.

    Attributes
    ----------
    states : array or Tensor ``(n, feature)``
        A tensor where one was given, so that gradients and devices stay.
    names : array ``(n,)`` or None
        Names of the cells.
    weights : array ``(n,)`` or None
        Weights of the cells, which sum to one; None where all count alike.
    conditions : array ``(n,)`` or None
        Labels of the cells.
    """

    states: Any
    names: ndarray | None = None
    weights: ndarray | None = None
    conditions: ndarray | None = None


def is_anndata(data: Any) -> bool:
    """Whether an object is an AnnData, or behaves like one (a view, or backed by a file)."""
    return hasattr(data, "obs") and hasattr(data, "obsm")


def read_snapshots(
    data: Any,
    keys: Mapping[str, str | None],
    hold_out: Any = None,
    reader: str = "fit",
    kinds: str = "an AnnData or Snapshots",
) -> Snapshots:
    """Snapshots for a fit: without what is held out, and finite.

    Parameters
    ----------
    data : AnnData or Snapshots
    keys : mapping
        ``time_key``, ``use_rep``, ``mass_key``, ``weight_key``, ``condition_key``,
        ``growth_key``; None for those that were not given. Snapshots have no keys, so that any key
        is refused.
    hold_out : float or list of floats, optional
        Times left out before anything else is read.
    reader, kinds : str
        What messages call the function that was given the data, and the kinds of data it takes.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the data are of another kind, a key is not in them, or a value is invalid.
    """
    if isinstance(data, Snapshots):
        refuse_keys(keys, "Snapshots")
        snapshots = data.without(hold_out)
    elif is_anndata(data):
        snapshots = Snapshots.from_anndata(data, **keys, hold_out=hold_out)
    else:
        raise TypeError(f"{reader} takes {kinds}, not {type(data).__name__}")
    # Only now: a value of a time that is held out is never looked at.
    snapshots.check_finite()
    _warn_of_few(snapshots)
    return snapshots


def read_paths(
    data: Any,
    keys: Mapping[str, str | None],
    reader: str = "fit",
    reason: str = "they do not say which cell became which",
) -> Paths:
    """Paths for a fit.

    Parameters
    ----------
    data : AnnData or Paths
    keys : mapping
        ``time_key``, ``path_key``, ``state_key``, ``use_rep``, ``condition_key``; None for those
        that were not given. Paths have no keys, so that any key is refused.
    reader : str
        What messages call the function that was given the data.
    reason : str
        Why snapshots do not suffice.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the data are of another kind, a key is not in them, or a value is invalid.
    """
    if isinstance(data, Paths):
        refuse_keys(keys, "Paths")
        return data
    if isinstance(data, Snapshots):
        raise TypeError(
            f"{reader} cannot learn from snapshots: {reason}; "
            "give Paths, or an AnnData with path_key"
        )
    if not is_anndata(data):
        raise TypeError(f"{reader} takes an AnnData or Paths, not {type(data).__name__}")
    if keys.get("path_key") is None:
        raise ValueError(
            f"path_key is needed: {reader} learns from paths and not from unpaired cells, because "
            f"{reason}; name the column of obs that says which rows are one individual"
        )
    return Paths.from_anndata(data, **keys)


def reread_snapshots(data: Any, provenance: Provenance) -> Snapshots:
    """Snapshots for a fitted model, read by the keys of the fit; with the features of the fit."""
    return _reread(data, Snapshots, "time_key", provenance)


def reread_paths(data: Any, provenance: Provenance) -> Paths:
    """Paths for a fitted model, read by the keys of the fit; with the features of the fit."""
    return _reread(data, Paths, "path_key", provenance)


def _reread(data: Any, kind: type[Kind], key: str, provenance: Provenance) -> Kind:
    name = kind.__name__
    if isinstance(data, kind):
        observed = data
    elif is_anndata(data):
        own_keys = source_of(provenance, key, name)
        observed = kind.from_anndata(data, **own_keys)
    else:
        raise TypeError(f"data must be an AnnData or {name}, not {type(data).__name__}")
    check_features(observed.features, provenance)
    return observed


def read_start(start: Any, time: float, provenance: Provenance) -> Start:
    """Cells to start from at ``time``: those of an AnnData or Snapshots, or the rows of an array.

    Columns of a DataFrame are matched by name with the features of the fit.
    """
    if is_anndata(start):
        return _cells_at(start, time, provenance)
    if isinstance(start, Snapshots):
        return _samples_at(reread_snapshots(start, provenance), time)
    names = None
    if isinstance(start, pd.DataFrame):
        names = _row_names(start)
        if column_names(start) is not None:
            start = by_columns(start, provenance.features, "start")
    if not hasattr(start, "detach"):
        start = as_array(start, "start")
    if start.ndim == 2:
        n_features = start.shape[1]
        check_features(default_features(n_features), provenance)
    return Start(start, names)


def read_features(adata: AnnData, provenance: Provenance) -> ndarray:
    """Features of all cells ``(n, feature)``, finite, by the keys of the fit."""
    use_rep = provenance.source.get("use_rep")
    array, features, rep = representation(adata, use_rep)
    check_features(features, provenance)
    every_row = np.arange(adata.n_obs)
    x = groups_of_rows(array, [every_row], rep)[0]
    names = np.asarray(adata.obs_names)
    check_finite(x, rep, names)
    return x


def source_of(provenance: Provenance, key: str, other: str) -> dict[str, Any]:
    """Keys of the fit; a ValueError where it was not of an AnnData, or not by this key."""
    source = provenance.source
    if key in source:
        return dict(source)
    if source:
        raise ValueError(
            f"the model was fitted without a {key}, by which these data must be read here; use a "
            "method whose fit takes one"
        )
    raise ValueError(
        f"the model was not fitted on an AnnData, so it has no keys to read one; give {other}"
    )


def check_features(features: Sequence[str], provenance: Provenance) -> None:
    """Raise a ValueError where features are not those of the fit, in their order.

    Features without names of their own are compared by their number.
    """
    n = len(features)
    n_fitted = len(provenance.features)
    if n != n_fitted:
        raise ValueError(
            f"the model was fitted on {counted(n_fitted, 'feature')}, these data have {n}; "
            "give the same representation"
        )
    # Arrays have no names: their order is the user's word.
    unnamed = default_features(n)
    if tuple(features) == unnamed or tuple(provenance.features) == unnamed:
        return
    pairs = zip(features, provenance.features, strict=True)
    differing = [(own, fitted) for own, fitted in pairs if own != fitted]
    if differing:
        # Two show what happened, such as another order.
        words = [f"{quoted(own)} instead of {quoted(fitted)}" for own, fitted in differing[:2]]
        examples = ", ".join(words)
        raise ValueError(
            f"the features differ from those that the model was fitted on: {examples}; "
            "give the same features in the same order"
        )


def _cells_at(adata: AnnData, time: float, provenance: Provenance) -> Start:
    """Cells of an AnnData at one time; no other time need be there."""
    source = source_of(provenance, "time_key", "Snapshots")
    column = time_column(adata, source["time_key"])
    if len(column) == 0:
        raise ValueError("the AnnData has no cells to start from")
    rep_key = source.get("use_rep")
    array, features, rep = representation(adata, rep_key)
    check_features(features, provenance)
    # Cells of a single time do not show how far apart times are: the fit knows.
    distinct = np.unique(provenance.times)
    gaps = np.diff(distinct)
    spacing = float(gaps.min())
    clock = Clock.of(column, spacing=spacing)
    position(clock, time)
    rows = clock.rows(column, time)
    # Only these rows: the others may hold anything, or fill the memory.
    states = dense_rows(array, rows, rep)
    weights = conditions = None
    if "weight_key" in source:
        amounts = number_column(adata, source["weight_key"], "weight_key", rows)
        weights = _normalised(amounts, time)
    if "condition_key" in source:
        conditions = label_column(adata, source["condition_key"], "condition_key", rows)
    names = np.asarray(adata.obs_names, dtype=object)
    return Start(states, names[rows], weights, conditions)


def _samples_at(snapshots: Snapshots, time: float) -> Start:
    k = snapshots.index(time)
    columns = {}
    for name in ("names", "conditions"):
        values = getattr(snapshots, name)
        if values is not None:
            columns[name] = values[k]
    if snapshots.weights is not None:
        columns["weights"] = snapshots.weights_at(time)
    return Start(snapshots.samples[k], **columns)


def _row_names(frame: pd.DataFrame) -> ndarray | None:
    """Names of the rows; None where they are only numbered."""
    if isinstance(frame.index, pd.RangeIndex):
        return None
    return np.asarray(frame.index)


def _normalised(weights: ndarray, time: float) -> ndarray:
    # One sum tells of NaN and infinity anywhere.
    total = weights.sum()
    if not np.isfinite(total) or (weights < 0).any() or total <= 0:
        raise ValueError(
            f"weights at time {as_text(time)} must be finite, non-negative and not all zero"
        )
    return weights / total


def refuse_keys(keys: Mapping[str, str | None], kind: str) -> None:
    """Raise a ValueError naming a key that was given with data that have none."""
    used = [name for name, value in keys.items() if value is not None]
    if used:
        raise ValueError(
            f"{used[0]} names a key of an AnnData, but {kind} were given; leave it out"
        )


def _warn_of_few(snapshots: Snapshots) -> None:
    few = []
    rows = zip(snapshots.times, snapshots.sizes, strict=True)
    for t, n in rows:
        if n < FEW_SAMPLES:
            few.append(f"{as_text(t)} ({n})")
    if few:
        times = ", ".join(few)
        warn(
            f"fewer than {FEW_SAMPLES} samples at time {times}: what is learned there is uncertain",
            UserWarning,
        )
