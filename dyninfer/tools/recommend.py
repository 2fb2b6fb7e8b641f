"""What a table of comparisons says to do, in words and as an estimator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from dyninfer.data.words import counted
from dyninfer.estimators import Estimator
from dyninfer.learning.settings import brief, from_plain
from dyninfer.tools.held_out_times import FLOOR
from dyninfer.tools.path_baselines import WORDS
from dyninfer.transport.baselines import BASELINES

# Two-sided, of a normal: the spread over times and seeds is estimated from few of them.
_STANDARD_ERRORS = 2.0
_PREDICTIONS_WITHOUT_MODEL = {
    "still": "cells that do not move",
    "next": "the cells of the next time",
    "ot": "straight lines between optimally paired cells",
    "growth_first": "straight lines between cells reweighted by growth",
}
# More of these is better; the other columns are distances.
_GAINS = ("log_likelihood", "per_observation")


@dataclass(frozen=True)
class Recommendation:
    """A recommended method, with the reasons.

    Attributes
    ----------
    method : str
        The name of the method in the table.
    estimator : Estimator
        Unfitted, with the settings that were compared.
    reasons : tuple of str
        Sentences.
    is_worthwhile : bool
        Whether it predicts better than every baseline in the table.
    """

    method: str
    estimator: Estimator
    reasons: tuple[str, ...]
    is_worthwhile: bool

    def fit(self, data: Any, **options: Any) -> Estimator:
        """Fit the method to all times; arguments as in its own ``fit``."""
        return clone(self.estimator).fit(data, **options)

    def __str__(self) -> str:
        return "\n".join(self.reasons)


def recommend(table: pd.DataFrame, *, metric: str | None = None) -> Recommendation:
    """Recommend a method from the table of :func:`compare`.

    Methods are compared at the same times (or folds of paths) and seeds, by the mean logarithm of
    their scores. So every time counts equally, whatever its distances.

    Parameters
    ----------
    table : DataFrame
        From :func:`compare`, or read back from CSV.
    metric : str, optional
        A column of distances, by default "w1". For paths, by default "per_observation" (the
        log-likelihood) if all methods have one, else "energy_score" or "brier". Log-likelihoods,
        and negative values of "energy" and "mmd", are compared by their plain mean.

    Returns
    -------
    Recommendation
        Prints as sentences; ``.fit(adata, ...)`` fits the method to all times.

    Raises
    ------
    ValueError
        If the table has no method with a score at every time or in every fold.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> method = di.ActionMatching(width=16)
    >>> keys = {"time_key": "time", "hold_out": 24}
    >>> table = di.tl.compare(adata, method, **keys, max_steps=20, progress=False)
    >>> di.tl.recommend(table).method
    'ActionMatching'
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be what compare returned, found {brief(table)}")
    is_of_paths = "fold" in table and "time" not in table
    folds = "fold" if is_of_paths else "time"
    if metric is None:
        metric = _metric_of_paths(table) if is_of_paths else "w1"
    _check_columns(table, folds, metric)
    index = [folds, "seed"]
    scores = table.pivot_table(index=index, columns="method", values=metric)
    scale = _Scale.of(metric, scores)
    costs = scale.costs(scores)
    words_of = WORDS if is_of_paths else _PREDICTIONS_WITHOUT_MODEL
    without_model = set(words_of) if is_of_paths else {*BASELINES, FLOOR}
    names = [name for name in table["method"].unique() if name not in without_model]
    # A method that failed at the hardest time must not win by its absence.
    complete = [name for name in names if name in costs and costs[name].notna().all()]
    places = "in every fold" if is_of_paths else "at every time"
    if not complete:
        raise ValueError(
            f"no method of the table has a {metric} {places}; its column 'note' says why"
        )
    # Stable, so that methods of equal score keep the order of the user.
    means = costs[complete].mean().sort_values(kind="stable")
    best = str(means.index[0])
    held_out = "held-out paths" if is_of_paths else "held-out times"
    reasons = [f"Use {best}: its {metric} at {held_out} is the {scale.best} of {_count(complete)}."]
    others = list(means.index[1:])
    reasons += _rivals(costs, best, others, scale)
    weaker = []
    for name, words in words_of.items():
        if name in costs and costs[name].notna().any():
            difference, error = _difference(costs, best, name)
            reasons.append(_beside_baseline(difference, error, words, scale))
            weaker.append(difference < 0)
    n_folds = table[folds].nunique()
    n_seeds = table["seed"].nunique()
    basis = counted(n_folds, "held-out fold" if is_of_paths else "held-out time")
    reasons.append(f"This rests on {basis} and {counted(n_seeds, 'seed')}.")
    is_best = table["method"] == best
    own_settings = table.loc[is_best, "settings"]
    settings = own_settings.iloc[0]
    if not isinstance(settings, str) or not settings:
        raise ValueError(
            f"the table does not hold the settings of {best}, which no text can hold; fit it "
            "yourself"
        )
    estimator = _model_of(settings, best)
    return Recommendation(best, estimator, tuple(reasons), all(weaker))


