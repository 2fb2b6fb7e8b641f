"""Environments whose drifts come in families: a mixture over sums of products of increments."""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np
from numpy import ndarray
from scipy.special import logsumexp

from dyninfer.diffusions.regression.increments import Increments, columns_at
from dyninfer.diffusions.regression.libraries import Functions
from dyninfer.learning.random import numpy_stream

# Maxima of a mixture depend on the start: of ten short climbs, the best is climbed to its end.
_STARTS = 10
_FIRST_ROUNDS = 6
_MOST_ROUNDS = 300
# In nats, of all environments together: a criterion changes by log(n) for every coefficient.
_GAIN = 1e-4
# A variance within families that has no meaning beside that of standardised coefficients.
_LEAST_VARIANCE = 1e-8


class Statistics(NamedTuple):
    """What increments say of the drift of every environment; sums, so they add up over paths.

    Attributes
    ----------
    gram : array ``(e, m, m)``
        ``Σ Φ Φᵀ Δ``.
    cross : array ``(e, m, d)``
        ``Σ Φ ΔX``.
    square : array ``(e, d)``
        ``Σ ΔX² / Δ``.
    n_increments : array ``(e,)``
        Their number.
    """

    gram: ndarray
    cross: ndarray
    square: ndarray
    n_increments: ndarray

    @classmethod
    def of(cls, increments: Increments, functions: Functions, environment: ndarray) -> Self:
        """Sums over the paths of each environment, which is a number for every path."""
        columns = columns_at(functions, increments.start)
        gap = increments.gap[:, None]
        squares = increments.step**2 / gap
        owner = environment[increments.path]
        grams = []
        crosses = []
        totals = []
        n_environments = int(environment.max()) + 1
        for number in range(n_environments):
            rows = owner == number
            own = columns[rows]
            slopes = own * gap[rows]
            grams.append(own.T @ slopes)
            crosses.append(own.T @ increments.step[rows])
            totals.append(squares[rows].sum(0))
        count = np.bincount(owner, minlength=n_environments)
        return cls(np.stack(grams), np.stack(crosses), np.stack(totals), count)

    def noise(self) -> ndarray:
        """Squared noise amplitude ``(d,)``, from what a drift of each environment leaves."""
        left = np.zeros(self.square.shape[1])
        n_free = 0
        parts = zip(self.gram, self.cross, self.square, self.n_increments, strict=True)
        for gram, cross, square, count in parts:
            own = np.linalg.pinv(gram, hermitian=True) @ cross
            explained = (cross * own).sum(0)
            left += square - explained
            n_free += int(count) - len(gram)
        if n_free < 1 or not (left > 0).all():
            raise ValueError(
                "environments have too few increments to tell noise from their drifts; give "
                "longer paths, or functions of a lower degree"
            )
        return left / n_free

    def information(self, noise: ndarray) -> tuple[ndarray, ndarray]:
        """Precision ``(e, d, m, m)`` and its product with the estimate ``(e, d, m)``."""
        precision = self.gram[:, None] / noise[:, None, None]
        score = self.cross / noise
        return precision, score.swapaxes(1, 2)


class Families(NamedTuple):
    """A mixture of families.

    Attributes
    ----------
    means : array ``(k, d, m)``
        Coefficients of every family.
    shares : array ``(k,)``
    variance : float
        Variance of coefficients within a family.
    log_likelihood : float
        Of coefficients, up to a constant that is the same for all mixtures of the same data.
    """

    means: ndarray
    shares: ndarray
    variance: float
    log_likelihood: float

    def criterion(self, n_environments: int, fixed_variance: bool) -> float:
        """Bayesian information criterion: each environment is one draw from the mixture."""
        n_parameters = self.means.size + len(self.shares) - 1
        if not fixed_variance:
            n_parameters += 1
        penalty = n_parameters * math.log(n_environments)
        return penalty - 2 * self.log_likelihood

    def routing(self, precision: ndarray, score: ndarray) -> tuple[ndarray, ndarray]:
        """Log-evidence ``(e,)`` of every environment, and probabilities of its families ``(e, k)``.

        Drifts are integrated over, so that an environment with little data is uncertain.
        """
        log_shares = np.log(self.shares)
        joint = log_shares + self._evidence(precision, score)
        evidence = logsumexp(joint, axis=1)
        relative = joint - evidence[:, None]
        return evidence, np.exp(relative)

    def shrunk(
        self, precision: ndarray, score: ndarray, family: ndarray
    ) -> tuple[ndarray, ndarray]:
        """Mean ``(e, d, m)`` and covariance ``(e, d, m, m)`` of coefficients given the family.

        This is ridge regression towards the mean of the family ``(e,)``.
        """
        # Solved for the deviation from the family: it vanishes with the variance.
        mean = self.means[family]
        along = _product(precision, mean)
        rest = score - along
        spread = self._spread(precision)
        deviation = _product(spread, rest)
        return mean + deviation, spread

    def _spread(self, precision: ndarray) -> ndarray:
        """Posterior covariance ``(Λ + I / τ²)⁻¹``, for a variance of zero too."""
        unit = np.eye(precision.shape[-1])
        ratio = self.variance * precision
        return self.variance * np.linalg.inv(unit + ratio)

    def _evidence(self, precision: ndarray, score: ndarray) -> ndarray:
        """``log ∫ p(increments | W) N(W; mean, τ²) dW``, up to a constant, ``(e, k)``."""
        unit = np.eye(precision.shape[-1])
        spread = self._spread(precision)
        ratio = self.variance * precision
        log_volume = np.linalg.slogdet(unit + ratio)[1]
        columns = []
        for mean in self.means:
            along = _product(precision, mean)
            rest = score - along
            deviation = _product(spread, rest)
            # The exponent at the mean, and what deviating from it gains.
            at_mean = mean * (score + rest)
            gain = rest * deviation
            exponent = at_mean + gain
            twice = exponent.sum(-1) - log_volume
            log_density = twice.sum(1) / 2
            columns.append(log_density)
        return np.stack(columns, axis=1)


