"""The weight of the paths (the meta-prior of Ahmadi and Tani 2019) on a noisy double well.

`Variational(path_weight=w)` is the bound for errors whose variance is w times as large, so that the equation has to explain what
the errors do not: below 1 its noise grows, above 1 its paths tend to be a deterministic motion. Published is the effect on a
recurrent network; here the truth is known, dX = 2 (X - X^3) dt + 0.8 dW, seen every 0.1 with errors of 0.3, which are given.

    python tests/benchmarks/science_path_weight.py --seeds 1
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.science import Rows, parser_of, print_tables

import dyninfer as di

SIGMA, ERROR = 0.8, 0.3
GAP, INNER = 0.1, 10
LENGTH = 61
WEIGHTS = (0.1, 1.0, 10.0)


def wells(n: int, seed: int) -> di.Paths:
    """Paths from one well or the other, ten Euler steps to an observation."""
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.0, 1.0], n)
    dt = GAP / INNER
    states = [x]
    for step in range((LENGTH - 1) * INNER):
        x = x + 2 * (x - x**3) * dt + SIGMA * np.sqrt(dt) * rng.normal(size=n)
        if step % INNER == INNER - 1:
            states.append(x)
    exact = np.stack(states, axis=1)
    observed = exact + ERROR * rng.normal(size=exact.shape)
    return di.Paths(times=[GAP * np.arange(LENGTH)] * n, states=list(observed[..., None]))


def weights(seeds: int, size: int) -> tuple[list[str], Rows]:
    """Noise and drift that each weight learns, and forecasts of other paths from their middle on."""
    x = torch.linspace(-1.2, 1.2, 25, dtype=torch.float64)[:, None]
    true = 2 * (x - x**3)

    def rows() -> Rows:
        for seed in range(seeds):
            n = 3 * size
            data, others = wells(n, seed), wells(n, 100 + seed)
            for weight in WEIGHTS:
                model = di.FractionalSDE(
                    noise=di.FractionalNoise(hurst=0.5, n_nodes=1),
                    drift="network",
                    inference=di.Variational(
                        control=None, n_samples=4, width=32, path_weight=weight
                    ),
                    observation_noise=ERROR,
                )
                model.fit(data, seed=seed, max_steps=25 * size, progress=False)
                with torch.no_grad():
                    error = (model.process_.drift(0.0, x) - true).square().mean().sqrt()
                    sigma = float(model.process_.diffusion(0.0, x).mean())
                share = float(error / (true.max() - true.min()))
                scores = model.evaluate(others, n_samples=50)
                means = [f"{scores[name].mean():.3f}" for name in ("crps", "coverage")]
                yield [str(seed), str(weight), f"{sigma:.2f}", f"{100 * share:.1f} %", *means]

    head = ["seed", "weight", f"noise ({SIGMA})", "error of the drift / its range"]
    return [*head, "forecast CRPS", "covered of 0.90"], rows()


TABLES = {"weights": weights}

if __name__ == "__main__":
    parser = parser_of(TABLES, __doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--size", type=int, default=8, help="3 paths and 25 steps each")
    print_tables(parser, TABLES)
