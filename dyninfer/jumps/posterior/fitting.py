"""Maximum-likelihood and maximum a posteriori fits of generators, many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.likelihood.complete import JumpRecord
from dyninfer.jumps.likelihood.pairs import PanelPairs
from dyninfer.jumps.likelihood.panel import PanelCounts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.ascent import Ascendable, ascend, information
from dyninfer.jumps.posterior.curvature import Curvature
from dyninfer.jumps.posterior.optimise import (
    Maximum,
    check_possible,
    check_start,
    floored_inverse,
    highest,
    maximise,
)
from dyninfer.jumps.posterior.panel_objective import PanelObjective
from dyninfer.jumps.posterior.starts import LogRatePrior, exact_starts
from dyninfer.jumps.process import MarkovJump

LogDensity = Callable[[Tensor], Tensor]

_FLAT = 1e-2  # curvature of a standard deviation of 10 in a log-rate: nothing was learned
# Transition probabilities computed at once for the curvature: what stays in a cache.
_AT_ONCE = 2**15


class Problem(Protocol):
    """What is maximised over parameters ``(..., p + r)``: those of the rates come first."""

    @property
    def scheme(self) -> RateScheme:
        """Which rates there are, and how they follow from the parameters."""

    @property
    def n_observed(self) -> Tensor:
        """Number of observations ``(...)``."""

    def log_likelihood(self, theta: Tensor) -> Tensor:
        """Log-likelihood ``(...)``."""

    def log_posterior(self, theta: Tensor) -> Tensor:
        """Log-likelihood with the prior ``(...)``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class JumpFit:
    """Fitted generators with what is known of their uncertainty.

    Attributes
    ----------
    scheme : RateScheme
        Which jumps were allowed, and how their rates follow from the parameters.
    theta : Tensor, ``(..., p + r)``
        Parameters of the rates, and after them the ``r`` of the observation model where one was
        fitted.
    log_likelihood : Tensor, ``(...)``
        At ``theta``, without the prior.
    curvature : Curvature
        Minus the second derivatives of the log-posterior, where they are asked for.
    n_observed : Tensor, ``(...)``
        Observations, as counted by ``bic``.
    converged : Tensor, ``(...)`` bool
        Whether no step would gain more than 1e-4 in log-likelihood outside of flat directions.
    iterations : int
        Steps of BFGS.
    """

    scheme: RateScheme
    theta: Tensor
    log_likelihood: Tensor
    curvature: Curvature
    n_observed: Tensor
    converged: Tensor
    iterations: int

    @classmethod
    def of(cls, problem: Problem, best: Maximum, batch: torch.Size) -> JumpFit:
        """The maximum of a problem, in the shape of its batch."""
        theta = best.theta.reshape(*batch, -1)
        with torch.no_grad():
            log_likelihood = problem.log_likelihood(theta)
        n_parameters = theta.shape[-1]
        information = best.information.reshape(*batch, n_parameters, n_parameters)
        return cls(
            scheme=problem.scheme,
            theta=theta,
            log_likelihood=log_likelihood,
            curvature=Curvature(information),
            n_observed=problem.n_observed,
            converged=best.converged.reshape(batch),
            iterations=best.iterations,
        )

    def member(self, k: int) -> Self:
        """Fit number ``k`` of a batch ``(K,)`` of the same data."""
        return replace(
            self,
            theta=self.theta[k],
            log_likelihood=self.log_likelihood[k],
            curvature=self.curvature.member(k),
            converged=self.converged[k],
        )

    @property
    def information(self) -> Tensor:
        """Minus the second derivatives of the log-posterior ``(..., p + r, p + r)``."""
        return self.curvature.information

    @property
    def generator(self) -> Tensor:
        """Generators ``(..., S, S)``."""
        return self.scheme.generator(self._rate_parameters)

    def process(self, **keywords: Any) -> MarkovJump:
        """Process with the fitted generator; keywords are those of `MarkovJump`."""
        return MarkovJump(self.generator, **keywords)

    @property
    def covariance(self) -> Tensor:
        """Covariance of ``theta`` ``(..., p + r, p + r)``.

        Along a flat direction the variance is held at 100.
        """
        inverse, _ = floored_inverse(self.information, _FLAT)
        return inverse

    @property
    def n_flat(self) -> Tensor:
        """Number of directions ``(...)`` of which the data say nothing.

        Their standard deviation is above 10.
        """
        curvature = torch.linalg.eigvalsh(self.information)
        return (curvature < _FLAT).sum(-1)

    def flat_edges(self, share: float = 0.1) -> Tensor:
        """Jumps ``(..., S, S)`` bool whose log-rate lies along a flat direction.

        At least this ``share`` of its unit vector must.
        """
        values, vectors = torch.linalg.eigh(self.information)
        of_rates = vectors[..., : self.scheme.n_parameters, :]
        of_edges = self.scheme.design.to(vectors) @ of_rates
        weight = _flat_share(values, of_edges)
        return self.scheme.matrix(weight) > share

    def flat_parameters(self, share: float = 0.1) -> Tensor:
        """Parameters ``(..., p + r)`` bool that lie along a flat direction; see `flat_edges`."""
        values, vectors = torch.linalg.eigh(self.information)
        return _flat_share(values, vectors) > share

    def interval(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        """Bounds of the rates ``(..., S, S)``, normal in the log-rates; 0 on the diagonal."""
        scheme = self.scheme
        design = scheme.design.to(self.theta)
        n_rates = scheme.n_parameters
        # A part of the whole inverse, so that other unknowns widen the interval.
        covariance = self.covariance[..., :n_rates, :n_rates]
        variance = ((design @ covariance) * design).sum(-1)
        share = 0.5 + level / 2
        upper_tail = torch.tensor(share, dtype=torch.float64)
        quantile = torch.special.ndtri(upper_tail)
        std = variance.sqrt()
        half_width = quantile * std
        log_rates = scheme.log_rates(self._rate_parameters)
        low = (log_rates - half_width).exp()
        high = (log_rates + half_width).exp()
        return scheme.matrix(low), scheme.matrix(high)

    @property
    def aic(self) -> Tensor:
        """``2 k − 2 log L`` ``(...)``."""
        n_parameters = self.theta.shape[-1]
        return 2 * n_parameters - 2 * self.log_likelihood

    @property
    def bic(self) -> Tensor:
        """``k log n − 2 log L`` ``(...)``."""
        n_parameters = self.theta.shape[-1]
        penalty = n_parameters * self.n_observed.log()
        return penalty - 2 * self.log_likelihood

    @property
    def _rate_parameters(self) -> Tensor:
        return self.theta[..., : self.scheme.n_parameters]


@dataclass(frozen=True, eq=False, kw_only=True)
class CovariateFit(JumpFit):
    """Fitted rates where all covariates are 0, and the effects of these.

    ``theta`` holds the log-rates, the effects per unit of each covariate, and the unknowns of the
    observation. The curvature is that in standardised coordinates: rates at the mean covariates,
    effects of a standard deviation. So no unit makes a direction flat.

    Attributes
    ----------
    to_user : Tensor, ``(p + r, p + r)``
        Matrix from standardised coordinates to ``theta``.
    """

    to_user: Tensor

    @property
    def covariance(self) -> Tensor:
        """Covariance of ``theta`` ``(p + r, p + r)``; see :class:`JumpFit`."""
        return self.to_user @ super().covariance @ self.to_user.T


def _flat_share(values: Tensor, vectors: Tensor) -> Tensor:
    """How much of each row ``(..., p)`` of eigenvectors lies along flat directions."""
    is_flat = (values < _FLAT).unsqueeze(-2)
    return (vectors.square() * is_flat).sum(-1)


def ascended(
    objective: Ascendable,
    scheme: RateScheme,
    starts: Tensor,
    batch: torch.Size,
    n_observed: Tensor,
    max_iter: int,
) -> JumpFit:
    """Fits of an objective from starts ``(B, p + r)`` of a batch, one after the other."""
    check_start(starts)
    places = [objective.at(start) for start in starts.numpy()]
    values = [place.value for place in places]
    check_possible(torch.tensor(values))
    summits = [ascend(objective, place, max_iter) for place in places]
    parameters = np.stack([summit.place.theta for summit in summits])
    theta = torch.from_numpy(parameters).reshape(*batch, -1)
    log_likelihoods = [summit.place.log_likelihood for summit in summits]
    log_likelihood = torch.tensor(log_likelihoods, dtype=torch.float64)
    converged = torch.tensor([summit.converged for summit in summits])
    return JumpFit(
        scheme=scheme,
        theta=theta,
        log_likelihood=log_likelihood.reshape(batch),
        curvature=Curvature.later(partial(information, objective), theta),
        n_observed=n_observed,
        converged=converged.reshape(batch),
        iterations=max(summit.iterations for summit in summits),
    )


@dataclass(frozen=True, eq=False)
class PanelProblem:
    """Panels, and the generators that are to explain them.

    Parameters
    ----------
    counts : PanelCounts or JumpRecord
        One panel, or a batch of them; or paths of which every jump is observed.
    scheme : RateScheme
        Which jumps are allowed and how their rates hang together.
    prior : callable, ``(..., E) -> (...)``, optional
        Log-density of the log-rates of the allowed jumps.
    """

    counts: PanelCounts | JumpRecord
    scheme: RateScheme
    prior: LogDensity | None = None

    @property
    def n_observed(self) -> Tensor:
        """Number of pairs of neighbouring observations ``(...)``."""
        return self.counts.n_observed

    def log_likelihood(self, theta: Tensor) -> Tensor:
        """Log-likelihood ``(...)`` of parameters ``(..., p)``."""
        return self.counts.log_likelihood(self.scheme.generator(theta))

    def log_posterior(self, theta: Tensor) -> Tensor:
        """Log-likelihood with the prior ``(...)``."""
        total = self.log_likelihood(theta)
        if self.prior is None:
            return total
        log_rates = self.scheme.log_rates(theta)
        log_prior = self.prior(log_rates)
        return total + log_prior


def fit_panel(
    counts: PanelCounts | PanelPairs,
    scheme: RateScheme | None = None,
    start: Tensor | None = None,
    prior: LogDensity | None = None,
    max_iter: int = 300,
) -> JumpFit:
    """Fit generators to panels by maximum likelihood, or with a prior to the posterior's maximum.

    On the device where the counts are, in double precision: ``counts.to("cuda")`` for a GPU.

    Parameters
    ----------
    counts : PanelCounts or PanelPairs
        One panel, or a batch of them, each with a fit of its own. Pairs, for waiting times that
        are nearly all different, take a prior of :class:`LogRatePrior` or none.
    scheme : RateScheme, optional
        Which jumps are allowed and how their rates hang together; by default all, each with its own
        rate.
    start : Tensor, ``(..., S, S)``, optional
        Generators to start from. By default, transitions over time; where gaps are long, four times
        as much as well, and the better of both fits.
    prior : callable, ``(..., E) -> (...)``, optional
        Log-density of the log-rates of the allowed jumps.
    max_iter : int
        Most steps of BFGS.

    Raises
    ------
    ValueError
        If the data are impossible at the start.

    Examples
    --------
    >>> from dyninfer.jumps import fit_panel, panel_counts
    >>> from dyninfer.data.paths import Paths
    >>> times = [[0, 1, 2, 3, 4]] * 3
    >>> states = [[0, 0, 1, 0, 0], [0, 1, 1, 0, 1], [1, 0, 0, 0, 1]]
    >>> fit_panel(panel_counts(Paths(times=times, states=states))).generator.shape
    torch.Size([2, 2])
    """
    if scheme is None:
        scheme = RateScheme.free(counts.n_states)
    if start is None:
        allowed = scheme.allowed
        if isinstance(counts, PanelCounts):
            allowed = allowed.to(counts.gaps.device)
        starts = exact_starts(counts, allowed)
    else:
        starts = start.unsqueeze(0)
    if isinstance(counts, PanelPairs):
        return _fit_pairs(counts, scheme, starts, prior, max_iter)
    # The search runs where the counts are.
    device = counts.gaps.device
    scheme = scheme.to(device)
    starts = starts.to(device)
    problem = PanelProblem(counts, scheme, prior)
    of_counts = counts.gaps.shape[:-1]
    of_starts = starts.shape[1:-2]
    # By numpy, as torch's function first imports symbolic algebra.
    batch = torch.Size(np.broadcast_shapes(of_counts, of_starts))
    n_gaps = counts.gaps.shape[-1]
    # Two gradients, one on either side, for every column of the curvature.
    n_matrices = batch.numel() * n_gaps
    n_probabilities = n_matrices * counts.n_states**2
    columns = max(1, _AT_ONCE // (2 * n_probabilities))
    maxima = []
    for start in starts:
        theta = scheme.parameters_of(start.to(torch.float64))
        theta = theta.expand(*batch, -1)
        theta = theta.reshape(batch.numel(), -1)
        maxima.append(maximise(problem.log_posterior, theta, max_iter=max_iter, columns=columns))
    return JumpFit.of(problem, highest(maxima), batch)


def _fit_pairs(
    pairs: PanelPairs, scheme: RateScheme, starts: Tensor, prior: LogDensity | None, max_iter: int
) -> JumpFit:
    if not isinstance(prior, LogRatePrior | None):
        raise TypeError(
            f"prior must be a LogRatePrior, or None, where counts are PanelPairs; found "
            f"{type(prior).__name__}"
        )
    objective = PanelObjective(pairs, scheme, prior)
    theta = scheme.parameters_of(starts.to(torch.float64))
    batch = theta.shape[:-1]
    theta = theta.reshape(batch.numel(), -1)
    fits = ascended(objective, scheme, theta, batch, pairs.n_observed, max_iter)
    if len(starts) == 1:
        return fits.member(0)
    # With the prior, which may prefer another maximum than the likelihood does.
    values = fits.log_likelihood
    if prior is not None:
        values = values + prior(scheme.log_rates(fits.theta))
    return fits.member(int(values.argmax()))
