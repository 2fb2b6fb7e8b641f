"""Exact likelihood under what a network believes: maximum, and posterior draws by their weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.zero_shot import infer
from dyninfer.jumps.likelihood.flat import FlatLabels
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.jumps.posterior.distributions import (
    Mixture,
    NormalMixtures,
    Product,
    StudentT,
)
from dyninfer.jumps.posterior.fitting import JumpFit
from dyninfer.jumps.posterior.importance import effective_size, resampled, weighted_draws
from dyninfer.jumps.posterior.labels import LabelLikelihood
from dyninfer.jumps.posterior.network_prior import NetworkBelief, dwell_times, hardly_left
from dyninfer.jumps.posterior.optimise import floored_inverse, maximise
from dyninfer.jumps.posterior.result import (
    N_DRAWS,
    DrawnPosterior,
    GeneratorPosterior,
    JumpResult,
    NormalPosterior,
    history_of,
)
from dyninfer.jumps.process import with_diagonal
from dyninfer.learning.interruption import ends_on_interrupt

LEAST_ESS = 10.0  # fewer effective draws say less of a tail than the curvature does
MOST_PATHS, MOST_GROUPS = 15, 5  # that the network reads at once for a prior, and how often
_LEAST_DRAWS = 64
_MOST_DRAWS = 1024
_MULTIPLICATIONS = 1e9  # of all draws: a few seconds
_AT_ONCE = 2e8  # multiplications of the draws that are weighed together, for the sake of memory
# Of the parts of the proposal. The network alone has the least: its draws hardly ever fit, but they
# bound the weights.
_TWO_SHARES = (0.85, 0.15)
_THREE_SHARES = (0.55, 0.3, 0.15)
_LEAST_CURVATURE = 0.25  # of what is drawn from: no standard deviation above 2


@dataclass(frozen=True, eq=False)
class PooledPosterior:
    r"""Log-density of log-rates, and of the logit of the label noise where labels may be wrong.

    .. math:: \log p(\theta) = \frac1J \sum_j \log b_j(\theta) + w \log L(\theta)

    The network's belief :math:`b_j` from a group of paths is a prior for the likelihood of all
    others, so that nothing is counted twice. This is the mean of the logarithms of the :math:`J`
    posteriors that as many groups give, each as good as another; :math:`w` is the mean share of
    what a group leaves to the likelihood.

    Attributes
    ----------
    priors : tuple of NormalMixtures
        Of all numbers, one for every group.
    labels : LabelLikelihood
        Likelihood of all paths.
    weight : float
        Mean share of the observations that a group leaves to the likelihood.
    """

    priors: tuple[NormalMixtures, ...]
    labels: LabelLikelihood
    weight: float

    @property
    def scheme(self) -> RateScheme:
        """All jumps, each with its own rate."""
        return self.labels.scheme

    def log_prob(self, theta: Tensor, initial: Tensor) -> Tensor:
        """Log-density ``(...)``, up to a constant.

        ``initial`` ``(..., S)`` is the distribution of the first state.
        """
        beliefs = [prior.log_prob(theta) for prior in self.priors]
        mean_belief = torch.stack(beliefs).mean(0)
        log_likelihood = self.labels.log_likelihood(theta, initial)
        return mean_belief + self.weight * log_likelihood


@dataclass(frozen=True, eq=False)
class RefinementProblem:
    """What is maximised: the pooled posterior, and the initial distribution where it is unknown.

    Parameters ``(..., p + r)`` are the posterior's own, and after them those of the initial
    distribution.
    """

    posterior: PooledPosterior
    n_observed: Tensor

    @property
    def scheme(self) -> RateScheme:
        """All jumps, each with its own rate."""
        return self.posterior.scheme

    def split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters of the posterior ``(..., p)``, and the initial distribution ``(..., S)``."""
        labels = self.posterior.labels
        n_own = labels.n_parameters
        own, appended = theta.tensor_split([n_own], dim=-1)
        return own, labels.initial(appended)

    def log_likelihood(self, theta: Tensor) -> Tensor:
        """Log-likelihood ``(...)``."""
        return self.posterior.labels.log_likelihood(*self.split(theta))

    def log_posterior(self, theta: Tensor) -> Tensor:
        """Log-density ``(...)``, up to a constant."""
        own, initial = self.split(theta)
        log_prior = self.posterior.labels.log_prior(initial)
        return self.posterior.log_prob(own, initial) + log_prior


