"""Settings that the data choose: times are left out in turn, but never the one to be reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from dyninfer.data.arrays import as_list
from dyninfer.data.keys import SNAPSHOT_KEYS, chosen
from dyninfer.data.snapshots import Snapshots
from dyninfer.estimators import Estimator
from dyninfer.estimators.stochastic_interpolant import StochasticInterpolant
from dyninfer.learning.settings import brief, check_count, check_seed, to_plain
from dyninfer.tools.held_out_times import read_every_time
from dyninfer.tools.inner_times import METRICS, Fold, InnerTimes
from dyninfer.tools.tasks import Row, Task, run_tasks

if TYPE_CHECKING:
    from anndata import AnnData

# With fewer folds the least of many scores is mostly luck: there, each change is tried on its own,
# and only whether it helps is asked.
ENOUGH_FOLDS = 3

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Tuned:
    """What tuning chose, and every score behind the choice.

    Attributes
    ----------
    best : Estimator
        Unfitted, with the chosen settings.
    table : DataFrame
        A row for every candidate, time that was left out, and subsample: ``candidate``, its
        ``settings`` as JSON, ``time``, ``subsample``, ``w1``, ``energy``, ``status``, ``seconds``.
    settings_scored : int
        Number of settings that were scored.
    reasons : tuple of str
        Sentences: what was tried, what it brought, and what was taken.
    """

    best: Estimator
    table: pd.DataFrame
    settings_scored: int
    reasons: tuple[str, ...]

    def fit(self, data: Any, **options: Any) -> Estimator:
        """Fit the chosen settings; arguments as those of the method's own ``fit``."""
        return clone(self.best).fit(data, **options)

    def __str__(self) -> str:
        return "\n".join(self.reasons)


