"""The one reader: what a method is given, as `Snapshots`, `Paths` or starting cells.

A fit reads by the keys that it was given. What is asked of a fitted model is read by the keys of
the fit, and must have its features, by name wherever both sides have names.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from dyninfer.data.arrays import as_array, by_columns, column_names, default_features, dense_rows
from dyninfer.data.columns import label_column, number_column, time_column
from dyninfer.data.paths import Paths
from dyninfer.data.representation import check_finite, representation
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.snapshots.reading import position
from dyninfer.data.times import Clock

if TYPE_CHECKING:
    from anndata import AnnData

FEW_SAMPLES = 20  # below, what is learned at a time is mostly noise


class Known(Protocol):
    """What a fitted model knows about its data: a :class:`~dyninfer.data.provenance.Provenance`."""

    @property
    def source(self) -> Mapping[str, Any]:
        """Keys by which an AnnData was read; empty for other data."""

    @property
    def features(self) -> Sequence[str]:
        """Names of the features, in their order."""

    @property
    def times(self) -> Sequence[float]:
        """Times of the data."""


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
    names: np.ndarray | None = None
    weights: np.ndarray | None = None
    conditions: np.ndarray | None = None


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
        ``time_key``, ``use_rep``, ``mass_key``, ``weight_key``, ``condition_key``; None for those
        that were not given. Snapshots have no keys, so that any key is refused.
    hold_out : float or list of floats, optional
        Times left out before anything else is read.
    reader, kinds : str
        What messages call the function that was given the data, and the kinds of data it takes.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the data are of another kind, a key is not in them, or a value is not as it must be.
    """
    if isinstance(data, Snapshots):
        _refuse_keys(keys, "Snapshots")
        snapshots = data.without(hold_out)
    elif is_anndata(data):
        snapshots = Snapshots.from_anndata(data, **keys, hold_out=hold_out)
    else:
        raise TypeError(f"{reader} takes {kinds}, not {type(data).__name__}")
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
        If the data are of another kind, a key is not in them, or a value is not as it must be.
    """
    if isinstance(data, Paths):
        _refuse_keys(keys, "Paths")
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
            f"path_key is needed: {reader} learns from paths and not from unpaired cells, for "
            f"{reason}; name the column of obs that says which rows are one individual"
        )
    return Paths.from_anndata(data, **keys)


def reread_snapshots(data: Any, known: Known) -> Snapshots:
    """Snapshots for a fitted model, read by the keys of the fit; with the features of the fit."""
    if isinstance(data, Snapshots):
        snapshots = data
    elif is_anndata(data):
        snapshots = Snapshots.from_anndata(data, **source_of(known, "time_key", "Snapshots"))
    else:
        raise TypeError(f"data must be an AnnData or Snapshots, not {type(data).__name__}")
    check_features(snapshots.features, known)
    return snapshots


def reread_paths(data: Any, known: Known) -> Paths:
    """Paths for a fitted model, read by the keys of the fit; with the features of the fit."""
    if isinstance(data, Paths):
        paths = data
    elif is_anndata(data):
        paths = Paths.from_anndata(data, **source_of(known, "path_key", "Paths"))
    else:
        raise TypeError(f"data must be an AnnData or Paths, not {type(data).__name__}")
    check_features(paths.features, known)
    return paths


def read_start(start: Any, time: float, known: Known) -> Start:
    """Cells to start from at ``time``: those of an AnnData or Snapshots, or the rows of an array.

    Columns of a DataFrame are matched by name with the features of the fit.
    """
    if is_anndata(start):
        return _cells_at(start, time, known)
    if isinstance(start, Snapshots):
        return _samples_at(reread_snapshots(start, known), time)
    if isinstance(start, pd.DataFrame):
        columns = column_names(start)
        frame = start if columns is None else by_columns(start, known.features, "start")
        names = None if isinstance(start.index, pd.RangeIndex) else np.asarray(start.index)
        start, names = as_array(frame, "start"), names
    else:
        names = None
    if not hasattr(start, "detach"):
        start = as_array(start, "start")
    if start.ndim == 2:
        check_features(default_features(start.shape[1]), known)
    return Start(start, names)


def read_features(adata: AnnData, known: Known) -> np.ndarray:
    """Features of all cells ``(n, feature)``, finite, by the keys of the fit."""
    array, features, rep = representation(adata, known.source.get("use_rep"))
    check_features(features, known)
    x = dense_rows(array, np.arange(adata.n_obs), rep)
    check_finite(x, rep, np.asarray(adata.obs_names))
    return x


def source_of(known: Known, key: str, other: str) -> dict[str, Any]:
    """Keys of the fit; a ValueError where it was not of an AnnData, and has none."""
    if key not in known.source:
        raise ValueError(
            f"the model was not fitted on an AnnData, so it has no keys to read one; give {other}"
        )
    return dict(known.source)


def check_features(features: Sequence[str], known: Known) -> None:
    """Raise a ValueError where features are not those of the fit, in their order.

    Features without names of their own are compared by their number.
    """
    n, n_fitted = len(features), len(known.features)
    if n != n_fitted:
        raise ValueError(
            f"the model was fitted on {n_fitted} features, these data have {n}; "
            "give the same representation"
        )
    unnamed = default_features(n)
    if tuple(features) == unnamed or tuple(known.features) == unnamed:
        return
    pairs = zip(features, known.features, strict=True)
    differing = [f"{own!r} in place of {fitted!r}" for own, fitted in pairs if own != fitted]
    if differing:
        raise ValueError(
            "these data have other features than the model was fitted on: "
            f"{', '.join(differing[:3])}; give them in the same order"
        )


def warn_if_far(times: np.ndarray, dtype: np.dtype) -> None:
    """Warn where times lie so far from zero that single precision hardly tells them apart."""
    gap = float(np.diff(times).min())
    far = float(np.abs(times).max())
    # Six bits are left of a gap: velocities are good to a hundredth.
    if dtype == np.float32 and gap < 64 * np.finfo(np.float32).eps * far:
        warnings.warn(
            f"times up to {far:g} with gaps of {gap:g} are hardly told apart in single precision, "
            "which blurs velocities; count time from the first observation (subtract it)",
            UserWarning,
            stacklevel=5,
        )


def _cells_at(adata: AnnData, time: float, known: Known) -> Start:
    """Cells of an AnnData at one time; no other time need be there."""
    source = source_of(known, "time_key", "Snapshots")
    column = time_column(adata, source["time_key"])
    if len(column) == 0:
        raise ValueError("the AnnData has no cells to start from")
    array, features, rep = representation(adata, source.get("use_rep"))
    check_features(features, known)
    # Cells of a single time do not show how far apart times are: the fit knows.
    clock = Clock.of(column, spacing=float(np.diff(np.unique(known.times)).min()))
    position(clock, time)
    rows = clock.rows(column, time)
    weights = conditions = None
    if "weight_key" in source:
        weights = _normalised(number_column(adata, source["weight_key"], "weight_key", rows), time)
    if "condition_key" in source:
        conditions = label_column(adata, source["condition_key"], "condition_key", rows)
    names = np.asarray(adata.obs_names, dtype=object)[rows]
    return Start(dense_rows(array, rows, rep), names, weights, conditions)


def _samples_at(snapshots: Snapshots, time: float) -> Start:
    k = snapshots.index(time)
    return Start(
        snapshots.samples[k],
        None if snapshots.names is None else snapshots.names[k],
        None if snapshots.weights is None else snapshots.weights_at(time),
        None if snapshots.conditions is None else snapshots.conditions[k],
    )


def _normalised(weights: np.ndarray, time: float) -> np.ndarray:
    total = weights.sum()
    if not np.isfinite(total) or (weights < 0).any() or total <= 0:
        raise ValueError(f"weights at time {time:g} must be finite, non-negative and not all zero")
    return weights / total


def _refuse_keys(keys: Mapping[str, str | None], kind: str) -> None:
    used = [name for name, value in keys.items() if value is not None]
    if used:
        raise ValueError(
            f"{used[0]} names a key of an AnnData, but {kind} were given; leave it out"
        )


def _warn_of_few(snapshots: Snapshots) -> None:
    few = [
        f"{t:g} ({n})"
        for t, n in zip(snapshots.times, snapshots.sizes, strict=True)
        if n < FEW_SAMPLES
    ]
    if few:
        warnings.warn(
            f"fewer than {FEW_SAMPLES} samples at time {', '.join(few)}: "
            "what is learned there is uncertain",
            UserWarning,
            stacklevel=4,
        )
