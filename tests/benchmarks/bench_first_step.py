"""CPU-seconds to the first training step, of plans and of all of a fit, and what pairs in turn cost in quality.

Cells drift along one feature and part into two branches along the second; the others are noise. A fit with plans
in turn stands beside one that waits for the full plan: W1 from each time to the next, of cells that neither saw.

With growth, cells of one of the branches die, as fast as said, and W1 is that of weighted paths.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_first_step.py [--cells 100000] [--features 5] [--steps 2000]
        [--coupling growth_first] [--death 0.25] [--first-seed 0] [--seeds 3] [--no-full] [--smallest]
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

import dyninfer as di
from dyninfer.learning.training import TrainingRun
from dyninfer.transport.couplings import stretches, supply

TIMES = (0.0, 1.0, 2.0, 3.0, 4.0)
N_TEST = 4000
HEAD = "| seed | plan | to the first step, s | plans in training, s | fit, s | W1 |"


def cells(t: float, n: int, d: int, rng: np.random.Generator, death: float = 0.0) -> np.ndarray:
    """States of cells at a time: two coordinates by small steps, the others by their closed form."""
    # Enough that as many are left, but for luck, where half of them die.
    n_born = n if death == 0 else math.ceil(1.1 * n * 2 / (1 + math.exp(-death * t))) + 100
    x, y = 0.15 * rng.standard_normal((2, n_born))
    is_alive = np.full(n_born, True)
    dt = 0.02
    for _ in range(round(t / dt)):
        noise = 0.4 * math.sqrt(dt) * rng.standard_normal((2, n_born))
        drift_x = (2 - x) + 0.5 * y**2
        drift_y = (x - 1) * y - y**3
        x = x + drift_x * dt + noise[0]
        y = y + drift_y * dt + noise[1]
        if death:
            # Gently, so that growth is smooth in the state.
            risk = death * dt / (1 + np.exp(10 * y))
            is_alive &= rng.random(n_born) > risk
    x = x[is_alive][:n]
    y = y[is_alive][:n]
    decay = math.exp(-2 * t)
    variance = 0.15**2 * decay + 0.08 * (1 - decay)
    rest = math.sqrt(variance) * rng.standard_normal((n, d - 2), dtype=np.float32)
    plane = np.stack([x, y], 1).astype(np.float32)
    return np.concatenate([plane, rest], 1)


class Clock:
    """CPU-seconds of the parts of a fit."""

    def __init__(self) -> None:
        self.begin = time.process_time()
        self.first_step = 0.0
        self.plans = 0.0

    def update(self, run: TrainingRun, *arguments: object) -> object:
        begin = time.process_time()
        run.objective.reach(run.step)
        self.plans += time.process_time() - begin
        means = UPDATE(run, *arguments)
        if not self.first_step:
            self.first_step = time.process_time() - self.begin
        return means


UPDATE = TrainingRun.update


def row(name: str, seed: int, options: argparse.Namespace) -> str:
    """Fit once and test it."""
    rng = np.random.default_rng(seed)
    n = options.cells // len(TIMES)
    n_each = n + 2 * options.n_test
    every = [cells(t, n_each, options.features, rng, options.death) for t in TIMES]
    data = di.Snapshots(times=TIMES, samples=[x[:n] for x in every])
    stretches.WORTH_STARTING = math.inf if name == "full" else supply.WORTH_STARTING
    clock = Clock()
    TrainingRun.update = lambda run, *arguments: clock.update(run, *arguments)
    model = di.StochasticInterpolant(coupling=options.coupling)
    model.fit(data, seed=seed, max_steps=options.steps, progress=False)
    seconds = time.process_time() - clock.begin
    distances = []
    for k in range(len(TIMES) - 1):
        start = every[k][n : n + options.n_test]
        end = every[k + 1][n + options.n_test :]
        run = model.simulate(start, TIMES[k : k + 2], seed=0)
        weights = run.weights[:, -1]
        distance = di.metrics.wasserstein(run.at(TIMES[k + 1]), end, p=1, x_weights=weights)
        distances.append(distance)
    columns = (clock.first_step, clock.plans, seconds)
    parts = [f"{value:.1f}" for value in columns]
    return f"| {seed} | {name} | {' | '.join(parts)} | {np.mean(distances):.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--coupling", default="auto")
    parser.add_argument("--death", type=float, default=0.0, help="rate in one of the branches")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-full", action="store_true", help="plans in turn only")
    parser.add_argument("--smallest", action="store_true", help="a few steps on few cells")
    options = parser.parse_args()
    options.n_test = N_TEST
    if options.smallest:
        options.cells, options.steps, options.seeds, options.n_test = 500, 2, 1, 50
        options.coupling, options.death = "growth_first", 0.25
    print(f"{HEAD}\n{'|---' * 6}|")
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in ("in turn", "full")[: 1 if options.no_full else 2]:
            print(row(name, seed, options), flush=True)


if __name__ == "__main__":
    main()
