"""Does a penalty on the predicted steps of the solver make flows cheaper to run, at what loss of fit?

Flow matching with and without the penalty, with independent pairs and with those of optimal transport, which straighten flows
for nothing. Each row: evaluations of the velocity a path from one time to the next (Tsit5 at its default tolerances), W2 to
cells that were not learned from, and CPU seconds of the fit; means over the intervals.

    DYNINFER_DATA=... python tests/benchmarks/science_solver_effort.py --seeds 1 2
    ... --sets gaussians --penalties 0 0.003 0.01 0.03 0.1 --seeds 0   # how large it may be
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import dyninfer as di

N_CELLS = 2000
N_STEPS = 1500
PENALTIES = [0.0, 0.003, 0.01]


def gaussians(rng: np.random.Generator) -> di.Snapshots:
    """One normal population that becomes eight on a circle."""
    start = rng.normal(size=(2 * N_CELLS, 2))
    angle = rng.integers(8, size=2 * N_CELLS) * np.pi / 4
    centres = 5 * np.stack([np.cos(angle), np.sin(angle)], 1)
    end = centres + 0.3 * rng.normal(size=start.shape)
    return di.Snapshots(times=[0, 1], samples=[start, end])


def double_well(rng: np.random.Generator) -> di.Snapshots:
    """Particles that part into two wells, at three times."""
    simulator = di.simulators.DoubleWell()
    seed = int(rng.integers(2**31))
    return simulator.snapshots([0.0, 1.0, 2.0], 2 * N_CELLS, seed=seed)


def embryoid(rng: np.random.Generator) -> di.Snapshots:
    """Human embryoid bodies, five principal components."""
    adata = di.datasets.embryoid_body()
    adata.obsm["X_pca"] = adata.obsm["X_pca"][:, :5]
    data = di.Snapshots.from_anndata(adata, time_key="time")
    samples = [rng.permutation(x) for x in data.samples]
    return di.Snapshots(times=data.times, samples=samples)


SETS: dict[str, Callable[[np.random.Generator], di.Snapshots]] = {
    "gaussians": gaussians,
    "double well": double_well,
    "embryoid": embryoid,
}


def halves(data: di.Snapshots) -> tuple[di.Snapshots, di.Snapshots]:
    """Cells to learn from, and others to ask."""
    one = [x[::2] for x in data.samples]
    other = [x[1::2] for x in data.samples]
    return tuple(di.Snapshots(times=data.times, samples=x) for x in (one, other))


def measure(name: str, coupling: str, penalty: float, seed: int) -> tuple[float, float, float]:
    """Evaluations, W2 and CPU seconds."""
    rng = np.random.default_rng(seed)
    known, fresh = halves(SETS[name](rng))
    training = di.Training(solver_penalty=penalty)
    model = di.StochasticInterpolant(gamma="none", coupling=coupling, training=training)
    began = time.process_time()
    model.fit(known, max_steps=N_STEPS, seed=seed, progress=False)
    seconds = time.process_time() - began
    n_evaluations, distances = [], []
    for begin, end in zip(fresh.times[:-1], fresh.times[1:], strict=True):
        run = model.simulate(fresh, [begin, end])
        n_evaluations.append(run.attrs["evaluations"])
        others = fresh.at(end)
        n = min(N_CELLS, len(others))
        distances.append(di.metrics.wasserstein(run.at(end)[:n], others[:n], p=2))
    return np.mean(n_evaluations), np.mean(distances), seconds


def main() -> None:
    global N_CELLS, N_STEPS
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--couplings", nargs="+", default=["independent", "ot"])
    parser.add_argument("--penalties", nargs="+", type=float, default=PENALTIES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--smallest", action="store_true", help="does it run? numbers mean nothing")
    options = parser.parse_args()
    if options.smallest:
        N_CELLS, N_STEPS = 50, 3
        options.sets, options.seeds = ["gaussians"], [0]
    print(
        "| cells | pairs | penalty | seed | evaluations | W2 | CPU-s |\n|---|---|---|---|---|---|---|"
    )
    for name in options.sets:
        for coupling in options.couplings:
            for penalty in options.penalties:
                for seed in options.seeds:
                    n, distance, seconds = measure(name, coupling, penalty, seed)
                    text = f"{n:.1f} | {distance:.4g} | {seconds:.1f}"
                    print(f"| {name} | {coupling} | {penalty:g} | {seed} | {text} |", flush=True)


if __name__ == "__main__":
    main()
