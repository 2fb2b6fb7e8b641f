"""Fates: of cells as places between corners, of groups as bars, of paths as fans over time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.arrays import as_list
from dyninfer.data.colors import stored_colors
from dyninfer.data.columns import MissingKey, check_anndata
from dyninfer.data.fates import stored_fates
from dyninfer.data.storage import array
from dyninfer.data.tables import Column, read_table
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.words import listed, quoted, texts
from dyninfer.learning.settings import brief
from dyninfer.plotting import style
from dyninfer.plotting.colors import CellColors, label_palette

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

# Parts of the paths that the bands of a fan hold, from the widest, and their opacities.
BANDS = ((0.9, 0.15), (0.5, 0.3))


def fate_triangle(
    adata: AnnData,
    fates: Sequence[str] | None = None,
    *,
    color: str | None = None,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw every cell between its fates: at a corner, that fate is certain.

    A cell lies at ``Σ p_k c_k``, where ``c_k`` are the corners. With three fates the position shows
    all probabilities. With more, the corners form a polygon, and different mixes of fates may share
    a position.

    Parameters
    ----------
    adata : AnnData
        With the fates that :func:`dyninfer.tl.fates` wrote.
    fates : sequence of str, optional
        At least three fates, in the order of the corners; by default all. Probabilities are scaled
        to sum to one over them.
    color : str, optional
        Column of ``obs`` or gene; by default the most probable fate.
    ax, show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError
        If the AnnData has no fates, or lacks one of these.
    ValueError
        If there are fewer than three fates.
    """
    table = stored_fates(adata)
    names = list(table.columns)
    if fates is not None:
        names = _known(fates, names)
    if len(names) < 3:
        raise ValueError(
            f"a triangle needs at least three fates, found {listed(names)}; use pl.fate_bars"
        )
    shares = table[names].to_numpy()
    total = shares.sum(axis=1, keepdims=True)
    # A cell without these fates has no place among them.
    is_placed = np.isfinite(total[:, 0]) & (total[:, 0] > 0)
    corners = _corners(len(names))
    points = (shares[is_placed] / total[is_placed]) @ corners
    colors = CellColors.of(adata, keys.FATE if color is None else color)
    ax = style.axes(ax, (5.6, 4.6))
    outline = np.concatenate([corners, corners[:1]])
    ax.plot(*outline.T, color=style.CELLS, linewidth=1, zorder=0)
    size = 1.5 * style.dot_size(len(points))
    style.dots(ax, points, s=size, c=colors.rgba()[is_placed], alpha=0.8)
    for name, (x, y) in zip(names, corners, strict=True):
        ax.annotate(
            name,
            (x, y),
            xytext=(9 * x, 9 * y),
            textcoords="offset points",
            ha="center",
            va="center" if abs(y) < 0.2 else ("bottom" if y > 0 else "top"),
            fontsize=style.LABELS,
            color=style.INK,
        )
    colors.explain(ax)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return style.finish(ax, show=show, save=save)


