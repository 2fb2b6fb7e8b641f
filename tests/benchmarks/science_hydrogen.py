"""Action Matching on the turning density of a hydrogen superposition, as in the Action Matching paper.

The particles of a Bohmian ensemble are shown as a dense series of unpaired samples; the learned flow is started from the
density at the start, and compared with the density at ten later times by the paper's statistic, the mean of
|unbiased MMD²| with the kernel 3 exp(−1e-4 |x − y|²). Published (notebook of the authors, 40,000 steps): 5.66e-4 ± 3.06e-4.

    python tests/benchmarks/science_hydrogen.py --steps 10000 --seed 0
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--particles", type=int, default=5000)
    parser.add_argument("--save", help="file for the fitted model")
    options = parser.parse_args()

    hydrogen = di.simulators.HydrogenSuperposition()
    runs = [hydrogen.bohmian_trajectories(options.particles, 1001, seed=100 + i) for i in range(SETS)]
    states = torch.cat([r.states.float() for r in runs])  # (path, time, 3)

    def sampler(t: torch.Tensor, n: int) -> torch.Tensor:
        frame = (t / hydrogen.duration * 1000).round().long().clamp(0, 1000)
        return states[torch.randint(len(states), (n,)), frame]

    model = di.ActionMatching(
        width=options.width,
        depth=options.depth,
        training=di.Training(
            max_steps=options.steps, batch_size=options.batch_size, learning_rate=options.learning_rate,
            ema_decay=0.9995, patience=None, validation_fraction=0.0, log_every=100,
        ),
    )  # fmt: skip
    began = time.process_time()
    model.fit(di.DensityPath(sampler, (0.0, hydrogen.duration)), seed=options.seed, progress=False)
    spent = time.process_time() - began
    if options.save:
        model.save(options.save)

    times = np.linspace(0, hydrogen.duration, 11)
    start = hydrogen.bohmian_trajectories(5000, 11, seed=options.seed)
    run = model.simulate(start.states[:, 0].float(), times, solver="euler", dt=hydrogen.duration / 1000)
    fresh = [hydrogen.sample(float(t), 5000, seed=10_000 + k).float() for k, t in enumerate(times)]
    columns = {
        "same particles": [statistic(run.states[:, k], start.states[:, k].float()) for k in range(1, 11)],
        "fresh samples": [statistic(run.states[:, k], fresh[k]) for k in range(1, 11)],
        "floor (two fresh samples)": [
            statistic(hydrogen.sample(float(t), 5000, seed=20_000 + k).float(), fresh[k]) for k, t in enumerate(times) if k
        ],
        "unmoved start": [statistic(run.states[:, 0], fresh[k]) for k in range(1, 11)],
    }
    print(f"{options.steps} steps, {spent:.0f} CPU-s, seed {options.seed}")
    print("| time | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for k in range(10):
        print(f"| {times[k + 1]:.0f} | " + " | ".join(f"{c[k]:.2e}" for c in columns.values()) + " |")
    print("| mean | " + " | ".join(f"{np.mean(c):.2e}" for c in columns.values()) + " |")


if __name__ == "__main__":
    main()
