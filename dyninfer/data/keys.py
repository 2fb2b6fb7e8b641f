"""Names that dyninfer reads from and writes into an AnnData, and the checks on what it finds there."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dyninfer.data.times import as_times

if TYPE_CHECKING:
    from anndata import AnnData

VELOCITY = "dyninfer_velocity"  # obsm: velocity of every cell, in the units of the representation per time unit
GROWTH = "dyninfer_growth"  # obs: growth rate of every cell, per time unit
POTENTIAL = "dyninfer_potential"  # obs: potential whose gradient is the velocity
STATE = "dyninfer_state"  # obs: most probable discrete state of every row
STATE_PROBABILITY = "dyninfer_state_probability"  # obs: its probability
UNS = "dyninfer"  # uns: settings and provenance, as JSON
TRAJECTORIES = (
    "dyninfer_trajectories"  # uns: what is needed to read trajectories back from an AnnData
)

DEFAULT_REP = "X_pca"
DENSE_LIMIT_GB = 4.0


class MissingKey(KeyError):
    """A key that is not in the data; unlike KeyError it prints its message as a sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


def obs_column(adata: AnnData, key: str | None, role: str = "key") -> pd.Series:
    """Return ``adata.obs[key]``, or raise a sentence that names the column the user probably meant.

    Raises
    ------
    KeyError
        If ``key`` is None or not a column; the message lists columns that would serve.
    """
    if key is None:
        raise MissingKey(f"{role} is needed for an AnnData; {_suggestion(adata, role)}")
    if not isinstance(key, Hashable):
        raise TypeError(f"{role} must be one name, found {key!r}")
    if key not in adata.obs:
        near = difflib.get_close_matches(str(key), map(str, adata.obs.columns), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise MissingKey(f"{role} {key!r} is not in adata.obs; {hint}{_suggestion(adata, role)}")
    return adata.obs[key]


def representation(adata: AnnData, use_rep: str | None = None) -> tuple[Any, tuple[str, ...], str]:
    """Find the array of features: ``(array, feature names, name of the representation)``.

    ``use_rep`` is a key of ``adata.obsm`` or ``"X"``; None takes ``obsm["X_pca"]``, then ``X``. The array is returned as
    it is stored (sparse, backed); :func:`dense_rows` reads rows of it.

    Raises
    ------
    KeyError
        If the representation is not there; the message lists those that are.
    """
    if use_rep is None:
        use_rep = DEFAULT_REP if DEFAULT_REP in adata.obsm else "X"
    if use_rep == "X":
        if adata.X is None:
            there = (
                f"give use_rep, one of {_listed(adata.obsm)}"
                if len(adata.obsm)
                else "and adata.obsm has nothing"
            )
            raise MissingKey(f"adata.X is empty; {there}")
        return adata.X, tuple(map(str, adata.var_names)), "X"
    if not isinstance(use_rep, Hashable):
        raise TypeError(f"use_rep must be one name, found {use_rep!r}")
    if use_rep not in adata.obsm:
        hint = "" if use_rep != DEFAULT_REP else "; compute it with sc.pp.pca(adata)"
        raise MissingKey(
            f"use_rep {use_rep!r} is not in adata.obsm; there are {_listed([*adata.obsm.keys(), 'X'])}{hint}"
        )
    array = adata.obsm[use_rep]
    if isinstance(array, pd.DataFrame):
        return array.to_numpy(), tuple(map(str, array.columns)), use_rep
    stem = use_rep.removeprefix("X_").upper()
    return array, tuple(f"{stem}{i + 1}" for i in range(array.shape[1])), use_rep


def dense_rows(array: Any, rows: np.ndarray, name: str = "X") -> np.ndarray:
    """Read ``rows`` of a dense, sparse or backed matrix as a dense float array (float64 is kept, else float32).

    Raises
    ------
    MemoryError
        If the dense block would exceed 4 GB; the message says how large it is and what to use instead.
    TypeError
        If the values are not numbers.
    """
    shape = (len(rows), int(np.prod(array.shape[1:])))
    size = shape[0] * shape[1] * 4 / 1e9
    if size > DENSE_LIMIT_GB:
        raise MemoryError(
            f"{name} as a dense {shape[0]} x {shape[1]} array takes {size:.1f} GB; "
            f"reduce it first (sc.pp.pca(adata)) and give use_rep='X_pca'"
        )
    block = array[rows] if not isinstance(array, np.ndarray) else np.asarray(array)[rows]
    block = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
    if not np.issubdtype(block.dtype, np.number):
        raise TypeError(f"{name} holds {block.dtype} values; it must hold numbers")
    if np.issubdtype(block.dtype, np.complexfloating):
        raise TypeError(
            f"{name} holds complex values; give their real and imaginary parts as separate features"
        )
    return block if block.dtype == np.float64 else block.astype(np.float32, copy=False)


def warn_if_counts(x: np.ndarray, name: str) -> None:
    """Warn where a matrix looks like raw counts: whole numbers, none negative, some large."""
    head = x[:500]
    if head.size and head.max() > 10 and head.min() >= 0 and np.array_equal(head, np.round(head)):
        warnings.warn(
            f"{name} looks like raw counts (whole numbers up to {head.max():.0f}); "
            "log-normalise it (sc.pp.normalize_total, sc.pp.log1p) or give a representation such as use_rep='X_pca'",
            UserWarning,
            stacklevel=3,
        )


def warn_if_far(times: np.ndarray, dtype: np.dtype) -> None:
    """Warn where times lie so far from zero that single precision hardly tells them apart."""
    gap, far = float(np.diff(times).min()), float(np.abs(times).max())
    if dtype == np.float32 and gap < 64 * np.finfo(np.float32).eps * far:
        warnings.warn(
            f"times up to {far:g} with gaps of {gap:g} are hardly told apart in single precision, which blurs "
            "velocities; count time from the first observation (subtract it)",
            UserWarning,
            stacklevel=5,
        )


def finite_or_raise(x: np.ndarray, name: str, row_names: Any = None) -> None:
    """Raise a ValueError that counts the rows with NaN or infinite values and names the first."""
    bad = ~np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        label = row_names[first] if row_names is not None else f"row {first}"
        raise ValueError(
            f"{name} has NaN or infinite values in {int(bad.sum())} of {len(x)} rows (first: {label!r}); "
            "remove or impute them"
        )


def _suggestion(adata: AnnData, role: str) -> str:
    if role != "time_key":
        return f"columns of adata.obs: {_listed(adata.obs.columns)}"
    like_times = [str(c) for c in adata.obs.columns if _looks_like_times(adata.obs[c])]
    if not like_times:
        return f"no column looks like times; columns of adata.obs: {_listed(adata.obs.columns)}"
    return f"columns that look like times: {_listed(like_times)}"


def _looks_like_times(column: pd.Series) -> bool:
    try:
        return 2 <= len(np.unique(as_times(column))) <= min(100, max(2, len(column) // 3))
    except (ValueError, TypeError):
        return False


def _listed(names: Any, most: int = 8) -> str:
    names = [repr(str(n)) for n in names]
    return (
        ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
        if names
        else "none"
    )
