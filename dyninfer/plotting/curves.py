"""Numbers over time and over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dyninfer.data.storage import array
from dyninfer.plotting import style

if TYPE_CHECKING:
    import pandas as pd
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


def history(model: Any, terms: Sequence[str] = ("loss",), *, ax: Axes | None = None) -> Axes:
    """Draw the training loss, the validation and the step whose weights were kept.

    Parameters
    ----------
    model : Estimator
        Fitted.
    terms : sequence of str
        Columns of ``model.history_`` to draw beside the validation.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    KeyError
        If the history has no such column; the message lists those it has.
    """
    from dyninfer.data.columns import MissingKey

    rows = model.history_
    for name in terms:
        if name not in rows:
            raise MissingKey(
                f"the history has no column {name!r}; it has {', '.join(map(repr, rows.columns))}"
            )
    ax = style.axes(ax, (5.2, 3.4))
    colors = [style.SIMULATED, "#009e73", "#cc79a7", "#56b4e9", "#e69f00"]
    shown = []
    for name, color in zip(terms, colors, strict=False):
        line = rows[["step", name]].dropna()
        label = "training loss" if name == "loss" else name.replace("_", " ")
        ax.plot(line["step"], line[name], color=color, linewidth=1, alpha=0.8, label=label)
        shown.append(line[name].to_numpy()[len(line) // 20 :])
    if "validation" in rows and rows["validation"].notna().any():
        line = rows[["step", "validation"]].dropna()
        best = line.loc[line["validation"].idxmin()]
        ax.plot(
            *line.to_numpy().T,
            color=style.INK,
            linewidth=1.4,
            marker="o",
            markersize=3,
            label="validation",
        )
        ax.axvline(best["step"], color=style.HELD_OUT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        label = f"kept: step {best['step']:.0f}"
        ax.plot(
            *best,
            marker="o",
            markersize=7,
            color=style.HELD_OUT,
            linestyle="none",
            label=label,
            zorder=5,
        )
        shown.append(line["validation"].to_numpy())
    _zoom(ax, np.concatenate(shown))
    ax.set_xlim(0, None)
    style.legend(ax)
    return style.tidy(ax, "training step", "loss (standardised units)")


def mass(
    traj: Trajectories,
    data: Snapshots | None = None,
    *,
    time_unit: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the mass of the simulated population over time, relative to its first time.

    Parameters
    ----------
    traj : Trajectories
        Without weights the mass is one throughout.
    data : Snapshots, optional
        Their ``masses``, if any, are drawn as points, scaled to the simulated mass at the first time both have.
    time_unit : str
        Unit of time, for the label.
    ax : Axes, optional
        Where to draw; by default a new figure.
    """
    times, value = array(traj.times), array(traj.mass)
    ax = style.axes(ax, (4.8, 3.4))
    ax.axhline(1, color=style.CELLS, linewidth=1, zorder=0)
    ax.plot(times, value, color=style.SIMULATED, linewidth=1.8, label="simulated")
    if data is not None and data.masses is not None:
        order = np.argsort(times)
        inside = (data.times >= times.min()) & (data.times <= times.max())
        seen = data.times[inside]
        observed = (
            data.masses[inside]
            * np.interp(seen[0], times[order], value[order])
            / data.masses[inside][0]
        )
        ax.plot(seen, observed, "o", color=style.OBSERVED, markersize=5, label="observed")
        style.legend(ax)
    low, high = ax.get_ylim()
    if high - low < 0.1:
        ax.set_ylim(min(low, 0.9), max(high, 1.1))
    return style.tidy(ax, style.with_unit("time", time_unit), "mass relative to the start")


def evaluation(
    table: pd.DataFrame, metric: str = "w1", *, time_unit: str = "", ax: Axes | None = None
) -> Axes:
    """Draw how far the simulated population is from the observed one, at every time.

    Beside the model stand the unmoved starting cells (what no dynamics at all would score), the distance between two halves
    of the observed cells (what a perfect model would score with that few cells) and, where the table has a column
    ``<metric>_ot``, interpolation by optimal transport. Held-out times are marked.

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

    Raises
    ------
    KeyError
        If the table has no such metric; the message lists those it has.
    """
    from dyninfer.data.columns import MissingKey

    if metric not in table:
        there = [
            c.removesuffix("_floor")
            for c in table.columns
            if c.endswith("_floor") and c != "n_floor"
        ]
        raise MissingKey(
            f"the table has no metric {metric!r}; it has {', '.join(map(repr, there))}"
        )
    table = table.sort_values("time")
    ax = style.axes(ax, (5.6, 3.6))
    time = table["time"].to_numpy()
    if f"{metric}_floor" in table:
        floor = table[f"{metric}_floor"].to_numpy()
        ax.fill_between(time, min(0.0, floor.min()), floor, color="#ededed", linewidth=0, zorder=0)
        ax.plot(
            time,
            floor,
            color="#a8a8a8",
            linewidth=1,
            label="two halves of the observed cells (floor)",
        )
    for suffix, name, mark in (
        ("_still", "starting cells, unmoved", "s"),
        ("_ot", "optimal-transport interpolation", "^"),
    ):
        if f"{metric}{suffix}" in table:
            dash: dict[str, Any] = {
                "linestyle": (0, (4, 3)),
                "linewidth": 1.1,
                "marker": mark,
                "markersize": 4,
            }
            color = style.OBSERVED if suffix == "_still" else "#009e73"
            ax.plot(time, table[f"{metric}{suffix}"], color=color, label=name, **dash)
    ax.plot(
        time,
        table[metric],
        color=style.SIMULATED,
        linewidth=1.8,
        marker="o",
        markersize=5,
        label="model",
    )
    held = table[table["held_out"].astype(bool)] if "held_out" in table else table[:0]
    if len(held):
        ring: dict[str, Any] = {
            "marker": "o",
            "markersize": 9,
            "markerfacecolor": "white",
            "markeredgewidth": 2.2,
        }
        ax.plot(
            held["time"],
            held[metric],
            linestyle="none",
            color=style.HELD_OUT,
            label="model, time held out",
            **ring,
        )
    ax.set_ylim(bottom=min(0.0, float(np.nanmin(table[metric])) * 1.1))
    ax.set_xticks(time)
    style.legend(ax)
    return style.tidy(ax, style.with_unit("time", time_unit), METRIC_NAMES.get(metric, metric))


def _zoom(ax: Axes, values: np.ndarray) -> None:
    """Limit the vertical axis to what comes after the first fall of the loss."""
    values = values[np.isfinite(values)]
    if len(values):
        low, high = np.quantile(values, [0.0, 0.995])
        margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
        ax.set_ylim(low - margin, high + margin)
