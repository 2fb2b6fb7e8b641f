"""Simulated populations: as paths, and beside what was observed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from dyninfer.data.storage import array
from dyninfer.data.time_reading import as_times
from dyninfer.data.times import Clock
from dyninfer.data.trajectories import Trajectories
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import check_count
from dyninfer.plotting import style
from dyninfer.plotting.colors import CellColors
from dyninfer.plotting.lines import draw_paths, nearest_cells, opacity_of, relative
from dyninfer.plotting.plane import Cells, Plane, plane_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from dyninfer.data.snapshots import Snapshots

# Observed times that are drawn where the caller names none: more columns would be too small.
MOST_COLUMNS = 6
# Opacity of cells under paths of the same colours.
PALE = 0.35


def trajectories(
    data: AnnData | Snapshots,
    traj: Trajectories,
    basis: str | None = None,
    *,
    components: tuple[int, int] = (0, 1),
    n_paths: int = 150,
    use_rep: str | None = None,
    time_key: str | None = None,
    time_unit: str = "",
    n_neighbors: int = 15,
    seed: int = 0,
    color: str | None = None,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw simulated paths over the observed cells, coloured by time, label or gene.

    Every path starts at a ring and ends at a disc; its opacity is its weight at that time, relative
    to the heaviest paths. Paths that diverged are left out. A single feature is drawn against time.

    Parameters
    ----------
    data : AnnData or Snapshots
        The observed cells.
    traj : Trajectories
        Continuous states.
    basis : str, optional
        Key of ``obsm`` ("X_umap" or "umap"). If the simulation uses other coordinates, states are
        placed by their nearest cells (:func:`~dyninfer.plotting.plane.neighbor_projection`). By
        default two of the simulated features.
    components : pair of ints
        Which two coordinates.
    n_paths : int
        Largest number of paths drawn, chosen at random.
    use_rep : str, optional
        Representation of the AnnData that was simulated; by default the one whose features have the
        same names.
    time_key : str, optional
        Column of ``obs`` with the times; needed only with a single feature.
    time_unit : str
        Unit of time, for labels.
    n_neighbors : int
        Number of nearest cells that place a state in another embedding.
    seed : int
        Fixes the choice of paths.
    color : str, optional
        Column of ``obs`` or gene that colours the cells; a path has the colour of the cell that is
        nearest to it in the simulated features. By default paths are coloured by time.
    ax : Axes, optional
        Where to draw; by default a new figure.
    show : bool
        Open the figure on the screen.
    save : path, optional
        File for the figure; its ending sets the format (.png, .pdf, .svg).

    Raises
    ------
    TypeError
        If the states are integers.
    KeyError, ValueError
        If the data lack the simulated features or the basis.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> traj = model.simulate(adata, times=[0, 48, 96])
    >>> ax = di.pl.trajectories(adata, traj, basis="X_umap", time_unit="hours")
    """
    _check_continuous(traj)
    cells = Cells.of(data, traj.features, use_rep, time_key)
    paths = some_paths(traj, n_paths, seed)
    times = array(paths.times)
    observed, lines, labels = in_plane(
        data, cells, paths, basis, components, n_neighbors, time_unit
    )
    ax = style.axes(ax)
    size = style.dot_size(len(observed))
    opacity = opacity_of(paths)
    if color is None:
        scale = style.time_scale(times)
        style.dots(ax, observed, s=size, c=style.CELLS, label="observed", zorder=1)
        at_times = scale.to_rgba(times)
        shape = (len(lines), *at_times.shape)
        every_time = np.broadcast_to(at_times, shape)
        draw_paths(ax, lines, every_time, opacity)
        style.colorbar(scale, ax, style.with_unit("time", time_unit))
        style.legend(ax, loc="best")
    else:
        colors = CellColors.of(data, color)
        of_cells = colors.rgba()
        style.dots(ax, observed, s=size, c=of_cells, alpha=PALE, zorder=1)
        nearest = nearest_cells(cells.states, array(paths.states))
        draw_paths(ax, lines, of_cells[nearest], opacity)
        colors.explain(ax)
    style.tidy(ax, *labels, ticks=basis is None)
    return style.finish(ax, show=show, save=save)


