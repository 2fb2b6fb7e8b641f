"""Measure what is known about the data: distances between times, interpolation, floors.

    python truths.py

Prints the table of README.md: Wasserstein-1 (exact, Euclidean cost) between the cells of each inner
time and three things that need no learning: the cells of the previous time, those of the next, and
the straight-line displacement interpolation of the exact optimal plan (squared Euclidean cost)
between the two. `floor` is the distance between two random halves of that time's cells, a mean over
20 splits with seed 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import numpy as np
import ot

SPLITS = 20


def w1(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Exact Wasserstein-1 between x (n, d), weighted or uniform, and y (m, d), uniform."""
    if weights is None:
        weights = ot.unif(len(x))
    return float(ot.emd2(weights, ot.unif(len(y)), ot.dist(x, y, metric="euclidean")))


def interpolation(
    before: np.ndarray, after: np.ndarray, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of the displacement interpolation at `fraction` of the way."""
    plan = ot.emd(ot.unif(len(before)), ot.unif(len(after)), ot.dist(before, after))
    i, j = plan.nonzero()
    return (1 - fraction) * before[i] + fraction * after[j], plan[i, j] / plan.sum()


def floor(x: np.ndarray, rng: np.random.Generator) -> float:
    """Mean Wasserstein-1 between random halves of x."""
    half = len(x) // 2
    distances = []
    for _ in range(SPLITS):
        order = rng.permutation(len(x))
        distances.append(w1(x[order[:half]], x[order[half : 2 * half]]))
    return float(np.mean(distances))


def rows(x: np.ndarray, labels: np.ndarray) -> list[tuple[float, float, float, float, float]]:
    """One row per inner time: time, previous, next, interpolation, floor."""
    times = np.unique(labels)
    rng = np.random.default_rng(0)
    cells = {time: x[labels == time] for time in times}
    out = []
    for before, time, after in zip(times, times[1:], times[2:], strict=False):
        fraction = (time - before) / (after - before)
        points, weights = interpolation(cells[before], cells[after], fraction)
        target = cells[time]
        previous = w1(cells[before], target)
        following = w1(cells[after], target)
        interpolated = w1(points, target, weights)
        out.append((time, previous, following, interpolated, floor(target, rng)))
    return out


def print_row(name: str, values: Iterable[float]) -> None:
    """Print one line of a table in Markdown."""
    cells = [name, *(f"{value:.3f}" for value in values)]
    print(f"| {' | '.join(cells)} |")


def main() -> None:
    adata = ad.read_h5ad(Path(__file__).with_name("mesc_retinoic_acid.h5ad"))
    pcs = adata.obsm["X_pca"].astype(np.float64)
    labels = adata.obs["time"].to_numpy()
    first = pcs[:, :5]
    spaces = {
        "first 5 PCs, z-scored over all cells": (first - first.mean(0)) / first.std(0),
        "first 5 PCs": first,
        "all 10 PCs": pcs,
        "first 2 PCs": pcs[:, :2],
    }
    for title, x in spaces.items():
        print(f"\n{title}\n")
        print("| hours | previous | next | OT interpolation | floor |\n|---|---|---|---|---|")
        table = rows(x, labels)
        for time, *values in table:
            print_row(f"{time:g}", values)
        print_row("mean", np.mean([values for _, *values in table], axis=0))


if __name__ == "__main__":
    main()
