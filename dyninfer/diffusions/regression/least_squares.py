"""Least squares of increments on a library, with errors, and with as few functions as needed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.learning.settings import brief

# Beyond it, a combination of functions is rounding: products of columns square it.
_LARGEST_CONDITION = 1e7
# Weights of observations may differ by so much before the weakest count for nothing.
_LEAST_VARIANCE = 1e-2


class Regression(NamedTuple):
    """Coefficients ``(m, d)`` and their covariance, one ``(d, m, m)`` for every feature."""

    weights: ndarray
    covariance: ndarray


class Equation(NamedTuple):
    """What was estimated in scaled units: drift and squared noise amplitude.

    ``noise_variance (d,)`` is the variance of noise of the observations.
    """

    drift: Regression
    noise: Regression
    noise_variance: ndarray
    correlation: float  # the largest between the noises of two features


def check_independent(columns: ndarray) -> None:
    """Raise a ValueError where functions depend on one another on these data."""
    n, m = columns.shape
    if n < m:
        raise ValueError(
            f"{n} increments do not determine {m} functions; give longer paths or a smaller library"
        )
    sizes = np.linalg.norm(columns, axis=0)
    is_zero = sizes == 0
    if is_zero.any():
        raise ValueError(
            "a function of the library vanishes at all states of the data; a feature that never "
            "changes must be left out, and functions must differ from zero"
        )
    condition = np.linalg.cond(columns / sizes)
    if not condition < _LARGEST_CONDITION:
        raise ValueError(
            f"functions of the library depend on one another on these data (condition number "
            f"{condition:.2g}); leave some out, lower the degree, or drop a redundant feature"
        )


def solve(columns: ndarray, target: ndarray) -> ndarray:
    """Least squares ``(m, ...)`` of a target ``(n, ...)``, the columns brought to one length."""
    sizes = np.linalg.norm(columns, axis=0)
    unit = columns / sizes
    answer = np.linalg.lstsq(unit, target, rcond=None)
    solution = answer[0].T / sizes
    return solution.T


def inverse_gram(columns: ndarray) -> ndarray:
    """``(AᵀA)⁻¹``, shape ``(m, m)``."""
    sizes = np.linalg.norm(columns, axis=0)
    unit = columns / sizes
    gram = unit.T @ unit
    inverse = np.linalg.inv(gram)
    return inverse / np.outer(sizes, sizes)


def regress_drift(
    columns: ndarray, step: ndarray, gap: ndarray, variance: ndarray, sparse: bool
) -> Regression:
    """Coefficients of the drift of every feature, weighted by the variance ``(n, d)`` of noise."""
    check_independent(columns)
    n_functions = columns.shape[1]
    # An increment scatters by σ √Δ, by which it is divided.
    scatter = np.sqrt(variance * gap[:, None])
    target = step / scatter
    slopes = columns * gap[:, None]
    weights = np.zeros((step.shape[1], n_functions))
    covariance = []
    for feature, own_target in enumerate(target.T):
        rows = slopes / scatter[:, feature, None]
        chosen = np.arange(n_functions)
        if sparse:
            chosen = fewest(rows, own_target)
        part = rows[:, chosen]
        errors = np.zeros((n_functions, n_functions))
        if len(chosen):
            weights[feature, chosen] = solve(part, own_target)
            block = np.ix_(chosen, chosen)
            errors[block] = inverse_gram(part)
        covariance.append(errors)
    return Regression(weights.T, np.stack(covariance))


def fewest(rows: ndarray, target: ndarray) -> ndarray:
    """Numbers of the functions that the Bayesian information criterion keeps.

    Backward elimination: the function with the least ratio to its error goes first. The criterion
    is ``n log(RSS) + k log n``, of the Gaussian likelihood of Euler steps with free noise.
    """
    n, m = rows.shape
    size = float(target @ target)
    # Without noise, the functions that are needed leave nothing but rounding.
    rounding = np.finfo(float).eps ** 2 * size
    price = math.log(n)
    chosen = np.arange(m)
    # Of no function at all.
    least = n * math.log(size)
    best = chosen[:0]
    while len(chosen):
        part = rows[:, chosen]
        solution = solve(part, target)
        residual = target - part @ solution
        total = float(residual @ residual) + rounding
        criterion = n * math.log(total) + price * len(chosen)
        if criterion < least:
            least = criterion
            best = chosen
        variance = np.diag(inverse_gram(part))
        ratio = solution**2 / variance
        chosen = np.delete(chosen, ratio.argmin())
    return best


def regress_noise(columns: ndarray, squares: ndarray) -> Regression:
    """Coefficients of the squared noise amplitude from squared increments over their gaps.

    A square scatters by ``√2 σ²``, which is what the covariance is made of.
    """
    check_independent(columns)
    inverse = inverse_gram(columns)
    weights = solve(columns, squares)
    covariance = []
    for own_weights in weights.T:
        variance = columns @ own_weights
        rows = columns * variance[:, None]
        middle = 2 * rows.T @ rows
        errors = inverse @ middle @ inverse
        covariance.append(errors)
    return Regression(weights, np.stack(covariance))


def short_steps(
    drift_columns: ndarray,
    noise_columns: ndarray,
    step: ndarray,
    gap: ndarray,
    sparse: bool,
) -> Equation:
    r"""Drift and noise of steps so short that both hardly change along one.

    .. math:: \min_W \sum |\Delta X - \Phi W \Delta|^2 / (\sigma^2 \Delta), \qquad
        \min_V \sum |(\Delta X - \Phi W \Delta)^2 / \Delta - \Psi V|^2
    """
    check_moving(step)
    n, n_functions = drift_columns.shape
    # The drift is fitted to these increments, and takes its share of their scatter.
    n_free = max(n - n_functions, 1)
    share = n / n_free
    variance = np.ones_like(step)
    # Once more when noise is known: each increment then has its own weight.
    for _ in range(2):
        drift = regress_drift(drift_columns, step, gap, variance, sparse)
        along = drift_columns @ drift.weights
        residual = step - along * gap[:, None]
        squares = share * residual**2 / gap[:, None]
        noise = regress_noise(noise_columns, squares)
        variance = noise_columns @ noise.weights
        mean = squares.mean(0)
        lowest = _LEAST_VARIANCE * mean + np.finfo(float).tiny
        variance = np.maximum(variance, lowest)
    return Equation(
        drift=drift,
        noise=noise,
        noise_variance=np.zeros(step.shape[1]),
        correlation=largest_correlation(residual),
    )


def check_moving(step: ndarray) -> None:
    """Raise a ValueError where a feature never changes."""
    is_still = (step == 0).all(0)
    if is_still.any():
        numbers = np.flatnonzero(is_still).tolist()
        raise ValueError(
            f"features {brief(numbers)} never change along a path, so they have no dynamics; "
            "leave them out"
        )


def largest_correlation(residual: ndarray) -> float:
    """Correlation between residuals ``(n, d)`` of two features with the largest size."""
    sizes = np.linalg.norm(residual, axis=0)
    sizes[sizes == 0] = 1.0
    unit = residual / sizes
    correlation = unit.T @ unit
    np.fill_diagonal(correlation, 0.0)
    size = np.abs(correlation)
    return float(correlation.flat[size.argmax()])