def refine(
    paths: Paths, labels: LabelLikelihood, width: float, max_steps: int, seed: int
) -> JumpResult:
    """Maximise the exact likelihood under the network's belief, and draw from their product.

    Of a state that was hardly ever left the likelihood says little, and the maximum of what is left
    is far from any mean: the rates out of it stay the network's estimate of least squared error.

    Parameters
    ----------
    paths : Paths
        Labels; `groups_of` must find some.
    labels : LabelLikelihood
        Likelihood of the paths.
    width : float
        Standard deviation of the wide part of the prior of every log-rate.
    max_steps : int
        Most steps of the maximisation.
    seed : int
        Fixes the draws.
    """
    n_states = labels.scheme.n_states
    statistics = JumpStatistics.of(paths, n_states)
    belief = NetworkBelief(
        estimate=infer(statistics),
        dwell_time=dwell_times(statistics),
        n_labels=len(FlatLabels.of(paths).labels),
        noisy=labels.noisy,
    )
    posterior = pooled_posterior(paths, labels, belief, statistics, width)
    problem = RefinementProblem(posterior, statistics.steps)
    starts = labels.starts(belief.estimate, belief.rates())
    fits, likelihood_before, best = most_probable(problem, starts, max_steps)
    fit = fits.member(best)
    theta, initial = problem.split(fit.theta)
    error_rate = labels.error_rate(theta)
    is_hardly_left = hardly_left(paths, n_states, error_rate).unsqueeze(1)
    network_generator = with_diagonal(belief.rates())
    generator = torch.where(is_hardly_left, network_generator, fit.generator)
    return JumpResult(
        generator=generator,
        initial=initial,
        emission=LabelNoise.uniform(n_states, error_rate),
        history=history_of(fits, likelihood_before),
        fit=fit,
        posterior=_draw_posterior(problem, fit, belief, generator, seed),
    )


