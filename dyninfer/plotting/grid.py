"""Averages over cells that lie near each other in a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

# Points of the velocity grid along an axis; stream lines bend smoothly between them.
GRID = 36
# Cells, counted by the kernel, below which a place is empty and no stream line is drawn.
FEWEST_CELLS = 0.75


def averaged_on_grid(points: ndarray, values: ndarray) -> tuple[ndarray, ndarray, list[Any]]:
    """Kernel averages of every column of ``values (n, c)`` on a grid: its axes, and ``(y, x)``."""
    points = points.astype(np.float64)
    x_of_points, y_of_points = points.T
    x, in_x = _axis_kernel(x_of_points)
    y, in_y = _axis_kernel(y_of_points)
    count = in_y @ in_x.T
    is_empty = count < FEWEST_CELLS
    # Far from all points the count is zero; these places are masked.
    divisor = np.maximum(count, 1e-300)
    averages = []
    for component in values.T:
        total = (in_y * component) @ in_x.T
        mean = total / divisor
        average = np.ma.array(mean, mask=is_empty)
        averages.append(average)
    return x, y, averages


def _axis_kernel(points: ndarray) -> tuple[ndarray, ndarray]:
    """Grid along one axis, and Gaussian weights ``(grid, point)`` on it."""
    low = points.min()
    high = points.max()
    margin = 0.1 * (high - low)
    begin = low - margin
    end = high + margin
    grid = np.linspace(begin, end, GRID)
    # Scott's rule in two dimensions.
    bandwidth = len(points) ** (-1 / 6)
    width = points.std() * bandwidth
    # Cells that all lie on a line have no width across it.
    width = max(width, 1e-12)
    deviation = grid[:, None] - points
    distance = deviation / width
    exponent = -0.5 * distance**2
    weights = np.exp(exponent)
    return grid, weights
