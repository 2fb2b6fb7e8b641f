"""How log-rates follow from covariates: which effects there are, and on which jumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.display import listed
from dyninfer.jumps.covariates import Effects
from dyninfer.jumps.formula import Levels
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.likelihood.state_names import jump_mask
from dyninfer.jumps.process.chain import with_diagonal

# Share of the largest singular value below which columns hang together, but for rounding.
_DEPENDENT = 1e-8


@dataclass(frozen=True, eq=False)
class Design:
    r"""Log-rates of the allowed jumps ``e``, linear in the numbers ``x`` that covariates make.

    .. math:: \log Q_e(x) = \theta_e + \sum_l [e \in J_l] \, x_{c_l} \beta_l

    Attributes
    ----------
    effects : Effects
        The settings.
    levels : dict
        Values of the columns of covariates.
    scheme : RateScheme
        The allowed jumps, each with a rate of its own.
    columns : tuple of m str
        Names of the numbers ``x``.
    column : array ``(k,)`` int64
        Which of them each effect is of, ``c``.
    acts : array ``(k, E)`` bool
        Jumps that each effect is on, ``J``.
    """

    effects: Effects
    levels: Levels
    scheme: RateScheme
    columns: tuple[str, ...]
    column: ndarray
    acts: ndarray

    @classmethod
    def of(
        cls, effects: Effects, levels: Levels, scheme: RateScheme, names: Sequence[str]
    ) -> Design:
        """Effects on the jumps between states of these names.

        Raises
        ------
        ValueError
            If a jump is named that cannot be, or a column is given twice for one jump.
        """
        columns: list[str] = []
        column: list[int] = []
        acts: list[ndarray] = []
        for part in effects.parts:
            mask = _jumps_of(part, scheme, names)
            for name in part.matrix(reference_row(levels), np.zeros(1), levels).columns:
                each = [mask] if part.shared else list(_one_by_one(mask))
                column += [len(columns)] * len(each)
                columns.append(str(name))
                acts += each
        # Of their own kinds and shapes also where there are no effects.
        number = np.array(column, dtype=np.int64)
        mask = np.array(acts, dtype=bool).reshape(-1, scheme.n_edges)
        design = cls(effects, levels, scheme, tuple(columns), number, mask)
        design._refuse_repeats(names)
        return design

    @property
    def n_effects(self) -> int:
        """Number of effects k."""
        return len(self.column)

    @property
    def labels(self) -> list[str]:
        """Names of the effects: the number that each is of."""
        return [self.columns[place] for place in self.column]

    def matrix(self, table: pd.DataFrame | None, times: ndarray) -> ndarray:
        """The numbers ``x`` ``(row, m)`` of covariates and times."""
        return self.effects.matrix(table, times, self.levels).to_numpy(np.float64)

    def of_rows(self, x: ndarray) -> ndarray:
        """What log-rates are linear in ``(row, E, k)``, of numbers ``(row, m)``."""
        return x[:, None, self.column] * self.acts.T

    def reference(self) -> pd.DataFrame:
        """One row of covariates: numbers 0, and categories the first of their levels."""
        return reference_row(self.levels)

    def generators(self, theta: Tensor, x: ndarray) -> Tensor:
        """Generators ``(..., row, S, S)`` of parameters ``(..., E + k)`` and ``x`` ``(row, m)``."""
        n_rates = self.scheme.n_edges
        of_effects = torch.from_numpy(self.of_rows(x))
        beta = theta[..., n_rates : n_rates + self.n_effects]
        shift = torch.einsum("dek,...k->...de", of_effects, beta)
        log_rates = theta[..., None, :n_rates] + shift
        return with_diagonal(self.scheme.matrix(log_rates.exp()))

    def check_identified(self, x: ndarray) -> None:
        """Raise a ValueError where effects cannot be told apart, by numbers ``(row, m)``."""
        place = constant_column(x)
        if place is not None:
            name = self.columns[place]
            raise ValueError(
                f"covariate {name!r} is the same in all intervals, so its effect cannot be "
                "separated from the rate; leave it out"
            )
        for acts in self.acts.T:
            columns = self.column[acts]
            if are_dependent(x[:, columns]):
                every = listed([self.columns[place] for place in columns])
                raise ValueError(
                    f"the covariates {every} are linearly dependent in these data, so their "
                    "effects cannot be separated; leave one of them out"
                )

    def _refuse_repeats(self, names: Sequence[str]) -> None:
        """Raise where an effect is there twice."""
        for edge, acts in enumerate(self.acts.T):
            labels = [label for label, act in zip(self.labels, acts, strict=True) if act]
            repeated = {label for label in labels if labels.count(label) > 1}
            if repeated:
                source, target = self.scheme.edges[edge].tolist()
                raise ValueError(
                    f"covariates names {sorted(repeated)[0]!r} twice for the jump "
                    f"{names[source]}>{names[target]}; name it once, by jumps="
                )


def _jumps_of(part: Effects, scheme: RateScheme, names: Sequence[str]) -> ndarray:
    """Mask ``(E,)`` of the jumps that effects are on."""
    source, target = scheme.edges.T
    if part.jumps is None:
        return np.ones(scheme.n_edges, dtype=bool)
    mask = jump_mask(part.jumps, names)
    is_possible = scheme.allowed
    impossible = (mask & ~is_possible).nonzero().tolist()
    if impossible:
        row, column = impossible[0]
        raise ValueError(
            f"covariates names the jump {names[row]}>{names[column]}, which cannot happen; allow "
            "it by jumps=, or leave it out"
        )
    return mask[source, target].numpy()


def _one_by_one(mask: ndarray) -> ndarray:
    """Masks ``(n, E)`` of one jump each."""
    return np.eye(len(mask), dtype=bool)[mask]


def constant_column(x: ndarray) -> int | None:
    """Number of the first column of ``x`` ``(row, m)`` that is constant, or None."""
    largest = np.abs(x).max(0, initial=0.0)
    is_constant = np.ptp(x, axis=0) <= _DEPENDENT * largest
    return int(is_constant.argmax()) if is_constant.any() else None


def are_dependent(x: ndarray) -> bool:
    """Whether columns of ``x`` ``(row, m)``, none of them constant, follow from one another."""
    centred = x - x.mean(0)
    scale = np.abs(centred).max(0)
    values = np.linalg.svd(centred / scale, compute_uv=False)
    n_apart = np.count_nonzero(values > _DEPENDENT * values.max(initial=0.0))
    return n_apart < x.shape[1]


def reference_row(levels: Levels) -> pd.DataFrame:
    """One row of covariates: numbers 0, and categories the first of their levels."""
    columns = {}
    for name, of_column in levels.items():
        columns[name] = [0.0]
        if of_column is not None:
            columns[name] = pd.Categorical(of_column[:1], categories=of_column)
    return pd.DataFrame(columns, index=[0])
