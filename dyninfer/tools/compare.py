"""Which method predicts the user's own data best, beside what no method at all would score."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dyninfer.data.arrays import as_list
from dyninfer.data.keys import PATH_KEYS, SNAPSHOT_KEYS, chosen
from dyninfer.data.paths import Paths
from dyninfer.data.reading import read_paths
from dyninfer.data.snapshots import Snapshots
from dyninfer.estimators import Estimator, PathEstimator
from dyninfer.estimators.fields import refuse_fields
from dyninfer.learning.settings import brief, check_count, check_seed, to_plain
from dyninfer.metrics.populations import metric_names
from dyninfer.tools.held_out_paths import (
    HeldOutPaths,
    path_folds,
    score_names,
    with_covariates,
)
from dyninfer.tools.held_out_times import (
    FLOOR,
    HeldOutTimes,
    names_of,
    read_every_time,
    times_to_hold_out,
)
from dyninfer.tools.path_baselines import path_baseline_names
from dyninfer.tools.tasks import run_tasks
from dyninfer.transport.baselines import BASELINES, baseline_names

if TYPE_CHECKING:
    from anndata import AnnData

# What every row has comes first, what explains it last; numbers stand between.
TIME_COLUMNS = ("method", "time", "seed")
PATH_COLUMNS = ("method", "fold", "seed")
LAST_COLUMNS = ("seconds", "in_sample", "status", "note", "settings")
MASSES = ("mass", "mass_observed", "mass_error", "n_x", "n_y")
COUNTS = ("n_paths", "observations", "forecasts")
METRICS = ("w1", "w2", "energy", "sliced_w2", "mmd")
# Exact transport of more samples takes minutes; a forecast of more paths says little more.
MOST_SAMPLES = 4500
MOST_PATHS = 100


def compare(
    data: AnnData | Snapshots | Paths,
    estimators: Estimator | Sequence[Estimator] | Mapping[str, Estimator],
    *,
    time_key: str | None = None,
    use_rep: str | None = None,
    mass_key: str | None = None,
    weight_key: str | None = None,
    condition_key: str | None = None,
    growth_key: str | None = None,
    path_key: str | None = None,
    state_key: str | None = None,
    hold_out: str | float | Iterable[Any] = "each",
    n_folds: int | None = None,
    n_repeats: int = 1,
    baselines: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    max_samples: int | str | None = "auto",
    max_steps: int | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Leave out times or paths in turn, predict them with every method, and score the predictions.

    What is left out is hidden from the whole fit: scaling, couplings, growth and early stopping. A
    time is predicted from the cells of the time before; the later half of a path is forecast from
    its earlier half. Anything computed beforehand, such as principal components of all cells, may
    still contain what is left out.

    Parameters
    ----------
    data : AnnData, Snapshots or Paths
    estimators : Estimator, list, or dict of names and estimators
        Unfitted methods, all for snapshots or all for paths; copies of them are fitted.
    time_key, use_rep, mass_key, weight_key, condition_key, growth_key : str, optional
        Keys of an AnnData, as in ``fit``. Conditions and expected growth are left out for methods
        that do not use them.
    path_key, state_key : str, optional
        Keys of an AnnData of paths, as in the ``fit`` of a method for paths.
    hold_out : "each", float, list of floats or list of str
        Times to leave out, one at a time; "each" takes all between the first and the last. For
        paths, "each" leaves every path out once; named paths are left out together.
    n_folds : int, optional
        For paths: number of random folds that are left out in turn; by default five, or the number
        of paths if smaller. If a method separates conditions, such as clones, the paths of a
        condition stay together.
    n_repeats : int
        Fits of every method at every time or fold, with the seeds ``seed``, ``seed + 1``, ...: any
        row can be reproduced with ``fit(..., seed=...)``.
    baselines : sequence of str, optional
        By default all. "still": the cells of the time before, unmoved; "next": the cells of the
        time after; "ot": exact optimal transport between the two; "growth_first": the same between
        cells reweighted by growth; "floor": another sample of the same population, with as many
        cells as start at the time before (:func:`~dyninfer.metrics.finite_sample_floor`).

        For paths, "still": the last value, held; "independent": observations independent of each
        other; for numbers also "random_walk" and "ou", an Ornstein-Uhlenbeck process, each feature
        by feature; for states also "chain", a Markov chain from observation to observation.
    metrics : sequence of str, optional
        Names as in :mod:`dyninfer.metrics`; for paths, columns as below. By default all.
    max_samples : int, optional
        Most samples on each side of a comparison, by default 4500, or most forecast paths per fold,
        by default 100. None keeps all.
    max_steps : int, optional
        Largest number of training steps per fit.
    seed : int
    executor : concurrent.futures.Executor, optional
        Runs the fits in parallel, such as ``joblib.externals.loky.get_reusable_executor(4)``, or
        ``client.get_executor()`` of a Dask cluster. The numbers do not depend on it.
    checkpoint : path, optional
        Folder that keeps every score as soon as it is known. Called again, ``compare`` computes
        only what is missing; scores of other data, settings or seeds are left alone.
    progress : bool
        Show a progress bar.

    Returns
    -------
    DataFrame
        One row per method or baseline, time and seed:

        * ``method``, ``time``, ``seed``, and the metrics;
        * ``mass`` (simulated) and ``mass_observed``, both relative to the time before;
          ``mass_error``, their difference as a share of the observed mass (NaN if none was given);
        * ``n_x`` and ``n_y``, the numbers of samples; ``seconds`` of fitting and scoring;
        * ``in_sample``; ``status`` of the fit; ``note``, why a score is missing; ``settings`` of
          the method as JSON.

        For paths there is ``fold`` in place of ``time``, and for the paths left out:

        * ``log_likelihood`` in nats, and the same ``per_observation``, the first one included, if
          the method has a likelihood;
        * ``crps`` and ``energy_score`` of forecast numbers, or ``brier`` of states; lower is
          better;
        * ``coverage`` of regions that should hold 90 %, and ``calibration_error``, the mean
          distance of coverage from level;
        * ``n_paths``, ``observations`` and ``forecasts``, the numbers behind them.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a key, a name or a time is invalid; the message names it.

    Warns
    -----
    UserWarning
        If a fit fails, which leaves NaN and a note in its row.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> method = di.ActionMatching(width=16)
    >>> keys = {"time_key": "time", "hold_out": 24}
    >>> table = di.tl.compare(adata, method, **keys, max_steps=20, progress=False)
    >>> sorted(set(table["method"]))
    ['ActionMatching', 'floor', 'growth_first', 'next', 'ot', 'still']
    """
    arguments = locals()
    models = _named(estimators)
    settings = {name: _as_text(model) for name, model in models.items()}
    if max_steps is not None:
        check_count(max_steps, "max_steps")
    scoring: Any
    folds: Sequence[Any]
    if _are_for_paths(data, models, path_key):
        _refuse_given(arguments, ("mass_key", "weight_key", "growth_key"), "paths")
        path_keys = chosen(arguments, PATH_KEYS)
        paths = read_paths(data, with_covariates(path_keys, data, models), reader="compare")
        baselines = path_baseline_names(baselines, paths)
        by_condition = any("condition_key" in model.uses for model in models.values())
        folds = path_folds(paths, hold_out, n_folds, by_condition=by_condition, seed=seed)
        scoring = HeldOutPaths(
            data=paths,
            metrics=tuple(score_names(metrics, paths)),
            max_paths=_cap(max_samples, MOST_PATHS),
            max_steps=max_steps,
        )
    else:
        _refuse_given(arguments, ("path_key", "state_key", "n_folds"), "snapshots")
        snapshots = read_every_time(data, chosen(arguments, SNAPSHOT_KEYS), reader="compare")
        every = (*BASELINES, FLOOR)
        names = every if baselines is None else baselines
        baselines = baseline_names(names, (FLOOR,))
        folds = times_to_hold_out(snapshots, hold_out)
        scoring = HeldOutTimes(
            data=snapshots,
            metrics=tuple(metric_names(METRICS if metrics is None else metrics)),
            max_samples=_cap(max_samples, MOST_SAMPLES),
            max_steps=max_steps,
        )
    _check_names(baselines, models)
    # Consecutive, and not drawn: whoever reads the table can repeat a row by hand.
    seed = check_seed(seed)
    seeds = range(seed, seed + check_count(n_repeats, "n_repeats"))
    tasks = []
    # Fold by fold: the first rows of a long comparison are whole.
    for fold in folds:
        for one in seeds:
            tasks += [scoring.of_model(name, model, fold, one) for name, model in models.items()]
            tasks += [scoring.of_baseline(name, fold, one) for name in baselines]
    rows = run_tasks(
        tasks, executor=executor, checkpoint=checkpoint, progress=progress, label="comparing"
    )
    if isinstance(scoring, HeldOutPaths):
        return _table_of_paths(rows, scoring.metrics, settings)
    return _table_of_times(rows, scoring.metrics, settings)


