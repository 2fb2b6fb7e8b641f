"""Families of dwell times made of phases: how parameters become a law, and how likely times are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.jumps.dwell.phase_types import PhaseType

KINDS = ("erlang", "coxian")
# Rates of Coxian phases start so far apart, for alike they would stay alike.
_SPREAD = 2.0


@dataclass(frozen=True)
class PhaseFamily:
    """Dwell times of so many phases, by parameters ``(p,)`` that may be any numbers.

    Parameters
    ----------
    kind : {"erlang", "coxian"}
        One rate for all phases, or rates of their own and chances to go on.
    n_phases : int
        Number of phases k.
    """

    kind: str
    n_phases: int

    @property
    def n_parameters(self) -> int:
        """Number of parameters: one for Erlang phases, ``2 k − 1`` for Coxian ones."""
        if self.kind == "erlang":
            return 1
        return 2 * self.n_phases - 1

    def start(self, mean: float) -> Tensor:
        """Parameters ``(p,)`` of a law with about this mean."""
        if self.kind == "erlang":
            rate = torch.tensor([self.n_phases / mean], dtype=torch.float64)
            return rate.log()
        number = torch.arange(self.n_phases, dtype=torch.float64)
        middle = (self.n_phases - 1) / 2
        # With even chances to go on, two phases are passed on average.
        rates = 2 / mean * _SPREAD ** (middle - number)
        logits = torch.zeros(self.n_phases - 1, dtype=torch.float64)
        return torch.cat([rates.log(), logits])

    def parts(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Rates ``(k,)`` of leaving each phase, and probabilities ``(k − 1,)`` of going on."""
        if self.kind == "erlang":
            ones = theta.new_ones(self.n_phases - 1)
            return theta.exp().expand(self.n_phases), ones
        rates = theta[: self.n_phases].exp()
        return rates, theta[self.n_phases :].sigmoid()

    def law(self, theta: Tensor) -> PhaseType:
        """The law of parameters."""
        rates, continuing = self.parts(theta)
        return PhaseType(rates, continuing)

    def subgenerator(self, theta: Tensor) -> Tensor:
        """Rates T ``(k, k)`` among the phases."""
        rates, continuing = self.parts(theta)
        onward = rates[:-1] * continuing
        return torch.diag(onward, 1) - torch.diag(rates)

    def log_mean(self, theta: Tensor) -> Tensor:
        """Logarithm ``()`` of the mean: every phase counts as often as it is reached."""
        rates, continuing = self.parts(theta)
        first = rates.new_ones(1)
        reached = torch.cat([first, continuing]).cumprod(0)
        return (reached / rates).sum().log()

    def log_densities(self, theta: Tensor, times: Tensor) -> Tensor:
        """Log-densities ``(n,)`` at times."""
        if self.kind == "erlang":
            log_power = (self.n_phases - 1) * times.log() - math.lgamma(self.n_phases)
            return self.n_phases * theta - theta.exp() * times + log_power
        alive, shift = self._alive(theta, times)
        end_rates = -self.subgenerator(theta).sum(1)
        return (alive @ end_rates).log() - shift

    def log_survivals(self, theta: Tensor, times: Tensor) -> Tensor:
        """Logarithms ``(n,)`` of the probability to last longer than positive times."""
        if self.kind == "erlang":
            return self._log_poisson(theta, times)
        alive, shift = self._alive(theta, times)
        return alive.sum(1).log() - shift

    def _log_poisson(self, theta: Tensor, times: Tensor) -> Tensor:
        """Fewer than k events of a Poisson process have come: a sum of positive terms."""
        x = theta.exp() * times
        number = torch.arange(self.n_phases, dtype=torch.float64)
        powers = number * x[:, None].log()
        terms = powers - torch.lgamma(number + 1)
        return terms.logsumexp(1) - x

    def _alive(self, theta: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities ``(n, k)`` of the phases, each times ``e^shift`` with shifts ``(n,)``."""
        subgenerator = self.subgenerator(theta)
        # By the slowest phase: times of a thousand means, as of shuttings, would vanish otherwise.
        slowest = -subgenerator.diagonal().max()
        eye = torch.eye(self.n_phases, dtype=theta.dtype)
        lifted = subgenerator + slowest * eye
        exponential = torch.matrix_exp(lifted * times.reshape(-1, 1, 1))
        return exponential[:, 0], slowest * times
