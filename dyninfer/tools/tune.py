"""Settings that the data choose: parts are left out in turn, but never the part to be reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dyninfer.data.arrays import as_list
from dyninfer.data.keys import PATH_KEYS, SNAPSHOT_KEYS, chosen
from dyninfer.data.paths import Paths
from dyninfer.data.reading import read_paths
from dyninfer.data.snapshots import Snapshots
from dyninfer.estimators import Estimator, PathEstimator
from dyninfer.estimators.fields import refuse_fields
from dyninfer.estimators.fractional_sde import FractionalSDE
from dyninfer.estimators.markov_jump import MarkovJumpInference
from dyninfer.estimators.stochastic_interpolant import StochasticInterpolant
from dyninfer.learning.settings import brief, check_count, check_seed
from dyninfer.tools.held_out_paths import HeldOutPaths, score_names, with_covariates
from dyninfer.tools.held_out_times import read_every_time
from dyninfer.tools.inner_paths import InnerPaths, names_to_hold_out
from dyninfer.tools.inner_times import InnerTimes
from dyninfer.tools.search import Changes, InnerScores, Search, Tuned
from dyninfer.tools.tasks import Row, Task, run_tasks

if TYPE_CHECKING:
    from anndata import AnnData

# A choice on one subsample often flips.
SUBSAMPLES = 3
CELLS = 1000


def tune(
    data: AnnData | Snapshots | Paths,
    estimator: Estimator | None = None,
    *,
    time_key: str | None = None,
    use_rep: str | None = None,
    mass_key: str | None = None,
    weight_key: str | None = None,
    condition_key: str | None = None,
    growth_key: str | None = None,
    path_key: str | None = None,
    state_key: str | None = None,
    hold_out: str | float | Iterable[Any] | None = None,
    search_space: Mapping[str, Sequence[Changes]] | None = None,
    n_subsamples: int | None = None,
    max_cells: int | None = None,
    n_folds: int | None = None,
    max_steps: int | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Tuned:
    """Choose settings by leaving out inner times, or folds of paths.

    **Snapshots.** Candidates are fitted to subsamples without one inner time. Their predictions of
    that time are scored by Wasserstein-1 and energy distance, with as many points as the subsample
    has cells. Logarithms of W1 are averaged over times and subsamples.

    **Paths.** Candidates are fitted without one fold of the paths and scored on it as in
    :func:`~dyninfer.tools.compare`. The log-likelihood per observation decides, or, for a method
    without a likelihood, the CRPS or Brier score of forecasts.

    With one or two inner times, or two folds, there is no grid search, which would pick extremes.
    Each change in the search space is tried by itself, in order. It is accepted if it is better on
    average and its energy distance (or forecast score) is not clearly worse. With three or more,
    the first change in a group within one standard error of the best is chosen, so that settings
    stay simple unless the data ask for more.

    Parameters
    ----------
    data : AnnData, Snapshots or Paths
    estimator : Estimator, optional
        Method to tune, with its starting settings; by default
        :class:`~dyninfer.StochasticInterpolant`, for paths of states
        :class:`~dyninfer.MarkovJumpInference`, and for paths of numbers
        :class:`~dyninfer.FractionalSDE`.
    time_key, use_rep, mass_key, weight_key, condition_key, growth_key, path_key, state_key : str, \
