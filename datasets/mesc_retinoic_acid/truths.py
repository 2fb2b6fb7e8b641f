"""Measure what is known about the data: distances between times, exact-OT interpolation, finite-sample floors.

    python truths.py

Prints the table of README.md: Wasserstein-1 (exact, Euclidean cost) between the cells of each inner time and
three things that need no learning: the cells of the previous time, those of the next, and the straight-line
displacement interpolation of the exact optimal plan (squared Euclidean cost) between the two. `floor` is the
distance between two random halves of that time's cells, a mean over 20 splits with seed 0.
"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import ot

SPLITS = 20


def w1(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Exact Wasserstein-1 between x (n, d), weighted or uniform, and y (m, d), uniform."""
    a = np.full(len(x), 1 / len(x)) if weights is None else weights
    return float(ot.emd2(a, np.full(len(y), 1 / len(y)), ot.dist(x, y, metric="euclidean")))


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
    orders = (rng.permutation(len(x)) for _ in range(SPLITS))
    return float(np.mean([w1(x[order[:half]], x[order[half : 2 * half]]) for order in orders]))


def rows(x: np.ndarray, labels: np.ndarray) -> list[tuple[float, float, float, float, float]]:
    """One row per inner time: time, previous, next, interpolation, floor."""
    times, rng = np.unique(labels), np.random.default_rng(0)
    cells = {time: x[labels == time] for time in times}
    out = []
    for before, time, after in zip(times, times[1:], times[2:], strict=False):
        points, weights = interpolation(
            cells[before], cells[after], (time - before) / (after - before)
        )
        target = cells[time]
        neighbours = w1(cells[before], target), w1(cells[after], target)
        out.append((time, *neighbours, w1(points, target, weights), floor(target, rng)))
    return out


def main() -> None:
    adata = ad.read_h5ad(Path(__file__).with_name("mesc_retinoic_acid.h5ad"))
    pcs, labels = adata.obsm["X_pca"].astype(np.float64), adata.obs["time"].to_numpy()
    first = pcs[:, :5]
    spaces = {
        "first 5 PCs, z-scored over all cells": (first - first.mean(0)) / first.std(0),
        "first 5 PCs": first,
        "all 10 PCs": pcs,
        "first 2 PCs": pcs[:, :2],
    }
    for title, x in spaces.items():
        print(
            f"\n{title}\n\n| hours | previous | next | OT interpolation | floor |\n|---|---|---|---|---|"
        )
        table = rows(x, labels)
        for time, *values in table:
            print(f"| {time:g} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
        print(
            "| mean | "
            + " | ".join(f"{v:.3f}" for v in np.mean([r[1:] for r in table], axis=0))
            + " |"
        )


if __name__ == "__main__":
    main()
