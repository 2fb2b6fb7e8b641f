"""`Paths` from an AnnData, or a table, with one row per path and time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_list, dense_rows
from dyninfer.data.columns import check_anndata, label_column, obs_column, time_column
from dyninfer.data.representation import representation, warn_of_counts
from dyninfer.data.times import repeats
from dyninfer.data.words import as_text, listed, quoted, refuse_missing_words, texts

if TYPE_CHECKING:
    from anndata import AnnData

    from dyninfer.data.paths.paths import Paths


# What the reader says of an AnnData, and what it is in a table; the longer ones first.
_WORDS = {
    "adata.obs": "table",
    "adata": "table",
    "the AnnData": "the table",
    "an AnnData": "a table",
}


def fields_from_anndata(
    adata: AnnData,
    time_key: str | None,
    path_key: str | None,
    use_rep: str | None,
    state_key: str | None,
    condition_key: str | None,
    covariate_keys: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Fields of the `Paths` in an AnnData; arguments as in `Paths.from_anndata`."""
    if use_rep is not None and state_key is not None:
        raise ValueError(
            f"give use_rep={quoted(use_rep)} or state_key={quoted(state_key)}, not both"
        )
    check_anndata(adata)
    if adata.n_obs == 0:
        raise ValueError("the AnnData has no rows; paths need at least one")
    times = time_column(adata, time_key)
    owner, names = _owners(obs_column(adata, path_key, "path_key"), str(path_key))
    # By path and then time; rows of an AnnData come in any order.
    order = np.lexsort([times, owner])
    ordered_times = times[order]
    _refuse_repeats(ordered_times, owner[order], names, time_key, path_key)
    ends = np.cumsum(np.bincount(owner))
    cuts = ends[:-1]
    source: dict[str, Any] = {"time_key": time_key, "path_key": path_key}
    fields: dict[str, Any] = {"times": np.split(ordered_times, cuts), "names": names}
    if state_key is not None:
        column = obs_column(adata, state_key, "state_key")
        values, fields["state_names"] = _codes(column, state_key)
        fields["features"] = (state_key,)
        source["state_key"] = state_key
    else:
        array, fields["features"], rep = representation(adata, use_rep)
        every_row = np.arange(adata.n_obs)
        values = dense_rows(array, every_row, rep)
        warn_of_counts(adata, rep, values)
        source["use_rep"] = rep
    ordered_values = values[order]
    fields["states"] = np.split(ordered_values, cuts)
    if condition_key is not None:
        fields["conditions"] = _conditions(adata, condition_key, owner, names)
        source["condition_key"] = condition_key
    if covariate_keys is not None:
        columns = {key: obs_column(adata, key, "covariates") for key in covariate_keys}
        fields["covariates"] = pd.DataFrame(columns).iloc[order]
        source["covariate_keys"] = list(covariate_keys)
    return fields | {"source": source}


