"""Leading principal axes of two samples, on which growth is told from motion."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from dyninfer.transport.couplings.problem import failed


def on_leading_axes(
    x: ndarray, y: ndarray, a: ndarray, b: ndarray, n_axes: int
) -> tuple[ndarray, ndarray]:
    """Coordinates of two weighted samples on their common principal axes, in a unit of their own.

    Either sample has half of the weight. Where there are no more features than axes, these are the
    coordinates.

    Parameters
    ----------
    x, y : arrays ``(n, d)``, ``(m, d)``
    a, b : arrays ``(n,)``, ``(m,)``
        Weights, each summing to one.
    n_axes : int

    Returns
    -------
    arrays ``(n, k)``, ``(m, k)``
        With ``k`` at most ``n_axes``.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    both = np.concatenate([x, y])
    points = both.astype(np.float64)
    weights = 0.5 * np.concatenate([a, b])
    centred = points - weights @ points
    unit = np.abs(centred).max() or 1.0
    if not np.isfinite(unit):
        raise failed()
    # Squares of lengths in an extreme unit would not be numbers.
    centred = centred / unit
    if centred.shape[1] > n_axes:
        root = np.sqrt(weights)
        scatter = root[:, None] * centred
        axes = _principal_axes(scatter, n_axes)
        centred = centred @ axes
    n = len(x)
    return centred[:n], centred[n:]


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
