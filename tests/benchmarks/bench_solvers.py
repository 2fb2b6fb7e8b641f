"""Solvers against bare network evaluations, torchdiffeq and torchsde: ratios of CPU time measured in one run.

    python tests/benchmarks/bench_solvers.py [--rounds 7] [--only adaptive] [--smallest]

One thread. A ratio is the median over the rounds (``median``), or that of the minima (``min/min``). Bars are the project's own; a ``ceiling`` is what a
solver that costs nothing beside the network would reach on this machine.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchdiffeq
import torchsde
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.timing import Job, Ratios, interleaved, parser_of, ratio

from dyninfer.diffusions import Diffusion
from dyninfer.simulation import simulate, solvers

Row = tuple[str, float, float, str]


def row(label: str, seconds: dict[str, np.ndarray], top: str, bottom: str, bar: str) -> Row:
    """One line of the table: time of ``top`` over time of ``bottom``."""
    least = float(seconds[top].min() / seconds[bottom].min())
    return label, ratio(seconds, top, bottom), least, bar


def mlp(d: int, width: int, depth: int, gain: float = 1.0) -> nn.Sequential:
    """Network ``d -> d`` with SiLU, frozen."""
    torch.manual_seed(0)
    sizes = [d] + [width] * depth + [d]
    layers: list[nn.Module] = []
    for a, b in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(a, b), nn.SiLU()]
        nn.init.normal_(layers[-2].weight, std=gain * a**-0.5)
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


def forwards(net: nn.Module, x: Tensor, count: int) -> Job:
    """``count`` bare evaluations."""

    def job() -> None:
        with torch.inference_mode():
            for _ in range(count):
                net(x)

    return job


@dataclass(frozen=True)
class Size:
    """How much is run: the network's width, paths, and rounds of every measurement."""

    width: int = 256
    small_width: int = 64
    paths: int = 1000
    rounds: int = 7


SMALLEST = Size(width=8, small_width=8, paths=20, rounds=1)


def bench_fixed(size: Size) -> list[Row]:
    """Fixed steps, network dominated: 3 x 256, dim 50."""
    return [*_fixed_flows(size), *_fixed_noise(size), *_few_paths(size)]


def _fixed_flows(size: Size) -> list[Row]:
    net = mlp(50, size.width, 3)
    flow = Diffusion(drift=lambda t, x: net(x))
    x, times = torch.randn(size.paths, 50), torch.linspace(0, 4, 41)
    run = partial(simulate, flow, x, times)
    jobs: dict[str, Job] = {
        "forwards": forwards(net, x, 160),
        "rk4": lambda: run(solver=solvers.RungeKutta4(dt=1.0)),
        "heun": lambda: run(solver=solvers.Heun(dt=0.05)),
        "torchdiffeq": lambda: run(solver=solvers.TorchDiffEq("rk4", dt=1.0)),
    }
    s = interleaved(jobs, size.rounds)
    return [
        row("ODE rk4, 1,000 paths / 160 forwards", s, "rk4", "forwards", "<= 1.10"),
        row("ODE heun, 1,000 paths / 160 forwards", s, "heun", "forwards", "<= 1.10"),
        row("ODE rk4 / torchdiffeq rk4", s, "rk4", "torchdiffeq", "<= 1.0"),
    ]


