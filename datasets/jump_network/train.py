"""Train the network of Markov jump processes.

Run: python datasets/jump_network/train.py --out FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import measure
import torch
from torch import Tensor

from dyninfer.jumps.amortized.losses import belief_loss
from dyninfer.jumps.amortized.network import PairNetwork
from dyninfer.jumps.amortized.prior import JumpPrior, Tasks, draw_from_mixture
from dyninfer.jumps.amortized.zero_shot import RANGES, range_features
from dyninfer.jumps.likelihood.statistics import CoarseStatistics, JumpStatistics
from dyninfer.learning.model_file import read_model, write_model
from dyninfer.learning.objective import Objective
from dyninfer.learning.random import numpy_stream, seeded_modules, subseed
from dyninfer.learning.training import Result, Training, train

# The first state and the noise are less of the answer than the rates.
LOSS_WEIGHTS = {"link": 1.0, "rate": 1.0, "point": 1.0, "initial": 0.3, "noise": 0.1}
# Simulated batches before any is used a second time.
_FIRST_BATCHES = 8


@dataclass(frozen=True, kw_only=True)
class NetworkTraining:
    """All that decides the weights.

    Parameters
    ----------
    width, depth : int
        Size of the network.
    steps : int
        Optimiser steps; the learning rate falls to zero over them.
    batch : int
        Processes simulated at once.
    groups : int
        Batches, each with its own number of states and paths, that make one step.
    reuse : float
        Steps in which a simulated batch serves, on average. 1 never uses one twice.
    pool : int
        Simulated batches that are kept for that.
    wide_from, wide_share : float
        Part of the training from which on the wide prior is mixed in, and its share of the batches.
    wider_share : float
        Part of the batches of the wide prior that have up to 12 states, and states never left.
    told_share : float
        Share of the processes without wrong labels of which the network is told so. With 0 it
        cannot be told.
    paper_share : float
        Share of batches from the paper's own setting.
    learning_rate, weight_decay, warm_up, clip, average : float
        AdamW, steps of linear warm-up, largest norm of a gradient, decay of the running mean of
        the weights.
    most_numbers : int
        Greatest number of states simulated at once.
    seed : int
        Everything random derives from it.
    """

    width: int = 40
    depth: int = 4
    steps: int = 40_000
    batch: int = 64
    groups: int = 2
    reuse: float = 6.0
    pool: int = 256
    wide_from: float = 0.4
    wide_share: float = 0.35
    wider_share: float = 0.0
    told_share: float = 0.0
    paper_share: float = 0.2
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warm_up: int = 100
    clip: float = 1.0
    average: float = 0.998
    most_numbers: int = 2**21
    seed: int = 0

    def loop(self, log_every: int) -> Training:
        """Settings of the package's training loop."""
        return Training(
            max_steps=self.steps,
            batch_size=self.batch,
            learning_rate=self.learning_rate,
            warmup_steps=self.warm_up,
            final_learning_rate=0.0,
            weight_decay=self.weight_decay,
            gradient_clip=self.clip,
            ema_decay=self.average,
            validation_fraction=0.0,
            log_every=log_every,
            # Nothing is validated: no process is ever seen by more than a few steps.
            validate_every=self.steps,
            checkpoint_every=2 * log_every,
        )

    def priors(self, wide: bool) -> list[tuple[float, JumpPrior]]:
        """Weights and priors that batches are drawn from."""
        narrow = 1 - self.wide_share if wide else 1.0
        priors = [
            (narrow * self.paper_share, JumpPrior.paper()),
            (narrow * (1 - self.paper_share), JumpPrior.widened()),
        ]
        if wide:
            wider_share = self.wide_share * self.wider_share
            priors.append((self.wide_share - wider_share, JumpPrior.wide()))
            priors.append((wider_share, JumpPrior.wider()))
        return priors

    @property
    def network(self) -> dict[str, Any]:
        """Settings of the network."""
        return {"width": self.width, "depth": self.depth, "reads_exact": self.told_share > 0}


@dataclass(frozen=True, eq=False)
class Example:
    """Statistics of a batch of processes, and the truth in units of ``tau``."""

    statistics: CoarseStatistics
    rates: Tensor
    initial: Tensor
    noise: Tensor
    ranges: Tensor
    told: Tensor | None

    @classmethod
    def of(cls, tasks: Tasks, told: Tensor | None = None) -> Example:
        """Count what a batch of tasks shows; ``told`` is of which the labels are known as exact."""
        n_states = tasks.rates.shape[-1]
        full = JumpStatistics.of_batch(tasks.labels, tasks.times, n_states)
        tau = full.tau.float()[:, None, None]
        rates = tasks.rates * tau
        ranges = range_features(full, rates)
        return cls(full.coarse(), rates, tasks.initial, tasks.noise, ranges, told)