optional
        Keys of an AnnData, as in ``fit``.
    hold_out : float, list of floats, or names of paths, optional
        Times removed before anything else. They play no part in the choice, so a score reported on
        them later is honest. For paths, their names, or a share between 0 and 1 to draw at random;
        ``Tuned.hold_out`` holds the names.
    search_space : dict of lists of dicts, optional
        Groups of alternatives by name, simplest first. Each alternative holds the settings that it
        changes, such as ``{"coupling": [{"coupling": "unbalanced"}]}``; by default
        ``estimator.search_space()``, or ``estimator.search_space(paths)`` for paths. The starting
        settings count as the simplest, unless the group lists them elsewhere.
    n_subsamples : int, optional
        Subsamples of snapshots over which scores are pooled, by default 3: a choice on only one
        often flips.
    max_cells : int, optional
        Cells per time in a subsample, by default 1,000.
    n_folds : int, optional
        Folds of paths, by default five, or the number of paths if smaller.
    max_steps : int, optional
        Largest number of training steps per fit.
    seed : int
    executor : concurrent.futures.Executor, optional
        Runs the fits in parallel.
    checkpoint : path, optional
        Folder that keeps every score as soon as it is known; called again, ``tune`` computes only
        what is missing.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Tuned
        With ``best``, ``table``, ``settings_scored``, ``reasons`` and ``hold_out``. If nothing can
        be left out, ``best`` has the given settings, and ``reasons`` says so.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a key, a name or a time is invalid; the message names it.

    Examples
    --------
    >>> import dyninfer as di
    >>> snapshots = di.simulators.OrnsteinUhlenbeck().snapshots([0.0, 0.5, 1.0], 60, seed=0)
    >>> space = {"noise": [{"sigma": 0.5}]}
    >>> method = di.ActionMatching(width=8)
    >>> options = {"search_space": space, "max_steps": 2, "progress": False}
    >>> tuned = di.tl.tune(snapshots, method, n_subsamples=1, **options)
    >>> tuned.settings_scored  # without noise, and with it
    2
    """
    arguments = locals()
    if max_steps is not None:
        check_count(max_steps, "max_steps")
    seed = check_seed(seed)
    scoring: InnerScores
    names: tuple[str, ...] = ()
    if _is_for_paths(data, estimator, path_key):
        unused = ("mass_key", "weight_key", "growth_key", "n_subsamples", "max_cells")
        _refuse_unused(arguments, unused, "paths")
        paths = _read_paths(data, chosen(arguments, PATH_KEYS), estimator)
        start = _method_for(paths) if estimator is None else estimator
        inner, names = _inner_paths(paths, start, arguments)
        space = search_space
        if space is None:
            # Which alternatives make sense depends on the states.
            space = start.search_space(inner.scoring.data)
        groups = _groups(start, space)
        scoring = inner
    else:
        _refuse_unused(arguments, ("path_key", "state_key", "n_folds"), "snapshots")
        start = StochasticInterpolant() if estimator is None else estimator
        groups = _groups(start, search_space)
        scoring = _inner_times(data, arguments)

    def run(tasks: list[Task], label: str) -> list[Row]:
        return run_tasks(
            tasks, executor=executor, checkpoint=checkpoint, progress=progress, label=label
        )

    tuned = Search(scoring, run).through(start, groups)
    return replace(tuned, hold_out=names)


def _is_for_paths(data: Any, estimator: Any, path_key: str | None) -> bool:
    if estimator is None:
        return isinstance(data, Paths) or path_key is not None
    refuse_fields(estimator, "tune")
    return isinstance(estimator, PathEstimator)


def _refuse_unused(arguments: Mapping[str, Any], names: Iterable[str], kind: str) -> None:
    for name in names:
        if arguments[name] is not None:
            raise ValueError(
                f"{name} cannot be used where a method of {kind} is tuned; leave it out"
            )


def _inner_times(data: Any, arguments: Mapping[str, Any]) -> InnerTimes:
    """Inner times of what is not held out."""
    every_time = read_every_time(data, chosen(arguments, SNAPSHOT_KEYS), reader="tune")
    # Only what is kept is checked: a time that is held out may hold anything.
    snapshots = every_time.without(arguments["hold_out"]).check_finite()
    n_subsamples = arguments["n_subsamples"]
    max_cells = arguments["max_cells"]
    return InnerTimes(
        data=snapshots,
        n_subsamples=_count(n_subsamples, "n_subsamples", SUBSAMPLES),
        max_cells=_count(max_cells, "max_cells", CELLS),
        max_steps=arguments["max_steps"],
        seed=arguments["seed"],
    )


def _count(value: int | None, name: str, default: int) -> int:
    return default if value is None else check_count(value, name)


def _read_paths(data: Any, keys: dict[str, Any], estimator: Estimator | None) -> Paths:
    """All paths, with the covariates that the method learns from."""
    if estimator is not None:
        keys = with_covariates(keys, data, {"": estimator})
    return read_paths(data, keys, reader="tune")


def _method_for(paths: Paths) -> PathEstimator:
    """What learns from paths of this kind."""
    return MarkovJumpInference() if paths.discrete else FractionalSDE()


def _inner_paths(
    paths: Paths, start: PathEstimator, arguments: Mapping[str, Any]
) -> tuple[InnerPaths, tuple[str, ...]]:
    """Folds of the paths that are not held out, and the names of those that are."""
    by_condition = "condition_key" in start.uses
    seed = arguments["seed"]
    names = names_to_hold_out(paths, arguments["hold_out"], by_condition, seed)
    remaining = paths.without(list(names)) if names else paths
    scoring = HeldOutPaths(
        data=remaining,
        metrics=tuple(score_names(None, remaining)),
        max_steps=arguments["max_steps"],
    )
    inner = InnerPaths(
        scoring=scoring,
        n_folds=arguments["n_folds"],
        by_condition=by_condition,
        seed=seed,
    )
    return inner, names


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
