"""Small algebra of batches of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

# Eigenvalues of a covariance of unit diagonal that are no more than rounding.
_ROUNDING = 1e-14


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """``A v`` for matrices ``(..., m, n)`` and vectors ``(..., n)``."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def symmetric(matrix: Tensor) -> Tensor:
    """The symmetric part, which rounding takes from a covariance."""
    return 0.5 * (matrix + matrix.mT)


def identity(size: int, like: Tensor) -> Tensor:
    """The unit matrix in the dtype and on the device of ``like``."""
    return torch.eye(size, dtype=like.dtype, device=like.device)


def whiten(factor: Tensor, x: Tensor) -> Tensor:
    """``L⁻¹ x`` for lower factors ``(..., n, n)`` and columns ``(..., n, m)``."""
    return torch.linalg.solve_triangular(factor, x, upper=False)


def half_log_determinant(factor: Tensor) -> Tensor:
    """``½ log det A`` of a matrix with the lower factor ``L``."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def covariance_root(covariance: Tensor) -> Tensor:
    """Root ``N N'`` of positive semi-definite matrices ``(..., S, S)``.

    The covariance of many nodes is singular in float64, where Cholesky's factor fails: this is the
    root by eigenvalues of the matrix of unit diagonal.
    """
    scale = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    safe = torch.where(scale > 0, scale, 1)
    unit = covariance / (safe.unsqueeze(-1) * safe.unsqueeze(-2))
    values, vectors = torch.linalg.eigh(unit)
    values = torch.where(values > _ROUNDING, values, 0)
    return scale.unsqueeze(-1) * vectors * values.sqrt().unsqueeze(-2)
