"""Measure the network of Markov jump processes: ``python -m dyninfer.pretrained.measure_jump --weights FILE``."""

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
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.prior import JumpPrior
from dyninfer.jumps.amortized.zero_shot import infer
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.pretrained.card import write_card

_CHUNK = 50  # processes simulated at once
DENSE = replace(JumpPrior.paper(), grids=("dense",))


def rmse(found: Tensor, truth: Tensor) -> Tensor:
    """Root mean squared error ``(...)`` of the rates of all jumps ``(..., S, S)``."""
    n = truth.shape[-1]
    return ((found - truth).square().sum((-1, -2)) / (n * (n - 1))).sqrt()


def on_prior(
    prior: JumpPrior,
    n_states: int,
    n_paths: int,
    size: int,
    seed: int,
    weights: Path,
    relative: bool = False,
) -> dict[str, float]:
    """Mean error, perhaps over the root mean square of the rates, and coverage of 90 % intervals over ``size`` processes."""
    errors, covered, linked = [], [], []
    for chunk in range(size // _CHUNK):
        tasks = prior.draw(
            _CHUNK, seed + chunk, n_states=n_states, n_paths=n_paths, most_numbers=2**26
        )
        estimate = infer(
            JumpStatistics.of_batch(tasks.labels, tasks.times, n_states), weights=weights
        )
        truth = tasks.rates.double()
        unit = rmse(torch.zeros_like(truth), truth) if relative else torch.ones(len(truth))
        moving = unit > 0  # no error is relative to a process without jumps
        errors.append((rmse(estimate.rates, truth) / unit)[moving])
        off = ~torch.eye(n_states, dtype=torch.bool).expand_as(truth)
        covered.append(_inside(estimate.interval, truth)[off])
        linked.append(_inside(estimate.interval_if_linked, truth)[truth > 0])
    error = torch.cat(errors)
    return {
        "rmse": float(error.mean()),
        "standard error": float(error.std() / len(error) ** 0.5),
        "coverage": float(torch.cat(covered).double().mean()),
        "coverage of existing jumps": float(torch.cat(linked).double().mean()),
        "median rmse": float(error.median()),
    }


def on_flashing_ratchet(
    file: Path, n_paths: int, draws: int, seed: int, weights: Path
) -> dict[str, float]:
    """Mean error over random choices of paths of the published flashing-ratchet data."""
    data = np.load(file)
    times, labels = torch.from_numpy(data["times"]).double(), torch.from_numpy(data["paths"]).long()
    truth = torch.from_numpy(data["Q"]).double()
    truth = truth - torch.diag_embed(torch.diagonal(truth))
    rng, errors = np.random.default_rng(seed), []
    for _ in range(draws):
        chosen = labels[rng.choice(len(labels), n_paths, replace=False)]
        estimate = infer(JumpStatistics.of_batch(chosen.T[:, None], times, 6), weights=weights)
        errors.append(float(rmse(estimate.rates[0], truth)))
    return {"rmse": float(np.mean(errors)), "standard deviation": float(np.std(errors))}


def cost(weights: Path) -> float:
    """CPU-seconds of one inference from 300 paths of 100 labels of 6 states, counting included; median of 15."""
    tasks = DENSE.draw(4, 5, n_states=6, n_paths=300)
    labels = tasks.labels[:, 0].T.numpy()
    paths = Paths(
        times=(tasks.times.numpy(),) * len(labels),
        states=tuple(labels),
        state_names=tuple("abcdef"),
    )
    spent = []
    for _ in range(15):
        begun = time.process_time()
        infer(paths, weights=weights)
        spent.append(time.process_time() - begun)
    return float(np.median(spent))


def measurements(
    weights: Path, ratchet: Path | None, size: int, seed: int
) -> dict[str, Callable[[], object]]:
    """All measurements by name, each to be called; the same size and seed give the same numbers."""
    found: dict[str, Callable[[], object]] = {
        "CPU-seconds per inference, 300 x 100": partial(cost, weights)
    }
    for n, k in [
        (6, 300),
        (6, 100),
        (6, 30),
        (6, 10),
        (5, 300),
        (4, 300),
        (3, 300),
        (2, 300),
        (8, 300),
        (10, 300),
    ]:
        found[f"n={n} K={k} eps=1% stride 1"] = partial(on_prior, DENSE, n, k, size, seed, weights)
    clean, noisy = replace(DENSE, clean=1.0, fixed=0.0), replace(DENSE, fixed=0.0, noise=(0.1, 0.1))
    found["n=6 K=300 eps=0 stride 1"] = partial(on_prior, clean, 6, 300, size, seed, weights)
    found["n=6 K=300 eps=10% stride 1"] = partial(on_prior, noisy, 6, 300, size, seed, weights)
    thinned = replace(DENSE, grids=("thinned",))
    found["n=6 K=300 eps=1% thinned"] = partial(on_prior, thinned, 6, 300, size, seed, weights)
    for n, k in [(2, 300), (3, 300), (4, 300), (6, 300), (8, 300), (10, 300), (6, 30), (6, 3000)]:
        found[f"wide prior n={n} K={k}"] = partial(
            on_prior, JumpPrior.wide(), n, k, size, seed, weights, relative=True
        )
    if ratchet is not None:
        for v, k in [
            (1, 1),
            (1, 30),
            (1, 100),
            (1, 300),
            (1, 1000),
            (1, 5000),
            (0, 300),
            (2, 300),
            (3, 300),
        ]:
            file, draws = ratchet / f"dfr_V{v}.npz", 2 if k == 5000 else 20
            found[f"flashing ratchet V={v} K={k}"] = partial(
                on_flashing_ratchet, file, k, draws, seed, weights
            )
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure, line by line, and write the card if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--ratchet", type=Path, help="folder of dfr_V*.npz")
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--seed", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--card", type=Path, help="Markdown file to write")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore", UserWarning)
    results = {}
    for name, measure in measurements(
        chosen.weights, chosen.ratchet, chosen.size, chosen.seed
    ).items():
        results[name] = measure()
        sys.stdout.write(json.dumps({name: results[name]}) + "\n")
        sys.stdout.flush()
    if chosen.card is not None:
        ratchet = (
            "" if chosen.ratchet is None else " --ratchet FOLDER"
        )  # folders are of one machine
        command = (
            f"python -m dyninfer.pretrained.measure_jump --weights {chosen.weights.name}{ratchet} --size {chosen.size}"
            f" --seed {chosen.seed}"
        )
        write_card(chosen.card, chosen.weights, results, command)


def _inside(interval: Callable[[float], tuple[Tensor, Tensor]], truth: Tensor) -> Tensor:
    low, high = interval(0.9)
    return (low <= truth) & (truth <= high)


if __name__ == "__main__":
    main()
