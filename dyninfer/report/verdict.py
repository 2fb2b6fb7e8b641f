"""What a model is worth, in numbers beside baselines and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from dyninfer.data.snapshots import Snapshots
    from dyninfer.estimators import SnapshotEstimator

METRICS = {
    "w1": "Wasserstein-1",
    "w2": "Wasserstein-2",
    "sliced_w2": "sliced Wasserstein-2",
    "mmd": "MMD²",
    "energy": "energy distance",
}


def add_interpolation(
    table: pd.DataFrame, data: Snapshots, *, max_samples: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Score interpolation by exact optimal transport between the neighbours of every time, as columns ``<metric>_ot``.

    The plan of squared Euclidean cost pairs the cells of the time before with those of the time after; the pairs move on
    straight lines. It is the common baseline for a time that was held out, and uses cells from both sides of it, so it
    has no value at the last time.

    Parameters
    ----------
    table : DataFrame
        From ``model.evaluate``; a copy is returned.
    data : Snapshots
        What was evaluated.
    max_samples, seed
        As given to ``evaluate``.
    """
    from dyninfer.metrics import compare_populations
    from dyninfer.transport.couplings import OTCoupling

    table = table.copy()
    names = [name for name in METRICS if name in table]
    for name in names:
        table[f"{name}_ot"] = np.nan
    for row, time in table["time"].items():
        k = data.index(time)
        if not 0 < k < data.n_times - 1:
            continue
        before, after = data.times[[k - 1, k + 1]]
        x, y = data.at(before), data.at(after)
        plan = OTCoupling().plan(x, y, data.weights_at(before), data.weights_at(after), seed)
        share = (time - before) / (after - before)
        points = (1 - share) * x[plan.source] + share * y[plan.target]
        scores = compare_populations(
            points,
            data.at(time),
            x_weights=plan.mass,
            y_weights=data.weights_at(time),
            metrics=names,
            max_samples=max_samples,
            floor=False,
            seed=seed,
        )
        table.loc[row, [f"{name}_ot" for name in names]] = [scores[name] for name in names]
    return table


def verdict(model: SnapshotEstimator, table: pd.DataFrame, time_unit: str = "") -> list[str]:
    """Say in sentences, from the numbers, what the model is worth at the held-out times, or over all if there are none."""
    metric = main_metric(table)
    held = table[table["held_out"].astype(bool)]
    if len(held) == 0:
        ahead = int((table[metric] < table[f"{metric}_still"]).sum())
        return [
            f"No time was held out, so these scores are of times that the model was fitted to. The simulated population "
            f"is closer to the observed one than the unmoved starting cells at {ahead} of {len(table)} times."
        ]
    return [_verdict_at(row, metric, time_unit, _unit(model)) for _, row in held.iterrows()]


def main_metric(table: pd.DataFrame) -> str:
    """First metric of the table, in the order of :data:`METRICS`.

    Raises
    ------
    KeyError
        If the table holds none.
    """
    from dyninfer.data.keys import MissingKey

    for name in METRICS:
        if name in table:
            return name
    raise MissingKey(
        f"the evaluation has no metric, one of {', '.join(METRICS)}; give what model.evaluate returned"
    )


def written_time(value: Any, unit: str) -> str:
    """Time with its unit."""
    return f"{float(value):g} {unit}".strip()


def _verdict_at(row: Any, metric: str, time_unit: str, unit: str) -> str:
    value, still, floor = (float(row[f"{metric}{suffix}"]) for suffix in ("", "_still", "_floor"))
    time, start = (written_time(row[name], time_unit) for name in ("time", "start"))
    sentences = [
        f"Time {time} was held out. Started from the cells of {start}, the simulated population is {_short(value)} from the "
        f"observed one ({METRICS[metric]}{unit}).",
        f"The cells of {start} themselves, unmoved, are {_short(still)} away: {_against(value, still)}.",
        f"Two halves of the observed cells are {_short(floor)} apart, which is about the best score that so few cells allow.",
    ]
    if still > floor > 0:
        sentences.append(
            f"So the model gains {100 * (still - value) / (still - floor):.0f} % of what could be gained over no movement."
        )
    interpolated = float(row.get(f"{metric}_ot", np.nan))
    if np.isfinite(interpolated):
        sentences.append(
            f"Straight-line interpolation by exact optimal transport between the cells before and after is {_short(interpolated)} "
            f"away: {_against(value, interpolated)}."
        )
    return " ".join(sentences)


def _against(value: float, baseline: float) -> str:
    """Compare in words; within 2 % counts as equal."""
    change = value / baseline - 1 if baseline > 0 else np.nan
    if not np.isfinite(change) or abs(change) < 0.02:
        return "the model and this baseline are equal within 2 %"
    if change < 0:
        return f"the model beats this baseline, being {-100 * change:.0f} % closer"
    return f"the model does not beat this baseline, being {100 * change:.0f} % further away"


def _short(value: float) -> str:
    return f"{value:#.3g}"


def _unit(model: SnapshotEstimator) -> str:
    rep = model.source_.get("use_rep")
    return "" if rep is None else f", in units of {rep}"
