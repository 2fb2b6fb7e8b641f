"""Likelihoods of labels as a refinement needs them: exact ones, and ones that may be wrong.

Both have the same methods, so that a refinement never asks which it has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.zero_shot import JumpEstimate
from dyninfer.jumps.likelihood.forward import label_log_likelihood
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.panel import PanelCounts, panel_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.fitting_hidden import distribution_of
from dyninfer.jumps.posterior.starts import LEAST_JUMPS, crude_starts

_EXPM = 10  # products of matrices that an exponential costs
_START_WEIGHT = 0.5  # of a first observation of every state, in the prior of the first state
_NOISE_RANGE = (1e-4, 0.5)  # of starts: no logit at infinity, and labels that are right more often


class LabelLikelihood(ABC):
    """Exact likelihood of labels, by log-rates and the other unknowns.

    Parameters ``(..., p)`` are log-rates, after them the logit of the label noise where there is
    any; a fit appends the logits of the initial distribution where that is unknown.

    Attributes
    ----------
    scheme : RateScheme
        All jumps, each with its own rate.
    cost : float
        Multiplications of one likelihood.
    noisy : bool
        Whether labels may be wrong.
    """

    noisy: ClassVar[bool]
    n_followed: ClassVar[int]  # starts from which the maximum is searched, of the best ones
    scheme: RateScheme

    @property
    def n_parameters(self) -> int:
        """Number of parameters p."""
        return self.scheme.n_parameters + int(self.noisy)

    @property
    @abstractmethod
    def cost(self) -> float:
        """Multiplications of one likelihood."""

    @abstractmethod
    def log_likelihood(self, theta: Tensor, initial: Tensor) -> Tensor:
        """Log-likelihood ``(...)`` of parameters ``(..., p)``."""

    @abstractmethod
    def initial(self, logits: Tensor) -> Tensor:
        """Distribution of the first state ``(..., S)``, of what a fit appends."""

    @abstractmethod
    def log_prior(self, initial: Tensor) -> Tensor:
        """Log-density ``(...)`` of the distribution of the first state, up to a constant."""

    @abstractmethod
    def error_rate(self, theta: Tensor) -> float:
        """Chance of a wrong label of parameters ``(p,)``."""

    @abstractmethod
    def starts(self, estimate: JumpEstimate, rates: Tensor) -> Tensor:
        """Parameters ``(k, p + appended)`` to start from: those of the network, then crude ones.

        ``rates`` ``(S, S)`` are the network's, none of them 0.
        """


@dataclass(frozen=True, eq=False)
class ExactLabelLikelihood(LabelLikelihood):
    """Labels that are never wrong: transitions are counted, given the first label of every path."""

    noisy: ClassVar[bool] = False
    n_followed: ClassVar[int] = 2

    counts: PanelCounts
    scheme: RateScheme

    @classmethod
    def of(cls, paths: Paths, n_states: int) -> ExactLabelLikelihood:
        """Count the transitions of paths."""
        counts = panel_counts(paths, n_states)
        scheme = RateScheme.free(n_states)
        return cls(counts, scheme)

    @property
    def cost(self) -> float:
        """Multiplications of one likelihood: an exponential a distinct gap."""
        product = self.scheme.n_states**3
        n_gaps = len(self.counts.gaps)
        return _EXPM * n_gaps * product

    def log_likelihood(self, theta: Tensor, initial: Tensor) -> Tensor:
        """Log-likelihood ``(...)`` of parameters ``(..., p)``; ``initial`` plays no part."""
        return self.counts.log_likelihood(self.scheme.generator(theta))

    def initial(self, logits: Tensor) -> Tensor:
        """Shares of the first labels ``(S,)``, each counted half a time more."""
        counts = self.counts.starts + _START_WEIGHT
        return counts / counts.sum()

    def log_prior(self, initial: Tensor) -> Tensor:
        """0: the first labels are counted, not fitted."""
        return initial.new_zeros(())

    def error_rate(self, theta: Tensor) -> float:
        """0."""
        return 0.0

    def starts(self, estimate: JumpEstimate, rates: Tensor) -> Tensor:
        """See :meth:`LabelLikelihood.starts`."""
        crude = self.counts.crude_generator(self.scheme.allowed, least=LEAST_JUMPS)
        return self.scheme.parameters_of(torch.stack([rates, crude]))


@dataclass(frozen=True, eq=False)
class NoisyLabelLikelihood(LabelLikelihood):
    """Labels that are wrong with one chance, and then any other one alike: states are hidden."""

    noisy: ClassVar[bool] = True
    # With the initial distribution, which takes longer, only the most promising start is followed.
    n_followed: ClassVar[int] = 1

    paths: Paths
    data: HiddenPaths
    scheme: RateScheme

    @classmethod
    def of(cls, paths: Paths, n_states: int) -> NoisyLabelLikelihood:
        """Prepare paths."""
        data = HiddenPaths.of(paths)
        scheme = RateScheme.free(n_states)
        return cls(paths, data, scheme)

    @property
    def cost(self) -> float:
        """Multiplications of one likelihood: a product a label, an exponential a distinct gap."""
        n_states = self.scheme.n_states
        n_labels = self.data.mask.numel()
        n_gaps = len(self.data.gaps)
        recursion = n_labels * n_states**2
        return recursion + _EXPM * n_gaps * n_states**3

    def log_likelihood(self, theta: Tensor, initial: Tensor) -> Tensor:
        """Log-likelihood ``(...)`` of parameters ``(..., p)``."""
        rates = theta[..., :-1]
        logit = theta[..., -1]
        error_rate = torch.sigmoid(logit)
        generator = self.scheme.generator(rates)
        noise = LabelNoise.uniform(self.scheme.n_states, error_rate)
        # Without a slope to follow, the recursion need not keep what happened at every time.
        if theta.requires_grad:
            of_paths = self.data.log_likelihood(generator, noise, initial)
            return of_paths.sum(-1)
        return label_log_likelihood(self.data, generator, noise.confusion, initial)

    def initial(self, logits: Tensor) -> Tensor:
        """Distribution ``(..., S)`` of logits ``(..., S − 1)``."""
        return distribution_of(logits)

    def log_prior(self, initial: Tensor) -> Tensor:
        """Of a Dirichlet distribution: half a first observation of every state."""
        return _START_WEIGHT * initial.log().sum(-1)

    def error_rate(self, theta: Tensor) -> float:
        """Chance of a wrong label of parameters ``(p,)``."""
        return float(torch.sigmoid(theta[-1]))

    def starts(self, estimate: JumpEstimate, rates: Tensor) -> Tensor:
        """See :meth:`LabelLikelihood.starts`."""
        n_states = self.scheme.n_states
        crude = crude_starts(self.paths, n_states, self.scheme)
        by_network = rates.unsqueeze(0)
        generators = torch.cat([by_network, crude.generators])
        theta = self.scheme.parameters_of(generators)
        error_rate = estimate.noise.clamp(*_NOISE_RANGE)
        noise = torch.logit(error_rate).reshape(1)
        log_initial = estimate.initial.log()
        logits = log_initial[1:] - log_initial[0]
        others = torch.cat([noise, logits])
        others = others.expand(len(theta), -1)
        return torch.cat([theta, others], dim=1)