def fate_bars(
    table: pd.DataFrame,
    *,
    color: Mapping[str, str] | AnnData | None = None,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the mean fates of every time and label as a stacked bar of height one.

    Parameters
    ----------
    table : DataFrame
        From :func:`dyninfer.tl.transition_table`.
    color : dict of colours by fate, or AnnData, optional
        An AnnData provides the colours that :func:`dyninfer.tl.fates` wrote.
    time_unit : str
        Unit of time, for labels.
    ax, show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such table, or a fate has no colour.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> table = di.tl.fates(model, adata, "kind", n_draws=2)
    >>> ax = di.pl.fate_bars(di.tl.transition_table(adata, "kind"), color=adata)
    """
    table = _read_table(table)
    shares = table.drop(columns="n_cells")
    palette = _palette(list(shares.columns), color)
    ax = style.axes(ax, (6.4, 0.3 * len(table) + 1.3))
    places = np.arange(len(table))
    left = np.zeros(len(table))
    for fate in shares:
        width = shares[fate].to_numpy()
        ax.barh(places, width, 0.8, left, color=palette[fate], label=str(fate), linewidth=0)
        left = left + width
    labels = []
    for (time, label), n_cells in table["n_cells"].items():
        when = style.at_time(time, time_unit)
        labels.append(f"{when}, {label} ({n_cells:.0f})")
    style.name_rows(ax, labels)
    ax.set_xlim(0, 1)
    style.legend(ax, loc="center left", bbox_to_anchor=(1.01, 0.5))
    style.tidy(ax, "mean probability of the fate")
    return style.finish(ax, show=show, save=save)


def _read_table(table: Any) -> pd.DataFrame:
    """Shares of fates and numbers of cells, by time and label."""
    source = "tl.transition_table"
    columns = {"n_cells": Column.NUMBER}
    if isinstance(table, pd.DataFrame):
        columns |= dict.fromkeys(table.columns, Column.NUMBER)
    table = read_table(table, columns, source)
    times = table.index.get_level_values(0)
    if table.index.nlevels != 2 or not pd.api.types.is_numeric_dtype(times):
        raise TypeError(f"rows of table must have a time and a label; give what {source} returned")
    return table


def fan(
    traj: Trajectories,
    feature: str | None = None,
    *,
    color: Sequence[Any] | ndarray | pd.Series | None = None,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw one feature of simulated paths over time, one fan per group of paths.

    The line is the median; the bands hold the central 50 and 90 % of the paths, counted by their
    weights.

    Parameters
    ----------
    traj : Trajectories
        Continuous states.
    feature : str, optional
        By default the first.
    color : sequence ``(path,)``, optional
        A label of every path, such as its fate; each label gets a fan. Paths without a label are
        left out.
    time_unit : str
        Unit of time, for labels.
    ax, show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the states jump, the feature is missing, or there is not one label per path.

    Examples
    --------
    >>> import torch
    >>> import dyninfer as di
    >>> states = torch.randn(50, 4, 1).cumsum(1)
    >>> traj = di.Trajectories(states=states, times=[0, 1, 2, 3], features=["Sox2"])
    >>> ax = di.pl.fan(traj, "Sox2", time_unit="d")
    """
    if not isinstance(traj, Trajectories):
        raise TypeError(f"traj must be Trajectories, found {brief(traj)}")
    if traj.discrete:
        raise TypeError("a fan needs states that move continuously, and these jump")
    names = texts(traj.features)
    if feature is None:
        feature = names[0]
    if not isinstance(feature, str) or feature not in names:
        raise MissingKey(f"feature {quoted(feature)} was not simulated; there are {listed(names)}")
    values = array(traj.states)[..., names.index(feature)].astype(np.float64)
    times = array(traj.times)
    weights = array(traj.weights)
    is_whole = np.isfinite(values).all(axis=1)
    groups = _groups(traj, color)
    palette: tuple[str, ...] = (style.SIMULATED,)
    if color is not None:
        palette = label_palette(len(groups.categories))
    ax = style.axes(ax, (5.2, 3.6))
    for code, (label, tint) in enumerate(zip(groups.categories, palette, strict=True)):
        rows = np.flatnonzero((groups.codes == code) & is_whole)
        if len(rows) == 0:
            continue
        for share, opacity in BANDS:
            low = _quantile(values[rows], weights[rows], (1 - share) / 2)
            high = _quantile(values[rows], weights[rows], (1 + share) / 2)
            ax.fill_between(times, low, high, color=tint, alpha=opacity, linewidth=0)
        middle = _quantile(values[rows], weights[rows], 0.5)
        ax.plot(times, middle, color=tint, linewidth=1.8, label=str(label))
    if color is not None:
        style.legend(ax)
    style.tidy(ax, style.with_unit("time", time_unit), feature)
    return style.finish(ax, show=show, save=save)


def _groups(traj: Trajectories, color: Any) -> pd.Categorical:
    """The label of every path; one for all where none was given."""
    if color is None:
        return pd.Categorical(["all"] * traj.n_paths)
    labels = as_list(color, "color", "one label for each path")
    if len(labels) != traj.n_paths:
        raise ValueError(
            f"color must be one label for each of {traj.n_paths} paths, found {len(labels)}"
        )
    if any(isinstance(label, np.ndarray) for label in labels):
        raise ValueError("color must be one label for each path, found an array for each")
    return pd.Categorical(labels)


def _quantile(values: ndarray, weights: ndarray, level: float) -> ndarray:
    """Weighted quantile over paths at every time ``(time,)``, of values ``(path, time)``."""
    quantiles = []
    for column, weight in zip(values.T, weights.T, strict=True):
        order = np.argsort(column)
        below = np.cumsum(weight[order])
        # The middle of a path's own weight: with equal weights, the median of three is the second.
        share = (below - 0.5 * weight[order]) / below[-1]
        quantiles.append(np.interp(level, share, column[order]))
    return np.array(quantiles)


def _known(fates: Sequence[str], names: list[str]) -> list[str]:
    names_in_order = as_list(fates, "fates", "names of fates")
    for fate in names_in_order:
        if not isinstance(fate, str) or fate not in names:
            raise MissingKey(f"there is no fate {quoted(fate)}; there are {listed(names)}")
    return names_in_order


def _corners(n: int) -> ndarray:
    """Corners of a regular polygon ``(n, 2)``, the first at the top."""
    angles = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _palette(fates: list[str], color: Any) -> dict[str, str]:
    """A colour for every fate."""
    if color is None:
        return dict(zip(fates, label_palette(len(fates)), strict=True))
    palette = color
    if not isinstance(color, Mapping):
        check_anndata(color)
        palette = stored_colors(color, keys.FATE)
        if not palette:
            return _palette(fates, None)
    for fate in fates:
        if fate not in palette:
            raise MissingKey(f"color has no colour for the fate {quoted(fate)}")
    return {fate: palette[fate] for fate in fates}
