"""How the distribution of first states follows from covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.display import listed
from dyninfer.data.paths import Paths
from dyninfer.jumps.covariates import Covariates
from dyninfer.jumps.formula import Levels
from dyninfer.jumps.likelihood.design import are_dependent, constant_column, reference_row


@dataclass(frozen=True, eq=False)
class FirstDesign:
    r"""Log-odds of first states against the first of all states, linear in numbers ``x``.

    .. math:: \log \frac{p_s(x)}{p_1(x)} = c_s + x \cdot \beta_s

    Attributes
    ----------
    covariates : Covariates
        The formula.
    levels : dict
        Values of the columns of covariates.
    n_states : int
    """

    covariates: Covariates
    levels: Levels
    n_states: int

    @property
    def columns(self) -> list[str]:
        """Names of the ``m`` numbers ``x``."""
        return [str(name) for name in self._table(self.reference()).columns]

    @property
    def size(self) -> int:
        """Number of log-odds and effects, ``(1 + m) (S − 1)``."""
        return (1 + len(self.columns)) * (self.n_states - 1)

    def reference(self) -> pd.DataFrame:
        """One row of covariates: numbers 0, and categories the first of their levels."""
        return reference_row(self.levels)

    def matrix(self, table: pd.DataFrame | None) -> ndarray:
        """The numbers ``x`` ``(row, m)`` of covariates."""
        return self._table(table).to_numpy(np.float64)

    def of_paths(self, paths: Paths) -> ndarray:
        """Numbers ``x`` ``(n, m)`` at the first observation of every path."""
        every = paths.covariates
        if every is None:
            return self.matrix(None)
        # Covariates have a row for every observation, path after path.
        first = np.cumsum(paths.lengths) - paths.lengths
        rows = every.iloc[first]
        return self.matrix(rows.reset_index(drop=True))

    def probabilities(self, theta: Tensor, x: ndarray) -> Tensor:
        """Distributions ``(row, S)`` of log-odds and effects ``(size,)``, at ``x`` ``(row, m)``."""
        ones = np.ones((len(x), 1))
        z = torch.from_numpy(np.concatenate([ones, x], axis=1))
        log_odds = z @ theta.view(z.shape[1], -1)
        return torch.nn.functional.pad(log_odds, (1, 0)).softmax(-1)

    def check_identified(self, x: ndarray) -> None:
        """Raise a ValueError where effects cannot be told apart, by numbers ``(n, m)``."""
        names = self.columns
        place = constant_column(x)
        if place is not None:
            raise ValueError(
                f"covariate {names[place]!r} is the same at the first observation of every path, "
                "so its effect on first states cannot be learned; leave it out of "
                "initial_covariates"
            )
        if are_dependent(x):
            raise ValueError(
                f"the covariates {listed(names)} are linearly dependent at the first "
                "observations, so their effects on first states cannot be separated; leave "
                "one of them out of initial_covariates"
            )

    def words(self, names: Sequence[str]) -> pd.DataFrame:
        """The ``state`` and the ``covariate`` of every effect, in the order of theta."""
        rows = [(state, column) for column in self.columns for state in names[1:]]
        return pd.DataFrame(rows, columns=["state", "covariate"])

    def _table(self, table: pd.DataFrame | None) -> pd.DataFrame:
        # Covariates, unlike periods, do not ask when.
        no_times = np.zeros(0)
        return self.covariates.matrix(table, no_times, self.levels)
