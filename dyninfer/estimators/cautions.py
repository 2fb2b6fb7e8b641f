"""Warnings about numbers that can be computed, but hardly believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from dyninfer.data.times import Clock
from dyninfer.data.trajectories import Trajectories
from dyninfer.learning.warn import warn

# Below this part of the starting cells, an average is that of a few of them.
_FEW = 0.05
# Counts of cells are hardly better known than that.
_FAR = 1.5
# Floors, averages over three splits, vary by a few per cent.
_CHANCE = 0.95
# Distances that only sampling lifts above zero, so that a floor is the least to be had.
_WITH_FLOOR = ("w1", "w2", "sliced_w2")


def warn_beyond(fitted: np.ndarray, times: np.ndarray, doing: str) -> None:
    """Warn where times lie before the first or after the last time of the data."""
    if len(times) == 0 or Clock.of(fitted).covers(times):
        return
    warn(
        f"{doing} from {times.min():g} to {times.max():g}, beyond the data ({fitted.min():g} to "
        f"{fitted.max():g})",
    )


def warn_of_collapse(run: Trajectories) -> None:
    """Warn where a few paths carry nearly all of the mass."""
    sizes = run.ess.detach().cpu().numpy()
    # NaN, where all mass is gone, is above nothing.
    collapsed = ~(sizes >= _FEW * sizes[0])
    if not collapsed.any():
        return
    k = int(collapsed.argmax())
    warn(
        f"the effective sample size falls from {sizes[0]:.4g} to {sizes[k]:.2g} of {run.n_paths} "
        f"paths by time {float(run.times[k]):g}: a few paths carry nearly all weight, and averages "
        "are theirs; a larger growth_penalty, more frequent times, or resample=0.5 may help",
    )


def warn_of_mass(run: Trajectories, fitted: np.ndarray, masses: Sequence[float] | None) -> None:
    """Warn where the simulated mass strays from what was observed, as interpolated in time.

    Without masses, the populations of all times were learned from as of one mass.
    """
    if masses is None:
        masses = [1.0] * len(fitted)
    log_masses = np.log(np.asarray(masses))
    observed = np.interp(run.times.cpu().numpy(), fitted, log_masses)
    simulated = run.log_mass.detach().cpu().numpy()
    excess = np.abs((simulated - simulated[0]) - (observed - observed[0]))
    is_far = ~(excess <= np.log(_FAR))
    if not is_far.any():
        return
    k = int(is_far.argmax())
    ratio = np.exp(simulated[k] - simulated[0])
    right = np.exp(observed[k] - observed[0])
    _warn_of_masses([(float(run.times[k]), ratio, right)])


def warn_of_scores(table: pd.DataFrame, metrics: Iterable[str], n_features: int) -> None:
    """Warn of scores that flatter, and of masses far from those observed."""
    if bool(table["in_sample"].all()):
        warn(
            f"the scores at {_listed(table['time'])} are in-sample: the model has learned from "
            "these cells, so that they flatter it; fit with hold_out, or evaluate other cells",
        )
    low = _below_floor(table, metrics, n_features)
    if low:
        warn(
            f"below the floor: {_first(low)}. The simulated cells are nearer to the observed ones "
            "than other cells of that time would be: they are in-sample, or smoother than cells "
            "are; compare the energy distance",
        )
    excess = (np.log(table["mass"]) - np.log(table["mass_observed"])).abs()
    far = table[excess > np.log(_FAR)]
    if len(far):
        rows = zip(far["time"], far["mass"], far["mass_observed"], strict=True)
        _warn_of_masses(list(rows))


def _below_floor(table: pd.DataFrame, metrics: Iterable[str], n_features: int) -> list[str]:
    """Scores lower than a perfect model's, in words.

    A floor of fewer samples is higher: Wasserstein distances between samples of one distribution
    fall as n^(-1/d), and as n^(-1/2) below three features (Fournier & Guillin, 2015).
    """
    rate = 1 / max(2, n_features)
    shrinkage = (table["n_floor"] / table["n_used"]) ** rate
    low = []
    for name in metrics:
        if name not in _WITH_FLOOR:
            continue
        floor = table[f"{name}_floor"] * shrinkage
        below = table[table[name] < _CHANCE * floor]
        low += [f"{name} at time {time:g}" for time in below["time"]]
    return low


def _warn_of_masses(rows: list[tuple[float, float, float]]) -> None:
    far = [f"×{mass:.3g} by time {t:g} (the data: ×{right:.3g})" for t, mass, right in rows]
    warn(
        f"the simulated mass is far from that of the data: {_first(far)}; do not trust the growth "
        "rates there; another growth_penalty may do better"
    )


def _listed(times: Iterable[float]) -> str:
    return "time " + _first([f"{time:g}" for time in times])


def _first(words: list[str], most: int = 3) -> str:
    # A message is read whole only if it is short.
    if len(words) <= most:
        return ", ".join(words)
    return ", ".join(words[:most]) + f" and {len(words) - most} more"
