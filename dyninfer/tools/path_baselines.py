"""What needs no model of dynamics to forecast a path: a still value, a walk, a level, a chain."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy import ndarray
from scipy.optimize import minimize_scalar

from dyninfer.data.arrays import as_list
from dyninfer.data.paths import Paths
from dyninfer.data.paths.checks import is_missing
from dyninfer.data.paths.observed import last_value
from dyninfer.data.words import quoted
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import brief

# Pseudo-counts that a row of states shares: an unseen state must not make a path impossible, and
# one observation is the least that can be believed.
_PRIOR_COUNT = 1.0
# Width of the first values at least, beside that of a typical step.
_NARROWEST = 0.01
# Values of the relaxation rate that are tried, before the best is refined: the likelihood of few
# observations can have two maxima.
_N_RATES = 25


class PathBaseline(Protocol):
    """What is forecast of a path, and how likely a path is."""

    def log_likelihoods(self, paths: Paths) -> ndarray | None:
        """Log-likelihood of every path ``(n,)`` in nats; None where there is none."""

    def draw(self, past: Paths, times: ndarray, n_samples: int, seed: int) -> ndarray:
        """Draws ``(path · draw, q, ...)`` at times after the past, those of one path together."""


class Steps(NamedTuple):
    """Every observed value of a feature with the one before it on the same path."""

    owner: ndarray  # (m,) number of the path
    before: ndarray  # (m,)
    after: ndarray  # (m,)
    gap: ndarray  # (m,) time between the two


@dataclass(frozen=True)
class Still:
    """The last value held still: a point, which has no likelihood."""

    def log_likelihoods(self, paths: Paths) -> None:
        """Return None."""

    def draw(self, past: Paths, times: ndarray, n_samples: int, seed: int) -> ndarray:
        """Draws that are all alike."""
        last_values = [last_value(states) for states in past.states]
        last = np.stack(last_values)
        at_all_times = np.repeat(last[:, None], len(times), axis=1)
        return np.repeat(at_all_times, n_samples, axis=0)


@dataclass(frozen=True)
class Relaxation:
    r"""Features that relax on their own, each by its rate, to its level.

    .. math:: dx = -\theta (x - \mu)\, dt + \sigma\, dW

    With rate 0 it is a random walk, with an infinite one values that do not depend on each other.

    Attributes
    ----------
    rate, level : array ``(d,)``
        θ per time unit, and μ.
    scale : array ``(d,)``
        σ; at an infinite rate the standard deviation of the values.
    first_mean, first_deviation : array ``(d,)``
        Of the first observation of a path.
    """

    rate: ndarray
    level: ndarray
    scale: ndarray
    first_mean: ndarray
    first_deviation: ndarray

    @classmethod
    def learned(cls, paths: Paths, rate: float | None) -> Relaxation:
        """Of the largest likelihood; a rate of None is learned too."""
        columns = []
        for feature, name in enumerate(paths.features):
            steps = steps_of(paths, feature)
            if len(steps.gap) < 2:
                raise ValueError(f"feature {quoted(name)} has no two observations on two paths")
            if (steps.after == steps.before).all():
                raise ValueError(f"feature {quoted(name)} changes on no path; leave it out")
            own_rate = rate
            if own_rate is None:
                own_rate = _best_rate(steps)
            level, scale = _level_and_scale(steps, own_rate)
            mean, deviation = _first_law(paths, feature)
            # Paths that all start at one value would make any other start impossible.
            typical_gap = float(np.median(steps.gap))
            variance = _spread(own_rate, typical_gap)
            least = _NARROWEST * scale * np.sqrt(variance)
            deviation = max(deviation, least)
            columns.append((own_rate, level, scale, mean, deviation))
        table = np.array(columns)
        return cls(*table.T)

    def log_likelihoods(self, paths: Paths) -> ndarray:
        """Log-likelihood of every path ``(n,)``: a normal density, value by value."""
        total = np.zeros(len(paths))
        for feature in range(paths.n_features):
            owner, first = first_values(paths, feature)
            first_mean = self.first_mean[feature]
            first_deviation = self.first_deviation[feature]
            of_starts = _log_normal(first, first_mean, first_deviation)
            np.add.at(total, owner, of_starts)
            steps = steps_of(paths, feature)
            mean, deviation = self._next(steps.before, steps.gap, feature)
            of_steps = _log_normal(steps.after, mean, deviation)
            np.add.at(total, steps.owner, of_steps)
        return total

    def draw(self, past: Paths, times: ndarray, n_samples: int, seed: int) -> ndarray:
        """Draws ``(path · draw, q, d)`` from the last value of every feature on."""
        rng = numpy_stream(seed, "baseline")
        n_paths = len(past)
        n_times = len(times)
        shape = (n_paths, n_samples, n_times, past.n_features)
        draws = np.empty(shape)
        for feature in range(past.n_features):
            value, clock = _last_values(past, feature)
            never = np.isnan(value)
            # Of a feature that was never observed, all that is known is how paths start.
            value[never] = self.first_mean[feature]
            x = np.repeat(value[:, None], n_samples, axis=1)
            for k, time in enumerate(times):
                gap = time - clock
                mean, deviation = self._next(x, gap[:, None], feature)
                normals = rng.normal(size=x.shape)
                x = mean + deviation * normals
                clock = np.full(n_paths, time)
                draws[:, :, k, feature] = x
        return draws.reshape(-1, n_times, past.n_features)

    def _next(self, x: ndarray, gap: ndarray, feature: int) -> tuple[ndarray, ndarray]:
        """Mean and deviation a gap later."""
        rate = self.rate[feature]
        level = self.level[feature]
        distance = (x - level) * _decay(rate, gap)
        variance = _spread(rate, gap)
        deviation = self.scale[feature] * np.sqrt(variance)
        return level + distance, deviation


@dataclass(frozen=True)
class Chain:
    """States that follow each other from observation to observation, however far apart.

    Attributes
    ----------
    first : array ``(S,)``
        Probability of the first observed state of a path.
    transition : array ``(S, S)``
        Probability of the next observed state.
    """

    first: ndarray
    transition: ndarray

    @classmethod
    def learned(cls, paths: Paths, depends: bool) -> Chain:
        """From frequencies; where nothing ``depends``, every state has the same next ones."""
        n = paths.n_states or 0
        _, first = first_values(paths, 0)
        starts = np.bincount(first, minlength=n)
        steps = steps_of(paths, 0)
        pairs = np.zeros((n, n))
        np.add.at(pairs, (steps.before, steps.after), 1)
        if not depends:
            of_next = pairs.sum(0)
            pairs = np.tile(of_next, (n, 1))
        return cls(_shares(starts), _shares(pairs))

    def log_likelihoods(self, paths: Paths) -> ndarray:
        """Log-likelihood of every path ``(n,)``."""
        total = np.zeros(len(paths))
        owner, first = first_values(paths, 0)
        of_starts = np.log(self.first[first])
        np.add.at(total, owner, of_starts)
        steps = steps_of(paths, 0)
        probability = self.transition[steps.before, steps.after]
        of_steps = np.log(probability)
        np.add.at(total, steps.owner, of_steps)
        return total

    def draw(self, past: Paths, times: ndarray, n_samples: int, seed: int) -> ndarray:
        """Draws ``(path · draw, q)``, one step of the chain for each time."""
        rng = numpy_stream(seed, "baseline")
        last, _ = _last_values(past, 0)
        state = np.repeat(last, n_samples)
        # The last entry, for rounding, is above every draw.
        levels = np.cumsum(self.transition, axis=1)
        levels[:, -1] = 1.0
        n_draws = len(state)
        n_times = len(times)
        shape = (n_draws, n_times)
        draws = np.empty(shape, dtype=np.int64)
        for k in range(n_times):
            u = rng.random((n_draws, 1))
            # As many levels as the number has reached are states below the drawn one.
            is_reached = u >= levels[state]
            state = is_reached.sum(axis=1)
            draws[:, k] = state
        return draws


CONTINUOUS: dict[str, Callable[[Paths], PathBaseline]] = {
    "still": lambda paths: Still(),
    "independent": lambda paths: Relaxation.learned(paths, np.inf),
    "random_walk": lambda paths: Relaxation.learned(paths, 0.0),
    "ou": lambda paths: Relaxation.learned(paths, None),
}
DISCRETE: dict[str, Callable[[Paths], PathBaseline]] = {
    "still": lambda paths: Still(),
    "independent": lambda paths: Chain.learned(paths, depends=False),
    "chain": lambda paths: Chain.learned(paths, depends=True),
}
# What a sentence calls them.
WORDS = {
    "still": "the last value held still",
    "independent": "observations that do not depend on each other",
    "random_walk": "a random walk",
    "ou": "an Ornstein-Uhlenbeck process of every feature",
    "chain": "a Markov chain from one observation to the next",
}


def baselines_for(paths: Paths) -> dict[str, Callable[[Paths], PathBaseline]]:
    """Baselines by name, for paths of this kind."""
    return DISCRETE if paths.discrete else CONTINUOUS


def path_baseline_names(names: str | Iterable[str] | None, paths: Paths) -> list[str]:
    """Names as a list; None takes all that fit the paths."""
    fitting = list(baselines_for(paths))
    if names is None:
        return fitting
    if isinstance(names, str):
        names = [names]
    requested = as_list(names, "baselines", "names")
    for name in requested:
        if not isinstance(name, str) or name not in fitting:
            kind = "states" if paths.discrete else "numbers"
            raise ValueError(
                f"baseline {brief(name)} is not known for paths of {kind}; choose from "
                f"{', '.join(fitting)}"
            )
    return requested


def first_values(paths: Paths, feature: int) -> tuple[ndarray, ndarray]:
    """Numbers of paths, and the first value of a feature that was observed of each."""
    owner, values, _ = _observed(paths, feature)
    numbers, rows = np.unique(owner, return_index=True)
    return numbers, values[rows]


def steps_of(paths: Paths, feature: int) -> Steps:
    """Each observed value of a feature after the first of its path, gaps skipped."""
    owner, values, times = _observed(paths, feature)
    # A step leads from a row to the next, where both are of one path.
    is_step = owner[1:] == owner[:-1]
    before = values[:-1]
    after = values[1:]
    gap = np.diff(times)
    return Steps(
        owner=owner[1:][is_step],
        before=before[is_step],
        after=after[is_step],
        gap=gap[is_step],
    )


def _observed(paths: Paths, feature: int) -> tuple[ndarray, ndarray, ndarray]:
    """Paths, values and times of a feature where it was observed."""
    values = np.concatenate(paths.states)
    if not paths.discrete:
        values = values[:, feature].astype(np.float64)
    numbers = np.arange(len(paths))
    owner = np.repeat(numbers, paths.lengths)
    times = np.concatenate(paths.times)
    is_observed = ~is_missing(values)
    return owner[is_observed], values[is_observed], times[is_observed]


def _last_values(paths: Paths, feature: int) -> tuple[ndarray, ndarray]:
    """Last observed value of every path ``(n,)`` with its time; NaN, and the end, if never."""
    owner, values, times = _observed(paths, feature)
    last_times = [t[-1] for t in paths.times]
    ends = np.array(last_times)
    never = -1 if paths.discrete else np.nan
    last = np.full(len(paths), never)
    # Rows are in the order of time: the last one written stays.
    last[owner] = values
    ends[owner] = times
    return last, ends


def _decay(rate: float, gap: ndarray) -> ndarray:
    """What is left of a distance from the level."""
    if np.isinf(rate):
        return np.zeros_like(gap)
    return np.exp(-rate * gap)


def _spread(rate: float, gap: ndarray | float) -> ndarray:
    """Variance a gap later, for σ = 1."""
    if np.isinf(rate):
        return np.ones_like(gap)
    if rate == 0:
        return np.asarray(gap, dtype=np.float64)
    exponent = -2 * rate * np.asarray(gap)
    return -np.expm1(exponent) / (2 * rate)


def _level_and_scale(steps: Steps, rate: float) -> tuple[float, float]:
    """μ and σ of the largest likelihood at a rate: a regression with known relative errors."""
    decay = _decay(rate, steps.gap)
    spread = _spread(rate, steps.gap)
    # after − decay · before = (1 − decay) μ + noise; of a walk no level is left.
    pull = 1 - decay
    rest = steps.after - decay * steps.before
    squares = pull**2 / spread
    power = squares.sum()
    level = 0.0
    if power != 0:
        products = pull * rest / spread
        level = products.sum() / power
    noise = rest - pull * level
    relative = noise**2 / spread
    deviation = np.sqrt(relative.mean())
    return float(level), float(deviation)


def _best_rate(steps: Steps) -> float:
    """Relaxation rate of the largest likelihood, from a walk over the data to no memory at all."""

    def cost(log_rate: float) -> float:
        rate = float(np.exp(log_rate))
        _, scale = _level_and_scale(steps, rate)
        # Up to constants, minus twice the mean log-likelihood: the squares sum to their number.
        variance = scale**2 * _spread(rate, steps.gap)
        return float(np.log(variance).mean())

    # A hundredth of a decay over all that was observed, and one to 1e-13 within the least gap.
    lowest = np.log(0.01 / steps.gap.sum())
    highest = np.log(30 / steps.gap.min())
    grid = np.linspace(lowest, highest, _N_RATES)
    costs = [cost(log_rate) for log_rate in grid]
    best = int(np.argmin(costs))
    before = max(best - 1, 0)
    after = min(best + 1, _N_RATES - 1)
    around = (grid[before], grid[after])
    # In the logarithm: a ten-thousandth of the rate itself.
    options = {"xatol": 1e-4}
    result = minimize_scalar(cost, bounds=around, method="bounded", options=options)
    return float(np.exp(result.x))


def _first_law(paths: Paths, feature: int) -> tuple[float, float]:
    """Mean and deviation of the first observations."""
    _, first = first_values(paths, feature)
    mean = float(first.mean())
    std = float(first.std())
    return mean, std


def _log_normal(x: ndarray, mean: ndarray | float, deviation: ndarray | float) -> ndarray:
    z = (x - mean) / deviation
    log_norm = 0.5 * np.log(2 * np.pi)
    return -0.5 * z**2 - np.log(deviation) - log_norm


def _shares(counts: ndarray) -> ndarray:
    """Probabilities from counts ``(..., S)``, with one observation spread over all states."""
    n = counts.shape[-1]
    total = counts.sum(-1, keepdims=True) + _PRIOR_COUNT
    return (counts + _PRIOR_COUNT / n) / total
