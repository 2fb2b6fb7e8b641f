"""Observation models in the coordinates of a fit: expectations, slopes, steps of EM, curvature.

All arrays are NumPy's. Coordinates are those of :meth:`Emission.parameters`, so that fits by other
ways have the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray
from scipy.linalg import block_diag
from scipy.special import expit, logit, softmax

from dyninfer.jumps.likelihood.flat_observations import FlatObservations
from dyninfer.jumps.likelihood.observation import (
    LEAST_CHANCE,
    LEAST_SPREAD,
    LOG_ROOT_2PI,
    ConfusionMatrix,
    Emission,
    GaussianEmission,
    LabelNoise,
    PerfectLabels,
)

Recursion = Callable[..., tuple[Any, ...]]

# Expected observations below which EM leaves a state's numbers as they are.
_FEW = 1e-8


class Expectation(NamedTuple):
    """What is expected given all observations, at some parameters."""

    log_likelihood: float
    slope_p: ndarray  # (G, S, S): slope in the transition probabilities
    first: ndarray  # (1, S) or (n, S): paths that begin in each state, of all or of each
    observations: ndarray  # label counts (S, S), or moments (3, S, d)


class EmissionCoordinates(ABC):
    """An observation model by parameters ``(r,)`` without constraints."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of parameters r."""

    @abstractmethod
    def recursion(self, theta: ndarray) -> tuple[Recursion, ndarray]:
        """Compiled recursion for observations of this kind, and the numbers that it reads."""

    def expect(
        self,
        theta: ndarray,
        p: ndarray,
        initial: ndarray,
        data: FlatObservations,
    ) -> Expectation:
        """Log-likelihood and expectations of a chain with transitions ``p`` ``(G, S, S)``."""
        recursion, numbers = self.recursion(theta)
        parts = recursion(
            p,
            initial,
            numbers,
            data.values,
            data.number,
            data.offsets,
        )
        return Expectation(*parts)

    def log_prior(self, theta: ndarray) -> float:
        """Log-density of the parameters, up to a constant."""
        return 0.0

    @abstractmethod
    def slope(self, theta: ndarray, observations: ndarray) -> ndarray:
        """Slope ``(r,)`` of the log-likelihood with the prior."""

    @abstractmethod
    def maximised(self, theta: ndarray, observations: ndarray) -> ndarray:
        """Parameters ``(r,)`` of the largest expected complete log-likelihood."""

    @abstractmethod
    def information(self, theta: ndarray, observations: ndarray) -> ndarray:
        """Curvature ``(r, r)`` if the states were known."""


def coordinates_of(emission: Emission, is_fitted: bool) -> EmissionCoordinates:
    """Coordinates of an observation model; without parameters where it is not fitted."""
    if isinstance(emission, GaussianEmission):
        return _Numbers(emission, is_fitted)
    assert isinstance(emission, LabelNoise)
    if not is_fitted or isinstance(emission, PerfectLabels):
        return _KnownLabels(emission)
    if isinstance(emission, ConfusionMatrix):
        return _ConfusedLabels(emission)
    return _NoisyLabels(emission)


class _KnownLabels(EmissionCoordinates):
    """Labels whose chances are known."""

    def __init__(self, emission: LabelNoise):
        self.known = emission.confusion.numpy()
        self.n_states = emission.n_states
        self.sets = np.zeros((0, self.n_states))
        if emission.sets is not None:
            self.sets = emission.sets.numpy()

    @property
    def size(self) -> int:
        return 0

    def confusion(self, theta: ndarray) -> ndarray:
        """Probabilities ``(S, S)`` of labels (last) in every state."""
        return self.known

    def recursion(self, theta: ndarray) -> tuple[Recursion, ndarray]:
        # Imported late: numba takes a fifth of a second.
        from dyninfer.jumps.compiled.expectations import expect_labels

        # A last row of ones stands for "not observed", which is label -1.
        of_missing = np.ones((1, self.n_states))
        of_labels = self.confusion(theta).T
        chance = np.concatenate([of_labels, self.sets, of_missing])
        return expect_labels, chance

    def expect(
        self,
        theta: ndarray,
        p: ndarray,
        initial: ndarray,
        data: FlatObservations,
    ) -> Expectation:
        expectation = super().expect(theta, p, initial, data)
        # Other labels say nothing of the chance of an error.
        counts = expectation.observations[: self.n_states]
        return expectation._replace(observations=counts)

    def slope(self, theta: ndarray, observations: ndarray) -> ndarray:
        return np.zeros(0)

    def maximised(self, theta: ndarray, observations: ndarray) -> ndarray:
        return theta

    def information(self, theta: ndarray, observations: ndarray) -> ndarray:
        return np.zeros((0, 0))


