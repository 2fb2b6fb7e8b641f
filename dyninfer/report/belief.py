"""Whether to believe a model: three sentences, from the numbers of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dyninfer.report.checks import METRICS, check_model, check_scores, check_text
from dyninfer.report.path_belief import path_belief
from dyninfer.report.verdict import EQUAL_WITHIN, short, written_time

# What a prediction must beat, by the ending of its column, and its name in a sentence.
BASELINES = {
    "still": "cells that do not move",
    "ot": "straight lines by optimal transport",
    "next": "the cells of the time after",
    "growth_first": "straight lines after growth",
}


def belief(model: Any, table: pd.DataFrame, time_unit: str = "") -> list[str]:
    """Say in three sentences whether to believe the model: the answer, its numbers, its limits.

    Parameters
    ----------
    model : Estimator
        Fitted, to snapshots or to paths.
    table : DataFrame
        From ``model.evaluate``; of snapshots with ``baselines=("still", "ot")`` for all that can be
        said.
    time_unit : str
        Unit of time.

    Returns
    -------
    list of str
        Three sentences.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the model is not fitted, or the table holds no metric or lacks a column of one.
    """
    check_model(model)
    if isinstance(table, pd.DataFrame) and "path" in table:
        return path_belief(table)
    metric = check_scores(table, "table", is_whole=False)
    check_text(time_unit, "time_unit")
    is_held_out = table["held_out"].astype(bool)
    if not is_held_out.any():
        return _untested(table, metric)
    scores = HeldOut(table[is_held_out], metric, time_unit)
    n_in_sample = int((~is_held_out).sum())
    limits = _limits(len(scores.rows), n_in_sample)
    return [scores.answer(), scores.numbers(), limits]


@dataclass(frozen=True)
class HeldOut:
    """Scores of the held-out times, beside the baselines that the table has."""

    rows: pd.DataFrame
    metric: str
    time_unit: str

    def answer(self) -> str:
        """Believe it, believe it in part, or do not."""
        n_times = len(self.rows)
        wins = self._wins()
        where = self._times_in_words()
        if not wins:
            return (
                f"Whether to believe the model is open: {where} held out, but its score stands "
                'beside no baseline; evaluate with baselines=("still", "ot").'
            )
        lost = [name for name, n_won in wins.items() if n_won < n_times]
        if not lost:
            others = " and ".join(BASELINES[name] for name in wins)
            return (
                f"Believe the model between the times of the data: {where} held out, and it "
                f"predicts the cells there better than {others}."
            )
        # No movement comes first: who does not beat it has learned no dynamics.
        if wins.get("still") == 0 or not any(wins.values()):
            others = " or ".join(BASELINES[name] for name in lost)
            return (
                f"Do not believe the model: {where} held out, and it predicts the cells there no "
                f"better than {others}."
            )
        return f"Believe the model in part: {where} held out, and {self._gains(wins)}."

    def _gains(self, wins: dict[str, int]) -> str:
        """What was beaten and what was not, or how often."""
        if len(self.rows) > 1:
            counts = [f"{BASELINES[name]} at {n_won}" for name, n_won in wins.items()]
            times = _times(len(self.rows))
            return f"of {times} it predicts the cells better than {', '.join(counts)}"
        won = [BASELINES[name] for name, n_won in wins.items() if n_won]
        lost = [BASELINES[name] for name, n_won in wins.items() if not n_won]
        return (
            f"it predicts the cells there better than {' and '.join(won)}, but no better than "
            f"{' and '.join(lost)}"
        )

    def numbers(self) -> str:
        """Mean scores of the model, the baselines and the floor."""
        first = self.rows["time"].iloc[0]
        when = written_time(first, self.time_unit)
        place = f"At {when}"
        if len(self.rows) > 1:
            place = f"On average over {len(self.rows)} held-out times"
        mean = self.rows[self.metric].mean()
        score = short(float(mean))
        parts = []
        beside = BASELINES | {"floor": "another sample of the observed cells"}
        for name, label in beside.items():
            value = self._mean(name)
            if np.isfinite(value):
                parts.append(f"{label} {short(value)}")
        sentence = (
            f"{place}, the simulated cells are {score} from the observed ones "
            f"({METRICS[self.metric]})"
        )
        if not parts:
            return f"{sentence}."
        return f"{sentence}; for {', '.join(parts)}."

    def _wins(self) -> dict[str, int]:
        """Number of held-out times at which the model beats each baseline of the table."""
        wins = {}
        for name in BASELINES:
            baseline = self._column(name)
            if np.isfinite(baseline).any():
                scores = self.rows[self.metric].to_numpy()
                border = (1 - EQUAL_WITHIN) * baseline
                is_closer = scores < border
                # The last time lacks some baselines: there is nothing to lose against.
                is_better = is_closer | np.isnan(baseline)
                wins[name] = int(is_better.sum())
        return wins

    def _column(self, name: str) -> np.ndarray:
        column = f"{self.metric}_{name}"
        if column not in self.rows:
            return np.full(len(self.rows), np.nan)
        return self.rows[column].to_numpy(dtype=np.float64)

    def _mean(self, name: str) -> float:
        values = self._column(name)
        # A mean over fewer times than the model's would compare unlike with unlike.
        return float(values.mean())

    def _times_in_words(self) -> str:
        times = [written_time(time, self.time_unit) for time in self.rows["time"]]
        if len(times) == 1:
            return f"{times[0]} was"
        if len(times) > 4:
            return f"{len(times)} times were"
        first = ", ".join(times[:-1])
        last = times[-1]
        return f"{first} and {last} were"


def _untested(table: pd.DataFrame, metric: str) -> list[str]:
    """Three sentences on a model that was scored at the times of its fit alone."""
    if f"{metric}_still" in table:
        scores = table[metric]
        border = (1 - EQUAL_WITHIN) * table[f"{metric}_still"]
        is_closer = scores < border
        numbers = (
            f"Even there, it predicts the cells better than {BASELINES['still']} at "
            f"{int(is_closer.sum())} of {_times(len(table))} ({METRICS[metric]})."
        )
    else:
        numbers = (
            f"The simulated cells are {short(float(table[metric].mean()))} from the observed ones "
            f"on average ({METRICS[metric]}), beside no baseline."
        )
    return [
        "Whether to believe the model is untested: no time was held out, so every score is "
        "in-sample, of times that it was fitted to.",
        numbers,
        "Fit it again with hold_out=..., and evaluate it at that time, before you rely on it.",
    ]


def _limits(n_held_out: int, n_in_sample: int) -> str:
    """What the scores cannot say."""
    parts = []
    if n_held_out == 1:
        parts.append("one held-out time cannot tell skill from luck")
    if n_in_sample:
        others = _times(n_in_sample, "other")
        parts.append(f"the scores of {others} are in-sample: the model was fitted to them")
    if not parts:
        return "No score is in-sample; beyond the first and the last time nothing was tested."
    sentence = ", and ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _times(n: int, which: str = "") -> str:
    """Number of times in words: "1 time", "3 other times"."""
    noun = "times"
    if n == 1:
        noun = "time"
    return f"{n} {which} {noun}".replace("  ", " ")
