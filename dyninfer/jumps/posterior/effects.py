"""Effects of covariates on rates, as tables, and the rates at given covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from scipy.special import chdtrc, ndtr, ndtri
from torch import Tensor

from dyninfer.data.paths.covariates import as_table
from dyninfer.jumps.likelihood.design import Design
from dyninfer.jumps.posterior.distributions import draw_normal
from dyninfer.jumps.posterior.fitting import JumpFit
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.schedule import Schedule
from dyninfer.learning.random import stream
from dyninfer.learning.settings import check_count, check_level


@dataclass(frozen=True, eq=False)
class CovariateEffects:
    """What was learned of covariates.

    Attributes
    ----------
    design : Design
        Which effects there are.
    fit : JumpFit
        The maximum, and its curvature.
    names : tuple of str
        Names of the states.
    """

    design: Design
    fit: JumpFit
    names: Sequence[str]

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Hazard ratios with intervals, of the curvature at the maximum.

        Returns
        -------
        DataFrame
            A row for every effect: the ``covariate``, the ``jumps`` that it is on, its
            ``log_ratio`` and ``standard_error``, the ``hazard_ratio`` ``exp(log_ratio)`` for one
            unit more, its ``low`` and ``high`` end, ``p_value`` of Wald's test that it is 1, and
            ``flat`` where the data say nothing about it.
        """
        words = {"covariate": self.design.labels, "jumps": self._jumps()}
        columns = ratio_columns(self.fit, self._place, "hazard_ratio", level)
        return pd.DataFrame(words | columns)

    def wald_tests(self) -> pd.DataFrame:
        """Wald's test of every covariate: that none of its effects, on any jump, is there.

        Returns
        -------
        DataFrame
            ``covariate``, ``statistic`` β' C⁻¹ β, ``degrees`` of freedom of its χ², ``p_value``.
        """
        log_ratio, covariance = self._estimate()
        rows = []
        labels = np.array(self.design.labels)
        # A covariate may be in several terms of a sum.
        for name in dict.fromkeys(self.design.labels):
            (own,) = np.nonzero(labels == name)
            block = covariance[np.ix_(own, own)]
            statistic = float(log_ratio[own] @ np.linalg.solve(block, log_ratio[own]))
            p_value = float(chdtrc(len(own), statistic))
            rows.append((name, statistic, len(own), p_value))
        return pd.DataFrame(rows, columns=["covariate", "statistic", "degrees", "p_value"])

    def process(self, covariates: Any = None) -> MarkovJump:
        """Process at given covariates; a batch, of several rows.

        Parameters
        ----------
        covariates : mapping or DataFrame, optional
            A value for each, or a table with a row for each process, which stay as they are; or
            such values by the times from which on they hold, ``{0: {"dose": 1}, 5: {"dose": 0}}``.
            By default all are 0, and categories the first of their levels.
        """
        return self._process(self.fit.theta, covariates)

    def draw(self, n: int, covariates: Any = None, seed: int = 0) -> MarkovJump:
        """A batch of ``n`` processes of the posterior at given covariates.

        They are normal in log-rates and effects together, as the intervals of :meth:`table` are.

        Parameters
        ----------
        n : int
        covariates : mapping or DataFrame, optional
            As in :meth:`process`; of a table with several rows the batch is ``(n, row)``.
        seed : int
            Fixes the draws.
        """
        n = check_count(n, "n")
        generator = stream(seed, "effects")
        theta = draw_normal(self.fit.theta, self.fit.covariance, n, generator)
        return self._process(theta, covariates)

    def generators(self, covariates: Any = None, time: float = -np.inf) -> Tensor:
        """Generator ``(S, S)`` at given covariates and a time, or ``(row, S, S)`` of a table."""
        return self._generators(self.fit.theta, covariates, time)

    def of_rows(self, x: ndarray) -> Tensor:
        """Generators ``(D, S, S)`` of rows of numbers ``(D, m)``."""
        return self.design.generators(self.fit.theta, x)

    def _process(self, theta: Tensor, covariates: Any) -> MarkovJump:
        """Processes of parameters ``(..., p)`` at given covariates."""
        every_time: tuple[float, ...] = (-np.inf,)
        schedule = Schedule(every_time, (self.design.reference(),), is_batch=False)
        if covariates is not None:
            schedule = Schedule.of(covariates)
        breaks = sorted({*schedule.changes, *self.design.effects.break_times})
        # A period begins where the one before it ends.
        moments = [-np.inf, *breaks]
        of_periods = [self._generators(theta, schedule.at(moment), moment) for moment in moments]
        each = torch.broadcast_tensors(*of_periods)
        generators = torch.stack(each, dim=-3)
        if not schedule.is_batch:
            # One row, of a process that is no batch.
            generators = generators.squeeze(-4)
        if not breaks:
            return MarkovJump(generators.squeeze(-3), state_names=self.names)
        return MarkovJump(generators, state_names=self.names, breaks=breaks)

    def _generators(self, theta: Tensor, covariates: Any, time: float = -np.inf) -> Tensor:
        """Generators ``(..., S, S)``, or ``(..., row, S, S)`` where covariates are a table."""
        table = self.design.reference()
        if covariates is not None:
            table = as_table(covariates).reset_index(drop=True)
        times = np.full(len(table), time)
        generators = self.design.generators(theta, self.design.matrix(table, times))
        is_table = isinstance(covariates, pd.DataFrame)
        return generators if is_table else generators.squeeze(-3)

    @property
    def _place(self) -> slice:
        """Where the effects are among the parameters."""
        first = self.design.scheme.n_edges
        return slice(first, first + self.design.n_effects)

    def _estimate(self) -> tuple[ndarray, ndarray]:
        """Effects ``(k,)`` and their covariance ``(k, k)``."""
        place = self._place
        covariance = self.fit.covariance[place, place]
        return self.fit.theta[place].numpy(), covariance.numpy()

    def _jumps(self) -> list[str]:
        """Jumps that each effect is on."""
        edges = self.design.scheme.edges.tolist()
        words = [f"{self.names[source]}>{self.names[target]}" for source, target in edges]
        return [", ".join(compress(words, acts)) for acts in self.design.acts]


def ratio_columns(fit: JumpFit, place: slice, name: str, level: float) -> dict[str, ndarray]:
    """Columns of a table of ratios ``name``, whose logarithms are some parameters of a fit."""
    check_level(level)
    log_ratio = fit.theta[place].numpy()
    variance = fit.covariance[place, place].diagonal().numpy()
    standard_error = np.sqrt(variance)
    half_width = ndtri(0.5 + level / 2) * standard_error
    z = np.abs(log_ratio) / standard_error
    with np.errstate(over="ignore"):
        high = np.exp(log_ratio + half_width)
    return {
        "log_ratio": log_ratio,
        "standard_error": standard_error,
        name: np.exp(log_ratio),
        "low": np.exp(log_ratio - half_width),
        "high": high,
        "p_value": 2 * ndtr(-z),
        "flat": fit.flat_parameters()[place].numpy(),
    }
