"""Whether to believe a model of paths: three sentences, from the scores of its forecasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dyninfer.data.columns import MissingKey
from dyninfer.data.words import counted
from dyninfer.metrics.calibration import LEVEL
from dyninfer.report.verdict import EQUAL_WITHIN, short

# In the order of preference, with their names in a sentence.
SCORES = {
    "energy_score": "energy score",
    "crps": "CRPS",
    "brier": "Brier score",
}
# Coverage within this distance of what it should be counts as that.
COVERED_WITHIN = 0.05


def path_belief(table: pd.DataFrame) -> list[str]:
    """Answer, numbers and limits, from what ``evaluate`` of a method of paths returned.

    Raises
    ------
    KeyError
        If the table does not say which paths were held out.
    ValueError
        If it has no rows.
    """
    for column in ("held_out", "observations"):
        if column not in table:
            raise MissingKey(f"table has no column {column!r}; give what model.evaluate returned")
    if len(table) == 0:
        raise ValueError("table has no rows; evaluate the model on at least one path")
    is_held_out = table["held_out"].astype(bool)
    if is_held_out.any():
        scored = PathScores(table[is_held_out], "held-out")
        n_in_sample = int((~is_held_out).sum())
        limits = "No score is in-sample."
        if n_in_sample:
            limits = (
                f"The scores of {_paths(n_in_sample, 'other')} are in-sample: the model was "
                "fitted to them."
            )
        return [scored.answer(), scored.numbers(), limits]
    scored = PathScores(table, "fitted")
    return [
        "Whether to believe the model is untested: no path was held out, so every score is "
        "in-sample, of paths that it was fitted to.",
        scored.numbers(),
        "Fit it again with hold_out=[names of paths], and evaluate those, before you rely on it.",
    ]


@dataclass(frozen=True)
class PathScores:
    """Scores of paths of one kind, weighed by their numbers of forecasts."""

    rows: pd.DataFrame
    kind: str  # "held-out" or "fitted"

    def answer(self) -> str:
        """Believe it, believe it in part, or do not."""
        name = self._score()
        paths = _paths(len(self.rows), self.kind)
        if name is None:
            return (
                f"Whether to believe the model is open: the likelihood of {paths} is known, but "
                "nothing was forecast, so no baseline stands beside it."
            )
        score = self._mean(name)
        still = self._mean(f"{name}_still")
        if not score < (1 - EQUAL_WITHIN) * still:
            return (
                f"Do not believe the model: it forecasts the later half of {paths} no better than "
                "the last value, held still."
            )
        coverage = self._mean("coverage")
        if np.isfinite(coverage) and abs(coverage - LEVEL) > COVERED_WITHIN:
            word = "too sure of it"
            if coverage > LEVEL:
                word = "less sure of it than it could be"
            return (
                f"Believe the model in part: it forecasts the later half of {paths} better than "
                f"the last value, held still, but is {word}."
            )
        return (
            f"Believe the model as a forecaster: it forecasts the later half of {paths} better "
            "than the last value, held still, and is as sure of it as it may be."
        )

    def numbers(self) -> str:
        """Mean scores beside those of the last value, coverage, and likelihood."""
        parts = []
        name = self._score()
        if name is not None:
            score = self._mean(name)
            still = self._mean(f"{name}_still")
            parts.append(
                f"the {SCORES[name]} is {short(score)}, that of the last value {short(still)} "
                "(less is better)"
            )
            coverage = self._mean("coverage")
            if np.isfinite(coverage):
                parts.append(
                    f"{100 * coverage:.0f} % of the observations lie where {100 * LEVEL:.0f} % "
                    "should"
                )
        if "log_likelihood" in self.rows:
            log_likelihood = self.rows["log_likelihood"].sum()
            n_observations = self.rows["observations"].sum()
            total = log_likelihood / n_observations
            parts.append(f"the log-likelihood of an observation is {total:.3g} nats")
        if not parts:
            return f"Nothing was scored on {_paths(len(self.rows), self.kind)}."
        return f"On {_paths(len(self.rows), self.kind)}, {'; '.join(parts)}."

    def _score(self) -> str | None:
        """The score that leads, or None where nothing was forecast."""
        for name in SCORES:
            if name in self.rows and self.rows[name].notna().any():
                return name
        return None

    def _mean(self, column: str) -> float:
        if column not in self.rows:
            return float("nan")
        values = self.rows[column].to_numpy(dtype=np.float64)
        weights = self.rows["forecasts"].to_numpy(dtype=np.float64)
        is_scored = np.isfinite(values) & (weights > 0)
        if not is_scored.any():
            return float("nan")
        own_values = values[is_scored]
        own_weights = weights[is_scored]
        return float(np.average(own_values, weights=own_weights))


def _paths(n: int, kind: str) -> str:
    return counted(n, f"{kind} path")
