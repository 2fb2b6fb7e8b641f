"""Simulated cells that move: a picture for every time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy import ndarray

from dyninfer.data.storage import array
from dyninfer.learning.files import as_path
from dyninfer.learning.settings import brief, check_count, check_switch
from dyninfer.plotting import style
from dyninfer.plotting.colors import CellColors
from dyninfer.plotting.lines import nearest_cells
from dyninfer.plotting.plane import Cells
from dyninfer.plotting.populations import in_plane, some_paths

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

    from dyninfer.data.snapshots import Snapshots
    from dyninfer.data.trajectories import Trajectories

# Stored times that the tail of a cell is long.
TAIL = 8
# What writes a file of each ending, the best first; an MP4 is a tenth of a GIF.
WRITERS = {".mp4": "ffmpeg", ".gif": "pillow"}


def animation(
    data: AnnData | Snapshots,
    traj: Trajectories,
    basis: str | None = None,
    *,
    components: tuple[int, int] = (0, 1),
    n_paths: int = 150,
    color: str | None = None,
    use_rep: str | None = None,
    time_key: str | None = None,
    time_unit: str = "",
    n_neighbors: int = 15,
    fps: int = 12,
    seed: int = 0,
    ax: Axes | None = None,
    show: bool = False,
    save: str | os.PathLike[str] | None = None,
) -> FuncAnimation:
    """Animate simulated cells over the observed ones, one frame per stored time.

    Parameters
    ----------
    data, traj, basis, components, n_paths, color, use_rep, time_key, time_unit, n_neighbors, seed
        As in :func:`~dyninfer.plotting.trajectories`.
    fps : int
        Frames per second.
    ax, show
        As in :func:`~dyninfer.plotting.trajectories`.
    save : path, optional
        A ``.gif``, or an ``.mp4`` if ffmpeg is installed. A name without an ending gets ``.mp4`` if
        that can be written, else ``.gif``.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        Keep a reference to it while it runs. Its axes are those given, or ``plt.gca()``.

    Raises
    ------
    KeyError, TypeError, ValueError
        As in :func:`~dyninfer.plotting.trajectories`, or if the format of the file cannot be
        written.
    """
    from matplotlib.animation import FuncAnimation

    fps = check_count(fps, "fps")
    show = check_switch(show, "show")
    path = None
    if save is not None:
        path = _check_file(save)
    paths = some_paths(traj, n_paths, seed)
    cells = Cells.of(data, paths.features, use_rep, time_key)
    observed, lines, labels = in_plane(
        data, cells, paths, basis, components, n_neighbors, time_unit
    )
    times = array(paths.times)
    ax = style.axes(ax)
    size = style.dot_size(len(observed))
    if color is None:
        scale = style.time_scale(times)
        of_times = scale.to_rgba(times)
        tints = np.tile(of_times, (len(lines), 1, 1))
        style.dots(ax, observed, s=size, c=style.CELLS, zorder=1)
    else:
        colors = CellColors.of(data, color)
        of_cells = colors.rgba()
        style.dots(ax, observed, s=size, c=of_cells, alpha=0.25, zorder=1)
        path_states = array(paths.states)
        nearest = nearest_cells(cells.states, path_states)
        tints = of_cells[nearest]
        colors.explain(ax)
    frames = _Frames(ax, times, time_unit, lines, tints)
    # All frames have one range: a picture that zooms hides what moves.
    ax.update_datalim(lines.reshape(-1, 2))
    ax.autoscale_view()
    style.tidy(ax, *labels, ticks=basis is None)
    figure = cast(Any, ax.figure)
    interval = 1000 / fps
    moving = FuncAnimation(figure, frames.draw, frames=len(times), interval=interval)
    if path is not None:
        writer = WRITERS[path.suffix.lower()]
        moving.save(path, writer=writer, fps=fps, dpi=style.SCREEN_DPI)
    if show:
        import matplotlib.pyplot as plt

        plt.show()
    return moving


class _Frames:
    """Cells as dots that move over the axes, each with the line that it has just run along.

    Parameters
    ----------
    ax : Axes
    times : array ``(frame,)``
    time_unit : str
    lines : array ``(path, frame, 2)``
    tints : array ``(path, frame, 4)``
        Colours.
    """

    def __init__(
        self, ax: Axes, times: ndarray, time_unit: str, lines: ndarray, tints: ndarray
    ) -> None:
        from matplotlib.collections import LineCollection

        self.ax = ax
        self.times = times
        self.time_unit = time_unit
        self.lines = lines
        self.tints = tints
        self.tails = LineCollection([], linewidths=0.9, zorder=2)
        ax.add_collection(self.tails)
        first_points = lines[:, 0]
        first_tints = tints[:, 0]
        self.heads = style.dots(ax, first_points, s=16, c=first_tints, zorder=3)

    def draw(self, k: int) -> list[Any]:
        """Draw the ``k``-th frame; return what has moved."""
        tint = self.tints[:, k]
        self.heads.set_offsets(self.lines[:, k])
        self.heads.set_facecolors(tint)
        first = max(0, k - TAIL)
        recent = self.lines[:, first : k + 1]
        self.tails.set_segments(list(recent))
        faint = tint.copy()
        faint[:, 3] = 0.5
        self.tails.set_color(list(faint))
        title = style.at_time(self.times[k], self.time_unit)
        self.ax.set_title(title, fontsize=style.LABELS, color=style.INK)
        return [self.heads, self.tails]


def _check_file(save: Any) -> Path:
    from matplotlib.animation import writers

    path = as_path(save)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {str(path.parent)!r} does not exist; make it first")
    is_there = {ending: writers.is_available(name) for ending, name in WRITERS.items()}
    if not any(is_there.values()):
        raise ValueError(
            "no writer of films is installed: install ffmpeg for .mp4, or pillow for .gif"
        )
    if not path.suffix:
        best = next(ending for ending in WRITERS if is_there[ending])
        return path.with_suffix(best)
    ending = path.suffix.lower()
    if ending not in WRITERS:
        raise ValueError(f"save must end in .gif or .mp4, found {brief(path.name)}")
    if not is_there[ending]:
        other = next(name for name in WRITERS if is_there[name])
        raise ValueError(
            f"an {ending} file needs {WRITERS[ending]}, which is not installed; save a {other}"
        )
    return path
