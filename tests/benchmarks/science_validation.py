"""Does early stopping choose a number of steps that serves a time which was held out?

One model per held-out time and seed, default settings. Each row: steps that were made in all, CPU seconds of the fit,
W1 between the cells of the time before, carried to the held-out time, and the cells there.

    DYNINFER_DATA=... python tests/benchmarks/science_validation.py --dataset mesc cite --seeds 3
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd
import torch

import dyninfer as di

METHODS: dict[str, Callable[[], di.estimators.SnapshotEstimator]] = {
    "matching": di.ActionMatching,
    "matching with growth": lambda: di.ActionMatching(growth_penalty="auto"),
    "interpolant": di.StochasticInterpolant,
    "Lagrangian flow": di.WassersteinLagrangianFlow,
}


class Problem(NamedTuple):
    """Snapshots, and the times that are held out, one after another."""

    data: di.Snapshots
    hidden: tuple[float, ...]


def mesc(cells: int | None) -> Problem:
    """The shipped stem cells, ten principal components."""
    data = di.Snapshots.from_anndata(di.datasets.mesc_retinoic_acid(), time_key="time")
    return Problem(fewer(data, cells), (24.0, 72.0))


def cite(cells: int | None) -> Problem:
    """Blood stem cells, five principal components."""
    adata = di.datasets.cite_hspc()
    adata.obsm["five"] = adata.obsm["X_pca"][:, :5]
    data = di.Snapshots.from_anndata(adata, time_key="day", use_rep="five")
    return Problem(fewer(data, cells), (3.0, 4.0))


PROBLEMS = {"mesc": mesc, "cite": cite}


def fewer(data: di.Snapshots, cells: int | None) -> di.Snapshots:
    return data if cells is None else data.subsample(cells)


def row(problem: Problem, hidden: float, method: str, seed: int, steps: int | None) -> dict:
    model = METHODS[method]()
    start = time.process_time()
    model.fit(problem.data, hold_out=hidden, seed=seed, max_steps=steps, progress=False)
    seconds = time.process_time() - start
    scores = model.evaluate(problem.data, times=hidden, metrics=["w1"], seed=0)
    history = model.history_
    validation = history["validation"].dropna() if "validation" in history else pd.Series([0.0])
    return {
        "method": method,
        "held out": hidden,
        "seed": seed,
        "w1": scores["w1"].iloc[0],
        "best step": int(history["step"][validation.idxmin()]),
        "last step": int(history["step"].iloc[-1]),
        "seconds": seconds,
    }


def rows(options: argparse.Namespace) -> Iterator[dict]:
    for name in options.dataset:
        problem = PROBLEMS[name](options.cells)
        for method in options.methods:
            for hidden in problem.hidden:
                for seed in range(options.seeds):
                    result = row(problem, hidden, method, seed, options.steps)
                    print({"data": name, **result}, flush=True)
                    yield {"data": name, **result}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cells", type=int, help="cells kept per time; default: all")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--smallest", action="store_true", help="does it run? numbers mean nothing")
    options = parser.parse_args()
    if options.smallest:
        options.dataset, options.methods = ["mesc"], ["matching"]
        options.cells, options.steps, options.seeds = 20, 3, 1
    torch.set_num_threads(1)
    table = pd.DataFrame(list(rows(options)))
    by = table.groupby(["data", "method", "held out"])
    print(by[["w1", "best step", "last step", "seconds"]].mean().round(4).to_string())


if __name__ == "__main__":
    main()
