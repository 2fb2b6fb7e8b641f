"""Cells and simulated paths as plain data, for a picture that answers to a pointer and a slider."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from dyninfer.data.arrays import as_list
from dyninfer.data.reading import is_anndata
from dyninfer.data.storage import array
from dyninfer.data.times import Clock
from dyninfer.data.words import texts
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import check_count, check_seed

if TYPE_CHECKING:
    from anndata import AnnData

    from dyninfer.data.snapshots import Snapshots
    from dyninfer.data.trajectories import Trajectories
    from dyninfer.plotting.colors import CellColors

# Places are whole numbers up to this: finer than any screen, and short to write.
FINEST = 9999
# Steps of the colours of numbers; a browser mixes between them.
N_STEPS = 12


@dataclass(frozen=True)
class Scene:
    """What the interactive picture of a report shows; :meth:`of` makes one.

    Attributes
    ----------
    content : dict
        Lists, texts and numbers, as JSON holds them. Places are whole numbers from 0 to 9999 within
        the range of the picture.

    Examples
    --------
    >>> import torch
    >>> import dyninfer as di
    >>> from dyninfer.report import Scene
    >>> data = di.Snapshots(times=[0, 1], samples=[[[0.0, 0.0], [1.0, 1.0]], [[2.0, 2.0]]])
    >>> paths = torch.tensor([[[0.0, 0.0], [2.0, 2.0]]])
    >>> run = di.Trajectories(states=paths, times=[0, 1], features=["x0", "x1"])
    >>> scene = Scene.of(data, run)
    >>> scene.content["paths"]["x"]
    [[0, 9999]]
    """

    content: dict[str, Any]

    @classmethod
    def of(
        cls,
        data: AnnData | Snapshots,
        traj: Trajectories,
        basis: str | None = None,
        *,
        color: Sequence[str | CellColors] = (),
        components: tuple[int, int] = (0, 1),
        use_rep: str | None = None,
        time_key: str | None = None,
        time_unit: str = "",
        n_neighbors: int = 15,
        n_paths: int = 100,
        n_cells: int = 20_000,
        seed: int = 0,
    ) -> Scene:
        """Take cells and paths into one plane.

        Parameters
        ----------
        data : AnnData or Snapshots
            The observed cells.
        traj : Trajectories
            Continuous states.
        basis, components, use_rep, time_key, time_unit, n_neighbors
            As in :func:`~dyninfer.plotting.trajectories`; the times of cells are needed.
        color : sequence of str
            Columns of ``obs`` and genes that cells can be coloured by, beside their time.
        n_paths, n_cells : int
            Paths and cells at most, shuffled at random: a page must open on a phone.
        seed : int
            Fixes the choice.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the data lack the simulated features, the times, the basis or a colour.
        """
        from dyninfer.plotting import style
        from dyninfer.plotting.plane import Cells
        from dyninfer.plotting.populations import in_plane, some_paths

        n_cells = check_count(n_cells, "n_cells")
        check_seed(seed)
        # Refuses a unit that is no text.
        style.with_unit("time", time_unit)
        cells = Cells.of(data, traj.features, use_rep, time_key, need_times=True)
        paths = some_paths(traj, n_paths, seed)
        observed, lines, labels = in_plane(
            data, cells, paths, basis, components, n_neighbors, time_unit
        )
        shuffled = numpy_stream(seed, "cells of a scene").permutation(len(observed))
        rows = np.sort(shuffled[:n_cells])
        window = _Window.around(observed[rows], lines)
        clock = Clock.of(cells.times)
        colors = []
        for key in as_list(color, "color", "columns of obs or genes"):
            colors.append(_color(data, key, rows))
        places = observed[rows]
        dots = {
            "x": window.x(places[:, 0]),
            "y": window.y(places[:, 1]),
            "time": clock.positions(cells.times[rows]).tolist(),
            "name": _names(data, rows),
        }
        curves = {
            "x": window.x(lines[..., 0]),
            "y": window.y(lines[..., 1]),
            "name": list(texts(paths.origin)),
        }
        content = {
            "unit": time_unit,
            "labels": list(labels),
            "observed": clock.times.tolist(),
            "times": array(paths.times).tolist(),
            "n_left_out": len(observed) - len(rows),
            "cells": dots,
            "paths": curves,
            "colors": colors,
            "steps": _steps(),
        }
        return cls(content)

    def json(self) -> str:
        """The content as text that an HTML page can hold: no ``<`` of it can end its element."""
        text = json.dumps(self.content, separators=(",", ":"), allow_nan=False)
        return text.replace("<", "\\u003c").replace("&", "\\u0026")


@dataclass(frozen=True)
class _Window:
    """The range of a picture."""

    low: ndarray  # (2,)
    size: ndarray  # (2,)

    @classmethod
    def around(cls, observed: ndarray, lines: ndarray) -> _Window:
        line_points = lines.reshape(-1, 2)
        points = np.concatenate([observed, line_points])
        low = np.nanmin(points, axis=0)
        size = np.nanmax(points, axis=0) - low
        # Cells that all lie on a line have no width across it.
        return cls(low, np.where(size > 0, size, 1.0))

    def x(self, values: ndarray) -> list[Any]:
        return self._places(values, 0)

    def y(self, values: ndarray) -> list[Any]:
        return self._places(values, 1)

    def _places(self, values: ndarray, axis: int) -> list[Any]:
        share = (values - self.low[axis]) / self.size[axis]
        # A cell that has no place lies outside, where nothing is drawn.
        share = np.nan_to_num(share, nan=-1.0)
        pixels = np.rint(FINEST * share)
        return pixels.astype(int).tolist()


def _color(data: Any, key: Any, rows: ndarray) -> dict[str, Any]:
    """One way to colour the cells: numbers with three digits, or labels."""
    from dyninfer.plotting.colors import CellColors

    colors = key
    if not isinstance(key, CellColors):
        colors = CellColors.of(data, key)
    values = colors.values[rows]
    if colors.labels:
        return {
            "name": colors.name,
            "values": values.tolist(),
            "labels": list(colors.labels),
            "palette": list(colors.palette),
        }
    low, high = colors.scale().get_clim()
    short: list[float | None] = []
    for value in values.tolist():
        # JSON has no missing number.
        short.append(float(f"{value:.3g}") if np.isfinite(value) else None)
    return {"name": colors.name, "values": short, "range": [low, high]}


def _names(data: Any, rows: ndarray) -> list[str]:
    if is_anndata(data):
        return list(texts(data.obs_names[rows]))
    return [f"cell {row}" for row in rows]


def _steps() -> dict[str, list[str]]:
    """Colours of numbers on white and on black paper, from low to high."""
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    from dyninfer.plotting import style

    light = style.time_colors()(np.linspace(0, 1, N_STEPS))
    # The first quarter of viridis cannot be seen on black.
    levels = np.linspace(0.25, 1, N_STEPS)
    dark = mpl.colormaps["viridis"](levels)
    light_names = [to_hex(color) for color in light]
    dark_names = [to_hex(c) for c in dark]
    return {"light": light_names, "dark": dark_names}
