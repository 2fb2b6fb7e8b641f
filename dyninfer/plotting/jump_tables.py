"""Whether a jump process fits: prevalence, implied time scales, and predictions of longer lags."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.tables import Column, read_table
from dyninfer.plotting import style
from dyninfer.plotting.colors import label_palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PREVALENCE = {
    "time": Column.NUMBER,
    "state": Column.LABEL,
    "observed": Column.NUMBER,
    "expected": Column.NUMBER,
}
TIME_SCALES = {
    "lag": Column.NUMBER,
    "process": Column.NUMBER,
    "value": Column.BOUND,
    "low": Column.BOUND,
    "high": Column.BOUND,
}
PREDICTIONS = {
    "time": Column.NUMBER,
    "source": Column.LABEL,
    "target": Column.LABEL,
    "predicted": Column.NUMBER,
    "estimated": Column.NUMBER,
    "estimated_low": Column.NUMBER,
    "estimated_high": Column.NUMBER,
}
# Panels in one row, where there is one for every state.
_MOST_COLUMNS = 4
_BAND = 0.2


def prevalence(
    table: pd.DataFrame,
    *,
    time_unit: str = "",
    ax: Any = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> ndarray:
    """Draw the observed and the expected share of every state over time.

    Parameters
    ----------
    table : DataFrame
        From :func:`dyninfer.tl.prevalence`.
    time_unit : str
        Unit of time, for the label.
    ax : array of Axes, optional
        One for every state; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Returns
    -------
    array ``(row, column)`` of Axes

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such table, or the number of axes is not that of the states.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2)
    >>> paths = queue.paths(range(10), 200)
    >>> panels = di.pl.prevalence(di.tl.prevalence(queue.process(), paths), time_unit="h")
    """
    table = read_table(table, PREVALENCE, "tl.prevalence", rows=("time", "state"))
    states = list(table["state"].unique())
    n_columns = min(len(states), _MOST_COLUMNS)
    n_rows = -(-len(states) // n_columns)
    if ax is not None:
        # Given axes are one for every state, in any form.
        n_rows, n_columns = 1, len(states)
    size = (2.5 * n_columns + 0.5, 2.3 * n_rows + 0.3)
    panels = style.grid_of_axes(ax, (n_rows, n_columns), size, sharex=True, sharey=True)
    for panel, state in zip(panels.flat, states, strict=False):
        rows = table[table["state"] == state].sort_values("time")
        _draw_prediction(panel, rows, "expected", ("low", "high"))
        panel.plot(
            rows["time"],
            rows["observed"],
            color=style.INK,
            marker="o",
            markersize=3.5,
            linewidth=0.8,
            label="observed",
        )
        panel.set_ylim(-0.03, 1.03)
        panel.set_title(str(state), fontsize=style.LABELS, color=style.INK)
        style.tidy(panel, style.with_unit("time", time_unit))
    for panel in panels.flat[len(states) :]:
        panel.set_visible(False)
    for panel in panels[:, 0]:
        panel.set_ylabel("share", fontsize=style.LABELS, color=style.INK)
    style.legend(panels[0, 0])
    return style.finish(panels, show=show, save=save)


def implied_timescales(
    table: pd.DataFrame,
    *,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw time scales against the lag, with those of a model as dashed lines.

    In the grey region a time scale is shorter than the lag and can no longer be estimated.

    Parameters
    ----------
    table : DataFrame
        From :func:`dyninfer.tl.implied_timescales`.
    time_unit : str
        Unit of time, for the labels.
    ax, show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If ``table`` is not such a table, or none of its time scales is finite.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2)
    >>> paths = queue.paths(range(10), 200)
    >>> ax = di.pl.implied_timescales(di.tl.implied_timescales(paths), time_unit="h")
    """
    table = read_table(table, TIME_SCALES, "tl.implied_timescales", rows=("lag", "process"))
    finite = table[np.isfinite(table["value"]) & (table["value"] > 0)]
    if len(finite) == 0:
        raise ValueError("no time scale of the table is finite, so there is nothing to draw")
    ax = style.axes(ax, (4.8, 3.6))
    numbers = list(finite["process"].unique())
    # An endless interval ends above the picture.
    top = 10 * finite["value"].max()
    for number, color in zip(numbers, label_palette(len(numbers)), strict=True):
        rows = finite[finite["process"] == number].sort_values("lag")
        high = rows["high"].clip(upper=top)
        ax.fill_between(rows["lag"], rows["low"], high, color=color, alpha=_BAND, linewidth=0)
        label = f"time scale {number:g}"
        ax.plot(rows["lag"], rows["value"], color=color, marker="o", markersize=3.5, label=label)
        if "model" in rows and np.isfinite(rows["model"]).all():
            ax.plot(rows["lag"], rows["model"], color=color, linestyle=(0, (4, 3)), linewidth=1)
    lags = np.sort(table["lag"].unique())
    bottom = 0.5 * min(finite["value"].min(), lags[0])
    # Many points: a straight line is bent on a logarithmic axis.
    diagonal = np.linspace(lags[0], lags[-1], 100)
    ax.fill_between(diagonal, bottom, diagonal, color=style.CELLS, alpha=0.5, linewidth=0, zorder=0)
    ax.set_ylim(bottom, 2 * max(finite["value"].max(), lags[-1]))
    style.log_axis(ax.yaxis)
    if "model" in finite:
        ax.plot([], [], color=style.INK, linestyle=(0, (4, 3)), linewidth=1, label="model")
    style.legend(ax)
    ylabel = style.with_unit("implied time scale", time_unit)
    style.tidy(ax, style.with_unit("lag", time_unit), ylabel)
    return style.finish(ax, show=show, save=save)


