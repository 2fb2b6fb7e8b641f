"""Simulated cells that move: a picture for every time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

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
# What writes a file of each ending; the first comes with matplotlib.
WRITERS = {".gif": "pillow", ".mp4": "ffmpeg"}


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
    """Move simulated cells over the observed ones, a frame for every stored time.

    Parameters
    ----------
    data, traj, basis, components, n_paths, color, use_rep, time_key, time_unit, n_neighbors, seed
        As in :func:`~dyninfer.plotting.trajectories`.
    fps : int
        Frames in a second.
    ax, show
        As in :func:`~dyninfer.plotting.trajectories`.
    save : path, optional
        A ``.gif``, or, where ffmpeg is installed, an ``.mp4``.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        Keep it for as long as it runs. Its axes are those given, or ``plt.gca()``.

    Raises
    ------
    KeyError, TypeError, ValueError
        As in :func:`~dyninfer.plotting.trajectories`, or if no writer knows the ending of the file.
    """
    from matplotlib.animation import FuncAnimation
    from matplotlib.collections import LineCollection

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
        tints = np.tile(scale.to_rgba(times), (len(lines), 1, 1))
        style.dots(ax, observed, s=size, c=style.CELLS, zorder=1)
    else:
        colors = CellColors.of(data, color)
        of_cells = colors.rgba()
        style.dots(ax, observed, s=size, c=of_cells, alpha=0.25, zorder=1)
        tints = of_cells[nearest_cells(cells.states, array(paths.states))]
        colors.explain(ax)
    tails = LineCollection([], linewidths=0.9, zorder=2)
    ax.add_collection(tails)
    heads = style.dots(ax, lines[:, 0], s=16, c=tints[:, 0], zorder=3)
    # All frames have one range: a picture that zooms hides what moves.
    ax.update_datalim(lines.reshape(-1, 2))
    ax.autoscale_view()
    style.tidy(ax, *labels, ticks=basis is None)

    def frame(k: int) -> list[Any]:
        first = max(0, k - TAIL)
        heads.set_offsets(lines[:, k])
        heads.set_facecolors(tints[:, k])
        tails.set_segments(list(lines[:, first : k + 1]))
        faint = tints[:, k].copy()
        faint[:, 3] = 0.5
        tails.set_color(list(faint))
        ax.set_title(style.at_time(times[k], time_unit), fontsize=style.LABELS, color=style.INK)
        return [heads, tails]

    figure = cast(Any, ax.figure)
    moving = FuncAnimation(figure, frame, frames=len(times), interval=1000 / fps)
    if path is not None:
        moving.save(path, writer=WRITERS[path.suffix.lower()], fps=fps, dpi=style.SCREEN_DPI)
    if show:
        import matplotlib.pyplot as plt

        plt.show()
    return moving


def _check_file(save: Any) -> Path:
    from matplotlib.animation import writers

    path = as_path(save)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {str(path.parent)!r} does not exist; make it first")
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ValueError(f"save must end in .gif or .mp4, found {brief(path.name)}")
    if not writers.is_available(writer):
        raise ValueError(
            f"an {path.suffix} file needs {writer}, which is not installed; save a .gif"
        )
    return path
