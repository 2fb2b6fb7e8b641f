"""Simulated paths as lines: their colours, their opacity, and where they start and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from dyninfer.data.storage import array
from dyninfer.plotting import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dyninfer.data.trajectories import Trajectories


def draw_paths(ax: Axes, lines: ndarray, colors: ndarray, opacity: ndarray) -> None:
    """Draw one segment per path and step.

    ``lines`` is ``(path, time, 2)``, ``colors`` ``(path, time, 4)``, ``opacity`` ``(path, time)``.
    """
    from matplotlib.collections import LineCollection

    starts = lines[:, :-1]
    ends = lines[:, 1:]
    segments = np.stack([starts, ends], axis=2)  # (path, step, end, 2)
    of_segments = colors[:, 1:].copy()
    before = opacity[:, :-1]
    after = opacity[:, 1:]
    mean_opacity = (before + after) / 2
    # Lines are many and lie over each other: even the heaviest let something through.
    of_segments[..., 3] = 0.75 * mean_opacity
    collection = LineCollection(
        list(segments.reshape(-1, 2, 2)),
        colors=of_segments.reshape(-1, 4),
        linewidths=0.9,
        # Round ends of neighbouring segments would overlap and show as dots.
        capstyle="butt",
        zorder=2,
    )
    ax.add_collection(collection)
    ax.autoscale_view()
    white = np.ones((len(lines), 4))
    _draw_ends(ax, lines[:, 0], white, colors[:, 0], opacity[:, 0], "start")
    _draw_ends(ax, lines[:, -1], colors[:, -1], white, opacity[:, -1], "end")


def _draw_ends(
    ax: Axes,
    points: ndarray,
    face: ndarray,
    edge: ndarray,
    opacity: ndarray,
    label: str,
) -> None:
    # A light path still shows where it begins and ends.
    faded = 0.2 + 0.8 * opacity
    fade = np.where(opacity < 1, faded, 1.0)
    style.dots(
        ax,
        points,
        s=15,
        facecolors=_faded(face, fade),
        edgecolors=_faded(edge, fade),
        linewidths=0.7,
        label=label,
        zorder=3,
    )


def _faded(colors: ndarray, opacity: ndarray) -> ndarray:
    """The same colours ``(n, 4)`` in other opacities."""
    colors = colors.copy()
    colors[:, 3] = opacity
    return colors


def nearest_cells(cells: ndarray, states: ndarray) -> ndarray:
    """Number of the observed cell that is nearest to every state ``(..., d)``."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=1).fit(cells)
    flat = states.reshape(-1, states.shape[-1])
    nearest = search.kneighbors(flat, return_distance=False)
    return nearest.reshape(states.shape[:-1])


def opacity_of(paths: Trajectories) -> ndarray:
    """Opacity ``(path, time)`` of paths."""
    if paths.log_weights is None:
        return np.ones(paths.states.shape[:2])
    columns = [relative(weights) for weights in array(paths.weights).T]
    return np.stack(columns, axis=1)


def relative(weights: ndarray) -> ndarray:
    """Weights relative to the 95th percentile, between 0.05 and 1."""
    heavy = np.quantile(weights, 0.95)
    if heavy <= 0:
        return np.ones(len(weights))
    return np.clip(weights / heavy, 0.05, 1.0)
