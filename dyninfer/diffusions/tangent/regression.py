"""Bayesian linear regression on eigenfields, with hyperparameters of greatest evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from scipy.optimize import minimize
from torch import Tensor

# ν of Matérn's kernel: fields that can be differentiated once, as flows must be.
_SMOOTHNESS = 1.5
# Lengths to begin from, in lengths of the smoothest field that is not constant.
_LENGTHS = (0.3, 1.0, 3.0)
# Looser, and the last bits of the data would move the parameters visibly.
_TO_ROUNDING = {"ftol": 1e-14, "gtol": 1e-7, "maxiter": 500}
# Noise below this share of the speeds changes no digit that single precision shows.
_LEAST_NOISE = 1e-4


@dataclass(frozen=True)
class Statistics:
    """Sums that the evidence needs, over observed components of velocities.

    Attributes
    ----------
    gram : Tensor ``(r, r)``
        ``ΦᵀΦ`` of features.
    score : Tensor ``(r,)``
        ``Φᵀy``.
    square : Tensor ``()``
        ``yᵀy``.
    n : int
        Number of components.
    """

    gram: Tensor
    score: Tensor
    square: Tensor
    n: int

    @classmethod
    def of(cls, features: ndarray, values: ndarray) -> Statistics:
        """Sums over rows of features ``(n, r)`` and values ``(n,)``."""
        columns = torch.as_tensor(features)
        y = torch.as_tensor(values)
        return cls(columns.T @ columns, columns.T @ y, y @ y, len(y))


@dataclass(frozen=True)
class Posterior:
    """Normal law of the weights of the fields, given what was observed.

    Attributes
    ----------
    mean : array ``(r,)``
    factor : array ``(r, r)``
        ``R`` with covariance ``R Rᵀ``.
    amplitude, length, noise : float
        Of the prior, and the standard deviation of the errors of a component.
    log_evidence : float
        In nats.
    """

    mean: ndarray
    factor: ndarray
    amplitude: float
    length: float
    noise: float
    log_evidence: float


def fit_posterior(statistics: Statistics, laplacian: ndarray, dimension: int) -> Posterior:
    r"""Posterior under the amplitude, length and noise of greatest evidence.

    The weights ``c`` of fields with eigenvalues ``λ`` have Matérn's prior (Borovitskiy et al. 2020)

    .. math:: c_l \sim N(0, a^2 s_l / \sum_m s_m), \qquad
        s_l = (2\nu/\kappa^2 + \lambda_l)^{-\nu - d/2}, \qquad y = \Phi c + \eta\,\epsilon .

    Parameters
    ----------
    statistics : Statistics
    laplacian : array ``(r,)``
        Eigenvalues per squared unit of length.
    dimension : int
        ``d`` of the surface.
    """
    speed = float(torch.sqrt(statistics.square / statistics.n))
    values = torch.as_tensor(laplacian)
    lengths = _first_lengths(laplacian)
    bounds = [(-3.0, 3.0), (None, None), (np.log(_LEAST_NOISE), 1.0)]
    # Where a band of frequencies is empty, the evidence does not change with the length.
    reach = np.log(lengths)
    bounds[1] = (reach.min() - 2, reach.max() + 2)

    def loss(parameters: ndarray) -> tuple[float, ndarray]:
        theta = torch.tensor(parameters, requires_grad=True)
        value = -log_evidence(statistics, values, dimension, _scaled(theta, speed))
        (slope,) = torch.autograd.grad(value, theta)
        return value.item(), slope.numpy()

    best: Any = None
    for length in lengths:
        start = np.array([0.0, np.log(length), np.log(0.3)])
        fit = minimize(
            loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_TO_ROUNDING
        )
        # Another start must be better by more than rounding, or units would choose between them.
        if best is None or fit.fun < best.fun - 1e-6:
            best = fit
    theta = _scaled(torch.tensor(best.x), speed)
    return posterior_at(statistics, values, dimension, theta)


def log_evidence(
    statistics: Statistics, laplacian: Tensor, dimension: int, theta: Tensor
) -> Tensor:
    """Log-density of all observed components, with the weights integrated out.

    ``theta`` holds amplitude, length and noise.
    """
    noise = theta[2]
    root = _prior_deviations(laplacian, dimension, theta)
    factor = _information_factor(statistics, root, noise)
    score = root * statistics.score / noise
    explained = torch.linalg.solve_triangular(factor, score[:, None], upper=False)
    residual = statistics.square / noise**2 - (explained / noise).square().sum()
    log_volume = 2 * factor.diagonal().log().sum()
    log_unit = statistics.n * (2 * torch.pi * noise**2).log()
    return -0.5 * (residual + log_volume + log_unit)


def posterior_at(
    statistics: Statistics, laplacian: Tensor, dimension: int, theta: Tensor
) -> Posterior:
    """Posterior under given amplitude, length and noise."""
    noise = theta[2]
    root = _prior_deviations(laplacian, dimension, theta)
    lower = _information_factor(statistics, root, noise)
    identity = torch.eye(len(root), dtype=torch.float64)
    inverse = torch.linalg.solve_triangular(lower, identity, upper=False)
    factor = root[:, None] * inverse.T
    mean = factor @ (factor.T @ statistics.score) / noise**2
    evidence = log_evidence(statistics, laplacian, dimension, theta)
    amplitude, length, deviation = theta.tolist()
    return Posterior(
        mean=mean.numpy(),
        factor=factor.numpy(),
        amplitude=amplitude,
        length=length,
        noise=deviation,
        log_evidence=float(evidence),
    )


def _prior_deviations(laplacian: Tensor, dimension: int, theta: Tensor) -> Tensor:
    amplitude, length, _ = theta
    power = -_SMOOTHNESS - dimension / 2
    # In logarithms: a power of a large eigenvalue would underflow.
    log_density = power * (2 * _SMOOTHNESS / length**2 + laplacian).log()
    shares = torch.softmax(log_density, 0)
    return amplitude * shares.sqrt()


def _information_factor(statistics: Statistics, root: Tensor, noise: Tensor) -> Tensor:
    """Cholesky factor of ``I + √S ΦᵀΦ √S / η²``."""
    scaled = root[:, None] * statistics.gram * root
    identity = torch.eye(len(root), dtype=torch.float64)
    return torch.linalg.cholesky(identity + scaled / noise**2)


def _scaled(log_parameters: Tensor, speed: float) -> Tensor:
    """Amplitude and noise in units of the speeds, length as it is."""
    units = torch.tensor([speed, 1.0, speed], dtype=torch.float64)
    return log_parameters.exp() * units


def _first_lengths(laplacian: ndarray) -> ndarray:
    # Fields that are parallel everywhere have eigenvalue 0, but for rounding.
    largest = laplacian.max()
    is_curved = laplacian > 1e-6 * largest
    # Of fields that are all parallel, every length has the same evidence.
    if not is_curved.any():
        return np.array(_LENGTHS)
    longest = 1 / np.sqrt(laplacian[is_curved].min())
    return longest * np.array(_LENGTHS)
