"""Rates in the coordinates of a fit: slopes, steps of EM and curvature from expected jumps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.starts import LogRatePrior
from dyninfer.jumps.process.chain import reachable

# Newton steps of the rates' part of EM: it is concave, and need not be exact.
_NEWTON_STEPS = 2
_LONGEST = 2.0  # no log-rate moves further in one of them
_MORE = 1 + 1e-9  # of the curvature, so that it has an inverse
# Expected jumps below which a log-rate is held: with none it would run away.
_LEAST_JUMPS = 1e-8


class Jumps(NamedTuple):
    """Expected numbers and dwell times of the allowed jumps ``(E,)``, given data."""

    numbers: ndarray  # of jumps
    dwell_times: ndarray  # in the states that they leave


class RateCoordinates:
    """Log-rates of the allowed jumps, linear in parameters ``(p,)``, with their prior.

    Parameters
    ----------
    scheme : RateScheme
        Which rates there are, and how they follow from the parameters.
    prior : LogRatePrior, optional
        Of every log-rate.
    """

    def __init__(self, scheme: RateScheme, prior: LogRatePrior | None):
        self.prior = prior
        self.n_states = scheme.n_states
        self.size = scheme.n_parameters
        self.source, self.target = scheme.edges.T.numpy()
        self.design = scheme.design.numpy()
        self.offset = scheme.offset.numpy()
        # Transitions that no sequence of allowed jumps makes are impossible, not just rare.
        self.is_reachable = reachable(scheme.allowed.double()).numpy()

    def log_rates(self, theta: ndarray) -> ndarray:
        """Log-rates ``(E,)``."""
        return self.design @ theta + self.offset

    def generator(self, rates: ndarray) -> ndarray:
        """Generator ``(S, S)``."""
        generator = np.zeros((self.n_states, self.n_states))
        generator[self.source, self.target] = rates
        np.fill_diagonal(generator, -generator.sum(1))
        return generator

    def jumps(self, rates: ndarray, slope_q: ndarray) -> Jumps:
        """Expected jumps, of slopes ``(S, S)`` in the entries of the generator.

        Fisher's identity: the slope in a free entry is ``E[N] / Q``, and on the diagonal ``E[T]``.
        """
        slopes = slope_q[self.source, self.target]
        numbers = rates * slopes
        dwell_times = slope_q[self.source, self.source]
        # None is negative, but for rounding.
        return Jumps(
            numbers=np.maximum(numbers, 0.0),
            dwell_times=np.maximum(dwell_times, 0.0),
        )

    def log_prior(self, log_rates: ndarray) -> float:
        """Log-density of log-rates, up to a constant."""
        if self.prior is None:
            return 0.0
        excess = log_rates - self.prior.centre
        z = excess / self.prior.width
        return -float(z @ z) / 2

    def slope(self, log_rates: ndarray, slope_q: ndarray) -> ndarray:
        """Slope ``(p,)`` of the log-likelihood with the prior."""
        of_entries = slope_q[self.source, self.target]
        of_stays = slope_q[self.source, self.source]
        slope = np.exp(log_rates) * (of_entries - of_stays)
        if self.prior is not None:
            excess = log_rates - self.prior.centre
            slope = slope - self._precision * excess
        return slope @ self.design

    def maximised(self, theta: ndarray, jumps: Jumps) -> ndarray:
        """Maximise ``Σ E[N] log Q − E[T] Q`` with the prior, by Newton's method."""
        for _ in range(_NEWTON_STEPS):
            log_rates = self.log_rates(theta)
            expected = jumps.dwell_times * np.exp(log_rates)
            slope = jumps.numbers - expected
            curvature = np.maximum(expected, jumps.numbers)
            curvature = curvature + _LEAST_JUMPS
            if self.prior is not None:
                excess = log_rates - self.prior.centre
                slope = slope - self._precision * excess
            matrix = self._of_parameters(curvature + self._precision)
            right = self.design.T @ slope
            # A little more than there is: parameters may be tied.
            np.fill_diagonal(matrix, _MORE * matrix.diagonal())
            step = np.linalg.solve(matrix, right)
            bounded = np.clip(step, -_LONGEST, _LONGEST)
            theta = theta + bounded
        return theta

    def information(self, jumps: Jumps) -> ndarray:
        """Curvature ``(p, p)`` if the states were known at every moment."""
        return self._of_parameters(jumps.numbers + self._precision)

    @property
    def _precision(self) -> float:
        """Of the prior of a log-rate."""
        if self.prior is None:
            return 0.0
        return self.prior.width**-2

    def _of_parameters(self, curvature: ndarray) -> ndarray:
        """Curvatures of log-rates ``(E,)`` as one matrix of the parameters ``(p, p)``."""
        weighted = curvature[:, None] * self.design
        return self.design.T @ weighted
