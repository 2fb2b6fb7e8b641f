"""Checks of what a report is given, with a sentence for whatever it cannot be made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dyninfer.data.arrays import as_list
from dyninfer.data.columns import MissingKey
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.words import quoted
from dyninfer.estimators.fields import refuse_fields
from dyninfer.learning.settings import brief
from dyninfer.report.scene import Scene

# In the order of preference: the first that a table holds is the one that the report speaks of.
METRICS = {
    "w1": "Wasserstein-1",
    "w2": "Wasserstein-2",
    "sliced_w2": "sliced Wasserstein-2",
    "mmd": "MMD²",
    "energy": "energy distance",
}


def check_model(model: Any) -> None:
    """Raise a TypeError unless the model is a fitted method."""
    # Not by class: a method of the user's own may be none of ours.
    if not hasattr(model, "source_") or not hasattr(model, "simulate"):
        raise TypeError(f"model must be a fitted method, found {brief(model)}")
    refuse_fields(model, "a report")


def check_snapshots(data: Any, name: str) -> None:
    """Raise a TypeError unless the data are Snapshots."""
    if not isinstance(data, Snapshots):
        raise TypeError(f"{name} must be Snapshots, found {brief(data)}")


def check_scores(table: Any, name: str, is_whole: bool = True) -> str:
    """Return the metric that leads through a table of scores, or raise an error.

    Parameters
    ----------
    table : DataFrame
        From ``model.evaluate``.
    name : str
        What a message calls it.
    is_whole : bool
        Whether starts and floors must be there too; otherwise they are checked only if present.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no table, has no rows, lacks a column, or holds text or no time in one.
    """
    check_table(table, name)
    metric = main_metric(table)
    needed = ["time", "held_out"]
    # Baselines are there if they were asked for.
    optional: list[str] = []
    of_whole_tables = needed if is_whole else optional
    for other in METRICS:
        if other in table:
            needed.append(other)
            optional += [f"{other}_still", f"{other}_ot"]
            of_whole_tables.append(f"{other}_floor")
    of_whole_tables.append("start")
    for column in needed:
        _check_numbers(table, column, name)
    for column in optional:
        if column in table:
            _check_numbers(table, column, name)
    columns = table.filter(["time", "start"])
    times = columns.to_numpy(dtype=np.float64)
    if not np.isfinite(times).all():
        raise ValueError(f"{name} has a time that is missing or infinite; leave that row out")
    return metric


def main_metric(table: pd.DataFrame) -> str:
    """First metric of the table, in the order of :data:`METRICS`.

    Raises
    ------
    KeyError
        If the table holds none.
    """
    for name in METRICS:
        if name in table:
            return name
    choices = ", ".join(METRICS)
    raise MissingKey(
        f"the evaluation has no metric, one of {choices}; give what model.evaluate returned"
    )


def check_table(table: Any, name: str) -> None:
    """Raise an error unless this is a table with a time in every row."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{name} must be what model.evaluate returned, found {brief(table)}")
    if len(table) == 0:
        raise ValueError(f"{name} has no rows; evaluate the model at at least one time")
    _check_numbers(table, "time", name)


def _check_numbers(table: pd.DataFrame, column: str, name: str) -> None:
    if column not in table:
        raise MissingKey(
            f"{name} has no column {quoted(column)}; give what model.evaluate returned"
        )
    values = table[column]
    # Of two columns of one name, pandas makes a table.
    is_single = isinstance(values, pd.Series)
    if not is_single or not pd.api.types.is_numeric_dtype(values):
        raise TypeError(f"column {quoted(column)} of {name} must hold one number in every row")
    if pd.api.types.is_complex_dtype(values):
        raise TypeError(f"column {quoted(column)} of {name} holds complex numbers; give real ones")


def check_text(value: Any, name: str) -> None:
    """Raise a TypeError unless the value is text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, found {brief(value)}")


def check_texts(values: Any, name: str) -> list[str]:
    """Return texts as a list, or raise a TypeError; a single text is no list."""
    texts = as_list(values, name, "texts")
    for text in texts:
        check_text(text, f"every one of {name}")
    return texts


def check_figures(figures: Any) -> list[tuple[str, Any]]:
    """Return pairs of a caption and a picture as a list, or raise an error.

    Raises
    ------
    TypeError
        If one is no pair of a text and a figure or a path.
    FileNotFoundError
        If a picture is not where its path says.
    """
    pairs = []
    for figure in as_list(figures, "figures", "pairs of a caption and a picture"):
        is_pair = isinstance(figure, tuple | list) and len(figure) == 2
        caption, picture = figure if is_pair else (None, None)
        is_picture = isinstance(picture, Path | Scene) or hasattr(picture, "savefig")
        if not isinstance(caption, str) or not is_picture:
            raise TypeError(
                "figures must be pairs of a caption and a matplotlib Figure, the Path of a PNG or "
                f"a Scene, found {brief(figure)}"
            )
        if isinstance(picture, Path) and not picture.is_file():
            raise FileNotFoundError(f"there is no picture {brief(str(picture))}; draw it first")
        pairs.append((caption, picture))
    return pairs
