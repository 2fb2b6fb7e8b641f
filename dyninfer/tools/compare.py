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
from dyninfer.data.snapshots import Snapshots
from dyninfer.estimators import Estimator
from dyninfer.learning.settings import brief, check_count, check_seed, to_plain
from dyninfer.metrics.populations import metric_names
from dyninfer.tools.held_out_times import (
    FLOOR,
    HeldOutTimes,
    names_of,
    read_every_time,
    times_to_hold_out,
)
from dyninfer.tools.tasks import run_tasks
from dyninfer.transport.baselines import BASELINES, baseline_names

if TYPE_CHECKING:
    from anndata import AnnData

# What every row has comes first, what explains it last; numbers stand between.
COLUMNS = ("method", "time", "seed")
LAST_COLUMNS = ("seconds", "in_sample", "status", "note", "settings")


def compare(
    data: AnnData | Snapshots,
    estimators: Estimator | Sequence[Estimator] | Mapping[str, Estimator],
    *,
    time_key: str | None = None,
    use_rep: str | None = None,
    mass_key: str | None = None,
    weight_key: str | None = None,
    condition_key: str | None = None,
    growth_key: str | None = None,
    hold_out: str | float | Iterable[float] = "each",
    n_repeats: int = 1,
    baselines: Sequence[str] = (*BASELINES, FLOOR),
    metrics: Sequence[str] = ("w1", "w2", "energy", "sliced_w2", "mmd"),
    max_samples: int | None = 4500,
    max_steps: int | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Leave times out one by one, predict each with every method, and score the predictions.

    Every fit sees the data without the time it is scored at: scaling, couplings, growth and early
    stopping too. A prediction starts from the cells of the time before. What was computed before,
    such as principal components of all cells, is the caller's affair.

    Parameters
    ----------
    data : AnnData or Snapshots
    estimators : Estimator, list, or dict of names and estimators
        Unfitted methods; they are copied, and stay as they are.
    time_key, use_rep, mass_key, weight_key, condition_key, growth_key : str, optional
        Keys of an AnnData, as in ``fit``. Conditions and expected growth are left out for a method
        that has no use for them.
    hold_out : "each", float or list of floats
        Times that are left out, each on its own; "each" takes all between the first and the last.
    n_repeats : int
        Fits of every method at every time, with the seeds ``seed``, ``seed + 1``, ...: any row can
        be had again by ``fit(..., seed=...)``.
    baselines : sequence of str
        "still": the cells of the time before, unmoved; "next": the cells of the time after; "ot":
        exact optimal transport between the two; "growth_first": the same between cells reweighted
        by growth; "floor": another sample of the same population, as many cells as start at the
        time before (:func:`~dyninfer.metrics.finite_sample_floor`).
    metrics : sequence of str
        Names as in :mod:`dyninfer.metrics`.
    max_samples : int, optional
        Cap on the samples a side of a comparison; None keeps all.
    max_steps : int, optional
        Training steps of a fit at most.
    seed : int
    executor : concurrent.futures.Executor, optional
        Runs the fits side by side, such as ``joblib.externals.loky.get_reusable_executor(4)``, or
        ``client.get_executor()`` of a Dask cluster. The numbers do not depend on it.
    checkpoint : path, optional
        Folder in which every score is kept as soon as it is there. Called again, ``compare``
        computes only what is missing; scores of other data, settings or seeds are left alone.
    progress : bool
        Show a progress bar.

    Returns
    -------
    DataFrame
        A row for every method or baseline, time and seed, with ``method``, ``time``, ``seed``; the
        metrics; ``mass``, simulated, and ``mass_observed``, relative to the time before, and
        ``mass_error``, the difference of the two as a share of the observed (NaN where no mass was
        given); ``n_x`` and ``n_y``, the numbers of samples; ``seconds`` of fitting and scoring;
        ``in_sample``; ``status`` of the fit, and in ``note`` why a score is missing; the
        ``settings`` of the method as JSON.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a key, a name or a time is not as it must be; the message names it.

    Warns
    -----
    UserWarning
        If a fit fails, which leaves NaN and a note in its row.
    """
    keys = {
        "time_key": time_key,
        "use_rep": use_rep,
        "mass_key": mass_key,
        "weight_key": weight_key,
        "condition_key": condition_key,
        "growth_key": growth_key,
    }
    models = _named(estimators)
    settings = {name: _as_text(model) for name, model in models.items()}
    snapshots = read_every_time(data, keys, reader="compare")
    baselines = baseline_names(baselines, (FLOOR,))
    _check_names(baselines, models)
    if max_steps is not None:
        check_count(max_steps, "max_steps")
    scoring = HeldOutTimes(
        data=snapshots,
        metrics=tuple(metric_names(metrics)),
        max_samples=max_samples,
        max_steps=max_steps,
    )
    # Consecutive, and not drawn: whoever reads the table can repeat a row by hand.
    seed = check_seed(seed)
    seeds = range(seed, seed + check_count(n_repeats, "n_repeats"))
    tasks = []
    # Time by time: the first rows of a long comparison are whole.
    for time in times_to_hold_out(snapshots, hold_out):
        for one in seeds:
            tasks += [scoring.of_model(name, model, time, one) for name, model in models.items()]
            tasks += [scoring.of_baseline(name, time, one) for name in baselines]
    rows = run_tasks(
        tasks, executor=executor, checkpoint=checkpoint, progress=progress, label="comparing"
    )
    return _table(rows, scoring.metrics, settings)


def _named(estimators: Any) -> dict[str, Estimator]:
    """Estimators by name."""
    if isinstance(estimators, Mapping):
        models = {str(name): model for name, model in estimators.items()}
    else:
        single = hasattr(estimators, "fit")
        listed = [estimators]
        if not single:
            listed = as_list(estimators, "estimators", "methods such as ActionMatching()")
        _check_models(listed)
        models = dict(zip(names_of(listed), listed, strict=True))
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


def _table(rows: list[Any], metrics: Sequence[str], settings: Mapping[str, str]) -> pd.DataFrame:
    columns = (*COLUMNS, *metrics, "mass", "mass_observed", "mass_error", "n_x", "n_y")
    table = pd.DataFrame(rows).reindex(columns=[*columns, *LAST_COLUMNS])
    # As a share: masses come in any unit.
    table["mass_error"] = (table["mass"] / table["mass_observed"] - 1).abs()
    # A fit that failed has seen nothing.
    table["in_sample"] = table["in_sample"].eq(True)
    for name in ("status", "note"):
        table[name] = table[name].fillna("")
    table["settings"] = table["method"].map(settings).fillna("")
    numbers = [*metrics, "mass", "mass_observed", "mass_error", "n_x", "n_y"]
    # Columns without one number would be of kind object.
    table[numbers] = table[numbers].astype(np.float64)
    return table
