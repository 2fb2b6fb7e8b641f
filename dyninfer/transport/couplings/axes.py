"""Leading principal axes of two samples, on which growth is told from motion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.learning.random import numpy_stream
from dyninfer.transport.couplings.problem import failed

# Cells of a sample that say where the axes lie: where one varies twice as much as the next, they
# are known to a third of a degree. All of ten million would take longer than the first step.
MOST_LOOKED_AT = 65_536


class LeadingAxes(NamedTuple):
    """Common principal axes of two samples, and the unit in which coordinates are small."""

    middle: ndarray  # (d,)
    unit: float
    directions: ndarray | None  # (d, k); None where the features are the axes

    def coordinates(self, x: ndarray) -> ndarray:
        """Coordinates ``(n, k)`` of states ``(n, d)``."""
        centred = x.astype(np.float64) - self.middle
        # Squares of lengths in an extreme unit would not be numbers.
        scaled = centred / self.unit
        if self.directions is None:
            return scaled
        return scaled @ self.directions


def leading_axes(
    x: ndarray, y: ndarray, a: ndarray, b: ndarray, seed: int, n_axes: int
) -> LeadingAxes:
    """Common principal axes of two weighted samples, either of which has half of the weight.

    Where there are no more features than axes, these are the features.

    Parameters
    ----------
    x, y : arrays ``(n, d)``, ``(m, d)``
    a, b : arrays ``(n,)``, ``(m,)``
        Weights, each summing to one.
    seed : int
        Which cells are looked at, of samples of more than 65,536.
    n_axes : int

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    first, of_first = _looked_at(x, a, seed, "first")
    second, of_second = _looked_at(y, b, seed, "second")
    both = np.concatenate([first, second])
    points = both.astype(np.float64)
    weights = 0.5 * np.concatenate([of_first, of_second])
    middle = weights @ points
    centred = points - middle
    unit = float(np.abs(centred).max()) or 1.0
    if not np.isfinite(unit):
        raise failed()
    if centred.shape[1] <= n_axes:
        return LeadingAxes(middle, unit, None)
    scaled = centred / unit
    root = np.sqrt(weights)
    scatter = root[:, None] * scaled
    directions = _principal_axes(scatter, n_axes)
    return LeadingAxes(middle, unit, directions)


def _looked_at(x: ndarray, weights: ndarray, seed: int, side: str) -> tuple[ndarray, ndarray]:
    """States and weights of the cells that say where the axes lie."""
    n = len(x)
    if n <= MOST_LOOKED_AT:
        return np.asarray(x), weights
    rng = numpy_stream(seed, "axes", side)
    # Drawn by weight, so that a few heavy cells among light ones are not missed.
    rows = rng.choice(n, MOST_LOOKED_AT, p=weights)
    equal = np.full(MOST_LOOKED_AT, 1 / MOST_LOOKED_AT)
    return x[np.sort(rows)], equal


def _principal_axes(scatter: ndarray, n_axes: int) -> ndarray:
    """Leading right singular vectors ``(d, k)`` of a table ``(n, d)``."""
    from scipy.linalg import eigh

    n, d = scatter.shape
    rank = min(n, d)
    first = max(rank - n_axes, 0)
    largest = [first, rank - 1]
    # The smaller matrix of products: that of all genes with all genes would fill the memory.
    if d <= n:
        covariance = scatter.T @ scatter
        _, axes = eigh(covariance, subset_by_index=largest)
        return axes
    products = scatter @ scatter.T
    _, scores = eigh(products, subset_by_index=largest)
    product = scatter.T @ scores
    axes, _ = np.linalg.qr(product)
    return axes
