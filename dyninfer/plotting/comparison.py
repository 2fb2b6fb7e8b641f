"""Methods beside each other, and predictions beside what was observed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.storage import array
from dyninfer.data.tables import Column, read_table
from dyninfer.data.times import Clock
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.words import quoted, texts
from dyninfer.learning.settings import brief, is_number
from dyninfer.plotting import style
from dyninfer.plotting.curves import METRIC_NAMES, check_metric
from dyninfer.plotting.plane import Cells

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from dyninfer.data.snapshots import Snapshots

FLOOR = "floor"
# More of these is better; of all other scores, less.
MORE_IS_BETTER = ("log_likelihood", "per_observation", "coverage")
# Scores that differ by more than this factor are drawn on a logarithmic axis.
WIDE = 15
# Features whose names are written: those that are predicted worst.
N_NAMED = 3


def comparison(
    table: pd.DataFrame,
    metric: str = "w1",
    *,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the scores of methods and baselines, best at the top.

    A large mark is the mean over held-out times (or folds) and seeds, its bar one standard error of
    that mean; small marks are the single scores. Methods are blue discs and predictions without a
    model grey squares. The grey area ends at the floor, the score of another sample of the observed
    population.

    Parameters
    ----------
    table : DataFrame
        From :func:`dyninfer.tl.compare`.
    metric : str
        Column of the table.
    ax, show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If ``table`` is not such a table, or has no values of the metric.
    """
    check_metric(metric, table, list)
    if isinstance(table, pd.DataFrame):
        # A CSV file does not tell empty text, the settings of a baseline, from what is missing.
        table = table.fillna({"settings": ""})
    columns = {"method": Column.LABEL, "settings": Column.LABEL, metric: Column.SCORE}
    table = read_table(table, columns, "tl.compare")
    scored = table[table[metric].notna()]
    is_floor = scored["method"] == FLOOR
    floors = scored.loc[is_floor, metric]
    floor = floors.mean()
    scored = scored[scored["method"] != FLOOR]
    if len(scored) == 0:
        raise ValueError(f"the table has no score {quoted(metric)} of any method")
    by_method = scored.groupby("method")[metric]
    means = by_method.mean().sort_values(ascending=metric not in MORE_IS_BETTER)
    errors = by_method.sem().fillna(0.0)
    settings = scored.groupby("method")["settings"]
    is_method = settings.agg(lambda texts: (texts != "").any())
    height = 0.42 * len(means) + 1.3
    ax = style.axes(ax, (6.0, height))
    for place, (name, mean) in enumerate(means.items()):
        look: dict[str, Any] = {"color": style.OBSERVED, "marker": "s"}
        if is_method[name]:
            look = {"color": style.SIMULATED, "marker": "o"}
        single = by_method.get_group(name)
        same_place = np.full(len(single), place)
        ax.plot(single, same_place, linestyle="none", markersize=3, alpha=0.4, **look)
        ax.errorbar(
            mean, place, xerr=errors[name], markersize=7.5, capsize=3, linewidth=1.5, **look
        )
    names = [str(name) for name in means.index]
    style.name_rows(ax, names)
    _scale(ax, scored[metric].to_numpy(), floor)
    if np.isfinite(floor):
        left = ax.get_xlim()[0]
        ax.axvspan(left, floor, color="#ededed", linewidth=0, zorder=0)
        ax.axvline(floor, color="#a8a8a8", linewidth=1, zorder=0)
        # At the bottom, where scores are the worst, it lies on no mark; above, on a title.
        ax.text(
            floor,
            0.03,
            FLOOR,
            transform=ax.get_xaxis_transform(),
            rotation=90,
            ha="right",
            fontsize=style.TICKS,
            color=style.OBSERVED,
        )
        ax.set_xlim(left=left)
    label = METRIC_NAMES.get(metric, metric.replace("_", " "))
    style.tidy(ax, label)
    return style.finish(ax, show=show, save=save)


