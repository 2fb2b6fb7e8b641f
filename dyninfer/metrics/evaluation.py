"""How well a simulated population meets an observed one, with what a perfect and an idle model would score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.trajectories import Trajectories
from dyninfer.metrics import compare_populations


def score_arrival(
    observed: Snapshots,
    run: Trajectories,
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
        One path for every sample of the snapshot it starts from, in order.
    metrics, max_samples, seed
        As in :func:`dyninfer.metrics.compare_populations`.

    Returns
    -------
    dict
        Each metric, its ``_floor`` between two halves of the observed sample and its ``_still`` of the starting samples
        unmoved; the sample sizes; ``mass`` simulated and ``mass_observed``, relative to the start; ``diverged`` paths.
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    begin, end = float(run.times[0]), float(run.times[-1])
    truth, truth_weights = observed.at(end), observed.weights_at(end)
    start_weights = observed.weights_at(begin)
    alive = (run.status == 0).cpu().numpy()
    growth = (
        np.ones(len(alive))
        if run.log_weights is None
        else run.log_weights[:, -1].exp().cpu().numpy()
    )
    weights = (start_weights * growth)[alive]
    options: dict[str, Any] = {
        "metrics": metrics,
        "max_samples": max_samples,
        "seed": seed,
        "y_weights": truth_weights,
    }
    arrived = run.states[:, -1].cpu().numpy()[alive]
    if len(arrived) == 0:
        raise ValueError(
            f"all {len(alive)} paths from time {begin:g} diverged before time {end:g}; fit with a lower learning rate"
        )
    scores: dict[str, Any] = compare_populations(
        arrived, truth, x_weights=weights, floor=True, **options
    )
    still = compare_populations(
        observed.at(begin), truth, x_weights=start_weights, floor=False, **options
    )
    scores |= {f"{name}_still": still[name] for name in metrics}
    scores["mass"] = float(weights.sum() / start_weights[alive].sum())
    masses = observed.masses
    scores["mass_observed"] = (
        np.nan
        if masses is None
        else float(masses[observed.index(end)] / masses[observed.index(begin)])
    )
    scores["diverged"] = int((~alive).sum())
    return scores
