"""Columns of an AnnData about the hidden states of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from dyninfer.data import keys
from dyninfer.data.columns import obs_column, time_column
from dyninfer.estimators.cautions import warn_beyond

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy import ndarray


def state_columns(
    table: pd.DataFrame,
    adata: AnnData,
    source: dict[str, Any],
    names: Sequence[str],
    covered_times: ndarray,
) -> dict[str, Any]:
    """The most probable state of every row, and its probability beside it.

    Parameters
    ----------
    table : DataFrame
        One row per observation, with ``path``, ``time``, ``state`` and ``probability``.
    adata : AnnData
        With the columns that ``source`` names.
    source : dict
        Keys that paths were read by: ``path_key`` and ``time_key``.
    names : sequence of str
        Names of all states, which are the categories of the column.
    covered_times : array
        Times that were learned from: rows beyond them are warned of.
    """
    times = time_column(adata, source["time_key"])
    warn_beyond(covered_times, times, "annotating")
    column = obs_column(adata, source["path_key"], "path_key")
    owner = column.astype(str)
    # The table goes path by path in order of time, the rows of an AnnData in any order.
    of_rows = list(zip(owner, times, strict=True))
    by_path_and_time = table.set_index(["path", "time"])
    rows = by_path_and_time.loc[of_rows]
    states = pd.Categorical(rows["state"], categories=list(names))
    probability = rows["probability"].to_numpy()
    return {keys.STATE: states, keys.STATE_PROBABILITY: probability}
