"""Covariates that change at given times, and stay as they are between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dyninfer.data.paths.covariates import as_table
from dyninfer.learning.settings import brief, is_number


@dataclass(frozen=True, eq=False)
class Schedule:
    """Values of covariates, each from its time until that of the next.

    Attributes
    ----------
    times : tuple of float
        Increasing; the first is −inf where the values hold at all times.
    tables : tuple of DataFrame
        At each time one row for all, or a row for each process.
    is_batch : bool
        Whether any of the values was given as a table.
    """

    times: tuple[float, ...]
    tables: tuple[pd.DataFrame, ...]
    is_batch: bool

    @classmethod
    def of(cls, covariates: Any) -> Schedule:
        """Read values, a table, or either of them by the times from which on they hold.

        Raises
        ------
        TypeError, ValueError
            If they are no table, or a time is not finite.
        """
        if isinstance(covariates, Schedule):
            return covariates
        by_time = {-np.inf: covariates}
        if is_by_time(covariates):
            by_time = {float(time): values for time, values in covariates.items()}
            if not np.isfinite(list(by_time)).all():
                raise ValueError(
                    f"covariates change at finite times, found {brief(list(covariates))}"
                )
        # A mapping keeps the order in which it was written, which need not be that of time.
        times = tuple(sorted(by_time))
        tables = [as_table(by_time[time]).reset_index(drop=True) for time in times]
        is_batch = any(isinstance(values, pd.DataFrame) for values in by_time.values())
        return cls(times, tuple(tables), is_batch)

    @property
    def changes(self) -> tuple[float, ...]:
        """Times at which values change."""
        return self.times[1:]

    def at(self, time: float) -> pd.DataFrame:
        """Values at a time; before the first time they are those of it."""
        n_begun = int(np.searchsorted(self.times, time, side="right"))
        return self.tables[max(n_begun - 1, 0)]

    def mapped(self, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Schedule:
        """The schedule with other tables, as of a batch."""
        tables = tuple(map(change, self.tables))
        return Schedule(self.times, tables, is_batch=True)

    def check_begun(self, time: float) -> None:
        """Raise a ValueError where no values are known at a time."""
        if time < self.times[0]:
            raise ValueError(
                f"covariates are given from time {self.times[0]:g} on, and the run begins at "
                f"{time:g}; give those of its beginning"
            )


def is_by_time(covariates: Any) -> bool:
    """Whether values of covariates are given by times, and not by names."""
    if not isinstance(covariates, Mapping) or len(covariates) == 0:
        return False
    return all(is_number(key) for key in covariates)
