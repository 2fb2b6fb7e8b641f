"""States of paths as they come: numbers, DataFrames, whole numbers with gaps, or text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_array, as_floats, as_list, by_columns, column_names
from dyninfer.data.paths.checks import MISSING, is_discrete
from dyninfer.data.words import listed, quoted, refuse_missing_words, texts


def read_states(
    states: Sequence[Any], names: ndarray, features: Sequence[str] | None
) -> tuple[list[ndarray], Sequence[str] | None]:
    """States of every path as an array, and names of the features where their columns have some.

    Whole numbers stay whole, with -1 where one is masked or NA.
    """
    features = as_list(() if features is None else features, "features", "one name per feature")
    columns = [column_names(x) for x in states]
    # Without other names, those of the first path hold for all.
    if not features:
        features = columns[0]
    arrays = []
    rows = zip(states, columns, names, strict=True)
    for x, own, name in rows:
        what = f"the states of path {quoted(name)}"
        if own is not None and features:
            x = by_columns(x, features, what)
        arrays.append(_as_states(x, what))
    return arrays, features


def are_labels(states: Sequence[Any]) -> bool:
    """Whether the states are text or categories, and none of them a number."""
    kinds = {_kind(x) for x in states}
    return "string" in kinds and kinds <= {"string", "empty"}


def encode(
    labels: Sequence[Any], state_names: Sequence[str] | None
) -> tuple[list[ndarray], tuple[str, ...]]:
    """Labels of every path as integers, and the names of the states in the order of the integers.

    Without ``state_names`` the names are those that occur, sorted.
    """
    columns = []
    for x in labels:
        objects = np.asarray(x, dtype=object)
        columns.append(pd.Series(objects))
    # Of all paths together: the states of one path are not those of the next.
    every = pd.concat(columns, ignore_index=True)
    present = every.dropna().astype(str)
    occurring = set(present)
    if state_names is None:
        state_names = sorted(occurring)
        refuse_missing_words(state_names, "states", "or list it in state_names if it is a state")
    names = texts(as_list(state_names, "state_names", "one name per state"))
    unknown = sorted(occurring - set(names))
    if unknown:
        raise ValueError(f"state {quoted(unknown[0])} is not among state_names {listed(names)}")
    # Categories number their names in order, and a missing entry -1.
    every_text = every.astype(str)
    text = every.where(every.isna(), every_text)
    states = pd.Categorical(text, categories=names)
    codes = states.codes.astype(np.int64)
    lengths = [len(column) for column in columns]
    cuts = np.cumsum(lengths)[:-1]
    return np.split(codes, cuts), names


def _as_states(values: Any, name: str) -> ndarray:
    whole = _whole_numbers(values)
    if whole is not None:
        return whole
    array = as_array(values, name)
    # Flat whole numbers are states; with a second dimension they are counts.
    if is_discrete(array):
        return array
    return as_floats(array, name)


def _whole_numbers(values: Any) -> ndarray | None:
    """Whole numbers that have gaps; None for other values."""
    dtype = getattr(values, "dtype", None)
    if isinstance(values, np.ma.MaskedArray):
        if values.dtype.kind not in "iu" or values.ndim != 1:
            return None
        whole = values.astype(np.int64)
        return np.ma.filled(whole, MISSING)
    if isinstance(values, pd.Series | pd.api.extensions.ExtensionArray):
        if not pd.api.types.is_integer_dtype(dtype):
            return None
        column = pd.Series(values).fillna(MISSING)
        return column.to_numpy(dtype=np.int64)
    return None


def _kind(values: Any) -> str:
    """What pandas calls the values: "string" of categories too, "empty" of missing ones."""
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, pd.CategoricalDtype):
        return "string"
    if hasattr(values, "detach") or isinstance(values, pd.DataFrame):
        return "numbers"
    try:
        array = np.asarray(values)
    except ValueError:
        return "ragged"
    if array.ndim != 1 or array.dtype.kind not in "UOT":
        return "numbers"
    return pd.api.types.infer_dtype(array, skipna=True)
