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
    mean0, cov0 = np.asarray(mean0, dtype=np.float64), np.asarray(cov0, dtype=np.float64)
    mean1, cov1 = np.asarray(mean1, dtype=np.float64), np.asarray(cov1, dtype=np.float64)
    d = mean0.size
    shapes = {"cov0": (cov0, (d, d)), "mean1": (mean1, (d,)), "cov1": (cov1, (d, d))}
    for name, (value, shape) in shapes.items():
        if value.shape != shape:
            raise ValueError(
                f"{name} has shape {value.shape} and mean0 has {d} features; it must be {shape}"
            )
    root0, root1 = _cholesky(cov0, "cov0"), _cholesky(cov1, "cov1")
    # The squares of root1⁻¹ root0 sum to the trace, those of the last column to the distance of
    # the means (Mahalanobis).
    ratio = np.linalg.solve(root1, np.column_stack([root0, mean1 - mean0]))
    log_volume = np.log(np.diagonal(root1) / np.diagonal(root0)).sum()
    return float(((ratio**2).sum() - d) / 2 + log_volume)


def _cholesky(cov: np.ndarray, name: str) -> np.ndarray:
    try:
        return np.linalg.cholesky(cov)
    except np.linalg.LinAlgError:
        raise ValueError(
            f"{name} is not positive definite; use more samples than features, or add a small "
            "diagonal"
        ) from None
