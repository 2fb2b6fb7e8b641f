"""Training steps of stochastic interpolants per CPU-second, beside those of torchcfm on the same data.

Both train three hidden layers of 64 units on the same pairs of neighbours, `--batch` couples of every
interval a step. torchcfm solves an exact plan for every interval of every step, as its examples do;
here plans over blocks of 2048 are solved once, before the first step, and the last column spreads
that over 3,000 steps. Rounds alternate, and ratios are medians over rounds. The steps are whole:
drawing, loss, gradients and AdamW; here also clipping and averaging the weights.

torchcfm is no dependency. Where it cannot be imported, its columns are left empty; to measure it, install it where it
harms nothing:

    pip install --no-deps --target /tmp/torchcfm torchcfm
    PYTHONPATH=/tmp/torchcfm OMP_NUM_THREADS=1 python tests/benchmarks/bench_interpolants.py
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that `benchmarks` is in

from benchmarks.timing import Ratios, interleaved, parser_of, ratio

import dyninfer as di
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.training import TrainingRun

try:
    from torchcfm import (
        ExactOptimalTransportConditionalFlowMatcher,
        SchrodingerBridgeConditionalFlowMatcher,
    )
    from torchcfm.models.models import MLP
except ImportError:
    MLP = None

WIDTH, FIT = 64, 3000
Step = Callable[[], None]
METHODS = {"velocity": "OT-CFM", "velocity and score": "[SF]²M"}


def snapshots(n_times: int, d: int, cells: int) -> di.Snapshots:
    rng = np.random.default_rng(0)
    return di.Snapshots(
        times=np.arange(n_times),
        samples=[rng.normal(k, 1 + 0.2 * k, (cells, d)) for k in range(n_times)],
    )


def ours(data: di.Snapshots, batch: int, learned: str) -> tuple[Step, float]:
    """One step of the training loop, and CPU seconds of what comes before the first."""
    plain = {"gamma": "none", "second": "none"} if learned == "velocity" else {}
    model = di.StochasticInterpolant(width=WIDTH, depth=3, coupling="ot", **plain)
    model.training_ = di.Training(batch_size=batch * (data.n_times - 1), validation_fraction=0.0)
    model.facts_ = model.facts(data)
    scaling = Scaling.from_samples(data.times, list(data.samples))
    process = model.build(data, scaling).float()
    began = time.process_time()
    objective = model.make_objective(process, data, scaling, 0)
    before = time.process_time() - began
    run = TrainingRun(process, objective, model.training_)
    return lambda: run.update(objective.loss), before


def theirs(data: di.Snapshots, batch: int, learned: str) -> Step:
    """One iteration as torchcfm's single-cell examples write it, over all intervals."""
    d, states = data.n_features, [torch.as_tensor(x, dtype=torch.float32) for x in data.samples]
    score = learned != "velocity"
    kind = (
        SchrodingerBridgeConditionalFlowMatcher
        if score
        else ExactOptimalTransportConditionalFlowMatcher
    )
    matcher = kind(sigma=0.1)
    networks = [MLP(dim=d, time_varying=True, w=WIDTH) for _ in range(1 + score)]
    optimizer = torch.optim.AdamW([p for net in networks for p in net.parameters()], lr=1e-3)

    def draw() -> list[torch.Tensor]:
        found = []
        for k, pair in enumerate(itertools.pairwise(states)):
            x0, x1 = (x[torch.randint(len(x), (batch,))] for x in pair)
            t, x, u, *z = matcher.sample_location_and_conditional_flow(x0, x1, return_noise=score)
            weight = [matcher.compute_lambda(t)[:, None]] if score else []
            found.append([torch.cat([x, t[:, None] + k], 1), u, *z, *weight])
        return [torch.cat(parts) for parts in zip(*found, strict=True)]

    def step() -> None:
        optimizer.zero_grad()
        at, u, *rest = draw()
        loss = (networks[0](at) - u).square().mean()
        if score:
            z, weight = rest
            loss = loss + (weight * networks[1](at) + z).square().mean()
        loss.backward()
        optimizer.step()

    return step


def row(data: di.Snapshots, batch: int, learned: str, rounds: int, repeat: int) -> list[str]:
    """Steps per CPU-second here and of torchcfm, and their ratios without and with the plans."""
    step, before = ours(data, batch, learned)
    steps = {"ours": step}
    if MLP is not None:
        steps["theirs"] = theirs(data, batch, learned)
    seconds = interleaved(steps, rounds, repeat)
    cells = [f"{1 / np.median(seconds['ours']):.0f}"]
    if "theirs" not in seconds:
        return [*cells, "", "", ""]
    alone = ratio(seconds, "theirs", "ours")
    with_plans = ratio(seconds | {"ours": seconds["ours"] + before / FIT}, "theirs", "ours")
    cells.append(f"{1 / np.median(seconds['theirs']):.0f}")
    return [*cells, f"{alone:.2f}", f"{with_plans:.2f}"]


def main() -> None:
    parser = parser_of(__doc__, 7)
    parser.add_argument("--batch", type=int, default=128, help="couples of every interval a step")
    parser.add_argument("--cells", type=int, default=4000, help="cells of every snapshot")
    options = parser.parse_args()
    features, n_intervals, repeat = (5, 50), (1, 2), 50
    if options.smallest:
        features, n_intervals, repeat = (5,), (1,), 1
        options.batch, options.cells, options.rounds = 16, 50, 1
    ratios = Ratios("interpolants")
    if MLP is None:
        print(
            "torchcfm cannot be imported, so the comparison with it is skipped; "
            "--help says how to have it.\n"
        )
    print(
        "| learned, features, intervals | here, steps per CPU-s | torchcfm | ratio "
        "| ratio with the plans over 3,000 steps |"
    )
    print("|---|---|---|---|---|")
    for d, intervals, (learned, method) in itertools.product(
        features, n_intervals, METHODS.items()
    ):
        data = snapshots(intervals + 1, d, options.cells)
        cells = row(data, options.batch, learned, options.rounds, repeat)
        print(f"| {learned} ({method}), {d}, {intervals} | {' | '.join(cells)} |", flush=True)
        if MLP is not None:
            ratios.add(f"{learned}, {d} features, {intervals} / torchcfm", 1 / float(cells[2]))
    ratios.write(options.json)


if __name__ == "__main__":
    main()
