"""Forecasts from where paths end, and of their later parts from the earlier ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.trajectories import Trajectories
from dyninfer.learning.random import subseed
from dyninfer.learning.settings import check_count, check_seed
from dyninfer.metrics.forecasts import Forecasts, forecast_rest


def run_on(model: Any, paths: Paths, times: np.ndarray, n_samples: int, seed: int) -> Trajectories:
    """Run the process of a fitted model from the last observation of each path.

    Paths that end together run at once.

    Parameters
    ----------
    model : PathEstimator
        Its ``states_at`` gives the states behind the last observations.
    paths : Paths
        What was observed.
    times : array ``(q,)``
        After the last observation of all paths.
    n_samples : int
        Draws per path.
    seed : int
        Fixes every draw.

    Returns
    -------
    Trajectories
        ``n_samples`` rows per path, one path after another.
    """
    n_samples = check_count(n_samples)
    seed = check_seed(seed)
    ends = np.array([path_times[-1] for path_times in paths.times])
    draws = np.arange(n_samples)
    runs = []
    places = []
    for number, end in enumerate(np.unique(ends)):
        rows = np.flatnonzero(ends == end)
        # Each draw of the future has a draw of its own of the state behind the past.
        own_seed = subseed(seed, "states", number)
        group = paths[rows]
        states = model.states_at(group, float(end), own_seed, n_samples)
        options = model.continuation(group, n_samples)
        from_end = np.concatenate([[end], times])
        # Of another stream: else noise and starting states would be made of the same numbers.
        run_seed = subseed(seed, "forecast", number)
        run = model.simulate(states, from_end, seed=run_seed, **options)
        # Without the end of the past, which was not asked for.
        future = run.states[:, 1:]
        runs.append(future)
        first_rows = rows * n_samples
        place = first_rows[:, None] + draws
        places.append(place.ravel())
    order = np.argsort(np.concatenate(places))
    states = torch.cat(runs)
    return Trajectories(
        states=states[torch.as_tensor(order)],
        times=torch.as_tensor(times),
        features=model.decoded_features(),
        origin=np.repeat(paths.names, n_samples),
        attrs={"method": type(model).__name__, "seed": seed},
    )


def backtest(
    model: Any,
    paths: Paths,
    past_fraction: float,
    n_samples: int,
    max_paths: int | None,
    seed: int,
) -> Forecasts:
    """Forecast the later observations of each path from the earlier ones, with their noise.

    Parameters
    ----------
    model : PathEstimator
        Fitted.
    paths : Paths
        As the model reads them.
    past_fraction, n_samples, max_paths, seed
        As in ``PathEstimator.evaluate``.

    Returns
    -------
    Forecasts
        Draws beside what was observed.
    """

    def draw(past: Paths, times: np.ndarray, seed: int) -> Tensor:
        own_seed = subseed(seed, "states")
        run = model.forecast(past, times, n_samples=n_samples, seed=own_seed)
        # Compared with observations, so it has their noise.
        return model.observe(run.states, subseed(seed, "noise"))

    targets = model.observations(paths)
    return forecast_rest(paths, targets, draw, past_fraction, max_paths, seed)
