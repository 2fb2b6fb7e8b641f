"""The numerical examples of the stochastic interpolants paper (arXiv 2303.08797), and a vortex through eleven snapshots.

The paper shows pictures and no table; what should come out of each example stands above it here, written before the first run.
"small" is minutes on one core; "paper" is of the size the authors trained (theirs are ReLU networks, ours SiLU), for a larger machine.

    OMP_NUM_THREADS=1 python tests/benchmarks/science_interpolants.py checkerboard mixtures vortex --size small --seed 0
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import dyninfer as di
from dyninfer.metrics import energy_distance, sliced_wasserstein, wasserstein
from dyninfer.transport.couplings import CoupledSamples, OTCoupling
from dyninfer.transport.interpolants import BrownianNoise, QuadraticNoise, SineNoise


class Size(NamedTuple):
    width: int
    depth: int
    batch: int
    steps: int
    samples: int  # to learn from, of every snapshot
    paths: int  # to simulate, and to compare with
    grid: int  # steps of a stochastic simulation
    seeds: int = 1


SIZES = {
    "checkerboard": {
        "small": Size(128, 3, 512, 6000, 20_000, 3000, 100),
        "paper": Size(512, 4, 2000, 7000, 300_000, 50_000, 400),
    },
    "mixtures": {
        "small": Size(256, 3, 256, 4000, 20_000, 2000, 100),
        "paper": Size(512, 4, 2000, 20_000, 300_000, 50_000, 1000),
    },
    "vortex": {
        "small": Size(64, 3, 512, 3000, 1000, 1000, 100, seeds=3),
        "paper": Size(128, 3, 512, 6000, 3000, 3000, 100, seeds=5),
    },
}
SMALLEST = Size(8, 2, 16, 3, 40, 40, 4)
Table = tuple[list[str], Iterator[list[str]]]


def fit(
    data: di.Snapshots, size: Size, seed: int, **settings
) -> tuple[di.StochasticInterpolant, float]:
    """Fitted model and CPU seconds."""
    training = di.Training(
        max_steps=size.steps,
        batch_size=size.batch,
        validation_fraction=0.0,
        patience=None,
        learning_rate=2e-3,
    )
    model = di.StochasticInterpolant(
        width=size.width, depth=size.depth, training=training, **settings
    )
    began = time.process_time()
    model.fit(data, seed=seed, progress=False)
    return model, time.process_time() - began


def arrive(
    model: di.StochasticInterpolant, start: Tensor, epsilon: float, grid: int, seed: int
) -> Tensor:
    # A flow without noise has its own default, which needs no grid.
    solver = di.solvers.SRA1(dt=1 / grid) if epsilon else None
    run = model.simulate(start, [0.0, 1.0], noise=epsilon, solver=solver, seed=seed)
    return run.states[:, -1]


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Checkerboard. Expected: every fit puts far more than half of its samples (what noise would) on black squares; among the
# deterministic flows, γ = √(t(1 − t)) does so best; ε = 0.5 and 1 improve on the flow for every γ, ε = 2.5 needs finer steps.

NOISES = {
    "none": "none",
    "√(t(1−t))": BrownianNoise(a=1.0),
    "t(1−t)": QuadraticNoise(a=1.0),
    "sin²(πt)": SineNoise(a=1.0),
}


def board(n: int, seed: int) -> Tensor:
    """Uniform on the eight black squares, of side 2, of a board over [−4, 4]²."""
    g = torch.Generator().manual_seed(seed)
    row, pair = torch.randint(4, (n,), generator=g), torch.randint(2, (n,), generator=g)
    corner = torch.stack([row, 2 * pair + row % 2], 1)
    return 2 * (corner + torch.rand(n, 2, generator=g)) - 4


def on_black(x: Tensor) -> float:
    square = ((x + 4) / 2).floor()
    return float(
        ((square.sum(1) % 2 == 0) & (square >= 0).all(1) & (square < 4).all(1)).double().mean()
    )


def checkerboard(size: Size, seed: int) -> Table:
    data = di.Snapshots(
        times=[0, 1], samples=[normal((size.samples, 2), seed), board(size.samples, seed + 1)]
    )
    start, truth = normal((size.paths, 2), seed + 2), board(size.paths, seed + 3)

    def row(name: str, epsilon: str, x: Tensor, spent: str) -> list[str]:
        distances = sliced_wasserstein(x, truth, p=2), energy_distance(x, truth)
        return [name, epsilon, f"{on_black(x):.3f}", *(f"{v:.4f}" for v in distances), spent]

    def rows() -> Iterator[list[str]]:
        yield row("floor (two fresh samples)", "", board(size.paths, seed + 4), "")
        yield row("start, unmoved", "", start, "")
        for name, gamma in NOISES.items():
            model, spent = fit(data, size, seed, gamma=gamma, coupling="independent")
            for epsilon in (0.0,) if gamma == "none" else (0.0, 0.5, 1.0, 2.5):
                x = arrive(model, start, epsilon, size.grid, seed)
                yield row(name, f"{epsilon:g}", x, f"{spent:.0f}")
            if gamma != "none":
                x = arrive(model, start, 2.5, 4 * size.grid, seed)
                yield row(name, f"2.5, {4 * size.grid} steps", x, f"{spent:.0f}")

    return [
        "γ",
        "ε",
        "on black squares",
        "sliced W2",
        "energy distance",
        "CPU-s of the fit",
    ], rows()


# Gaussian mixtures in 128 dimensions. Expected: the divergence is least at an ε > 0, and there well below that of the
# deterministic flow; the denoiser does no worse than the score; mode weights are near 0.2 for all.
# (A first run of 1,500 steps showed none of this: the score had hardly been learned. Hence the errors of the fields in the table.)


@dataclass(frozen=True)
class Mixture:
    """Five Gaussians of equal weight: means from N(0, 7.5² I), covariances ``WᵀW/d + I`` with W standard normal."""

    means: Tensor  # (k, d)
    covariances: Tensor  # (k, d, d)

    @classmethod
    def random(cls, d: int, seed: int, k: int = 5) -> Mixture:
        w = normal((k, d, d), seed + 1).double()
        return cls(7.5 * normal((k, d), seed).double(), w.mT @ w / d + torch.eye(d))

    def sample(self, n: int, seed: int) -> Tensor:
        mode = torch.randint(len(self.means), (n,), generator=torch.Generator().manual_seed(seed))
        z, root = (
            normal((n, self.means.shape[1]), seed + 1).double(),
            torch.linalg.cholesky(self.covariances),
        )
        return (self.means[mode] + torch.einsum("nij,nj->ni", root[mode], z)).float()

    def modes(self, x: Tensor) -> Tensor:
        """Most probable component of every point."""
        roots = torch.linalg.cholesky(self.covariances)
        y = torch.linalg.solve_triangular(roots, (x.double() - self.means[:, None]).mT, upper=False)
        return (
            0.5 * y.square().sum(1) + roots.diagonal(dim1=1, dim2=2).log().sum(1)[:, None]
        ).argmin(0)

    def divergence(self, x: Tensor) -> tuple[float, Tensor]:
        """Kullback-Leibler divergence of samples from this in two coordinates, mean over pairs of them, and mode weights.

        The modes do not overlap, so it is that of their weights and that within each, where moments are compared as
        those of Gaussians. (The paper smooths with Scott's kernel, which is wider than a mode, and looks at one pair.)
        """
        mode, k = self.modes(x), len(self.means)
        weights = torch.bincount(mode, minlength=k).double() / len(x)
        total = float(torch.xlogy(weights, weights * k).sum())
        for j in range(k):
            y = x[mode == j].double() - self.means[j]
            if len(y) > 2:
                total += float(weights[j]) * _pairwise_kl(y.mean(0), y.T.cov(), self.covariances[j])
        return total, weights


def _pairwise_kl(mean: Tensor, found: Tensor, true: Tensor) -> float:
    """Mean over the pairs (0, 1), (2, 3), … of ``KL(N(mean, found) ‖ N(0, true))``."""
    first = torch.arange(0, len(mean), 2)
    index = torch.stack([first, first + 1], 1)
    a, b = (c[index[:, :, None], index[:, None, :]] for c in (found, true))
    m, ratio = mean[index], torch.linalg.solve(b, a)
    far = (m * torch.linalg.solve(b, m)).sum(1)
    trace = ratio.diagonal(dim1=1, dim2=2).sum(1)
    return float((0.5 * (trace - 2 - torch.logdet(ratio) + far)).mean())


def field_errors(model: di.StochasticInterpolant, first: Mixture, last: Mixture, seed: int) -> str:
    """Relative squared errors of velocity and score, mean over three times, for ``(1 − t) x_0 + t x_1 + √(t (1 − t)) z``."""
    errors = []
    for t in (0.25, 0.5, 0.75):
        x = (1 - t) * first.sample(500, seed) + t * last.sample(500, seed + 2)
        x = x + math.sqrt(t * (1 - t)) * normal(x.shape, seed + 4)
        means = ((1 - t) * first.means[:, None] + t * last.means).flatten(0, 1)
        slopes = (last.means - first.means[:, None]).flatten(0, 1)
        a, b, one = (
            first.covariances[:, None],
            last.covariances[None],
            torch.eye(x.shape[1]).double(),
        )
        covariances = ((1 - t) ** 2 * a + t**2 * b + t * (1 - t) * one).flatten(0, 1)
        halves = (-(1 - t) * a + t * b + (0.5 - t) * one).flatten(
            0, 1
        )  # half of their derivatives in time
        pair = Mixture(means, covariances).modes(
            x
        )  # the modes stay apart: one pair is all but certain
        score = -torch.linalg.solve(covariances[pair], x - means[pair])
        velocity = slopes[pair] - torch.einsum("nij,nj->ni", halves[pair], score)
        found, _, learned = model.process_.drift_growth_and_score(t, x)
        pairs = ((found, velocity), (learned, score))
        errors.append([float((v - true).square().sum() / true.square().sum()) for v, true in pairs])
    return ", ".join(f"{v:.3f}" for v in np.mean(errors, 0))


def mixtures(size: Size, seed: int, d: int) -> Table:
    first, last = Mixture.random(d, seed + 100), Mixture.random(d, seed + 200)
    data = di.Snapshots(times=[0, 1], samples=[m.sample(size.samples, seed) for m in (first, last)])
    start, truth = first.sample(size.paths, seed + 10), last.sample(size.paths, seed + 20)

    def row(name: str, epsilon: str, x: Tensor, *of_fit: str) -> list[str]:
        kl, weights = last.divergence(x)
        shares = ", ".join(f"{w:.2f}" for w in weights)
        distances = sliced_wasserstein(x, truth, p=2), energy_distance(x, truth)
        return [name, epsilon, f"{kl:.4f}", *(f"{v:.3f}" for v in distances), shares, *of_fit]

    def rows() -> Iterator[list[str]]:
        yield row("floor (two fresh samples)", "", last.sample(size.paths, seed + 30), "", "")
        for second in ("score", "denoiser"):
            model, spent = fit(
                data, size, seed, gamma=BrownianNoise(a=1.0), coupling="independent", second=second
            )
            of_fit = field_errors(model, first, last, seed + 40), f"{spent:.0f}"
            for epsilon in (0.0, 0.5, 1.0, 2.5, 5.0):
                x = arrive(model, start, epsilon, size.grid, seed)
                yield row(second, f"{epsilon:g}", x, *of_fit)

    return [
        "learned",
        "ε",
        "KL in two coordinates",
        "sliced W2",
        "energy distance",
        "mode weights",
        "error of b, s",
        "CPU-s of the fit",
    ], rows()


# Vortex. Cells circle the origin, the inner ones faster, through a tenth of a turn (36°) between snapshots. Expected: chords cut the
# circle by r (1 − cos 18°), 0.07 at r = 1.5, so that midway the piecewise interpolant's W1 is about that much above the floor, and its
# paths end up inside and behind; the spline is near the floor, worst in the outer intervals, where a natural spline is straight.

TIMES = np.linspace(0, 1, 11)
RADIUS = 1.5


def turned(x: Tensor, t: float) -> Tensor:
    """Where the flow has taken x: ``2π t · 2/(1 + r²/R²)`` radians round the origin, one turn at radius R."""
    angle = 2 * math.pi * t * 2 / (1 + x.square().sum(1) / RADIUS**2)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], 1)


def cells(n: int, seed: int) -> Tensor:
    """Before the flow: a blob beside the origin."""
    return torch.tensor([RADIUS, 0.0]) + 0.15 * normal((n, 2), seed)


def unlearned(
    model: di.StochasticInterpolant, data: di.Snapshots, times: np.ndarray, n: int, seed: int
) -> Iterator[Tensor]:
    """Points of the interpolant itself, between pairs or along chains such as it was learned from."""
    schedule, scaling = model.process_.inner.schedule, model.scaling_
    coupled = CoupledSamples(
        data,
        scaling,
        OTCoupling(),
        seed,
        torch.device("cpu"),
        torch.float32,
        chains=schedule.cardinal is not None,
    )
    for tau in scaling.times(times):
        moment = schedule.moment(torch.full((n,), float(tau)))
        knots = coupled.draw(moment.interval, torch.Generator().manual_seed(seed)).knots
        x = torch.bmm(moment.weights[:, None].float(), knots)[:, 0]
        yield scaling.user_states(x)


def vortex_errors(name: str, size: Size, seed: int) -> dict[str, float]:
    """W1 midway between snapshots, from the first snapshot and from the one before, and error of the paths."""
    samples = [turned(cells(size.samples, 1000 * seed + k), t) for k, t in enumerate(TIMES)]
    data = di.Snapshots(times=TIMES, samples=samples)
    model, spent = fit(data, size, seed, interpolant=name, gamma="none", coupling="ot")
    middle = (TIMES[1:] + TIMES[:-1]) / 2
    start = cells(size.paths, 1000 * seed + 50)
    run = model.simulate(start, np.concatenate([[0.0], middle])).states[:, 1:]
    true = torch.stack([turned(start, t) for t in middle], 1)
    fresh = [turned(cells(size.paths, 1000 * seed + 60 + k), t) for k, t in enumerate(middle)]
    again = [turned(cells(size.paths, 1000 * seed + 80 + k), t) for k, t in enumerate(middle)]
    short = [
        model.simulate(turned(start, a), [a, b]).states[:, 1]
        for a, b in zip(TIMES, middle, strict=False)
    ]
    bare = [
        wasserstein(x, y)
        for x, y in zip(unlearned(model, data, middle, size.paths, seed), fresh, strict=True)
    ]
    stepwise = [wasserstein(x, y) for x, y in zip(short, fresh, strict=True)]
    return {
        "W1 of the interpolant itself": float(np.mean(bare)),
        "W1 from the start": float(
            np.mean([wasserstein(run[:, k], y) for k, y in enumerate(fresh)])
        ),
        "W1 from the snapshot before": float(np.mean(stepwise)),
        "... in the first and last interval": float(np.mean([stepwise[0], stepwise[-1]])),
        "floor": float(np.mean([wasserstein(x, y) for x, y in zip(again, fresh, strict=True)])),
        "mean distance from the origin, less the true one": float(
            (run.norm(dim=2) - true.norm(dim=2)).mean()
        ),
        "path error (root mean square)": float((run - true).square().sum(2).mean().sqrt()),
        "CPU-s of the fit": spent,
    }


def vortex(size: Size, seed: int) -> Table:
    def rows() -> Iterator[list[str]]:
        for name in ("linear", "spline"):
            found = [vortex_errors(name, size, seed + k) for k in range(size.seeds)]
            for what in found[0]:
                values = [f[what] for f in found]
                yield [
                    {"linear": "piecewise"}.get(name, name),
                    what,
                    f"{np.mean(values):.4f}",
                    f"{np.std(values):.4f}",
                ]

    return ["interpolant", "what", "mean", "sd over seeds"], rows()


EXPERIMENTS = {"checkerboard": checkerboard, "mixtures": mixtures, "vortex": vortex}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="*", default=list(EXPERIMENTS), metavar="experiment")
    parser.add_argument("--size", choices=("small", "paper"), default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dimension", type=int, default=128, help="of the mixtures")
    parser.add_argument("--smallest", action="store_true", help="does it run? numbers mean nothing")
    options = parser.parse_args()
    unknown = set(options.experiments) - set(EXPERIMENTS)
    if unknown:
        parser.error(f"unknown experiments {sorted(unknown)}; choose from {', '.join(EXPERIMENTS)}")
    if options.smallest:
        options.dimension = 2
    for name in options.experiments:
        size = SMALLEST if options.smallest else SIZES[name][options.size]
        began = time.process_time()
        more = (options.dimension,) if name == "mixtures" else ()
        columns, rows = EXPERIMENTS[name](size, options.seed, *more)
        print(f"\n{name}: {size}, seed {options.seed}\n")
        print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
        for row in rows:
            print("| " + " | ".join(row) + " |", flush=True)
        print(f"\n{time.process_time() - began:.0f} CPU-s in all")


if __name__ == "__main__":
    main()
