"""Exact likelihood under what a network believes: maximum, and posterior draws by importance weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.zero_shot import JumpEstimate, infer
from dyninfer.jumps.likelihood.forward import label_log_likelihood
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.panel import panel_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.jumps.posterior.fitting import JumpFit, finished
from dyninfer.jumps.posterior.importance import (
    Blend,
    Product,
    StudentLaw,
    effective_size,
    resampled,
    weighted_draws,
)
from dyninfer.jumps.posterior.learned import (
    N_DRAWS,
    Learned,
    hardly_left,
    starts_table,
    time_in_states,
)
from dyninfer.jumps.posterior.optimise import floored_inverse, maximise
from dyninfer.jumps.posterior.soft_prior import ABSENT, MixtureLaw, belief_law, soft_prior
from dyninfer.jumps.posterior.starts import crude_starts
from dyninfer.jumps.posterior.storing import best_of
from dyninfer.jumps.process import with_diagonal

LEAST_ESS = 10.0
MOST_PATHS, MOST_GROUPS = 15, 5  # that the network reads at once for a prior, and how often
_LEAST_DRAWS, _MOST_DRAWS, _MULTIPLICATIONS = 64, 1024, 1e9  # a few seconds
_AT_ONCE = 2e8  # multiplications of the draws that are weighed together, for the sake of memory
_EXPM = 10  # products of matrices that an exponential costs
_LEAST_CURVATURE = 0.25  # of what is drawn from: no standard deviation above 2
_START_WEIGHT = 0.5  # of a first observation of every state, in the prior of the first law

Likelihood = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, eq=False)
class PooledPosterior:
    r"""Log-density of log-rates, and after them of the logit of the label noise where labels may be wrong.

    .. math:: \log p(\theta) = \frac1J \sum_j \log b_j(\theta) + w \log L(\theta)

    The network's belief :math:`b_j` from a group of paths is a prior for the likelihood of all others, so that nothing is counted
    twice; this is the mean of the logarithms of the :math:`J` posteriors that as many groups give, each as good as another,
    and :math:`w` the mean share of what a group leaves to the likelihood.

    Attributes
    ----------
    priors : tuple of MixtureLaw
        Of all numbers, one for every group.
    likelihood : callable
        Of parameters ``(..., p)`` and the law of the first state ``(..., S)``, of all paths.
    weight : float
        Mean share of the observations that a group leaves to the likelihood.
    """

    priors: tuple[MixtureLaw, ...]
    likelihood: Likelihood
    weight: float

    @property
    def n_parameters(self) -> int:
        """Number of parameters p."""
        return len(self.priors[0].mean)

    def __call__(self, theta: Tensor, initial: Tensor | None = None) -> Tensor:
        """Log-density ``(...)``, up to a constant."""
        prior = torch.stack([prior.log_density(theta) for prior in self.priors]).mean(0)
        return prior + self.weight * self.likelihood(theta, initial)


def by_refinement(
    seen: Paths, n_states: int, exact: bool, width: float, max_steps: int, seed: int
) -> Learned:
    """Maximise the exact likelihood under the network's belief, and draw from their product.

    Of a state that was hardly ever left the likelihood says little, and the maximum of what is left is far from any mean:
    the rates out of it stay the network's estimate of least squared error.

    Parameters
    ----------
    seen : Paths
        Labels, with states numbered below ``n_states``; `groups_of` must find some.
    n_states : int
        Number of states S.
    exact : bool
        Whether no label is ever wrong.
    width : float
        Standard deviation of the wide part of the prior of every log-rate.
    max_steps : int
        Most steps of the maximisation.
    seed : int
        Fixes the draws.
    """
    scheme = RateScheme.free(n_states)
    statistics = JumpStatistics.of(seen, n_states)
    spent, n_labels = time_in_states(statistics), int(sum((x >= 0).sum() for x in seen.states))
    groups = [JumpStatistics.of(seen[group], n_states) for group in groups_of(seen)]
    whole = infer(statistics)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said once, of all paths
        parts = [infer(part) for part in groups]
    likelihood, cost = likelihood_of(seen, scheme, exact)
    posterior = PooledPosterior(
        tuple(soft_prior(part, spent, n_labels, not exact, width) for part in parts),
        likelihood,
        1 - float(sum(part.steps for part in groups) / statistics.steps) / len(groups),
    )
    fits, before, best = maximum(
        posterior, starts_of(whole, seen, scheme, spent, exact), scheme, max_steps, statistics.steps
    )
    one, _ = best_of(fits, best)
    p = posterior.n_parameters
    initial = counted_first(seen, n_states) if exact else first_law(one.theta[p:])
    proposal = proposal_of(one, belief_law(whole, spent, n_labels, not exact), doubtful(whole))
    n_draws = int(min(max(_MULTIPLICATIONS / cost, _LEAST_DRAWS), _MOST_DRAWS))
    at_once = int(min(max(_AT_ONCE / cost, 1), 64))
    draws, weight = weighted_draws(
        lambda theta: posterior(theta, initial), proposal, n_draws, seed, at_once
    )
    generators, ess = scheme.generator(draws[:, : len(scheme.edges)]), effective_size(weight)
    noise = 0.0 if exact else float(torch.sigmoid(one.theta[p - 1]))
    enough = ess >= LEAST_ESS
    kept = torch.maximum(whole.rates, ABSENT / spent[:, None])
    kept = torch.where(
        hardly_left(seen, n_states, noise)[:, None], with_diagonal(kept), one.generator
    )
    return Learned(
        generator=kept,
        initial=initial,
        emission=LabelNoise.uniform(n_states, noise),
        history=starts_table(fits, before),
        fit=one,
        draws=generators[resampled(weight, N_DRAWS, seed)] if enough else None,
        least=1 / spent,
        ess=ess,
    )


def groups_of(paths: Paths) -> list[np.ndarray]:
    """Numbers of the paths that the network reads at once: groups of at most half of those with two labels, spread evenly."""
    order = np.argsort(
        paths.names.astype(str), kind="stable"
    )  # whatever the order that the paths come in
    long = order[[(paths.states[k] >= 0).sum() > 1 for k in order]]
    m = min(len(long) // 2, MOST_PATHS)
    return (
        [long[k :: len(long) // m][:m] for k in range(min(len(long) // m, MOST_GROUPS))]
        if m
        else []
    )


def maximum(
    posterior: PooledPosterior,
    starts: Tensor,
    scheme: RateScheme,
    max_steps: int,
    n_observed: Tensor,
) -> tuple[JumpFit, list[float], int]:
    """Fits ``(k,)`` from starts ``(k, p + r)``, the log-likelihoods of these, and which of the fits is the most probable.

    What comes after the posterior's own parameters are the logits of the law of the first state. With them, which take
    longer, only the most promising start is followed.
    """
    p, exact = posterior.n_parameters, starts.shape[-1] == posterior.n_parameters

    def objective(theta: Tensor) -> Tensor:
        if exact:
            return posterior(theta)
        law = first_law(theta[..., p:])
        return posterior(theta[..., :p], law) + _START_WEIGHT * law.log().sum(-1)

    def likelihood(theta: Tensor) -> Tensor:
        return posterior.likelihood(theta[..., :p], None if exact else first_law(theta[..., p:]))

    with torch.no_grad():
        followed = starts if exact else starts[objective(starts).argmax()][None]
        before = likelihood(followed).tolist()
    best = maximise(objective, followed, max_iter=max_steps)
    fit = finished(best, scheme, followed.shape[:1], likelihood, n_observed)
    return fit, before, int(best.value.argmax())


def likelihood_of(paths: Paths, scheme: RateScheme, exact: bool) -> tuple[Likelihood, float]:
    """Exact log-likelihood of log-rates, logit of the label noise and first law, and its cost in multiplications.

    Where labels are exact it is that given the first of every path.
    """
    n = scheme.n_states
    if exact:
        counts = panel_counts(paths, n)
        return lambda theta, initial: counts.log_likelihood(scheme.generator(theta)), _EXPM * len(
            counts.gaps
        ) * n**3
    data = HiddenPaths.of(paths)

    def value(theta: Tensor, initial: Tensor | None) -> Tensor:
        noise = LabelNoise.uniform(n, torch.sigmoid(theta[..., -1]))
        assert initial is not None
        if not theta.requires_grad:
            return label_log_likelihood(
                data, scheme.generator(theta[..., :-1]), noise.confusion, initial
            )
        return data.log_likelihood(scheme.generator(theta[..., :-1]), noise, initial).sum(-1)

    return value, data.mask.numel() * n**2 + _EXPM * len(data.gaps) * n**3


def starts_of(
    estimate: JumpEstimate, seen: Paths, scheme: RateScheme, spent: Tensor, exact: bool
) -> Tensor:
    """Parameters ``(k, p)`` to start from: the network's estimate, then crude ones."""
    crude, counts = crude_starts(seen, scheme.n_states, scheme)
    rates = torch.maximum(estimate.rates, ABSENT / spent[:, None])
    theta = scheme.parameters_of(torch.cat([rates[None], crude[:1] if exact else crude]))
    if exact:
        return theta
    noise = torch.logit(estimate.noise.clamp(1e-4, 0.5)).expand(len(theta), 1)
    law = estimate.initial.log()
    return torch.cat([theta, noise, (law - law[:1])[1:].expand(len(theta), -1)], dim=1)


