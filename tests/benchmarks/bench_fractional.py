"""Speed of fractional noise beside fbm, stochastic and torchsde.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/bench_fractional.py [sampling] [training] [--rounds 5] [--smallest]

fbm 0.3.0 and stochastic 0.6.0 ask for old versions of NumPy and run with new ones: `pip install --no-deps --target
FOLDER fbm==0.3.0 stochastic==0.6.0`, with FOLDER in PYTHONPATH. What is not installed is left out.

Times are CPU seconds of one thread. Every round runs every variant once, in rotated order; a ratio is the median over
the rounds of the ratio within a round.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.timing import Job, Ratios, interleaved, parser_of

from dyninfer.fractional import FractionalBrownianMotion, MarkovApproximation
from dyninfer.fractional.controlled import run_controlled
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.solver import FractionalEuler

Variant = tuple[Job, float]  # what to run, and the share of the task that it does
DIM, WIDTH = 5, 32


@dataclass(frozen=True)
class Size:
    """How much is sampled, and how much a step of training is of."""

    n_paths: int = 1000
    n_times: int = 1000
    batch: int = 1024
    n_steps: int = 100
    rounds: int = 5


SMALLEST = Size(n_paths=50, n_times=20, batch=8, n_steps=5, rounds=1)


def report(
    title: str, variants: dict[str, Variant], bars: dict[str, float], size: Size, ratios: Ratios
) -> None:
    """Print a table of CPU seconds of the whole task, and whether what was promised is met."""
    seconds = interleaved({name: run for name, (run, _) in variants.items()}, size.rounds)
    times = {name: values / variants[name][1] for name, values in seconds.items()}
    print(f"\n{title}\n\n| variant | CPU s | times dyninfer's | bar |\n|---|---|---|---|")
    for name, values in times.items():
        ratio = np.median(values / times["dyninfer"])
        verdict = ""
        if name in bars:
            verdict = f"{bars[name]:g} {'met' if ratio >= bars[name] else 'MISSED'}"
        print(f"| {name} | {np.median(values):.4f} | {ratio:.2f} | {verdict} |")
        if name in bars:
            ratios.add(f"{title.split(',')[0]} / {name}", 1 / ratio)


def sampling(size: Size, ratios: Ratios) -> None:
    """Exact paths of fractional motion."""
    times = np.linspace(0, 1, size.n_times + 1)
    motion = FractionalBrownianMotion(0.7)
    n = size.n_paths
    variants: dict[str, Variant] = {
        "dyninfer": (lambda: motion.sample(times, n), 1.0),
        "dyninfer, float64": (lambda: motion.sample(times, n, dtype=torch.float64), 1.0),
    }
    if is_installed("fbm"):
        from fbm import FBM

        one = FBM(n=size.n_times, hurst=0.7, length=1, method="daviesharte")
        # It takes so long that a fiftieth of the paths must do.
        variants["fbm"] = (lambda: [one.fbm() for _ in range(n // 50)], 1 / 50)
    if is_installed("stochastic"):
        from stochastic.processes.continuous import FractionalBrownianMotion as Other

        other = Other(hurst=0.7, t=1)
        variants["stochastic"] = (lambda: [other.sample(size.n_times) for _ in range(n)], 1.0)
    title = f"{n} exact paths of {size.n_times} steps"
    report(title, variants, {"fbm": 60, "stochastic": 3}, size, ratios)


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(DIM + 1, WIDTH), nn.Tanh(), nn.Linear(WIDTH, DIM))


class Model(nn.Module):
    """Prior drift, control and amplitude; as torchsde wants it, prior and posterior drift and amplitude."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self) -> None:
        super().__init__()
        self.prior = perceptron()
        self.other = perceptron()
        self.scale = nn.Parameter(0.5 * torch.ones(DIM))

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


def training(size: Size, ratios: Ratios) -> None:
    """One step, forward and backward, of ``½ |x(1) − 1|² + KL(path)`` for Brownian noise."""
    x0 = torch.zeros(size.batch, DIM)
    model = Model()
    noise = MarkovApproximation(1)
    process = FractionalDiffusion(model.h, noise, 0.5, diffusion=model.scale)

    def ours() -> None:
        run = run_controlled(
            process,
            x0,
            [0.0, 1.0],
            control=lambda t, x, y: model.f(t, x),
            solver=FractionalEuler(1 / size.n_steps),
        )
        descend(model, (0.5 * (run.states[:, -1] - 1).square().sum(1) + run.energy).mean())

    variants: dict[str, Variant] = {"dyninfer": (ours, 1.0)}
    if is_installed("torchsde"):
        import torchsde

        other, times = Model(), torch.tensor([0.0, 1.0])

        def theirs(tuned: bool) -> None:
            shape = size.batch, DIM + 1  # logqp adds a coordinate, with noise of its own
            brownian = (
                torchsde.BrownianInterval(0.0, 1.0, size=shape, dt=1 / size.n_steps)
                if tuned
                else None
            )
            states, cost = torchsde.sdeint(
                other, x0, times, bm=brownian, method="euler", dt=1 / size.n_steps, logqp=True
            )
            descend(other, (0.5 * (states[-1] - 1).square().sum(1) + cost.sum(0)).mean())

        variants["torchsde"] = (lambda: theirs(False), 1.0)
        variants["torchsde, BrownianInterval(dt)"] = (lambda: theirs(True), 1.0)
    title = (
        f"Training step: {size.batch} paths, {size.n_steps} steps, {DIM} dimensions, "
        f"networks of width {WIDTH}"
    )
    bars = {"torchsde": 5.0, "torchsde, BrownianInterval(dt)": 1.0}
    report(title, variants, bars, size, ratios)


def is_installed(name: str) -> bool:
    """Whether a package is there; says so where it is not."""
    is_there = importlib.util.find_spec(name) is not None
    if not is_there:
        print(f"{name} is left out: it is not installed.")
    return is_there


PARTS = {"sampling": sampling, "training": training}


def main() -> None:
    parser = parser_of(__doc__, Size.rounds)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="part")
    arguments = parser.parse_args()
    size = SMALLEST if arguments.smallest else Size(rounds=arguments.rounds)
    ratios = Ratios("fractional")
    for part in arguments.parts:
        PARTS[part](size, ratios)
    ratios.write(arguments.json)


if __name__ == "__main__":
    main()
