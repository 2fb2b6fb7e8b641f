"""Zero-shot and refined generators of Markov jump processes: accuracy, honesty and cost.

    DYNINFER_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/science_jump_refinement.py prior wide ratchet speed --size 48 --seed 500000

prior: processes of the published prior, seen on its fine grid with 1 % wrong labels, by the number of states and of paths.
wide: processes far more various than the published ones, with 0 to 20 % wrong labels on grids of any kind.
ratchet: shipped paths of the flashing ratchet, beside plain panel likelihood.
speed: one pass of the network beside a fit by likelihood from crude starts.

With --smallest, one row of every table that needs no data: does it run?
"""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

import numpy as np
from science import DATA, Rows, parser_of, print_tables
from torch import Tensor

import dyninfer as di
from dyninfer.jumps import HiddenPaths, HiddenProblem, LabelNoise, RateScheme, fit_hidden, infer
from dyninfer.jumps.amortized.prior import JumpPrior, Tasks
from dyninfer.jumps.posterior.starts import crude_starts, log_rate_prior

DENSE = replace(JumpPrior.paper(), grids=("dense",))
HEAD = [
    "RMSE, zero-shot",
    "median",
    "covered by 90 %",
    "RMSE, refined",
    "median",
    "covered by 90 %",
    "ESS, median",
    "importance sampling",
    "CPU-s, zero-shot",
    "CPU-s, refined",
]
_BATCH = 8  # processes drawn at once, on one grid


def paths_of(tasks: Tasks, process: int) -> di.Paths:
    """Observed paths of one process of a batch."""
    labels = tasks.labels[:, process].T.numpy()
    names = tuple(map(str, range(tasks.rates.shape[-1])))
    return di.Paths(
        times=(tasks.times.numpy(),) * len(labels), states=tuple(labels), state_names=names
    )


def rmse(found: np.ndarray, truth: np.ndarray) -> float:
    off = ~np.eye(len(truth), dtype=bool)
    return float(np.sqrt(np.mean((found - truth)[off] ** 2)))


def covered(model: di.MarkovJumpInference, truth: np.ndarray) -> float:
    """Share of all jumps, absent ones included, whose rate lies in its interval."""
    table = model.confidence_intervals(0.9)
    rates = truth[~np.eye(len(truth), dtype=bool)]
    return float(((table["low"] <= rates) & (rates <= table["high"])).mean())


def measured(paths: di.Paths, truth: np.ndarray, observation: str) -> dict[str, float]:
    """Errors, coverage and CPU-seconds of both ways."""
    found: dict[str, float] = {}
    for name, refine in (("zero", False), ("refined", True)):
        began = time.process_time()
        model = di.MarkovJumpInference(observation=observation, refine=refine)
        model.fit(paths, progress=False)
        found[f"{name} seconds"] = time.process_time() - began
        found[f"{name} rmse"] = rmse(model.generator_, truth)
        found[f"{name} covered"] = covered(model, truth)
    found["ess"] = np.nan if model.ess_ is None else model.ess_
    found["drawn"] = float(model.posterior_.kind == "importance sampling")
    return found


def cells(found: list[dict[str, float]]) -> list[str]:
    """One row: means with their standard errors, medians."""
    of = {name: np.array([one[name] for one in found]) for name in found[0]}
    row = []
    for name in ("zero", "refined"):
        error = of[f"{name} rmse"]
        row += [
            f"{error.mean():.4f} ± {error.std() / len(error) ** 0.5:.4f}",
            f"{np.median(error):.4f}",
        ]
        row += [f"{of[f'{name} covered'].mean():.3f}"]
    row += [f"{np.nanmedian(of['ess']):.0f}", f"{of['drawn'].mean():.2f}"]
    return [*row, *(f"{np.median(of[f'{name} seconds']):.3f}" for name in ("zero", "refined"))]


