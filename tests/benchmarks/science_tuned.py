"""Held-out times by settings that the data chose: `tl.tune` on the other times, then one report.

Protocol of science_leave_one_out.py with times 0, 1, 2, …: one model per held-out time, all cells of the time before are carried
there. `tune` sees the kept times alone. What it starts from is an interpolant without noise, and what it may change is that
method's own search space. Beside W1 stands the energy distance, and beside both the midpoint of exact plans as published.

    DYNINFER_DATA=... python tests/benchmarks/science_tuned.py --dataset cite_hspc --features 5 --seeds 3
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.leave_one_out import baselines
from benchmarks.leave_one_out.problems import SIMULATED, SOURCES, Problem, load
from benchmarks.science import Rows, parser_of, print_tables

import dyninfer as di

STATIC = (
    "previous time, unmoved",
    "exact OT, midpoint",
    "growth first, midpoint",
    "midpoint of largest partners, Euclidean cost",
)


def distances(
    problem: Problem, points: np.ndarray, weights: np.ndarray | None, k: int
) -> dict[str, float]:
    """W1 and energy distance to all cells of time ``k``, in the units of the file."""
    energy = di.metrics.energy_distance(points, problem.data.samples[k], x_weights=weights)
    return {"w1": problem.w1(points, k, weights), "energy": problem.unit * float(energy)}


def static_rows(problem: Problem, time: float) -> list[dict[str, Any]]:
    """What needs no model."""
    before, k, after = problem.around((time,), time)
    gap = baselines.Interval(problem, before, after, 0.5)
    rows = []
    for name in STATIC:
        prediction = baselines.PREDICTIONS[name](gap, 0)
        scores = distances(problem, prediction.points, prediction.weights, k)
        rows.append({"time": time, "prediction": name, **scores})
    return rows


def flow_row(problem: Problem, model: Any, time: float, seed: int) -> dict[str, Any]:
    """All cells of the time before, carried by a fitted model."""
    before, k, _ = problem.around((time,), time)
    numbers = problem.model_times(by_index=True)
    start = problem.data.samples[before].astype(np.float32)
    run = model.simulate(start, [numbers[before], numbers[k]], seed=seed)
    points = run.states[:, -1].numpy()
    weights = None if run.log_weights is None else run.log_weights[:, -1].exp().numpy()
    return {"time": time, "seed": seed, **distances(problem, points, weights, k)}


def held_out_times(
    dataset: str, features: int | None, seeds: int, size: int, steps: int | None
) -> tuple[list[str], Rows]:
    """Every inner time: the tuned flow over seeds, and what needs no model."""
    rows = _rows(dataset, features, seeds, size, steps)
    return ["time", "prediction", "W1", "sd", "energy"], rows


def _rows(dataset: str, features: int | None, seeds: int, size: int, steps: int | None) -> Rows:
    problem = load(dataset, features, 100 * size or None)
    n_steps = steps or 100 * size or None
    shown = problem.shown(by_index=True, with_masses=False)
    numbers = problem.model_times(by_index=True)
    found = []
    for time in problem.inner_times:
        held_out = float(numbers[problem.data.index(time)])
        tuned = di.tl.tune(
            shown,
            di.StochasticInterpolant(gamma="none"),
            hold_out=held_out,
            max_steps=n_steps,
            n_subsamples=1 if size else 3,
            progress=False,
        )
        print(f"time {time:g}: {tuned}", file=sys.stderr, flush=True)
        for seed in range(seeds):
            model = tuned.fit(
                shown, hold_out=held_out, seed=seed, max_steps=n_steps, progress=False
            )
            found.append({"prediction": "tuned flow", **flow_row(problem, model, time, seed)})
            print(found[-1], file=sys.stderr, flush=True)
        yield _row(found, time, "tuned flow")
        for row in static_rows(problem, time):
            found.append(row)
            yield _row(found, time, row["prediction"])
    for name in ("tuned flow", *STATIC):
        yield _row(found, None, name)


def _row(found: list[dict[str, Any]], time: float | None, prediction: str) -> list[str]:
    """Means over seeds at one time, or over all times."""
    table = pd.DataFrame(found)
    table = table[table.prediction == prediction]
    if time is not None:
        table = table[table.time == time]
    spread = table.groupby("time").w1.std().mean()
    when = "mean" if time is None else f"{time:g}"
    numbers = [f"{value:.4f}" for value in (table.w1.mean(), spread, table.energy.mean())]
    return [when, prediction, *numbers]


TABLES = {"held-out times": held_out_times}


if __name__ == "__main__":
    parser = parser_of(TABLES, __doc__)
    parser.add_argument("--dataset", choices=[*SOURCES, *SIMULATED], default="mesc_retinoic_acid")
    parser.add_argument("--features", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=0, help="hundreds of cells and steps; 0: all")
    parser.add_argument("--steps", type=int, help="of every fit at most, where size is 0")
    print_tables(parser, TABLES)
