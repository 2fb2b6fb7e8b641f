"""Genes along simulated paths: curves with bands, and many of them as a map."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.columns import MissingKey
from dyninfer.data.tables import Column, read_table
from dyninfer.data.words import listed
from dyninfer.learning.settings import brief
from dyninfer.plotting import style
from dyninfer.plotting.colors import label_palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = {
    "fate": Column.LABEL,
    "gene": Column.LABEL,
    "time": Column.NUMBER,
    "mean": Column.NUMBER,
    "low": Column.NUMBER,
    "high": Column.NUMBER,
}
# Panels in a row.
MOST_COLUMNS = 4


def trends(
    table: pd.DataFrame,
    *,
    time_unit: str = "",
    ax: Any = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> ndarray:
    """Draw gene expression along simulated paths, one panel per gene.

    Parameters
    ----------
    table : DataFrame
        From :func:`dyninfer.tl.trends`: the line is the mean over paths, the band the one in the
        table.
    time_unit : str
        Unit of time, for labels.
    ax : array of Axes, optional
        One for every gene; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Returns
    -------
    array ``(row, column)`` of Axes
        Panels without a gene are empty.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such table.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> table = di.tl.fates(model, adata, "kind", n_draws=2)
    >>> paths = model.simulate(adata, times=[0, 48, 96])
    >>> panels = di.pl.trends(di.tl.trends(adata, paths, list(adata.var_names[:2])))
    """
    table = _read(table)
    genes = list(table["gene"].unique())
    fates = list(table["fate"].unique())
    n_columns = min(len(genes), MOST_COLUMNS)
    n_rows = -(-len(genes) // n_columns)
    if ax is not None:
        # As many as there are genes, however they are laid out.
        n_rows = 1
        n_columns = len(genes)
    width = 2.7 * n_columns + 0.9
    height = 2.3 * n_rows + 0.3
    size = (width, height)
    shape = (n_rows, n_columns)
    panels = style.grid_of_axes(ax, shape, size, sharex=True)
    palette: tuple[str, ...] = (style.SIMULATED,)
    if len(fates) > 1:
        palette = label_palette(len(fates))
    for panel in panels.flat[len(genes) :]:
        panel.set_axis_off()
    for gene, panel in zip(genes, panels.flat, strict=False):
        for fate, color in zip(fates, palette, strict=True):
            is_gene = table["gene"] == gene
            is_fate = table["fate"] == fate
            is_curve = is_gene & is_fate
            curve = table[is_curve].sort_values("time")
            times = curve["time"]
            panel.fill_between(
                times, curve["low"], curve["high"], color=color, alpha=0.2, linewidth=0
            )
            panel.plot(times, curve["mean"], color=color, linewidth=1.7, label=str(fate))
        panel.set_title(str(gene), fontsize=style.LABELS, color=style.INK)
        style.tidy(panel)
    # The lowest of every column: the last row may not be full.
    first = max(0, len(genes) - n_columns)
    label = style.with_unit("time", time_unit)
    for panel in panels.flat[first : len(genes)]:
        panel.set_xlabel(label, fontsize=style.LABELS)
        panel.tick_params(labelbottom=True)
    for panel in panels[:, 0]:
        panel.set_ylabel("expression", fontsize=style.LABELS)
    if len(fates) > 1:
        place = min(len(genes), n_columns) - 1
        last = panels.flat[place]
        style.legend(last, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return style.finish(panels, show=show, save=save)


def heatmap(
    table: pd.DataFrame,
    fate: str | None = None,
    *,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the trends of many genes as a heatmap, in the order of their peaks.

    Every gene is shifted and scaled to mean zero and standard deviation one over time; a constant
    gene is zero throughout.

    Parameters
    ----------
    table : DataFrame
        From :func:`dyninfer.tl.trends`.
    fate : str, optional
        Needed if the table has several fates.
    time_unit : str
        Unit of time, for labels.
    ax, show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If ``table`` is not such a table, or the fate is missing.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> table = di.tl.fates(model, adata, "kind", n_draws=2)
    >>> paths = model.simulate(adata, times=[0, 48, 96])
    >>> ax = di.pl.heatmap(di.tl.trends(adata, paths, list(adata.var_names[:5])))
    """
    table = _read(table)
    fates = list(table["fate"].unique())
    if fate is None and len(fates) == 1:
        fate = fates[0]
    if not isinstance(fate, str) or fate not in fates:
        raise MissingKey(f"fate must be one of {listed(fates)}, found {brief(fate)}")
    is_fate = table["fate"] == fate
    rows = table[is_fate]
    curves = rows.pivot(index="gene", columns="time", values="mean")
    values = curves.to_numpy(dtype=np.float64)
    spread = values.std(axis=1, keepdims=True)
    largest = np.abs(values).max(axis=1, keepdims=True)
    rounding = 1e-12 * largest
    is_constant = spread <= rounding
    mean = values.mean(axis=1, keepdims=True)
    deviation = values - mean
    divisor = np.where(is_constant, 1.0, spread)
    scaled = deviation / divisor
    order = np.argsort(scaled.argmax(axis=1), kind="stable")
    scaled = scaled[order]
    genes = [str(gene) for gene in curves.index[order]]
    times = curves.columns.to_numpy(dtype=np.float64)
    height = 0.19 * len(genes) + 1.2
    ax = style.axes(ax, (5.6, height))
    scale = style.diverging_scale(scaled)
    ax.pcolormesh(
        style.edges(times),
        np.arange(len(genes) + 1) - 0.5,
        scaled,
        cmap=scale.get_cmap(),
        norm=cast(Any, scale.norm),
        rasterized=True,
    )
    # Names of more genes than these would lie over each other.
    if len(genes) <= 120:
        ax.set_yticks(range(len(genes)), genes)
    ax.set_ylim(len(genes) - 0.5, -0.5)
    style.colorbar(scale, ax, "expression (standardised over time)", extend="both")
    style.tidy(ax, style.with_unit("time", time_unit))
    ax.tick_params(axis="y", labelsize=7.5, length=0)
    return style.finish(ax, show=show, save=save)


def _read(table: Any) -> pd.DataFrame:
    return read_table(table, COLUMNS, "tl.trends", rows=("fate", "gene", "time"))
