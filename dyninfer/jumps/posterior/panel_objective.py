"""Log-posterior of pairs of observations with slopes and steps of EM, without a matrix a wait."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.jumps.likelihood.pairs import PanelPairs
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.rate_coordinates import Jumps, RateCoordinates
from dyninfer.jumps.posterior.starts import LogRatePrior


class PanelMoment(NamedTuple):
    """The log-posterior at some parameters, its slope, and the jumps expected there."""

    theta: ndarray
    value: float
    slope: ndarray
    log_likelihood: float
    jumps: Jumps


class PanelObjective:
    """Log-posterior of the rates that are to explain pairs of observations.

    Parameters
    ----------
    pairs : PanelPairs
        The data.
    scheme : RateScheme
        Which jumps are allowed and how their rates hang together.
    prior : LogRatePrior, optional
        Of every log-rate.
    """

    def __init__(self, pairs: PanelPairs, scheme: RateScheme, prior: LogRatePrior | None):
        self.pairs = pairs
        self.rates = RateCoordinates(scheme, prior)

    def at(self, theta: ndarray) -> PanelMoment:
        """Log-posterior, slope and expectations at parameters ``(p,)``."""
        log_rates = self.rates.log_rates(theta)
        rates = np.exp(log_rates)
        generator = self.rates.generator(rates)
        log_likelihood, slope_q = self._likelihood(generator)
        return PanelMoment(
            theta=theta,
            value=log_likelihood + self.rates.log_prior(log_rates),
            slope=self.rates.slope(log_rates, slope_q),
            log_likelihood=log_likelihood,
            jumps=self.rates.jumps(rates, slope_q),
        )

    def maximised(self, moment: PanelMoment) -> ndarray:
        """Parameters ``(p,)`` after one step of EM, which loses nothing."""
        return self.rates.maximised(moment.theta, moment.jumps)

    def complete_information(self, moment: PanelMoment) -> ndarray:
        """Curvature ``(p, p)`` if the states were known at every moment."""
        return self.rates.information(moment.jumps)

    def _likelihood(self, generator: ndarray) -> tuple[float, ndarray]:
        """Log-likelihood, and its slope ``(S, S)`` in the entries of the generator."""
        is_reachable = self.rates.is_reachable
        is_possible = is_reachable[self.pairs.source, self.pairs.target]
        if not is_possible.all():
            return -np.inf, np.full_like(generator, np.nan)
        return self.pairs.value_and_slope(generator)
