"""Train the network of Markov jump processes: ``python -m dyninfer.pretrained.train_jump --out FOLDER``."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.amortized.network import PairNetwork, belief_loss
from dyninfer.jumps.amortized.prior import JumpPrior, Tasks, stream
from dyninfer.jumps.amortized.zero_shot import range_features
from dyninfer.jumps.likelihood.statistics import CoarseStatistics, JumpStatistics
from dyninfer.learning.model_file import read_model, write_model
from dyninfer.learning.random import mix64
from dyninfer.pretrained import measure_jump

LOSS_WEIGHTS = {"link": 1.0, "rate": 1.0, "point": 1.0, "initial": 0.3, "noise": 0.1}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """All that decides the weights.

    Parameters
    ----------
    width, depth : int
        Size of the network.
    steps : int
        Optimiser steps; the learning rate falls to zero over them.
    minutes : float, optional
        CPU-minutes after which to stop (minutes by the clock on a GPU). The learning rate then follows them
        instead of the steps, if that is further.
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
    paper_share : float
        Share of batches from the paper's own setting.
    learning_rate, weight_decay, warm_up, clip, average : float
        AdamW, steps of linear warm-up, largest norm of a gradient, decay of the running mean of the weights.
    most_numbers : int
        Greatest number of states simulated at once.
    seed : int
        Everything random derives from it.
    """

    width: int = 40
    depth: int = 4
    steps: int = 20_000
    minutes: float | None = None
    batch: int = 64
    groups: int = 2
    reuse: float = 6.0
    pool: int = 256
    wide_from: float = 0.4
    wide_share: float = 0.35
    paper_share: float = 0.2
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warm_up: int = 100
    clip: float = 1.0
    average: float = 0.998
    most_numbers: int = 2**21
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Example:
    """Statistics of a batch of processes, and the truth in units of ``tau``."""

    statistics: CoarseStatistics
    rates: Tensor
    initial: Tensor
    noise: Tensor
    ranges: Tensor

    @classmethod
    def of(cls, tasks: Tasks) -> Example:
        """Count what a batch of tasks shows."""
        n = tasks.rates.shape[-1]
        full = JumpStatistics.of_batch(tasks.labels, tasks.times, n)
        tau = full.tau.float()[:, None, None]
        return cls(
            full.coarse(),
            tasks.rates * tau,
            tasks.initial,
            tasks.noise,
            range_features(full, tasks.rates * tau),
        )


class Pool:
    """Simulated batches, each used a few times and then replaced by new ones."""

    def __init__(self, config: TrainingConfig, device: torch.device, start: int = 0):
        self.config, self.drawn = config, start
        self.held: list[Example] = []
        self.rng = np.random.default_rng((config.seed, 1, start))
        self.sources = {wide: self._source(wide, device, start) for wide in (False, True)}

    def _source(self, wide: bool, device: torch.device, start: int) -> Iterator[Tasks]:
        c = self.config
        narrow = ((c.paper_share, JumpPrior.paper()), (1 - c.paper_share, JumpPrior.widened()))
        scaled = tuple((w * (1 - c.wide_share), prior) for w, prior in narrow)
        priors = (*scaled, (c.wide_share, JumpPrior.wide())) if wide else narrow
        return stream(
            priors, c.batch, mix64(c.seed, int(wide), start) & 2**31 - 1, device, c.most_numbers
        )

    def take(self, part: float) -> Example:
        """A batch for a step after ``part`` of the training."""
        c = self.config
        fresh = len(self.held) < 8 or self.rng.random() < 1 / c.reuse
        if not fresh:
            return self.held[self.rng.integers(len(self.held))]
        example = Example.of(next(self.sources[part >= c.wide_from]))
        self.drawn += 1
        if len(self.held) >= c.pool:
            self.held[self.rng.integers(len(self.held))] = example
        else:
            self.held.append(example)
        return example


class Training:
    """A network in training, which can be put down and taken up."""

    def __init__(self, config: TrainingConfig, folder: Path, device: torch.device):
        self.config, self.folder, self.device = config, folder, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = PairNetwork(config.width, config.depth).to(device)
        self.average = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step, self.spent, self.seen = 0, 0.0, 0
        self.low = torch.full((0,), torch.inf)
        self.high = -self.low
        self.checkpoint = folder / "checkpoint.safetensors"
        if self.checkpoint.exists():
            self._resume()

    @property
    def part(self) -> float:
        """How much of the training is done, from 0 to 1."""
        done = self.step / self.config.steps
        if self.config.minutes is not None:
            done = max(done, self.spent / (60 * self.config.minutes))
        return min(done, 1.0)

    def run(self, every: int = 100) -> None:
        """Train to the end; every so many steps write a line of losses, and twice as seldom a checkpoint."""
        pool, clock = Pool(self.config, self.device, self.seen), _clock(self.device)
        begun, before, losses = clock(), self.spent, []
        while self.part < 1:
            losses.append(self._advance([pool.take(self.part) for _ in range(self.config.groups)]))
            self.spent = before + clock() - begun
            if self.step % every == 0:
                self._write(losses, pool.drawn)
                losses = []
            if self.step % (2 * every) == 0:
                self.seen = pool.drawn
                self._save()
        self.seen = pool.drawn
        self._save()

    def _advance(self, examples: list[Example]) -> Tensor:
        c = self.config
        rate = 0.5 * (1 + math.cos(math.pi * self.part)) * min(1.0, (self.step + 1) / c.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = c.learning_rate * rate
        total: Tensor | float = 0.0
        shown = []
        for e in examples:
            parts = belief_loss(self.network(e.statistics), e.rates, e.initial, e.noise)
            total = (
                total
                + sum(LOSS_WEIGHTS[k] * v for k, v in parts.items())
                * (len(e.noise) / c.batch) ** 0.5
            )
            shown.append(torch.stack([v.detach() for v in parts.values()]))
            self._widen(e.ranges)
        self.optimiser.zero_grad(set_to_none=True)
        assert isinstance(total, Tensor)
        (total / len(examples)).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), c.clip)
        self.optimiser.step()
        self.step += 1
        decay = min(c.average, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                self.average[name].lerp_(value, 1 - decay)
        return torch.stack(shown).mean(0)

    def _widen(self, ranges: Tensor) -> None:
        low, high = ranges.amin(0), ranges.amax(0)
        self.low = torch.minimum(self.low, low) if len(self.low) else low
        self.high = torch.maximum(self.high, high) if len(self.high) else high

    def _write(self, losses: list[Tensor], drawn: int) -> None:
        mean = torch.stack(losses).mean(0).tolist()
        line = dict(zip(LOSS_WEIGHTS, mean, strict=True)) | {
            "step": self.step,
            "seconds": round(self.spent, 1),
            "part": round(self.part, 4),
            "batches_drawn": drawn,
        }
        with (self.folder / "losses.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        state = self.optimiser.state_dict()["state"]
        moments = {f"moment.{i}.{k}": v for i, s in state.items() for k, v in s.items()}
        weights = {f"weight.{k}": v for k, v in self.network.named_parameters()}
        average = {f"average.{k}": v for k, v in self.average.items()}
        ranges = {"range.low": self.low, "range.high": self.high}
        numbers = {
            "step": self.step,
            "spent": self.spent,
            "seen": self.seen,
            "config": asdict(self.config),
        }
        write_model(self.checkpoint, weights | average | moments | ranges, numbers)

    def _resume(self) -> None:
        numbers, tensors = read_model(self.checkpoint)
        tensors = {k: v.to(self.device) for k, v in tensors.items()}
        self.step, self.spent, self.seen = numbers["step"], numbers["spent"], numbers["seen"]
        self.low, self.high = tensors["range.low"], tensors["range.high"]
        self.average = _under(tensors, "average.")
        self.network.load_state_dict(_under(tensors, "weight."))
        state = self.optimiser.state_dict()
        for key, value in _under(tensors, "moment.").items():
            number, name = key.split(".", 1)
            state["state"].setdefault(int(number), {})[name] = value
        self.optimiser.load_state_dict(state)

    def export(self, file: Path, extra: dict[str, Any]) -> None:
        """Write the averaged weights, the ranges seen in training and the settings: what `zero_shot` reads."""
        ranges = {"range.low": self.low, "range.high": self.high}
        metadata = {
            "network": {"width": self.config.width, "depth": self.config.depth},
            "training": asdict(self.config)
            | {"steps_done": self.step, "seconds": round(self.spent, 1)},
            "batches_drawn": self.seen,
        } | extra
        write_model(file, {f"weight.{k}": v for k, v in self.average.items()} | ranges, metadata)


def main(arguments: list[str] | None = None) -> None:
    """Train, or go on training, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of checkpoint, losses and weights"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--measure", type=int, default=400, help="processes per row of the card; 0: no card"
    )
    parser.add_argument("--ratchet", type=Path, help="folder of dfr_V*.npz to measure on")
    parser.add_argument(
        "--commit", default="unknown", help="commit of this code, for the weights' metadata"
    )
    for field in fields(TrainingConfig):
        kind = float if field.name == "minutes" else type(field.default)
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    chosen = vars(parser.parse_args(arguments))
    torch.set_num_threads(chosen["threads"])
    chosen["out"].mkdir(parents=True, exist_ok=True)
    config = TrainingConfig(**{f.name: chosen[f.name] for f in fields(TrainingConfig)})
    training = Training(config, chosen["out"], torch.device(chosen["device"]))
    training.run()
    weights = chosen["out"] / "jump.safetensors"
    training.export(weights, {"commit": chosen["commit"]})
    if chosen["measure"]:
        call = ["--weights", str(weights), "--card", str(chosen["out"] / "jump_card.md")]
        ratchet = [] if chosen["ratchet"] is None else ["--ratchet", str(chosen["ratchet"])]
        measure_jump.main([*call, *ratchet, "--size", str(chosen["measure"])])


def _clock(device: torch.device) -> Any:
    return time.process_time if device.type == "cpu" else time.monotonic


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


if __name__ == "__main__":
    main()
