"""One training step of Action Matching against the matrix products that any exact gradient of it needs.

The floor is the products alone, forward, reverse and their parameter gradients: 6 forwards' worth for the interior
batch and 3 for each of the two boundary batches, and one fused Adam step. Everything else is overhead: drawing the
batch, activations, clipping, averaging the weights. The step measured is the training loop's own, whole.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_training.py [--compile]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import dyninfer as di
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.training import _Run

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


def training_run(batch: int, d: int, width: int, objective: str, compiled: bool) -> _Run:
    rng = np.random.default_rng(0)
    data = di.Snapshots(times=[0, 1, 2], samples=[rng.normal(k, 1, (2000, d)) for k in range(3)])
    model = di.ActionMatching(
        width=width, depth=3, objective=objective, coupling="independent", time_sampling="uniform"
    )
    model.training_ = di.Training(batch_size=batch, compile=compiled)
    scaling = Scaling.from_samples(data.times, list(data.samples))
    process = model.build(data, scaling).float()
    return _Run(
        process,
        model.make_objective(process, data, scaling, 0),
        model.training_,
        0,
        None,
        False,
        {},
    )


def floor(batch: int, d: int, width: int, boundary: bool):
    sizes = [1 + d, width, width, width, 1]
    weights = [torch.randn(a, b) for a, b in zip(sizes, sizes[1:], strict=False)]
    rows = {n: {s: torch.randn(n, s) for s in set(sizes)} for n in (batch, 2 * batch)}
    parameters = [torch.randn_like(w).requires_grad_() for w in weights]
    for p in parameters:
        p.grad = torch.randn_like(p)
    adam = torch.optim.AdamW(parameters, lr=1e-9, fused=True)

    def step():
        for n, sweeps in ((batch, 2), (2 * batch, 1))[: 2 if boundary else 1]:
            for _ in range(sweeps):
                for a, b, w in zip(sizes, sizes[1:], weights, strict=False):
                    torch.mm(rows[n][a], w)
                    torch.mm(rows[n][b], w.T)
                    torch.mm(rows[n][a].T, rows[n][b])
        adam.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compile", action="store_true", help="measure the compiled step as well")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| step | eager / floor | compiled / floor | floor, CPU ms | launches eager |\n|---|---|---|---|---|"
    )
    for batch, d, width in ((512, 50, 512), (512, 5, 512), (512, 5, 128), (256, 5, 64)):
        for objective in ("boundary", "velocity"):
            runs = {"eager": training_run(batch, d, width, objective, False)}
            if options.compile:
                runs["compiled"] = training_run(batch, d, width, objective, True)
            repeat = max(2, 4_000_000 // (batch * width * 16))
            steps = {"floor": floor(batch, d, width, objective == "boundary")}
            for name, run in runs.items():
                loss = (
                    torch.compile(run.objective.loss) if name == "compiled" else run.objective.loss
                )
                steps[name] = lambda run=run, loss=loss: run._update(loss)
            spent = {name: [] for name in steps}
            for name in steps:
                steps[name]()
            for _ in range(options.rounds):
                for name, step in steps.items():
                    began = time.process_time()
                    for _ in range(repeat):
                        step()
                    spent[name].append((time.process_time() - began) / repeat * 1e3)
            ratio = {
                name: statistics.median(
                    a / b for a, b in zip(spent[name], spent["floor"], strict=True)
                )
                for name in runs
            }
            with Launches() as launches:
                runs["eager"]._update(runs["eager"].objective.loss)
            print(
                f"| {objective}, batch {batch}, {d} features, width {width} | {ratio['eager']:.2f} | "
                f"{ratio.get('compiled', float('nan')):.2f} | {statistics.median(spent['floor']):.1f} | {sum(launches.counts.values())} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
