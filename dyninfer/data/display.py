"""How paths and trajectories show themselves in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dyninfer.data.trajectories import Trajectories

WIDTH, HEIGHT, MARGIN = 240, 160, 8
MOST_PATHS, MOST_POINTS = 40, 60


def rows(traj: Trajectories) -> dict[str, str]:
    """What there is to know at a glance, as label and value."""
    times = traj.times.detach().cpu()
    lines = {"times": f"{times[0]:g} to {times[-1]:g}", "features": listed(traj.features)}
    if traj.log_weights is not None:
        mass, ess = traj.mass.detach().cpu(), traj.ess.detach().cpu()
        lines["mass"] = f"{mass[0]:.4g} to {mass[-1]:.4g}"
        lines["ESS"] = f"{ess.min():.4g} to {ess.max():.4g} of {traj.n_paths}"
    if traj.parents is not None:
        lines["parents"] = "rows were resampled; lineages() gives coherent paths"
    diverged = int((traj.status != 0).sum())
    if diverged:
        lines["diverged"] = f"{diverged} of {traj.n_paths} paths, left out of every average"
    return lines | {key: _short(value) for key, value in traj.attrs.items()}


def title(traj: Trajectories) -> str:
    """Sizes, kind and place of the states."""
    dtype = str(traj.states.dtype).removeprefix("torch.")
    size = f"{counted(traj.n_paths, 'path')} x {counted(traj.n_times, 'time')}"
    size += "" if traj.discrete else f" x {counted(traj.n_features, 'feature')}"
    return f"Trajectories: {size} ({dtype}, {traj.states.device})"


def text(traj: Trajectories) -> str:
    """Several lines for a terminal."""
    return block(title(traj), rows(traj))


def block(title: str, lines: Mapping[str, str]) -> str:
    """A title and indented, aligned lines below it."""
    width = max(map(len, lines))
    return "\n".join([title, *(f"    {key:<{width}}  {value}" for key, value in lines.items())])


def counted(n: int, noun: str) -> str:
    """Number and noun, in the plural where it is not one."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names with commas, the middle of a long list left out."""
    return (
        ", ".join(names)
        if len(names) <= most
        else f"{', '.join(names[: most - 1])}, ..., {names[-1]}"
    )


def html(traj: Trajectories) -> str:
    """A table with a small picture for a notebook."""
    cells = "".join(
        f"<tr><td style='text-align:left'><b>{escape(key)}</b></td>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for key, value in rows(traj).items()
    )
    return (
        f"<div><b>{escape(title(traj))}</b><div style='display:flex;gap:1em;align-items:center'>"
        f"{thumbnail(traj)}<table>{cells}</table></div></div>"
    )


def thumbnail(traj: Trajectories) -> str:
    """Inline SVG of a few dozen paths: the first two features, or the only one against time."""
    few = traj[np.unique(np.linspace(0, traj.n_paths - 1, MOST_PATHS).astype(int))]
    few = few[:, np.unique(np.linspace(0, few.n_times - 1, MOST_POINTS).astype(int))]
    values = few.states.detach().double().cpu().numpy().reshape(few.n_paths, few.n_times, -1)
    time = np.broadcast_to(few.times.detach().cpu().numpy(), values.shape[:2])
    x, y = (time, values[..., 0]) if values.shape[2] == 1 else (values[..., 0], values[..., 1])
    x, y = _scaled(x, WIDTH), HEIGHT - _scaled(y, HEIGHT)
    label = "state by time" if traj.n_features == 1 else " and ".join(traj.features[:2])
    return (
        f"<svg width='{WIDTH}' height='{HEIGHT}' viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>"
        f"<title>{escape(label)}</title>"
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='none' stroke='#ccc'/>"
        f"<g fill='none' stroke='#4c72b0' stroke-opacity='0.45'>{''.join(map(_line, x, y))}</g>"
        f"<g fill='#dd8452'>{''.join(map(_end, x, y))}</g></svg>"
    )


def _scaled(values: np.ndarray, size: int) -> np.ndarray:
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    with np.errstate(invalid="ignore"):
        share = (
            (values - low) / (high - low)
            if high > low
            else np.where(np.isfinite(values), 0.5, np.nan)
        )
    return MARGIN + share * (size - 2 * MARGIN)


def _line(x: np.ndarray, y: np.ndarray) -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in _finite(x, y))
    return f"<polyline points='{points}'/>"


def _end(x: np.ndarray, y: np.ndarray) -> str:
    return "".join(f"<circle cx='{a:.1f}' cy='{b:.1f}' r='1.6'/>" for a, b in _finite(x, y)[-1:])


def _finite(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    points = np.stack([x, y], axis=1)
    return points[np.isfinite(points).all(axis=1)]


def _short(value: object, most: int = 70) -> str:
    shown = str(value)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."
