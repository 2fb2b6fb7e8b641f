"""Dwell times made of phases: Erlang and Coxian, which are not exponential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.arrays import as_tensor
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief, check_count, check_seed


@dataclass(frozen=True, eq=False, repr=False)
class PhaseType:
    r"""A time that is spent in phases, from the first on.

    From phase i of k the time ends at the rate :math:`(1 - p_i) \lambda_i`, and goes on to phase
    i + 1 at the rate :math:`p_i \lambda_i`: the Coxian distributions (Cox, 1955). Its density is

    .. math:: f(t) = e_1 \, e^{T t} \, (-T 1).

    Parameters
    ----------
    rates : array ``(k,)``
        Rate :math:`\lambda_i` of leaving each phase, per unit of time; positive.
    continuing : array ``(k − 1,)``
        Probability :math:`p_i` to go on from each phase but the last.

    Raises
    ------
    ValueError
        If a rate is not positive and finite, or a probability is none.

    Examples
    --------
    >>> from dyninfer.jumps.dwell import PhaseType
    >>> time = PhaseType.erlang(2, rate=4.0)
    >>> time.mean, time.variance
    (0.5, 0.125)
    """

    rates: Any
    continuing: Any = ()

    def __post_init__(self) -> None:
        rates = as_tensor(self.rates, "rates").double().reshape(-1)
        continuing = as_tensor(list(self.continuing), "continuing").double().reshape(-1)
        is_rate = (rates > 0) & rates.isfinite()
        if not len(rates) or not bool(is_rate.all()):
            raise ValueError(f"rates must be positive and finite, found {brief(self.rates)}")
        if len(continuing) != len(rates) - 1:
            raise ValueError(
                f"continuing must hold {len(rates) - 1} probabilities, one for each phase but the "
                f"last; found {brief(self.continuing)}"
            )
        is_probability = (continuing >= 0) & (continuing <= 1)
        if not bool(is_probability.all()):
            raise ValueError(f"continuing must be probabilities, found {brief(self.continuing)}")
        object.__setattr__(self, "rates", rates)
        object.__setattr__(self, "continuing", continuing)

    @classmethod
    def erlang(cls, n_phases: int, rate: float) -> PhaseType:
        """A sum of ``n_phases`` exponential times, all of one rate."""
        n_phases = check_count(n_phases, "n_phases")
        return cls([rate] * n_phases, [1.0] * (n_phases - 1))

    @property
    def n_phases(self) -> int:
        """Number of phases k."""
        return len(self.rates)

    @property
    def subgenerator(self) -> Tensor:
        """Rates T ``(k, k)`` among the phases; what rows lack is the rate of the end."""
        onward = self.rates[:-1] * self.continuing
        return torch.diag(onward, 1) - torch.diag(self.rates)

    @property
    def end_rates(self) -> Tensor:
        """Rate ``(k,)`` at which the time ends in each phase."""
        last = self.rates.new_zeros(1)
        return self.rates * (1 - torch.cat([self.continuing, last]))

    @property
    def mean(self) -> float:
        """Mean time."""
        return float(self._moment(1))

    @property
    def variance(self) -> float:
        """Variance of the time."""
        mean = self._moment(1)
        return float(2 * self._moment(2) - mean**2)

    def density(self, times: Any) -> ndarray:
        """Density ``(n,)`` at times; 0 before 0."""
        return self._at(times, self.end_rates)

    def survival(self, times: Any) -> ndarray:
        """Probability ``(n,)`` that the time is longer; 1 before 0."""
        moments = as_tensor(times, "times").reshape(-1).numpy()
        ones = torch.ones_like(self.rates)
        return np.where(moments < 0, 1.0, self._at(times, ones))

    def sample(self, n: int, seed: int = 0) -> ndarray:
        """Draw times ``(n,)``."""
        n = check_count(n, "n")
        g = stream(check_seed(seed), "phases")
        waits = torch.empty(n, self.n_phases, dtype=torch.float64)
        waits.exponential_(generator=g)
        goes_on = torch.empty(n, self.n_phases - 1, dtype=torch.float64).uniform_(generator=g)
        is_reached = (goes_on < self.continuing).cumprod(1)
        first = waits.new_ones(n, 1)
        is_visited = torch.cat([first, is_reached], dim=1)
        return (is_visited * waits / self.rates).sum(1).numpy()

    def _at(self, times: Any, weights: Tensor) -> ndarray:
        moments = as_tensor(times, "times").double().reshape(-1, 1, 1)
        later = moments.clamp(min=0)
        exponential = torch.matrix_exp(self.subgenerator * later)
        values = exponential[:, 0] @ weights
        return torch.where(moments.flatten() >= 0, values, 0.0).numpy()

    def _moment(self, power: int) -> Tensor:
        """The first entry of ``(−T)^(−power) 1``: the mean of ``t^power / power!``."""
        inverse = torch.linalg.inv(-self.subgenerator)
        return torch.linalg.matrix_power(inverse, power)[0].sum()

    def __repr__(self) -> str:
        rates = [round(rate, 6) for rate in self.rates.tolist()]
        continuing = [round(p, 6) for p in self.continuing.tolist()]
        return f"PhaseType(rates={rates}, continuing={continuing})"
