"""A walk through groups of settings, each tried on folds of the data that are left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from sklearn.base import clone

from dyninfer.estimators import Estimator
from dyninfer.learning.settings import brief, to_plain
from dyninfer.tools.tasks import Row, Task

# With fewer folds the least of many scores is mostly luck: there, each change is tried on its own,
# and only whether it helps is asked.
ENOUGH_FOLDS = 3
# Standard errors by which the second score may be worse: one would refuse every sixth change that
# does no harm.
CLEARLY_WORSE = 2.0

Changes = Mapping[str, Any]


class InnerScores(Protocol):
    """Folds of the data that are left out in turn, and what is scored there.

    Attributes
    ----------
    place : str
        Column that says what was left out: folds of one place are no evidence about another.
    """

    place: ClassVar[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """Further columns of a row, in their order."""

    def folds(self) -> list[Any]:
        """All folds; none where the data cannot choose."""

    def place_of(self, fold: Any) -> Any:
        """What is left out in a fold."""

    def task(self, model: Estimator, fold: Any) -> Task:
        """Score of a candidate in one fold."""

    def changes(self, old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
        """What a change brings in every fold: ``loss`` decides, and ``second`` must not rise.

        Both fall where predictions get better; NaN where a fit failed.
        """

    def reason_for_none(self) -> str:
        """Why there is no fold, as half a sentence."""

    def where(self, row: Row) -> str:
        """What was left out, in words."""

    def gain(self, loss: float) -> str:
        """A mean change of the loss, in words."""

    def extent(self, n_places: int) -> str:
        """Where settings were scored, in words."""


@dataclass(frozen=True)
class Tuned:
    """The settings that tuning chose, and every score behind the choice.

    Attributes
    ----------
    best : Estimator
        Unfitted, with the chosen settings.
    table : DataFrame
        One row per candidate, left-out time and subsample: ``candidate``, its
        ``settings`` as JSON, ``time``, ``subsample``, ``w1``, ``energy``, ``status``, ``note``,
        ``seconds``. For paths, ``fold`` and the scores of :func:`~dyninfer.tools.compare`.
    settings_scored : int
        Number of settings that were scored.
    reasons : tuple of str
        Sentences: what was tried, what it gained, and what was chosen.
    hold_out : tuple
        Times, or names of paths, that played no part in tuning: pass them as ``hold_out`` to the
        fit whose score you report.
    """

    best: Estimator
    table: pd.DataFrame
    settings_scored: int
    reasons: tuple[str, ...]
    hold_out: tuple[Any, ...] = ()

    def fit(self, data: Any, **options: Any) -> Estimator:
        """Fit the chosen settings; arguments as in the ``fit`` of the method."""
        return clone(self.best).fit(data, **options)

    def __str__(self) -> str:
        return "\n".join(self.reasons)


class Search:
    """A walk through the groups of the search space, from the settings that were given."""

    def __init__(self, scoring: InnerScores, run: Callable[[list[Task], str], list[Row]]):
        self.scoring = scoring
        self.run = run
        self.rows: dict[str, list[Row]] = {}
        self.reasons: list[str] = []

    def through(self, start: Estimator, groups: Mapping[str, Sequence[Changes]]) -> Tuned:
        """What is chosen group by group, each with what was chosen before."""
        folds = self.scoring.folds()
        best = clone(start)
        if not folds:
            reason = self.scoring.reason_for_none()
            self.reasons.append(
                f"{reason}, so the data cannot choose; the settings stay as they were given."
            )
            return Tuned(best, self._table(), 0, tuple(self.reasons))
        # Subsamples of one time are no new evidence about other times.
        n_places = len({self.scoring.place_of(fold) for fold in folds})
        choose = self._gate if n_places < ENOUGH_FOLDS else self._within_one_error
        for name, group in groups.items():
            candidates = [clone(best).set_params(**changes) for changes in group]
            # All of a group at once, so that they can run side by side.
            self._score([best, *candidates], folds, name)
            self._check_start(best)
            best = choose(best, candidates)
        n = len(self.rows)
        extent = self.scoring.extent(n_places)
        self.reasons.append(f"{n} settings were scored {extent}.")
        return Tuned(clone(best), self._table(), n, tuple(self.reasons))

    def _score(self, models: Sequence[Estimator], folds: list[Any], label: str) -> None:
        """Score those candidates that were not yet."""
        # What stands was scored with the group before.
        new = {}
        for model in models:
            if _name(model) not in self.rows:
                new[_name(model)] = model
        tasks = []
        for model in new.values():
            tasks += [self.scoring.task(model, fold) for fold in folds]
        rows = iter(self.run(tasks, f"tuning {label}"))
        for name, model in new.items():
            candidate = {"candidate": name, "settings": _text(model)}
            self.rows[name] = [candidate | row for row in islice(rows, len(folds))]

    def _check_start(self, model: Estimator) -> None:
        """Raise a ValueError where the settings to start from could not be fitted."""
        for row in self.rows[_name(model)]:
            if row["status"] == "failed":
                where = self.scoring.where(row)
                raise ValueError(f"the settings to start from failed {where}: {row['note']}")

    def _gate(self, incumbent: Estimator, candidates: Sequence[Estimator]) -> Estimator:
        """The candidates in turn, each taken if it is better than what stands."""
        for candidate in candidates:
            is_better = self._mean_loss(incumbent, candidate) < 0
            is_taken = is_better and self._keeps_second(incumbent, candidate)
            self._explain(incumbent, candidate, is_taken)
            if is_taken:
                incumbent = candidate
        return incumbent

    def _within_one_error(self, incumbent: Estimator, candidates: Sequence[Estimator]) -> Estimator:
        """The first, in the order of the group, within one standard error of the best."""
        models = [model for model in candidates if self._keeps_second(incumbent, model)]
        names = [_name(model) for model in models]
        # A group may have a place for what stands; else that is the plainest.
        if _name(incumbent) not in names:
            models.insert(0, incumbent)
        best = min(models, key=lambda model: self._mean_loss(incumbent, model))
        choice = next(model for model in models if self._is_close(model, best))
        for candidate in candidates:
            self._explain(incumbent, candidate, candidate is choice)
        return choice

    def _keeps_second(self, incumbent: Estimator, candidate: Estimator) -> bool:
        """Whether the second score is not clearly worse; False where a fit failed."""
        changes = self._changes(incumbent, candidate)
        if changes["loss"].isna().any():
            return False
        second = changes["second"]
        # Where what stands has no such score either, there is nothing to keep.
        if second.isna().all():
            return True
        mean = second.mean(skipna=False)
        return bool(mean <= CLEARLY_WORSE * _standard_error(second))

    def _is_close(self, model: Estimator, best: Estimator) -> bool:
        changes = self._changes(best, model).groupby(self.scoring.place)["loss"]
        excess = changes.mean()
        return bool(excess.mean() <= _standard_error(excess))

    def _mean_loss(self, before: Estimator, after: Estimator) -> float:
        changes = self._changes(before, after)["loss"]
        return float(changes.mean(skipna=False))

    def _changes(self, before: Estimator, after: Estimator) -> pd.DataFrame:
        """Changes of both scores in every fold."""
        old = self._scores(before)
        new = self._scores(after)
        return self.scoring.changes(old, new)

    def _scores(self, model: Estimator) -> pd.DataFrame:
        own_rows = self.rows[_name(model)]
        rows = pd.DataFrame(own_rows)
        # A fit that failed has no scores.
        scores = rows.reindex(columns=[self.scoring.place, *self.scoring.columns])
        return scores.astype(np.float64)

    def _explain(self, incumbent: Estimator, candidate: Estimator, is_taken: bool) -> None:
        if _name(candidate) == _name(incumbent):
            return
        difference = _difference(incumbent, candidate)
        mean = self._mean_loss(incumbent, candidate)
        if np.isnan(mean):
            place = self.scoring.place
            self.reasons.append(f"{difference}: failed at some {place}, and is not taken.")
            return
        gain = self.scoring.gain(mean)
        verdict = "taken" if is_taken else "not taken"
        self.reasons.append(f"{difference}: {gain} on average, {verdict}.")

    def _table(self) -> pd.DataFrame:
        # Columns stay, whether or not a fit failed.
        first = ["candidate", "settings", self.scoring.place]
        columns = [*first, *self.scoring.columns, "status", "note", "seconds"]
        rows = chain.from_iterable(self.rows.values())
        table = pd.DataFrame(list(rows))
        return table.reindex(columns=columns)


def _standard_error(values: pd.Series) -> float:
    """Standard error of the mean; zero for a single value, which says nothing about it."""
    if len(values) == 1:
        return 0.0
    return float(values.sem())


def _difference(before: Estimator, after: Estimator) -> str:
    """Settings in which two methods differ, in one line."""
    old = before.get_params(deep=False)
    changes = []
    for name, value in after.get_params(deep=False).items():
        text = brief(value)
        if text != brief(old[name]):
            changes.append(f"{name}={text}")
    return ", ".join(changes) or "no change"


def _name(model: Estimator) -> str:
    return " ".join(repr(model).split())


def _text(model: Estimator) -> str:
    try:
        return json.dumps(to_plain(model))
    except TypeError:
        return ""
