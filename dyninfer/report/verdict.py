"""What a model is worth, in numbers beside baselines and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dyninfer.report.checks import METRICS, check_model, check_scores, check_text

if TYPE_CHECKING:
    import pandas as pd

    from dyninfer.estimators import SnapshotEstimator

# Scores as close as this count as equal: a few cells more or less change them as much.
EQUAL_WITHIN = 0.02


def verdict(model: SnapshotEstimator, table: pd.DataFrame, time_unit: str = "") -> list[str]:
    """Say in sentences, from the numbers, what the model is worth at the held-out times.

    Parameters
    ----------
    model : SnapshotEstimator
        Fitted.
    table : DataFrame
        From ``model.evaluate``, with ``baselines=("still", "ot")`` for all that can be said.
    time_unit : str
        Unit of time.

    Returns
    -------
    list of str
        A paragraph for every held-out time; a single one on all times if none was held out.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the model is not fitted, or the table holds no metric or lacks a column of one.
    """
    check_model(model)
    metric = check_scores(table, "table", is_whole=False)
    check_text(time_unit, "time_unit")
    is_held_out = table["held_out"].astype(bool)
    rows = table[is_held_out]
    if len(rows) == 0:
        no_time = "No time was held out, so these scores are of times that the model was fitted to."
        if f"{metric}_still" not in table:
            return [no_time]
        score = table[metric]
        still = table[f"{metric}_still"]
        is_closer = score < still
        return [
            f"{no_time} The simulated population is closer to the observed one than the unmoved "
            f"starting cells at {int(is_closer.sum())} of {len(table)} times."
        ]
    # A held-out time is judged from where its cells started, and by the floor.
    check_scores(table, "table")
    space = _space(model)
    return [_verdict_at(row, metric, time_unit, space) for _, row in rows.iterrows()]


def written_time(value: Any, unit: str) -> str:
    """Time with its unit."""
    return f"{float(value):g} {unit}".strip()


def _verdict_at(row: Any, metric: str, time_unit: str, space: str) -> str:
    """A paragraph on one held-out time."""
    score = float(row[metric])
    score_still = row.get(f"{metric}_still", np.nan)
    unmoved = float(score_still)
    floor = float(row[f"{metric}_floor"])
    score_ot = row.get(f"{metric}_ot", np.nan)
    interpolation = float(score_ot)
    time = written_time(row["time"], time_unit)
    start = written_time(row["start"], time_unit)
    distance = f"{short(score)} from the observed one ({METRICS[metric]}{space})"
    sentences = [
        f"Time {time} was held out. "
        f"Started from the cells of {start}, the simulated population is {distance}."
    ]
    if np.isfinite(unmoved):
        comparison = _against(score, unmoved)
        sentences.append(
            f"The cells of {start} themselves, unmoved, are {short(unmoved)} away: {comparison}."
        )
    if np.isfinite(floor):
        sentences.append(
            f"Another sample of the observed population would be about {short(floor)} away, "
            "the best score that so few cells allow."
        )
    # Where unmoved cells score as well as the floor, there was nothing to gain.
    if unmoved > floor >= 0:
        reachable = unmoved - floor
        gain = (unmoved - score) / reachable
        sentences.append(
            f"So the model gains {100 * gain:.0f} % of what could be gained over no movement."
        )
    if np.isfinite(interpolation):
        comparison = _against(score, interpolation)
        sentences.append(
            "Straight-line interpolation by exact optimal transport between the cells before and "
            f"after is {short(interpolation)} away: {comparison}."
        )
    if metric.startswith("w") and "energy" in row:
        sentences.append(_energy_beside(row))
    return " ".join(sentences)


def _energy_beside(row: Any) -> str:
    """The energy distance in words: exact transport rewards what is smoother than cells are."""
    words = f"The energy distance, which smoothing does not lower, is {short(row['energy'])}"
    floor = float(row.get("energy_floor", np.nan))
    unmoved = float(row.get("energy_still", np.nan))
    if np.isfinite(floor):
        words += f", where another sample would have {short(floor)}"
    if np.isfinite(unmoved):
        words += f" and the unmoved cells {short(unmoved)}"
    return f"{words}."


def _against(score: float, baseline: float) -> str:
    """Compare in words."""
    # A baseline of 0, or none, leaves no ratio to speak of.
    change = np.nan
    if baseline > 0:
        change = score / baseline - 1
    percent = 100 * abs(change)
    if not np.isfinite(change) or abs(change) < EQUAL_WITHIN:
        return f"the model and this baseline are equal within {100 * EQUAL_WITHIN:.0f} %"
    if change < 0:
        return f"the model beats this baseline, being {percent:.0f} % closer"
    return f"the model does not beat this baseline, being {percent:.0f} % further away"


def short(distance: float) -> str:
    """Three digits of a distance."""
    return f"{distance:#.3g}"


def _space(model: SnapshotEstimator) -> str:
    representation = model.source_.get("use_rep")
    if representation is None:
        return ""
    return f", in units of {representation}"