def _fixed_noise(size: Size) -> list[Row]:
    net = mlp(50, size.width, 3)
    noisy = Diffusion(drift=lambda t, x: net(x), diffusion=0.3)
    x, times = torch.randn(size.paths // 2, 50), torch.linspace(0, 4, 41)
    run = partial(simulate, noisy, x, times)
    jobs: dict[str, Job] = {
        "forwards": forwards(net, x, 400),
        "em": lambda: run(solver=solvers.EulerMaruyama(dt=0.01)),
        # Two evaluations a step, so that all make as many.
        "heun": lambda: run(solver=solvers.Heun(dt=0.02)),
        "sra1": lambda: run(solver=solvers.SRA1(dt=0.02)),
    }
    s = interleaved(jobs, size.rounds)
    return [
        row("SDE Euler-Maruyama, 500 paths / 400 forwards", s, "em", "forwards", "<= 1.10"),
        row("SDE heun, 500 paths / 400 forwards", s, "heun", "forwards", "<= 1.10"),
        row("SDE sra1, 500 paths / 400 forwards", s, "sra1", "forwards", "<= 1.10"),
    ]


def _few_paths(size: Size) -> list[Row]:
    net = mlp(50, size.width, 3)
    noisy = Diffusion(drift=lambda t, x: net(x), diffusion=0.3)
    x = torch.randn(size.paths // 20, 50)
    ours = solvers.EulerMaruyama(dt=0.01)
    jobs: dict[str, Job] = {
        "forwards": forwards(net, x, 400),
        "em": lambda: simulate(noisy, x, [0.0, 4.0], solver=ours),
        "default": torchsde_job(net, x, 4.0, 0.01, "euler", tuned=False),
        "tuned": torchsde_job(net, x, 4.0, 0.01, "euler", tuned=True),
    }
    s = interleaved(jobs, size.rounds)
    return [
        row("SDE Euler-Maruyama, 50 paths / 400 forwards", s, "em", "forwards", ""),
        row("torchsde euler default / ours, 50 paths", s, "default", "em", ">= 4.5"),
        row("torchsde euler tuned / ours, 50 paths", s, "tuned", "em", ">= 2.7"),
        row("  ceiling: torchsde euler default / forwards", s, "default", "forwards", ""),
    ]


def bench_small(size: Size) -> list[Row]:
    """Small network: 1,024 paths x 100 steps x dim 5, 2 x 64."""
    net = mlp(5, size.small_width, 2)
    noisy = Diffusion(drift=lambda t, x: net(x), diffusion=0.3)
    x = torch.randn(size.paths + 24, 5)
    run = partial(simulate, noisy, x, [0.0, 1.0])
    jobs: dict[str, Job] = {
        "forwards": forwards(net, x, 100),
        "em": lambda: run(solver=solvers.EulerMaruyama(dt=0.01)),
        "sra1": lambda: run(solver=solvers.SRA1(dt=0.01)),
        "euler": torchsde_job(net, x, 1.0, 0.01, "euler", tuned=False),
        "tuned": torchsde_job(net, x, 1.0, 0.01, "euler", tuned=True),
        "default": torchsde_job(net, x, 1.0, 0.01, None, tuned=False),
    }
    s = interleaved(jobs, size.rounds)
    return [
        row("small EM / 100 forwards", s, "em", "forwards", ""),
        row("torchsde default (srk) / our sra1, small", s, "default", "sra1", ">= 10"),
        row("torchsde default (srk) / our EM, small", s, "default", "em", ">= 10"),
        row("torchsde euler, default noise / our EM, small", s, "euler", "em", ">= 10"),
        row("torchsde euler tuned / our EM, small", s, "tuned", "em", ">= 2"),
        row("  ceiling: torchsde euler tuned / forwards", s, "tuned", "forwards", ""),
    ]


def bench_adaptive(size: Size) -> list[Row]:
    """One step per path against one step for all, at equal worst error."""
    return [*_adaptive(size, 1.0, "alike"), *_adaptive(size, 8.0, "1:8")]


def _adaptive(size: Size, spread: float, label: str) -> list[Row]:
    """Paths move at rates between ``1 / spread`` and 1.

    ``alike`` leaves what the network makes of them.
    """
    n, d = size.paths, 50
    net, precise = mlp(d, size.width, 3, gain=1.4), mlp(d, size.width, 3, gain=1.4).double()
    rates = torch.ones(n)
    if spread > 1:
        rates = torch.logspace(-1, 0, n, base=spread)
    count = {"rows": 0}

    def field(network: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        def drift(t: Tensor, x: Tensor) -> Tensor:
            # The last column holds a path's rate, and stays.
            count["rows"] += len(x)
            return 2 * x[:, -1:] * torch.nn.functional.pad(network(x[:, :-1]), (0, 1))

        return drift

    flow = Diffusion(drift=field(net))
    start = torch.randn(n, d) * torch.linspace(0.1, 2.0, n)[torch.randperm(n), None]
    x = torch.cat([start, rates[:, None]], dim=1)
    times = torch.linspace(0, 4, 41)
    fine = solvers.Tsit5(rtol=1e-8, atol=1e-9)
    truth = Diffusion(drift=field(precise))
    exact = simulate(truth, x[::10].double(), times, solver=fine).states

    def run(rows: Tensor, solver: solvers.Solver | None = None) -> tuple[float, int]:
        """Worst relative error, and rows evaluated."""
        count["rows"] = 0
        states = simulate(flow, rows, times, solver=solver).states
        n_evaluated = count["rows"] - 2  # the check of the fields before the run
        reference = exact[: len(states)]
        some = states[:: max(1, len(rows) // len(exact))][: len(reference)]
        gap = (some.double() - reference).norm(dim=2).amax(1)
        return (gap / reference.norm(dim=2).amax(1)).max().item(), n_evaluated

    ours, together = run(x)
    alone = sum(run(one)[1] for one in x[::20].split(1))
    shared_subset = run(x[::20])[1]
    for exponent in range(12, 25):
        rtol = 10 ** (-exponent / 4)
        theirs, rows = run(x, solvers.TorchDiffEq("dopri5", rtol=rtol, atol=rtol / 10))
        if theirs <= ours:
            break
    print(
        f"{label}: tsit5 rtol 1e-4, worst error {ours:.1e}, {together / n:.0f} rows per path; "
        f"dopri5 rtol {rtol:.0e}, worst error {theirs:.1e}, {rows / n:.0f} rows per path"
    )

    def shared(rtol: float) -> Job:
        def job() -> None:
            with torch.no_grad():
                torchdiffeq.odeint(flow.drift, x, times, rtol=rtol, atol=rtol / 10, method="dopri5")

        return job

    jobs: dict[str, Job] = {
        "tsit5": lambda: simulate(flow, x, times),
        "equal": shared(rtol),
        "same": shared(1e-4),
    }
    s = interleaved(jobs, size.rounds)
    waste = shared_subset / alone
    return [
        (f"rows evaluated / sum of the paths' own needs ({label})", waste, waste, "<= 1.15"),
        row(f"tsit5 / dopri5 at equal worst error ({label})", s, "tsit5", "equal", "<= 0.75"),
        row(f"tsit5 / dopri5 at equal tolerance ({label})", s, "tsit5", "same", ""),
    ]


def torchsde_job(
    net: nn.Module, x: Tensor, end: float, dt: float, method: str | None, tuned: bool
) -> Job:
    """torchsde as called by default, or with a Brownian motion that knows the step."""

    class SDE(nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t: Tensor, y: Tensor) -> Tensor:
            return net(y)

        def g(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.full_like(y, 0.3)

    sde, ts = SDE(), torch.tensor([0.0, end])

    def job() -> None:
        bm = (
            torchsde.BrownianInterval(0.0, end, size=tuple(x.shape), entropy=0, dt=dt)
            if tuned
            else None
        )
        with torch.no_grad():
            torchsde.sdeint(sde, x, ts, bm=bm, method=method, dt=dt)

    return job


def main() -> None:
    """Measure and print one table."""
    groups = {"fixed": bench_fixed, "small": bench_small, "adaptive": bench_adaptive}
    parser = parser_of(__doc__, Size.rounds)
    parser.add_argument("--only", choices=groups, help="one group of measurements")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    size = SMALLEST if arguments.smallest else Size(rounds=arguments.rounds)
    rows: list[Row] = []
    for name, group in groups.items():
        if arguments.only in (None, name):
            rows += group(size)
    print(f"\n{'ratio of CPU time':<52}{'median':>8}{'min/min':>9}  bar")
    ratios = Ratios("solvers")
    for label, median, low, bar in rows:
        print(f"{label:<52}{median:8.2f}{low:9.2f}  {bar}")
        if "ceiling" in label:
            continue
        # Rows with a lower bar are of others over ours.
        is_inverse = bar.startswith(">=")
        ratios.add(
            f"{label}, inverse" if is_inverse else label, 1 / median if is_inverse else median
        )
    ratios.write(arguments.json)


if __name__ == "__main__":
    main()