def _are_for_paths(data: Any, models: Mapping[str, Any], path_key: str | None) -> bool:
    """Whether the methods, or the data where there are none, are for paths; all must agree."""
    for model in models.values():
        refuse_fields(model, "compare")
    for_paths = [name for name, model in models.items() if isinstance(model, PathEstimator)]
    others = [name for name in models if name not in for_paths]
    if for_paths and others:
        raise TypeError(
            f"{brief(for_paths[0])} learns from paths and {brief(others[0])} from snapshots; "
            "compare methods of one kind at a time"
        )
    if not models:
        return isinstance(data, Paths) or path_key is not None
    return bool(for_paths)


def _refuse_given(arguments: Mapping[str, Any], names: Iterable[str], kind: str) -> None:
    for name in names:
        if arguments[name] is not None:
            raise ValueError(
                f"{name} cannot be used where {kind} are compared; leave it out, or give methods "
                "that use it"
            )


def _cap(value: Any, default: int) -> int | None:
    """Number of samples at most; ``value`` may be "auto"."""
    if isinstance(value, str) and value == "auto":
        return default
    return None if value is None else check_count(value, "max_samples")


def _named(estimators: Any) -> dict[str, Estimator]:
    """Estimators by name."""
    if isinstance(estimators, Mapping):
        models = {str(name): model for name, model in estimators.items()}
    else:
        single = hasattr(estimators, "fit")
        methods = [estimators]
        if not single:
            methods = as_list(estimators, "estimators", "methods such as ActionMatching()")
        _check_models(methods)
        models = dict(zip(names_of(methods), methods, strict=True))
    # Also those of a dict.
    _check_models(models.values())
    return models


