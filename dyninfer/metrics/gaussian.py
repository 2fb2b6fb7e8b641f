"""Divergence of Gaussian distributions, in closed form."""

from __future__ import annotations

import numpy as np


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
        If the shapes disagree or a covariance is not positive definite.
    """
    mean0 = np.asarray(mean0, dtype=np.float64)
    mean1 = np.asarray(mean1, dtype=np.float64)
    cov0 = np.asarray(cov0, dtype=np.float64)
    cov1 = np.asarray(cov1, dtype=np.float64)
    d = mean0.size
    _check_shape("cov0", cov0, (d, d))
    _check_shape("mean1", mean1, (d,))
    _check_shape("cov1", cov1, (d, d))
    root0 = _cholesky(cov0, "cov0")
    root1 = _cholesky(cov1, "cov1")
    # |root1⁻¹ root0|² is the trace of cov1⁻¹ cov0, |root1⁻¹ (mean1 − mean0)|² the distance of the
    # means (Mahalanobis): one triangular system for both.
    columns = np.column_stack([root0, mean1 - mean0])
    ratio = np.linalg.solve(root1, columns)
    trace_and_distance = (ratio**2).sum()
    volume_ratio = np.diagonal(root1) / np.diagonal(root0)
    log_volume = np.log(volume_ratio).sum()
    return float((trace_and_distance - d) / 2 + log_volume)


def _check_shape(name: str, value: np.ndarray, shape: tuple[int, ...]) -> None:
    if value.shape != shape:
        raise ValueError(
            f"{name} has shape {value.shape} and mean0 has {shape[0]} features; it must be {shape}"
        )


def _cholesky(cov: np.ndarray, name: str) -> np.ndarray:
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"{name} is not positive definite; use more samples than features, or add a small "
            "diagonal"
        ) from None
