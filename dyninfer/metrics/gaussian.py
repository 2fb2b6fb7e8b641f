"""Divergence of Gaussian distributions, in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dyninfer.data.arrays import as_array
from dyninfer.data.words import counted
from dyninfer.learning.surroundings import own_surroundings


@own_surroundings()
def gaussian_kl(mean0: np.ndarray, cov0: np.ndarray, mean1: np.ndarray, cov1: np.ndarray) -> float:
    """Kullback-Leibler divergence ``KL(N(mean0, cov0) ‖ N(mean1, cov1))``, in nats.

    Parameters
    ----------
    mean0, mean1 : arrays ``(d,)``
    cov0, cov1 : arrays ``(d, d)``
        Symmetric positive definite.

    Raises
    ------
    ValueError
        If the shapes disagree, a covariance is not positive definite, or the divergence overflows.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> one = np.ones((1, 1))
    >>> float(di.metrics.gaussian_kl(np.zeros(1), one, np.ones(1), one))  # half the squared shift
    0.5
    """
    mean0 = _finite(mean0, "mean0")
    mean1 = _finite(mean1, "mean1")
    cov0 = _finite(cov0, "cov0")
    cov1 = _finite(cov1, "cov1")
    if mean0.ndim != 1 or mean0.size == 0:
        raise ValueError(f"mean0 must be (feature,), found shape {mean0.shape}")
    d = mean0.size
    _check_shape("cov0", cov0, (d, d))
    _check_shape("mean1", mean1, (d,))
    _check_shape("cov1", cov1, (d, d))
    root0 = _cholesky(cov0, "cov0")
    root1 = _cholesky(cov1, "cov1")
    # |root1⁻¹ root0|² is the trace of cov1⁻¹ cov0, |root1⁻¹ (mean1 − mean0)|² the distance of the
    # means (Mahalanobis): one triangular system for both.
    columns = np.column_stack([root0, mean1 - mean0])
    # What overflows here is said below.
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.linalg.solve(root1, columns)
        trace_and_distance = np.square(ratio).sum()
    diagonal0 = np.diagonal(root0)
    diagonal1 = np.diagonal(root1)
    log_volume = np.log(diagonal1 / diagonal0).sum()
    divergence = float((trace_and_distance - d) / 2 + log_volume)
    if not math.isfinite(divergence):
        raise ValueError(
            "the divergence is beyond what double precision holds: the Gaussians are too far apart "
            "for their widths"
        )
    return divergence


def _finite(values: Any, name: str) -> np.ndarray:
    array = as_array(values, name).astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers, found NaN or infinity")
    return array


def _check_shape(name: str, value: np.ndarray, shape: tuple[int, ...]) -> None:
    if value.shape != shape:
        raise ValueError(
            f"{name} has shape {value.shape} and mean0 has {counted(shape[0], 'feature')}; "
            f"it must be {shape}"
        )


def _cholesky(cov: np.ndarray, name: str) -> np.ndarray:
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"{name} is not positive definite; use more samples than features, or add a small "
            "diagonal"
        ) from None
