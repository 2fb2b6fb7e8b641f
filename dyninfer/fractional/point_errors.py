"""Localisation errors of single positions, as trackers report them: columns of covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy import ndarray
from pandas.api.types import is_numeric_dtype

from dyninfer.data.paths import Paths
from dyninfer.data.paths.checks import is_missing
from dyninfer.data.words import counted, listed, quoted
from dyninfer.learning.settings import brief


def point_errors(paths: Paths, columns: Sequence[str]) -> ndarray:
    """Deviation of every value ``(row, feature)`` float64, path after path, in units of the data.

    Parameters
    ----------
    paths : Paths
        With the columns among their covariates.
    columns : sequence of str
        One for all features, or one for each.

    Raises
    ------
    ValueError
        If a column is missing, is no number, or holds an error that is not positive.
    """
    n_features = len(paths.features)
    if len(columns) not in (1, n_features):
        raise ValueError(
            f"error names {counted(len(columns), 'column')} for {counted(n_features, 'feature')}; "
            "name one for all, or one for each"
        )
    of_columns = [_column(paths, name) for name in columns]
    table = np.stack(of_columns, axis=1)
    every = np.broadcast_to(table, (len(table), n_features))
    is_observed = ~is_missing(np.concatenate(paths.states))
    # What was not observed has no error that counts, whatever the table says of it.
    is_wrong = is_observed & ~(every > 0)
    if is_wrong.any():
        row, feature = np.argwhere(is_wrong)[0]
        owner = np.repeat(paths.names, paths.lengths)
        raise ValueError(
            f"an error must be positive, found {every[row, feature]:g} in path "
            f"{quoted(str(owner[row]))} ({counted(int(is_wrong.sum()), 'value')})"
        )
    return every


def error_paths(paths: Paths, columns: Sequence[str]) -> Paths:
    """Paths with the errors in place of the values, 1 of what was not observed."""
    errors = point_errors(paths, columns)
    is_absent = is_missing(np.concatenate(paths.states))
    whole = np.where(is_absent, 1.0, errors)
    cuts = np.cumsum(paths.lengths)[:-1]
    return replace(paths, states=tuple(np.split(whole, cuts)), covariates=None)


def typical_errors(paths: Paths, columns: Sequence[str]) -> list[float]:
    """Root mean square of the errors of each feature."""
    errors = point_errors(paths, columns)
    is_absent = is_missing(np.concatenate(paths.states))
    squares = np.where(is_absent, np.nan, errors) ** 2
    return np.sqrt(np.nanmean(squares, axis=0)).tolist()


def _column(paths: Paths, name: str) -> ndarray:
    if paths.covariates is None or name not in paths.covariates:
        names = [] if paths.covariates is None else list(paths.covariates.columns)
        there = f"they have {listed(names)}" if names else "they have none"
        raise ValueError(
            f"error={brief(name)} names a column of the paths' covariates, and {there}; read the "
            f"paths with covariate_keys=[{brief(name)}]"
        )
    column = paths.covariates[name]
    if not is_numeric_dtype(column):
        raise ValueError(f"error={brief(name)} names a column of categories; errors are numbers")
    return column.to_numpy(np.float64)
