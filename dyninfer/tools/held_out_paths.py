"""Scores of predictions for paths that were left out, of methods and of baselines alike."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

import dyninfer
from dyninfer.data.arrays import as_names
from dyninfer.data.paths import Paths
from dyninfer.data.paths.observed import digest
from dyninfer.data.reading import is_anndata
from dyninfer.data.words import counted, quoted
from dyninfer.estimators import PathEstimator
from dyninfer.estimators.running_on import backtest
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import brief, check_count
from dyninfer.learning.warn import warn
from dyninfer.metrics.forecasts import Forecasts, forecast_rest
from dyninfer.tools.path_baselines import PathBaseline, baselines_for
from dyninfer.tools.tasks import Row, Scoring

# Scores of numbers, and of states, in the order of the columns.
NUMBER_SCORES = ("crps", "energy_score", "coverage", "calibration_error")
STATE_SCORES = ("brier", "coverage", "calibration_error")
LIKELIHOODS = ("log_likelihood", "per_observation")
# An odd number below a hundred: ranks of an observation are then exact percentages.
N_DRAWS = 99
N_FOLDS = 5
PAST_FRACTION = 0.5


class PathFold(NamedTuple):
    """Paths that are left out together.

    Attributes
    ----------
    number : int
    names : tuple of str
        Of the paths that are left out.
    """

    number: int
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HeldOutPaths(Scoring[PathFold]):
    """Paths that are left out fold by fold, and how predictions of them are scored.

    Attributes
    ----------
    data : Paths
    metrics : tuple of str
        Columns, such as "log_likelihood" and "crps".
    max_paths : int or None
        Paths of a fold that are forecast at most.
    max_steps : int or None
        Training steps of a fit at most.
    """

    data: Paths
    metrics: tuple[str, ...]
    max_paths: int | None = 100
    max_steps: int | None = None

    def _identity(self, name: str, fold: PathFold, seed: int, others: list[str]) -> str:
        # With the kind of data: no score of paths is taken for one of times.
        data = ["paths", digest(self.data), dyninfer.__version__]
        fit = [name, fold.names, seed]
        scoring = [self.metrics, self.max_paths]
        return json.dumps([data, fit, scoring, others])

    def _score_model(self, name: str, model: Any, fold: PathFold, seed: int) -> Row:
        # Wall time: what a user waits for.
        start = time.perf_counter()
        row = self._row(name, fold, seed)
        data = self.data_for(model)
        held_out = data[list(fold.names)]
        # The caller's own stays unfitted, and one method is never two threads' at once.
        model = clone(model)
        try:
            model.fit(
                data,
                hold_out=list(fold.names),
                seed=seed,
                max_steps=self.max_steps,
                progress=False,
            )
            row["status"] = model.status_
            row["in_sample"] = not set(fold.names) <= set(model.hold_out_)
            _check_same_kind(model, held_out)
            likelihood = None
            if self._asks(LIKELIHOODS):
                likelihood = model.log_likelihoods(held_out, seed)
            row |= self._likelihoods(likelihood, held_out)

            def forecasts() -> Forecasts:
                return backtest(model, held_out, PAST_FRACTION, N_DRAWS, self.max_paths, seed)

            row |= self._forecast_scores(forecasts, held_out)
        # One method that fails in one fold must not cost the table of all the others.
        except (ValueError, RuntimeError, ArithmeticError) as error:
            warn(f"{name} failed in fold {fold.number}: {error}")
            row["status"] = row.get("status", "failed")
            row["note"] = str(error)
        row["seconds"] = time.perf_counter() - start
        return row

    def _score_baseline(self, name: str, fold: PathFold, seed: int) -> Row:
        start = time.perf_counter()
        row = self._row(name, fold, seed) | {"in_sample": False}
        names = list(fold.names)
        held_out = self.data[names]
        try:
            learn = baselines_for(self.data)[name]
            rest = self.data.without(names)
            baseline = learn(rest)
            row |= self._likelihoods(baseline.log_likelihoods(held_out), held_out)

            def forecasts() -> Forecasts:
                return _of_baseline(baseline, held_out, self.max_paths, seed)

            row |= self._forecast_scores(forecasts, held_out)
        except ValueError as error:
            row["note"] = str(error)
        row["seconds"] = time.perf_counter() - start
        return row

    def _row(self, name: str, fold: PathFold, seed: int) -> Row:
        n_paths = len(fold.names)
        return {"method": name, "fold": fold.number, "seed": seed, "n_paths": n_paths}

    def _asks(self, names: Iterable[str]) -> bool:
        return any(name in self.metrics for name in names)

    def _likelihoods(self, by_path: np.ndarray | None, held_out: Paths) -> Row:
        """Log-likelihood of all paths, and of an observation on average."""
        n_observations = int(held_out.lengths.sum())
        row: Row = {"observations": n_observations}
        if by_path is not None:
            total = float(np.sum(by_path))
            row |= {"log_likelihood": total, "per_observation": total / n_observations}
        return row

    def _forecast_scores(self, forecasts: Any, held_out: Paths) -> Row:
        """Mean scores of forecasts, each path counting by its number of observations."""
        scores = STATE_SCORES if held_out.discrete else NUMBER_SCORES
        # Paths of one observation, such as cells of clones, leave nothing to forecast.
        if not self._asks(scores) or held_out.lengths.max() == 1:
            return {}
        draws = forecasts()
        means = draws.scores().mean()
        row = {name: float(means[name]) for name in scores if name in means}
        row["calibration_error"] = draws.calibration_error()
        row["forecasts"] = len(draws.time)
        return row

    def data_for(self, model: PathEstimator) -> Paths:
        """The paths without labels and covariates that the method would not learn from."""
        paths = self.data
        if paths.conditions is not None and "condition_key" not in model.uses:
            paths = replace(paths, conditions=None)
        takes = model.takes_covariates or bool(model.covariate_columns)
        if paths.covariates is not None and not takes:
            paths = replace(paths, covariates=None)
        return paths


def with_covariates(
    path_keys: dict[str, Any], data: Any, models: Mapping[str, Any]
) -> dict[str, Any]:
    """Keys by which paths are read, with the columns that some method learns from."""
    columns: set[str] = set()
    for model in models.values():
        columns.update(model.covariate_columns)
    if not columns or not is_anndata(data):
        return path_keys
    return path_keys | {"covariate_keys": sorted(columns)}


def _check_same_kind(model: PathEstimator, held_out: Paths) -> None:
    """Refuse likelihoods of labels beside densities of the numbers that they were made of."""
    if model.observations(held_out).discrete != held_out.discrete:
        raise ValueError(
            f"{type(model).__name__} first labels the paths by states, so its scores are not "
            "those of the numbers; compare on paths that are already labelled"
        )


def _of_baseline(
    baseline: PathBaseline, held_out: Paths, max_paths: int | None, seed: int
) -> Forecasts:
    def draw(past: Paths, times: np.ndarray, seed: int) -> Tensor:
        draws = baseline.draw(past, times, N_DRAWS, seed)
        return torch.as_tensor(draws)

    return forecast_rest(held_out, held_out, draw, PAST_FRACTION, max_paths, seed)


def path_folds(
    paths: Paths,
    hold_out: Any = "each",
    n_folds: int | None = None,
    *,
    by_condition: bool = False,
    seed: int = 0,
) -> list[PathFold]:
    """Paths that are left out together, fold by fold.

    Parameters
    ----------
    paths : Paths
    hold_out : "each" or names of paths
        "each" leaves every path out once, in random folds of about equal size; names are one fold.
    n_folds : int, optional
        Number of random folds; by default five, or one for each path where there are fewer.
    by_condition : bool
        Keep paths of one condition in one fold: those of one clone say much about each other.
    seed : int

    Raises
    ------
    ValueError
        If a path is not there, no path would remain, or there are fewer paths, or conditions, than
        folds.
    """
    if isinstance(hold_out, str) and hold_out == "each":
        return _random_folds(paths, n_folds, by_condition, seed)
    if n_folds is not None:
        raise ValueError("n_folds divides all paths; leave it out if hold_out names some")
    names = as_names(hold_out, "hold_out")
    if not names:
        raise ValueError("hold_out is empty; name a path, or give 'each'")
    remaining = paths.without(names)
    held_out = paths.without(list(remaining.names))
    _check_whole_conditions(held_out, remaining, by_condition)
    fold_names = tuple(str(name) for name in held_out.names)
    return [PathFold(0, fold_names)]


def path_groups(paths: Paths, by_condition: bool) -> tuple[np.ndarray, str]:
    """Numbers ``(n,)`` of what is left out together, and a word: a path, or a whole condition."""
    if not by_condition or paths.conditions is None:
        return np.arange(len(paths)), "path"
    _, group = np.unique(paths.conditions, return_inverse=True)
    return group, "condition"


def _random_folds(
    paths: Paths, n_folds: int | None, by_condition: bool, seed: int
) -> list[PathFold]:
    group, what = path_groups(paths, by_condition)
    n_groups = int(group.max()) + 1
    n = min(N_FOLDS, n_groups) if n_folds is None else check_count(n_folds, "n_folds")
    if n < 2 or n > n_groups:
        raise ValueError(
            f"{counted(n_groups, what)} cannot be left out in {counted(n, 'fold')}; give two "
            f"or more folds, with at least one {what} in each"
        )
    # A shuffled deck, dealt in turn: sizes differ by one at most.
    order = numpy_stream(seed, "path folds").permutation(n_groups)
    fold_of_group = np.empty(n_groups, dtype=int)
    fold_of_group[order] = np.arange(n_groups) % n
    fold = fold_of_group[group]
    folds = []
    for number in range(n):
        names = paths.names[fold == number]
        folds.append(PathFold(number, tuple(str(name) for name in names)))
    return folds


def _check_whole_conditions(held_out: Paths, remaining: Paths, by_condition: bool) -> None:
    """Refuse to learn from relatives of what is left out."""
    if not by_condition or held_out.conditions is None or remaining.conditions is None:
        return
    shared = set(held_out.conditions) & set(remaining.conditions)
    if shared:
        raise ValueError(
            f"hold_out splits condition {quoted(str(min(shared, key=str)))}, whose paths depend "
            "on each other; leave all of its paths out, or none"
        )


def score_names(metrics: Sequence[str] | None, paths: Paths) -> list[str]:
    """Columns of scores as a list; None takes all that fit the paths."""
    scores = STATE_SCORES if paths.discrete else NUMBER_SCORES
    columns = [*LIKELIHOODS, *scores]
    if metrics is None:
        return columns
    names = as_names(metrics, "metrics")
    for name in names:
        if not isinstance(name, str) or name not in columns:
            raise ValueError(
                f"metric {brief(name)} is not known for these paths; choose from "
                f"{', '.join(columns)}"
            )
    return names
