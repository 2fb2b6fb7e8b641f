"""Leave one time out: how well a model predicts a population that it never saw, beside what costs nothing.

Protocol (Tong et al. 2023 and after): one model per held-out time, fitted on the others; all cells of the time before are carried
to the held-out time; exact W1 with Euclidean cost against all cells there. ``--time index`` numbers the times 0, 1, 2, … as the
papers do; ``--time days`` keeps the real ones. Every run is a row in a file of JSON lines, and a row that is there is not run
again: after a change of the code start another file.

    DYNINFER_DATA=... python tests/benchmarks/science_leave_one_out.py --dataset cite_hspc --seeds 5 --jobs 2
    ... --variants am:unbalanced --set growth_penalty=0.03,0.1,0.3 --inner   # choose without the held-out time
    ... --dataset cite_hspc --table                                          # print what is in the file
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.leave_one_out import rows, runs
from benchmarks.leave_one_out.baselines import BASELINES, PREDICTIONS
from benchmarks.leave_one_out.problems import SOURCES, Problem, hidden_times, load
from benchmarks.leave_one_out.runs import Run
from benchmarks.leave_one_out.variants import VARIANTS, MissingMethodError


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=SOURCES, nargs="+", default=["cite_hspc"])
    parser.add_argument(
        "--features", type=int, help="default: the first that the data set is known by"
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--time", choices=("days", "index"), default="days")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE,…", help="settings to try"
    )
    parser.add_argument(
        "--inner", action="store_true", help="score at times other than the held-out one"
    )
    parser.add_argument("--steps", type=int, help="training steps at most")
    parser.add_argument(
        "--cells", type=int, help="cells kept per time, to try things out; default: all"
    )
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each of one thread")
    parser.add_argument("--out", type=Path, default=Path("build/leave_one_out.jsonl"))
    parser.add_argument("--table", action="store_true", help="run nothing, print tables")
    parser.add_argument("--smallest", action="store_true", help="does it run? numbers mean nothing")
    options = parser.parse_args(arguments)
    if options.smallest:
        # Shipped data, one method, a few cells and steps, and a file of their own.
        options.dataset, options.variants = ["mesc_retinoic_acid"], ["am:plain"]
        options.cells, options.steps, options.seeds = 20, 3, 1
        options.out = Path(tempfile.mkdtemp()) / "smallest.jsonl"
    return options


def plan(options: argparse.Namespace) -> Iterator[Run]:
    """Every run that is asked for, baselines first."""
    for dataset in options.dataset:
        features = options.features or SOURCES[dataset].features[0]
        common: dict[str, Any] = {"dataset": dataset, "features": features, "cells": options.cells}
        hidden = hidden_times(load(dataset, features, options.cells).inner_times, options.inner)
        if not hidden:
            print(f"{dataset} has one inner time: no other can choose for it", file=sys.stderr)
        baselines = PREDICTIONS if options.inner else BASELINES
        for out, outcomes in hidden.items():
            for name in () if options.no_baselines else baselines:
                yield Run(time="any", variant=name, hidden=out, outcomes=tuple(outcomes), **common)
        for name in options.variants:
            for given in runs.parse_settings(options.set):
                for seed in range(options.seeds):
                    for out, outcomes in hidden.items():
                        yield Run(
                            time=options.time,
                            variant=name,
                            hidden=out,
                            outcomes=tuple(outcomes),
                            seed=seed,
                            steps=options.steps,
                            given=given,
                            **common,
                        )


def missing(planned: Iterator[Run], there: list[dict[str, Any]]) -> list[Run]:
    """Runs of which a row is not there yet; what cannot be built is said once and left out."""
    known, left, refused = {rows.key(row) for row in there}, [], set()
    for run in planned:
        try:
            new = any(rows.key(head) not in known for head in run.headers())
        except (MissingMethodError, TypeError, ValueError) as reason:
            text = f"skipped {run.variant} {dict(run.given) or ''}: {reason}"
            if text not in refused:
                print(text, file=sys.stderr)
            refused.add(text)
            continue
        if new:
            left.append(run)
    return left


def carry_out(todo: list[Run], out: Path, jobs: int) -> int:
    """Run what is to do, write each row when it is there, and return how many runs failed."""
    failed = 0
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # read by the workers, which start anew
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(runs.execute, run): run for run in todo}
        try:
            for number, done in enumerate(as_completed(waiting), 1):
                run, error = waiting[done], done.exception()
                failed += error is not None
                found = [] if error else done.result()
                rows.append(out, found)
                scores = ", ".join(f"{row['scored']:g}: {row['w1']:.4f}" for row in found)
                said = f"failed: {error}" if error else scores or "nothing to measure"
                print(f"[{number}/{len(todo)}] {run}: {said}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def predict(
    problem: Problem,
    held: float,
    settings: dict[str, Any],
    seed: int,
    by_index: bool,
    steps: int | None,
) -> tuple[float, float]:
    """W1 of Action Matching at a held-out time, and CPU seconds of its fit."""
    run = Run(
        dataset="",
        features=problem.data.n_features,
        time="index" if by_index else "days",
        variant="am:plain",
        hidden=(held,),
        outcomes=((held, held),),
        seed=seed,
        steps=steps,
        given=tuple(settings.items()),
    )
    model, cost = runs.fit(problem, run)
    return runs.predict(problem, run, model, held)["w1"], cost["cpu_seconds"]


def main() -> int:
    options, failed = parse(), 0
    if not options.table:
        todo = missing(plan(options), rows.read(options.out))
        failed = carry_out(todo, options.out, options.jobs) if todo else 0
    wanted = [
        row
        for row in rows.read(options.out)
        if row["dataset"] in options.dataset
        and row["cells"] == options.cells
        and row["time"] in (options.time, "any")
        and options.features in (None, row["features"])
    ]
    print(
        "\n\n".join(rows.tables(wanted, options.inner))
        if wanted
        else f"{options.out} has no row of this kind"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