class Draw(NamedTuple):
    """A simulated batch by its number in the run, from which it can be simulated again."""

    number: int
    wide: bool


class Pool:
    """Simulated batches, each used a few times and then replaced by new ones.

    What a step takes depends on the seed and the step alone, and a batch on its number: so a pool
    is put down as a list of numbers, and what it holds is simulated again when it is needed.
    """

    def __init__(self, config: NetworkTraining, device: torch.device):
        self.config, self.device = config, device
        self.draws: list[Draw] = []
        self.examples: dict[int, Example] = {}
        self.n_drawn = 0

    def take(self, step: int) -> list[Example]:
        """Batches of one step."""
        config = self.config
        rng = numpy_stream(config.seed, "pool", step)
        wide = step >= config.wide_from * config.steps
        draws = [self._choose(rng, wide) for _ in range(config.groups)]
        return [self._example(draw) for draw in draws]

    def _choose(self, rng: Any, wide: bool) -> Draw:
        config = self.config
        fresh = len(self.draws) < _FIRST_BATCHES or rng.random() < 1 / config.reuse
        if not fresh:
            return self.draws[rng.integers(len(self.draws))]
        draw = Draw(self.n_drawn, wide)
        self.n_drawn += 1
        if len(self.draws) < config.pool:
            self.draws.append(draw)
        else:
            place = rng.integers(len(self.draws))
            self.examples.pop(self.draws[place].number, None)
            self.draws[place] = draw
        return draw

    def _example(self, draw: Draw) -> Example:
        config = self.config
        if draw.number not in self.examples:
            seed = subseed(config.seed, "simulated batch", draw.number)
            tasks = draw_from_mixture(
                config.priors(draw.wide),
                config.batch,
                seed,
                device=self.device,
                most_numbers=config.most_numbers,
            )
            self.examples[draw.number] = Example.of(tasks, self._told(tasks, seed))
        return self.examples[draw.number]

    def _told(self, tasks: Tasks, seed: int) -> Tensor | None:
        """Of which processes ``(batch,)`` the network is told that no label is wrong."""
        share = self.config.told_share
        if share == 0:
            return None
        u = numpy_stream(seed, "told").random(len(tasks.noise))
        is_told = torch.from_numpy(u < share).to(self.device)
        return is_told & (tasks.noise == 0)


