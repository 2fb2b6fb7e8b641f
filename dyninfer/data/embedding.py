"""Velocities carried into an embedding of the cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy import ndarray

from dyninfer.learning.settings import brief, is_whole

# Cells regressed at a time: some megabytes of neighbours.
ROWS = 512
# A plane through fewer points follows their noise.
FEWEST_NEIGHBORS = 30
# Directions in which neighbours spread less than this part of the widest are no direction of the
# cloud: an embedding says nothing about them.
THINNEST = 0.01


def pushed_forward(
    states: ndarray,
    positions: ndarray,
    velocity: ndarray,
    n_neighbors: int | None = None,
    at: ndarray | None = None,
) -> ndarray:
    """Velocity through the slope of an embedding.

    Positions of the nearest cells are regressed on their states; the slope times the velocity is
    the arrow.

    Parameters
    ----------
    states : array ``(n, d)``
        Cells.
    positions : array ``(n, coordinate)``
        The same cells in the embedding.
    velocity : array ``(m, d)``
        At the states ``at``.
    n_neighbors : int, optional
        Cells of a regression; by default 30, or twice the number of features where that is more.
    at : array ``(m, d)``, optional
        Where the velocity is; by default at all cells.

    Returns
    -------
    array ``(m, coordinate)``
    """
    if at is None:
        at = states
    shape = (len(at), positions.shape[1])
    arrows = np.empty(shape)
    for rows, slope in local_slopes(states, positions, n_neighbors, at):
        own = velocity[rows]
        arrows[rows] = np.einsum("nd,ndc->nc", own, slope)
    return arrows


def local_slopes(
    places: ndarray,
    values: ndarray,
    n_neighbors: int | None = None,
    at: ndarray | None = None,
) -> Iterator[tuple[slice, ndarray]]:
    """How much values change from place to place, by regression on the nearest places.

    Parameters
    ----------
    places : array ``(n, d)``
    values : array ``(n, c)``
    n_neighbors : int, optional
        Places of a regression; by default 30, or twice their dimension where that is more.
    at : array ``(m, d)``, optional
        Where slopes are taken; by default at all places.

    Yields
    ------
    rows : slice
    slope : array ``(row, d, c)``
        Change of each value along each coordinate.
    """
    from sklearn.neighbors import NearestNeighbors

    n_cells, n_features = places.shape
    if n_neighbors is None:
        # Twice as many equations as unknowns.
        n_neighbors = max(FEWEST_NEIGHBORS, 2 * n_features)
    if not is_whole(n_neighbors) or n_neighbors < 3:
        raise ValueError(
            f"n_neighbors must be a whole number of at least 3, found {brief(n_neighbors)}"
        )
    if n_cells < 3:
        raise ValueError(f"arrows need at least three cells, found {n_cells}")
    k = min(n_neighbors, n_cells)
    search = NearestNeighbors(n_neighbors=k).fit(places)
    if at is None:
        at = places
    for first in range(0, len(at), ROWS):
        rows = slice(first, first + ROWS)
        near = search.kneighbors(at[rows], return_distance=False)
        around = places[near]
        around = around - around.mean(1, keepdims=True)
        own_values = values[near]
        own_values = own_values - own_values.mean(1, keepdims=True)
        yield rows, np.linalg.pinv(around, rcond=THINNEST) @ own_values
