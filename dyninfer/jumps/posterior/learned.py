"""What was learned of a jump process, whichever way: point estimate, observation model, posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.zero_shot import infer
from dyninfer.jumps.likelihood.observation import Emission, LabelNoise
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.jumps.posterior.fitting import JumpFit
from dyninfer.jumps.posterior.soft_prior import ABSENT
from dyninfer.jumps.posterior.storing import (
    best_of,
    member,
    restored_emission,
    restored_fit,
    to_tensors,
)
from dyninfer.jumps.posterior.summaries import draws_table, rate_table, sample_generators
from dyninfer.jumps.process import with_diagonal

N_DRAWS = 1000
_LEAST_CHANGES = 10.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Learned:
    """A generator with its observation model, and the posterior about it.

    Attributes
    ----------
    generator : Tensor, ``(S, S)``
        Point estimate.
    initial : Tensor, ``(S,)``
        Law of the first state.
    emission : LabelNoise or GaussianEmission
        What is seen of a state.
    history : DataFrame
        One row per start.
    fit : JumpFit, optional
        The maximum, where the likelihood was maximised.
    draws : Tensor, ``(D, S, S)``, optional
        Equally likely generators of the posterior; without them it is the normal approximation of the fit.
    least : Tensor, ``(S,)``, optional
        Rates out of each state that no data could tell from zero: a lower end below them counts as 0.
    ess : float, optional
        Effective sample size of the weights that the draws were taken by.
    """

    generator: Tensor
    initial: Tensor
    emission: Emission
    history: pd.DataFrame
    fit: JumpFit | None = None
    draws: Tensor | None = None
    least: Tensor | None = None
    ess: float | None = None

    @property
    def posterior(self) -> str:
        """What the intervals are taken from."""
        if self.fit is None:
            return "network"
        return "Laplace" if self.draws is None else "importance sampling"

    def sample(self, n: int, seed: int) -> Tensor:
        """Generators ``(n, S, S)`` of the posterior."""
        if self.draws is None:
            return sample_generators(cast(JumpFit, self.fit), n, seed)
        if n < 1:
            raise ValueError(f"at least one draw is needed, found {n}")
        g = torch.Generator(self.draws.device).manual_seed(seed)
        return self.draws[torch.randint(len(self.draws), (n,), generator=g)]

    def table(self, names: Sequence[str], level: float) -> pd.DataFrame:
        """Rates with intervals, one row per jump that can happen."""
        if self.draws is None:
            table = rate_table(cast(JumpFit, self.fit), names, level)
            i, j = cast(JumpFit, self.fit).scheme.edges.T
            # Where the fit says nothing and the network's rate stands, the interval reaches as far as that.
            table["rate"] = self.generator[i, j].numpy()
            table["low"] = np.minimum(table["low"], table["rate"])
            table["high"] = np.maximum(table["high"], table["rate"])
        else:
            table = draws_table(self.generator, self.draws, names, level)
        if self.least is not None:
            least_of = dict(zip(names, self.least.tolist(), strict=True))
            table.loc[table["low"] < table["source"].map(least_of), "low"] = 0.0
        return table

    def tensors(self) -> dict[str, Tensor]:
        """Everything but numbers and the history, by name."""
        found = to_tensors(self.emission, self.fit)
        held = {"draws": self.draws, "least": self.least}
        return found | {name: value for name, value in held.items() if value is not None}

    @classmethod
    def restored(
        cls,
        scheme: RateScheme,
        tensors: dict[str, Tensor],
        numbers: dict[str, Any] | None,
        ess: float | None,
        history: pd.DataFrame,
    ) -> Learned:
        """Undo :meth:`tensors`."""
        return cls(
            generator=tensors["generator"],
            initial=tensors["initial"],
            emission=restored_emission(tensors),
            history=history,
            fit=None if numbers is None else restored_fit(scheme, tensors, numbers),
            draws=tensors.get("draws"),
            least=tensors.get("least"),
            ess=ess,
        )


def by_network(seen: Paths, n_states: int, exact: bool, seed: int) -> Learned:
    """One pass of the network over counted transitions; nothing is fitted."""
    statistics = JumpStatistics.of(seen, n_states)
    estimate = infer(statistics)
    spent = time_in_states(statistics)
    chance = 0.0 if exact else estimate.noise
    # A rate of zero would cut states off from each other: an absent jump has one that no data could tell from it.
    draws = with_diagonal(torch.maximum(estimate.sample(N_DRAWS, seed), ABSENT / spent[:, None]))
    history = pd.DataFrame({"start": ["network"], "step": [0], "converged": [True]})
    return Learned(
        generator=estimate.generator,
        initial=estimate.initial,
        emission=LabelNoise.uniform(n_states, chance),
        history=history,
        draws=draws,
        least=1 / spent,
    )


def by_fit(
    fit: JumpFit,
    before: Sequence[float],
    initial: Tensor,
    emission: Emission,
    fitted_emission: bool,
) -> Learned:
    """The likeliest of the fits from several starts, with its first law and its observation model, if that was fitted."""
    one, best = best_of(fit)
    return Learned(
        generator=one.generator,
        initial=initial if initial.ndim == 1 else initial[best],
        emission=member(emission, best) if fitted_emission else emission,
        history=starts_table(fit, before),
        fit=one,
    )


def starts_table(fit: JumpFit, before: Sequence[float]) -> pd.DataFrame:
    """One row per start: log-likelihoods before and after, steps, whether it converged."""
    return pd.DataFrame(
        {
            "start": range(len(before)),
            "log_likelihood_before": before,
            "log_likelihood": fit.log_likelihood.reshape(-1).tolist(),
            "step": fit.iterations,
            "converged": fit.converged.reshape(-1).tolist(),
        }
    )


def time_in_states(statistics: JumpStatistics) -> Tensor:
    """Observed time ``(S,)`` shared out by the labels seen; of a state hardly ever seen, that of ten changes."""
    seen = statistics.counts.sum((-1, -3))
    return (statistics.span * seen / seen.sum()).clamp(min=_LEAST_CHANGES * float(statistics.tau))


def hardly_left(seen: Paths, n_states: int, noise: float) -> Tensor:
    """States ``(S,)`` bool that were seen to be left less than ten times, those apart that wrong labels make."""
    every = [x[x >= 0] for x in seen.states]
    left = np.concatenate([x[:-1][x[1:] != x[:-1]] for x in every])
    wrong = noise * sum(len(x) for x in every) / (n_states - 1)
    return torch.from_numpy(np.bincount(left, minlength=n_states) - wrong < _LEAST_CHANGES)