def first_law(logits: Tensor) -> Tensor:
    """Law ``(..., S)`` of logits ``(..., S − 1)``, that of the first state being 0."""
    return torch.nn.functional.pad(logits, (1, 0)).softmax(-1)


def counted_first(paths: Paths, n_states: int) -> Tensor:
    """Law ``(S,)`` of the first label of a path, each counted half a time more."""
    first = [int(x[x >= 0][0]) for x in paths.states if (x >= 0).any()]
    counts = torch.from_numpy(np.bincount(first, minlength=n_states)) + _START_WEIGHT
    return counts / counts.sum()


def doubtful(estimate: JumpEstimate, margin: float = 0.02) -> Tensor:
    """Jumps ``(E,)`` bool, row by row, of which the network does not know whether they happen at all."""
    link = estimate.link_probability
    off = ~torch.eye(len(link), dtype=torch.bool, device=link.device)
    return ((link > margin) & (link < 1 - margin))[off]


def proposal_of(fit: JumpFit, belief: MixtureLaw, doubt: Tensor) -> Blend:
    """What posterior draws are taken from: the normal approximation at the maximum, the network, and both.

    A jump that may be absent has a posterior with two humps, of which the maximum knows one: the third law takes those from
    the network and all others from the normal approximation.
    """
    p = len(belief.mean)
    covariance, _ = floored_inverse(fit.information[None, :p, :p], _LEAST_CURVATURE)
    covariance, mean = covariance[0], fit.theta[:p]
    near = StudentLaw(mean, torch.linalg.cholesky(covariance))
    chosen = torch.cat([doubt, doubt.new_zeros(p - len(doubt))])
    if not bool(chosen.any()) or bool(chosen.all()):
        return Blend((near, belief), (0.85, 0.15))
    known = ~chosen
    rest = StudentLaw(mean[known], torch.linalg.cholesky(covariance[known][:, known]))
    both = Product(chosen, belief.part(chosen), rest)
    return Blend((both, near, belief), (0.55, 0.3, 0.15))