def _check_columns(table: pd.DataFrame, folds: str, metric: Any) -> None:
    for column in ("method", folds, "seed", "settings", metric):
        if not isinstance(column, str) or column not in table:
            raise ValueError(f"the table has no column {brief(column)}; give what compare returned")
    if not pd.api.types.is_numeric_dtype(table[metric]):
        raise TypeError(f"column {brief(metric)} of the table must hold numbers")
    if not table["method"].map(lambda name: isinstance(name, str)).all():
        raise TypeError("column 'method' of the table must hold names; give what compare returned")


@dataclass(frozen=True)
class _Scale:
    """How scores are compared, and what differences of them are called.

    Attributes
    ----------
    is_log : bool
        By their ratios, and not by their differences.
    is_gain : bool
        Whether more is better.
    """

    is_log: bool
    is_gain: bool
    folds: str

    @classmethod
    def of(cls, metric: str, scores: pd.DataFrame) -> _Scale:
        is_gain = metric in _GAINS
        # Unbiased squared distances may be negative, and have no logarithm.
        is_positive = bool((scores.min() > 0).all())
        # A log-likelihood is a logarithm already.
        folds = "folds" if scores.index.names[0] == "fold" else "times"
        return cls(is_positive and not is_gain, is_gain, folds)

    @property
    def best(self) -> str:
        return "highest" if self.is_gain else "lowest"

    @property
    def better(self) -> str:
        return "above" if self.is_gain else "below"

    @property
    def worse(self) -> str:
        return "below" if self.is_gain else "above"

    def costs(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Scores of which less is better."""
        if self.is_log:
            return np.log(scores)
        return -scores if self.is_gain else scores

    def amount(self, difference: float) -> str:
        """A difference in words, without its sign."""
        if self.is_log:
            share = abs(np.expm1(difference))
            return f"{share:.1%}"
        return f"{abs(difference):.3g}"


def _metric_of_paths(table: pd.DataFrame) -> str:
    """The log-likelihood where every method that was fitted has one, else a score of forecasts."""
    score = "brier" if "brier" in table else "energy_score"
    if "per_observation" not in table or "method" not in table:
        return score
    is_method = ~table["method"].isin(list(WORDS))
    is_scored = table["per_observation"].notna()
    has_one = is_scored.groupby(table["method"]).any()
    methods = table.loc[is_method, "method"].unique()
    # A method that failed everywhere has neither, and decides nothing.
    if "status" in table:
        has_failed = table["status"].eq("failed")
        failed = has_failed.groupby(table["method"]).all()
        methods = [name for name in methods if not failed[name]]
    return "per_observation" if all(has_one[name] for name in methods) else score


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
    by_time = differences.groupby(level=0).mean()
    # Of one time alone it is NaN.
    error = by_time.sem()
    return float(by_time.mean()), float(error)


def _rivals(costs: pd.DataFrame, best: str, others: list[str], scale: _Scale) -> list[str]:
    sentences = []
    for name in others:
        difference, error = _difference(costs, best, name)
        distance = scale.amount(difference)
        doubt = _doubt(difference, error, scale)
        sentences.append(f"It is {distance} {scale.better} {name}, {doubt}.")
    return sentences


def _doubt(difference: float, error: float, scale: _Scale) -> str:
    """Whether a difference is more than chance, in words."""
    if np.isnan(error):
        one = scale.folds.removesuffix("s")
        return f"one {one} cannot say whether that is more than chance"
    if abs(difference) > _STANDARD_ERRORS * error:
        return f"more than twice the standard error over {scale.folds}"
    return "which chance alone may explain"


def _beside_baseline(difference: float, error: float, words: str, scale: _Scale) -> str:
    distance = scale.amount(difference)
    if difference >= 0:
        # Of paths, what it is no better than is mostly a process too, and a plainer one.
        advice = "prefer what is plainer" if scale.folds == "folds" else "do not rely on it"
        return f"It is no better than {words} ({distance} {scale.worse}): {advice}."
    doubt = _doubt(difference, error, scale)
    return f"It is {distance} {scale.better} {words}, {doubt}."
