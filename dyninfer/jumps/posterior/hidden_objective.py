"""Log-posterior of hidden paths with slopes and steps of EM by compiled recursions, in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch
from numpy import ndarray

from dyninfer.jumps.compiled.loading import can_run_on
from dyninfer.jumps.likelihood.flat_observations import FlatObservations
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.spectral import Spectrum
from dyninfer.jumps.posterior.first_states import FirstStates
from dyninfer.jumps.posterior.hidden_emissions import Expectation, coordinates_of
from dyninfer.jumps.posterior.rate_coordinates import Jumps, RateCoordinates
from dyninfer.jumps.posterior.starts import LogRatePrior
from dyninfer.jumps.process.chain import transition_matrix

if TYPE_CHECKING:
    from dyninfer.jumps.posterior.fitting_hidden import HiddenProblem


class Moment(NamedTuple):
    """The log-posterior at some parameters, its slope, and what is expected there."""

    theta: ndarray
    value: float
    slope: ndarray
    log_likelihood: float
    jumps: Jumps
    expectation: Expectation


class HiddenObjective:
    """Log-posterior of a problem that compiled recursions can read.

    Parameters
    ----------
    problem : HiddenProblem
        One for which :meth:`can_read` is true.
    """

    def __init__(self, problem: HiddenProblem):
        data = problem.data
        assert isinstance(data, HiddenPaths)
        problem.emission.check_observed(data.observed)
        self.observations = FlatObservations.of(data)
        n_paths = len(self.observations.offsets) - 1
        self.gaps = data.gaps.numpy()
        self.has_entries = data.has_exact_entries
        self.emission = coordinates_of(problem.emission, problem.fit_emission)
        prior = cast(LogRatePrior | None, problem.prior)
        self.rates = RateCoordinates(problem.scheme, prior)
        self.first = FirstStates(problem.initial, problem.scheme.n_states, n_paths)
        passes = self.gaps > 0
        self.is_possible = self.rates.is_reachable & passes[:, None, None]
        n_rates = self.rates.size
        before_logits = n_rates + self.emission.size
        self.ends = n_rates, before_logits

    @staticmethod
    def can_read(problem: HiddenProblem) -> bool:
        """Whether the data are paths on the CPU, and the prior is one whose slope is known."""
        data = problem.data
        if not isinstance(data, HiddenPaths):
            return False
        if not isinstance(problem.prior, LogRatePrior | None):
            return False
        tensors = vars(problem.emission).values()
        is_single = all(tensor.ndim == 2 for tensor in tensors if tensor is not None)
        return is_single and can_run_on(data.gaps)

    def at(self, theta: ndarray) -> Moment:
        """Log-posterior, slope and expectations at parameters ``(p + r,)``."""
        of_rates, of_emission, logits = self._parts(theta)
        log_rates = self.rates.log_rates(of_rates)
        rates = np.exp(log_rates)
        transitions = _Transitions(self, rates)
        initial = self.first.weights(logits)
        expectation = self.emission.expect(of_emission, transitions.p, initial, self.observations)
        slope_q = transitions.slope(expectation.slope_p)
        slope = [
            self.rates.slope(log_rates, slope_q),
            self.emission.slope(of_emission, expectation.observations),
            self.first.slope(logits, expectation.first),
        ]
        log_prior = self.rates.log_prior(log_rates)
        log_prior += self.emission.log_prior(of_emission)
        return Moment(
            theta=theta,
            value=expectation.log_likelihood + log_prior,
            slope=np.concatenate(slope),
            log_likelihood=expectation.log_likelihood,
            jumps=self.rates.jumps(rates, slope_q),
            expectation=expectation,
        )

    def maximised(self, moment: Moment) -> ndarray:
        """Parameters ``(p + r,)`` after one step of EM, which loses nothing."""
        of_rates, of_emission, logits = self._parts(moment.theta)
        observations = moment.expectation.observations
        parts = [
            self.rates.maximised(of_rates, moment.jumps),
            self.emission.maximised(of_emission, observations),
            self.first.maximised(logits, moment.expectation.first),
        ]
        return np.concatenate(parts)

    def complete_information(self, moment: Moment) -> ndarray:
        """Curvature ``(p + r, p + r)`` if the states were known at every moment."""
        _, of_emission, logits = self._parts(moment.theta)
        observations = moment.expectation.observations
        first, second = self.ends
        size = len(moment.theta)
        matrix = np.zeros((size, size))
        matrix[:first, :first] = self.rates.information(moment.jumps)
        of_observations = self.emission.information(of_emission, observations)
        matrix[first:second, first:second] = of_observations
        matrix[second:, second:] = self.first.information(logits)
        return matrix

    def _parts(self, theta: ndarray) -> tuple[ndarray, ndarray, ndarray]:
        """Parameters of the rates, of the observation model, and of the first state."""
        first, second = self.ends
        return theta[:first], theta[first:second], theta[second:]


class _Transitions:
    """Transition probabilities of one generator for all waiting times, and their adjoint."""

    def __init__(self, objective: HiddenObjective, rates: ndarray):
        self.gaps = objective.gaps
        self.generator = objective.rates.generator(rates)
        self.has_entries = objective.has_entries
        self.spectrum = Spectrum.of(self.generator)
        self.of_jumps = self._by_eigenvectors(objective)
        self.p = self.of_jumps
        if self.has_entries:
            # An entry into j after the time t has the density Σ_{k≠j} P_ik(t) Q_kj.
            density = self.of_jumps @ self._off_diagonal()
            self.p = np.concatenate([self.of_jumps, density])

    def slope(self, slope_p: ndarray) -> ndarray:
        """Slope ``(S, S)`` in the entries of the generator, as if its rows need not sum to zero."""
        direct = np.zeros_like(self.generator)
        if self.has_entries:
            n_gaps = len(self.gaps)
            of_density = slope_p[n_gaps:]
            of_gaps = self.of_jumps.mT @ of_density
            direct = of_gaps.sum(0)
            np.fill_diagonal(direct, 0.0)
            through_p = of_density @ self._off_diagonal().T
            slope_p = slope_p[:n_gaps] + through_p
        if self.spectrum is not None:
            return direct + self.spectrum.slope(slope_p, self.gaps)
        generator = torch.from_numpy(self.generator)
        generator.requires_grad_()
        gaps = torch.from_numpy(self.gaps)
        weight = torch.from_numpy(slope_p)
        with torch.enable_grad():
            p = transition_matrix(generator, gaps)
            (slope,) = torch.autograd.grad(p, generator, weight)
        return direct + slope.numpy()

    def _off_diagonal(self) -> ndarray:
        off = self.generator.copy()
        np.fill_diagonal(off, 0.0)
        return off

    def _by_eigenvectors(self, objective: HiddenObjective) -> ndarray:
        """Transition probabilities ``(G, S, S)``, by a slower way where eigenvectors err."""
        if self.spectrum is not None:
            p = self.spectrum.transitions(self.gaps)
            p = p * objective.rates.is_reachable
            smallest = p.min(initial=1.0, where=objective.is_possible)
            if self.spectrum.keeps_digits_of(smallest):
                return p
        self.spectrum = None
        generator = torch.from_numpy(self.generator)
        gaps = torch.from_numpy(self.gaps)
        return transition_matrix(generator, gaps).numpy()