def chapman_kolmogorov(
    table: pd.DataFrame,
    *,
    time_unit: str = "",
    ax: Any = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> ndarray:
    """Draw transition probabilities over time: predicted as lines, counted as points.

    Parameters
    ----------
    table : DataFrame
        From :func:`dyninfer.tl.chapman_kolmogorov`.
    time_unit : str
        Unit of time, for the label.
    ax : array of Axes, optional
        One for every pair of states; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Returns
    -------
    array ``(source, target)`` of Axes

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such table, or the number of axes is not that of the pairs.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2)
    >>> paths = queue.paths(range(10), 200)
    >>> panels = di.pl.chapman_kolmogorov(di.tl.chapman_kolmogorov(paths, 1), time_unit="h")
    """
    keys = ("time", "source", "target")
    table = read_table(table, PREDICTIONS, "tl.chapman_kolmogorov", rows=keys)
    states = list(table["source"].unique())
    n_states = len(states)
    size = (1.9 * n_states + 0.6, 1.6 * n_states + 0.6)
    shape = (n_states, n_states)
    panels = style.grid_of_axes(ax, shape, size, sharex=True, sharey=True)
    places = [(i, j) for i in range(n_states) for j in range(n_states)]
    for i, j in places:
        is_jump = (table["source"] == states[i]) & (table["target"] == states[j])
        rows = table[is_jump].sort_values("time")
        panel = panels[i, j]
        _draw_prediction(panel, rows, "predicted", ("predicted_low", "predicted_high"))
        _draw_counted(panel, rows)
        panel.set_ylim(-0.05, 1.05)
        title = f"{states[i]} → {states[j]}"
        panel.set_title(title, fontsize=style.TICKS, color=style.INK)
        xlabel = style.with_unit("time", time_unit) if i == n_states - 1 else ""
        style.tidy(panel, xlabel, "probability" if j == 0 else "")
    style.legend(panels[0, 0])
    return style.finish(panels, show=show, save=save)


def _draw_prediction(ax: Axes, rows: pd.DataFrame, column: str, ends: tuple[str, str]) -> None:
    """A line, and a band where it has an interval."""
    low, high = ends
    if low in rows:
        ax.fill_between(
            rows["time"],
            rows[low],
            rows[high],
            color=style.SIMULATED,
            alpha=_BAND,
            linewidth=0,
        )
    ax.plot(rows["time"], rows[column], color=style.SIMULATED, linewidth=1.6, label=column)


def _draw_counted(ax: Axes, rows: pd.DataFrame) -> None:
    """Points with their intervals."""
    below = rows["estimated"] - rows["estimated_low"]
    above = rows["estimated_high"] - rows["estimated"]
    # A value outside of the draws has no length on that side.
    lengths = np.stack([below, above]).clip(min=0)
    ax.errorbar(
        rows["time"],
        rows["estimated"],
        yerr=lengths,
        color=style.INK,
        linestyle="none",
        marker="o",
        markersize=3.5,
        elinewidth=1,
        label="counted",
    )