class _NoisyLabels(_KnownLabels):
    """One chance of a wrong label, by its logit."""

    @property
    def size(self) -> int:
        return 1

    def confusion(self, theta: ndarray) -> ndarray:
        """Probabilities ``(S, S)`` of labels (last) in every state."""
        chance = expit(theta[0])
        each_other = chance / (self.n_states - 1)
        shape = (self.n_states, self.n_states)
        confusion = np.full(shape, each_other)
        np.fill_diagonal(confusion, 1 - chance)
        return confusion

    def slope(self, theta: ndarray, observations: ndarray) -> ndarray:
        right, wrong = _right_and_wrong(observations)
        chance = expit(theta)
        gain = wrong * (1 - chance)
        loss = right * chance
        return gain - loss

    def maximised(self, theta: ndarray, observations: ndarray) -> ndarray:
        right, wrong = _right_and_wrong(observations)
        total = right + wrong
        chance = wrong / max(total, _FEW)
        largest = 1 - LEAST_CHANCE
        bounded = np.clip(chance, LEAST_CHANCE, largest)
        return np.full(1, logit(bounded))

    def information(self, theta: ndarray, observations: ndarray) -> ndarray:
        right, wrong = _right_and_wrong(observations)
        chance = expit(theta[0])
        variance = chance * (1 - chance)
        n_labels = right + wrong
        return np.full((1, 1), n_labels * variance)


class _ConfusedLabels(_KnownLabels):
    """A chance of every label in every state, by logits relative to the right label's."""

    def __init__(self, emission: ConfusionMatrix):
        super().__init__(emission)
        self.is_error = emission.is_error.numpy()
        self.is_possible = self.is_error | np.eye(self.n_states, dtype=bool)
        self.prior_counts = emission.prior_counts.numpy()

    @property
    def size(self) -> int:
        return int(self.is_error.sum())

    def confusion(self, theta: ndarray) -> ndarray:
        """Probabilities ``(S, S)`` of labels (last) in every state."""
        logits = np.where(self.is_possible, 0.0, -np.inf)
        logits[self.is_error] = theta
        return softmax(logits, axis=1)

    def log_prior(self, theta: ndarray) -> float:
        chance = self.confusion(theta)[self.is_possible]
        terms = self.prior_counts[self.is_possible] * np.log(chance)
        return float(terms.sum())

    def slope(self, theta: ndarray, observations: ndarray) -> ndarray:
        counts = self._counts(observations)
        n_observed = counts.sum(1, keepdims=True)
        expected = n_observed * self.confusion(theta)
        excess = counts - expected
        return excess[self.is_error]

    def maximised(self, theta: ndarray, observations: ndarray) -> ndarray:
        counts = self._counts(observations)
        log_counts = np.log(np.maximum(counts, _FEW))
        of_right = np.diagonal(log_counts)
        logits = log_counts - of_right[:, None]
        return logits[self.is_error]

    def information(self, theta: ndarray, observations: ndarray) -> ndarray:
        confusion = self.confusion(theta)
        n_observed = self._counts(observations).sum(1)
        blocks = []
        for state, n in enumerate(n_observed):
            is_error = self.is_error[state]
            chances = confusion[state, is_error]
            block = n * covariance_of(chances)
            blocks.append(block)
        return block_diag(*blocks)

    def _counts(self, observations: ndarray) -> ndarray:
        """Labels (last) of every state ``(S, S)``, those of the prior among them."""
        return observations.T + self.prior_counts