def _scale(ax: Axes, values: ndarray, floor: float) -> None:
    """A logarithmic axis where scores differ by an order, else one that holds zero."""
    every = values
    if np.isfinite(floor):
        every = np.append(values, floor)
    low = every.min()
    high = every.max()
    if low > 0 and high / low > WIDE:
        style.log_axis(ax.xaxis)
        ax.set_xlim(low / 1.3, high * 1.3)
    elif low >= 0:
        ax.set_xlim(0, 1.08 * high or 1.0)


def predicted(
    data: AnnData | Snapshots,
    traj: Trajectories,
    time: float,
    *,
    use_rep: str | None = None,
    time_key: str | None = None,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw simulated against observed mean and standard deviation of every feature at one time.

    On the diagonal they agree. Simulated cells count by their weights; the features farthest from
    the diagonal are labelled.

    Parameters
    ----------
    data : AnnData or Snapshots
        The observed cells.
    traj : Trajectories
        Simulated paths of continuous states that include the time.
    time : float
        An observed time.
    use_rep, time_key, time_unit
        As in :func:`~dyninfer.plotting.marginals`.
    ax, show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the states jump, or nothing was observed or simulated at the time.

    Examples
    --------
    >>> import torch
    >>> import dyninfer as di
    >>> data = di.Snapshots(times=[0, 1], samples=[[[0.0], [1.0]], [[2.0], [3.0]]])
    >>> traj = di.Trajectories(states=torch.tensor([[[0.0], [2.5]]]), times=[0, 1], features=["x0"])
    >>> ax = di.pl.predicted(data, traj, time=1)
    """
    if not isinstance(traj, Trajectories) or traj.discrete:
        raise TypeError(f"traj must be Trajectories of continuous states, found {brief(traj)}")
    if not is_number(time):
        raise TypeError(f"time must be a number, found {brief(time)}")
    cells = Cells.of(data, traj.features, use_rep, time_key, need_times=True)
    clock = Clock.of(cells.times)
    positions = clock.positions(np.array([time]))
    if positions[0] < 0:
        raise ValueError(f"nothing was observed at time {time:g}; the times are {clock}")
    rows = clock.rows(cells.times, time)
    observed = cells.states[rows].astype(np.float64)
    is_whole = array(traj.status) == 0
    states = array(traj.at(time))
    simulated = states[is_whole].astype(np.float64)
    weights = array(traj.weights_at(time))[is_whole]
    mean = np.average(simulated, axis=0, weights=weights)
    squares = (simulated - mean) ** 2
    variance = np.average(squares, axis=0, weights=weights)
    spread = np.sqrt(variance)
    pairs = {
        "mean": (observed.mean(axis=0), mean, style.SIMULATED, "o"),
        "standard deviation": (observed.std(axis=0), spread, style.BASELINE, "^"),
    }
    ax = style.axes(ax, (4.4, 4.2))
    for label, (x, y, color, marker) in pairs.items():
        points = np.stack([x, y], axis=1)
        style.dots(ax, points, s=24, c=color, marker=marker, label=label)
    values = np.concatenate([np.concatenate(pair[:2]) for pair in pairs.values()])
    ends = np.array([values.min(), values.max()])
    margin = 0.06 * (ends[1] - ends[0])
    ends = ends + margin * np.array([-1, 1])
    ax.plot(ends, ends, color=style.CELLS, linewidth=1, zorder=0)
    observed_mean = observed.mean(axis=0)
    features = texts(traj.features)
    _name_worst(ax, observed_mean, mean, features)
    ax.set_aspect("equal")
    style.legend(ax)
    when = style.at_time(time, time_unit)
    style.tidy(ax, f"observed at {when}", f"simulated at {when}")
    return style.finish(ax, show=show, save=save)


def _name_worst(ax: Axes, observed: ndarray, simulated: ndarray, names: Any) -> None:
    """Write the names of the features whose means differ most."""
    error = np.abs(simulated - observed)
    for k in np.argsort(-error)[:N_NAMED]:
        # A feature that is met needs no name.
        if error[k] > 0.1 * np.ptp(observed):
            ax.annotate(
                names[k],
                (observed[k], simulated[k]),
                xytext=(5, -3),
                textcoords="offset points",
                fontsize=style.TICKS,
                color=style.INK,
            )
