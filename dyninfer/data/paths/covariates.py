"""Covariates of paths: a table with a row for every observation, path after path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.conditions import is_amount
from dyninfer.data.words import quoted, refuse_missing_words, texts
from dyninfer.learning.settings import brief


def as_covariates(
    covariates: Any, names: ndarray, owner: ndarray, order: ndarray
) -> pd.DataFrame | None:
    """Covariates of every observation in the order of the paths, none of them missing.

    Numbers are float64, all else is categories of text. What is missing at the last observation of
    a path is what it was before: no interval begins there.

    Parameters
    ----------
    covariates : DataFrame or mapping, optional
        A row for every path, or for every observation, path after path.
    names : array ``(n,)``
        Names of the paths.
    owner : array ``(row,)`` int64
        Number of the path of every observation.
    order : array ``(row,)`` int64
        Order of the observations in time.

    Raises
    ------
    TypeError, ValueError
        If they are no table, have another number of rows, or one is missing or infinite.
    """
    if covariates is None:
        return None
    table = as_table(covariates)
    if len(table) == len(names):
        table = table.iloc[owner]
    elif len(table) == len(owner):
        table = table.iloc[order]
    else:
        raise ValueError(
            f"covariates has {len(table)} rows; give one for each of the {len(names)} paths, or "
            f"for each of the {len(owner)} observations"
        )
    table = table.reset_index(drop=True)
    columns = {name: _filled(table[name], names, owner) for name in table.columns}
    return pd.DataFrame(columns)


def as_table(covariates: Any) -> pd.DataFrame:
    """Covariates with unique names: numbers as float64, all else as categories of text."""
    if isinstance(covariates, Mapping):
        covariates = _of_mapping(covariates)
    if not isinstance(covariates, pd.DataFrame):
        raise TypeError(
            "covariates must be a DataFrame with a column for each covariate, found "
            f"{brief(covariates)}"
        )
    names = texts(covariates.columns)
    if len(set(names)) < len(names):
        raise ValueError("covariates has several columns of one name; rename them")
    columns = {}
    for place, name in enumerate(names):
        columns[name] = _as_column(covariates.iloc[:, place], name)
    return pd.DataFrame(columns, index=covariates.index)


def cut_rows(covariates: pd.DataFrame | None, rows: ndarray) -> pd.DataFrame | None:
    """Some rows of covariates, where there are any."""
    if covariates is None:
        return None
    return covariates.iloc[rows].reset_index(drop=True)


def rows_of(lengths: ndarray, numbers: Iterable[int], n_rows: ndarray | None = None) -> ndarray:
    """Rows of the observations of some paths, path after path; of each the first ``n_rows``."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    if n_rows is None:
        n_rows = lengths
    rows = [np.arange(starts[i], starts[i] + n_rows[i]) for i in numbers]
    return np.concatenate(rows)


def _of_mapping(covariates: Mapping[str, Any]) -> pd.DataFrame:
    # Plain values are those of one path, or of all alike.
    if all(np.ndim(values) == 0 for values in covariates.values()):
        return pd.DataFrame({name: [value] for name, value in covariates.items()})
    return pd.DataFrame(dict(covariates))


def _as_column(column: pd.Series, name: str) -> pd.Series:
    what = f"covariate {quoted(name)}"
    if is_amount(column.dtype):
        numbers = column.astype(np.float64)
        if np.isinf(numbers).any():
            raise ValueError(f"{what} must be finite, found an infinite value")
        return numbers
    if not isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype("category")
    levels = texts(column.cat.categories)
    occurring = texts(column.cat.remove_unused_categories().cat.categories)
    refuse_missing_words(list(occurring), what, "or rename it if it is a category")
    codes = column.cat.codes.to_numpy()
    labels = pd.Categorical.from_codes(codes, list(levels))
    return pd.Series(labels, index=column.index)


def _filled(column: pd.Series, names: ndarray, owner: ndarray) -> pd.Series:
    """The column with what was before where it is missing at the end of a path."""
    is_missing = column.isna().to_numpy()
    if not is_missing.any():
        return column
    is_last = np.append(owner[:-1] != owner[1:], True)
    is_first = np.append(True, owner[1:] != owner[:-1])
    is_hole = is_missing & (is_first | ~is_last)
    if is_hole.any():
        first = names[owner[is_hole][0]]
        raise ValueError(
            f"covariate {quoted(str(column.name))} is missing in {is_hole.sum()} of "
            f"{len(column)} observations (first: path {quoted(first)}); drop those rows, or name "
            "what they are"
        )
    return column.ffill()
