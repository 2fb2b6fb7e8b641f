"""The learned potential as a landscape: a map from above, or hills and valleys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from dyninfer.learning.settings import brief
from dyninfer.plotting import style
from dyninfer.plotting.fields import potential_at
from dyninfer.plotting.grid import averaged_on_grid

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from dyninfer.data.snapshots import Snapshots
    from dyninfer.estimators import SnapshotEstimator

KINDS = ("2d", "3d")
N_LEVELS = 14
# Least area of a part of the landscape, in units of the largest part: a few cells apart from all
# others would be a scrap of surface that floats in the air.
SMALLEST_PART = 0.1


def landscape(
    model: SnapshotEstimator,
    data: AnnData | Snapshots,
    time: float | None = None,
    basis: str | None = None,
    *,
    kind: str = "2d",
    components: tuple[int, int] = (0, 1),
    n_neighbors: int = 15,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the height ``−s(t, x)`` of the learned potential over a plane; cells run downhill.

    The potential is computed in all features at the cells observed around the time. It is averaged
    over cells that are close together in the picture, and drawn only where there are cells;
    isolated cells are dots without a surface. A path that runs downhill in all features need not do
    so in two of them.

    Parameters
    ----------
    model : SnapshotEstimator
        Fitted, with a drift that comes from a potential.
    data : AnnData or Snapshots
        What it was fitted on.
    time : float, optional
        By default the middle of the data.
    basis, components, n_neighbors
        As in :func:`~dyninfer.plotting.trajectories`.
    kind : {"2d", "3d"}
        A map with contour lines, or a surface.
    ax : Axes, optional
        Where to draw, with projection "3d" for a surface; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Raises
    ------
    ValueError
        If the process has no potential, or ``kind`` or the axes are invalid.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> ax = di.pl.landscape(model, adata, time=48)
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be '2d' or '3d', found {brief(kind)}")
    value, plane, near, time = potential_at(model, data, time, basis, components, n_neighbors)
    points = plane.cells[near]
    x, y, (height,) = averaged_on_grid(points, -value[:, None])
    height = without_islands(height)
    # Only differences of height mean anything: they are measured from the lowest place.
    height = height - height.min()
    label = f"−potential at time {time:g}"
    if kind == "2d":
        ax = style.axes(ax)
        _draw_map(ax, x, y, height, label)
        style.dots(ax, points, s=3, c=style.INK, alpha=0.35)
        style.tidy(ax, *plane.labels, ticks=basis is None)
        return style.finish(ax, show=show, save=save)
    surface = _surface_axes(ax)
    _draw_surface(surface, x, y, height)
    surface.set_xlabel(plane.labels[0], fontsize=style.LABELS, color=style.INK)
    surface.set_ylabel(plane.labels[1], fontsize=style.LABELS, color=style.INK)
    surface.set_zlabel(label, fontsize=style.LABELS, color=style.INK)
    # More of them run into the names of the axes.
    surface.locator_params(nbins=5)
    surface.tick_params(colors=style.INK, labelsize=style.TICKS)
    return style.finish(surface, show=show, save=save)


def without_islands(height: Any) -> Any:
    """A masked array with its small parts masked as well; see :data:`SMALLEST_PART`."""
    from scipy import ndimage

    parts, _ = ndimage.label(~np.ma.getmaskarray(height))
    areas = np.bincount(parts.ravel())
    # The first counts what is masked already.
    areas[0] = 0
    is_small = areas < SMALLEST_PART * areas.max()
    return np.ma.masked_where(is_small[parts], height)


def _draw_map(ax: Axes, x: ndarray, y: ndarray, height: Any, label: str) -> None:
    filled = ax.contourf(x, y, height, levels=N_LEVELS, cmap="cividis")
    ax.contour(x, y, height, levels=N_LEVELS, colors="white", linewidths=0.4, alpha=0.6)
    style.colorbar(filled, ax, label)


def _draw_surface(ax: Any, x: ndarray, y: ndarray, height: Any) -> None:
    # Axes of a surface reach as far as its grid, drawn or not.
    is_open = ~np.ma.getmaskarray(height)
    rows = is_open.any(1)
    columns = is_open.any(0)
    across, up = np.meshgrid(x[columns], y[rows])
    # A surface has no masks; what is NaN is left open.
    open_height = height[np.ix_(rows, columns)].filled(np.nan)
    ax.plot_surface(
        across,
        up,
        open_height,
        cmap="cividis",
        vmin=float(np.nanmin(open_height)),
        vmax=float(np.nanmax(open_height)),
        rstride=1,
        cstride=1,
        linewidth=0.15,
        edgecolor=(1, 1, 1, 0.35),
    )


def _surface_axes(ax: Any) -> Any:
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(
            figsize=(6.2, 5.0), subplot_kw={"projection": "3d"}, layout="constrained"
        )
        # From the side and a little above, hills do not hide valleys.
        ax.view_init(elev=38, azim=-60)
        ax.set_box_aspect(None, zoom=0.88)
    if not hasattr(ax, "plot_surface"):
        raise ValueError('kind="3d" needs an ax with projection="3d"; give one, or leave ax out')
    return ax
