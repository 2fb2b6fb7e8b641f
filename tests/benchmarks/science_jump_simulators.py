"""Markov jump inference on simulated systems that are published benchmarks or have a known truth, as Markdown tables.

    OMP_NUM_THREADS=1 python tests/benchmarks/science_jump_simulators.py folding alanine cells --seed 0

folding: a diffusion cut in two by its radius: rates by the lag, which measure the cut more than the method.
alanine: six states with published rates, beside deeptime's Markov state models (left out where it is not installed).
cells: differentiating clones: rates, and how often their intervals hold the truth, with division before and after day 0.

With --smallest, one row of every table that needs no data: does it run?
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from science import Rows, parser_of, print_tables, spread

import dyninfer as di
from dyninfer.simulators import AlanineDipeptide, CellStates, ProteinFolding

# Protein folding.


def folding(seed: int) -> tuple[list[str], Rows]:
    return [
        "labels",
        "lag",
        "folded → unfolded",
        "unfolded → folded",
        "share folded",
    ], folding_rows(seed)


def folding_rows(seed: int, n: int = 2000, repeats: int = 3) -> Rows:
    frames = 0.1 * np.arange(100)
    yield ["NeuralMJP, published", "0.1", "0.028", "0.085", "0.74"]
    data = [ProteinFolding().labels(frames, n, seed=seed + k) for k in range(repeats)]
    counted = [np.mean([(x == 0).mean() for x in paths.states]) for paths in data]
    yield ["count", "", "", "", spread(counted)]
    for every in (1, 5, 10, 20):
        yield folding_row(data, every)
    yield folding_row(data, 1, noisy=True)


def folding_row(data: list[di.Paths], every: int, noisy: bool = False) -> list[str]:
    models = []
    for paths in data:
        thinned = di.Paths(
            times=tuple(t[::every] for t in paths.times),
            states=tuple(x[::every] for x in paths.states),
            state_names=paths.state_names,
        )
        model = di.MarkovJumpInference(
            observation="label noise" if noisy else "exact", prior_width=None
        )
        models.append(model.fit(thinned, progress=False))
    name = "threshold"
    if noisy:
        name += f", taken for noisy (wrong {spread([float(m.noise_ or 0) for m in models])})"
    share = [float(m.process_.stationary()[0]) for m in models]
    forth, back = ([m.generator_[i, 1 - i] for m in models] for i in (0, 1))
    return [name, f"{0.1 * every:g}", spread(forth), spread(back), spread(share)]


# Alanine dipeptide's surrogate.


def alanine(seed: int) -> tuple[list[str], Rows]:
    scales = [f"τ{k} (ps)" for k in range(1, 6)]
    head = ["method", "lag (ps)", *scales, "law, largest error", "log-rates, median error", "CPU-s"]
    return head, alanine_rows(seed)


def alanine_rows(seed: int, n: int = 10_000, repeats: int = 6) -> Rows:
    frames, truth = 1e-3 * np.arange(100), AlanineDipeptide().process()
    exact = [f"{1000 * t:.1f}" for t in truth.relaxation_times().tolist()]
    yield ["truth", "", *exact, "", "", ""]
    data = [AlanineDipeptide().paths(frames, n, seed=seed + k) for k in range(repeats)]
    yield alanine_row("MarkovJumpInference, ML", 1, data, partial(ours, None), truth)
    yield alanine_row("MarkovJumpInference, default", 1, data, partial(ours, 2.5), truth)
    if importlib.util.find_spec("deeptime") is None:
        print("| deeptime is not installed: its rows are left out |" + " |" * 9)
        return
    for lag in (1, 5, 10, 30):
        yield alanine_row("deeptime, reversible Markov state model", lag, data, state_model, truth)
    yield alanine_row("deeptime, reversible rate matrix (KL)", 1, data, reversible_rates, truth)


Found = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def alanine_row(
    name: str,
    lag: int,
    data: list[di.Paths],
    method: Callable[[di.Paths, int], Found],
    truth: di.MarkovJump,
) -> list[str]:
    began = time.process_time()
    found = [method(paths, lag) for paths in data]
    spent = (time.process_time() - began) / len(data)
    off = ~np.eye(6, dtype=bool)
    scales = [spread([1000 * f[0][k] for f in found], 1) for k in range(5)]
    law = [np.abs(f[1] - truth.stationary().numpy()).max() for f in found]
    rates = [f[2] for f in found if f[2] is not None]
    error = [
        np.median(np.abs(np.log((q[off] + 1e-9) / truth.generator.numpy()[off]))) for q in rates
    ]
    return [name, str(lag), *scales, spread(law), spread(error, 2) if error else "", f"{spent:.2f}"]


def ours(width: float | None, paths: di.Paths, lag: int) -> Found:
    model = di.MarkovJumpInference(observation="exact", prior_width=width).fit(
        paths, progress=False
    )
    process = model.process_
    return process.relaxation_times().numpy(), process.stationary().numpy(), model.generator_


def state_model(paths: di.Paths, lag: int) -> Found:
    from deeptime.markov.msm import MaximumLikelihoodMSM

    model = MaximumLikelihoodMSM(reversible=True).fit(counted(paths, lag)).fetch_model()
    return 1e-3 * model.timescales(), model.stationary_distribution, None


def reversible_rates(paths: di.Paths, lag: int) -> Found:
    from deeptime.markov.tools.estimation import rate_matrix

    q = rate_matrix(counted(paths, lag).count_matrix, dt=1e-3 * lag, method="KL", on_error="warn")
    process = di.MarkovJump.from_rates(np.clip(q, 0, None))
    return (
        process.relaxation_times().numpy(),
        process.stationary().numpy(),
        process.generator.numpy(),
    )


def counted(paths: di.Paths, lag: int) -> Any:
    from deeptime.markov import TransitionCountEstimator

    states = [x.astype(np.int32) for x in paths.states]
    return TransitionCountEstimator(lagtime=lag, count_mode="sliding").fit(states).fetch_model()


# Differentiating clones.

JUMPS = (("stem", "red", 0.4), ("stem", "white", 0.2), ("red", "white", 0.15))


def cells(seed: int) -> tuple[list[str], Rows]:
    head = ["clones", "cells seen", *(f"{a} → {b} ({rate:g})" for a, b, rate in JUMPS)]
    return [*head, "within 90 % intervals", "ancestors stem (0.8)"], cells_rows(seed)


def cells_rows(seed: int, n: int = 500, repeats: int = 10) -> Rows:
    designs: dict[str, dict[str, Any]] = {
        "6 cells on day 0, no division": {"birth": 0.0, "cells_per_clone": 6},
        "3 cells on day 0, division 0.3 a day": {"birth": 0.3, "cells_per_clone": 3},
        "1 cell on day 0, division 0.6 a day": {"birth": 0.6, "cells_per_clone": 1},
        "6 cells on day 0, white alone divides, 0.3 a day": {
            "birth": (0.0, 0.0, 0.3),
            "cells_per_clone": 6,
        },
    }
    for name, settings in designs.items():
        system = CellStates(
            names=("stem", "red", "white"),
            jumps=JUMPS,
            centres=((0.0, 0.0), (1.0, 1.0), (1.0, -1.0)),
            initial=(0.8, 0.15, 0.05),
            **settings,
        )
        rates, held, stem, seen = [], [], [], []
        for k in range(repeats):
            paths = system.paths([1.0, 2.0, 5.0], n, seed=seed + k)
            jumps = di.Only([f"{a}>{b}" for a, b, _ in JUMPS])
            model = di.MarkovJumpInference(
                observation="exact", clones=di.Clones(0.0), jumps=jumps
            ).fit(paths, progress=False)
            table, truth = model.confidence_intervals(0.9), np.array([rate for *_, rate in JUMPS])
            rates.append(table["rate"].to_numpy())
            held.append(((table["low"] < truth) & (truth < table["high"])).mean())
            stem.append(model.initial_[0])
            seen.append(len(paths))
        columns = [spread([r[e] for r in rates]) for e in range(len(JUMPS))]
        yield [name, f"{np.mean(seen):.0f}", *columns, f"{np.mean(held):.2f}", spread(stem, 2)]


TABLES = {"folding": folding, "alanine": alanine, "cells": cells}


def main() -> None:
    parser = parser_of(TABLES, __doc__)
    parser.add_argument("--seed", type=int, default=0)
    print_tables(parser, TABLES)


if __name__ == "__main__":
    main()
