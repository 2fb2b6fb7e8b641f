"""What all pictures share: colours with a meaning, plain axes, one colour bar."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from dyninfer.learning.files import as_path, write_file
from dyninfer.learning.settings import brief, check_switch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

# The blue, vermilion and green of Okabe and Ito's palette, made for every kind of colour vision.
CELLS = "#cfcfcf"
OBSERVED = "#6f6f6f"
SIMULATED = "#0072b2"
HELD_OUT = "#d55e00"
BASELINE = "#009e73"
INK = "#333333"
# Sizes of text in points that stay readable at the width of a page.
TICKS = 8.5
LABELS = 9.5
# Dots per inch of a file: sharp in print at the width of a column.
DPI = 200
SCREEN_DPI = 110
# Share of the magnitudes that the colours of a diverging scale tell apart; the rest is saturated.
SATURATION = 0.98


def axes(ax: Axes | None, size: tuple[float, float] = (5.2, 4.2)) -> Axes:
    """Return the given axes, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def grid_of_axes(
    ax: Any,
    shape: tuple[int, int],
    size: tuple[float, float],
    **kwargs: Any,
) -> ndarray:
    """Return the given axes in a grid, or those of a new figure.

    Raises
    ------
    ValueError
        If the number of axes is not the number of panels.
    """
    rows, columns = shape
    if ax is None:
        import matplotlib.pyplot as plt

        _, panels = plt.subplots(
            rows,
            columns,
            squeeze=False,
            figsize=size,
            layout="constrained",
            **kwargs,
        )
        return panels
    panels = np.atleast_1d(np.asarray(ax, dtype=object))
    if panels.size != rows * columns:
        raise ValueError(
            f"this picture has {rows} x {columns} panels but ax holds {panels.size} axes; "
            "give as many as there are panels"
        )
    return panels.reshape(shape)


def canvas(size: tuple[float, float], rows: int, columns: int, **kwargs: Any) -> tuple[Figure, Any]:
    """Return a new figure for a file with its ``(rows, columns)`` axes.

    Pyplot and its display are not involved.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, **kwargs)
    return figure, panels


def tidy(ax: Axes, xlabel: str = "", ylabel: str = "", *, ticks: bool = True) -> Axes:
    """Label the axes and take away what carries no information."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(INK)
    ax.tick_params(colors=INK, labelsize=TICKS)
    ax.set_xlabel(xlabel, fontsize=LABELS, color=INK)
    ax.set_ylabel(ylabel, fontsize=LABELS, color=INK)
    if not ticks:
        ax.set_xticks([])
        ax.set_yticks([])
    return ax


def time_colors() -> Colormap:
    """Viridis without its last tenth, which is too pale on white."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap

    levels = np.linspace(0, 0.9, 256)
    colors = mpl.colormaps["viridis"](levels)
    return ListedColormap(colors, name="dyninfer_time")


def time_scale(times: Sequence[float] | ndarray) -> ScalarMappable:
    """Colours for the range of ``times``."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    first = float(np.min(times))
    last = float(np.max(times))
    return ScalarMappable(Normalize(first, last), time_colors())


def diverging_scale(values: ndarray) -> ScalarMappable:
    """Red above zero and blue below, white at zero, up to the 98th percentile of the magnitudes."""
    import matplotlib as mpl
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    sizes = np.abs(values)
    limit = float(np.quantile(sizes, SATURATION))
    # Where all are zero, any limit shows white.
    if limit == 0:
        limit = 1.0
    scale = Normalize(-limit, limit)
    return ScalarMappable(scale, mpl.colormaps["RdBu_r"])


def colorbar(
    scale: ScalarMappable,
    ax: Axes | Sequence[Axes] | ndarray,
    label: str,
    **kwargs: Any,
) -> None:
    """Add a narrow colour bar without a frame."""
    panels = np.asarray(ax, dtype=object)
    first = np.ravel(panels)[0]
    bar = first.figure.colorbar(
        scale,
        ax=ax,
        fraction=0.035,
        pad=0.02,
        aspect=28,
        **kwargs,
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, labelsize=TICKS)
    bar.set_label(label, fontsize=LABELS, color=INK)


