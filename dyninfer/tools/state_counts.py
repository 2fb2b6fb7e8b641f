"""Rates from counts of individuals in each state, where nobody was followed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.arrays import as_floats
from dyninfer.data.time_reading import as_times
from dyninfer.data.times import Clock
from dyninfer.jumps import JumpFit, RateScheme
from dyninfer.jumps.likelihood.state_counts import StateCounts
from dyninfer.jumps.posterior.fitting_hidden import distribution_of
from dyninfer.jumps.posterior.optimise import maximise
from dyninfer.jumps.posterior.result import NormalPosterior
from dyninfer.jumps.posterior.starts import LogRatePrior
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.settings import Jumps, as_jumps
from dyninfer.learning.settings import brief, check_count, is_number
from dyninfer.learning.warn import warn


@dataclass(frozen=True, eq=False)
class StateCountFit:
    """A jump process fitted to counts.

    Tables such as :func:`sojourn_times` accept it like a fitted model.

    Attributes
    ----------
    process_ : MarkovJump
        With the fitted distribution at the first time.
    fit_ : JumpFit
        The maximum: rates, and logits of that distribution.
    """

    process_: MarkovJump
    fit_: JumpFit

    def confidence_intervals(self, level: float = 0.9) -> pd.DataFrame:
        """Rates with intervals that are normal in the log-rates.

        Columns ``source``, ``target``, ``rate``, ``low``, ``high``, and ``flat`` where the counts
        say nothing about a rate.
        """
        return self._posterior.table(self.process_.state_names, level)

    def sample_processes(self, n: int, seed: int = 0) -> MarkovJump:
        """Draw a batch of ``n`` processes from the posterior."""
        generators = self._posterior.draw(n, seed)
        names = self.process_.state_names
        return MarkovJump(generators, initial=self.process_.initial, state_names=names)

    @property
    def _posterior(self) -> NormalPosterior:
        return NormalPosterior(self.process_.generator, self.fit_)


def fit_state_counts(
    counts: pd.DataFrame,
    *,
    jumps: Jumps | str = "all",
    prior_width: float | None = 2.5,
    max_steps: int = 300,
) -> StateCountFit:
    """Fit a jump process to counts of individuals in each state, without following any of them.

    Maximises ``Σ n_k(t) log [p e^{Q(t − t₁)}]_k`` over the rates and the distribution ``p`` at the
    first time. Each time is assumed to show different individuals; if the same ones are counted
    again, the intervals are wrong.

    Shares determine few rates: stationary shares determine only ratios. Exclude impossible jumps
    with ``jumps``; the intervals show what is not known.

    Parameters
    ----------
    counts : DataFrame
        One row per time, which is the index, and one column per state.
    jumps : Jumps or str
        Which jumps can happen, as in :class:`~dyninfer.MarkovJumpInference`.
    prior_width : float or None
        Standard deviation of the normal prior on every log-rate. Its mean is one jump in the time
        of the study, divided among the targets. None is plain maximum likelihood.
    max_steps : int
        Largest number of BFGS steps.

    Raises
    ------
    TypeError, ValueError
        If the counts are invalid, or without a prior there are more rates than the counts can
        determine.

    Examples
    --------
    >>> import pandas as pd
    >>> import dyninfer as di
    >>> table = pd.DataFrame({"well": [100, 61, 37], "ill": [0, 39, 63]}, index=[0, 5, 10])
    >>> fit = di.tl.fit_state_counts(table, jumps=di.Only(["well>ill"]), prior_width=None)
    >>> round(fit.process_.generator[0, 1].item(), 2)
    0.1
    """
    data, names = _read(counts)
    scheme = as_jumps(jumps).scheme(names)
    n_numbers = (len(data.ages)) * (data.n_states - 1)
    n_parameters = scheme.n_parameters + data.n_states - 1
    if prior_width is None and n_parameters > n_numbers:
        raise ValueError(
            f"counts at {len(data.ages)} times determine {n_numbers} numbers; {n_parameters} are "
            "needed; leave out jumps that cannot happen, or give prior_width"
        )
    problem = _CountProblem(data, scheme, _prior(data, scheme, prior_width))
    max_steps = check_count(max_steps, "max_steps")
    best = maximise(problem.log_posterior, problem.start().unsqueeze(0), max_iter=max_steps)
    fit = JumpFit.of(problem, best, torch.Size([]))
    if not bool(fit.converged):
        warn(f"the fit is not finished after {fit.iterations} steps; increase max_steps")
    generator, initial = problem.model(fit.theta)
    process = MarkovJump(generator, initial=initial, state_names=names)
    return StateCountFit(process, fit)


@dataclass(frozen=True, eq=False)
class _CountProblem:
    """Counts, and the generators and first distributions that are to explain them."""

    data: StateCounts
    scheme: RateScheme
    prior: LogRatePrior | None

    @property
    def n_observed(self) -> Tensor:
        """Number of individuals, each as often as it was counted."""
        return self.data.n_observed

    def start(self) -> Tensor:
        """Parameters to begin with: rates of one jump in the time of the study."""
        log_rate = _central(self.data, self.scheme)
        rates = torch.full((self.scheme.n_edges,), log_rate, dtype=torch.float64).exp()
        theta = self.scheme.parameters_of(self.scheme.matrix(rates))
        # Half an individual more in every state: none of them is impossible.
        logits = (self.data.counts[0] + 0.5).log()
        return torch.cat([theta, logits[1:] - logits[0]])

    def model(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Generator and first distribution of parameters ``(..., p + S − 1)``."""
        n_rates = self.scheme.n_parameters
        generator = self.scheme.generator(theta[..., :n_rates])
        return generator, distribution_of(theta[..., n_rates:])

    def log_likelihood(self, theta: Tensor) -> Tensor:
        """Log-likelihood ``(...)``."""
        return self.data.log_likelihood(*self.model(theta))

    def log_posterior(self, theta: Tensor) -> Tensor:
        """Log-likelihood with the priors ``(...)``.

        The first distribution has Jeffreys' prior, half an individual in every state: a state that
        nobody was in keeps a finite logit.
        """
        _, initial = self.model(theta)
        total = self.log_likelihood(theta) + 0.5 * initial.log().sum(-1)
        if self.prior is None:
            return total
        rates = theta[..., : self.scheme.n_parameters]
        return total + self.prior(self.scheme.log_rates(rates))


