"""Rows of results in a file of JSON lines, and the tables made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.leave_one_out.baselines import BASELINES

KEY = (
    "dataset", "features", "time", "variant", "held", "scored", "inner", "seed", "cells", "settings",
)  # fmt: skip
PROBLEM = ["dataset", "features", "cells", "inner"]


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a file, none where there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def append(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows behind those there are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What makes a row the same run as another."""
    return tuple(row[name] for name in KEY)


def tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown tables, one for each data set, number of features, meaning of time, and number of cells."""
    frame = pd.DataFrame(rows)
    for problem, part in frame.groupby(PROBLEM, dropna=False, sort=True):
        models = part[part["time"] != "any"]
        for time in sorted(models["time"].unique()) or ["any"]:
            yield table(
                dict(zip(PROBLEM, problem, strict=True)), time, part[part["time"].isin([time, "any"])]
            )


def table(problem: dict[str, Any], time: str, part: pd.DataFrame) -> str:
    """One table: a line for each variant and choice of settings, baselines first."""
    groups = [group for _, group in part.groupby(["variant", "given"], sort=False)]
    groups = [newest(group) for group in sorted(groups, key=place)]
    outcomes = sorted({pair for group in groups for pair in zip(group["held"], group["scored"], strict=True)})
    with_mass = part["mass_observed"].notna().any() if "mass_observed" in part else False
    digits = 3 if part["w1"].median() < 10 else 2
    names = [f"{held:g}" if held == scored else f"{held:g} (by {scored:g})" for held, scored in outcomes]
    head = ["", *names, "mean", "sd over seeds", "seeds"]
    head += ["mean, no weights", "mass error"] if with_mass else []
    head += ["CPU-s per fit", "steps"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for group in groups:
        lines.append(f"| {' | '.join(cells_of(group, outcomes, with_mass, digits))} |")
    cells = "all cells" if pd.isna(problem["cells"]) else f"{problem['cells']:.0f} cells per time"
    title = f"{problem['dataset']}, {problem['features']} features, time by {time}, {cells}"
    title += ", scored at other times than the held-out one" if problem["inner"] else ""
    return "\n".join([f"**{title}**", "", *lines, *(chosen(groups) if problem["inner"] else [])])


def cells_of(
    group: pd.DataFrame, outcomes: list[tuple[float, float]], with_mass: bool, digits: int
) -> list[str]:
    """Texts of one line of a table."""
    by_seed = group.pivot_table(index="seed", columns=["held", "scored"], values="w1")
    complete = by_seed.reindex(columns=pd.MultiIndex.from_tuples(outcomes)).dropna()
    first = group.iloc[0]
    name = first["variant"] + (f" ({first['given']})" if first["given"] else "")
    values = [by_seed[pair].mean() if pair in by_seed else np.nan for pair in outcomes]
    values += [complete.mean(axis=1).mean(), complete.mean(axis=1).std(ddof=1)]
    texts = [name, *(number(v, digits) for v in values), f"{by_seed.shape[0]:d}"]
    if with_mass:
        plain = group["w1_unweighted"].mean() if "w1_unweighted" in group else np.nan
        off = (group["mass"] / group["mass_observed"] - 1).abs().mean() if "mass" in group else np.nan
        texts += [number(plain, digits), "" if np.isnan(off) else f"{off:.1%}"]
    return texts + [number(group[c].mean() if c in group else np.nan, 0) for c in ("cpu_seconds", "steps")]


def chosen(groups: list[pd.DataFrame]) -> list[str]:
    """For every held-out time, what the other times choose among the settings of each method."""
    models = pd.concat(groups)
    models = models[~models["variant"].isin(BASELINES)]
    if models.empty:
        return []
    scores = models.groupby(["held", "variant", "given"])["w1"].mean().reset_index()
    scores["method"] = scores["variant"].str.split(":").str[0]
    best = scores.loc[scores.groupby(["held", "method"])["w1"].idxmin()]
    return [""] + [
        f"* for {row.held:g} the other times choose, of `{row.method}`: {row.variant} {row.given or '(own settings)'}"
        for row in best.itertuples()
    ]


def newest(group: pd.DataFrame) -> pd.DataFrame:
    """Rows with the settings of the newest row: a default of the package may have changed since the others."""
    return group[group["settings"] == group.loc[group["date"].idxmax(), "settings"]]


def place(group: pd.DataFrame) -> tuple[int, int]:
    """Where a line stands: baselines in their order, then models as they came."""
    name = group.iloc[0]["variant"]
    return (BASELINES.index(name), 0) if name in BASELINES else (len(BASELINES), int(group.index[0]))


def number(value: float, digits: int) -> str:
    """Text of a number, empty for NaN."""
    return "" if np.isnan(value) else f"{value:.{digits}f}"
