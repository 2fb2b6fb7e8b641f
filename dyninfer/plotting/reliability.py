"""Whether what is said to be likely happens as often."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dyninfer.data.tables import Column, read_table
from dyninfer.metrics.reliability_table import expected_calibration_error
from dyninfer.plotting import style
from dyninfer.plotting.colors import label_palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = {
    "predicted": Column.NUMBER,
    "observed": Column.NUMBER,
    "observed_low": Column.NUMBER,
    "observed_high": Column.NUMBER,
    "error": Column.NUMBER,
    "n": Column.NUMBER,
}
# Area of the mark of the fullest bin, in points squared, and of the emptiest at least.
LARGEST = 110
SMALLEST = 8


def reliability(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw observed against predicted shares, with 95 % intervals.

    On the diagonal, events happen as often as predicted. Above it predictions are too low, below it
    too high; a curve flatter than the diagonal is overconfident. The area of a mark is its number
    of predictions.

    Parameters
    ----------
    table : DataFrame
        From :func:`dyninfer.tl.fate_reliability`, :func:`dyninfer.metrics.reliability`, or
        ``evaluate(paths, by="reliability")``.
    ax, show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such table.

    Examples
    --------
    >>> import dyninfer as di
    >>> table = di.metrics.reliability([0.1, 0.4, 0.8, 0.9], [0, 1, 1, 1], n_bins=2)
    >>> ax = di.pl.reliability(table)
    """
    columns = dict(COLUMNS)
    has_names = isinstance(table, pd.DataFrame) and "prediction" in table
    if has_names:
        columns["prediction"] = Column.LABEL
    table = read_table(table, columns, "metrics.reliability")
    names = [""]
    if has_names:
        names = list(table["prediction"].unique())
    ax = style.axes(ax, (4.6, 4.4))
    ax.plot([0, 1], [0, 1], color=style.CELLS, linewidth=1, zorder=0)
    for name, color in zip(names, label_palette(len(names)), strict=True):
        own = table
        if has_names:
            own = table[table["prediction"] == name]
        _draw(ax, own, color, name)
    if has_names:
        style.legend(ax)
    ax.set_aspect("equal")
    # Marks of 0 and 1 are whole.
    ax.set_xlim(-0.03, 1.03)
    ax.set_ylim(-0.03, 1.03)
    style.tidy(ax, "predicted share", "observed share")
    return style.finish(ax, show=show, save=save)


def _draw(ax: Axes, table: pd.DataFrame, color: str, name: str) -> None:
    """One curve, with an interval at every mark."""
    x = table["predicted"].to_numpy()
    y = table["observed"].to_numpy()
    below = y - table["observed_low"].to_numpy()
    above = table["observed_high"].to_numpy() - y
    # Rounding may leave a mark a hair outside its interval.
    bars = np.clip([below, above], 0, None)
    ax.errorbar(x, y, yerr=bars, color=color, linewidth=1.2, capsize=2.5, alpha=0.8)
    share = table["n"] / table["n"].max()
    size = np.maximum(LARGEST * share, SMALLEST)
    error = expected_calibration_error(table).error
    label = f"{name}, error {error:.3f}".removeprefix(", ")
    ax.scatter(x, y, s=size, color=color, label=label, linewidths=0, zorder=3)
