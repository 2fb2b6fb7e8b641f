"""What came out of an inference, whichever way: point estimate, observation model, posterior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dyninfer.jumps.likelihood.observation import Emission
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.curvature import Curvature
from dyninfer.jumps.posterior.distributions import draw_normal
from dyninfer.jumps.posterior.fitting import CovariateFit, JumpFit
from dyninfer.jumps.posterior.summaries import draws_table, rate_table
from dyninfer.learning.random import stream
from dyninfer.learning.settings import check_count

N_DRAWS = 1000  # enough for quantiles of 5 and 95 % with an error of a tenth of a deviation
_FIT_TENSORS = ("theta", "information", "log_likelihood", "n_observed", "converged")


class GeneratorPosterior(ABC):
    """Posterior of the generator.

    Attributes
    ----------
    kind : str
        What it is taken from: "importance sampling", "Laplace" or "network".
    ess : float or None
        Effective sample size of weighted draws, where there were any.
    """

    kind: str
    ess: float | None
    never_left: Tensor | None

    @abstractmethod
    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Generators ``(n, S, S)``."""

    @abstractmethod
    def table(self, names: Sequence[str], level: float) -> pd.DataFrame:
        """Rates with intervals, one row per jump that can happen."""


@dataclass(frozen=True, eq=False)
class NormalPosterior(GeneratorPosterior):
    """Normal log-rates, with the curvature at the maximum (Laplace).

    Parameters
    ----------
    generator : Tensor, ``(S, S)``
        Point estimate.
    fit : JumpFit
        The maximum.
    detectable : Tensor, ``(S,)``, optional
        Rates out of each state that no data could tell from zero: a lower end below counts as 0.
    ess : float, optional
        Of weighted draws that were too few to be used.
    never_left : Tensor, ``(S,)`` bool, optional
        States that no path is seen to leave: the data say nothing of the rates out of them.
    """

    generator: Tensor
    fit: JumpFit
    detectable: Tensor | None = None
    ess: float | None = None
    kind: str = "Laplace"
    never_left: Tensor | None = None

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Generators ``(n, S, S)``."""
        n = check_count(n, "n")
        scheme = self.fit.scheme
        n_rates = scheme.n_parameters
        mean = self.fit.theta[:n_rates]
        covariance = self.fit.covariance[:n_rates, :n_rates]
        theta = draw_normal(mean, covariance, n, stream(seed, "generators"))
        return scheme.generator(theta)

    def table(self, names: Sequence[str], level: float) -> pd.DataFrame:
        """Rates with intervals, one row per jump that can happen."""
        table = rate_table(self.fit, names, level)
        # Where the fit says nothing and the network's rate stands, the interval reaches to that.
        source, target = self.fit.scheme.edges.T
        rate = self.generator[source, target].numpy()
        table["rate"] = rate
        table["low"] = table["low"].clip(upper=rate)
        table["high"] = table["high"].clip(lower=rate)
        table = _with_flat(table, names, self.never_left)
        if self.detectable is None:
            return table
        return _with_zeros(table, names, self.detectable)


@dataclass(frozen=True, eq=False)
class DrawnPosterior(GeneratorPosterior):
    """Equally likely generators.

    Parameters
    ----------
    generator : Tensor, ``(S, S)``
        Point estimate.
    draws : Tensor, ``(D, S, S)``
        The generators.
    detectable : Tensor, ``(S,)``
        Rates out of each state that no data could tell from zero: a lower end below counts as 0.
    kind : str
        "importance sampling" or "network".
    ess : float, optional
        Effective sample size of the weights that the draws were taken by.
    never_left : Tensor, ``(S,)`` bool, optional
        States that no path is seen to leave: the data say nothing of the rates out of them.
    """

    generator: Tensor
    draws: Tensor
    detectable: Tensor
    kind: str
    ess: float | None = None
    never_left: Tensor | None = None

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Generators ``(n, S, S)``."""
        n = check_count(n, "n")
        g = stream(seed, "generators")
        n_draws = len(self.draws)
        row = torch.randint(n_draws, (n,), generator=g)
        return self.draws[row]

    def table(self, names: Sequence[str], level: float) -> pd.DataFrame:
        """Rates with intervals, one row per jump that can happen."""
        table = draws_table(self.generator, self.draws, names, level)
        table = _with_flat(table, names, self.never_left)
        return _with_zeros(table, names, self.detectable)