def simulated(
    prior: JumpPrior, n: int, k: int | None, size: int, seed: int
) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []
    for batch in range(-(-size // _BATCH)):
        tasks = prior.draw(_BATCH, seed + 1000 * n + batch, n_states=n, n_paths=k)
        for process in range(min(_BATCH, size - batch * _BATCH, len(tasks.rates))):
            found.append(
                measured(
                    paths_of(tasks, process), tasks.rates[process].double().numpy(), "label noise"
                )
            )
    return found


def prior(size: int, seed: int) -> tuple[list[str], Rows]:
    return ["states", "paths", *HEAD], prior_rows(size, seed)


def prior_rows(size: int, seed: int) -> Rows:
    for n, k in ((6, 30), (6, 100), (6, 300), (2, 300), (3, 300), (4, 300), (5, 300), (8, 300)):
        yield [str(n), str(k), *cells(simulated(DENSE, n, k, size, seed + k))]


def wide(size: int, seed: int) -> tuple[list[str], Rows]:
    return ["states", "paths", *HEAD], wide_rows(size, seed)


def wide_rows(size: int, seed: int) -> Rows:
    for n in (3, 6, 10):
        few = replace(
            JumpPrior.wide(), paths=(3, 300)
        )  # more paths say nothing that 300 do not, and take time
        yield [str(n), "3 to 300", *cells(simulated(few, n, None, size, seed))]


def ratchet(size: int, seed: int) -> tuple[list[str], Rows]:
    return ["V", "paths", "RMSE, panel likelihood", *HEAD], ratchet_rows(size, seed)


def ratchet_rows(size: int, seed: int) -> Rows:
    for potential, k in ((1, 30), (1, 100), (1, 300), (3, 300)):
        file = np.load(DATA / f"flashing_ratchet/dfr_V{potential}.npz")
        truth, times = file["Q"].astype(float), file["times"].astype(float)
        found, plain = [], []
        n_all = len(file["paths"])
        order = np.random.default_rng(seed).permutation(n_all)
        for chunk in np.array_split(order, n_all // k)[:size]:
            states = file["paths"][chunk[:k]].astype(np.int64)
            names = tuple(map(str, range(6)))
            paths = di.Paths(times=(times,) * k, states=tuple(states), state_names=names)
            found.append(measured(paths, truth, "exact"))
            model = di.MarkovJumpInference(observation="exact", prior_width=None)
            plain.append(rmse(model.fit(paths, progress=False).generator_, truth))
        yield [str(potential), str(k), f"{np.mean(plain):.4f}", *cells(found)]


def speed(size: int, seed: int) -> tuple[list[str], Rows]:
    return ["what", "CPU-s", "ratio"], speed_rows(size, seed)


def speed_rows(size: int, seed: int) -> Rows:
    tasks = DENSE.draw(4, seed, n_states=6, n_paths=300)
    every = [paths_of(tasks, k) for k in range(min(4, size))]
    infer(every[0])  # reads the weights
    first = [seconds(lambda p=p: infer(p)) for p in every]
    cold = [seconds(lambda p=p: from_crude_starts(p)) for p in every]
    yield ["infer, 300 paths of 100 labels of 6 states", f"{np.median(first):.4f}", ""]
    name = "fit_hidden from crude starts"
    yield [name, f"{np.median(cold):.2f}", f"{np.median(cold) / np.median(first):.0f}"]


def from_crude_starts(paths: di.Paths) -> Tensor:
    scheme = RateScheme.free(6)
    starts = crude_starts(paths, 6, scheme)
    data, noise = HiddenPaths.of(paths), LabelNoise.uniform(6, 0.02)
    prior = log_rate_prior(starts.counts, scheme, 2.5)
    problem = HiddenProblem(data, noise, scheme, prior=prior)
    return fit_hidden(problem, starts.generators).generator


def seconds(action) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


TABLES = {"prior": prior, "wide": wide, "ratchet": ratchet, "speed": speed}


def main() -> None:
    parser = parser_of(TABLES, __doc__)
    parser.add_argument("--size", type=int, default=48, help="processes, or data sets, a row")
    parser.add_argument("--seed", type=int, default=500_000)
    warnings.simplefilter("ignore", UserWarning)
    print_tables(parser, TABLES, of_data=["ratchet"])


if __name__ == "__main__":
    main()
