"""Warnings about numbers that can be computed, but hardly believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from dyninfer.data.conditions import ConditionCode
from dyninfer.data.times import Clock, spelled
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.words import counted, quoted
from dyninfer.learning.warn import warn

# Below this part of the starting cells, an average is that of a few of them.
_FEW = 0.05
# Counts of cells are hardly better known than that.
_FAR = 1.5
# Floors, averages over a few splits, vary by a few per cent.
_CHANCE = 0.95
# Distances that only sampling lifts above zero, so that a floor is the least to be had.
_WITH_FLOOR = ("w1", "w2", "sliced_w2")


def warn_beyond(fitted: np.ndarray, times: np.ndarray, doing: str) -> None:
    """Warn where times lie before the first or after the last time of the data."""
    if len(times) == 0 or Clock.of(fitted).covers(times):
        return
    ends = [times.min(), times.max()]
    first, last = spelled(ends, fitted)
    data_ends = [fitted.min(), fitted.max()]
    data_first, data_last = spelled(data_ends, times)
    warn(
        f"{doing} from {first} to {last}, beyond the data ({data_first} to {data_last})",
    )


def grew(run: Trajectories) -> bool:
    """Whether mass changed on the way, and not only differs between the starting cells."""
    if run.log_weights is None:
        return False
    first = run.log_weights[:, :1]
    return bool((run.log_weights != first).any())


def warn_of_collapse(run: Trajectories) -> None:
    """Warn where a few paths carry nearly all of the mass."""
    sizes = run.ess.detach().cpu().numpy()
    # NaN, where all mass is gone, is above nothing.
    least = _FEW * sizes[0]
    is_collapsed = ~(sizes >= least)
    if not is_collapsed.any():
        return
    k = int(is_collapsed.argmax())
    time = _spelled_at(run.times, k)
    warn(
        f"the effective sample size falls from {sizes[0]:.4g} to {sizes[k]:.2g} of {run.n_paths} "
        f"paths by time {time}: a few paths carry nearly all weight and determine all "
        "averages; a larger growth_penalty, more frequent times, or resample=0.5 may help",
    )


def warn_of_mass(run: Trajectories, fitted: np.ndarray, masses: Sequence[float] | None) -> None:
    """Warn where the simulated mass strays from what was observed, as interpolated in time.

    Without masses, the populations of all times were learned from as of one mass.
    """
    if masses is None:
        masses = [1.0] * len(fitted)
    log_masses = np.log(np.asarray(masses))
    times = run.times.cpu().numpy()
    # In logarithms, as mass grows at a rate; relative to the start, whose size is the user's.
    observed = np.interp(times, fitted, log_masses)
    observed = observed - observed[0]
    simulated = run.log_mass.detach().cpu().numpy()
    simulated = simulated - simulated[0]
    excess = np.abs(simulated - observed)
    # The reverse would be false for a mass that is not a number.
    is_far = ~(excess <= np.log(_FAR))
    if not is_far.any():
        return
    k = int(is_far.argmax())
    ratio = np.exp(simulated[k])
    right = np.exp(observed[k])
    moment = _spelled_at(run.times, k)
    _warn_of_masses([(moment, ratio, right)])


def warn_of_strangers(code: ConditionCode, condition: Any) -> None:
    """Warn where growth is asked for under a combination that was not in the data."""
    if not code.is_new(condition):
        return
    pairs = code.strangers(condition)
    names = [f"{first} with {second}" for first, second in pairs]
    lacking = "its parts were, with others"
    if pairs:
        lacking = f"{counted(len(pairs), 'pair')} of its parts never met ({_first(names)})"
    warn(
        f"condition {quoted(str(condition))} was not in the data: {lacking}; its total mass is "
        "what additive parts would give, but do not trust where it moves and which cells grow "
        "without measured neighbours; a fit without growth combines effects more safely"
    )


def warn_of_scores(table: pd.DataFrame, metrics: Iterable[str]) -> None:
    """Warn of scores that flatter, and of masses far from those observed."""
    if bool(table["in_sample"].all()):
        warn(
            f"the scores at {_listed(table['time'])} are in-sample: the model has learned from "
            "these cells, which makes scores look better; fit with hold_out, or evaluate others",
        )
    low = _below_floor(table, metrics)
    if low:
        warn(
            f"below the floor: {_first(low)}. The simulated cells are nearer to the observed ones "
            "than other cells of that time would be, because they are in-sample or smoother than "
            "real cells; compare the energy distance",
        )
    log_mass = np.log(table["mass"])
    log_observed = np.log(table["mass_observed"])
    log_ratio = log_mass - log_observed
    is_far = log_ratio.abs() > np.log(_FAR)
    far = table[is_far]
    if len(far):
        far_times = spelled(far["time"], table["time"])
        rows = zip(far_times, far["mass"], far["mass_observed"], strict=True)
        _warn_of_masses(list(rows))


def _below_floor(table: pd.DataFrame, metrics: Iterable[str]) -> list[str]:
    """Scores lower than a perfect model's, in words."""
    low = []
    for name in metrics:
        if name not in _WITH_FLOOR:
            continue
        score = table[name]
        floor = _CHANCE * table[f"{name}_floor"]
        is_below = score < floor
        below = table[is_below]
        times = spelled(below["time"], table["time"])
        low += [f"{name} at time {time}" for time in times]
    return low


def _warn_of_masses(rows: list[tuple[str, float, float]]) -> None:
    far = [f"×{mass:.3g} by time {time} (the data: ×{right:.3g})" for time, mass, right in rows]
    warn(
        f"the simulated mass is far from that of the data: {_first(far)}; do not trust the growth "
        "rates there; another growth_penalty may do better"
    )


def _listed(times: pd.Series) -> str:
    return "time " + _first(spelled(times))


def _spelled_at(times: Tensor, k: int) -> str:
    """One of the times of a run, told from the others."""
    return spelled(times.detach().cpu())[k]


def _first(words: list[str], most: int = 3) -> str:
    # A message is read whole only if it is short.
    if len(words) <= most:
        return ", ".join(words)
    beginning = ", ".join(words[:most])
    n_more = len(words) - most
    return beginning + f" and {n_more} more"
