"""Settings of what rates depend on: covariates of the paths, and periods of time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.jumps.formula import Levels, formula_columns, formula_matrix, without_repeats
from dyninfer.learning.settings import Settings, brief


class Effects(Settings):
    """Base of linear effects on log-rates; ``+`` combines several.

    Attributes
    ----------
    jumps : list of str, optional
        The jumps whose rates depend, as ``"from>to"``; by default all.
    shared : bool
        Whether the effects are the same for all of them.
    """

    in_training: ClassVar[bool] = False
    called: ClassVar[str] = "Covariates('~ sex + age'), Periods([5.0]) or their sum"
    jumps: list[str] | None
    shared: bool

    @property
    def parts(self) -> tuple[Effects, ...]:
        """The terms of a sum, or this effect alone."""
        return (self,)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of covariates that are needed."""
        return ()

    @property
    def break_times(self) -> tuple[float, ...]:
        """Times at which rates change."""
        return ()

    def check(self) -> None:
        """Raise a TypeError or a ValueError that names an invalid setting."""
        self.check_kinds(f"{type(self).__name__}.")

    @abstractmethod
    def matrix(self, table: pd.DataFrame | None, times: ndarray, levels: Levels) -> pd.DataFrame:
        """Design matrix ``(row, column)`` of the log-rates, from covariates and times."""

    def __add__(self, other: Any) -> EffectSum:
        # Python then asks the other operand, and says what cannot be added.
        if not isinstance(other, Effects):
            return NotImplemented
        return EffectSum(terms=[*self.parts, *other.parts])


@dataclass(repr=False, eq=False)
class _NoEffects(Effects):
    """Rates that depend on nothing, beside first states that do."""

    jumps: list[str] | None = None
    shared: bool = False

    def matrix(self, table: pd.DataFrame | None, times: ndarray, levels: Levels) -> pd.DataFrame:
        """No number for every time."""
        return pd.DataFrame(index=range(len(times)))


NO_EFFECTS = _NoEffects()


@dataclass(repr=False, eq=False)
class EffectSum(Effects):
    """Sum of effects, as ``+`` makes it.

    Parameters
    ----------
    terms : list of Effects
    """

    terms: list[Effects]

    @property
    def parts(self) -> tuple[Effects, ...]:
        """The terms."""
        return tuple(self.terms)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return " + ".join(map(repr, self.terms))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of covariates that are needed."""
        every = [name for term in self.terms for name in term.columns]
        return tuple(dict.fromkeys(every))

    @property
    def break_times(self) -> tuple[float, ...]:
        """Times at which rates change."""
        every = {time for term in self.terms for time in term.break_times}
        return tuple(sorted(every))

    def check(self) -> None:
        """Raise where a term cannot be, or there is none."""
        if not self.terms:
            raise ValueError("a sum of effects needs at least one term")
        for term in self.terms:
            if not isinstance(term, Effects):
                raise TypeError(f"only effects can be added up, found {brief(term)}")
            term.check()

    def matrix(self, table: pd.DataFrame | None, times: ndarray, levels: Levels) -> pd.DataFrame:
        """Numbers of all terms beside each other."""
        parts = [term.matrix(table, times, levels) for term in self.terms]
        return pd.concat(parts, axis=1)


@dataclass(repr=False, eq=False)
class Covariates(Effects):
    r"""Log-rates that are linear in numeric or categorical covariates (proportional hazards).

    .. math:: Q_{ij}(z) = Q_{ij} \, e^{\beta_{ij} \cdot z}

    The value at an observation holds until the next one. The rates :math:`Q_{ij}` hold where all
    covariates are 0 and all categories are at their first level.

    Parameters
    ----------
    formula : str
        Columns of ``obs``, or of ``Paths(covariates=...)``, as in R: ``"~ sex + age"``,
        ``"~ sex * age"`` with their interaction. A formula cannot call functions.
    jumps : list of str, optional
        The jumps whose rates depend, as ``"from>to"``; by default all.
    shared : bool
        Whether the effects are the same for all of them.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.Covariates("~ sex + age") + di.Periods([5.0])  # rates also change at time 5
    Covariates(formula='~ sex + age') + Periods(breaks=[5.0])
    """

    formula: str
    jumps: list[str] | None = None
    shared: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the formula names."""
        return formula_columns(self.formula)

    def check(self) -> None:
        """Raise a TypeError or a ValueError that names an invalid setting."""
        super().check()
        formula_columns(self.formula)

    def matrix(self, table: pd.DataFrame | None, times: ndarray, levels: Levels) -> pd.DataFrame:
        """Design matrix of the formula."""
        if table is None:
            raise ValueError(
                f"covariates={brief(self)} needs the columns {', '.join(self.columns)}; give "
                "Paths(covariates=...), or an AnnData with them in obs"
            )
        # Rows are many and mostly alike.
        own_columns = [name for name in self.columns if name in table]
        if own_columns:
            table, number = without_repeats(table[own_columns])
        else:
            number = np.zeros(len(table), dtype=np.int64)
        return formula_matrix(self.formula, table, levels).iloc[number].reset_index(drop=True)


@dataclass(repr=False, eq=False)
class Periods(Effects):
    """Rates that change at given times, by learned factors.

    The rates of the model are those of the first period; a time of change belongs to the period
    that it ends.

    Parameters
    ----------
    breaks : list of float
        Increasing times at which rates change, in the unit of the data.
    jumps : list of str, optional
        The jumps whose rates change, as ``"from>to"``; by default all.
    shared : bool
        Whether they change by the same factor.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(covariates=di.Periods([5.0])).covariates
    Periods(breaks=[5.0])
    """

    breaks: list[float]
    jumps: list[str] | None = None
    shared: bool = False

    @property
    def break_times(self) -> tuple[float, ...]:
        """Times at which rates change."""
        return tuple(map(float, self.breaks))

    def check(self) -> None:
        """Raise a TypeError or a ValueError where the times are not increasing numbers."""
        super().check()
        times = np.array(self.break_times)
        is_increasing = (np.diff(times) > 0).all()
        if len(times) == 0 or not np.isfinite(times).all() or not is_increasing:
            raise ValueError(
                f"Periods.breaks must be increasing finite times, found {brief(self.breaks)}"
            )

    def matrix(self, table: pd.DataFrame | None, times: ndarray, levels: Levels) -> pd.DataFrame:
        """Indicators of all periods but the first."""
        period = np.searchsorted(self.break_times, times, side="right")
        columns = {}
        for number, name in enumerate(self._names(), start=1):
            columns[name] = (period == number).astype(np.float64)
        return pd.DataFrame(columns)

    def _names(self) -> list[str]:
        ends = [f" to {time:g}" for time in self.break_times[1:]]
        starts: Sequence[float] = self.break_times
        return [f"time {start:g}{end}" for start, end in zip(starts, [*ends, " on"], strict=True)]
