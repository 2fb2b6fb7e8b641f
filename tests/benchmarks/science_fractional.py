"""Fractional noise on data with known truth and on recordings: the tables of docs/results.md.

    DYNINFER_DATA=... OMP_NUM_THREADS=1 python tests/benchmarks/science_fractional.py index varying tracks cells nile bridge wells

index: Hurst index of noisy fractional Ornstein-Uhlenbeck processes.
varying: an index H(t), from exact multifractional paths.
tracks: exponents of simulated single-particle tracks with localisation noise, beside the mean squared displacement.
cells: exponents of the tracks of nuclear proteins in U2OS cells.
nile: memory of the yearly minima of the Nile.
bridge: cost of a bridge to a sharp observation, by the bound and in closed form.
wells: index and drift network of noisy double wells.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import dyninfer as di
from dyninfer.fractional import (
    FractionalBrownianMotion,
    MarkovApproximation,
    fit_multifractional,
    msd_exponent,
    sample_multifractional,
)
from dyninfer.fractional.inference import (
    Equation,
    LinearPrior,
    Series,
    exact_log_likelihood,
    guided_paths,
)

Rows = Iterator[list[str]]
DATA = Path(os.environ.get("DYNINFER_DATA", "."))
SEEDS = (0, 10, 20)


def listed(values: list[float], digits: int = 3) -> str:
    return ", ".join(f"{v:.{digits}f}" for v in values)


def span(ends: np.ndarray, digits: int = 3) -> str:
    return f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


# Hurst index of a noisy fractional Ornstein-Uhlenbeck process.


def noisy_ou(hurst: float, seed: int, n: int = 64, length: int = 200, inner: int = 10) -> di.Paths:
    """Rate 1, amplitude 1, observation noise 0.1 on [0, 10]: exact motion, ten steps between two observations."""
    times = np.linspace(0, 10, (length - 1) * inner + 1)
    kicks = (
        FractionalBrownianMotion(hurst)
        .sample(times, n, seed=seed, dtype=torch.float64)
        .diff(dim=1)
        .numpy()
    )
    x, dt = np.zeros((n, len(times))), times[1]
    for k in range(len(times) - 1):
        x[:, k + 1] = x[:, k] * math.exp(-dt) + kicks[:, k] * math.exp(-dt / 2)
    seen = x[:, ::inner] + 0.1 * np.random.default_rng(seed + 1).normal(size=(n, length))
    return di.Paths(times=[times[::inner]] * n, states=list(seen[..., None]))


def index(nodes: int) -> tuple[list[str], Rows]:
    return [
        "H",
        "found, seeds 0, 10, 20",
        "95 % interval, first seed",
        "error of the variance",
        "CPU s",
    ], index_rows(nodes)


def linear(nodes: int) -> di.FractionalSDE:
    return di.FractionalSDE(noise=di.FractionalNoise(n_nodes=nodes))


def index_rows(nodes: int) -> Rows:
    for hurst in (0.1, 0.3, 0.5, 0.7, 0.9):
        start = time.process_time()
        models = [linear(nodes).fit(noisy_ou(hurst, s), progress=False) for s in SEEDS]
        spent = (time.process_time() - start) / len(SEEDS)
        error = float(models[0].process_.noise.relative_error(hurst))
        yield [
            str(hurst),
            listed([m.hurst_ for m in models]),
            span(models[0].hurst_interval()),
            f"{error:.4f}",
            f"{spent:.1f}",
        ]


# An index that changes with time.


SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0.3 + 0.5 sigmoid(7 (1 − t))": lambda t: 0.3 + 0.5 / (1 + np.exp(-7 * (1 - t))),
    "0.5 + 0.25 sin πt": lambda t: 0.5 + 0.25 * np.sin(np.pi * t),
}


def varying(nodes: int) -> tuple[list[str], Rows]:
    return [
        "H(t) on [0, 2]",
        "paths × times",
        "RMSE, seeds 0, 10, 20",
        "amplitude (2)",
        "CPU s",
    ], varying_rows(nodes)


def varying_rows(nodes: int) -> Rows:
    times = np.linspace(0, 2, 257)
    for name, shape in SHAPES.items():
        for n in (16, 4, 1):
            start, errors, amplitudes = time.process_time(), [], []
            for seed in SEEDS:
                x = 2 * sample_multifractional(times, shape, n, seed=seed)
                fit = fit_multifractional(x, times, n_nodes=nodes)
                error = fit.hurst(torch.from_numpy(times)).numpy() - shape(times)
                errors.append(float(np.sqrt((error**2).mean())))
                amplitudes.append(fit.amplitude)
            spent = (time.process_time() - start) / len(SEEDS)
            yield [name, f"{n} × 256", listed(errors), listed(amplitudes, 2), f"{spent:.1f}"]


# Single-particle tracks.


def tracks_of(exponent: float, noise: float, seed: int) -> np.ndarray:
    """``(100, 50, 2)``: unit mean squared step per coordinate, from anywhere in a field of 100."""
    motion = FractionalBrownianMotion(exponent / 2)
    x = motion.sample(np.arange(50), 100, n_features=2, seed=seed, dtype=torch.float64).numpy()
    rng = np.random.default_rng(seed + 1)
    return x + rng.uniform(0, 100, (100, 1, 2)) + noise * rng.normal(size=x.shape)


def resampled(tracks: np.ndarray, max_lag: int, noisy: bool, draws: int = 200) -> np.ndarray:
    """95 % interval of the pooled exponent by drawing tracks anew."""
    rng = np.random.default_rng(0)
    found = [
        msd_exponent(
            tracks[rng.integers(0, len(tracks), len(tracks))],
            max_lag,
            localisation_noise=noisy,
            pooled=True,
        ).exponent[0]
        for _ in range(draws)
    ]
    return np.quantile(found, [0.025, 0.975])


def fitted(tracks: np.ndarray) -> di.FractionalSDE:
    """NaN ends a track. No origin is subtracted: it would carry the noise of what it was taken from to all times."""
    kept = [x[~np.isnan(x).any(1)] for x in tracks]
    paths = di.Paths(times=[np.arange(len(x)) for x in kept], states=kept)
    return di.FractionalSDE(drift="none").fit(paths, progress=False)


def tracks(nodes: int) -> tuple[list[str], Rows]:
    return [
        "α",
        "noise σ",
        "method",
        "α found, seeds 0, 10, 20",
        "95 % interval, first seed",
        "σ found",
    ], track_rows()


def track_rows() -> Rows:
    for exponent in (0.6, 1.0, 1.4):
        for noise in (0.5, 1.0):
            data = [tracks_of(exponent, noise, s) for s in SEEDS]
            for name, noisy in (("MSD, power law", False), ("MSD with noise", True)):
                found = [msd_exponent(x, 10, localisation_noise=noisy, pooled=True) for x in data]
                yield [
                    str(exponent),
                    str(noise),
                    name,
                    listed([f.exponent[0] for f in found]),
                    span(resampled(data[0], 10, noisy)),
                    listed([math.sqrt(f.noise_variance[0]) for f in found], 2) if noisy else "",
                ]
            models = [fitted(x) for x in data]
            yield [
                str(exponent),
                str(noise),
                "FractionalSDE",
                listed([2 * m.hurst_ for m in models]),
                span(2 * models[0].hurst_interval()),
                listed([float(m.observation_noise_.mean()) for m in models], 2),
            ]


def cells(nodes: int) -> tuple[list[str], Rows]:
    return ["method", "α", "95 % interval", "σ, pixels"], cell_rows()


def cell_rows() -> Rows:
    table = pd.read_csv(DATA / "single_particle_tracks/spt_tracks_min20.csv")
    seen = [g[["y", "x"]].to_numpy() for _, g in table.groupby("trajectory")]
    data = np.full((len(seen), max(map(len, seen)), 2), np.nan)
    for row, x in zip(data, seen, strict=True):
        row[: len(x)] = x
    for name, noisy in (("MSD, power law", False), ("MSD with noise", True)):
        fit = msd_exponent(data, 10, localisation_noise=noisy, pooled=True)
        sigma = f"{math.sqrt(fit.noise_variance[0]):.2f}" if noisy else ""
        yield [
            f"{name}, {len(seen)} tracks",
            f"{fit.exponent[0]:.3f}",
            span(resampled(data, 10, noisy)),
            sigma,
        ]
    each = msd_exponent(data, 5).exponent
    yield [
        "MSD, power law, median of tracks",
        f"{np.median(each):.3f}",
        span(np.quantile(each, [0.25, 0.75])) + " (quartiles)",
        "",
    ]
    model = fitted(data)
    yield [
        "FractionalSDE",
        f"{2 * model.hurst_:.3f}",
        span(2 * model.hurst_interval()),
        listed(list(model.observation_noise_), 2),
    ]
    slow = np.argsort([np.square(np.diff(x, axis=0)).sum(1).mean() for x in seen])
    for name, rows in (
        ("slower half", slow[: len(slow) // 2]),
        ("faster half", slow[len(slow) // 2 :]),
    ):
        model = fitted(data[rows])
        yield [
            f"FractionalSDE, {name} of the tracks",
            f"{2 * model.hurst_:.3f}",
            span(2 * model.hurst_interval()),
            listed(list(model.observation_noise_), 2),
        ]


# Minima of the Nile.


def nile(nodes: int) -> tuple[list[str], Rows]:
    return [
        "observation noise / deviation",
        "H found (published 0.837 ± 0.025)",
        "68 % interval",
    ], nile_rows(nodes)


def nile_rows(nodes: int) -> Rows:
    """The minima are fractional noise: their sum is fractional motion with a constant drift."""
    level = pd.read_csv(DATA / "long_memory/nile_minima.csv")["NileMin"].to_numpy()
    total = np.concatenate([[0.0], np.cumsum(level - level.mean())])
    paths = di.Paths(times=[np.arange(len(total))], states=[total[:, None]])
    for noise in (0.02, 0.05):
        model = di.FractionalSDE(
            noise=di.FractionalNoise(n_nodes=nodes),
            drift="constant",
            observation_noise=noise * level.std(),
        )
        model.fit(paths, progress=False)
        yield [str(noise), f"{model.hurst_:.3f}", span(model.hurst_interval(0.68))]


# Bridge from 0 to an observation of size 0.1 at time 2, of unit motion without drift.


def bridge(nodes: int) -> tuple[list[str], Rows]:
    head = [
        "H",
        "bound",
        "exact likelihood",
        "closed form of exact motion",
        "spread of the weights",
    ]
    return head, bridge_rows(nodes)


def bridge_rows(nodes: int) -> Rows:
    noise = MarkovApproximation(nodes, horizon=2.0, dt=0.01)
    series = Series.of(di.Paths(times=[[0.0, 2.0]], states=[np.array([[np.nan], [0.0]])]))
    constant = 0.5 * math.log(2 * math.pi * 0.01)
    for hurst in (0.1, 0.3, 0.5, 0.7, 0.9):
        prior = LinearPrior(
            noise,
            1,
            1,
            drift="none",
            hurst=hurst,
            shared=True,
            tau=1.0,
            observation_noise=torch.tensor([0.1]),
            latent=False,
            free_start=False,
        ).requires_grad_(False)
        prior.log_start.fill_(math.log(1e-7))
        drawn = guided_paths(Equation(prior), series, 50, n_steps=20)
        exact = float(exact_log_likelihood(prior, series)[0])
        motion = 0.5 * math.log1p(float(FractionalBrownianMotion(hurst).variance(2.0)) / 0.01)
        costs = (-float(drawn.bound[0]) - constant, -exact - constant, motion)
        yield [str(hurst), *(f"{c:.3f}" for c in costs), f"{float(drawn.log_weights.std()):.0e}"]


# A drift that is learned: noisy double wells.

WELLS = [(0, 0.5), (1, 0.5), (2, 0.5), (0, 0.7)]  # seeds and indices


def double_well(hurst: float, seed: int, n: int, length: int = 100, inner: int = 10) -> di.Paths:
    """``dX = 2 (X − X³) dt + 0.8 dB``, noise 0.1, on [0, 10]: exact motion, ten steps between two observations."""
    times = np.linspace(0, 10, (length - 1) * inner + 1)
    motion = FractionalBrownianMotion(hurst).sample(times, n, seed=seed, dtype=torch.float64)
    kicks = motion.diff(dim=1).numpy()
    rng = np.random.default_rng(seed)
    x = np.zeros((n, len(times)))
    x[:, 0] = rng.normal(size=n)
    for k in range(len(times) - 1):
        x[:, k + 1] = x[:, k] + 2 * (x[:, k] - x[:, k] ** 3) * times[1] + 0.8 * kicks[:, k]
    seen = x[:, ::inner] + 0.1 * rng.normal(size=(n, length))
    return di.Paths(times=[times[::inner]] * n, states=list(seen[..., None]))


def wells(nodes: int) -> tuple[list[str], Rows]:
    head = [
        "seed",
        "H",
        "n_steps",
        "H found",
        "error of the drift / its range",
        "σ found (0.8)",
        "noise found (0.1)",
    ]
    return [*head, "held-out bound per path", "linear model", "CPU s"], well_rows(nodes)


def well_rows(nodes: int) -> Rows:
    x = torch.linspace(-1.2, 1.2, 25, dtype=torch.float64)[:, None]
    true = 2 * (x - x**3)
    for (seed, hurst), n_steps in itertools.product(WELLS, (2, 4)):
        paths, others = double_well(hurst, seed, 64), double_well(hurst, 100 + seed, 32)
        by_likelihood = linear(nodes).fit(paths, progress=False)
        start = time.process_time()
        model = di.FractionalSDE(
            noise=di.FractionalNoise(n_nodes=nodes),
            drift="network",
            inference=di.Variational(control=None, n_samples=4, n_steps=n_steps, width=32),
        ).fit(paths, seed=seed, progress=False)
        spent = time.process_time() - start
        with torch.no_grad():
            error = (model.process_.drift(0.0, x) - true).square().mean().sqrt() / (
                true.max() - true.min()
            )
            amplitude = float(model.process_.diffusion(0.0, x).mean())
        yield [
            str(seed),
            str(hurst),
            str(n_steps),
            f"{model.hurst_:.3f}",
            f"{100 * float(error):.1f} %",
            f"{amplitude:.2f}",
            f"{float(model.observation_noise_[0]):.3f}",
            f"{model.elbo(others).mean():.1f}",
            f"{by_likelihood.log_likelihoods(others).mean():.1f}",
            f"{spent:.0f}",
        ]


PARTS = {
    "index": index,
    "varying": varying,
    "tracks": tracks,
    "cells": cells,
    "nile": nile,
    "bridge": bridge,
    "wells": wells,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", default=list(PARTS), metavar="part", help=", ".join(PARTS)
    )
    parser.add_argument(
        "--nodes", type=int, default=12, help="memory processes of the approximation"
    )
    parser.add_argument("--smallest", action="store_true", help="the bridge alone, with two nodes")
    arguments = parser.parse_args()
    if arguments.smallest:
        # All other tables take minutes of fits, whatever the number of nodes.
        arguments.parts, arguments.nodes = ["bridge"], 2
    torch.set_num_threads(1)
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; there are {', '.join(PARTS)}")
        head, rows = PARTS[part](arguments.nodes)
        print(
            f"\n{part}, {arguments.nodes} nodes\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}",
            flush=True,
        )
        for row in rows:
            print(f"| {' | '.join(row)} |", flush=True)
