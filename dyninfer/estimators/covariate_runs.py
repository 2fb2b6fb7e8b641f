"""Simulations of jump processes whose rates depend on the covariates of every path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.paths.observed import observed_at, past_of
from dyninfer.data.reading import is_anndata
from dyninfer.data.time_reading import requested_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.words import listed
from dyninfer.estimators.cautions import warn_beyond
from dyninfer.estimators.starts import with_origin
from dyninfer.jumps.schedule import Schedule
from dyninfer.jumps.starting import as_state_numbers
from dyninfer.simulation import simulate
from dyninfer.simulation.start import starting_rows

if TYPE_CHECKING:
    from dyninfer.estimators.jump_estimator import JumpEstimator


def refuse_covariates(model: JumpEstimator, start: Any, covariates: Any) -> None:
    """Raise a ValueError where covariates are given to a run that depends on none."""
    if covariates is None or model.rate_columns:
        return
    if not model.covariate_columns:
        raise ValueError(
            "covariates cannot be used: the rates of this model depend on none; leave them out, or "
            "fit with covariates=Covariates(...)"
        )
    if start is not None:
        raise ValueError(
            "covariates cannot be used: in this model only first states depend on them, and start "
            "gives those; leave one of the two out"
        )


def first_distribution(model: JumpEstimator, covariates: Any, time: float) -> Tensor:
    """Distribution of first states ``(row, S)`` at the covariates of a time."""
    effects = model.initial_effects_
    assert effects is not None
    if covariates is None:
        columns = listed(effects.design.covariates.columns)
        raise ValueError(
            f"the first states of this model depend on {columns}; give simulate a value for each, "
            "covariates={...}, or a table with a row for every path"
        )
    schedule = Schedule.of(covariates)
    schedule.check_begun(time)
    return effects.of_rows(effects.design.matrix(schedule.at(time)))


def run_with_covariates(
    model: JumpEstimator,
    start: Any,
    times: Sequence[float] | ndarray,
    covariates: Any,
    n_paths: int | None,
    seed: int,
    options: dict[str, Any],
) -> Trajectories:
    """Run a fitted model, every path with its own covariates.

    Parameters are those of ``MarkovJumpInference.simulate``, of a model whose rates depend on
    columns of covariates.
    """
    times = requested_times(times)
    first_time = float(times[0])
    states, names = model._starting(start, first_time, seed)
    schedule = _schedule(model, start, first_time, covariates)
    schedule.check_begun(first_time)
    numbers = as_state_numbers(model.process_, states)
    n_starts = len(numbers)
    rows = starting_rows(n_starts, n_paths, seed)

    def of_paths(table: pd.DataFrame) -> pd.DataFrame:
        if len(table) not in (1, n_starts):
            raise ValueError(
                f"covariates has {len(table)} rows; give one value of each covariate, or a row for "
                f"each of the {n_starts} starting states"
            )
        return table.iloc[rows.numpy() % len(table)].reset_index(drop=True)

    assert model.effects_ is not None
    process = model.effects_.process(schedule.mapped(of_paths))
    warn_beyond(model._covered_times(), times, "simulating")
    # A process for every path, each of which runs one path.
    run = simulate(process, numbers[rows].unsqueeze(1), times, seed=seed, **options)
    run = replace(run, origin=rows.numpy(), features=model.decoded_features())
    return with_origin(run, names)


def _schedule(model: JumpEstimator, start: Any, time: float, covariates: Any) -> Schedule:
    """Covariates of every starting state, or one row for all, perhaps with times."""
    if covariates is not None:
        return Schedule.of(covariates)
    if not isinstance(start, Paths) and not is_anndata(start):
        columns = listed(model.rate_columns)
        raise ValueError(
            f"the rates of this model depend on {columns}; give simulate a value for each, "
            "covariates={...}, or a table with a row for every starting state"
        )
    paths = model._as_paths(start)
    paths = paths[observed_at(paths, time)]
    past = past_of(paths, time)
    return Schedule.of(model.continuation(past, 1)["covariates"])