def _check_models(models: Iterable[Any]) -> None:
    for model in models:
        if isinstance(model, type) or not hasattr(model, "fit") or not hasattr(model, "evaluate"):
            raise TypeError(
                f"estimators must be methods such as ActionMatching(), found {brief(model)}"
            )


def _check_names(baselines: Iterable[str], models: Mapping[str, Estimator]) -> None:
    for name in baselines:
        if name in models:
            raise ValueError(f"{name!r} names a baseline; give the estimator another name")


def _as_text(model: Estimator) -> str:
    """Settings as JSON; empty where one of them, such as a function, has no plain form."""
    try:
        return json.dumps(to_plain(model))
    except TypeError:
        return ""


def _table_of_times(
    rows: list[Any], metrics: Sequence[str], settings: Mapping[str, str]
) -> pd.DataFrame:
    columns = [*TIME_COLUMNS, *metrics, *MASSES, *LAST_COLUMNS]
    table = pd.DataFrame(rows).reindex(columns=columns)
    # As a share: masses come in any unit.
    ratio = table["mass"] / table["mass_observed"]
    table["mass_error"] = (ratio - 1).abs()
    return _completed(table, [*metrics, *MASSES], settings)


def _table_of_paths(
    rows: list[Any], metrics: Sequence[str], settings: Mapping[str, str]
) -> pd.DataFrame:
    columns = [*PATH_COLUMNS, *metrics, *COUNTS, *LAST_COLUMNS]
    table = pd.DataFrame(rows).reindex(columns=columns)
    return _completed(table, [*metrics, *COUNTS], settings)


def _completed(
    table: pd.DataFrame, numbers: list[str], settings: Mapping[str, str]
) -> pd.DataFrame:
    # A fit that failed has seen nothing.
    table["in_sample"] = table["in_sample"].eq(True)
    for name in ("status", "note"):
        table[name] = table[name].fillna("")
    by_method = table["method"].map(settings)
    table["settings"] = by_method.fillna("")
    # Columns without one number would be of kind object.
    table[numbers] = table[numbers].astype(np.float64)
    return table