class _Numbers(EmissionCoordinates):
    """Normal vectors, by shifts of the means and log-ratios of the spreads to the first ones."""

    def __init__(self, emission: GaussianEmission, is_fitted: bool):
        self.mean = emission.mean.numpy()
        self.std = emission.std.numpy()
        self.is_fitted = is_fitted

    @property
    def size(self) -> int:
        return 2 * self.mean.size * self.is_fitted

    def recursion(self, theta: ndarray) -> tuple[Recursion, ndarray]:
        # Imported late: numba takes a fifth of a second.
        from dyninfer.jumps.compiled.expectations import expect_numbers

        mean, std = self._normal(theta)
        normal = np.empty((3, *mean.shape))
        normal[0] = mean
        normal[1] = 1 / std
        log_std = np.log(std)
        normal[2] = -log_std - LOG_ROOT_2PI
        return expect_numbers, normal

    def slope(self, theta: ndarray, observations: ndarray) -> ndarray:
        if not self.is_fitted:
            return theta
        n, deviations, squares = observations
        _, std = self._normal(theta)
        of_shift = deviations * self.std / std
        # Below its floor a spread does not change.
        is_free = std > LEAST_SPREAD * self.std
        of_log_ratio = (squares - n) * is_free
        slopes = of_shift.ravel(), of_log_ratio.ravel()
        return np.concatenate(slopes)

    def maximised(self, theta: ndarray, observations: ndarray) -> ndarray:
        if not self.is_fitted:
            return theta
        n, deviations, squares = observations
        mean, std = self._normal(theta)
        divisor = np.maximum(n, _FEW)
        mean_deviation = deviations / divisor
        variance = squares / divisor - mean_deviation**2
        is_many = n > _FEW
        shifted = std * mean_deviation
        new_mean = mean + shifted
        spread = np.sqrt(np.maximum(variance, 0.0))
        new_std = std * spread
        ratio = new_std / self.std
        shift = (new_mean - self.mean) / self.std
        # Just below the floor, where the slope is 0: no later step is wasted on it.
        least = 0.99 * LEAST_SPREAD
        log_ratio = np.log(np.maximum(ratio, least))
        proposed = np.stack([shift, log_ratio])
        old = theta.reshape(proposed.shape)
        new = np.where(is_many, proposed, old)
        return new.ravel()

    def information(self, theta: ndarray, observations: ndarray) -> ndarray:
        if not self.is_fitted:
            return np.zeros((0, 0))
        n = observations[0]
        _, std = self._normal(theta)
        ratio = self.std / std
        of_shift = n * ratio**2
        of_log_ratio = 2 * n
        curvatures = np.stack([of_shift, of_log_ratio])
        return np.diag(curvatures.ravel())

    def _normal(self, theta: ndarray) -> tuple[ndarray, ndarray]:
        """Means and standard deviations ``(S, d)``."""
        if not self.is_fitted:
            return self.mean, self.std
        shift, log_ratio = theta.reshape(2, *self.mean.shape)
        ratio = np.maximum(np.exp(log_ratio), LEAST_SPREAD)
        mean = self.mean + self.std * shift
        std = self.std * ratio
        return mean, std


def covariance_of(chances: ndarray) -> ndarray:
    """Covariance of one draw, by the chances of what may be drawn but for the first."""
    products = np.outer(chances, chances)
    return np.diag(chances) - products


def _right_and_wrong(counts: ndarray) -> tuple[float, float]:
    """Expected numbers of right and of wrong labels."""
    right = float(np.trace(counts))
    total = float(counts.sum())
    wrong = total - right
    return right, max(wrong, 0.0)
