"""Log-posterior of paths with covariates, with slopes and steps of EM by compiled recursions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from scipy.linalg import block_diag
from torch import Tensor

from dyninfer.jumps.likelihood.covariate_paths import CovariatePaths
from dyninfer.jumps.likelihood.design import Design
from dyninfer.jumps.likelihood.flat_observations import FlatObservations
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.likelihood.spectra import Transitions
from dyninfer.jumps.posterior.covariate_rates import CovariateRates, RowJumps
from dyninfer.jumps.posterior.first_states import CovariateFirstStates, FirstStates
from dyninfer.jumps.posterior.hidden_emissions import Expectation, coordinates_of
from dyninfer.jumps.posterior.starts import LogRatePrior


@dataclass(frozen=True, eq=False, kw_only=True)
class CovariateProblem:
    """Paths with covariates, and the models that are to explain them.

    Attributes
    ----------
    data : CovariatePaths
        Prepared paths.
    design : Design
        What rates depend on.
    emission : Emission
        Observation model to start from.
    initial : Tensor, ``(S,)``, optional
        Weights of the first state; by default its distribution is fitted too.
    prior : LogRatePrior, optional
        Of log-rates and effects.
    first_x : array ``(n, m)``, optional
        Numbers that first states depend on, of every path; by default they depend on none.
    """

    data: CovariatePaths
    design: Design
    emission: Emission
    initial: Tensor | None
    prior: LogRatePrior | None
    first_x: ndarray | None = None


class CovariateMoment(NamedTuple):
    """The log-posterior at some coordinates, its slope, and what is expected there."""

    theta: ndarray
    value: float
    slope: ndarray
    log_likelihood: float
    jumps: RowJumps
    expectation: Expectation


class CovariateObjective:
    """Log-posterior of a problem, in coordinates of rates and effects, emission, first states."""

    def __init__(self, problem: CovariateProblem):
        data = problem.data
        problem.emission.check_observed(data.observed)
        self.observations = FlatObservations.of(data)
        self.data = data
        self.gaps = data.gaps.numpy()
        self.row = data.row.numpy()
        self.emission = coordinates_of(problem.emission, is_fitted=True)
        self.rates = CovariateRates(problem.design, data.x, data.n_intervals, problem.prior)
        self.first = _first_states(problem)
        of_emission = self.rates.size + self.emission.size
        self.ends = self.rates.size, of_emission

    @property
    def to_user(self) -> ndarray:
        """Matrix from coordinates to rates at covariates 0 and effects per unit."""
        of_emission = np.eye(self.emission.size)
        return block_diag(self.rates.to_user, of_emission, self.first.to_user)

    def at(self, theta: ndarray) -> CovariateMoment:
        """Log-posterior, slope and expectations at coordinates ``(p,)``."""
        of_rates, of_emission, logits = self._parts(theta)
        rates = np.exp(self.rates.log_rates(of_rates))
        generators = self.rates.generators(rates)
        transitions = Transitions(generators, self.row, self.gaps, self.rates.is_reachable)
        off = _off_diagonal(generators)[self.row]
        p = self._with_entries(transitions.p, off)
        expectation = self.emission.expect(
            of_emission, p, self.first.weights(logits), self.observations
        )
        slope_q = self._slope(transitions, off, expectation.slope_p)
        slope = [
            self.rates.slope(of_rates, rates, slope_q),
            self.emission.slope(of_emission, expectation.observations),
            self.first.slope(logits, expectation.first),
        ]
        log_prior = self.rates.log_prior(of_rates) + self.emission.log_prior(of_emission)
        log_prior += self.first.log_prior(logits)
        return CovariateMoment(
            theta=theta,
            value=expectation.log_likelihood + log_prior,
            slope=np.concatenate(slope),
            log_likelihood=expectation.log_likelihood,
            jumps=self.rates.jumps(rates, slope_q),
            expectation=expectation,
        )

    def maximised(self, moment: CovariateMoment) -> ndarray:
        """Coordinates ``(p,)`` after one step of EM, which loses nothing."""
        of_rates, of_emission, logits = self._parts(moment.theta)
        expectation = moment.expectation
        parts = [
            self.rates.maximised(of_rates, moment.jumps),
            self.emission.maximised(of_emission, expectation.observations),
            self.first.maximised(logits, expectation.first),
        ]
        return np.concatenate(parts)

    def complete_information(self, moment: CovariateMoment) -> ndarray:
        """Curvature ``(p, p)`` if the states were known at every moment."""
        _, of_emission, logits = self._parts(moment.theta)
        of_observations = self.emission.information(of_emission, moment.expectation.observations)
        return block_diag(
            self.rates.information(moment.jumps),
            of_observations,
            self.first.information(logits),
        )

    def _parts(self, theta: ndarray) -> tuple[ndarray, ndarray, ndarray]:
        first, second = self.ends
        return theta[:first], theta[first:second], theta[second:]

    def _with_entries(self, p: ndarray, off: ndarray) -> ndarray:
        """Transition probabilities, and after them the densities of exact entries."""
        if not self.data.has_exact_entries:
            return p
        # An entry into j after the time t has the density Σ_{k≠j} P_ik(t) Q_kj.
        return np.concatenate([p, p @ off])

    def _slope(self, transitions: Transitions, off: ndarray, slope_p: ndarray) -> ndarray:
        """Slope ``(D, S, S)`` in the entries of the generators."""
        if not self.data.has_exact_entries:
            return transitions.slope(slope_p)
        of_waits, of_density = np.split(slope_p, 2)
        slope = transitions.slope(of_waits + of_density @ off.mT)
        direct = _off_diagonal(transitions.p.mT @ of_density)
        np.add.at(slope, self.row, direct)
        return slope


def _first_states(problem: CovariateProblem) -> FirstStates:
    """First states of all paths alike, or of each by its covariates."""
    n_states = problem.design.scheme.n_states
    if problem.first_x is None:
        return FirstStates(problem.initial, n_states, len(problem.data.observed))
    width = None if problem.prior is None else problem.prior.width
    return CovariateFirstStates(problem.first_x, n_states, width)


def _off_diagonal(matrices: ndarray) -> ndarray:
    """Matrices ``(..., S, S)`` with 0 on the diagonal."""
    is_jump = ~np.eye(matrices.shape[-1], dtype=bool)
    return matrices * is_jump
