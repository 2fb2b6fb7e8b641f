"""What a model of paths forecasts, beside what was observed; and the rates that it learned."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.paths import Paths
from dyninfer.data.paths.observed import past_of
from dyninfer.data.reading import reread_paths
from dyninfer.data.storage import array
from dyninfer.data.tables import Column, read_table
from dyninfer.data.words import listed
from dyninfer.learning.settings import brief, check_count, check_seed, is_number, is_whole
from dyninfer.plotting import style

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

COLUMNS = {
    "source": Column.LABEL,
    "target": Column.LABEL,
    "rate": Column.NUMBER,
    "low": Column.NUMBER,
    "high": Column.BOUND,
    "flat": Column.FLAG,
}
# Parts of the draws that a fan holds, from the widest.
LEVELS = (0.9, 0.5)
# Paths that are drawn where the caller names none.
MOST_PATHS = 4


def forecasts(
    model: Any,
    data: AnnData | Paths,
    paths: Any = None,
    *,
    feature: int = 0,
    past_fraction: float = 0.5,
    n_samples: int = 200,
    time_unit: str = "",
    seed: int = 0,
    ax: Any = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> ndarray:
    """Draw forecasts of the later part of paths from the earlier part, with the observations.

    For numbers, bands hold the central 50 and 90 % of the draws, and the line is their median. For
    states, darker means more probable.

    Parameters
    ----------
    model : PathEstimator
        Fitted.
    data : AnnData or Paths
        Read by the keys that ``fit`` was given.
    paths : names, numbers or a mask, optional
        By default four, held-out paths first.
    feature : int
        Number of the feature to draw.
    past_fraction : float
        Share of the observations of each path from which its forecast starts.
    n_samples : int
        Draws per forecast.
    time_unit : str
        Unit of time, for labels.
    seed : int
        Fixes the draws.
    ax : array of Axes, optional
        One for every path; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Returns
    -------
    array ``(1, path)`` of Axes

    Raises
    ------
    TypeError, ValueError
        If the model does not forecast, or a path has fewer than two observations.
    """
    if not hasattr(model, "forecast") or not hasattr(model, "provenance_"):
        raise TypeError(f"model must be a fitted method for paths, found {brief(model)}")
    if not is_number(past_fraction) or not 0 < past_fraction < 1:
        raise ValueError(f"past_fraction must lie between 0 and 1, found {brief(past_fraction)}")
    check_seed(seed)
    check_count(n_samples, "n_samples")
    data = reread_paths(data, model.provenance_)
    if paths is None:
        paths = held_out_first(model, data, MOST_PATHS)
    few = data[paths]
    if few.lengths.min() < 2:
        raise ValueError("a path with one observation has no later part to forecast; leave it out")
    targets = model.observations(few)
    if not targets.discrete:
        _check_feature(feature, list(targets.features))
    width = min(3.4 * len(few) + 0.6, 12.0)
    shape = (1, len(few))
    size = (width, 3.0)
    panels = style.grid_of_axes(ax, shape, size, sharey=True)
    for k, panel in enumerate(panels[0]):
        n_past = int(past_fraction * few.lengths[k])
        cut = max(1, n_past)
        times = few.times[k]
        until = float(times[cut - 1])
        past = past_of(few[[k]], until)
        ahead = times[cut:]
        run = model.forecast(past, ahead, n_samples=n_samples, seed=seed)
        draws = array(model.observe(run.states, seed))
        path = _Forecast(times, targets.states[k], cut, draws)
        if targets.discrete:
            names = cast(Any, targets).state_names or ()
            is_first = k == 0
            _draw_states(panel, path, names, is_first)
        else:
            _draw_fan(panel, path, feature)
        panel.axvline(times[cut - 1], color=style.HELD_OUT, linewidth=1, zorder=1)
        title = str(few.names[k])
        if few.names[k] in np.asarray(model.hold_out_):
            title = f"{title}, held out"
        panel.set_title(title, fontsize=style.LABELS, color=style.INK)
        style.tidy(panel, style.with_unit("time", time_unit))
    label = "state"
    if not targets.discrete:
        label = str(targets.features[feature])
    panels[0, 0].set_ylabel(label, fontsize=style.LABELS, color=style.INK)
    return style.finish(panels, show=show, save=save)


def rates(
    table: pd.DataFrame,
    *,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw every rate with its interval, on a logarithmic axis.

    A rate whose interval reaches zero gets an arrow there; a rate about which the data say nothing
    is grey.

    Parameters
    ----------
    table : DataFrame
        From ``model.confidence_intervals()``.
    time_unit : str
        Unit of time, for the label.
    ax, show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If ``table`` is not such a table, or has no rate above zero.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2)
    >>> paths = queue.paths(range(10), 200)
    >>> model = di.MarkovJumpInference(observation="exact").fit(paths, progress=False)
    >>> ax = di.pl.rates(model.confidence_intervals(), time_unit="h")
    """
    table = read_table(table, COLUMNS, "model.confidence_intervals")
    positive = table[["rate", "low", "high"]].to_numpy(dtype=np.float64)
    is_positive = np.isfinite(positive) & (positive > 0)
    positive = positive[is_positive]
    if len(positive) == 0:
        raise ValueError("no rate of the table is above zero, so there is nothing to draw")
    # An interval down to zero has no place on a logarithmic axis: it ends below all else.
    floor = positive.min() / 3
    height = 0.3 * len(table) + 1.1
    ax = style.axes(ax, (5.4, height))
    for place, (_, row) in enumerate(table.iterrows()):
        color = style.OBSERVED if row["flat"] else style.SIMULATED
        low = max(float(row["low"]), floor)
        ax.plot([low, row["high"]], [place, place], color=color, linewidth=1.6)
        if row["low"] <= 0:
            ax.plot(low, place, marker="<", color=color, markersize=6)
        if row["rate"] > 0:
            ax.plot(row["rate"], place, marker="o", color=color, markersize=5)
    labels = [f"{row['source']} → {row['target']}" for _, row in table.iterrows()]
    style.name_rows(ax, labels)
    style.log_axis(ax.xaxis)
    style.tidy(ax, style.with_unit("rate", style.per(time_unit)))
    return style.finish(ax, show=show, save=save)


