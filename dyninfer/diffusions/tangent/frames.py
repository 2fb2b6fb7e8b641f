"""Points, their neighbours, and the planes tangent to the surface that they lie on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.spatial import cKDTree
from torch import Tensor

# Singer and Wu (2012) ask for more neighbours in a plane than on an edge of the graph.
_WIDER = 1.5
# Share of the variance around a point that its tangent plane explains (arXiv 2309.16746, code).
_EXPLAINED = 0.8
_POLAR_STEPS = 6
# A hair beyond the last neighbour, so that neighbours which are all equally far still count.
_BEYOND = 1 + 1e-9


@dataclass(frozen=True)
class Cloud:
    """A graph of neighbours with a tangent frame at every point.

    Attributes
    ----------
    points : array ``(n, D)``
    frames : array ``(n, D, d)``
        Orthonormal columns that span the tangent plane.
    neighbors : array ``(n, k)``
        Numbers of the nearest other points.
    distances : array ``(n, k)``
    bandwidth : float
        ``h`` of the weights ``exp(−|x_i − x_j|² / 2h²)``, one for all points.
    """

    points: ndarray
    frames: ndarray
    neighbors: ndarray
    distances: ndarray
    bandwidth: float

    @classmethod
    def of(cls, points: ndarray, n_neighbors: int, dimension: int | None = None) -> Cloud:
        """Find neighbours and planes of points ``(n, D)``; None estimates the dimension."""
        n = len(points)
        wider = int(np.ceil(_WIDER * n_neighbors))
        n_in_plane = min(wider, n - 1)
        tree = cKDTree(points)
        # The nearest point to each is itself.
        distances, neighbors = tree.query(points, n_in_plane + 1)
        distances = distances[:, 1:]
        neighbors = neighbors[:, 1:]
        _check_surface(distances[:, :n_neighbors])
        axes, shares = _principal_axes(points, neighbors, distances)
        if dimension is None:
            dimension = intrinsic_dimension(shares)
        # Half of the reach: weights have fallen to 0.14 at a typical last neighbour.
        reach = np.median(distances[:, n_neighbors - 1])
        return cls(
            points=points,
            frames=np.ascontiguousarray(axes[:, :, :dimension]),
            neighbors=neighbors[:, :n_neighbors],
            distances=distances[:, :n_neighbors],
            bandwidth=float(reach) / 2,
        )

    @property
    def dimension(self) -> int:
        """Dimension ``d`` of the surface."""
        return self.frames.shape[2]


def intrinsic_dimension(shares: ndarray) -> int:
    """First number of axes that explain enough around nearly every point.

    Parameters
    ----------
    shares : array ``(n, m)``
        Share of the variance around a point along each of its principal axes.
    """
    explained = shares.cumsum(1)
    # One deviation below the mean: a plane must fit nearly everywhere, not on average.
    cautious = explained.mean(0) - explained.std(0)
    enough = np.flatnonzero(cautious >= _EXPLAINED)
    if len(enough) == 0:
        return shares.shape[1]
    return int(enough[0]) + 1


def taper(distances: Any, reach: Any) -> Any:
    """Factor of weights that falls to 0 at the reach: a neighbour that comes or goes has none."""
    shares = distances / reach
    return (1 - shares**2).clip(min=0) ** 2


def nearest_rotation(matrices: Tensor) -> Tensor:
    """Orthogonal polar factors of ``(..., d, d)``, by Newton and Schulz's iteration.

    It has derivatives where singular values meet, and is exact for planes that are nearly parallel.
    Planes at right angles know no rotation; theirs stays small, and so do vectors carried by it.
    """
    rotation = matrices
    for _ in range(_POLAR_STEPS):
        gram = rotation.mT @ rotation
        rotation = 1.5 * rotation - 0.5 * rotation @ gram
    return rotation


def _check_surface(distances: ndarray) -> None:
    """Raise a ValueError where a cell has no neighbour with a weight, but for its own copies."""
    n_neighbors = distances.shape[1]
    # Weights fall to 0 at the last neighbour, and at all that are as far.
    is_nearer = distances * _BEYOND < distances[:, -1:]
    is_apart = distances > 0
    has_any = (is_nearer & is_apart).any(1)
    n_alone = int((~has_any).sum())
    if n_alone:
        raise ValueError(
            f"{n_alone} cells coincide with their {n_neighbors - 1} nearest ones, or are equally "
            "far from all of them, so they show no surface; remove duplicates, or raise n_neighbors"
        )


def _principal_axes(
    points: ndarray, neighbors: ndarray, distances: ndarray
) -> tuple[ndarray, ndarray]:
    """Axes ``(n, D, m)`` of the neighbours of each point, and their shares ``(n, m)``.

    Weights fall to 0 at the last neighbour (Singer and Wu, 2012): on a grid, many points are
    equally far, and which of them is the last one must not matter.
    """
    relative = distances / (_BEYOND * distances[:, -1:])
    roots = np.sqrt(1 - relative**2)
    axes = []
    shares = []
    # In blocks: the differences of all points at once would fill the memory.
    n_blocks = 1 + len(points) * neighbors.shape[1] // 100_000
    for rows in np.array_split(np.arange(len(points)), n_blocks):
        differences = points[neighbors[rows]] - points[rows][:, None]
        weighted = roots[rows][..., None] * differences
        _, sizes, vectors = np.linalg.svd(weighted, full_matrices=False)
        squares = sizes**2
        total = squares.sum(1, keepdims=True)
        axes.append(vectors.swapaxes(1, 2))
        shares.append(squares / total)
    return np.concatenate(axes), np.concatenate(shares)
