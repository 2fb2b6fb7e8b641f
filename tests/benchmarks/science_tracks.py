"""Change points of simulated tracks of the Anomalous Diffusion challenge: a table of docs/results.md.

The tracks need andi-datasets (with ipython), in an environment of their own, as it pins numpy:

    python -m venv andi && andi/bin/pip install andi-datasets ipython
    andi/bin/python tests/benchmarks/science_tracks.py simulate tracks.csv
    OMP_NUM_THREADS=1 python tests/benchmarks/science_tracks.py score tracks.csv

Scores are those of the challenge (Muñoz-Gil et al., arXiv 2311.18100): change points are paired by
distance, and count as met within ten frames; segments are paired by overlap.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

SEED = 20261130
MODELS = ("single_state", "multi_state", "immobile_traps", "dimerization", "confinement")
ERROR = 0.12  # pixels: the noise of the challenge
NEAR = 10  # frames within which a change point counts as met
WINDOW = 20  # frames on either side, of the baseline


def simulate(path: Path) -> None:
    """One field of view of every model of the challenge, with its usual parameters."""
    import random

    from andi_datasets.datasets_challenge import challenge_phenom_dataset

    np.random.seed(SEED)  # noqa: NPY002
    random.seed(SEED)
    tables, _, _ = challenge_phenom_dataset(
        experiments=[1, 2, 3, 4, 5], num_fovs=1, return_timestep_labs=True, sigma_noise=ERROR
    )
    frames = [pd.DataFrame(t).assign(model=m) for t, m in zip(tables, MODELS, strict=True)]
    pd.concat(frames).to_csv(path, index=False)


def small_tracks(path: Path) -> None:
    """Two short tracks of each model's name, which slow down halfway: enough to try the script."""
    rng = np.random.default_rng(SEED)
    frame = np.arange(40)
    diffusivity = np.where(frame < 20, 1.0, 0.1)
    tables = []
    for model in MODELS:
        for number in range(2):
            steps = rng.normal(size=(40, 2)) * np.sqrt(2 * diffusivity)[:, None]
            x, y = steps.cumsum(0).T
            own = {"frame": frame, "x": x, "y": y, "alpha": 1.0, "D": diffusivity}
            tables.append(pd.DataFrame(own).assign(model=model, traj_idx=number))
    pd.concat(tables).to_csv(path, index=False)


def true_segments(track: pd.DataFrame) -> list[tuple[int, int, float, float]]:
    """``(begin, end, alpha, K)`` of every run of one state, in frames from the start."""
    labels = track[["alpha", "D"]].to_numpy()
    changes = np.flatnonzero((np.diff(labels, axis=0) != 0).any(1)) + 1
    edges = [0, *changes.tolist(), len(track)]
    return [(b, e, *labels[b]) for b, e in pairwise(edges)]


def by_likelihood(x: np.ndarray) -> list[tuple[int, int, float, float]]:
    import dyninfer as di

    paths = di.Paths(times=[np.arange(len(x))], states=[x])
    table = di.tl.segment_tracks(paths, error=ERROR)
    rows = table.fillna(0.0)
    ends = [*rows["start"].astype(int)[1:], len(x)]
    return list(zip(rows["start"].astype(int), ends, rows["alpha"], rows["K"], strict=True))


def by_windows(x: np.ndarray) -> list[tuple[int, int, float, float]]:
    """Mean squares of displacements before and after: where their ratio peaks above two; MSD fits."""
    squares = (np.diff(x, axis=0) ** 2).mean(1)
    n = len(squares)
    ratio = np.zeros(n)
    for k in range(WINDOW, n - WINDOW):
        before, after = squares[k - WINDOW : k].mean(), squares[k : k + WINDOW].mean()
        ratio[k] = abs(np.log(before / after))
    edges = [0]
    while ratio.max() > np.log(2):
        best = int(ratio.argmax())
        edges.append(best)
        ratio[max(0, best - WINDOW) : best + WINDOW] = 0
    edges = [*sorted(edges), len(x)]
    return [(b, e, *msd_line(x[b:e])) for b, e in pairwise(edges)]


