"""Tables of a report on paths: scores of every path, and what was learned, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dyninfer.report.tables import Row, Table, number

# Columns of `evaluate` and their headings.
HEADINGS = {
    "observations": "observations",
    "per_observation": "nats an observation",
    "forecasts": "forecasts",
    "energy_score": "energy score",
    "energy_score_still": "of the last value",
    "crps": "CRPS",
    "crps_still": "of the last value",
    "brier": "Brier score",
    "brier_still": "of the last value",
    "coverage": "coverage",
}
# Paths whose scores are listed; a page of thousands is read by nobody.
MOST_PATHS = 40


def path_scores(evaluation: pd.DataFrame) -> Table:
    """Scores of the first paths, those that were held out first."""
    is_held_out = evaluation["held_out"].to_numpy(dtype=bool)
    order = np.argsort(~is_held_out, kind="stable")
    first_rows = evaluation.iloc[order[:MOST_PATHS]]
    columns = [name for name in HEADINGS if name in evaluation]
    rows = []
    for _, scores in first_rows.iterrows():
        held_out = bool(scores["held_out"])
        name = str(scores["path"])
        if held_out:
            name = f"{name}, held out"
        cells = [number(scores[column]) for column in columns]
        rows.append(Row([name, *cells], held_out))
    headings = ["path", *(HEADINGS[name] for name in columns)]
    return Table(headings, rows)


def learned(model: Any) -> list[tuple[str, Table]]:
    """What the method says of itself: rates, what follows from them, memory of the noise."""
    tables = []
    if hasattr(model, "confidence_intervals"):
        rates = model.confidence_intervals()
        names = {name: str(name) for name in rates}
        tables.append(("Rates, with intervals of 90 %", _plain(rates, names)))
    if hasattr(model, "derived"):
        table = model.derived()
        names = {name: str(name) for name in table}
        tables.append(("What follows from the rates, with intervals of 90 %", _plain(table, names)))
    if hasattr(model, "hurst_interval"):
        tables.append(("Memory of the noise, with an interval of 95 %", _hurst(model)))
    return tables


def _hurst(model: Any) -> Table:
    """Hurst index, or one of each coordinate, or of each time of an index that changes."""
    table = model.hurst_table()
    rows = []
    for place, values in table.iterrows():
        label = "Hurst index"
        if table.index.name == "time":
            label = f"Hurst index at {number(place)}"
        elif table.index.name is not None:
            label = f"Hurst index of {table.index.name} {place}"
        cells = [label, *(_cell(value) for value in values)]
        rows.append(Row(cells, False))
    return Table(["", "value", "low", "high"], rows)


def _plain(table: pd.DataFrame, headings: dict[str, str]) -> Table:
    rows = []
    for _, values in table.iterrows():
        cells = [_cell(values[name]) for name in headings]
        rows.append(Row(cells, False))
    return Table(list(headings.values()), rows)


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return number(value)
    return str(value)
