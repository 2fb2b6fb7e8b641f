"""What a model learned: growth, potential and velocity, at the cells where it was learned."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.embedding import pushed_forward
from dyninfer.data.reading import reread_snapshots
from dyninfer.data.times import Clock
from dyninfer.learning.budget import check_memory
from dyninfer.learning.settings import brief, check_count, is_number
from dyninfer.plotting import style
from dyninfer.plotting.curves import mass
from dyninfer.plotting.grid import averaged_on_grid
from dyninfer.plotting.plane import Cells, Plane, plane_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from dyninfer.data.snapshots import Snapshots
    from dyninfer.estimators import SnapshotEstimator

# States evaluated at a time, so that networks of any width fit into memory.
ROWS = 65_536
# Stream lines that are denser run into each other: at 1, thirty of them would cross a picture.
MOST_DENSE = 20
# Grey of the cells whose velocity is drawn, darker than that of the others.
NEAR_CELLS = "#8c8c8c"


def growth(
    model: SnapshotEstimator,
    data: AnnData | Snapshots,
    basis: str | None = None,
    *,
    components: tuple[int, int] = (0, 1),
    n_times: int = 25,
    time_unit: str = "",
    n_neighbors: int = 15,
    seed: int = 0,
    ax: Any = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> ndarray:
    """Draw the growth rate of every cell at its own time, and the mass over time.

    Snapshots alone cannot tell growth from drift: cells that moved look like cells that died here
    and were born there. Rates of single cells are hypotheses.

    Parameters
    ----------
    model : SnapshotEstimator
        Fitted, with growth.
    data : AnnData or Snapshots
        What it was fitted on.
    basis, components, n_neighbors
        As in :func:`~dyninfer.plotting.trajectories`.
    n_times : int
        Number of times of the mass curve, which is simulated from the cells of the first time.
    time_unit : str
        Unit of time, for labels.
    seed : int
        Fixes the simulation.
    ax : pair of Axes, optional
        Where to draw; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Returns
    -------
    array ``(2,)`` of Axes

    Raises
    ------
    ValueError
        If the process has no growth.
    """
    n_times = check_count(n_times, "n_times")
    cells = _cells(model, data)
    check_memory(4 * n_times * cells.states.size, f"states at {n_times} times")
    rate = _field(model.process_, "growth", cells.times, cells.states)
    if rate is None:
        raise ValueError(
            f"this {type(model).__name__} conserves mass, so it has no growth to draw; "
            "fit it with growth (growth_penalty=...)"
        )
    widths = (1.25, 1)
    ((left, right),) = style.grid_of_axes(ax, (1, 2), (9.4, 3.9), width_ratios=widths)
    plane = plane_of(data, cells, model.feature_names_in_, basis, components, n_neighbors)
    scale = style.diverging_scale(rate)
    # The strongest growth and death on top of the rest.
    order = np.argsort(np.abs(rate))
    style.dots(
        left,
        plane.cells[order],
        s=1.4 * style.dot_size(len(rate)),
        c=scale.to_rgba(rate[order]),
        # Zero is white on white: an edge shows the cells that neither grow nor die.
        edgecolors="#b0b0b0",
        linewidths=0.15,
    )
    label = style.with_unit("growth rate", style.per(time_unit))
    style.colorbar(scale, left, label, extend="both")
    style.tidy(left, *plane.labels, ticks=basis is None)
    snapshots = reread_snapshots(data, model.provenance_)
    first, last = snapshots.times[[0, -1]]
    times = np.linspace(first, last, n_times)
    run = model.simulate(snapshots, times, seed=seed)
    mass(run, snapshots, time_unit=time_unit, ax=right)
    return style.finish(np.array([left, right]), show=show, save=save)


def potential(
    model: SnapshotEstimator,
    data: AnnData | Snapshots,
    time: float | None = None,
    basis: str | None = None,
    *,
    components: tuple[int, int] = (0, 1),
    n_neighbors: int = 15,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the learned potential ``s(t, x)`` at one time, on the cells observed around that time.

    Cells climb it: the velocity is its gradient. If mass is conserved, only differences have a
    meaning, and the mean is subtracted. Parameters as in :func:`stream`.

    Raises
    ------
    ValueError
        If the process has no potential.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> ax = di.pl.potential(model, adata, time=48)
    """
    value, plane, near, time = potential_at(model, data, time, basis, components, n_neighbors)
    ax = style.axes(ax)
    size = style.dot_size(len(plane.cells))
    other = plane.cells[~near]
    style.dots(ax, other, s=size, c=style.CELLS)
    # A few far cells would otherwise take most of the colours.
    low, high = np.quantile(value, [0.02, 0.98])
    dots = style.dots(
        ax,
        plane.cells[near],
        s=2 * size,
        c=value,
        cmap="cividis",
        vmin=low,
        vmax=high,
    )
    label = f"potential at time {time:g}"
    style.colorbar(dots, ax, label, extend="both")
    style.tidy(ax, *plane.labels, ticks=basis is None)
    return style.finish(ax, show=show, save=save)


def potential_at(
    model: SnapshotEstimator,
    data: AnnData | Snapshots,
    time: float | None,
    basis: str | None,
    components: tuple[int, int],
    n_neighbors: int,
) -> tuple[ndarray, Plane, ndarray, float]:
    """The potential at the cells around a time, the plane, which cells these are, and the time.

    Raises
    ------
    ValueError
        If the process has no potential.
    """
    cells = _cells(model, data)
    time = _time(cells, time)
    near = _around(cells.times, time)
    states = cells.states[near]
    times = np.full(len(states), time)
    value = _field(model.process_, "potential", times, states)
    if value is None:
        raise ValueError(
            f"the drift of this {type(model).__name__} does not come from a potential; "
            "use di.pl.stream"
        )
    growth_rate = _field(model.process_, "growth", times[:1], states[:1])
    if growth_rate is None:
        value = value - value.mean()
    plane = plane_of(data, cells, model.feature_names_in_, basis, components, n_neighbors)
    return value, plane, near, time