def tune(
    data: AnnData | Snapshots,
    estimator: Estimator | None = None,
    *,
    time_key: str | None = None,
    use_rep: str | None = None,
    mass_key: str | None = None,
    weight_key: str | None = None,
    condition_key: str | None = None,
    growth_key: str | None = None,
    hold_out: float | Iterable[float] | None = None,
    search_space: Mapping[str, Sequence[Changes]] | None = None,
    n_subsamples: int = 3,
    max_cells: int = 1000,
    max_steps: int | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Tuned:
    """Choose settings by leaving out times between those that are kept.

    Candidates are fitted to subsamples without one inner time, and their predictions of it are
    scored by the Wasserstein-1 and the energy distance, each with as many points as the subsample
    has cells. Logarithms of W1 are averaged over times and subsamples.

    With one or two inner times there is no search, but a gate: each change of the search space is
    tried on its own, in order, and taken if it lowers log W1 on average without a clearly larger
    energy distance. Searching a grid on so few folds picks extremes. With three inner times or
    more, of each group of changes the first is taken that lies within one standard error of the
    best of the group, so that settings stay plain where the data do not say otherwise.

    Parameters
    ----------
    data : AnnData or Snapshots
    estimator : Estimator, optional
        Method to tune, with the settings from which to start; by default
        :class:`~dyninfer.StochasticInterpolant`.
    time_key, use_rep, mass_key, weight_key, condition_key, growth_key : str, optional
        Keys of an AnnData, as in ``fit``.
    hold_out : float or list of floats, optional
        Times removed before anything else: they play no part in the choice, so that what is
        reported about them later is honest.
    search_space : dict of lists of dicts, optional
        Groups of alternatives by name, each alternative the settings that it changes, such as
        ``{"coupling": [{"coupling": "unbalanced"}]}``; by default ``estimator.search_space()``.
    n_subsamples : int
        Subsamples over which scores are pooled: the choice on one alone often flips.
    max_cells : int
        Cells of a subsample at each time.
    max_steps : int, optional
        Training steps of a fit at most.
    seed : int
    executor : concurrent.futures.Executor, optional
        Runs the fits side by side.
    checkpoint : path, optional
        Folder that keeps every score as soon as it is there; called again, ``tune`` computes only
        what is missing.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Tuned
        With ``best``, ``table``, ``settings_scored`` and ``reasons``. Where no inner time is left,
        ``best`` has the settings that were given, and ``reasons`` say so.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a key, a name or a time is not as it must be; the message names it.
    """
    keys = chosen(locals(), SNAPSHOT_KEYS)
    start = StochasticInterpolant() if estimator is None else estimator
    groups = _groups(start, search_space)
    # Only what is kept is checked: a time that is held out may hold anything.
    remaining = read_every_time(data, keys, reader="tune").without(hold_out)
    snapshots = remaining.check_finite()
    if max_steps is not None:
        check_count(max_steps, "max_steps")
    scoring = InnerTimes(
        data=snapshots,
        n_subsamples=check_count(n_subsamples, "n_subsamples"),
        max_cells=check_count(max_cells, "max_cells"),
        max_steps=max_steps,
        seed=check_seed(seed),
    )

    def run(tasks: list[Task], label: str) -> list[Row]:
        return run_tasks(
            tasks, executor=executor, checkpoint=checkpoint, progress=progress, label=label
        )

    return _Search(scoring, run).through(start, groups)


class _Search:
    """A walk through the groups of the search space, from the settings that were given."""

    def __init__(self, scoring: InnerTimes, run: Callable[[list[Task], str], list[Row]]):
        self.scoring = scoring
        self.run = run
        self.rows: dict[str, list[Row]] = {}
        self.reasons: list[str] = []

    def through(self, start: Estimator, groups: Mapping[str, Sequence[Changes]]) -> Tuned:
        folds = self.scoring.folds()
        best = clone(start)
        if not folds:
            first, last = self.scoring.data.times
            self.reasons.append(
                f"No time lies between {first:g} and {last:g}, so the data cannot choose; the "
                "settings stay as they were given."
            )
            return Tuned(best, self._table(), 0, tuple(self.reasons))
        # Subsamples of one time are no new evidence about other times.
        n_times = len({fold.time for fold in folds})
        choose = self._gate if n_times < ENOUGH_FOLDS else self._within_one_error
        for name, group in groups.items():
            candidates = [clone(best).set_params(**changes) for changes in group]
            # All of a group at once, so that they can run side by side.
            self._score([best, *candidates], folds, name)
            self._check_start(best)
            best = choose(best, candidates)
        n = len(self.rows)
        self.reasons.append(
            f"{n} settings were scored at {n_times} inner times of {self.scoring.n_subsamples} "
            "subsamples."
        )
        return Tuned(clone(best), self._table(), n, tuple(self.reasons))

    def _score(self, models: Sequence[Estimator], folds: list[Fold], label: str) -> None:
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
                raise ValueError(
                    f"the settings to start from failed without time {row['time']:g}: {row['note']}"
                )

    def _gate(self, incumbent: Estimator, candidates: Sequence[Estimator]) -> Estimator:
        """The candidates in turn, each taken if it is better than what stands."""
        for candidate in candidates:
            is_better = self._mean_change(incumbent, candidate) < 0
            is_taken = is_better and self._keeps_energy(incumbent, candidate)
            self._explain(incumbent, candidate, is_taken)
            if is_taken:
                incumbent = candidate
        return incumbent

    def _within_one_error(self, incumbent: Estimator, candidates: Sequence[Estimator]) -> Estimator:
        """The first, in the order of the group, within one standard error of the best."""
        models = [incumbent]
        models += [model for model in candidates if self._keeps_energy(incumbent, model)]
        best = min(models, key=lambda model: self._mean_change(incumbent, model))
        choice = next(model for model in models if self._is_close(model, best))
        for candidate in candidates:
            self._explain(incumbent, candidate, candidate is choice)
        return choice

    def _keeps_energy(self, incumbent: Estimator, candidate: Estimator) -> bool:
        """Whether the energy distance is not clearly larger; False where a fit failed."""
        # W1 alone rewards predictions that are smoother than cells are.
        energy = self._changes(incumbent, candidate)["energy"]
        mean = energy.mean(skipna=False)
        return bool(mean <= _standard_error(energy))

    def _is_close(self, model: Estimator, best: Estimator) -> bool:
        changes = self._changes(best, model).groupby("time")["log_w1"]
        excess = changes.mean()
        return bool(excess.mean() <= _standard_error(excess))

    def _mean_change(self, before: Estimator, after: Estimator) -> float:
        changes = self._changes(before, after)["log_w1"]
        return float(changes.mean(skipna=False))

    def _changes(self, before: Estimator, after: Estimator) -> pd.DataFrame:
        """Change of log W1 and of the energy distance in every fold; NaN where a fit failed."""
        old = self._scores(before)
        new = self._scores(after)
        changes = {
            "time": old["time"],
            # Ratios: a far time must not outvote the near ones.
            "log_w1": np.log(new["w1"] / old["w1"]),
            "energy": new["energy"] - old["energy"],
        }
        return pd.DataFrame(changes)

    def _scores(self, model: Estimator) -> pd.DataFrame:
        own_rows = self.rows[_name(model)]
        rows = pd.DataFrame(own_rows)
        # A fit that failed has no scores.
        scores = rows.reindex(columns=["time", *METRICS])
        return scores.astype(np.float64)

    def _explain(self, incumbent: Estimator, candidate: Estimator, is_taken: bool) -> None:
        difference = _difference(incumbent, candidate)
        mean = self._mean_change(incumbent, candidate)
        if np.isnan(mean):
            self.reasons.append(f"{difference}: failed at some time, and is not taken.")
            return
        share = np.expm1(mean)
        verdict = "taken" if is_taken else "not taken"
        self.reasons.append(f"{difference}: W1 {share:+.1%} on average, {verdict}.")

    def _table(self) -> pd.DataFrame:
        # Columns stay, whether or not a fit failed.
        first = ["candidate", "settings", "time", "subsample"]
        columns = [*first, *METRICS, "status", "note", "seconds"]
        rows = chain.from_iterable(self.rows.values())
        table = pd.DataFrame(list(rows))
        return table.reindex(columns=columns)


def _groups(start: Estimator, search_space: Any) -> dict[str, list[Changes]]:
    """The search space, checked against the settings of the method."""
    if not hasattr(start, "get_params") or isinstance(start, type):
        raise TypeError(
            f"estimator must be a method such as ActionMatching(), found {brief(start)}"
        )
    if search_space is None:
        search_space = start.search_space()
    settings = start.get_params(deep=False)
    groups = {}
    if not isinstance(search_space, Mapping):
        raise TypeError(
            "search_space must be a dict such as {'sigma': [{'sigma': 0.1}]}, "
            f"found {brief(search_space)}"
        )
    for name, group in search_space.items():
        group = as_list(group, f"group {brief(name)} of search_space", "dicts of settings")
        for changes in group:
            if not isinstance(changes, Mapping):
                raise TypeError(
                    f"group {brief(name)} of search_space must hold dicts of settings, found "
                    f"{brief(changes)}"
                )
            unknown = [setting for setting in changes if setting not in settings]
            if unknown:
                raise ValueError(
                    f"search_space names {unknown[0]!r}, which {type(start).__name__} does not "
                    f"have; its settings are {', '.join(settings)}"
                )
        groups[str(name)] = group
    return groups


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
