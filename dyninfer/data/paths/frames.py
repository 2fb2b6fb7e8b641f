"""Paths at multiples of a frame, as a camera takes them."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from dyninfer.data.paths.paths import Paths
from dyninfer.data.times import NEAR
from dyninfer.learning.budget import check_memory
from dyninfer.learning.settings import brief, is_number


def frame_of(paths: Paths, frame: float | None = None) -> float:
    """Time of a frame as it was given, or the shortest gap of the paths."""
    if frame is not None:
        if not is_number(frame) or not 0 < frame < np.inf:
            raise ValueError(f"frame must be a positive time, or None; found {brief(frame)}")
        return float(frame)
    gaps = np.concatenate([np.diff(times) for times in paths.times])
    if len(gaps) == 0:
        raise ValueError("every track has one position; give tracks with several")
    return float(gaps.min())


def frame_numbers(paths: Paths, number: int, frame: float) -> ndarray:
    """Frames of the positions of a path since its first one ``(l,)`` int64.

    Raises
    ------
    ValueError
        If a position lies between two frames; the message names the path.
    """
    times = paths.times[number]
    position = (times - times[0]) / frame
    numbers = np.rint(position)
    distance = np.abs(position - numbers)
    if distance.max() > NEAR:
        worst = float(times[distance.argmax()])
        raise ValueError(
            f"path {str(paths.names[number])!r} has a position at {worst:g}, between two frames of "
            f"{frame:g} from its start; give frame, or times that are multiples of it"
        )
    return numbers.astype(np.int64)


def on_frames(paths: Paths, frame: float | None = None) -> tuple[ndarray, float]:
    """Positions ``(n, frame, d)`` float64 since the first one of each path, and a frame's time.

    NaN where a path was not observed.
    """
    frame = frame_of(paths, frame)
    every = [frame_numbers(paths, number, frame) for number in range(len(paths))]
    last = [int(numbers[-1]) for numbers in every]
    n_paths = len(paths)
    n_frames = 1 + max(last)
    n_values = n_paths * n_frames * paths.n_features
    check_memory(8 * n_values, f"{n_paths} paths on {n_frames:,} frames")
    positions = np.full((n_paths, n_frames, paths.n_features), np.nan)
    row = np.repeat(np.arange(n_paths), paths.lengths)
    column = np.concatenate(every)
    positions[row, column] = np.concatenate(paths.states)
    return positions, frame
