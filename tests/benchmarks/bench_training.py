"""One training step of Action Matching against the matrix products that any exact gradient of it needs.

The floor is the products alone, forward, reverse and their parameter gradients: 6 forwards' worth for the
interior batch and 3 for each of the two boundary batches, and one fused Adam step. Everything else is
overhead: drawing the batch, activations, clipping, averaging the weights. The step measured is the training
loop's own, whole. A second table has the steps of methods with noise, which learn a score as well, against the
plain step of the same method.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_training.py [--compile] [--smallest]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.timing import Ratios, interleaved, parser_of, ratio

import dyninfer as di
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.training import TrainingRun

# Batch, features, width.
SIZES = ((512, 50, 512), (512, 5, 512), (512, 5, 128), (256, 5, 64))
HEAD = "| step | eager / floor | compiled / floor | eager, least CPU ms | floor, CPU ms | launches eager |"
VIEWS = {
    "view",
    "t",
    "expand",
    "slice",
    "select",
    "unsqueeze",
    "detach",
    "transpose",
    "as_strided",
    "alias",
    "split",
    "squeeze",
    "permute",
    "_unsafe_view",
    "chunk",
    "_reshape_alias",
}

Step = Callable[[], object]


class Launches(TorchDispatchMode):
    """Count the operations that would start a kernel on a GPU."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name not in VIEWS:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def training_step(
    batch: int, d: int, width: int, objective: str, *, compiled: bool = False, sigma: float = 0.0
) -> Step:
    model = di.ActionMatching(
        width=width,
        depth=3,
        objective=objective,
        coupling="independent",
        time_sampling="uniform",
        sigma=sigma,
    )
    return step_of(model, batch, d, compiled=compiled)


def bridge_step(batch: int, d: int, width: int, sigma: float) -> Step:
    lagrangian = di.SchrodingerBridge(sigma) if sigma else di.OptimalTransport()
    model = di.WassersteinLagrangianFlow(
        lagrangian=lagrangian, width=width, depth=3, coupling="independent", curve_fraction=0.0
    )
    return step_of(model, batch, d)


def step_of(
    model: di.estimators.SnapshotEstimator, batch: int, d: int, *, compiled: bool = False
) -> Step:
    rng = np.random.default_rng(0)
    data = di.Snapshots(times=[0, 1, 2], samples=[rng.normal(k, 1, (2000, d)) for k in range(3)])
    model.training_ = di.Training(batch_size=batch)
    scaling = Scaling.from_samples(data.times, list(data.samples))
    model.facts_ = model.facts(data)
    process = model.build(data, scaling).float()
    run = TrainingRun(process, model.make_objective(process, data, scaling, 0), model.training_)
    loss = torch.compile(run.objective.loss) if compiled else run.objective.loss
    return lambda: run.update(loss)


def floor(batch: int, d: int, width: int, boundary: bool) -> Step:
    sizes = [1 + d, width, width, width, 1]
    layers = list(zip(sizes, sizes[1:], strict=False))
    weights = [torch.randn(a, b) for a, b in layers]
    rows = {n: {size: torch.randn(n, size) for size in set(sizes)} for n in (batch, 2 * batch)}
    parameters = [torch.randn_like(w).requires_grad_() for w in weights]
    for p in parameters:
        p.grad = torch.randn_like(p)
    adam = torch.optim.AdamW(parameters, lr=1e-9, fused=True)
    sweeps = [batch, batch, 2 * batch] if boundary else [batch, batch]

    def step():
        for n in sweeps:
            for (a, b), w in zip(layers, weights, strict=True):
                torch.mm(rows[n][a], w)
                torch.mm(rows[n][b], w.T)
                torch.mm(rows[n][a].T, rows[n][b])
        adam.step()

    return step


def launches(step: Step) -> int:
    with Launches() as counter:
        step()
    return sum(counter.counts.values())


def row(
    size: tuple[int, int, int], objective: str, options: argparse.Namespace, ratios: Ratios
) -> str:
    batch, d, width = size
    steps = {"eager": training_step(*size, objective)}
    if options.compile:
        steps["compiled"] = training_step(*size, objective, compiled=True)
    steps["floor"] = floor(*size, objective == "boundary")
    repeat = 1 if options.smallest else max(2, 4_000_000 // (batch * width * 16))
    seconds = interleaved(steps, options.rounds, repeat)
    title = f"{objective}, batch {batch}, {d} features, width {width}"
    over_floor = {"compiled": "-"}
    for name in steps.keys() - {"floor"}:
        against = ratios.add(f"{title}, {name} / floor", ratio(seconds, name, "floor"))
        over_floor[name] = f"{against:.2f}"
    cells = [
        title,
        over_floor["eager"],
        over_floor["compiled"],
        f"{1e3 * seconds['eager'].min():.2f}",
        f"{1e3 * np.median(seconds['floor']):.2f}",
        str(launches(steps["eager"])),
    ]
    return f"| {' | '.join(cells)} |"


def noisy_row(
    size: tuple[int, int, int], name: str, options: argparse.Namespace, ratios: Ratios
) -> str:
    """Steps with noise and a score against plain ones."""
    batch, d, width = size
    steps: dict[str, Step] = {}
    for kind, sigma in (("plain", 0.0), ("noisy", 0.5)):
        if name == "bridge":
            steps[kind] = bridge_step(*size, sigma)
        else:
            steps[kind] = training_step(*size, name, sigma=sigma)
    repeat = 1 if options.smallest else max(2, 4_000_000 // (batch * width * 16))
    seconds = interleaved(steps, options.rounds, repeat)
    title = f"{name}, batch {batch}, {d} features, width {width}"
    against = ratios.add(f"{title}, noisy / plain", ratio(seconds, "noisy", "plain"))
    return f"| {title} | {against:.2f} |"


def main() -> None:
    parser = parser_of(__doc__, 7)
    parser.add_argument("--compile", action="store_true", help="measure the compiled step as well")
    options = parser.parse_args()
    sizes = SIZES
    if options.smallest:
        sizes, options.rounds = SIZES[-1:], 1
    ratios = Ratios("training")
    print(HEAD)
    print("|---" * 6 + "|")
    for size in sizes:
        for objective in ("boundary", "velocity"):
            print(row(size, objective, options, ratios), flush=True)
    print("\n| step with noise and score | / plain |\n|---|---|")
    for size in sizes:
        for name in ("velocity", "boundary", "bridge"):
            print(noisy_row(size, name, options, ratios), flush=True)
    ratios.write(options.json)


if __name__ == "__main__":
    main()
