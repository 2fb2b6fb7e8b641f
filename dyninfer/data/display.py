"""How data and models show themselves in a terminal and in a notebook."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from dyninfer.data.words import as_text, counted, shortened

if TYPE_CHECKING:
    from dyninfer.data.trajectories import Trajectories

# Pixels of a thumbnail, which stands beside a table in a notebook.
WIDTH = 240
HEIGHT = 160
MARGIN = 8
# More lines, or points of a line, could not be told apart in it.
MOST_PATHS = 40
MOST_POINTS = 60
MOST_NAMES = 6
MOST_CHARACTERS = 70


def rows(traj: Trajectories) -> dict[str, str]:
    """What there is to know at a glance, as label and value."""
    times = traj.times.tolist()
    lines = {
        "times": f"{as_text(times[0])} to {as_text(times[-1])}",
        "features": listed(traj.features),
    }
    if traj.log_weights is not None:
        log_mass = traj.log_mass.tolist()
        ess = traj.ess.tolist()
        first = _mass(log_mass[0])
        last = _mass(log_mass[-1])
        lines["mass"] = f"{first} to {last}"
        least = min(ess)
        most = max(ess)
        lines["ESS"] = f"{least:.4g} to {most:.4g} of {traj.n_paths}"
    if traj.parents is not None:
        lines["parents"] = "rows were resampled; lineages() gives coherent paths"
    diverged = int((traj.status != 0).sum())
    if diverged:
        # Said here, since every average leaves them out without a word.
        lines["diverged"] = f"{diverged} of {traj.n_paths} paths, left out of every average"
    for key, value in traj.attrs.items():
        lines[key] = shortened(str(value), MOST_CHARACTERS)
    return lines


def title(traj: Trajectories) -> str:
    """Sizes, kind and place of the states."""
    dtype = str(traj.states.dtype).removeprefix("torch.")
    paths = counted(traj.n_paths, "path")
    times = counted(traj.n_times, "time")
    size = f"{paths} x {times}"
    if not traj.discrete:
        features = counted(traj.n_features, "feature")
        size += f" x {features}"
    device = traj.states.device
    return f"Trajectories: {size} ({dtype}, {device})"


def text(traj: Trajectories) -> str:
    """Several lines for a terminal."""
    return block(title(traj), rows(traj))


def block(title: str, lines: Mapping[str, str]) -> str:
    """A title and indented, aligned lines below it."""
    longest = max(lines, key=len)
    width = len(longest)
    text = title
    for key, value in lines.items():
        text += f"\n    {key:<{width}}  {value}"
    return text


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Names with commas, the middle of a long list left out."""
    if len(names) <= most:
        return ", ".join(names)
    first = ", ".join(names[: most - 1])
    return f"{first}, ..., {names[-1]}"


def html(traj: Trajectories) -> str:
    """A table with a small picture for a notebook."""
    return table(title(traj), rows(traj), thumbnail(traj))


def table(title: str, lines: Mapping[str, str], picture: str = "") -> str:
    """A title and a table of labels and values for a notebook, beside a picture if there is one."""
    cell = "<td style='text-align:left'>"
    body = ""
    for key, value in lines.items():
        label = f"{cell}<b>{escape(key)}</b></td>"
        cell_text = escape(value)
        body += f"<tr>{label}{cell}{cell_text}</td></tr>"
    head = f"<b>{escape(title)}</b>"
    return (
        f"<div>{head}<div style='display:flex;gap:1em;align-items:center'>"
        f"{picture}<table>{body}</table></div></div>"
    )


def thumbnail(traj: Trajectories) -> str:
    """Inline SVG of a few dozen paths: the first two features, or the only one against time."""
    rows = _spread(traj.n_paths, MOST_PATHS)
    columns = _spread(traj.n_times, MOST_POINTS)
    # Paths first: of resampled rows this makes lines, which have no parents at other times.
    few = traj[rows][:, columns]
    x, y, label = _coordinates(few)
    x = _scaled(x, WIDTH)
    # Pictures count rows from the top.
    y = HEIGHT - _scaled(y, HEIGHT)
    lines = ""
    ends = ""
    for one_x, one_y in zip(x, y, strict=True):
        lines += _line(one_x, one_y)
        ends += _end(one_x, one_y)
    frame = f"width='{WIDTH}' height='{HEIGHT}'"
    return (
        f"<svg {frame} viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>"
        f"<title>{escape(label)}</title>"
        f"<rect {frame} fill='none' stroke='#ccc'/>"
        f"<g fill='none' stroke='#4c72b0' stroke-opacity='0.45'>{lines}</g>"
        f"<g fill='#dd8452'>{ends}</g></svg>"
    )


def _spread(n: int, most: int) -> ndarray:
    """At most so many of ``n`` numbers, evenly spread."""
    spread = np.linspace(0, n - 1, most)
    return np.unique(spread.astype(int))


def _coordinates(traj: Trajectories) -> tuple[ndarray, ndarray, str]:
    """Horizontal and vertical values ``(path, time)``, and what they are."""
    # Half precision has no arrays of its own.
    states = traj.states.detach().double().cpu().numpy()
    if traj.n_features > 1:
        x = states[..., 0]
        y = states[..., 1]
        label = " and ".join(traj.features[:2])
        return x, y, label
    shape = (traj.n_paths, traj.n_times)
    times = np.array(traj.times.tolist())
    x = np.broadcast_to(times, shape)
    y = states.reshape(shape)
    return x, y, "state by time"


def _scaled(values: ndarray, size: int) -> ndarray:
    """Values as pixels within the margins; all alike, they stand in the middle."""
    is_finite = np.isfinite(values)
    finite = values[is_finite]
    if len(finite) == 0:
        return np.full(values.shape, np.nan)
    low = finite.min()
    extent = finite.max() - low
    room = size - 2 * MARGIN
    if extent == 0:
        share = np.where(is_finite, 0.5, np.nan)
        return MARGIN + share * room
    # Diverged states stay NaN or infinite, and are left out of the lines.
    with np.errstate(invalid="ignore"):
        share = (values - low) / extent
        return MARGIN + share * room


def _line(x: ndarray, y: ndarray) -> str:
    # A tenth of a pixel: more digits only make a notebook large.
    points = _finite(x, y)
    corners = [f"{a:.1f},{b:.1f}" for a, b in points]
    joined = " ".join(corners)
    return f"<polyline points='{joined}'/>"


def _end(x: ndarray, y: ndarray) -> str:
    """A dot at the last finite point of a path; nothing where there is none."""
    points = _finite(x, y)
    if len(points) == 0:
        return ""
    a, b = points[-1]
    return f"<circle cx='{a:.1f}' cy='{b:.1f}' r='1.6'/>"


def _finite(x: ndarray, y: ndarray) -> ndarray:
    points = np.stack([x, y], axis=1)
    is_finite = np.isfinite(points).all(axis=1)
    return points[is_finite]


def _mass(logarithm: float) -> str:
    # Float64 holds no number far beyond e^±700.
    if math.isfinite(logarithm) and abs(logarithm) > 700:
        return f"e^{logarithm:.4g}"
    return f"{math.exp(logarithm):.4g}"