@contextmanager
def in_words_of_a_table() -> Iterator[None]:
    """Errors about an AnnData are said of the table that was given, and so are their remedies."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        text = str(error.args[0])
        for of_anndata, of_table in _WORDS.items():
            text = text.replace(of_anndata, of_table)
        raise type(error)(text) from None


def anndata_of_table(
    table: pd.DataFrame, state_key: str | None, feature_keys: Sequence[str] | None
) -> tuple[AnnData, str | None]:
    """A table as the ``obs`` of an AnnData, and where its continuous states are.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no table, a feature is no column of numbers, or there is not one kind of state.
    """
    import anndata as ad

    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be a DataFrame, found {type(table).__name__}")
    if (state_key is None) == (feature_keys is None):
        raise ValueError(
            "give state_key, the column with discrete states, or feature_keys, the columns with "
            "continuous ones"
        )
    # The names of rows are those that messages give.
    obs = table.set_axis(table.index.astype(str))
    if feature_keys is None:
        return ad.AnnData(obs=obs), None
    names = as_list(feature_keys, "feature_keys", "the columns with the states")
    values = {name: obs_column(ad.AnnData(obs=obs), name, "feature_keys") for name in names}
    for name, column in values.items():
        if not pd.api.types.is_numeric_dtype(column):
            raise TypeError(
                f"feature_keys {quoted(name)} holds {column.dtype}; continuous states are numbers"
            )
    states = pd.DataFrame(values).to_numpy(np.float64, na_value=np.nan)
    var = pd.DataFrame(index=pd.Index(names))
    return ad.AnnData(X=states, obs=obs, var=var), "X"


def to_anndata(paths: Paths) -> AnnData:
    """One row per observation; see `Paths.to_anndata`."""
    from anndata import AnnData

    numbers = np.arange(len(paths))
    owner = np.repeat(numbers, paths.lengths)
    own_names = paths.names[owner]
    names = pd.Categorical(own_names, categories=paths.names)
    times = np.concatenate(paths.times)
    obs = pd.DataFrame({"path": names, "time": times})
    if paths.conditions is not None:
        obs["condition"] = paths.conditions[owner]
    # Rows are named by their path and their number in it.
    steps = [np.arange(n) for n in paths.lengths]
    step = np.concatenate(steps)
    rows = zip(names, step, strict=True)
    row_names = [f"{name}-{k}" for name, k in rows]
    obs.index = pd.Index(row_names)
    states = np.concatenate(paths.states)
    if paths.discrete:
        # Categories keep the states that nobody is in, and their order.
        categories = list(paths.state_names or ())
        obs["state"] = pd.Categorical.from_codes(states, categories)
    if paths.covariates is not None:
        own_columns = paths.covariates.set_index(obs.index)
        obs = obs.join(own_columns, rsuffix="_covariate")
    if paths.discrete:
        return AnnData(obs=obs)
    features = list(paths.features)
    var = pd.DataFrame(index=features)
    return AnnData(X=states, obs=obs, var=var)


def _owners(column: pd.Series, path_key: str) -> tuple[ndarray, ndarray]:
    """Number of the path of every row, in order of appearance, and the paths' names."""
    owner, values = pd.factorize(column)
    missing = owner < 0
    if missing.any():
        key = quoted(path_key)
        labels = column.index[missing]
        first = quoted(labels[0])
        raise ValueError(
            f"path_key {key} is missing in {missing.sum()} rows (first: {first}); "
            f"drop them: adata[adata.obs[{key}].notna()]"
        )
    names = texts(values)
    return owner, np.array(names, dtype=object)


def _refuse_repeats(
    times: ndarray,
    owner: ndarray,
    names: ndarray,
    time_key: str | None,
    path_key: str | None,
) -> None:
    again = repeats(times, owner)
    if len(again) == 0:
        return
    first = again[0]
    path = owner[first]
    time = as_text(times[first])
    columns = f"[{quoted(path_key)}, {quoted(time_key)}]"
    raise ValueError(
        f"path {quoted(names[path])} has several rows at time {time}; a path is one individual "
        "with one row per time. Of clones, keep one cell at each time, "
        f"adata[~adata.obs.duplicated({columns})], or average them first"
    )


def _codes(column: pd.Series, state_key: str) -> tuple[ndarray, tuple[str, ...]]:
    """Number of the state of every row, -1 where it is missing, and the names of the states."""
    present = column.dropna()
    # Whole numbers become floats in pandas as soon as one is missing.
    is_whole = column.dtype.kind != "f" or (present % 1 == 0).all()
    if not is_whole:
        example = f"{present.iloc[0]:g}"
        raise ValueError(
            f"state_key {quoted(state_key)} holds continuous numbers (such as {example}); "
            "give categories or whole numbers, or use_rep for continuous states"
        )
    if not isinstance(column.dtype, pd.CategoricalDtype):
        # Sorted, so that the numbers of the states do not depend on the order of the rows.
        column = column.astype("category")
    states = column.cat
    names = [_state_name(category) for category in states.categories]
    codes = states.codes.to_numpy(dtype=np.int64)
    occurring = np.unique(codes[codes >= 0])
    column_name = f"state_key {quoted(state_key)}"
    occurring_names = [names[code] for code in occurring]
    refuse_missing_words(occurring_names, column_name, "or rename it if it is a state")
    return codes, tuple(names)


def _state_name(category: Any) -> str:
    """Name of a category; of a whole number, which gaps have made a float, without a point."""
    if isinstance(category, float) and category.is_integer():
        return str(int(category))
    return str(category)


def _conditions(adata: AnnData, key: str, owner: ndarray, names: ndarray) -> ndarray:
    """Label of every path ``(path,)``, which all of its rows must share."""
    labels = label_column(adata, key, "condition_key")
    _, first = np.unique(owner, return_index=True)
    of_first_row = labels[first]
    changed = labels != of_first_row[owner]
    if changed.any():
        path = owner[changed][0]
        own_labels = labels[owner == path]
        of_path = np.unique(own_labels)
        several = listed(of_path, most=3)
        raise ValueError(
            f"condition_key {quoted(key)} changes within path {quoted(names[path])} ({several}); "
            "give one label per path"
        )
    return of_first_row
