"""What becomes of labels from time to time, as ribbons between stacked bars."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.colors import PALETTE
from dyninfer.data.tables import Column, read_table
from dyninfer.data.words import as_text
from dyninfer.learning.settings import brief, is_number
from dyninfer.plotting import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = {
    "time": Column.NUMBER,
    "next_time": Column.NUMBER,
    "source": Column.LABEL,
    "target": Column.LABEL,
    "source_share": Column.NUMBER,
    "target_share": Column.NUMBER,
    "of_source": Column.NUMBER,
    "of_target": Column.NUMBER,
}
BAR = 0.06  # width of a bar, in intervals between times
GAP = 0.02  # between the bars of one time, of all of its height
N_POINTS = 60  # of the edge of a ribbon: more could not be told apart


def sankey(
    flows: pd.DataFrame,
    *,
    colors: Mapping[str, str] | None = None,
    min_share: float = 0.01,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the flows of labels from time to time.

    The bars at a time show the shares of its labels among the observed cells. A ribbon has the
    colour of its source. Its width at the source is its share of the descendants of that bar; at
    the target, its share of the ancestry of that bar. A ribbon that widens adds to its target.

    Parameters
    ----------
    flows : DataFrame
        From :func:`dyninfer.tl.flows`.
    colors : dict, optional
        Colours by label; by default a palette safe for colour-blind readers, which repeats after
        seven labels.
    min_share : float
        Ribbons thinner than this at both ends are not drawn; the table still holds them.
    time_unit : str
        Unit of time, for labels.
    ax : Axes, optional
        Where to draw; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    TypeError, ValueError
        If ``flows`` is not such a table, or a label has no colour.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> ax = di.pl.sankey(di.tl.flows(model, adata, "kind", at=[0, 48, 96]), time_unit="hours")
    """
    flows = read_table(flows, COLUMNS, "tl.flows", rows=("time", "source", "target"))
    if not is_number(min_share) or not 0 <= min_share <= 1:
        raise ValueError(f"min_share must lie between 0 and 1, found {brief(min_share)}")
    steps = flows[["time", "next_time"]].drop_duplicates()
    times = [*steps["time"], steps["next_time"].iloc[-1]]
    ends = list(steps["next_time"][:-1])
    begins = list(steps["time"][1:])
    if ends != begins:
        raise ValueError("the intervals of flows must follow each other; give one unchanged table")
    palette = _palette(flows, colors)
    width = 1.7 * len(times) + 2.0
    ax = style.axes(ax, (width, 4.4))
    stacks = _stacks(flows, times)
    for place, stack in enumerate(stacks):
        for label, (bottom, top) in stack.items():
            ax.bar(
                place,
                top - bottom,
                BAR,
                bottom,
                color=palette[label],
                linewidth=0,
                zorder=3,
            )
    for place, ((_, flow), here, there) in enumerate(
        zip(flows.groupby("time", sort=True), stacks[:-1], stacks[1:], strict=True)
    ):
        _draw_ribbons(ax, place, flow, here, there, palette, min_share)
    _name_bars(ax, stacks)
    style.tidy(ax, style.with_unit("time", time_unit))
    names = [as_text(time) for time in times]
    ax.set_xticks(range(len(times)), names)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    return style.finish(ax, show=show, save=save)


Stack = dict[str, tuple[float, float]]


def _palette(flows: pd.DataFrame, colors: Mapping[str, str] | None) -> dict[str, str]:
    both = [*flows["source"], *flows["target"]]
    labels = list(dict.fromkeys(both))
    if colors is None:
        every = PALETTE
        return {label: every[k % len(every)] for k, label in enumerate(labels)}
    if not isinstance(colors, Mapping):
        raise TypeError(f"colors must be a dict of colours by label, found {brief(colors)}")
    missing = [label for label in labels if label not in colors]
    if missing:
        raise ValueError(f"colors has no colour for label {brief(missing[0])}")
    return dict(colors)


def _stacks(flows: pd.DataFrame, times: list[float]) -> list[Stack]:
    """Bottom and top of the bar of every label, time by time."""
    stacks = []
    for time in times[:-1]:
        here = flows[flows["time"] == time]
        shares = here.groupby("source", sort=False)["source_share"].first()
        stacks.append(_stack(shares))
    is_last = flows["next_time"] == times[-1]
    last = flows[is_last]
    last_shares = last.groupby("target", sort=False)["target_share"].first()
    stacks.append(_stack(last_shares))
    return stacks


def _stack(shares: pd.Series) -> Stack:
    stack = {}
    bottom = 0.0
    for label, share in shares.items():
        top = bottom + share
        stack[str(label)] = (bottom, top)
        bottom += share + GAP
    return stack


def _draw_ribbons(
    ax: Axes,
    place: int,
    flow: pd.DataFrame,
    here: Stack,
    there: Stack,
    palette: Mapping[str, str],
    min_share: float,
) -> None:
    """Ribbons of one interval, in the order of the bars at either end."""
    leaving = {label: bottom for label, (bottom, _) in here.items()}
    arriving = {label: bottom for label, (bottom, _) in there.items()}
    for row in flow.to_dict("records"):
        source = row["source"]
        target = row["target"]
        left = row["source_share"] * row["of_source"]
        right = row["target_share"] * row["of_target"]
        start = leaving[source]
        end = arriving[target]
        leaving[source] += left
        arriving[target] += right
        larger = max(left, right)
        if larger < min_share or max(left, right) == 0:
            continue
        begin = place + BAR / 2
        end_place = place + 1 - BAR / 2
        x, rise = _curve(begin, end_place)
        low = start + (end - start) * rise
        high = start + left + (end + right - start - left) * rise
        ax.fill_between(x, low, high, color=palette[source], alpha=0.45, linewidth=0, zorder=2)


def _curve(first: float, last: float) -> tuple[ndarray, ndarray]:
    """Places along a ribbon, and how far it has risen: level at both ends."""
    way = np.linspace(0, 1, N_POINTS)
    places = first + (last - first) * way
    eased = way**2 * (3 - 2 * way)
    return places, eased


def _name_bars(ax: Axes, stacks: list[Stack]) -> None:
    """Names of the labels outside of the first and the last bars."""
    for place, stack, side in ((0, stacks[0], "right"), (len(stacks) - 1, stacks[-1], "left")):
        away = -BAR if side == "right" else BAR
        for label, (bottom, top) in stack.items():
            ax.text(
                place + away,
                (bottom + top) / 2,
                label,
                ha=side,
                va="center",
                fontsize=style.TICKS,
                color=style.INK,
            )
    # Room for the names on either side.
    ax.set_xlim(-0.6, len(stacks) - 0.4)