class BeliefObjective(Objective):
    """Surprise of the network by the truth, over batches of simulated processes."""

    def __init__(self, config: NetworkTraining, device: torch.device):
        self.config, self.pool = config, Pool(config, device)
        self.step = 0
        self.low = torch.full((len(RANGES),), torch.inf, device=device)
        self.high = -self.low

    def batch(self, n: int, generator: torch.Generator) -> list[Example]:
        """Batches of this step; what they are depends on its number."""
        return self.pool.take(self.step)

    def loss(self, process: PairNetwork, batch: list[Example]) -> dict[str, Tensor]:
        """Weighted sum of the losses, and each of them, means over the batches."""
        rows: list[dict[str, Tensor]] = []
        for example in batch:
            belief = process(example.statistics, example.told)
            parts = belief_loss(belief, example.rates, example.initial, example.noise)
            total = sum(LOSS_WEIGHTS[name] * value for name, value in parts.items())
            # Batches that had to be small count less, by their standard error.
            weight = (len(example.noise) / self.config.batch) ** 0.5
            row = {name: value.detach() for name, value in parts.items()}
            rows.append(row | {"loss": weight * total})
        return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}

    def observe(self, batch: list[Example], terms: dict[str, Tensor]) -> None:
        """Widen the ranges of what was shown."""
        self.step += 1
        for example in batch:
            lowest, highest = example.ranges.amin(0), example.ranges.amax(0)
            self.low = torch.minimum(self.low, lowest)
            self.high = torch.maximum(self.high, highest)

    def state(self) -> dict[str, Any]:
        """Step, ranges, and the numbers of the batches in the pool."""
        return {
            "step": self.step,
            "low": self.low,
            "high": self.high,
            "draws": [tuple(draw) for draw in self.pool.draws],
            "n_drawn": self.pool.n_drawn,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Undo :meth:`state`."""
        self.step, self.low, self.high = state["step"], state["low"], state["high"]
        self.pool.draws = [Draw(*draw) for draw in state["draws"]]
        self.pool.n_drawn = state["n_drawn"]


def train_network(
    config: NetworkTraining,
    folder: Path,
    device: torch.device,
    *,
    log_every: int = 100,
    commit: str = "unknown",
    start: Path | None = None,
) -> Path:
    """Train, or go on training, in a folder; a new training may begin with the weights of a file.

    Writes ``checkpoint.pt``, ``jump_losses.csv`` and ``jump.safetensors``, the last with the
    averaged weights, the ranges seen in training and the settings: what `zero_shot` reads.
    Returns its path.
    """
    with seeded_modules(config.seed, "network"):
        network = PairNetwork(**config.network).to(device)
    origin = "drawn" if start is None else load_start(network, start)
    objective = BeliefObjective(config, device)
    # A run may be made longer; all else must be as it was.
    fixed = {name: value for name, value in asdict(config).items() if name != "steps"}
    result = train(
        network,
        objective,
        config.loop(log_every),
        seed=config.seed,
        checkpoint=folder / "checkpoint.pt",
        resume=True,
        identity={"settings": repr(fixed), "first weights": origin},
    )
    write_losses(folder / "jump_losses.csv", result)
    seconds = float(result.history["seconds"].iloc[-1])
    progress = {"steps_done": objective.step, "seconds": round(seconds, 1)}
    metadata = {
        "network": config.network,
        "training": asdict(config) | progress,
        "batches_drawn": objective.pool.n_drawn,
        "commit": commit,
    }
    tensors = {f"weight.{name}": value for name, value in network.named_parameters()}
    low, high = seen_ranges(objective, start)
    tensors |= {"range.low": low, "range.high": high}
    return write_model(folder / "jump.safetensors", tensors, metadata)


def load_start(network: PairNetwork, file: Path) -> str:
    """Take the weights of a file, and return by what it is known.

    What a network that is told nothing lacks stays as it is drawn.
    """
    _, tensors = read_model(file)
    weights = {name: tensors[f"weight.{name}"] for name in network.state_dict() if name != "told"}
    network.load_state_dict(weights, strict=False)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def seen_ranges(objective: BeliefObjective, start: Path | None) -> tuple[Tensor, Tensor]:
    """Ranges of what was shown in this training, and in that of the first weights."""
    low, high = objective.low, objective.high
    if start is None:
        return low, high
    _, tensors = read_model(start)
    # What was learned there is gone on from, and not forgotten.
    before_low = tensors["range.low"].to(low)
    before_high = tensors["range.high"].to(high)
    return torch.minimum(low, before_low), torch.maximum(high, before_high)


def write_losses(file: Path, result: Result) -> None:
    """Write the losses in the course of the training."""
    columns = ["step", "seconds", *LOSS_WEIGHTS]
    result.history[columns].round(4).to_csv(file, index=False)


def main(arguments: list[str] | None = None) -> None:
    """Train, or go on training, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of all that is written")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--log-every", type=int, default=100, help="steps between two losses")
    parser.add_argument(
        "--measure", type=int, default=400, help="processes a row of the card; 0: none"
    )
    parser.add_argument("--ratchet", type=Path, help="folder of dfr_V*.npz to measure on")
    parser.add_argument("--start", type=Path, help="file of weights to begin with")
    parser.add_argument("--commit", default="unknown", help="commit of this code, for the metadata")
    for field in fields(NetworkTraining):
        flag = f"--{field.name.replace('_', '-')}"
        parser.add_argument(flag, type=type(field.default), default=field.default)
    options = vars(parser.parse_args(arguments))
    config = NetworkTraining(
        **{field.name: options[field.name] for field in fields(NetworkTraining)}
    )
    torch.set_num_threads(options["threads"])
    folder: Path = options["out"]
    folder.mkdir(parents=True, exist_ok=True)
    weights = train_network(
        config,
        folder,
        torch.device(options["device"]),
        log_every=options["log_every"],
        commit=options["commit"],
        start=options["start"],
    )
    if options["measure"]:
        call = ["--weights", str(weights), "--card", str(folder / "README.md")]
        if options["ratchet"] is not None:
            call += ["--ratchet", str(options["ratchet"])]
        measure.main([*call, "--size", str(options["measure"])])


if __name__ == "__main__":
    main()
