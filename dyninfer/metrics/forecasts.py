"""How well the later part of paths is forecast from the earlier, by path and by time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.paths.checks import is_missing
from dyninfer.data.paths.observed import last_value
from dyninfer.learning.random import numpy_stream, subseed
from dyninfer.learning.settings import brief, check_count
from dyninfer.learning.warn import warn
from dyninfer.metrics.calibration import LEVEL, LEVELS, coverage, state_coverage
from dyninfer.metrics.populations import compare_populations
from dyninfer.metrics.reliability_table import N_BINS, reliability
from dyninfer.metrics.scores import brier_score, crps, energy_score, hellinger_distance

MOST_SAMPLES = 4500  # of a population: exact transport of more takes minutes and gigabytes


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

    @classmethod
    def joined(cls, parts: Sequence[Forecasts]) -> Forecasts:
        """Forecasts of several groups of paths as one."""
        columns: dict[str, Any] = {}
        for name in ("path", "time", "observed", "still"):
            values = [getattr(part, name) for part in parts]
            columns[name] = np.concatenate(values)
        draws = [part.draws for part in parts]
        return cls(
            draws=np.concatenate(draws, axis=1),
            n_states=parts[0].n_states,
            **columns,
        )

    def without_diverged(self) -> Forecasts:
        """The same with nothing observed where a draw diverged, as no score is true there."""
        if self.n_states is not None:
            return self
        is_finite = np.isfinite(self.draws)
        is_lost = ~is_finite.all(axis=(0, 2))
        if not is_lost.any():
            return self
        warn(
            f"draws of {int(is_lost.sum())} of {len(is_lost)} forecasts diverged; their scores are "
            "NaN, and left out of every mean"
        )
        lost = is_lost[:, None]
        draws = np.where(lost, 0.0, self.draws)
        observed = np.where(lost, np.nan, self.observed)
        return replace(self, draws=draws, observed=observed)

    def scores(self) -> pd.DataFrame:
        """Scores of every observation, each beside that of the last observation unmoved."""
        if self.n_states is not None:
            return self._state_scores(self.n_states)
        by_feature = crps(self.draws, self.observed)
        energy = energy_score(self.draws, self.observed)
        error_still = self.still - self.observed
        absolute_error = np.abs(error_still)
        table = {
            "crps": _mean_of_present(by_feature.numpy()),
            "crps_still": _mean_of_present(absolute_error),
            "energy_score": energy.numpy(),
            "energy_score_still": np.hypot.reduce(error_still, axis=1),
            "coverage": self.coverage(),
        }
        return pd.DataFrame(table)

    def coverage(self, level: float = LEVEL) -> np.ndarray:
        """Whether each observation ``(n,)`` lies within its forecast, mean over the features."""
        if self.n_states is not None:
            inside = state_coverage(self.draws, self.observed, self.n_states, level)
            return inside.numpy()
        by_feature = coverage(self.draws, self.observed, level)
        return _mean_of_present(by_feature.numpy())

    def calibration_error(self) -> float:
        """Mean distance between the coverage of central regions and their levels.

        0 for forecasts that are as sure as they may be, up to the chance of few observations.
        """
        distances = []
        for level in LEVELS:
            inside = self.coverage(level)
            share = np.nanmean(inside)
            distances.append(abs(share - level))
        return float(np.mean(distances))

    def reliability(self, n_bins: int = N_BINS) -> pd.DataFrame:
        """What was said to be likely, beside how often it came: a table of ``reliability``.

        Of states, their probabilities in bins of equal width. Of numbers, central regions of
        ``n_bins − 1`` levels, and the share of the observations in each; paths are the groups.
        """
        if self.n_states is not None:
            return self._state_reliability(self.n_states, n_bins)
        tables = []
        for level in np.arange(1, n_bins) / n_bins:
            inside = self.coverage(level)
            is_observed = np.isfinite(inside)
            held = inside[is_observed]
            levels = np.full(len(held), level)
            groups = self.path[is_observed]
            # All have one prediction, and so one bin.
            table = reliability(levels, held, groups=groups, n_bins=1)
            tables.append(table.assign(low=level, high=level))
        return pd.concat(tables, ignore_index=True)

    def _state_reliability(self, n_states: int, n_bins: int) -> pd.DataFrame:
        is_observed = self.observed >= 0
        draws = self.draws[:, is_observed]
        observed = self.observed[is_observed]
        states = np.arange(n_states)
        predicted = np.stack([(draws == state).mean(axis=0) for state in states], axis=1)
        is_there = observed[:, None] == states
        groups = np.repeat(self.path[is_observed], n_states)
        return reliability(predicted.ravel(), is_there.ravel(), groups=groups, n_bins=n_bins)

    def _state_scores(self, n_states: int) -> pd.DataFrame:
        brier = brier_score(self.draws, self.observed, n_states)
        is_wrong = self.still != self.observed
        scores = {
            "brier": brier.numpy(),
            # A sure forecast of another state misses both of them.
            "brier_still": 2.0 * is_wrong,
            "coverage": self.coverage(),
        }
        table = pd.DataFrame(scores)
        table[self.observed < 0] = np.nan
        return table

    def by_path(self, n_paths: int) -> pd.DataFrame:
        """Number of observations that were forecast of each path, and their mean scores."""
        scores = self.scores()
        groups = scores.groupby(self.path)
        # Paths without a forecast have no scores.
        table = groups.mean().reindex(range(n_paths))
        _warn_unless_whole(table, "paths")
        n_forecasts = np.bincount(self.path, minlength=n_paths)
        table.insert(0, "forecasts", n_forecasts)
        return table

    def by_time(self, n_intervals: int, seed: int = 0) -> pd.DataFrame:
        """Mean scores, and distances between populations, in intervals with equally many forecasts.

        In each interval the draws of all forecasts are one population and what was observed is the
        other, at the very same times of the same paths.
        """
        levels = np.linspace(0, 1, n_intervals + 1)
        quantiles = np.quantile(self.time, levels)
        # Times that many paths share make some of the edges equal.
        edges = np.unique(quantiles)
        # An edge belongs to the interval before it, the first edge to the first.
        interval = np.searchsorted(edges, self.time, side="left") - 1
        interval = np.maximum(interval, 0)
        scores = self.scores()
        rows = []
        for number in np.unique(interval):
            here = interval == number
            times = self.time[here]
            row: dict[str, Any] = {
                "time": float(times.mean()),
                "start": float(times.min()),
                "end": float(times.max()),
                "forecasts": len(times),
            }
            mean_scores = scores[here].mean()
            row |= self._population_distances(here, seed)
            row |= mean_scores.to_dict()
            rows.append(row)
        table = pd.DataFrame(rows)
        _warn_unless_whole(table, "intervals of time")
        return table

    def _population_distances(self, here: np.ndarray, seed: int) -> dict[str, float]:
        draws = self.draws[:, here]
        observed = self.observed[here]
        still = self.still[here]
        if self.n_states is not None:
            return _state_distances(draws, observed, still, self.n_states)
        is_whole = ~np.isnan(observed).any(axis=1)
        observed = observed[is_whole]
        still = still[is_whole]
        n_features = observed.shape[1]
        draws = draws[:, is_whole]
        draws = draws.reshape(-1, n_features)
        return _number_distances(draws, observed, still, seed)


def _warn_unless_whole(table: pd.DataFrame, rows: str) -> None:
    """Say where a score of vectors is missing because no observation has all of its features."""
    if "energy_score" not in table:
        return
    has_no_energy = table["energy_score"].isna()
    is_in_parts = table["crps"].notna() & has_no_energy
    n_in_parts = int(is_in_parts.sum())
    if n_in_parts:
        warn(
            f"energy_score is NaN for {n_in_parts} of {len(table)} {rows}: it needs all features "
            "at one time, and no forecast time there has them; crps scores each feature by itself"
        )


def _number_distances(
    draws: np.ndarray, observed: np.ndarray, still: np.ndarray, seed: int
) -> dict[str, float]:
    """Distances of draws ``(m, feature)`` and of idle forecasts from observations."""
    names = ("w1", "energy")
    columns = [name + end for name in names for end in ("", "_floor", "_still")]
    if len(observed) == 0:
        return dict.fromkeys(columns, np.nan)
    # As many draws as observations, and not more than distances between them fit in memory.
    options: dict[str, Any] = {
        "metrics": names,
        "max_samples": min(len(observed), MOST_SAMPLES),
        "seed": seed,
    }
    distances = compare_populations(draws, observed, **options)
    idle = compare_populations(still, observed, floor=False, **options)
    for name in names:
        distances[f"{name}_still"] = idle[name]
    return {name: distances[name] for name in columns}


def _state_distances(
    draws: np.ndarray, observed: np.ndarray, still: np.ndarray, n_states: int
) -> dict[str, float]:
    """Distances of forecast and of idle frequencies of states from those observed."""
    is_present = observed >= 0
    n_observed = int(is_present.sum())
    if n_observed == 0:
        return {"hellinger": np.nan, "hellinger_floor": np.nan, "hellinger_still": np.nan}
    frequencies = np.bincount(observed[is_present], minlength=n_states)
    states = draws[:, is_present].ravel()
    forecast = np.bincount(states, minlength=n_states)
    # Of a path of which nothing was given there is no state to hold still.
    is_held = is_present & (still >= 0)
    idle = np.bincount(still[is_held], minlength=n_states)
    # 8 n H² of a sample and its own distribution tends to χ² with S − 1 degrees of freedom.
    degrees = np.count_nonzero(frequencies) - 1
    floor = np.sqrt(degrees / (8 * n_observed))
    return {
        "hellinger": float(hellinger_distance(forecast, frequencies)),
        "hellinger_floor": float(floor),
        "hellinger_still": float(hellinger_distance(idle, frequencies)),
    }


def forecast_rest(
    paths: Paths,
    targets: Paths,
    draw: Callable[[Paths, np.ndarray, int], Tensor],
    share: float,
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
    share : float
        Part of the observations of a path that is given, rounded up. At least one is given, and one
        of two is left over.
    max_paths : int, optional
        Paths at most, drawn at random.
    seed : int

    Raises
    ------
    ValueError
        If ``share`` is not between 0 and 1, or no path has something to forecast from.
    """
    if not isinstance(share, float | int) or not 0 < share < 1:
        raise ValueError(f"past_fraction must lie between 0 and 1, found {brief(share)}")
    if max_paths is not None:
        check_count(max_paths, "max_paths")
    lengths = paths.lengths
    n_past = np.ceil(share * lengths).astype(int)
    # One at least lies in the past, and one in the future.
    most = np.maximum(lengths - 1, 1)
    n_past = np.clip(n_past, 1, most)
    has_future = lengths > 1
    # Of a path whose past is missing there is nothing to forecast from.
    has_past = _has_past(paths, n_past)
    rows = np.flatnonzero(has_future & has_past)
    if len(rows) == 0:
        raise ValueError(
            "no path has an observation to forecast from and one after it, so that nothing is left "
            "to forecast"
        )
    if max_paths is not None and len(rows) > max_paths:
        rng = numpy_stream(seed, "forecast")
        order = rng.permutation(rows)
        rows = np.sort(order[:max_paths])
    # Paths with the same times to forecast are forecast together.
    groups: dict[bytes, list[int]] = {}
    for row in rows.tolist():
        first_future = n_past[row]
        future = paths.times[row][first_future:]
        group = groups.setdefault(future.tobytes(), [])
        group.append(row)
    parts = []
    for number, members in enumerate(groups.values()):
        group_seed = subseed(seed, "group", number)
        part = _forecast_group(paths, targets, draw, n_past, members, group_seed)
        parts.append(part)
    return Forecasts.joined(parts).without_diverged()


