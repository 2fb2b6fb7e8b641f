"""How well the later part of paths is forecast from the earlier, by path and by time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.learning.random import numpy_stream, subseed
from dyninfer.metrics.populations import compare_populations
from dyninfer.metrics.scores import brier_score, crps, energy_score, hellinger_distance


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """Draws of what was to be observed, beside what was.

    Attributes
    ----------
    path : array ``(n,)``
        Number of the path of every observation.
    time : array ``(n,)``
    draws : array ``(m, n, feature)``, or integers ``(m, n)``
        Draws of the forecast of every observation.
    observed : array ``(n, feature)``, or integers ``(n,)``
        NaN, or -1, where nothing was observed.
    still : array of the shape of ``observed``
        Last observation that the forecast was made from: what an idle forecaster would say.
    n_states : int or None
        Number of states, where states were forecast.
    """

    path: np.ndarray
    time: np.ndarray
    draws: np.ndarray
    observed: np.ndarray
    still: np.ndarray
    n_states: int | None = None

    def scores(self) -> pd.DataFrame:
        """Scores of every single observation, each beside that of the last observation held still."""
        if self.n_states is not None:
            return self._state_scores(self.n_states)
        absolute = np.abs(self.still - self.observed)
        table = {
            "crps": _mean_of_known(crps(self.draws, self.observed).numpy()),
            "crps_still": _mean_of_known(absolute),
            "energy_score": energy_score(self.draws, self.observed).numpy(),
            "energy_score_still": np.linalg.norm(self.still - self.observed, axis=1),
        }
        return pd.DataFrame(table)

    def _state_scores(self, n_states: int) -> pd.DataFrame:
        table = pd.DataFrame(
            {
                "brier": brier_score(self.draws, self.observed, n_states).numpy(),
                "brier_still": 2.0 * (self.still != self.observed),
            }
        )
        table[self.observed < 0] = np.nan
        return table

    def by_path(self, n_paths: int) -> pd.DataFrame:
        """Number of observations that were forecast of each path, and their mean scores."""
        scores = self.scores()
        groups = scores.groupby(self.path)
        table = groups.mean().reindex(range(n_paths))
        table.insert(0, "forecasts", np.bincount(self.path, minlength=n_paths))
        return table

    def by_time(self, n_intervals: int, seed: int = 0) -> pd.DataFrame:
        """Mean scores, and distances between populations, in intervals with equally many forecasts.

        In each interval the draws of all forecasts are one population and what was observed is the
        other, at the very same times of the same paths.
        """
        edges = np.unique(np.quantile(self.time, np.linspace(0, 1, n_intervals + 1)))
        interval = np.clip(np.searchsorted(edges, self.time, side="left") - 1, 0, len(edges))
        scores = self.scores()
        rows = []
        for number in np.unique(interval):
            here = interval == number
            row: dict[str, Any] = {
                "time": float(self.time[here].mean()),
                "start": float(self.time[here].min()),
                "end": float(self.time[here].max()),
                "forecasts": int(here.sum()),
            }
            row |= self._population_distances(here, seed)
            rows.append(row | scores[here].mean().to_dict())
        return pd.DataFrame(rows)

    def _population_distances(self, here: np.ndarray, seed: int) -> dict[str, float]:
        draws, observed, still = self.draws[:, here], self.observed[here], self.still[here]
        if self.n_states is not None:
            return _state_distances(draws, observed, still, self.n_states)
        names = ("w1", "energy")
        known = ~np.isnan(observed).any(1)
        if not known.any():
            return {name + end: np.nan for name in names for end in ("", "_floor", "_still")}
        observed, still = observed[known], still[known]
        draws = draws[:, known].reshape(-1, observed.shape[1])
        # As many draws as observations, and not more than distances between them fit in memory.
        options: dict[str, Any] = {"metrics": names, "max_samples": min(len(observed), 4500)}
        distances = compare_populations(draws, observed, seed=seed, **options)
        idle = compare_populations(still, observed, seed=seed, floor=False, **options)
        distances |= {f"{name}_still": idle[name] for name in names}
        wanted = [name + end for name in names for end in ("", "_floor", "_still")]
        return {name: distances[name] for name in wanted}


def _state_distances(
    draws: np.ndarray, observed: np.ndarray, still: np.ndarray, n_states: int
) -> dict[str, float]:
    known = observed >= 0
    frequencies = np.bincount(observed[known], minlength=n_states)
    if not known.any():
        return {"hellinger": np.nan, "hellinger_floor": np.nan, "hellinger_still": np.nan}
    forecast = np.bincount(draws[:, known].ravel(), minlength=n_states)
    idle = np.bincount(still[known], minlength=n_states)
    # 8 n H² of a sample and its own distribution tends to χ² with S − 1 degrees of freedom.
    floor = np.sqrt((np.count_nonzero(frequencies) - 1) / (8 * known.sum()))
    return {
        "hellinger": float(hellinger_distance(forecast, frequencies)),
        "hellinger_floor": float(floor),
        "hellinger_still": float(hellinger_distance(idle, frequencies)),
    }


def forecast_rest(
    paths: Paths,
    targets: Paths,
    draw: Callable[[Paths, np.ndarray, int], Tensor],
    given: float,
    max_paths: int | None,
    seed: int,
) -> Forecasts:
    """Forecast the later observations of each path from the earlier ones.

    Parameters
    ----------
    paths : Paths
        What forecasts are made from.
    targets : Paths
        The same observations, as ``draw`` forecasts them.
    draw : callable
        From paths that are cut off, times ``(q,)`` after their ends, and a seed, to draws ``(path ·
        draw, q, ...)``, the draws of one path after those of another.
    given : float
        Part of the observations of a path that is given, rounded up. At least one is given, and one
        of two is left over.
    max_paths : int, optional
        Paths at most, drawn at random.
    seed : int

    Raises
    ------
    ValueError
        If ``given`` is not between 0 and 1, or no path has two observations.
    """
    if not 0 < given < 1:
        raise ValueError(f"given must lie between 0 and 1, found {given}")
    n_given = np.ceil(given * paths.lengths).astype(int).clip(1, np.maximum(paths.lengths - 1, 1))
    rows = np.flatnonzero(paths.lengths > 1)
    if len(rows) == 0:
        raise ValueError("every path has one observation, so that nothing is left to forecast")
    if max_paths is not None and len(rows) > max_paths:
        rows = np.sort(numpy_stream(seed, "forecast").permutation(rows)[:max_paths])
    # Paths with the same times to forecast are forecast together.
    groups: dict[bytes, list[int]] = {}
    for row in rows:
        groups.setdefault(paths.times[row][n_given[row] :].tobytes(), []).append(row)
    parts = [
        _forecast_group(paths, targets, draw, n_given, members, subseed(seed, "group", number))
        for number, members in enumerate(groups.values())
    ]
    return Forecasts(
        path=np.concatenate([part.path for part in parts]),
        time=np.concatenate([part.time for part in parts]),
        draws=np.concatenate([part.draws for part in parts], axis=1),
        observed=np.concatenate([part.observed for part in parts]),
        still=np.concatenate([part.still for part in parts]),
        n_states=targets.n_states,
    )


def _forecast_group(
    paths: Paths,
    targets: Paths,
    draw: Callable[[Paths, np.ndarray, int], Tensor],
    n_given: np.ndarray,
    members: list[int],
    seed: int,
) -> Forecasts:
    """Forecasts for paths whose later times are the same."""
    times = paths.times[members[0]][n_given[members[0]] :]
    past = replace(
        paths[members],
        times=tuple(paths.times[row][: n_given[row]] for row in members),
        states=tuple(paths.states[row][: n_given[row]] for row in members),
    )
    draws = draw(past, times, seed).cpu().numpy()
    draws = draws.reshape(len(members), -1, *draws.shape[1:]).swapaxes(0, 1)  # (m, path, time, ...)
    still = np.stack([targets.states[row][n_given[row] - 1] for row in members])
    return Forecasts(
        path=np.repeat(members, len(times)),
        time=np.tile(times, len(members)),
        draws=draws.reshape(len(draws), -1, *draws.shape[3:]),
        observed=np.concatenate([targets.states[row][n_given[row] :] for row in members]),
        still=np.repeat(still, len(times), axis=0),
        n_states=targets.n_states,
    )


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the features ``(n,)`` of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(1)
    return total / np.where(known.any(1), known.sum(1), np.nan)
