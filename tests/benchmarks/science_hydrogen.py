"""Action Matching on the turning density of a hydrogen superposition, as in the Action Matching paper.

The particles of a Bohmian ensemble are shown as a dense series of unpaired samples; the learned flow is started from the
density at the start, and compared with the density at ten later times by the paper's statistic, the mean of
|unbiased MMD²| with the kernel 3 exp(−1e-4 |x − y|²). Published (notebook of the authors, 40,000 steps): 5.66e-4 ± 3.06e-4.

    python tests/benchmarks/science_hydrogen.py --steps 6000 --seed 0
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

import dyninfer as di

SETS = 4  # ensembles of trajectories that training draws from


def statistic(x: torch.Tensor, y: torch.Tensor) -> float:
    return abs(di.metrics.mmd(x, y, gamma=[1e-4] * 3, unbiased=True))


def fit(options: argparse.Namespace) -> tuple[di.ActionMatching, float]:
    """Fitted model and CPU seconds."""
    hydrogen = di.simulators.HydrogenSuperposition()
    runs = [
        hydrogen.bohmian_trajectories(options.particles, 1001, seed=100 + i) for i in range(SETS)
    ]
    states = torch.cat([r.states.float() for r in runs])  # (path, time, 3)

    def sampler(t: torch.Tensor, n: int) -> torch.Tensor:
        frame = (t / hydrogen.duration * 1000).round().long().clamp(0, 1000)
        return states[torch.randint(len(states), (n,)), frame]

    training = di.Training(
        max_steps=options.steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        ema_decay=0.9995,
        patience=None,
        validation_fraction=0.0,
        log_every=100,
    )
    model = di.ActionMatching(width=options.width, depth=options.depth, training=training)
    began = time.process_time()
    model.fit(di.DensityCurve(sampler, (0.0, hydrogen.duration)), seed=options.seed, progress=False)
    return model, time.process_time() - began


def score(
    model: di.ActionMatching, seed: int, n: int = 5000
) -> tuple[np.ndarray, dict[str, list[float]]]:
    """Times, and the statistic at each of them against the same particles, fresh samples, and for what needs no model."""
    hydrogen = di.simulators.HydrogenSuperposition()
    times = np.linspace(0, hydrogen.duration, 11)
    start = hydrogen.bohmian_trajectories(n, 11, seed=seed)
    run = model.simulate(
        start.states[:, 0].float(), times, solver=di.solvers.Euler(dt=hydrogen.duration / 1000)
    )
    fresh = [hydrogen.sample(float(t), n, seed=10_000 + k) for k, t in enumerate(times)]
    again = [hydrogen.sample(float(t), n, seed=20_000 + k) for k, t in enumerate(times)]
    later = range(1, 11)
    return times[1:], {
        "same particles": [statistic(run.states[:, k], start.states[:, k].float()) for k in later],
        "fresh samples": [statistic(run.states[:, k], fresh[k]) for k in later],
        "floor (two fresh samples)": [statistic(again[k], fresh[k]) for k in later],
        "unmoved start": [statistic(run.states[:, 0], fresh[k]) for k in later],
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--particles", type=int, default=5000)
    parser.add_argument("--save", help="file for the fitted model")
    parser.add_argument("--smallest", action="store_true", help="does it run? numbers mean nothing")
    options = parser.parse_args(arguments)
    if options.smallest:
        options.steps, options.particles, options.width = 3, 20, 8
    return options


def main() -> None:
    options = parse()
    model, cpu_seconds = fit(options)
    if options.save:
        model.save(options.save)
    times, columns = score(model, options.seed, options.particles)
    print(f"{options.steps} steps, {cpu_seconds:.0f} CPU-s, seed {options.seed}")
    print("| time | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for k, t in enumerate(times):
        print(f"| {t:.0f} | " + " | ".join(f"{c[k]:.2e}" for c in columns.values()) + " |")
    print("| mean | " + " | ".join(f"{np.mean(c):.2e}" for c in columns.values()) + " |")


if __name__ == "__main__":
    main()
