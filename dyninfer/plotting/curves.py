"""Numbers over time and over training."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_list
from dyninfer.data.storage import array
from dyninfer.data.tables import Column, read_table
from dyninfer.data.words import listed, quoted
from dyninfer.learning.settings import brief
from dyninfer.plotting import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dyninfer.data.snapshots import Snapshots
    from dyninfer.data.trajectories import Trajectories

METRIC_NAMES = {
    "w1": "Wasserstein-1 distance",
    "w2": "Wasserstein-2 distance",
    "sliced_w2": "sliced Wasserstein-2 distance",
    "mmd": "squared maximum mean discrepancy",
    "energy": "energy distance",
}
# Colours of the terms of a training loss, in the order in which the caller names them.
TERM_COLORS = (style.SIMULATED, style.BASELINE, "#cc79a7", "#56b4e9", "#e69f00")
DASHED: dict[str, Any] = {"linestyle": (0, (4, 3))}


def history(
    model: Any,
    terms: Sequence[str] = ("loss",),
    *,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the training loss, the validation loss and the best step.

    Parameters
    ----------
    model : Estimator
        Fitted.
    terms : sequence of str
        Columns of ``model.history_`` to draw besides the validation loss.
    ax : Axes, optional
        Where to draw; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError
        If the history has no such column; the message lists those it has.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> ax = di.pl.history(model)
    """
    if not hasattr(model, "history_"):
        raise TypeError(f"model must be a fitted estimator, found {brief(model)}")
    rows = model.history_
    terms = as_list(terms, "terms", "names of columns of the history")
    if not terms:
        raise ValueError("terms is empty; name at least one column of the history")
    _check_terms(rows, terms)
    ax = style.axes(ax, (5.2, 3.4))
    settled = []
    for name, color in zip(terms, TERM_COLORS, strict=False):
        line = rows[["step", name]].dropna()
        label = name.replace("_", " ")
        if name == "loss":
            label = "training loss"
        ax.plot(line["step"], line[name], color=color, linewidth=1, alpha=0.8, label=label)
        # The first twentieth is the fall from the start, which would flatten all that follows.
        n_fall = len(line) // 20
        values = line[name].to_numpy()
        settled.append(values[n_fall:])
    if "validation" in rows and rows["validation"].notna().any():
        line = rows[["step", "validation"]].dropna()
        _draw_validation(ax, line)
        settled.append(line["validation"].to_numpy())
    _zoom(ax, np.concatenate(settled))
    ax.set_xlim(0, None)
    style.legend(ax)
    style.tidy(ax, "training step", "loss (standardised units)")
    return style.finish(ax, show=show, save=save)


def _check_terms(rows: pd.DataFrame, terms: Sequence[str]) -> None:
    from dyninfer.data.columns import MissingKey

    for name in terms:
        if not isinstance(name, str) or name not in rows:
            columns = ", ".join(map(repr, rows.columns))
            raise MissingKey(f"the history has no column {brief(name)}; it has {columns}")


