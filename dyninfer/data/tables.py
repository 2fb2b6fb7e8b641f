"""Tables that users hand back: what their columns must hold before anything is read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.columns import MissingKey
from dyninfer.data.words import quoted
from dyninfer.learning.settings import brief


class Column(Enum):
    """What every row of a column holds."""

    LABEL = "a label"
    FLAG = "True or False"
    NUMBER = "a finite number"
    # Missing where there is no score.
    SCORE = "a finite number, or a missing one,"
    # An end of an interval may lie at infinity.
    BOUND = "a number"


def read_table(
    table: Any,
    columns: Mapping[str, Column],
    source: str,
    *,
    rows: Sequence[str] = (),
) -> pd.DataFrame:
    """Copy a table whose columns are what they must be; others stay as they are.

    Parameters
    ----------
    table : DataFrame
    columns : dict of Column
        Those that are needed, by name.
    source : str
        What returned the table, for messages.
    rows : sequence of str
        Columns that together tell the rows apart; by default rows may repeat.

    Returns
    -------
    DataFrame
        Labels are text and numbers are float64.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such table.
    """
    remedy = f"give what {source} returned"
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be what {source} returned, found {brief(table)}")
    names = list(table.columns)
    for name in columns:
        if name not in names:
            raise MissingKey(f"table has no column {quoted(name)}; {remedy}")
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated) > 0:
        raise ValueError(f"table has several columns {quoted(repeated[0])}; {remedy}")
    if len(table) == 0:
        raise ValueError(f"table has no rows; {remedy}")
    table = table.copy()
    for name, kind in columns.items():
        table[name] = _values(table[name], kind, name, remedy)
    if rows and table.duplicated(list(rows)).any():
        raise ValueError(f"table has several rows of one {' and '.join(rows)}; {remedy}")
    return table


def _values(column: pd.Series, kind: Column, name: str, remedy: str) -> Any:
    """One column in its own type, or an error."""
    must = f"column {quoted(name)} of the table must hold {kind.value} in every row"
    is_missing = column.isna().to_numpy()
    if kind is not Column.SCORE and is_missing.any():
        raise ValueError(f"{must}, and row {is_missing.argmax()} holds none; {remedy}")
    if kind is Column.LABEL:
        return column.astype(str).astype(object)
    is_flag = pd.api.types.is_bool_dtype(column)
    if kind is Column.FLAG:
        if not is_flag:
            raise TypeError(f"{must}, found {column.dtype}; {remedy}")
        return column.astype(bool)
    numbers = _numbers(column)
    if numbers is None or is_flag:
        raise TypeError(f"{must}, found {column.dtype}; {remedy}")
    if kind is not Column.BOUND and np.isinf(numbers).any():
        raise ValueError(f"{must}, and row {np.isinf(numbers).argmax()} is infinite; {remedy}")
    return numbers


def _numbers(column: pd.Series) -> ndarray | None:
    """Real numbers as float64, NaN where they are missing; None for what is none."""
    types = pd.api.types
    # A score that no row has is a column of None.
    if column.isna().all():
        return np.full(len(column), np.nan)
    if not types.is_numeric_dtype(column) or types.is_complex_dtype(column):
        return None
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
