"""How well a simulated population matches an observed one, beside a perfect and an idle model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.time_reading import as_times
from dyninfer.data.times import spelled
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.words import as_text
from dyninfer.metrics.populations import compare_populations, metric_names


def arrivals(observed: Snapshots, times: Any) -> list[int]:
    """Numbers of the times that are scored: all but the first, or those that were asked for."""
    if times is None:
        return list(range(1, observed.n_times))
    numbers = []
    for time in as_times(times):
        k = observed.index(time)
        if k == 0:
            raise ValueError(
                f"time {spelled(time)[0]} is the first of the data, which no cells lead to; "
                "evaluate later times"
            )
        numbers.append(k)
    return numbers


def score_arrival(
    observed: Snapshots,
    run: Trajectories,
    baselines: Mapping[str, tuple[ndarray, ndarray] | None],
    *,
    metrics: Sequence[str],
    max_samples: int | None,
    seed: int,
) -> dict[str, Any]:
    """Compare the last state of a simulation with the snapshot observed then.

    Parameters
    ----------
    observed : Snapshots
        Holds the times at which the simulation starts and ends.
    run : Trajectories
        From the samples of the snapshot it starts from, with their weights.
    baselines : dict
        States ``(n, feature)`` and weights that others than the model predict, by name; None where
        one predicts nothing.
    metrics, max_samples, seed
        As in :func:`dyninfer.metrics.compare_populations`.

    Returns
    -------
    dict
        Each metric, its ``_floor`` of other samples of the observed population and
        ``<metric>_<name>`` of every baseline; the sample sizes; ``mass`` simulated and
        ``mass_observed``, relative to the start; ``diverged`` paths.
    """
    metrics = metric_names(metrics)
    begin = float(run.times[0])
    end = float(run.times[-1])
    truth = observed.at(end)
    alive = (run.status == 0).cpu().numpy()
    if not alive.any():
        raise ValueError(
            f"all {len(alive)} paths from time {as_text(begin)} diverged before time "
            f"{as_text(end)}; fit with a lower learning rate"
        )
    # Paths carry the weights of their cells, and what grew or died on the way.
    last_weights = run.weights[:, -1].cpu()
    weights = last_weights.numpy()[alive]
    compare = partial(
        compare_populations,
        y=truth,
        y_weights=observed.weights_at(end),
        metrics=metrics,
        max_samples=max_samples,
        seed=seed,
    )
    last_states = run.states[:, -1].cpu()
    arrived = last_states.numpy()[alive]
    scores: dict[str, Any] = compare(arrived, x_weights=weights, floor=True)
    # What no model at all would score: better than this, or the model has learned nothing.
    for baseline, prediction in baselines.items():
        others: dict[str, Any] = dict.fromkeys(metrics, math.nan)
        if prediction is not None:
            states, state_weights = prediction
            others = compare(states, x_weights=state_weights, floor=False)
        for name in metrics:
            scores[f"{name}_{baseline}"] = others[name]
    scores["mass"] = _growth(run)
    scores["mass_observed"] = _mass_ratio(observed, begin, end)
    scores["diverged"] = int((~alive).sum())
    return scores


def _growth(run: Trajectories) -> float:
    """Simulated mass at the end, relative to that at the start."""
    log_mass = run.log_mass
    growth = log_mass[-1] - log_mass[0]
    factor = float(growth.exp())
    if math.isinf(factor):
        raise ValueError(
            f"the simulated mass grows by e^{float(growth):.4g} from time "
            f"{as_text(float(run.times[0]))} to {as_text(float(run.times[-1]))}, more than float64 "
            "holds; fit with a larger growth_penalty"
        )
    return factor


def _mass_ratio(observed: Snapshots, begin: float, end: float) -> float:
    """Observed mass at the end, relative to that at the start; NaN where it was not observed."""
    if observed.masses is None:
        return np.nan
    before = observed.masses[observed.index(begin)]
    after = observed.masses[observed.index(end)]
    return float(after / before)
