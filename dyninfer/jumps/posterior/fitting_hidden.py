"""Fits of generators whose states are hidden, with the noise of their observation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from dyninfer.jumps.likelihood.clones import ClonePaths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.fitting import JumpFit, LogDensity, ascended
from dyninfer.jumps.posterior.hidden_objective import HiddenObjective
from dyninfer.jumps.posterior.optimise import maximise


@dataclass(frozen=True, eq=False, kw_only=True)
class HiddenFit(JumpFit):
    """Fitted generator, observation model and initial distribution.

    Attributes
    ----------
    emission : Emission
        Fitted, or as given.
    initial : Tensor, ``(..., S)``
        Distribution of the state at the first time, fitted or as given.
    """

    emission: Emission
    initial: Tensor

    def member(self, k: int) -> Self:
        """Fit number ``k`` of a batch ``(K,)`` of the same data."""
        emission = self.emission.member(k)
        initial = self.initial
        if initial.ndim > 1:
            initial = initial[k]
        return replace(super().member(k), emission=emission, initial=initial)


@dataclass(frozen=True, eq=False)
class HiddenProblem:
    """Paths of hidden states, and the models that are to explain them.

    Parameters are those of the rates, of the observation model, and of the initial distribution.

    Parameters
    ----------
    data : HiddenPaths or ClonePaths
        Prepared paths.
    emission : Emission
        Observation model to start from, or to keep.
    scheme : RateScheme
        Which jumps are allowed and how their rates hang together.
    initial : Tensor, ``(S,)``, optional
        Distribution of the first state; by default it is fitted too.
    fit_emission : bool
        Whether the observation model is fitted.
    prior : callable, ``(..., E) -> (...)``, optional
        Log-density of the log-rates of the allowed jumps.
    """

    data: HiddenPaths | ClonePaths
    emission: Emission
    scheme: RateScheme
    initial: Tensor | None = None
    fit_emission: bool = True
    prior: LogDensity | None = None

    def where_data_are(self) -> HiddenProblem:
        """The problem with all of its parts on the device of the data."""
        device = self.data.device
        initial = self.initial
        if initial is not None:
            initial = initial.to(device)
        return replace(
            self,
            emission=self.emission.map(lambda tensor: tensor.to(device)),
            scheme=self.scheme.to(device),
            initial=initial,
        )

    @property
    def n_observed(self) -> Tensor:
        """Number of observed values."""
        return self.data.n_observed

    def start(self, generator: Tensor) -> Tensor:
        """Parameters ``(..., p + r)`` of generators ``(..., S, S)``.

        All first states are equally likely.
        """
        rates = self.scheme.parameters_of(generator.to(torch.float64))
        others = rates.new_zeros(self._n_logits)
        if self.fit_emission:
            emission = self.emission.parameters().to(rates)
            others = torch.cat([emission, others])
        batch = rates.shape[:-1]
        others = others.expand(*batch, -1)
        return torch.cat([rates, others], dim=-1)

    def model(self, theta: Tensor) -> tuple[Tensor, Emission, Tensor]:
        """Generator, observation model and initial distribution of parameters ``(..., p + r)``."""
        n_rates = self.scheme.n_parameters
        before_logits = theta.shape[-1] - self._n_logits
        ends = n_rates, before_logits
        rates, of_emission, logits = theta.tensor_split(ends, dim=-1)
        generator = self.scheme.generator(rates)
        emission = self.emission
        if self.fit_emission:
            emission = emission.with_parameters(of_emission)
        initial = self.initial
        if initial is None:
            initial = distribution_of(logits)
        return generator, emission, initial

    @property
    def _n_logits(self) -> int:
        """Parameters of the initial distribution."""
        if self.initial is not None:
            return 0
        # The logit of the first state is 0.
        return self.scheme.n_states - 1

    def log_likelihood(self, theta: Tensor) -> Tensor:
        """Log-likelihood ``(...)``."""
        of_paths = self.data.log_likelihood(*self.model(theta))
        return of_paths.sum(-1)

    def log_posterior(self, theta: Tensor) -> Tensor:
        """Log-likelihood with the priors of the rates and of the observation model ``(...)``."""
        generator, emission, initial = self.model(theta)
        of_paths = self.data.log_likelihood(generator, emission, initial)
        total = of_paths.sum(-1)
        # An emission that is not fitted has a prior too, but it would only shift the objective.
        if self.fit_emission:
            total = total + emission.log_prior()
        if self.prior is None:
            return total
        rates = theta[..., : self.scheme.n_parameters]
        log_rates = self.scheme.log_rates(rates)
        return total + self.prior(log_rates)


def fit_hidden(problem: HiddenProblem, start: Tensor, max_iter: int = 300) -> HiddenFit:
    """Fit a generator to paths seen through an observation model, from one or several starts.

    On the device where the paths are, in double precision; of ``problem.data`` on a GPU the result
    is there too.

    Parameters
    ----------
    problem : HiddenProblem
        The paths, and the models among which to search. A :class:`LabelNoise` has one rate that is
        fitted; a :class:`ConfusionMatrix` a probability for every pair, and its own weak prior.
    start : Tensor, ``(..., S, S)``
        Generators to start from; every allowed jump needs a positive rate.
    max_iter : int
        Most steps of BFGS.
    """
    problem = problem.where_data_are()
    theta = problem.start(start.to(problem.data.device))
    batch = theta.shape[:-1]
    theta = theta.reshape(batch.numel(), -1)
    if HiddenObjective.can_read(problem):
        objective = HiddenObjective(problem)
        n_observed = problem.n_observed
        fit = ascended(objective, problem.scheme, theta, batch, n_observed, max_iter)
    else:
        best = maximise(problem.log_posterior, theta, max_iter=max_iter)
        fit = JumpFit.of(problem, best, batch)
    # Of the same parameters as the fit: a bounded spread, say, is bounded here too.
    _, fitted_emission, fitted_initial = problem.model(fit.theta)
    return HiddenFit(**vars(fit), emission=fitted_emission, initial=fitted_initial)


def distribution_of(logits: Tensor) -> Tensor:
    """Distribution ``(..., S)`` of logits ``(..., S − 1)``; that of the first state is 0."""
    # One logit is fixed: only their differences count.
    every_logit = torch.nn.functional.pad(logits, (1, 0))
    return every_logit.softmax(-1)
