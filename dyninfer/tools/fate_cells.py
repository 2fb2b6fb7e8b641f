"""Cells as a fitted model reads them, time by time, and as starts of its simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import dense_rows
from dyninfer.data.columns import obs_column, time_column
from dyninfer.data.reading import check_features, source_of
from dyninfer.data.representation import representation
from dyninfer.data.times import Clock
from dyninfer.data.words import counted
from dyninfer.learning.warn import warn
from dyninfer.tools.fate_draws import Sources

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Cells:
    """Cells as the model reads them."""

    adata: AnnData
    source: dict[str, Any]
    states: ndarray  # (n, feature), NaN where a cell has missing values
    features: tuple[str, ...]
    rep: str
    clock: Clock
    positions: ndarray  # (n,) number of each cell's time

    @classmethod
    def of(cls, adata: AnnData, model: Any) -> Cells:
        """Read the cells by the keys of the model's fit."""
        source = source_of(model.provenance_, "time_key", "an AnnData to fit")
        time_key = source["time_key"]
        use_rep = source.get("use_rep")
        array, features, rep = representation(adata, use_rep)
        check_features(features, model.provenance_)
        every_row = np.arange(adata.n_obs)
        times = time_column(adata, time_key)
        clock = Clock.of(times, time_key)
        states = dense_rows(array, every_row, rep)
        n_incomplete = int((~np.isfinite(states).all(1)).sum())
        if n_incomplete:
            cells = counted(n_incomplete, "cell")
            warn(f"{cells} with missing values in {rep} are left out: what is asked of them is NaN")
        return cls(
            adata=adata,
            source=source,
            states=states,
            features=features,
            rep=rep,
            clock=clock,
            positions=clock.positions(times),
        )

    @property
    def time_key(self) -> str:
        """Column of the times."""
        return self.source["time_key"]

    def end(self, at: float | None) -> float:
        """The end time: one of the data, and not the first."""
        times = self.clock.times
        k = len(times) - 1 if at is None else self.clock.index(at)
        if k == 0:
            raise ValueError(
                f"time {times[0]:g} is the first of the data, which no cell leads to; "
                "give a later one: at=..."
            )
        return float(times[k])

    def rows(self, time: float) -> ndarray:
        """Rows of the cells of a time."""
        k = self.clock.index(time)
        return np.flatnonzero(self.positions == k)

    def before(self, at: float) -> list[float]:
        """Times before the end."""
        return [float(time) for time in self.clock.times if time < at]

    def is_whole(self, rows: ndarray) -> ndarray:
        """Whether cells have all of their values."""
        return np.isfinite(self.states[rows]).all(1)

    def sources(self, time: float) -> Sources:
        """Cells of a time as starts; those with missing values have the place of another.

        They keep their number, which the noise of the others depends on.
        """
        rows = self.rows(time)
        is_whole = self.is_whole(rows)
        place = np.arange(len(rows))
        if is_whole.any():
            place = np.where(is_whole, place, is_whole.argmax())
        own_rows = rows[place]
        states = self.states[own_rows]
        start = self._starts(time, own_rows, states)
        return Sources(time, states, start)

    def _starts(self, time: float, rows: ndarray, states: ndarray) -> Callable[..., Any]:
        if self.source.get("condition_key") is None:
            return lambda numbers: states[numbers]
        return lambda numbers: self._with_conditions(time, rows[numbers])

    def _with_conditions(self, time: float, rows: ndarray) -> AnnData:
        """An AnnData of some cells, each under its own condition."""
        import anndata as ad

        condition_key = self.source["condition_key"]
        column = obs_column(self.adata, condition_key, "condition_key")
        numbers = np.arange(len(rows))
        obs = pd.DataFrame(index=numbers.astype(str))
        obs[self.time_key] = time
        obs[condition_key] = column.iloc[rows].array
        weight_key = self.source.get("weight_key")
        if weight_key is not None:
            # Weights of cells cancel in shares of their own paths.
            obs[weight_key] = 1.0
        states = self.states[rows]
        var = pd.DataFrame(index=list(self.features))
        cells = ad.AnnData(states, obs=obs, var=var)
        # Where the model looks for it.
        if self.rep in self.adata.obsm:
            cells.obsm[self.rep] = states
        elif self.rep in self.adata.layers:
            cells.layers[self.rep] = states
        return cells
