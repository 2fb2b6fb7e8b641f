"""Rates of many rows of covariates in the coordinates of a fit: slopes, steps of EM, curvature."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.jumps.likelihood.design import Design
from dyninfer.jumps.posterior.starts import LogRatePrior
from dyninfer.jumps.process.chain import reachable

_NEWTON_STEPS = 3  # of the rates' part of EM: it is concave, and need not be exact
_LONGEST = 2.0  # no coordinate moves further in one of them
_MORE = 1 + 1e-9  # of the curvature, so that it has an inverse
# Expected jumps below which a log-rate is held: with none it would run away.
_LEAST_JUMPS = 1e-8
# Log-rates beyond are those of no data, and overflow.
_LARGEST = 500.0


class RowJumps(NamedTuple):
    """What is expected of the allowed jumps ``(D, E)`` with each row of covariates."""

    numbers: ndarray  # of jumps
    dwell_times: ndarray  # in the states that they leave


class CovariateRates:
    r"""Log-rates ``(D, E)`` of every row of covariates, linear in coordinates ``(E + k,)``.

    The coordinates are the log-rates at the mean covariates, and the effects of one standard
    deviation of each, so that all are of one size and hardly hang together. The prior of both is
    normal, of the width of that of the log-rates.

    Parameters
    ----------
    design : Design
        Which effects there are.
    x : array ``(D, m)``
        Rows of numbers that covariates make.
    weight : array ``(D,)``
        Waiting times with each of them.
    prior : LogRatePrior, optional
        Of the log-rates; the effects have its width.
    """

    def __init__(self, design: Design, x: ndarray, weight: ndarray, prior: LogRatePrior | None):
        self.prior = prior
        self.scheme = design.scheme
        self.n_rates = design.scheme.n_edges
        self.source, self.target = design.scheme.edges.T.numpy()
        self.is_reachable = reachable(design.scheme.allowed.double()).numpy()
        share = weight / weight.sum()
        centre = share @ x
        deviation = x - centre
        variance = share @ deviation**2
        scale = np.sqrt(variance)
        of_effects = design.of_rows(deviation / scale)
        every_rate = np.eye(self.n_rates)
        shape = len(x), self.n_rates, self.n_rates
        of_rates = np.broadcast_to(every_rate, shape)
        # What log-rates are linear in (D, E, E + k).
        self.design = np.concatenate([of_rates, of_effects], axis=2)
        self.to_user = _to_user(design, centre, scale)

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.design.shape[-1]

    def log_rates(self, theta: ndarray) -> ndarray:
        """Log-rates ``(D, E)``."""
        log_rates = self.design @ theta
        return np.clip(log_rates, -_LARGEST, _LARGEST)

    def generators(self, rates: ndarray) -> ndarray:
        """Generators ``(D, S, S)`` of rates ``(D, E)``."""
        n_states = self.scheme.n_states
        shape = len(rates), n_states, n_states
        generators = np.zeros(shape)
        generators[:, self.source, self.target] = rates
        exit_rates = generators.sum(2)
        state = np.arange(n_states)
        generators[:, state, state] = -exit_rates
        return generators

    def jumps(self, rates: ndarray, slope_q: ndarray) -> RowJumps:
        """Expected jumps, of slopes ``(D, S, S)`` in the entries of the generators.

        Fisher's identity: the slope in a free entry is ``E[N] / Q``, and on the diagonal ``E[T]``.
        """
        numbers = rates * slope_q[:, self.source, self.target]
        dwell_times = slope_q[:, self.source, self.source]
        # None is negative, but for rounding.
        return RowJumps(np.maximum(numbers, 0.0), np.maximum(dwell_times, 0.0))

    def log_prior(self, theta: ndarray) -> float:
        """Log-density of coordinates, up to a constant."""
        if self.prior is None:
            return 0.0
        z = self._excess(theta) / self.prior.width
        return -float(z @ z) / 2

    def slope(self, theta: ndarray, rates: ndarray, slope_q: ndarray) -> ndarray:
        """Slope ``(E + k,)`` of the log-likelihood with the prior."""
        of_entries = slope_q[:, self.source, self.target]
        of_stays = slope_q[:, self.source, self.source]
        of_log_rates = rates * (of_entries - of_stays)
        return self._of_log_rates(of_log_rates, theta)

    def maximised(self, theta: ndarray, jumps: RowJumps) -> ndarray:
        """Maximise ``Σ E[N] log Q − E[T] Q`` with the prior, by Newton's method."""
        for _ in range(_NEWTON_STEPS):
            expected = jumps.dwell_times * np.exp(self.log_rates(theta))
            slope = self._of_log_rates(jumps.numbers - expected, theta)
            curvature = np.maximum(expected, jumps.numbers)
            matrix = self._of_coordinates(curvature + _LEAST_JUMPS)
            # A little more than there is: the data may say nothing of some effect.
            np.fill_diagonal(matrix, _MORE * matrix.diagonal())
            step = np.linalg.solve(matrix, slope)
            theta = theta + np.clip(step, -_LONGEST, _LONGEST)
        return theta

    def information(self, jumps: RowJumps) -> ndarray:
        """Curvature ``(E + k, E + k)`` if the states were known at every moment."""
        return self._of_coordinates(jumps.numbers)

    @property
    def _precision(self) -> float:
        """Of the prior of a coordinate."""
        if self.prior is None:
            return 0.0
        return self.prior.width**-2

    def _excess(self, theta: ndarray) -> ndarray:
        """Coordinates relative to the centre of their prior."""
        if self.prior is None:
            return np.zeros_like(theta)
        excess = theta.copy()
        excess[: self.n_rates] -= self.prior.centre
        return excess

    def _of_log_rates(self, slope: ndarray, theta: ndarray) -> ndarray:
        """Slope ``(E + k,)`` of slopes in the log-rates ``(D, E)``, with the prior's."""
        of_coordinates = np.einsum("de,dep->p", slope, self.design)
        return of_coordinates - self._precision * self._excess(theta)

    def _of_coordinates(self, curvature: ndarray) -> ndarray:
        """Curvatures of log-rates ``(D, E)`` as one matrix of the coordinates."""
        size = self.size
        flat = self.design.reshape(-1, size)
        weighted = curvature.reshape(-1, 1) * flat
        return flat.T @ weighted + self._precision * np.eye(size)


def _to_user(design: Design, centre: ndarray, scale: ndarray) -> ndarray:
    """Matrix ``(E + k, E + k)`` from coordinates to log-rates at 0 and effects per unit."""
    n_rates = design.scheme.n_edges
    to_user = np.eye(n_rates + design.n_effects)
    effects = np.arange(n_rates, len(to_user))
    column = design.column
    to_user[effects, effects] = 1 / scale[column]
    # From the mean covariates to those that are all 0.
    of_centre = design.acts.T * (centre / scale)[column]
    to_user[:n_rates, n_rates:] = -of_centre
    return to_user