def _check_feature(feature: Any, features: list[str]) -> None:
    if not is_whole(feature) or not 0 <= feature < len(features):
        raise ValueError(
            f"feature must be the number of one of the features, 0 to {len(features) - 1} "
            f"({listed(features, 4)}), found {brief(feature)}"
        )


class _Forecast(NamedTuple):
    """One path: its times and observations, where its past ends, and draws of the rest."""

    times: ndarray  # (l,)
    observed: ndarray  # (l, feature), or (l,) states
    cut: int
    draws: ndarray  # (draw, l - cut, feature), or states (draw, l - cut)


def held_out_first(model: Any, data: Paths, n: int) -> ndarray:
    """Numbers of ``n`` paths of two observations at least, those that were held out first."""
    is_long = np.flatnonzero(data.lengths >= 2)
    if len(is_long) == 0:
        raise ValueError("every path has one observation, so there is nothing to forecast")
    names = data.names[is_long]
    held_out = np.asarray(model.hold_out_)
    is_held_out = np.isin(names, held_out)
    order = np.argsort(~is_held_out, kind="stable")
    return is_long[order[:n]]


def _draw_fan(ax: Axes, path: _Forecast, feature: int) -> None:
    draws = path.draws[..., feature]
    later = path.times[path.cut :]
    for level, opacity in zip(LEVELS, (0.18, 0.35), strict=True):
        tails = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.nanquantile(draws, tails, axis=0)
        ax.fill_between(later, low, high, color=style.SIMULATED, alpha=opacity, linewidth=0)
    median = np.nanmedian(draws, axis=0)
    ax.plot(later, median, color=style.SIMULATED, linewidth=1.4)
    observed = path.observed[:, feature]
    ax.plot(path.times, observed, ".", color=style.INK, markersize=4)


def _draw_states(ax: Axes, path: _Forecast, names: Any, is_first: bool) -> None:
    n_states = len(names) or int(max(path.draws.max(), path.observed.max())) + 1
    later = path.times[path.cut :]
    states = np.arange(n_states)
    is_state = path.draws[..., None] == states
    share = is_state.mean(axis=0)  # (time, state)
    every_edge = style.edges(path.times)
    edges = every_edge[path.cut :]
    ax.pcolormesh(
        edges,
        np.arange(n_states + 1) - 0.5,
        share.T,
        cmap="Blues",
        vmin=0,
        vmax=1.15,
    )
    is_seen = path.observed >= 0
    ax.plot(path.times[is_seen], path.observed[is_seen], ".", color=style.INK, markersize=4)
    if is_first:
        labels = [str(name) for name in names] or [str(state) for state in states]
        ax.set_yticks(states, labels)
    ax.set_ylim(-0.6, n_states - 0.4)
    ax.set_xlim(path.times[0], later[-1])
