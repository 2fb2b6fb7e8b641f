"""Measure the network of Markov jump processes.

Run: python datasets/jump_network/measure.py --weights FILE
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from card import write_card
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.prior import JumpPrior, Tasks
from dyninfer.jumps.amortized.zero_shot import JumpEstimate, infer, load_network
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.learning.random import numpy_stream, subseed

# Processes simulated at once. They share their grid and their distribution of rates.
_CHUNK = 50
# Of paths of the ratchet: with 20, as at first, means differed by 10 % between two seeds.
_CHOICES = 200
# Of one chunk at any size that is measured here.
_MOST_NUMBERS = 2**26
DENSE = replace(JumpPrior.paper(), grids=("dense",))

Interval = Callable[[float], tuple[Tensor, Tensor]]


def rmse(estimate: Tensor, truth: Tensor) -> Tensor:
    """Root mean squared error ``(...)`` of the rates of all jumps ``(..., S, S)``."""
    n_states = truth.shape[-1]
    squares = (estimate - truth).square().sum((-1, -2))
    return (squares / (n_states * (n_states - 1))).sqrt()


def on_prior(
    prior: JumpPrior,
    n_states: int,
    n_paths: int,
    size: int,
    seed: int,
    weights: Path,
    relative: bool = False,
) -> dict[str, float]:
    """Mean error and coverage of 90 % intervals over ``size`` processes.

    With ``relative``, errors are over the root mean square of the rates.
    """
    errors, covered, covered_existing = [], [], []
    for chunk in range(size // _CHUNK):
        tasks = prior.draw(
            _CHUNK,
            subseed(seed, "measured", chunk),
            n_states=n_states,
            n_paths=n_paths,
            most_numbers=_MOST_NUMBERS,
        )
        estimate, truth = _estimate(tasks, weights), tasks.rates.double()
        errors.append(_errors(estimate, truth, relative))
        off_diagonal = ~torch.eye(n_states, dtype=torch.bool).expand_as(truth)
        covered.append(_inside(estimate.interval, truth)[off_diagonal])
        covered_existing.append(_inside(estimate.interval_if_linked, truth)[truth > 0])
    error = torch.cat(errors)
    # Of the means of chunks: processes that share a grid are no independent ones.
    means = torch.stack([of_chunk.mean() for of_chunk in errors])
    standard_error = means.std() / len(means) ** 0.5
    coverage = torch.cat(covered).double().mean()
    coverage_existing = torch.cat(covered_existing).double().mean()
    return {
        "rmse": float(error.mean()),
        "standard error": float(standard_error),
        "coverage": float(coverage),
        "coverage of existing jumps": float(coverage_existing),
        "median rmse": float(error.median()),
    }


def on_flashing_ratchet(
    file: Path, n_paths: int, draws: int, seed: int, weights: Path, told: bool = False
) -> dict[str, float]:
    """Mean error over random choices of paths of the published flashing-ratchet data.

    No label of theirs is wrong, and with ``told`` the network knows it.
    """
    data = np.load(file)
    times = torch.from_numpy(data["times"]).double()
    labels = torch.from_numpy(data["paths"]).long()
    truth = torch.from_numpy(data["Q"]).double()
    truth = truth - torch.diag_embed(torch.diagonal(truth))
    rng, errors = numpy_stream(seed, "choices of paths"), []
    for _ in range(draws):
        choice = labels[rng.choice(len(labels), n_paths, replace=False)]
        statistics = JumpStatistics.of_batch(choice.T[:, None], times, len(truth))
        estimate = infer(statistics, weights=weights, exact=told)
        errors.append(float(rmse(estimate.rates[0], truth)))
    return {"rmse": float(np.mean(errors)), "standard deviation": float(np.std(errors))}


def cost(weights: Path) -> float:
    """CPU-seconds of one inference from 300 paths of 100 labels of 6 states; median of 15.

    Counting is included.
    """
    tasks = DENSE.draw(4, 5, n_states=6, n_paths=300)
    labels = tasks.labels[:, 0].T.numpy()
    paths = Paths(
        times=(tasks.times.numpy(),) * len(labels),
        states=tuple(labels),
        state_names=tuple("abcdef"),
    )
    seconds = []
    for _ in range(15):
        start = time.process_time()
        infer(paths, weights=weights)
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def measurements(
    weights: Path, ratchet: Path | None, size: int, seed: int
) -> dict[str, Callable[[], object]]:
    """All measurements by name, each to be called; the same size and seed give the same numbers."""
    on = partial(on_prior, size=size, seed=seed, weights=weights)
    rows: dict[str, Callable[[], object]] = {
        "CPU-seconds per inference, 300 x 100": partial(cost, weights)
    }
    sizes = [(6, 300), (6, 100), (6, 30), (6, 10)] + [(n, 300) for n in (5, 4, 3, 2, 8, 10)]
    for n, k in sizes:
        # The published setting, at other numbers of states and paths.
        rows[f"n={n} K={k} eps=1% stride 1"] = partial(on, DENSE, n, k)
    clean = replace(DENSE, clean=1.0, fixed=0.0)
    noisy = replace(DENSE, fixed=0.0, noise=(0.1, 0.1))
    thinned = replace(DENSE, grids=("thinned",))
    rows["n=6 K=300 eps=0 stride 1"] = partial(on, clean, 6, 300)
    rows["n=6 K=300 eps=10% stride 1"] = partial(on, noisy, 6, 300)
    rows["n=6 K=300 eps=1% thinned"] = partial(on, thinned, 6, 300)
    for n, k in [(n, 300) for n in (2, 3, 4, 6, 8, 10)] + [(6, 30), (6, 3000)]:
        rows[f"wide prior n={n} K={k}"] = partial(on, JumpPrior.wide(), n, k, relative=True)
    if ratchet is not None:
        rows |= _ratchet_measurements(weights, ratchet, seed)
    return rows


def _ratchet_measurements(
    weights: Path, folder: Path, seed: int
) -> dict[str, Callable[[], object]]:
    trained = load_network(str(weights), torch.device("cpu"))
    rows: dict[str, Callable[[], object]] = {}
    sizes = [(1, k) for k in (1, 30, 100, 300, 1000, 5000)] + [(v, 300) for v in (0, 2, 3)]
    for v, k in sizes:
        # Of 10,000 paths, choices of 5,000 have half in common.
        draws = 20 if k == 5000 else _CHOICES
        file = folder / f"dfr_V{v}.npz"
        name = f"flashing ratchet V={v} K={k}"
        run = partial(on_flashing_ratchet, file, k, draws, seed, weights)
        rows[name] = run
        if trained.network.reads_exact:
            rows[f"{name}, told"] = partial(run, told=True)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, line by line, and write the card if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--ratchet", type=Path, help="folder of dfr_V*.npz")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--seed", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--card", type=Path, help="Markdown file to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore", UserWarning)
    rows = measurements(options.weights, options.ratchet, options.size, options.seed)
    results = {}
    for name, run in rows.items():
        results[name] = run()
        sys.stdout.write(json.dumps({name: results[name]}) + "\n")
        sys.stdout.flush()
    if options.card is not None:
        # Folders are of one machine.
        ratchet = "" if options.ratchet is None else " --ratchet FOLDER"
        command = (
            f"python datasets/jump_network/measure.py --weights {options.weights.name}{ratchet}"
            f" --size {options.size} --seed {options.seed}"
        )
        write_card(options.card, options.weights, results, command)


def _estimate(tasks: Tasks, weights: Path) -> JumpEstimate:
    n_states = tasks.rates.shape[-1]
    return infer(JumpStatistics.of_batch(tasks.labels, tasks.times, n_states), weights=weights)


def _errors(estimate: JumpEstimate, truth: Tensor, relative: bool) -> Tensor:
    error = rmse(estimate.rates, truth)
    if not relative:
        return error
    size = rmse(torch.zeros_like(truth), truth)
    # No error is relative to a process without jumps.
    moves = size > 0
    return error[moves] / size[moves]


def _inside(interval: Interval, truth: Tensor) -> Tensor:
    low, high = interval(0.9)
    return (low <= truth) & (truth <= high)


if __name__ == "__main__":
    main()
