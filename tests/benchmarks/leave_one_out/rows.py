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
    "dataset",
    "features",
    "time",
    "variant",
    "held",
    "scored",
    "inner",
    "seed",
    "cells",
    "settings",
)
PROBLEM = ["dataset", "features", "cells"]


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


def tables(rows: list[dict[str, Any]], inner: bool = False) -> Iterator[str]:
    """Markdown tables, one for each data set, number of features, number of cells and meaning of time.

    With ``inner``, of the scores by which settings are chosen, each followed by what was chosen and how it did outside.
    """
    frame = pd.DataFrame(rows)
    for problem, part in frame.groupby(PROBLEM, dropna=False, sort=True):
        named = dict(zip(PROBLEM, problem, strict=True))
        for time in sorted(set(part["time"]) - {"any"}) or ["any"]:
            seen = part[part["time"].isin([time, "any"])]
            shown, outside = seen[seen["inner"] == inner], lines_of(seen[~seen["inner"]])
            if len(shown):
                yield table(named | {"time": time}, shown) + (
                    chosen(lines_of(shown), outside) if inner else ""
                )


def lines_of(part: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of each line of a table, in the order of the lines: baselines, then models as they came.

    A default of the package may have changed on the way: a line has the settings of its newest row.
    """
    groups = sorted(
        (group for _, group in part.groupby(["variant", "given"], sort=False)), key=place
    )
    return [g[g["settings"] == g.loc[g["date"].idxmax(), "settings"]] for g in groups]


def table(problem: dict[str, Any], part: pd.DataFrame) -> str:
    """One table: a line for each variant and choice of settings, baselines first."""
    lines = lines_of(part)
    outcomes = sorted(set(zip(part["held"], part["scored"], strict=True)))
    with_mass = "mass_observed" in part and part["mass_observed"].notna().any()
    digits = 3 if part["w1"].median() < 10 else 2
    head = [
        "",
        *(
            f"{held:g}" if held == scored else f"{held:g} (by {scored:g})"
            for held, scored in outcomes
        ),
    ]
    head += ["mean", "sd over seeds", "seeds"]
    head += ["mean, no weights", "mass error"] if with_mass else []
    head += ["CPU-s per fit", "steps"]
    texts = [
        head,
        ["---"] * len(head),
        *(cells_of(line, outcomes, with_mass, digits) for line in lines),
    ]
    return "\n".join([title(problem, part), "", *(f"| {' | '.join(text)} |" for text in texts)])


def title(problem: dict[str, Any], part: pd.DataFrame) -> str:
    """What a table is about, and which code on which days it comes from."""
    cells = "all cells" if pd.isna(problem["cells"]) else f"{problem['cells']:.0f} cells per time"
    time = "" if problem["time"] == "any" else f"time by {problem['time']}, "
    by = (
        "; W1 at another time that is left out as well"
        if part["inner"].any()
        else "; W1 at the held-out time"
    )
    commits, days = sorted(set(part["commit"].dropna())), sorted(set(part["date"].str[:10]))
    return (
        f"**{problem['dataset']}, {problem['features']} features, {time}{cells}{by}** "
        f"(commits {', '.join(commits)}; {days[0]} to {days[-1]})"
    )


def cells_of(
    group: pd.DataFrame, outcomes: list[tuple[float, float]], with_mass: bool, digits: int
) -> list[str]:
    """Texts of one line of a table."""
    by_seed = group.pivot_table(index="seed", columns=["held", "scored"], values="w1")
    complete = by_seed.reindex(columns=pd.MultiIndex.from_tuples(outcomes)).dropna()
    values = [by_seed[pair].mean() if pair in by_seed else np.nan for pair in outcomes]
    values += [complete.mean(axis=1).mean(), complete.mean(axis=1).std(ddof=1)]
    texts = [
        name_of(group.iloc[0]),
        *(number(v, digits) for v in values),
        str(len(complete)) + trouble(group),
    ]
    if with_mass:
        plain = group["w1_unweighted"].mean() if "w1_unweighted" in group else np.nan
        off = (
            (group["mass"] / group["mass_observed"] - 1).abs().mean() if "mass" in group else np.nan
        )
        texts += [number(plain, digits), "" if np.isnan(off) else f"{off:.1%}"]
    return texts + [
        number(group[c].mean() if c in group else np.nan, 0) for c in ("cpu_seconds", "steps")
    ]


def trouble(group: pd.DataFrame) -> str:
    """Text that says how many runs diverged, in training or with some of their paths; empty for none."""
    if "status" not in group:
        return ""
    runs = int(((group["status"] == "diverged") | (group["diverged"] > 0)).sum())
    return f" ({runs} runs diverged)" if runs else ""


def chosen(inside: list[pd.DataFrame], outside: list[pd.DataFrame]) -> str:
    """For every held-out time, what the other times choose among all lines of each method, and how it did where it counts."""
    models = [line for line in inside if line.iloc[0]["variant"] not in BASELINES]
    text = ""
    for held in sorted({held for line in models for held in line["held"]}):
        judged = [line[line["held"] == held] for line in models]
        judges = max(line["scored"].nunique() for line in judged)
        by_method: dict[str, list[pd.DataFrame]] = {}
        for line in judged:
            if line["scored"].nunique() == judges:  # others have not met every judge
                by_method.setdefault(line.iloc[0]["variant"].split(":")[0], []).append(line)
        for method, lines in by_method.items():
            best = min(lines, key=lambda line: line.groupby("scored")["w1"].mean().mean()).iloc[0]
            same = [line for line in outside if line.iloc[0]["settings"] == best["settings"]]
            scores = [w1 for line in same for w1 in line.loc[line["held"] == held, "w1"]]
            result = (
                f"W1 {np.mean(scores):.4f} over {len(scores)} seeds" if scores else "not run yet"
            )
            text += f"\n* without {held:g}, `{method}` takes {name_of(best)}; at {held:g}: {result}"
    return text and "\n" + text


def name_of(row: pd.Series) -> str:
    """Variant, and the settings that are not its own."""
    return row["variant"] + (f" ({row['given']})" if row["given"] else "")


def place(group: pd.DataFrame) -> tuple[int, int]:
    """Where a line stands: baselines in their order, then models as they came."""
    name = group.iloc[0]["variant"]
    return (
        (BASELINES.index(name), 0) if name in BASELINES else (len(BASELINES), int(group.index[0]))
    )


def number(value: float, digits: int) -> str:
    """Text of a number, empty for NaN."""
    return "" if np.isnan(value) else f"{value:.{digits}f}"
