"""Effects of covariates on first states, as a table, and the distribution at given covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.paths.covariates import as_table
from dyninfer.jumps.likelihood.first_design import FirstDesign
from dyninfer.jumps.posterior.effects import ratio_columns
from dyninfer.jumps.posterior.fitting import JumpFit


@dataclass(frozen=True, eq=False)
class InitialEffects:
    """What was learned of covariates and the first states of paths.

    Attributes
    ----------
    design : FirstDesign
        Which effects there are.
    fit : JumpFit
        The maximum, and its curvature; the last of its parameters are those of first states.
    names : tuple of str
        Names of the states.
    """

    design: FirstDesign
    fit: JumpFit
    names: Sequence[str]

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """Odds ratios with intervals, of the curvature at the maximum.

        Returns
        -------
        DataFrame
            A row for every state but the first and every covariate: the ``state``, the
            ``covariate``, its ``log_ratio`` and ``standard_error``, the ``odds_ratio``
            ``exp(log_ratio)`` of beginning in the state and not in the first, for one unit more,
            its ``low`` and ``high`` end, ``p_value`` of Wald's test that it is 1, and ``flat``
            where the data say nothing about it.
        """
        n_logits = self.design.n_states - 1
        # Before the effects come the log-odds where all covariates are 0.
        n_parameters = len(self.fit.theta)
        place = slice(n_parameters - self.design.size + n_logits, n_parameters)
        words = self.design.words(self.names)
        columns = ratio_columns(self.fit, place, "odds_ratio", level)
        return words.assign(**columns)

    def probabilities(self, covariates: Any = None) -> ndarray:
        """Distribution ``(S,)`` of first states at given covariates, or ``(row, S)`` of a table.

        Parameters
        ----------
        covariates : mapping or DataFrame, optional
            A value of every covariate; by default all are 0, and categories the first of their
            levels.
        """
        table = self.design.reference()
        if covariates is not None:
            table = as_table(covariates).reset_index(drop=True)
        every = self.of_rows(self.design.matrix(table)).numpy()
        is_table = isinstance(covariates, pd.DataFrame)
        return every if is_table else every[0]

    def of_paths(self, paths: Paths) -> Tensor:
        """Distributions ``(n, S)`` of the first state of every path."""
        return self.of_rows(self.design.of_paths(paths))

    def of_rows(self, x: ndarray) -> Tensor:
        """Distributions ``(row, S)`` at rows of numbers ``(row, m)``."""
        theta = self.fit.theta[-self.design.size :]
        return self.design.probabilities(theta, np.asarray(x))