def dots(ax: Axes, points: ndarray, **kwargs: Any) -> Any:
    """Scatter ``(n, 2)`` points, without edges unless asked for."""
    x, y = points.T
    kwargs.setdefault("linewidths", 0)
    return ax.scatter(x, y, **kwargs)


def dot_size(n: int) -> float:
    """Area of a marker in square points, smaller for more of them."""
    # However many there are, the dots together cover the same small share of a picture.
    area = 9000 / max(n, 1)
    return float(np.clip(area, 2.5, 14))


def with_unit(name: str, unit: str) -> str:
    """Label of an axis: "time (h)", or the name alone where no unit was given."""
    if not _unit(unit):
        return name
    return f"{name} ({unit})"


def per(unit: str) -> str:
    """Unit of a rate: "1 / h", or "1 / time" where no unit was given."""
    return f"1 / {_unit(unit) or 'time'}"


def at_time(time: float, unit: str) -> str:
    """A time with its unit, if there is one: "24 h"."""
    return f"{time:g} {_unit(unit)}".strip()


def _unit(unit: Any) -> str:
    if not isinstance(unit, str):
        raise TypeError(f"a unit must be text, found {brief(unit)}")
    return unit


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Name rows at 0, 1, 2, ..., the first on top."""
    n = len(names)
    ax.set_yticks(range(n), names)
    ax.set_ylim(n - 0.5, -0.5)


def legend(ax: Axes, **kwargs: Any) -> None:
    """Add a legend without a frame."""
    ax.legend(
        frameon=False,
        fontsize=TICKS,
        labelcolor=INK,
        handletextpad=0.5,
        **kwargs,
    )


def finish(ax: Any, *, show: bool, save: str | os.PathLike[str] | None) -> Any:
    """Save and show the figure of the axes where asked, and return the axes.

    The ending of the file says its format.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    TypeError, ValueError
        If ``show`` is no switch, ``save`` no path, or no format has its ending.
    """
    show = check_switch(show, "show")
    every = np.ravel(np.asarray(ax, dtype=object))
    first = every[0]
    figure = first.get_figure()
    if save is not None:
        path = as_path(save)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"folder {str(path.parent)!r} does not exist; make it first")
        ending = path.suffix.removeprefix(".").lower()
        formats = figure.canvas.get_supported_filetypes()
        if ending not in formats:
            raise ValueError(
                f"save must end in an image format ({', '.join(sorted(formats))}), "
                f"found {brief(path.name)}"
            )
        buffer = io.BytesIO()
        # Legends may stand beside the axes: the page is as wide as they need.
        figure.savefig(buffer, format=ending, dpi=DPI, bbox_inches="tight")
        write_file(path, buffer.getvalue())
    if show:
        import matplotlib.pyplot as plt

        plt.show()
    return ax


def log_axis(axis: Any) -> None:
    """A logarithmic axis with plain numbers: 0.5, 1, 2 and not powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax = axis.axes
    is_horizontal = axis.axis_name == "x"
    if is_horizontal:
        ax.set_xscale("log")
    else:
        ax.set_yscale("log")
    low, high = axis.get_view_interval()
    # Over many decades, ticks between their ends would overlap.
    parts: tuple[float, ...] = (1.0, 2.0, 5.0)
    if high / low > 300:
        parts = (1.0,)
    axis.set_major_locator(LogLocator(subs=parts))
    formatter = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(formatter)
    axis.set_minor_formatter(NullFormatter())


def edges(times: ndarray) -> ndarray:
    """Borders between times, and half a step before the first and after the last."""
    if len(times) == 1:
        before = times[0] - 0.5
        after = times[0] + 0.5
        return np.array([before, after])
    middles = (times[1:] + times[:-1]) / 2
    first = 2 * times[0] - middles[0]
    last = 2 * times[-1] - middles[-1]
    return np.concatenate([[first], middles, [last]])