@dataclass(frozen=True, eq=False, kw_only=True)
class JumpResult:
    """A generator with its observation model, and the posterior about it.

    Attributes
    ----------
    generator : Tensor, ``(S, S)``
        Point estimate.
    initial : Tensor, ``(S,)``
        Distribution of the first state.
    emission : Emission
        What is observed of a state.
    history : DataFrame
        One row per start.
    posterior : GeneratorPosterior
        What is known of the generator.
    fit : JumpFit, optional
        The maximum, where the likelihood was maximised.
    interrupted : bool
        Whether Ctrl-C ended the maximisation.
    """

    generator: Tensor
    initial: Tensor
    emission: Emission
    history: pd.DataFrame
    posterior: GeneratorPosterior
    fit: JumpFit | None = None
    interrupted: bool = False

    @classmethod
    def of_fit(cls, fits: Any, likelihood_before: Sequence[float]) -> JumpResult:
        """The likeliest of hidden fits ``(k,)`` from several starts."""
        best = int(fits.log_likelihood.argmax())
        fit = fits.member(best)
        return cls(
            generator=fit.generator,
            initial=fit.initial,
            emission=fit.emission,
            history=history_of(fits, likelihood_before),
            posterior=NormalPosterior(fit.generator, fit),
            fit=fit,
        )

    @property
    def converged(self) -> bool:
        """Whether the maximum was reached; of a network, always."""
        return self.fit is None or bool(self.fit.converged)

    @property
    def status(self) -> str:
        """How the inference ended: "finished", "stopped early" or "interrupted"."""
        if self.interrupted:
            return "interrupted"
        return "finished" if self.converged else "stopped early"

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the generator, numbers and the history, by name."""
        tensors = {}
        for name, part in vars(self.emission).items():
            if part is not None:
                tensors[f"emission.{name}"] = part
        if self.fit is not None:
            for name in _FIT_TENSORS:
                tensors[f"fit.{name}"] = getattr(self.fit, name)
            # Of a fit with covariates.
            if hasattr(self.fit, "to_user"):
                tensors["fit.to_user"] = self.fit.to_user
        for name in ("draws", "detectable", "never_left"):
            part = getattr(self.posterior, name, None)
            if part is not None:
                tensors[name] = part
        return tensors

    def facts(self) -> dict[str, Any]:
        """Numbers and text beside the tensors."""
        iterations = None if self.fit is None else self.fit.iterations
        return {
            "iterations": iterations,
            "posterior": self.posterior.kind,
            "ess": self.posterior.ess,
        }

    @classmethod
    def restored(
        cls,
        emission_class: type[Emission],
        scheme: RateScheme,
        tensors: dict[str, Tensor],
        facts: dict[str, Any],
        history: pd.DataFrame,
    ) -> JumpResult:
        """Undo :meth:`tensors` and :meth:`facts`."""
        generator = tensors["generator"]
        detectable = tensors.get("detectable")
        common = {"ess": facts["ess"], "never_left": tensors.get("never_left")}
        fit = None
        if facts["iterations"] is not None:
            of_fit = _below("fit.", tensors)
            curvature = Curvature(of_fit.pop("information"))
            fit_class = CovariateFit if "to_user" in of_fit else JumpFit
            fit = fit_class(
                scheme=scheme,
                iterations=facts["iterations"],
                curvature=curvature,
                **of_fit,
            )
        posterior: GeneratorPosterior
        if "draws" in tensors:
            posterior = DrawnPosterior(
                generator, tensors["draws"], tensors["detectable"], facts["posterior"], **common
            )
        elif fit is not None:
            posterior = NormalPosterior(generator, fit, detectable, **common)
        return cls(
            generator=generator,
            initial=tensors["initial"],
            emission=emission_class(**_below("emission.", tensors)),
            history=history,
            posterior=posterior,
            fit=fit,
        )


def history_of(fits: JumpFit, likelihood_before: Sequence[float]) -> pd.DataFrame:
    """One row per start: log-likelihoods before and after, steps, whether it converged."""
    return pd.DataFrame(
        {
            "start": range(len(likelihood_before)),
            "log_likelihood_before": likelihood_before,
            "log_likelihood": fits.log_likelihood.reshape(-1).tolist(),
            "step": fits.iterations,
            "converged": fits.converged.reshape(-1).tolist(),
        }
    )


def _with_zeros(table: pd.DataFrame, names: Sequence[str], detectable: Tensor) -> pd.DataFrame:
    """The table with lower ends of 0 where they are too low to be told from it."""
    # One number for every source: what can be told from zero depends on the time spent there.
    detectable_rate = pd.Series(detectable.numpy(), index=list(names))
    least = table["source"].map(detectable_rate)
    is_zero = table["low"] < least
    table.loc[is_zero, "low"] = 0.0
    return table


def _with_flat(
    table: pd.DataFrame, names: Sequence[str], never_left: Tensor | None
) -> pd.DataFrame:
    """The table with all jumps out of the states that are never left marked as flat."""
    if never_left is None:
        return table
    states = list(compress(names, never_left.tolist()))
    has_flat_source = table["source"].isin(states)
    is_flat = table["flat"] | has_flat_source
    return table.assign(flat=is_flat)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix, without it."""
    parts = {}
    for name, part in tensors.items():
        if name.startswith(prefix):
            parts[name.removeprefix(prefix)] = part
    return parts
