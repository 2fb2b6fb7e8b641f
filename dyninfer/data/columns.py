"""Columns of ``adata.obs``: found by their key, and read as labels or numbers."""

from __future__ import annotations

import difflib
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.conditions import as_labels
from dyninfer.data.time_reading import as_times
from dyninfer.data.words import listed, quoted, texts

if TYPE_CHECKING:
    from anndata import AnnData


class MissingKey(KeyError):
    """A key that is not in the data; unlike KeyError it prints its message as a sentence."""

    def __str__(self) -> str:
        return str(self.args[0])


def check_anndata(adata: Any) -> None:
    """Raise a TypeError unless the data are an AnnData."""
    if not (hasattr(adata, "obs") and hasattr(adata, "obsm")):
        raise TypeError(f"adata must be an AnnData, found {type(adata).__name__}")


def check_writable(adata: AnnData) -> None:
    """Raise a ValueError for a view that AnnData could not copy, as it does when written into."""
    if not getattr(adata, "is_view", False):
        return
    if adata.isbacked:
        raise ValueError(
            "this AnnData is a view of a file, which cannot be written into; load it first: "
            "adata = adata.to_memory(), then annotate(adata)"
        )
    for key in adata.obsm:
        try:
            adata.obsm[key]
        # AnnData cannot make a view of a table whose columns share a name.
        except AttributeError:
            raise ValueError(
                f"this AnnData is a view, and adata.obsm[{quoted(key)}] has several columns of one "
                "name, which AnnData cannot copy; rename them first"
            ) from None


def obs_column(adata: AnnData, key: str | None, role: str = "key") -> pd.Series:
    """Return ``adata.obs[key]``, or raise a sentence with the column that was probably meant.

    Raises
    ------
    KeyError
        If ``key`` is None or not a column; the message lists columns that would serve.
    ValueError
        If several columns have this name.
    """
    check_anndata(adata)
    if key is None:
        raise MissingKey(f"{role} is needed for an AnnData; {_suggestion(adata, role)}")
    if not isinstance(key, Hashable):
        raise TypeError(f"{role} must be one name, found {quoted(key)}")
    if key not in adata.obs:
        columns = texts(adata.obs.columns)
        # Half of the letters must agree: fewer suggest columns that nobody meant.
        name = str(key)
        similar = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
        hint = _suggestion(adata, role)
        if similar:
            guess = quoted(similar[0])
            hint = f"did you mean {guess}? {hint}"
        raise MissingKey(f"{role} {quoted(key)} is not in adata.obs; {hint}")
    column = adata.obs[key]
    if isinstance(column, pd.DataFrame):
        raise ValueError(
            f"adata.obs has several columns named {quoted(key)}; rename them so that {role} "
            "names only one"
        )
    return in_memory(column)


def in_memory(column: Any) -> Any:
    """A column of an AnnData, which is an array of xarray where that was read lazily."""
    if hasattr(column, "to_series"):
        return column.to_series()
    return column


def time_column(adata: AnnData, key: str | None) -> ndarray:
    """Times of all rows ``(n,)`` float64; errors as in :func:`as_times`."""
    column = obs_column(adata, key, "time_key")
    return as_times(column, str(key))


def label_column(
    adata: AnnData, key: str, role: str, rows: ndarray | slice = slice(None)
) -> ndarray:
    """Labels of some rows; a ValueError counts those that are missing."""
    # Only of these rows: what is held out may be missing.
    column = obs_column(adata, key, role).iloc[rows]
    missing = column.isna()
    if missing.any():
        n_missing = int(missing.sum())
        first = column.index[missing][0]
        raise ValueError(
            f"{role} {quoted(key)} is missing in {n_missing} of {len(column)} rows "
            f"(first: {quoted(first)}); drop them: adata[adata.obs[{quoted(key)}].notna()]"
        )
    return as_labels(column, role)


def number_column(
    adata: AnnData, key: str, role: str, rows: ndarray | slice = slice(None)
) -> ndarray:
    """Numbers of some rows, float64, with NaN where they are missing; a ValueError shows text."""
    column = obs_column(adata, key, role).iloc[rows]
    # Categories of numbers are numbers here.
    objects = column.astype(object)
    numbers = pd.to_numeric(objects, errors="coerce")
    is_text = numbers.isna() & column.notna()
    text = column[is_text]
    if len(text):
        example = quoted(text.iloc[0])
        raise ValueError(f"{role} {quoted(key)} must hold numbers, found {example}")
    return numbers.to_numpy(dtype=np.float64)


def columns_like_times(adata: AnnData) -> list[str]:
    """Columns of ``obs`` that hold numbers which many rows share."""
    names = []
    for name in adata.obs.columns:
        if _looks_like_times(adata.obs[name]):
            names.append(name)
    return names


def _suggestion(adata: AnnData, role: str) -> str:
    every = f"columns of adata.obs: {listed(adata.obs.columns)}"
    if role != "time_key":
        return every
    like_times = columns_like_times(adata)
    if not like_times:
        return f"no column looks like times; {every}"
    return f"columns that look like times: {listed(like_times)}"


def _looks_like_times(column: pd.Series) -> bool:
    """Whether a column holds numbers that many rows share."""
    try:
        distinct = len(np.unique(as_times(column)))
    except (ValueError, TypeError):
        return False
    # More than a hundred, or fewer than three cells each, are measurements rather than times.
    third = len(column) // 3
    most = min(100, max(2, third))
    return 2 <= distinct <= most