def stream(
    model: SnapshotEstimator,
    data: AnnData | Snapshots,
    time: float | None = None,
    basis: str | None = None,
    *,
    components: tuple[int, int] = (0, 1),
    density: float = 1.1,
    time_unit: str = "",
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> Axes:
    """Draw the velocity at one time as stream lines, on two features or any embedding.

    The velocity is computed in all features at the cells observed around that time (those of the
    observed times just before and after it, in dark grey). It is averaged over cells that are close
    together in the picture, and drawn only where there are cells.

    Parameters
    ----------
    model : SnapshotEstimator
        Fitted.
    data : AnnData or Snapshots
        What it was fitted on.
    time : float, optional
        By default the middle of the data.
    basis : str, optional
        Key of ``obsm``, such as "X_umap". Arrows are carried into it by the slope of its
        coordinates around every cell (:func:`dyninfer.tl.velocity_embedding`). By default two
        features.
    components : pair of ints
        Which two coordinates.
    density : float
        Density of the stream lines.
    time_unit : str
        Unit of time, for labels.
    ax : Axes, optional
        Where to draw; by default a new figure.
    show, save
        As in :func:`~dyninfer.plotting.trajectories`.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> ax = di.pl.stream(model, adata, time=48, basis="X_umap")
    """
    if not is_number(density) or not 0 < density <= MOST_DENSE:
        raise ValueError(
            f"density must be a number above 0, at most {MOST_DENSE}, found {brief(density)}"
        )
    cells = _cells(model, data)
    time = _time(cells, time)
    near = _around(cells.times, time)
    states = cells.states[near]
    plane = plane_of(data, cells, model.feature_names_in_, basis, components, 1)
    # Every process has a drift.
    same_time = np.full(len(states), time)
    drift = cast(ndarray, _field(model.process_, "drift", same_time, states))
    if plane.is_embedding:
        velocity = pushed_forward(cells.states, plane.cells, drift, at=states)
    else:
        velocity = plane.project(drift)
    x, y, (u, v) = averaged_on_grid(plane.cells[near], velocity)
    ax = style.axes(ax)
    size = style.dot_size(len(cells.states))
    style.dots(ax, plane.cells[~near], s=size, c=style.CELLS)
    style.dots(ax, plane.cells[near], s=size, c=NEAR_CELLS)
    lines = ax.streamplot(
        x,
        y,
        u,
        v,
        color=np.hypot(u, v),
        cmap=style.time_colors(),
        density=density,
        linewidth=1.1,
        arrowsize=0.9,
    )
    label = style.with_unit(f"speed at time {time:g}", style.per(time_unit))
    style.colorbar(lines.lines, ax, label)
    # Stream lines end at the grid, and would cut the axes there.
    ax.use_sticky_edges = False
    ax.autoscale_view()
    style.tidy(ax, *plane.labels, ticks=basis is None)
    return style.finish(ax, show=show, save=save)


def growth_rates(model: SnapshotEstimator, data: AnnData | Snapshots) -> ndarray | None:
    """Growth rate of every cell at its own time ``(n,)``; None where mass is conserved."""
    cells = _cells(model, data)
    return _field(model.process_, "growth", cells.times, cells.states)


def _field(process: Any, name: str, times: ndarray, x: ndarray) -> ndarray | None:
    """One field of the process at every row, or None where it has no such field."""
    function: Callable[[Tensor, Tensor], Tensor | None] = getattr(process, name)
    # Its precision and device.
    like = next(process.parameters(), torch.empty(0))
    parts = []
    with torch.no_grad():
        for first in range(0, len(x), ROWS):
            rows = slice(first, first + ROWS)
            time = torch.as_tensor(times[rows]).to(like)
            state = torch.as_tensor(x[rows]).to(like)
            value = function(time, state)
            if value is None:
                return None
            parts.append(value.cpu().numpy())
    return np.concatenate(parts)


def _cells(model: SnapshotEstimator, data: AnnData | Snapshots) -> Cells:
    if isinstance(model, type) or not hasattr(model, "simulate"):
        raise TypeError(f"model must be a fitted estimator, found {brief(model)}")
    # Of a model that is not fitted, `source_` says so.
    source = model.source_
    cells = Cells.of(
        data,
        model.feature_names_in_,
        source.get("use_rep"),
        source.get("time_key"),
        need_times=True,
    )
    if len(cells.times) == 0:
        raise ValueError("there are no cells to draw")
    return cells


def _time(cells: Cells, time: float | None) -> float:
    """Check a time, or take the middle of the data."""
    low = float(cells.times.min())
    high = float(cells.times.max())
    if time is None:
        return (low + high) / 2
    if not is_number(time):
        raise TypeError(f"time must be a number, found {brief(time)}")
    if not low <= time <= high:
        raise ValueError(f"time {time:g} is outside the data, {low:g} to {high:g}")
    return float(time)


def _around(times: ndarray, time: float) -> ndarray:
    """Mask of the cells of the observed times just before and after, or at, ``time``."""
    clock = Clock.of(times)
    position = clock.nearest(time)
    here = clock.positions(times)
    if position is not None:
        return here == position
    after = int(np.searchsorted(clock.times, time))
    return (here == after - 1) | (here == after)
