"""What a fitted model says of the Hurst index of its noise: a number, or a function of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.time_reading import requested_times
from dyninfer.fractional.inference import FittedEquation
from dyninfer.fractional.settings import FractionalNoise, Latent, Observed
from dyninfer.learning.settings import check_level


class IndexOfMemory:
    """The index of a model that has ``noise`` and a fitted equation."""

    if TYPE_CHECKING:
        # Of the estimator, which documents them.
        noise: FractionalNoise
        state: Observed | Latent
        model_: Any
        _check_fitted: Any
        _known: Any

        @property
        def _fitted(self) -> FittedEquation: ...

    @property
    def hurst_(self) -> float | ndarray | pd.Series:
        """The Hurst index, one per coordinate, or one per knot where it changes in time."""
        self._check_fitted()
        moments = self._fitted.moments
        if moments is not None:
            times = pd.Index(moments, name="time")
            return pd.Series(self._fitted.hurst_at(moments), times, name="hurst")
        hurst = self.model_.prior.hurst.detach()
        if self.noise.per_dimension:
            return hurst.cpu().numpy()
        return float(hurst)

    def hurst_at(self, times: Sequence[float] | ndarray) -> ndarray:
        """The Hurst index at times ``(n,)``: ``(n,)``, where it changes in time.

        Beyond the knots it is constant.
        """
        self._check_fitted()
        times = requested_times(times)
        self._check_changes("hurst_at")
        return self._fitted.hurst_at(times)

    def hurst_interval(
        self, level: float = 0.95, times: Sequence[float] | ndarray | None = None
    ) -> ndarray:
        """Confidence interval of the Hurst index ``(2,)``, ``(d, 2)``, or over time ``(n, 2)``.

        It is normal in the logit of the index, from the curvature of the likelihood. The error of
        the Markov approximation is not in it: see ``process_.noise.report(hurst_)``.

        Parameters
        ----------
        level : float
            Coverage.
        times : sequence of float, optional
            Times at which a changing index is asked for; by default the times of ``hurst_``.
        """
        self._check_fitted()
        if times is not None:
            self._check_changes("hurst_interval(times=...)")
            times = requested_times(times)
        moments = self._fitted.moments
        if moments is not None and times is None:
            times = moments
        interval = self._fitted.hurst_interval(level, times)
        if self.noise.per_dimension or moments is not None:
            return interval
        return interval[0]

    def hurst_table(self, level: float = 0.95) -> pd.DataFrame:
        """The index with its interval: columns ``hurst``, ``low`` and ``high``.

        One row; one per feature or latent coordinate, by name or number; or one per time of
        ``hurst_``. The ends are NaN where there is no interval: for an index that was given, or
        trained on a bound.
        """
        self._check_fitted()
        check_level(level)
        hurst = self.hurst_
        values = np.atleast_1d(hurst)
        # A report shows a dash where there is no number.
        ends = np.full((len(values), 2), np.nan)
        if self._fitted.reason_against_interval is None:
            ends = np.atleast_2d(self.hurst_interval(level))
        table = pd.DataFrame({"hurst": values, "low": ends[:, 0], "high": ends[:, 1]})
        if self.noise.changes:
            table.index = pd.Index(self._fitted.moments, name="time")
        elif self.noise.per_dimension:
            table.index = self._coordinates()
        return table

    def learned(self) -> dict[str, pd.DataFrame]:
        """The index of memory with 95 % intervals, by name; see :meth:`summary`."""
        table = self.hurst_table()
        if table.index.name is not None:
            table = table.reset_index()
        return {"index of memory": table}

    def _coordinates(self) -> pd.Index:
        """What each coordinate of the equation is."""
        if isinstance(self.state, Latent):
            return pd.RangeIndex(self.state.dim, name="coordinate")
        return pd.Index(self._known().features, name="feature")

    def _check_changes(self, name: str) -> None:
        """Raise a ValueError where an index is asked for at times and has none."""
        if not self.noise.changes:
            raise ValueError(
                f"{name} needs an index that changes, and this one is constant: see hurst_; fit "
                "with noise=FractionalNoise(hurst='linear') for one that changes in time"
            )