def _has_past(paths: Paths, n_past: np.ndarray) -> np.ndarray:
    """Which paths ``(n,)`` bool have an observed value among their first ones."""
    has_past = []
    for states, n in zip(paths.states, n_past, strict=True):
        missing = is_missing(states[:n])
        has_past.append(not missing.all())
    return np.array(has_past)


def _forecast_group(
    paths: Paths,
    targets: Paths,
    draw: Callable[[Paths, np.ndarray, int], Tensor],
    n_past: np.ndarray,
    members: list[int],
    seed: int,
) -> Forecasts:
    """Forecasts for paths whose later times are the same."""
    last = []
    future = []
    for row in members:
        n = n_past[row]
        observed = targets.states[row]
        last.append(last_value(observed[:n]))
        future.append(observed[n:])
    past = paths[members].first_rows(n_past[members])
    first = members[0]
    first_future = n_past[first]
    times = paths.times[first][first_future:]
    draws = draw(past, times, seed).cpu().numpy()
    still = np.stack(last)
    n_times = len(times)
    n_members = len(members)
    # (path · draw, time, ...) to (draw, path, time, ...)
    draws = draws.reshape(n_members, -1, *draws.shape[1:])
    draws = draws.swapaxes(0, 1)
    of_observation = draws.shape[3:]
    draws = draws.reshape(len(draws), -1, *of_observation)
    return Forecasts(
        path=np.repeat(members, n_times),
        time=np.tile(times, n_members),
        draws=draws,
        observed=np.concatenate(future),
        still=np.repeat(still, n_times, axis=0),
        n_states=targets.n_states,
    )


def _mean_of_present(values: np.ndarray) -> np.ndarray:
    """Mean over the features ``(n,)`` of what is not NaN; NaN where all is."""
    is_present = ~np.isnan(values)
    present = np.where(is_present, values, 0)
    total = present.sum(axis=1)
    count = is_present.sum(axis=1)
    # No number, where nothing is present.
    divisor = np.where(count > 0, count, np.nan)
    return total / divisor
