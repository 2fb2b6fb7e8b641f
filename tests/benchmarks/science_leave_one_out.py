"""Leave one time out: how well a model predicts a population that it never saw, beside what costs nothing.

Protocol (Tong et al. 2023 and after): the first five PCs are z-scored over all cells; one model per held-out time, fitted on the
others; all cells of the time before are carried to the held-out time; exact W1 with Euclidean cost against all cells there.
``--time index`` numbers the times 0, 1, 2, … as the papers do; ``--time days`` keeps the real ones.

    DYNINFER_DATA=... python tests/benchmarks/science_leave_one_out.py --dataset cite_hspc --seeds 3
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import dyninfer as di

DATASETS = {"cite_hspc": ("day", [3.0, 4.0]), "embryoid_body": ("time", [1.0, 2.0, 3.0])}
VARIANTS = {
    "plain": {},
    "plain, cubic": {"interpolation": "cubic"},
    "plain, independent pairs": {"coupling": "independent"},
    "entropic, sigma 0.3": {"sigma": 0.3},
    "unbalanced, lambda 0.1": {"growth_penalty": 0.1},
    "both": {"sigma": 0.3, "growth_penalty": 0.1},
}


def load(name: str, n_features: int) -> di.Snapshots:
    adata = getattr(di.datasets, name)()
    key, _ = DATASETS[name]
    x = np.asarray(adata.obsm["X_pca"])[:, :n_features].astype(np.float64)
    x = (x - x.mean(0)) / x.std(0)
    times = np.asarray(adata.obs[key], dtype=float)
    return di.Snapshots(times=np.unique(times), samples=[x[times == t] for t in np.unique(times)])


def w1(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    return di.metrics.wasserstein(x, y, p=1, x_weights=weights)


def midpoint(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half way along the exact plan with squared Euclidean cost: points and their weights."""
    import ot

    plan = ot.emd(np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y)), ot.dist(x, y), numItermax=10**7)
    i, j = np.nonzero(plan)
    return 0.5 * (x[i] + y[j]), plan[i, j]


def predict(
    data: di.Snapshots, held: float, settings: dict, seed: int, by_index: bool, steps: int | None
) -> tuple[float, float]:
    """W1 at the held-out time, and CPU seconds of the fit."""
    k = data.index(held)
    times = np.arange(float(data.n_times)) if by_index else data.times
    shown = di.Snapshots(times=times, samples=data.samples)
    began = time.process_time()
    model = di.ActionMatching(**settings).fit(
        shown, hold_out=times[k], seed=seed, max_steps=steps, progress=False
    )
    spent = time.process_time() - began
    run = model.simulate(data.samples[k - 1].astype(np.float32), times[k - 1 : k + 1], seed=seed)
    weights = None if run.log_weights is None else run.weights[:, -1].numpy()
    return w1(run.states[:, -1].numpy(), data.samples[k], weights), spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=DATASETS, default="cite_hspc")
    parser.add_argument("--features", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--time", choices=("index", "days"), default="days")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--no-baselines", action="store_true")
    options = parser.parse_args()

    data = load(options.dataset, options.features)
    held = DATASETS[options.dataset][1]
    columns = " | ".join(f"{t:g}" for t in held)
    print(
        f"{options.dataset}, {options.features} PCs, time by {options.time}, seeds 0 to {options.seeds - 1}",
        flush=True,
    )
    print(
        f"| | {columns} | mean | sd over seeds | CPU-s per fit |\n|---|{'---|' * (len(held) + 3)}", flush=True
    )
    if not options.no_baselines:
        for name, row in baselines(data, held).items():
            print(
                f"| {name} | " + " | ".join(f"{v:.3f}" for v in row) + f" | {np.mean(row):.3f} | | |",
                flush=True,
            )
    for name in options.variants:
        runs = np.array(
            [
                [predict(data, t, VARIANTS[name], seed, options.time == "index", options.steps) for t in held]
                for seed in range(options.seeds)
            ]
        )  # (seed, held, (w1, seconds))
        scores = runs[..., 0]
        cells = " | ".join(f"{v:.3f}" for v in scores.mean(0))
        spread = scores.mean(1).std(ddof=1) if options.seeds > 1 else float("nan")
        print(
            f"| {name} | {cells} | {scores.mean():.3f} | {spread:.3f} | {runs[..., 1].mean():.0f} |",
            flush=True,
        )


def baselines(data: di.Snapshots, held: list[float]) -> dict[str, list[float]]:
    """What needs no model: two halves of the same day, the day before, and exact optimal transport half way."""
    rows: dict[str, list[float]] = {
        "floor (two halves)": [],
        "previous time, unmoved": [],
        "exact-OT midpoint": [],
    }
    for t in held:
        k = data.index(t)
        rows["floor (two halves)"].append(di.metrics.finite_sample_floor(data.samples[k], "w1", repeats=1))
        rows["previous time, unmoved"].append(w1(data.samples[k - 1], data.samples[k]))
        points, weights = midpoint(data.samples[k - 1], data.samples[k + 1])
        rows["exact-OT midpoint"].append(w1(points, data.samples[k], weights))
    return rows


if __name__ == "__main__":
    main()