def groups_of(paths: Paths) -> list[np.ndarray]:
    """Numbers of the paths that the network reads at once.

    Groups of at most half of the paths with two labels, spread evenly.
    """
    if len(paths) < 2:
        return []
    order = _content_order(paths)
    # One label alone shows no jump, nor that there was none.
    path = FlatLabels.of(paths).path
    n_labels = np.bincount(path, minlength=len(paths))
    usable = order[n_labels[order] > 1]
    size = min(len(usable) // 2, MOST_PATHS)
    if size == 0:
        return []
    stride = len(usable) // size
    groups = []
    for first in range(min(stride, MOST_GROUPS)):
        group = usable[first::stride]
        groups.append(group[:size])
    return groups


def _content_order(paths: Paths) -> np.ndarray:
    """Order ``(path,)`` of the paths by what they hold.

    Groups must depend neither on the order in which the paths come, nor on names of paths or
    numbers of states: a state counts as how common it is.
    """
    flat = FlatLabels.of(paths)
    commonness = flat.counts.argsort().argsort()
    n_labels = np.bincount(flat.path, minlength=len(paths))
    ends = n_labels.cumsum()[:-1]
    labels = np.split(commonness[flat.labels], ends)
    times = np.split(flat.times, ends)

    def content(number: int) -> tuple[list[int], list[float]]:
        return labels[number].tolist(), times[number].tolist()

    return np.array(sorted(range(len(paths)), key=content))


def pooled_posterior(
    paths: Paths,
    labels: LabelLikelihood,
    belief: NetworkBelief,
    statistics: JumpStatistics,
    width: float,
) -> PooledPosterior:
    """Let the network read groups of paths, and take its beliefs of them for priors."""
    n_states = labels.scheme.n_states
    groups = []
    for numbers in groups_of(paths):
        groups.append(JumpStatistics.of(paths[numbers], n_states))
    with warnings.catch_warnings():
        # Data unlike those of the training are warned of once, of all paths.
        warnings.simplefilter("ignore", UserWarning)
        estimates = [infer(group) for group in groups]
    beliefs = [replace(belief, estimate=estimate) for estimate in estimates]
    priors = [of_group.soft_prior(width) for of_group in beliefs]
    steps = sum(float(group.steps) for group in groups)
    mean_steps = steps / len(groups)
    share = mean_steps / float(statistics.steps)
    return PooledPosterior(tuple(priors), labels, weight=1 - share)


def most_probable(
    problem: RefinementProblem, starts: Tensor, max_steps: int
) -> tuple[JumpFit, list[float], int]:
    """Maximise from starts ``(k, p + r)``.

    Returns
    -------
    fits : JumpFit
        One for every start that was followed.
    likelihood_before : list of float
        Log-likelihoods of these starts.
    best : int
        Number of the most probable of the fits.
    """
    n_followed = problem.posterior.labels.n_followed
    with torch.no_grad():
        order = problem.log_posterior(starts).argsort(descending=True)
        starts = starts[order[:n_followed]]
        likelihood_before = problem.log_likelihood(starts).tolist()
    best = maximise(problem.log_posterior, starts, max_iter=max_steps)
    fits = JumpFit.of(problem, best, starts.shape[:1])
    return fits, likelihood_before, int(best.value.argmax())


def proposal_of(fit: JumpFit, belief: NormalMixtures, doubtful: Tensor) -> Mixture:
    """What posterior draws are taken from: the normal approximation, the network, and both.

    A jump that may be absent has a posterior with two humps, of which the maximum knows one: a
    third part takes those from the network and all others from the normal approximation.

    Parameters
    ----------
    fit : JumpFit
        The maximum.
    belief : NormalMixtures
        The network's, of all ``p`` numbers.
    doubtful : Tensor, ``(E,)`` bool
        Jumps that may be absent.
    """
    n_own = len(belief.mean)
    mean = fit.theta[:n_own]
    information = fit.information[:n_own, :n_own]
    covariance, _ = floored_inverse(information, _LEAST_CURVATURE)
    near = StudentT(mean, torch.linalg.cholesky(covariance))
    # The label noise, the last number where there is any, is never in doubt.
    n_others = n_own - len(doubtful)
    mask = torch.nn.functional.pad(doubtful, (0, n_others))
    if not bool(mask.any()) or bool(mask.all()):
        return Mixture((near, belief), _TWO_SHARES)
    others = ~mask
    rest_covariance = covariance[others][:, others]
    root = torch.linalg.cholesky(rest_covariance)
    rest = StudentT(mean[others], root)
    both = Product(mask, belief.part(mask), rest)
    return Mixture((both, near, belief), _THREE_SHARES)


def _draw_posterior(
    problem: RefinementProblem,
    fit: JumpFit,
    belief: NetworkBelief,
    generator: Tensor,
    seed: int,
) -> GeneratorPosterior:
    """Weighted draws, or the curvature at the maximum where too few of them are effective."""
    posterior = problem.posterior
    scheme = problem.scheme
    distribution = belief.distribution()
    doubtful = belief.doubtful()
    proposal = proposal_of(fit, distribution, doubtful)
    _, initial = problem.split(fit.theta)
    cost = posterior.labels.cost
    affordable = _MULTIPLICATIONS / cost
    n_draws = int(np.clip(affordable, _LEAST_DRAWS, _MOST_DRAWS))
    n_affordable = _AT_ONCE / cost
    at_once = int(np.clip(n_affordable, 1, 64))

    def target(theta: Tensor) -> Tensor:
        return posterior.log_prob(theta, initial)

    ess = None
    # Whoever interrupts the draws has the maximum, and its curvature stands for them.
    with ends_on_interrupt():
        draws, weight = weighted_draws(target, proposal, n_draws, seed, at_once)
        ess = effective_size(weight)
    detectable = 1 / belief.dwell_time
    if ess is None or ess < LEAST_ESS:
        return NormalPosterior(generator, fit, detectable=detectable, ess=ess)
    generators = scheme.generator(draws[:, : scheme.n_edges])
    equally_likely = generators[resampled(weight, N_DRAWS, seed)]
    return DrawnPosterior(
        generator, equally_likely, detectable, kind="importance sampling", ess=ess
    )
