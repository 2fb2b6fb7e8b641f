"""Simulated populations: as paths, and beside what was observed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dyninfer.data.storage import array
from dyninfer.data.times import Clock, as_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.plotting import style
from dyninfer.plotting.plane import Cells, Plane, plane_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from dyninfer.data.snapshots import Snapshots


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
    ax: Axes | None = None,
) -> Axes:
    """Draw simulated paths, coloured by time, over the observed cells.

    Every path starts at a ring and ends at a disc; its opacity is its weight at that time, relative to the heaviest paths.
    Paths that diverged are left out. With one feature the picture shows it against time.

    Parameters
    ----------
    data : AnnData or Snapshots
        The observed cells.
    traj : Trajectories
        Continuous states.
    basis : str, optional
        Key of ``obsm`` ("X_umap" or "umap"). Where the simulation lives in other coordinates, states are placed by their
        nearest cells (:func:`~dyninfer.plotting.plane.neighbor_projection`). By default two of the simulated features.
    components : pair of ints
        Which two coordinates.
    n_paths : int
        Paths drawn at most, chosen at random.
    use_rep : str, optional
        Representation of the AnnData that was simulated; by default the one whose features have the same names.
    time_key : str, optional
        Column of ``obs`` with the times; needed with one feature only.
    time_unit : str
        Unit of time, for labels.
    n_neighbors : int
        Nearest cells that place a state in another embedding.
    seed : int
        Fixes the choice of paths.
    ax : Axes, optional
        Where to draw; by default a new figure.

    Raises
    ------
    TypeError
        If the states are integers.
    KeyError, ValueError
        If the data lack the simulated features or the basis.
    """
    _check_continuous(traj)
    cells = Cells.of(data, traj.features, use_rep, time_key)
    paths = _choice(traj, n_paths, seed)
    times = array(paths.times)
    if traj.n_features == 1 and basis is None:
        shown = np.stack(
            [np.broadcast_to(times, paths.states.shape[:2]), array(paths.states)[..., 0]], axis=-1
        )
        labels = (style.with_unit("time", time_unit), traj.features[0])
        dots = np.stack([cells.times, cells.states[:, 0]], axis=1)
    else:
        plane = plane_of(data, cells, traj.features, basis, components, n_neighbors)
        shown, labels, dots = plane.project(array(paths.states)), plane.labels, plane.cells
    ax, scale = style.axes(ax), style.time_scale(times)
    size = style.dot_size(len(dots))
    style.dots(ax, dots, s=size, c=style.CELLS, label="observed", zorder=1)
    _draw_paths(ax, shown, times, _opacity(traj, paths), scale)
    style.colorbar(scale, ax, style.with_unit("time", time_unit))
    style.legend(ax, loc="best")
    return style.tidy(ax, *labels, ticks=basis is None)


def marginals(
    data: AnnData | Snapshots,
    traj: Trajectories,
    times: Sequence[float] | np.ndarray | None = None,
    basis: str | None = None,
    *,
    hold_out: float | Iterable[float] | None = None,
    components: tuple[int, int] = (0, 1),
    use_rep: str | None = None,
    time_key: str | None = None,
    time_unit: str = "",
    n_neighbors: int = 15,
    ax: Any = None,
) -> np.ndarray:
    """Draw the observed population above the simulated one, a column for every time.

    Parameters
    ----------
    data : AnnData or Snapshots
        The observed cells.
    traj : Trajectories
        Continuous states.
    times : sequence of floats, optional
        Observed times; by default all that lie in the simulated range, or six of them.
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

    Returns
    -------
    array ``(2, time)`` of Axes
        Observed in the first row, simulated in the second.
    """
    _check_continuous(traj)
    cells = Cells.of(data, traj.features, use_rep, time_key, need_times=True)
    chosen = _marginal_times(cells.times, traj, times)
    observed = Clock.of(cells.times)
    held_out = [] if hold_out is None else observed.positions(as_times(hold_out, "hold_out"))
    one = traj.n_features == 1 and basis is None
    plane = None if one else plane_of(data, cells, traj.features, basis, components, n_neighbors)
    size = (1.9 * len(chosen) + 0.6, 4.0)
    panels = style.grid_of_axes(ax, (2, len(chosen)), size, sharex=True, sharey=True)
    scale = style.time_scale(cells.times)
    for column, t in zip(panels.T, chosen, strict=True):
        there = observed.rows(cells.times, t)
        status = (traj.status == 0).cpu().numpy()
        states, weights = array(traj.at(t))[status], array(traj.weights_at(t))[status]
        both = ((cells.states[there], np.full(len(there), 1 / len(there))), (states, weights))
        for panel, (x, w) in zip(column, both, strict=True):
            _population(panel, cells, plane, x, w, scale.to_rgba(t))
        is_held = observed.index(t) in held_out
        title = f"{t:g} {time_unit}".strip() + (", held out" if is_held else "")
        column[0].set_title(
            title,
            fontsize=9.5,
            color=style.HELD_OUT if is_held else style.INK,
            weight="bold" if is_held else None,
        )
        if is_held:
            for panel in column:
                panel.spines[["left", "bottom"]].set(color=style.HELD_OUT, linewidth=1.6)
    _label_rows(panels, traj.features[0] if plane is None else " and ".join(plane.labels))
    return panels


def _draw_paths(
    ax: Axes, shown: np.ndarray, times: np.ndarray, opacity: np.ndarray, scale: Any
) -> None:
    """One segment per path and step; ``shown`` is ``(path, time, 2)``, ``opacity`` ``(path, time)``."""
    from matplotlib.collections import LineCollection

    segments = np.stack([shown[:, :-1], shown[:, 1:]], axis=2)  # (path, step, end, 2)
    colors = np.broadcast_to(
        scale.to_rgba((times[:-1] + times[1:]) / 2), (*segments.shape[:2], 4)
    ).copy()
    colors[..., 3] = 0.75 * (opacity[:, :-1] + opacity[:, 1:]) / 2
    lines = LineCollection(
        list(segments.reshape(-1, 2, 2)),
        colors=colors.reshape(-1, 4),
        linewidths=0.9,
        capstyle="butt",
        zorder=2,
    )
    ax.add_collection(lines)
    ax.autoscale_view()
    _dots(ax, shown[:, 0], "white", scale.to_rgba(times[0]), opacity[:, 0], "start")
    _dots(ax, shown[:, -1], scale.to_rgba(times[-1]), "white", opacity[:, -1], "end")


def _dots(
    ax: Axes, points: np.ndarray, face: Any, edge: Any, opacity: np.ndarray, label: str
) -> None:
    from matplotlib.colors import to_rgba_array

    fade = np.where(opacity < 1, 0.2 + 0.8 * opacity, 1.0)
    faces, edges = (np.tile(to_rgba_array(color), (len(points), 1)) for color in (face, edge))
    faces[:, 3], edges[:, 3] = fade, fade
    style.dots(
        ax, points, s=15, facecolors=faces, edgecolors=edges, linewidths=0.7, label=label, zorder=3
    )


def _population(
    ax: Axes, cells: Cells, plane: Plane | None, x: np.ndarray, weights: np.ndarray, color: Any
) -> None:
    """One panel: all cells in grey and a weighted sample in colour, or a histogram where there is one feature."""
    if plane is None:
        ax.hist(
            x[:, 0],
            bins=list(np.histogram_bin_edges(np.concatenate([cells.states, x]), bins=30)),
            weights=weights,
            density=True,
            color=color,
        )
        style.tidy(ax)
        return
    style.dots(ax, plane.cells, s=2, c="#e6e6e6", zorder=1)
    style.dots(
        ax,
        plane.project(x),
        s=style.dot_size(3 * len(x)),
        color=color,
        alpha=_relative(weights),
        linewidths=0,
        zorder=2,
    )
    style.tidy(ax, ticks=False)


def _label_rows(panels: np.ndarray, what: str) -> None:
    for panel, name in zip(panels[:, 0], ("observed", "simulated"), strict=True):
        panel.set_ylabel(name, fontsize=10.5, color=style.INK)
    middle = panels[1, panels.shape[1] // 2]
    middle.set_xlabel(what, fontsize=9, color=style.OBSERVED)


def _marginal_times(
    observed: np.ndarray, traj: Trajectories, times: Sequence[float] | np.ndarray | None
) -> np.ndarray:
    clock = Clock.of(observed)
    if times is not None:
        chosen = as_times(times)
        unknown = chosen[clock.positions(chosen) < 0]
        if len(unknown):
            raise ValueError(f"nothing was observed at time {unknown[0]:g}; the times are {clock}")
        return chosen
    there = clock.times
    low, high = sorted((float(traj.times[0]), float(traj.times[-1])))
    inside = there[(there >= low) & (there <= high)]
    if len(inside) == 0:
        raise ValueError(f"no observed time lies in the simulated range, {low:g} to {high:g}")
    return inside[np.unique(np.linspace(0, len(inside) - 1, 6).round().astype(int))]


def _choice(traj: Trajectories, n: int, seed: int) -> Trajectories:
    """At most ``n`` coherent paths that did not diverge."""
    if n < 1:
        raise ValueError(f"n_paths must be at least 1, found {n}")
    finished = np.flatnonzero((traj.status == 0).cpu().numpy())
    if len(finished) == 0:
        raise ValueError("all paths diverged, there is nothing to draw; see traj.status")
    return traj[np.sort(np.random.default_rng(seed).permutation(finished)[:n])]


def _opacity(traj: Trajectories, paths: Trajectories) -> np.ndarray:
    """Opacity ``(path, time)`` of the chosen paths."""
    if traj.log_weights is None:
        return np.ones(paths.states.shape[:2])
    return np.stack([_relative(w) for w in array(paths.weights).T], axis=1)


def _relative(weights: np.ndarray) -> np.ndarray:
    """Weights relative to the 95th percentile, between 0.05 and 1."""
    heavy = np.quantile(weights, 0.95)
    return np.clip(weights / heavy, 0.05, 1.0) if heavy > 0 else np.ones(len(weights))


def _check_continuous(traj: Any) -> None:
    if not isinstance(traj, Trajectories):
        raise TypeError(f"traj must be the Trajectories of a simulation, not {type(traj).__name__}")
    if traj.discrete:
        raise TypeError(
            "this picture needs continuous states; these are integers, whose summary is traj.occupation()"
        )