def _central(data: StateCounts, scheme: RateScheme) -> float:
    """Log-rate of one jump in the time of the study, shared out between the targets."""
    n_targets = scheme.n_edges / scheme.n_states
    return -math.log(float(data.ages[-1]) * n_targets)


def _prior(data: StateCounts, scheme: RateScheme, width: float | None) -> LogRatePrior | None:
    if width is None:
        return None
    if not is_number(width) or not 0 < width < math.inf:
        raise ValueError(
            f"prior_width must be positive, or None for no prior; found {brief(width)}"
        )
    return LogRatePrior(_central(data, scheme), float(width))


def _read(table: Any) -> tuple[StateCounts, tuple[str, ...]]:
    """Counts in the order of their times, and the names of the states."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"counts must be a DataFrame, times by states, found {brief(type(table).__name__)}"
        )
    times = as_times(table.index, "the index of counts")
    n_distinct = len(Clock.of(times))
    if n_distinct < 2 or n_distinct < len(times):
        raise ValueError(f"counts must have at least two times, each once, found {brief(times)}")
    numbers = as_floats(table.to_numpy(), "counts").astype(np.float64)
    if numbers.shape[1] < 2:
        raise ValueError("counts must have at least two states, a column for each")
    is_count = np.isfinite(numbers) & (numbers >= 0)
    if not is_count.all():
        worst = numbers[~is_count][0]
        raise ValueError(f"counts must not be negative, found {worst:g}")
    if not (numbers.sum(1) > 0).all():
        raise ValueError("counts has a time at which nobody was counted; leave out that row")
    order = np.argsort(times, kind="stable")
    ages = torch.from_numpy(times[order] - times.min())
    data = StateCounts(ages, torch.from_numpy(numbers[order]))
    return data, tuple(map(str, table.columns))