def in_plane(
    data: AnnData | Snapshots,
    cells: Cells,
    paths: Trajectories,
    basis: str | None,
    components: tuple[int, int],
    n_neighbors: int,
    time_unit: str,
) -> tuple[ndarray, ndarray, tuple[str, str]]:
    """Cells ``(n, 2)`` and paths ``(path, time, 2)`` in one plane, and the names of its axes.

    A single feature is drawn over time.
    """
    states = array(paths.states)
    if paths.n_features > 1 or basis is not None:
        plane = plane_of(data, cells, paths.features, basis, components, n_neighbors)
        return plane.cells, plane.project(states), plane.labels
    values = states[..., 0]
    first_feature = cells.states[:, 0]
    observed = np.stack([cells.times, first_feature], axis=1)
    times = np.broadcast_to(array(paths.times), values.shape)
    lines = np.stack([times, values], axis=-1)
    labels = (style.with_unit("time", time_unit), str(paths.features[0]))
    return observed, lines, labels


def marginals(
    data: AnnData | Snapshots,
    traj: Trajectories,
    times: Sequence[float] | ndarray | None = None,
    basis: str | None = None,
    *,
    hold_out: float | Iterable[float] | None = None,
    components: tuple[int, int] = (0, 1),
    use_rep: str | None = None,
    time_key: str | None = None,
    time_unit: str = "",
    n_neighbors: int = 15,
    ax: Any = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> ndarray:
    """Draw the observed population above the simulated one, one column per time.

    Parameters
    ----------
    data : AnnData or Snapshots
        The observed cells.
    traj : Trajectories
        Continuous states.
    times : sequence of floats, optional
        Observed times; by default all in the simulated range, at most six.
    basis, components, use_rep, n_neighbors
        As in :func:`trajectories`.
    hold_out : float or list of floats, optional
        Times to mark as held out from training.
    time_key : str
        Column of ``obs`` with the times, for an AnnData.
    time_unit : str
        Unit of time, for the titles.
    ax : array of ``2 × len(times)`` axes, optional
        Where to draw; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Returns
    -------
    array ``(2, time)`` of Axes
        Observed in the first row, simulated in the second.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> traj = model.simulate(adata, times=[0, 48, 96])
    >>> panels = di.pl.marginals(adata, traj, times=[48, 96], time_key="time")
    """
    _check_continuous(traj)
    cells = Cells.of(data, traj.features, use_rep, time_key, need_times=True)
    clock = Clock.of(cells.times)
    times = _marginal_times(clock, traj, times)
    held_out: ndarray | list[int] = []
    if hold_out is not None:
        held_out = clock.positions(as_times(hold_out, "hold_out"))
    plane = None
    label = traj.features[0]
    if traj.n_features > 1 or basis is not None:
        plane = plane_of(data, cells, traj.features, basis, components, n_neighbors)
        label = " and ".join(plane.labels)
    width = 1.9 * len(times) + 0.6
    size = (width, 4.0)
    shape = (2, len(times))
    panels = style.grid_of_axes(ax, shape, size, sharex=True, sharey=True)
    scale = style.time_scale(cells.times)
    finished = (traj.status == 0).cpu().numpy()
    columns = zip(panels.T, times, strict=True)
    for column, time in columns:
        above, below = column
        color = scale.to_rgba(time)
        rows = clock.rows(cells.times, time)
        observed = cells.states[rows]
        share = 1 / len(observed)
        even = np.full(len(observed), share)
        _draw_population(above, cells, plane, observed, even, color)
        simulated = array(traj.at(time))[finished]
        weights = array(traj.weights_at(time))[finished]
        _draw_population(below, cells, plane, simulated, weights, color)
        title = style.at_time(time, time_unit)
        is_held_out = clock.index(time) in held_out
        _head(above, below, title, held_out=is_held_out)
    _label_rows(panels, label)
    return style.finish(panels, show=show, save=save)


def _head(above: Axes, below: Axes, title: str, *, held_out: bool) -> None:
    """Write the time above a column, and frame the column if that time was held out."""
    if not held_out:
        above.set_title(title, fontsize=style.LABELS, color=style.INK)
        return
    color = style.HELD_OUT
    above.set_title(f"{title}, held out", fontsize=style.LABELS, color=color, weight="bold")
    for panel in (above, below):
        edges = panel.spines[["left", "bottom"]]
        edges.set(color=color, linewidth=1.6)


def _draw_population(
    ax: Axes,
    cells: Cells,
    plane: Plane | None,
    x: ndarray,
    weights: ndarray,
    color: Any,
) -> None:
    """Draw one panel: all cells in grey and a weighted sample in colour.

    Without a plane, which is where there is one feature, it is a histogram.
    """
    if plane is None:
        # The same range in the observed and the simulated panel of a time.
        values = np.concatenate([cells.states, x])
        edges = np.histogram_bin_edges(values, bins=30)
        ax.hist(x[:, 0], bins=list(edges), weights=weights, density=True, color=color)
        style.tidy(ax)
        return
    style.dots(ax, plane.cells, s=2, c="#e6e6e6", zorder=1)
    style.dots(
        ax,
        plane.project(x),
        # As for three times as many: panels are small.
        s=style.dot_size(3 * len(x)),
        color=color,
        alpha=relative(weights),
        zorder=2,
    )
    style.tidy(ax, ticks=False)


def _label_rows(panels: ndarray, label: str) -> None:
    above, below = panels
    above[0].set_ylabel("observed", fontsize=10.5, color=style.INK)
    below[0].set_ylabel("simulated", fontsize=10.5, color=style.INK)
    middle = below[len(below) // 2]
    middle.set_xlabel(label, fontsize=9, color=style.OBSERVED)


def _marginal_times(
    clock: Clock,
    traj: Trajectories,
    times: Sequence[float] | ndarray | None,
) -> ndarray:
    """Times that were asked for, or up to six of the observed ones within the simulation."""
    if times is not None:
        times = as_times(times)
        if len(times) == 0:
            raise ValueError("times is empty; give at least one observed time, or leave it out")
        is_unknown = clock.positions(times) < 0
        if is_unknown.any():
            first = times[is_unknown][0]
            raise ValueError(f"nothing was observed at time {first:g}; the times are {clock}")
        return times
    simulated = array(traj.times)
    low = simulated.min()
    high = simulated.max()
    observed = clock.times
    is_inside = (observed >= low) & (observed <= high)
    inside = observed[is_inside]
    if len(inside) == 0:
        raise ValueError(f"no observed time lies in the simulated range, {low:g} to {high:g}")
    last = len(inside) - 1
    positions = np.linspace(0, last, MOST_COLUMNS)
    evenly = positions.round().astype(int)
    return inside[np.unique(evenly)]


def some_paths(traj: Trajectories, n: int, seed: int) -> Trajectories:
    """At most ``n`` coherent paths that did not diverge."""
    _check_continuous(traj)
    check_count(n, "n_paths")
    is_finished = (traj.status == 0).cpu().numpy()
    finished = np.flatnonzero(is_finished)
    if len(finished) == 0:
        raise ValueError("all paths diverged, so there is nothing to draw; see traj.status")
    shuffled = numpy_stream(seed, "paths of a picture").permutation(finished)
    rows = np.sort(shuffled[:n])
    return traj[rows]


def _check_continuous(traj: Any) -> None:
    if not isinstance(traj, Trajectories):
        raise TypeError(f"traj must be the Trajectories of a simulation, not {type(traj).__name__}")
    if traj.discrete:
        raise TypeError(
            "this picture needs continuous states; these are integers, "
            "whose summary is traj.occupation()"
        )
