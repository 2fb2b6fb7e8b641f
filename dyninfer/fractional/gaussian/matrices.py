"""Small algebra of batches of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

# Eigenvalues of a correlation matrix below this are rounding errors.
_ROUNDING = 1e-14


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """``A v`` for matrices ``(..., m, n)`` and vectors ``(..., n)``."""
    column = vector.unsqueeze(-1)
    product = matrix @ column
    return product.squeeze(-1)


def symmetric(matrix: Tensor) -> Tensor:
    """The symmetric part, which rounding takes from a covariance."""
    total = matrix + matrix.mT
    return 0.5 * total


def identity(size: int, like: Tensor) -> Tensor:
    """The unit matrix in the dtype and on the device of ``like``."""
    return torch.eye(size, dtype=like.dtype, device=like.device)


def whiten(factor: Tensor, x: Tensor) -> Tensor:
    """``L⁻¹ x`` for lower factors ``(..., n, n)`` and columns ``(..., n, m)``."""
    return torch.linalg.solve_triangular(factor, x, upper=False)


def inverse(matrix: Tensor) -> Tensor:
    """``A⁻¹``; where there is none, a LinAlgError on a CPU, and NaN elsewhere."""
    values, info = torch.linalg.inv_ex(matrix, check_errors=_can_ask(matrix))
    return _sound(values, info)


def cholesky(matrix: Tensor) -> Tensor:
    """Lower factor ``L``; where there is none, a LinAlgError on a CPU, and NaN elsewhere."""
    values, info = torch.linalg.cholesky_ex(matrix, check_errors=_can_ask(matrix))
    return _sound(values, info)


def solve(matrix: Tensor, vector: Tensor) -> Tensor:
    """``A⁻¹ v``; where there is none, a LinAlgError on a CPU, and NaN elsewhere."""
    column = vector.unsqueeze(-1)
    values, info = torch.linalg.solve_ex(matrix, column, check_errors=_can_ask(matrix))
    return _sound(values, info).squeeze(-1)


def _can_ask(matrix: Tensor) -> bool:
    """Whether a look at what an algorithm reports costs nothing: a GPU would be waited for."""
    return matrix.device.type == "cpu"


def _sound(values: Tensor, info: Tensor) -> Tensor:
    """Values where an algorithm has succeeded, else NaN, which every later number shows."""
    if _can_ask(values):
        return values
    has_failed = info != 0
    return values.masked_fill(has_failed[..., None, None], torch.nan)


def half_log_determinant(factor: Tensor) -> Tensor:
    """``½ log det A`` of a matrix with the lower factor ``L``."""
    diagonal = factor.diagonal(dim1=-2, dim2=-1)
    return diagonal.log().sum(-1)


def covariance_root(covariance: Tensor) -> Tensor:
    """``N`` with ``N N' = Q`` for positive semi-definite matrices ``Q``, ``(..., S, S)``.

    With many nodes the covariance is singular in float64, and Cholesky's factorisation fails. The
    root is therefore built from the eigenvalues and eigenvectors of the correlation matrix.
    """
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    deviation = variance.sqrt()
    # A state without variance would divide by 0; its row of the root is 0 in any case.
    divisor = torch.where(deviation > 0, deviation, 1)
    rows = divisor.unsqueeze(-1)
    columns = divisor.unsqueeze(-2)
    correlation = covariance / (rows * columns)
    values, vectors = torch.linalg.eigh(correlation)
    is_present = values > _ROUNDING
    lengths = torch.where(is_present, values, 0).sqrt()
    root = vectors * lengths.unsqueeze(-2)
    return deviation.unsqueeze(-1) * root
