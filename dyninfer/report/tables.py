"""Tables of the report as plain data: texts in rows, ready to print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dyninfer.report.checks import METRICS
from dyninfer.report.verdict import written_time

if TYPE_CHECKING:
    import pandas as pd

    from dyninfer.estimators import SnapshotEstimator

# What a table of `evaluate` may hold beside a metric, in the order of the page.
BESIDE = {
    "floor": "floor",
    "still": "unmoved",
    "ot": "OT",
    "next": "time after",
    "growth_first": "OT after growth",
}


@dataclass(frozen=True)
class Row:
    """Texts of one time, and whether that time was held out."""

    cells: list[str]
    held_out: bool


@dataclass(frozen=True)
class Table:
    """Rows of texts under a header."""

    header: list[str]
    rows: list[Row]


def main_scores(evaluation: pd.DataFrame, metric: str, time_unit: str) -> Table:
    """Scores of the main metric, and energy distances, with where each simulation started."""
    headings = {"start": "from", "n_y": "cells"}
    for name in leading(evaluation, metric):
        headings |= _with_baselines(evaluation, name)
    return _table(evaluation, headings, time_unit)


def other_scores(evaluation: pd.DataFrame, metric: str, time_unit: str) -> Table | None:
    """Scores of all other metrics with their baselines; None where there are none."""
    in_front = leading(evaluation, metric)
    headings: dict[str, str] = {}
    for name in METRICS:
        if name in evaluation and name not in in_front:
            headings |= _with_baselines(evaluation, name)
    if not headings:
        return None
    return _table(evaluation, headings, time_unit)


def long_run_scores(long_run: pd.DataFrame, metric: str, time_unit: str) -> dict[str, Any]:
    """Scores of simulations that all start at one time: that time, and their table."""
    first = long_run["start"].iloc[0]
    start = written_time(first, time_unit)
    headings: dict[str, str] = {}
    for name in leading(long_run, metric):
        headings |= _with_baselines(long_run, name)
        if f"{name}_still" in headings:
            headings[f"{name}_still"] = f"cells of {start}, unmoved"
    return {"start": start, "scores": _table(long_run, headings, time_unit)}


def leading(evaluation: pd.DataFrame, metric: str) -> list[str]:
    """The main metric, and the energy distance beside it, which smoothing does not lower."""
    names = [metric]
    if metric != "energy" and "energy" in evaluation:
        names.append("energy")
    return names


def _with_baselines(evaluation: pd.DataFrame, metric: str) -> dict[str, str]:
    """Headings of a metric and of what stands beside it."""
    headings = {metric: METRICS[metric]}
    for name, label in BESIDE.items():
        column = f"{metric}_{name}"
        if column in evaluation:
            headings[column] = label
    return headings


def facts(model: Any, time_unit: str, seconds: float | None) -> dict[str, str]:
    """What the model was fitted to, and how the training went."""
    provenance = model.provenance_
    if is_of_paths(model):
        first = provenance.times[0]
        last = provenance.times[-1]
        data = {
            "paths of the fit": str(len(provenance.sizes)),
            "observations of the fit": f"{sum(provenance.sizes)}, from time "
            f"{written_time(first, time_unit)} to {written_time(last, time_unit)}",
        }
        hold_out = [str(name) for name in provenance.hold_out]
    else:
        sizes = []
        for time, size in zip(provenance.times, provenance.sizes, strict=True):
            sizes.append(f"{written_time(time, time_unit)}: {size}")
        data = {"cells at each time of the fit": ", ".join(sizes)}
        hold_out = [written_time(time, time_unit) for time in provenance.hold_out]
    n_features = len(provenance.features)
    representation = provenance.source.get("use_rep", "as given")
    training = model.status_
    # Methods without a training loop have a history of their own, or none.
    history = cast(Any, model.history_)
    if history is not None and "step" in history:
        n_steps = history["step"].max()
        training += f" after {n_steps:.0f} steps"
    lines = {
        "method": type(model).__name__,
        **data,
        "held out before anything was computed": ", ".join(hold_out) or "none",
        "features": f"{n_features} ({representation})",
        "data": f"{provenance.digest} (fingerprint of what was fitted)",
        "training": training,
        "seed": str(provenance.seed),
        "fitted with": f"dyninfer {provenance.version}",
    }
    if history is not None and "seconds" in history:
        training_seconds = history["seconds"].max()
        lines["time for training"] = f"{training_seconds:.0f} s"
    if seconds is not None:
        lines["time for everything"] = f"{seconds:.0f} s"
    return lines


def is_of_paths(model: Any) -> bool:
    """Whether a fitted method learned from paths, and not from snapshots."""
    # Not by class: a method of the user's own may be none of ours.
    return hasattr(model, "forecast")


def settings(model: SnapshotEstimator) -> dict[str, str]:
    """Every setting of the method, then those of its training."""
    lines = {}
    for name, value in model.get_params(deep=False).items():
        if name != "training":
            lines[name] = str(value)
    if model.training_ is not None:
        # As they were used: with what the method or the data chose filled in.
        for name, value in model.training_.get_params(deep=False).items():
            lines[f"training.{name}"] = str(value)
    return lines


def _table(evaluation: pd.DataFrame, headings: dict[str, str], time_unit: str) -> Table:
    """Times, then the columns that have headings."""
    rows = []
    for _, scores in evaluation.iterrows():
        held_out = bool(scores["held_out"])
        time = written_time(scores["time"], time_unit)
        if held_out:
            time = f"{time}, held out"
        cells = [time]
        for column in headings:
            if column == "start":
                cells.append(written_time(scores[column], time_unit))
            else:
                cells.append(number(scores[column]))
        rows.append(Row(cells, held_out))
    return Table(["time", *headings.values()], rows)


def number(value: Any) -> str:
    """Three decimals; a dash where there is no value."""
    value = float(value)
    # A time may lack a baseline, as the last one lacks interpolation.
    if not np.isfinite(value):
        return "–"
    # Counts of cells; a distance of ten or more is rarely whole.
    if value >= 10 and value == round(value):
        return f"{value:.0f}"
    return f"{value:.3f}"
