"""Cures of regressed increments: for steps that are not short, and for noisy observations."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from scipy.linalg import LinAlgError, expm_frechet, logm, solve_discrete_lyapunov

from dyninfer.diffusions.regression.increments import Increments
from dyninfer.diffusions.regression.least_squares import (
    Equation,
    Regression,
    check_independent,
    check_moving,
    inverse_gram,
    largest_correlation,
    solve,
)

# Imaginary parts of real eigenvalues of a map whose entries are of size one.
_ROUNDING = 1e-12
_ALL = slice(None)


def finite_steps(increments: Increments, columns: ndarray) -> Equation:
    r"""Linear drift and constant noise of steps of any length, by the logarithm of a matrix.

    The state after a gap is :math:`c + A x` with noise of covariance :math:`C`. Then

    .. math:: \begin{pmatrix} B & b \\ 0 & 0 \end{pmatrix} = \frac1\Delta
        \log \begin{pmatrix} A & c \\ 0 & 1 \end{pmatrix}, \qquad
        S = A S A^\top + C, \qquad \Sigma = -(B S + S B^\top).

    Parameters
    ----------
    increments : Increments
        With equal gaps.
    columns : array ``(n, 1 + d)``
        1 and the states.
    """
    gap = increments.common_gap("steps='finite'")
    check_independent(columns)
    check_moving(increments.step)
    end = increments.start + increments.step
    n, n_functions = columns.shape
    weights = solve(columns, end)
    residual = end - columns @ weights
    # As many numbers are fitted to the states of each feature.
    n_free = max(n - n_functions, 1)
    covariance = residual.T @ residual / n_free
    exponent = _logarithm(weights)
    generator = exponent / gap
    matrix = generator[:-1, :-1]
    scatter = _stationary(weights[1:].T, covariance)
    half = matrix @ scatter
    loss = half + half.T
    variance = -np.diag(loss)
    if not (variance > 0).all():
        raise ValueError(
            "steps='finite' finds no noise that fits these increments: they scatter less than "
            "their memory implies; use steps='short', or longer paths"
        )
    of_map = _covariance_of_map(columns, covariance)
    errors = _drift_errors(exponent, of_map)
    # Functions are 1 and the states, where the map has its constant in the last column.
    drift = np.roll(generator[:-1], 1, axis=1)
    return Equation(
        drift=Regression(drift.T, errors / gap**2),
        noise=_constant_noise(variance, variance, n),
        noise_variance=np.zeros(len(variance)),
        correlation=largest_correlation(residual),
    )


def _constant_noise(variance: ndarray, spread: ndarray, n: int) -> Regression:
    """Squared amplitudes ``(d,)``, from ``n`` squares of which each scatters by ``√2 spread``."""
    errors = 2 / n * spread**2
    return Regression(variance[None], errors[:, None, None])


def _logarithm(weights: ndarray) -> ndarray:
    """Logarithm of the affine map ``(1 + d, 1 + d)``, real."""
    n_features = weights.shape[1]
    affine = np.eye(n_features + 1)
    affine[:-1] = np.roll(weights.T, -1, axis=1)
    eigenvalues = np.linalg.eigvals(affine)
    is_real = np.abs(eigenvalues.imag) < _ROUNDING
    is_negative = is_real & (eigenvalues.real <= 0)
    if is_negative.any():
        raise ValueError(
            "the map over one gap has a direction without a real logarithm, so steps='finite' "
            "fails: gaps are longer than the memory; observe more often, or use steps='short'"
        )
    logarithm = logm(affine)
    return logarithm.real


def _stationary(decay: ndarray, covariance: ndarray) -> ndarray:
    """Solve ``S = A S Aᵀ + C``."""
    try:
        return solve_discrete_lyapunov(decay, covariance)
    except (LinAlgError, ValueError):
        raise ValueError(
            "steps='finite' has no solution where a direction neither decays nor grows; use "
            "steps='short'"
        ) from None


def _covariance_of_map(columns: ndarray, covariance: ndarray) -> ndarray:
    """Covariance of the entries of ``(A, c)``, row after row."""
    inverse = inverse_gram(columns)
    # From the order of the functions, 1 and x, to that of the map.
    by_row = np.roll(inverse, -1, axis=0)
    inverse = np.roll(by_row, -1, axis=1)
    return np.kron(covariance, inverse)


def _drift_errors(exponent: ndarray, of_map: ndarray) -> ndarray:
    """Covariance ``(d, m, m)`` of the logarithm, of first order in the errors of the map."""
    size = len(exponent)
    n_features = size - 1
    # Where each entry of the logarithm moves the map to; its inverse is what an error does.
    moves = []
    for entry in range(n_features * size):
        direction = np.zeros((size, size))
        direction.flat[entry] = 1.0
        move = expm_frechet(exponent, direction, compute_expm=False)
        moves.append(move[:-1].ravel())
    forward = np.stack(moves, axis=1)
    backward = np.linalg.inv(forward)
    of_logarithm = backward @ of_map @ backward.T
    errors = []
    for feature in range(n_features):
        first = feature * size
        block = slice(first, first + size)
        own = of_logarithm[block, block]
        by_row = np.roll(own, 1, axis=0)
        errors.append(np.roll(by_row, 1, axis=1))
    return np.stack(errors)


def noisy_observations(
    increments: Increments,
    columns: ndarray,
    moving: slice = _ALL,
    after: ndarray | None = None,
) -> Equation:
    r"""Drift, constant noise and the variance of white noise on the observations.

    Noise of an observation is in the increments before and after it, so that the state *before* is
    the instrument of the drift, and products of neighbouring increments tell the two noises apart:

    .. math:: \sum \Phi_{n-1} (\Delta X_n - \Phi_n W \Delta_n) = 0, \qquad
        \eta^2 = -E\,r_n r_{n+1}, \qquad \sigma^2 = (E\,r_n^2 + 2 E\,r_n r_{n+1}) / E \Delta_n.

    States that are means over the gap before share a noise with the next one, too: then
    :math:`E r_n^2 = \tfrac23 \sigma^2 \Delta` and :math:`E r_n r_{n+1} = \tfrac16 \sigma^2 \Delta`,
    so the same sums are right, with :math:`\eta = 0`. An increment of means is centred at the end
    of its first gap, where the drift is the mean of those before and after, to second order.

    Parameters
    ----------
    increments : Increments
    columns : array ``(n, m)``
        The functions before every increment.
    moving : slice
        Features whose increments are regressed.
    after : array ``(n, m)``, optional
        The functions after every increment, of states that are means.
    """
    later = increments.follows
    if len(later) == 0:
        raise ValueError(
            "observation_noise needs paths with three neighbouring observations; "
            "no path has as many"
        )
    check_independent(columns[later])
    step = increments.step[:, moving]
    check_moving(step)
    earlier = later - 1
    gap = increments.gap[:, None]
    between = columns if after is None else (columns + after) / 2
    slopes = between * gap
    instrument = columns[earlier]
    both = instrument.T @ slopes[later]
    weights = np.linalg.solve(both, instrument.T @ step[later])
    residual = step - slopes @ weights
    products = residual[later] * residual[earlier]
    shared = products.mean(0)
    if after is None:
        # Products scatter around zero where there is no noise.
        shared = np.minimum(shared, 0.0)
    square = np.mean(residual**2, axis=0)
    variance = (square + 2 * shared) / gap.mean()
    if not (variance > 0).all():
        raise ValueError(
            "observation noise explains all increments, so none is left for the "
            "process; observe for longer, or use FractionalSDE, which fits both by likelihood"
        )
    # Squares and products both scatter, by the noise of the observations too.
    spread = variance + square / gap.mean()
    drift_errors = _instrument_errors(both, instrument, residual[later], later)
    return Equation(
        drift=Regression(weights, drift_errors),
        noise=_constant_noise(variance, spread, len(later)),
        noise_variance=np.maximum(-shared, 0.0),
        correlation=largest_correlation(residual),
    )


def _instrument_errors(
    both: ndarray, instrument: ndarray, residual: ndarray, later: ndarray
) -> ndarray:
    """Covariance ``(d, m, m)`` of the coefficients, with neighbours that share a noise."""
    inverse = np.linalg.inv(both)
    step = np.diff(later)
    first = np.flatnonzero(step == 1)
    second = first + 1
    errors = []
    for own_residual in residual.T:
        scores = instrument * own_residual[:, None]
        products = scores[first].T @ scores[second]
        middle = scores.T @ scores
        middle += products + products.T
        errors.append(inverse @ middle @ inverse.T)
    return np.stack(errors)
