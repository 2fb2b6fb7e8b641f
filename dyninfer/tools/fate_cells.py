"""Cells as a fitted model reads them, time by time, and as starts of its simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dyninfer.data.arrays import dense_rows
from dyninfer.data.columns import obs_column, time_column
from dyninfer.data.reading import check_features, source_of
from dyninfer.data.representation import representation
from dyninfer.data.times import Clock
from dyninfer.tools.fate_draws import Sources

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Cells:
    """Cells as the model reads them."""

    adata: AnnData
    source: dict[str, Any]
    states: np.ndarray  # (n, feature), NaN where a cell has missing values
    features: tuple[str, ...]
    rep: str
    clock: Clock
    positions: np.ndarray  # (n,) number of each cell's time

    @classmethod
    def of(cls, adata: AnnData, model: Any) -> Cells:
        """Read the cells by the keys of the model's fit."""
        source = source_of(model.provenance_, "time_key", "an AnnData to fit")
        array, features, rep = representation(adata, source.get("use_rep"))
        check_features(features, model.provenance_)
        states = dense_rows(array, np.arange(adata.n_obs), rep)
        column = time_column(adata, source["time_key"])
        clock = Clock.of(column, source["time_key"])
        return cls(adata, source, states, features, rep, clock, clock.positions(column))

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

    def rows(self, time: float) -> np.ndarray:
        """Rows of the cells of a time."""
        return np.flatnonzero(self.positions == self.clock.index(time))

    def before(self, at: float) -> list[float]:
        """Times before the end."""
        return [float(time) for time in self.clock.times if time < at]

    def is_whole(self, rows: np.ndarray) -> np.ndarray:
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
        states = self.states[rows[place]]
        return Sources(time, states, self._starts(time, rows[place], states))

    def _starts(self, time: float, rows: np.ndarray, states: np.ndarray) -> Callable[..., Any]:
        if self.source.get("condition_key") is None:
            return lambda numbers: states[numbers]
        return lambda numbers: self._with_conditions(time, rows[numbers])

    def _with_conditions(self, time: float, rows: np.ndarray) -> AnnData:
        """An AnnData of some cells, each under its own condition."""
        import anndata as ad

        column = obs_column(self.adata, self.source["condition_key"], "condition_key")
        names = np.arange(len(rows)).astype(str)
        obs = pd.DataFrame({self.time_key: time}, index=names)
        obs[self.source["condition_key"]] = column.iloc[rows].array
        if "weight_key" in self.source:
            # Weights of cells cancel in shares of their own paths.
            obs[self.source["weight_key"]] = 1.0
        states = self.states[rows]
        cells = ad.AnnData(states, obs=obs, var=pd.DataFrame(index=list(self.features)))
        # Where the model looks for it.
        if self.rep in self.adata.obsm:
            cells.obsm[self.rep] = states
        elif self.rep in self.adata.layers:
            cells.layers[self.rep] = states
        return cells
