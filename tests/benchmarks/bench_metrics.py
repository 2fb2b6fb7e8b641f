"""Speed and memory of the metrics beside POT and SciPy.

Run: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python tests/benchmarks/bench_metrics.py [--rounds 5] [--smallest]

Times are CPU seconds of one thread. Every round runs every variant once, in rotated order; a ratio is the median over
the rounds of the ratio within a round. Memory is the peak above the inputs, in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ot
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.timing import Ratios, interleaved, parser_of

from dyninfer.metrics import (
    compare_populations,
    energy_distance,
    mmd,
    sliced_wasserstein,
    wasserstein,
)

torch.set_num_threads(1)


def cells(n: int, d: int, seed: int, shift: float = 0.0, dtype: type = np.float64) -> np.ndarray:
    """Eight Gaussian clusters, as in a population of cells."""
    centres = 3 * np.random.default_rng(0).normal(size=(8, d))
    rng = np.random.default_rng(seed)
    return (centres[rng.integers(0, 8, n)] + rng.normal(size=(n, d)) + shift).astype(dtype)


def cpu_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def report(
    title: str,
    times: dict[str, np.ndarray],
    ratios: Ratios,
    base: str | None = None,
    bar: float | None = None,
) -> None:
    base_times = (
        np.min([v for k, v in times.items() if k != "dyninfer"], axis=0)
        if base is None
        else times[base]
    )
    against = base or "the faster of the others"
    print(f"\n{title}")
    for name, values in times.items():
        print(f"  {name:28s} {np.median(values):8.3f} s (min {values.min():.3f})")
    ratio = times["dyninfer"] / base_times
    ratios.add(f"{title} / {against}", np.median(ratio))
    verdict = (
        "" if bar is None else f", bar {bar}: {'met' if np.median(ratio) <= bar else 'MISSED'}"
    )
    print(
        f"  dyninfer / {against}: median {np.median(ratio):.3f} [{ratio.min():.3f}, {ratio.max():.3f}]{verdict}"
    )


def peak(kind: str) -> int:
    """Resident bytes of this process, now (VmRSS) or at most since the last reset (VmHWM)."""
    line = next(v for v in Path("/proc/self/status").read_text().splitlines() if v.startswith(kind))
    return int(line.split()[1]) * 1024


def sliced_of_pot(x: np.ndarray, y: np.ndarray) -> object:
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    return ot.sliced_wasserstein_distance(tx, ty, n_projections=200)


def all_without_floors(x: np.ndarray, y: np.ndarray) -> object:
    return compare_populations(x, y, floor=False)


JOBS: dict[str, tuple[int, Callable[[np.ndarray, np.ndarray], object]]] = {
    "sliced W2": (10_000, sliced_wasserstein),
    "sliced W2 of POT": (10_000, sliced_of_pot),
    "MMD": (10_000, mmd),
    "energy distance": (10_000, energy_distance),
    "sliced W2, many": (100_000, sliced_wasserstein),
    "all metrics with floors": (100_000, compare_populations),
    "all metrics": (100_000, all_without_floors),
}


def run_job(name: str, scale: int) -> tuple[float, float]:
    """CPU seconds and added megabytes of a job, after a small run that loads the libraries."""
    n, job = JOBS[name]
    n //= scale
    job(cells(200, 50, 1), cells(200, 50, 2))
    x, y = cells(n, 50, 1, dtype=np.float32), cells(n, 50, 2, 0.2, dtype=np.float32)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = peak("VmRSS")
    seconds = cpu_seconds(lambda: job(x, y))
    return seconds, (peak("VmHWM") - before) / 1e6


def measure_memory(scale: int) -> None:
    print("\nOne process each, float32 input, 50 features:")
    # At the smallest size one job shows that the processes start.
    names = list(JOBS)[: 1 if scale > 1 else None]
    for name in names:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, megabytes = pool.apply(run_job, (name, scale))
        title = f"{name}, n = {JOBS[name][0] // scale:,}"
        print(f"  {title:38s} {seconds:8.2f} CPU s {megabytes:8.0f} MB added")


def main() -> None:
    parser = parser_of(__doc__, 5)
    options = parser.parse_args()
    rounds = 1 if options.smallest else options.rounds
    scale = 100 if options.smallest else 1
    ratios = Ratios("metrics")
    large, small = 10_000 // scale, 8_000 // scale

    for dtype in (np.float32, np.float64):
        x, y = cells(large, 50, 1, dtype=dtype), cells(large, 50, 2, dtype=dtype)
        tx, ty = torch.from_numpy(x), torch.from_numpy(y)
        variants = {
            "dyninfer": lambda x=x, y=y: sliced_wasserstein(x, y),
            "POT, torch": lambda x=tx, y=ty: ot.sliced_wasserstein_distance(
                x, y, n_projections=200
            ),
            "POT, numpy": lambda x=x, y=y: ot.sliced_wasserstein_distance(x, y, n_projections=200),
        }
        title = f"Sliced W2, n = {large:,}, d = 50, 200 projections, {np.dtype(dtype)}"
        report(title, interleaved(variants, rounds), ratios, "POT, torch", 0.35)

    x, y = cells(large, 50, 1), cells(small, 50, 2)
    w = np.random.default_rng(0).exponential(size=large)
    tx, ty, tw = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(w / w.sum())
    variants = {
        "dyninfer": lambda: sliced_wasserstein(x, y, x_weights=w),
        "POT, torch": lambda: ot.sliced_wasserstein_distance(tx, ty, tw, n_projections=200),
    }
    title = f"The same, {large:,} weighted against {small:,}"
    report(title, interleaved(variants, rounds), ratios, "POT, torch")

    n = 2000 // scale
    for d in (5, 50):
        x, y = cells(n, d, 1), cells(n, d, 2, 0.2)

        def assignment(x: np.ndarray = x, y: np.ndarray = y) -> float:
            cost = ot.dist(x, y)
            return cost[linear_sum_assignment(cost)].mean() ** 0.5

        variants = {
            "dyninfer": lambda x=x, y=y: wasserstein(x, y, p=2),
            "POT emd2": lambda x=x, y=y: ot.emd2([], [], ot.dist(x, y), numItermax=10**7) ** 0.5,
            "scipy linear_sum_assignment": assignment,
        }
        report(f"Exact W2, n = {n:,}, d = {d}", interleaved(variants, rounds), ratios, bar=1.1)

    n = 4000 // scale
    x, y = cells(n, 50, 1), cells(n, 50, 2)
    variants = {
        "dyninfer": lambda: energy_distance(x, y),
        "scipy cdist, whole matrices": lambda: (
            2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
        ),
    }
    report(
        f"Energy distance, n = {n:,}, d = 50",
        interleaved(variants, rounds),
        ratios,
        "scipy cdist, whole matrices",
    )

    ratios.write(options.json)
    measure_memory(scale)


if __name__ == "__main__":
    main()