def mass(
    traj: Trajectories,
    data: Snapshots | None = None,
    *,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the mass of the simulated population over time, relative to its first time.

    Parameters
    ----------
    traj : Trajectories
        Simulated paths; without weights the mass is always one.
    data : Snapshots, optional
        Their ``masses``, if any, are drawn as points, scaled to the simulated mass at the first
        common time.
    time_unit : str
        Unit of time, for the label.
    ax : Axes, optional
        Where to draw; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.
    """
    from dyninfer.data.snapshots import Snapshots
    from dyninfer.data.trajectories import Trajectories

    if not isinstance(traj, Trajectories):
        raise TypeError(f"traj must be Trajectories, found {brief(traj)}")
    if data is not None and not isinstance(data, Snapshots):
        raise TypeError(f"data must be Snapshots, found {brief(data)}")
    times = array(traj.times)
    simulated = array(traj.mass)
    ax = style.axes(ax, (4.8, 3.4))
    ax.axhline(1, color=style.CELLS, linewidth=1, zorder=0)
    ax.plot(times, simulated, color=style.SIMULATED, linewidth=1.8, label="simulated")
    if data is not None and data.masses is not None:
        _draw_observed_mass(ax, data, times, simulated)
        style.legend(ax)
    low, high = ax.get_ylim()
    # A mass that hardly changes must not look as if it did.
    if high - low < 0.1:
        low_end = min(low, 0.9)
        high_end = max(high, 1.1)
        ax.set_ylim(low_end, high_end)
    time_label = style.with_unit("time", time_unit)
    style.tidy(ax, time_label, "mass relative to the start")
    return style.finish(ax, show=show, save=save)


def _draw_observed_mass(
    ax: Axes,
    data: Snapshots,
    times: ndarray,
    simulated: ndarray,
) -> None:
    """Draw the masses of the data within the simulated range, at the scale of the simulation."""
    has_begun = data.times >= times.min()
    is_before_end = data.times <= times.max()
    is_inside = has_begun & is_before_end
    observed_times = data.times[is_inside]
    masses = cast(ndarray, data.masses)[is_inside]
    # Backward runs have falling times, which interpolation does not take.
    order = np.argsort(times)
    ordered_times = times[order]
    at_first = np.interp(observed_times[0], ordered_times, simulated[order])
    scale = at_first / masses[0]
    ax.plot(
        observed_times,
        masses * scale,
        "o",
        color=style.OBSERVED,
        markersize=5,
        label="observed",
    )


def evaluation(
    table: pd.DataFrame,
    metric: str = "w1",
    *,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw how far the simulated population is from the observed one, at every time.

    Next to the model are the unmoved starting cells (the score without any dynamics) and the floor
    (the score of another sample of the observed population, and so of a perfect model). A column
    ``<metric>_ot`` adds interpolation by optimal transport. Held-out times are marked.

    Parameters
    ----------
    table : DataFrame
        From ``model.evaluate``: one row per time.
    metric : str
        Column of the table.
    time_unit : str
        Unit of time, for the label.
    ax : Axes, optional
        Where to draw; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError
        If the table has no such metric; the message lists those it has.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> ax = di.pl.evaluation(model.evaluate(adata, metrics=["w1"]), time_unit="hours")
    """
    check_metric(metric, table, _metrics)
    table = _read(table, metric).sort_values("time")
    ax = style.axes(ax, (5.6, 3.6))
    _draw_baselines(ax, table, metric)
    ax.plot(
        table["time"],
        table[metric],
        label="model",
        color=style.SIMULATED,
        linewidth=1.8,
        marker="o",
        markersize=5,
    )
    if "held_out" in table:
        _mark_held_out(ax, table[table["held_out"]], metric)
    # Zero is in the picture, so that heights compare; an unbiased MMD² may lie below it.
    lowest = float(np.nanmin(table[metric]))
    ax.set_ylim(bottom=min(0.0, 1.1 * lowest))
    ax.set_xticks(table["time"].to_numpy())
    style.legend(ax)
    time_label = style.with_unit("time", time_unit)
    label = METRIC_NAMES.get(metric, metric)
    style.tidy(ax, time_label, label)
    return style.finish(ax, show=show, save=save)


def _read(table: Any, metric: str) -> pd.DataFrame:
    """Scores at their times, with what stands beside them."""
    columns = {"time": Column.NUMBER, metric: Column.SCORE}
    if isinstance(table, pd.DataFrame):
        for beside in ("floor", "still", "ot"):
            name = f"{metric}_{beside}"
            if name in table:
                columns[name] = Column.SCORE
        if "held_out" in table:
            columns["held_out"] = Column.FLAG
    table = read_table(table, columns, "evaluate")
    if table[metric].isna().all():
        raise ValueError(f"the table has no score {brief(metric)} at any time")
    return table


def check_metric(metric: Any, table: Any, choices: Callable[[pd.DataFrame], list[str]]) -> None:
    """Raise a KeyError with the choices that a table leaves where this metric is not in it."""
    from dyninfer.data.columns import MissingKey

    if not isinstance(metric, str):
        raise TypeError(f"metric must be the name of a column, found {brief(metric)}")
    if isinstance(table, pd.DataFrame) and metric not in table:
        names = listed(choices(table))
        raise MissingKey(f"the table has no metric {quoted(metric)}; it has {names}")


def _draw_validation(ax: Axes, line: pd.DataFrame) -> None:
    """Draw the validation ``step, validation``, and mark the step of the best."""
    steps = line["step"]
    values = line["validation"]
    ax.plot(
        steps,
        values,
        label="validation",
        color=style.INK,
        linewidth=1.4,
        marker="o",
        markersize=3,
    )
    best = values.idxmin()
    step = steps[best]
    ax.axvline(step, color=style.HELD_OUT, linewidth=1, zorder=0, **DASHED)
    ax.plot(
        step,
        values[best],
        label=f"kept: step {step:.0f}",
        color=style.HELD_OUT,
        linestyle="none",
        marker="o",
        markersize=7,
        # On top of every line.
        zorder=5,
    )


def _draw_baselines(ax: Axes, table: pd.DataFrame, metric: str) -> None:
    """Draw the floor as an area, and what the unmoved cells and interpolation score as lines."""
    times = table["time"].to_numpy()
    if f"{metric}_floor" in table:
        floor = table[f"{metric}_floor"].to_numpy()
        bottom = min(0.0, np.nanmin(floor, initial=0.0))
        ax.fill_between(times, bottom, floor, color="#ededed", linewidth=0, zorder=0)
        label = "another observed sample (floor)"
        ax.plot(times, floor, color="#a8a8a8", linewidth=1, label=label)
    thin: dict[str, Any] = DASHED | {"linewidth": 1.1, "markersize": 4}
    if f"{metric}_still" in table:
        ax.plot(
            times,
            table[f"{metric}_still"],
            label="starting cells, unmoved",
            color=style.OBSERVED,
            marker="s",
            **thin,
        )
    if f"{metric}_ot" in table:
        ax.plot(
            times,
            table[f"{metric}_ot"],
            label="optimal-transport interpolation",
            color=style.BASELINE,
            marker="^",
            **thin,
        )


def _mark_held_out(ax: Axes, rows: pd.DataFrame, metric: str) -> None:
    """Draw a ring around the model's score at every held-out time."""
    if len(rows) == 0:
        return
    ax.plot(
        rows["time"],
        rows[metric],
        label="model, time held out",
        color=style.HELD_OUT,
        linestyle="none",
        marker="o",
        markersize=9,
        markerfacecolor="white",
        markeredgewidth=2.2,
    )


def _metrics(table: pd.DataFrame) -> list[str]:
    """Metrics of a table of ``evaluate``, each of which has a floor."""
    names = []
    for column in table.columns:
        is_floor = isinstance(column, str) and column.endswith("_floor")
        if is_floor and column != "n_floor":
            names.append(column.removesuffix("_floor"))
    return names


def _zoom(ax: Axes, values: ndarray) -> None:
    """Limit the vertical axis to what comes after the first fall of the loss."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return
    low, high = np.quantile(values, [0.0, 0.995])
    margin = 0.08 * (high - low)
    # A loss that does not change, or is zero, still needs an axis of some height.
    if margin == 0:
        margin = 0.1 * abs(high) or 1.0
    ax.set_ylim(low - margin, high + margin)
