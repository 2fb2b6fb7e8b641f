"""Speed of fractional noise beside fbm, stochastic and torchsde.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/bench_fractional.py [sampling] [training] [--rounds 5]

fbm 0.3.0 and stochastic 0.6.0 ask for old versions of NumPy and run with new ones: `pip install --no-deps --target
FOLDER fbm==0.3.0 stochastic==0.6.0`, with FOLDER in PYTHONPATH. What is not installed is left out.

Times are CPU seconds of one thread. Every round runs every variant once, in rotated order; a ratio is the median over
the rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from dyninfer.fractional import FractionalBrownianMotion, MarkovApproximation
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.simulation import solve_fractional

torch.set_num_threads(1)

Variant = tuple[Callable[[], object], float]  # what to run, and the share of the task that it does
PATHS, STEPS = 1000, 1000
BATCH, DIM, WIDTH, N_STEPS = 1024, 5, 32, 100


def interleaved(variants: dict[str, Variant], rounds: int) -> dict[str, np.ndarray]:
    """CPU seconds ``(rounds,)`` of the whole task by each variant."""
    names, times = list(variants), {name: [] for name in variants}
    for run, _ in variants.values():
        run()
    for k in range(rounds):
        for name in names[k % len(names) :] + names[: k % len(names)]:
            run, share = variants[name]
            start = time.process_time()
            run()
            times[name].append((time.process_time() - start) / share)
    return {name: np.array(values) for name, values in times.items()}


def report(title: str, variants: dict[str, Variant], bars: dict[str, float], rounds: int) -> None:
    times = interleaved(variants, rounds)
    print(f"\n{title}\n\n| variant | CPU s | times dyninfer's | bar |\n|---|---|---|---|")
    for name, values in times.items():
        ratio, bar = np.median(values / times["dyninfer"]), bars.get(name)
        verdict = "" if bar is None else f"{bar:g} {'met' if ratio >= bar else 'MISSED'}"
        print(f"| {name} | {np.median(values):.4f} | {ratio:.2f} | {verdict} |")


def sampling(rounds: int) -> None:
    times = np.linspace(0, 1, STEPS + 1)
    motion = FractionalBrownianMotion(0.7)
    variants: dict[str, Variant] = {
        "dyninfer": (lambda: motion.sample(times, PATHS), 1.0),
        "dyninfer, float64": (lambda: motion.sample(times, PATHS, dtype=torch.float64), 1.0),
    }
    if installed("fbm"):
        from fbm import FBM

        one = FBM(n=STEPS, hurst=0.7, length=1, method="daviesharte")
        variants["fbm"] = (lambda: [one.fbm() for _ in range(PATHS // 50)], 1 / 50)
    if installed("stochastic"):
        from stochastic.processes.continuous import FractionalBrownianMotion as Other

        other = Other(hurst=0.7, t=1)
        variants["stochastic"] = (lambda: [other.sample(STEPS) for _ in range(PATHS)], 1.0)
    title = f"{PATHS} exact paths of {STEPS} steps"
    report(title, variants, {"fbm": 60, "stochastic": 3}, rounds)


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(DIM + 1, WIDTH), nn.Tanh(), nn.Linear(WIDTH, DIM))


class Model(nn.Module):
    """Prior drift, control and amplitude; as torchsde wants it, prior and posterior drift and amplitude."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self) -> None:
        super().__init__()
        self.prior, self.other, self.scale = (
            perceptron(),
            perceptron(),
            nn.Parameter(0.5 * torch.ones(DIM)),
        )

    @staticmethod
    def apply_to(net: nn.Module, t: Tensor, x: Tensor) -> Tensor:
        return net(torch.cat([x, t.expand(len(x))[:, None]], dim=1))

    def h(self, t: Tensor, x: Tensor) -> Tensor:
        return self.apply_to(self.prior, t, x)

    def f(self, t: Tensor, x: Tensor) -> Tensor:
        return self.apply_to(self.other, t, x)

    def g(self, t: Tensor, x: Tensor) -> Tensor:
        return self.scale.expand_as(x)


def descend(model: Model, loss: Tensor) -> None:
    model.zero_grad()
    loss.backward()


def training(rounds: int) -> None:
    """One step, forward and backward, of ``½ |x(1) − 1|² + KL(path)`` for Brownian noise."""
    x0 = torch.zeros(BATCH, DIM)
    model = Model()
    noise = MarkovApproximation(1)
    process = FractionalDiffusion(model.h, noise, 0.5, diffusion=model.scale)

    def ours() -> None:
        run = solve_fractional(
            process, x0, [0.0, 1.0], control=lambda t, x, y: model.f(t, x), dt=1 / N_STEPS
        )
        descend(model, (0.5 * (run.states[:, -1] - 1).square().sum(1) + run.energy).mean())

    variants: dict[str, Variant] = {"dyninfer": (ours, 1.0)}
    if installed("torchsde"):
        import torchsde

        other, times = Model(), torch.tensor([0.0, 1.0])

        def theirs(tuned: bool) -> None:
            size = BATCH, DIM + 1  # logqp adds a coordinate, with noise of its own
            brownian = (
                torchsde.BrownianInterval(0.0, 1.0, size=size, dt=1 / N_STEPS) if tuned else None
            )
            states, cost = torchsde.sdeint(
                other, x0, times, bm=brownian, method="euler", dt=1 / N_STEPS, logqp=True
            )
            descend(other, (0.5 * (states[-1] - 1).square().sum(1) + cost.sum(0)).mean())

        variants["torchsde"] = (lambda: theirs(False), 1.0)
        variants["torchsde, BrownianInterval(dt)"] = (lambda: theirs(True), 1.0)
    title = f"Training step: {BATCH} paths, {N_STEPS} steps, {DIM} dimensions, networks of width {WIDTH}"
    report(title, variants, {"torchsde": 5, "torchsde, BrownianInterval(dt)": 1}, rounds)


def installed(name: str) -> bool:
    found = importlib.util.find_spec(name) is not None
    if not found:
        print(f"{name} is left out: it is not installed.")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=["sampling", "training"])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for part in parser.parse_args().parts:
        {"sampling": sampling, "training": training}[part](rounds)