def msd_line(x: np.ndarray) -> tuple[float, float]:
    """Exponent and coefficient by a line through the logarithms of four lags, less the error."""
    lags = np.arange(1, 5)
    msd = np.array([((x[k:] - x[:-k]) ** 2).mean() for k in lags]) - 2 * ERROR**2
    slope, level = np.polyfit(np.log(lags), np.log(np.maximum(msd, 1e-6)), 1)
    return float(np.clip(slope, 0, 2)), float(np.exp(level) / 2)


def whole(x: np.ndarray) -> list[tuple[int, int, float, float]]:
    return [(0, len(x), *msd_line(x))]


METHODS = {"segment_tracks": by_likelihood, "sliding window": by_windows, "no change": whole}


def scores(truths: list[list], answers: list[list]) -> list[float]:
    """Jaccard index and RMSE of change points; MAE of alpha, mean squared error of log(1 + K)."""
    met, missed, false, squares = 0, 0, 0, []
    alphas, coefficients = [], []
    for truth, answer in zip(truths, answers, strict=True):
        real = np.array([b for b, *_ in truth[1:]])
        own = np.array([b for b, *_ in answer[1:]])
        distance = np.abs(real[:, None] - own) if len(real) and len(own) else np.zeros((0, 0))
        rows, columns = linear_sum_assignment(distance)
        near = distance[rows, columns] < NEAR
        met += near.sum()
        missed += len(real) - near.sum()
        false += len(own) - near.sum()
        squares += (distance[rows, columns][near] ** 2).tolist()
        overlap = np.array([[jaccard(t, a) for a in answer] for t in truth])
        for i, j in zip(*linear_sum_assignment(-overlap), strict=True):
            alphas.append(abs(truth[i][2] - answer[j][2]))
            coefficients.append((np.log1p(truth[i][3]) - np.log1p(answer[j][3])) ** 2)
    index = met / max(met + missed + false, 1)
    rmse = np.sqrt(np.mean(squares)) if squares else np.nan
    return [index, rmse, np.mean(alphas), np.mean(coefficients)]


def jaccard(one: tuple, other: tuple) -> float:
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return max(shared, 0) / (max(one[1], other[1]) - min(one[0], other[0]))


def score(path: Path) -> None:
    table = pd.read_csv(path)
    print(
        "| model | tracks | changes | method | Jaccard | RMSE, frames | MAE of α | MSLE of K | CPU s a track |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    totals = {name: ([], [], 0.0) for name in METHODS}
    for model in MODELS:
        own = table[table["model"] == model]
        tracks = [t.sort_values("frame") for _, t in own.groupby("traj_idx")]
        truths = [true_segments(t) for t in tracks]
        for name, method in METHODS.items():
            begin = time.process_time()
            answers = [method(t[["x", "y"]].to_numpy()) for t in tracks]
            seconds = time.process_time() - begin
            show(model, name, truths, answers, seconds)
            old_truths, old_answers, old_seconds = totals[name]
            totals[name] = old_truths + truths, old_answers + answers, old_seconds + seconds
    for name, total in totals.items():
        show("all", name, *total)


def show(model: str, name: str, truths: list, answers: list, seconds: float) -> None:
    index, rmse, mae, msle = scores(truths, answers)
    n_changes = sum(len(t) - 1 for t in truths)
    numbers = f"{index:.2f} | {rmse:.2f} | {mae:.3f} | {msle:.4f} | {seconds / len(truths):.2f}"
    print(f"| {model} | {len(truths)} | {n_changes} | {name} | {numbers} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--smallest"]:
        small_tracks(Path("tracks.csv"))
        score(Path("tracks.csv"))
    elif len(sys.argv) != 3:
        # Called with the other experiments, which need no environment of their own.
        print("Skipped: the tracks are simulated first; the first lines of this file say how.")
    else:
        task, file = sys.argv[1:]
        {"simulate": simulate, "score": score}[task](Path(file))
