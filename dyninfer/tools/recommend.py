"""What a table of comparisons says to do, in words and as an estimator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from dyninfer.estimators import Estimator
from dyninfer.learning.settings import brief, from_plain
from dyninfer.tools.held_out_times import FLOOR
from dyninfer.transport.baselines import BASELINES

# Two-sided, of a normal: the spread over times and seeds is estimated from few of them.
_STANDARD_ERRORS = 2.0
_PREDICTIONS_WITHOUT_MODEL = {
    "still": "cells that do not move",
    "next": "the cells of the next time",
    "ot": "straight lines between optimally paired cells",
    "growth_first": "straight lines between cells reweighted by growth",
}


@dataclass(frozen=True)
class Recommendation:
    """A method to use, and why.

    Attributes
    ----------
    method : str
        Its name in the table.
    estimator : Estimator
        Unfitted, with the settings that were compared.
    reasons : tuple of str
        Sentences.
    is_worthwhile : bool
        Whether it predicts better than every baseline of the table.
    """

    method: str
    estimator: Estimator
    reasons: tuple[str, ...]
    is_worthwhile: bool

    def fit(self, data: Any, **options: Any) -> Estimator:
        """Fit the method to all times; arguments as those of its own ``fit``."""
        return clone(self.estimator).fit(data, **options)

    def __str__(self) -> str:
        return "\n".join(self.reasons)


def recommend(table: pd.DataFrame, *, metric: str = "w1") -> Recommendation:
    """Read the table of :func:`compare`.

    Methods are compared at the same times and seeds, by the mean of the logarithm of their scores,
    so that every time counts alike whatever its distances.

    Parameters
    ----------
    table : DataFrame
        From :func:`compare`, or read back from CSV.
    metric : str
        A column of distances, such as "w1". "energy" and "mmd" may be negative, and are compared by
        their plain mean.

    Returns
    -------
    Recommendation
        Prints as sentences; ``.fit(adata, ...)`` fits the method to all times.

    Raises
    ------
    ValueError
        If the table has no method with a score at every time.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be what compare returned, found {brief(table)}")
    for column in ("method", "time", "seed", "settings", metric):
        if not isinstance(column, str) or column not in table:
            raise ValueError(f"the table has no column {brief(column)}; give what compare returned")
    if not pd.api.types.is_numeric_dtype(table[metric]):
        raise TypeError(f"column {brief(metric)} of the table must hold numbers")
    scores = table.pivot_table(index=["time", "seed"], columns="method", values=metric)
    # Unbiased squared distances may be negative, and have no logarithm.
    is_log = bool((scores.min() > 0).all())
    if is_log:
        scores = np.log(scores)
    without_model = {*BASELINES, FLOOR}
    names = [name for name in table["method"].unique() if name not in without_model]
    # A method that failed at the hardest time must not win by its absence.
    complete = [name for name in names if name in scores and scores[name].notna().all()]
    if not complete:
        raise ValueError(
            f"no method of the table has a {metric} at every time; its column 'note' says why"
        )
    # Stable, so that methods of equal score keep the order of the user.
    means = scores[complete].mean().sort_values(kind="stable")
    best = str(means.index[0])
    reasons = [f"Use {best}: its {metric} at held-out times is the lowest of {_count(complete)}."]
    reasons += _rivals(scores, best, list(means.index[1:]), is_log)
    weaker = []
    for name, words in _PREDICTIONS_WITHOUT_MODEL.items():
        if name in scores:
            difference, error = _difference(scores, best, name)
            reasons.append(_beside_baseline(difference, error, words, is_log))
            weaker.append(difference < 0)
    n_times = table["time"].nunique()
    n_seeds = table["seed"].nunique()
    reasons.append(f"This rests on {n_times} held-out times and {n_seeds} seeds.")
    settings = table.loc[table["method"] == best, "settings"].iloc[0]
    if not isinstance(settings, str) or not settings:
        raise ValueError(
            f"the table does not hold the settings of {best}, which have no plain form; fit it "
            "yourself"
        )
    estimator = _model_of(settings, best)
    return Recommendation(best, estimator, tuple(reasons), all(weaker))


def _model_of(settings: str, name: str) -> Estimator:
    """The method with these settings, or a ValueError where they are none."""
    try:
        plain = json.loads(settings)
    except json.JSONDecodeError:
        plain = None
    # What `to_plain` makes of a method.
    if not isinstance(plain, dict) or not {"class", "settings"} <= plain.keys():
        raise ValueError(
            f"the settings of {brief(name)} in the table cannot be read; give the table as compare "
            "returned it"
        )
    return from_plain(plain)


def _count(names: list[str]) -> str:
    return "one method" if len(names) == 1 else f"{len(names)} methods"


def _difference(scores: pd.DataFrame, one: str, other: str) -> tuple[float, float]:
    """Mean difference of two methods at the same times and seeds, and its standard error."""
    differences = (scores[one] - scores[other]).dropna()
    # Repeats of one time are no new evidence about other times.
    by_time = differences.groupby("time").mean()
    # Of one time alone it is NaN.
    error = by_time.sem()
    return float(by_time.mean()), float(error)


def _rivals(scores: pd.DataFrame, best: str, others: list[str], is_log: bool) -> list[str]:
    sentences = []
    for name in others:
        difference, error = _difference(scores, best, name)
        distance = _amount(difference, is_log)
        doubt = _doubt(difference, error)
        sentences.append(f"It is {distance} below {name}, {doubt}.")
    return sentences


def _doubt(difference: float, error: float) -> str:
    """Whether a difference is more than chance, in words."""
    if np.isnan(error):
        return "one time cannot say whether that is more than chance"
    if abs(difference) > _STANDARD_ERRORS * error:
        return "more than twice the standard error over times"
    return "which chance alone may explain"


def _beside_baseline(difference: float, error: float, words: str, is_log: bool) -> str:
    distance = _amount(difference, is_log)
    if difference >= 0:
        return f"It is no better than {words} ({distance} above): do not rely on it."
    return f"It is {distance} below {words}, {_doubt(difference, error)}."


def _amount(difference: float, is_log: bool) -> str:
    """A difference in words, without its sign."""
    if is_log:
        share = abs(np.expm1(difference))
        return f"{share:.1%}"
    return f"{abs(difference):.3g}"