def fit_families(
    precision: ndarray,
    score: ndarray,
    n_families: int,
    variance: float | None,
    seed: int,
) -> Families:
    """Maximise the likelihood of a mixture by expectation and maximisation, from several starts.

    Parameters
    ----------
    precision, score : arrays ``(e, d, m, m)`` and ``(e, d, m)``
        As :meth:`Statistics.information` gives them.
    n_families : int
    variance : float, optional
        Variance within families; None learns it.
    seed : int
        Fixes the environments that families start from.
    """
    own = _own_estimates(precision, score)
    pooled = _own_estimates(precision.sum(0)[None], score.sum(0)[None])
    between = float(np.var(own - pooled)) + _LEAST_VARIANCE
    n_starts = _STARTS
    if n_families == 1:
        n_starts = 1
    first = variance
    if first is None:
        first = between / n_families
    shares = np.full(n_families, 1 / n_families)
    learns_variance = variance is None
    candidates = []
    for start in range(n_starts):
        means = pooled
        if n_families > 1:
            rng = numpy_stream(seed, "families", n_families, start)
            means = own[_far_apart(own, n_families, rng)]
        families = Families(means, shares, first, -math.inf)
        families = _climb(families, precision, score, learns_variance, _FIRST_ROUNDS)
        candidates.append(families)
    best = max(candidates, key=lambda families: families.log_likelihood)
    return _climb(best, precision, score, learns_variance, _MOST_ROUNDS)


def _own_estimates(precision: ndarray, score: ndarray) -> ndarray:
    """Least squares of each environment ``(e, d, m)``, of least size where data do not say."""
    inverse = np.linalg.pinv(precision, hermitian=True)
    return _product(inverse, score)


def _product(matrix: ndarray, vector: ndarray) -> ndarray:
    """Products ``(..., m)`` of matrices ``(..., m, m)`` with vectors."""
    column = vector[..., None]
    return (matrix @ column)[..., 0]


def _far_apart(own: ndarray, n_families: int, rng: np.random.Generator) -> list[int]:
    """Environments to start from, each likelier the farther it is from those before (k-means++)."""
    n = len(own)
    flat = own.reshape(n, -1)
    first = rng.integers(n)
    chosen = [int(first)]
    while len(chosen) < n_families:
        difference = flat[:, None] - flat[chosen]
        squares = difference**2
        distance = squares.sum(-1)
        # Where all lie at one place, any will do.
        nearest = distance.min(1) + np.finfo(float).tiny
        share = nearest / nearest.sum()
        another = rng.choice(n, p=share)
        chosen.append(int(another))
    return chosen


def _climb(
    families: Families,
    precision: ndarray,
    score: ndarray,
    learns_variance: bool,
    n_rounds: int,
) -> Families:
    """Rounds of expectation and maximisation until the likelihood stays."""
    before = -math.inf
    for _ in range(n_rounds):
        evidence, probability = families.routing(precision, score)
        families = families._replace(log_likelihood=float(evidence.sum()))
        if families.log_likelihood - before < _GAIN:
            break
        before = families.log_likelihood
        families = _step(families, precision, score, probability, learns_variance)
    return families


def _step(
    families: Families,
    precision: ndarray,
    score: ndarray,
    probability: ndarray,
    learns_variance: bool,
) -> Families:
    """Means, shares and variance that are likeliest given who belongs where ``(e, k)``."""
    unit = np.eye(precision.shape[-1])
    # Of an estimate that scatters within its family: (Λ⁻¹ + τ²)⁻¹.
    ratio = families.variance * precision
    weaker = np.linalg.inv(unit + ratio)
    weight = weaker @ precision
    target = _product(weaker, score)
    means = []
    for belonging in probability.T:
        total = np.einsum("e,edij->dij", belonging, weight)
        toward = np.einsum("e,edi->di", belonging, target)
        mean = _own_estimates(total, toward)
        means.append(mean)
    shares = probability.mean(0)
    # A family that lost all its members keeps a trace, whose logarithm is finite.
    shares = np.maximum(shares, np.finfo(float).tiny)
    shares = shares / shares.sum()
    families = families._replace(means=np.stack(means), shares=shares)
    if not learns_variance:
        return families
    n = len(score)
    squares = np.zeros(n)
    for family, belonging in enumerate(probability.T):
        member = np.full(n, family)
        mean, spread = families.shrunk(precision, score, member)
        deviation = mean - families.means[family]
        scatter = np.trace(spread, axis1=-2, axis2=-1)
        square = np.sum(deviation**2, axis=2) + scatter
        squares += belonging * square.sum(1)
    mean_square = float(squares.mean())
    variance = mean_square / score[0].size
    return families._replace(variance=max(variance, _LEAST_VARIANCE))
