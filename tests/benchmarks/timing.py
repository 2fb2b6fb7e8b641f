"""What benchmarks of speed share: variants that take turns, and ratios of one run, which can be kept in a file."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

Job = Callable[[], object]


def interleaved(jobs: Mapping[str, Job], rounds: int, repeat: int = 1) -> dict[str, np.ndarray]:
    """CPU-seconds ``(rounds,)`` of one call of every job.

    Every round runs every job ``repeat`` times, so that all see the same machine. Who begins changes with the round, since the
    first finds other things in the cache than the last. A round before, not measured, imports and compiles.
    """
    names = list(jobs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for job in jobs.values():
        job()
    for k in range(rounds):
        first = k % len(names)
        for name in names[first:] + names[:first]:
            began = time.process_time()
            for _ in range(repeat):
                jobs[name]()
            seconds[name].append((time.process_time() - began) / repeat)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(seconds: Mapping[str, np.ndarray], top: str, bottom: str) -> float:
    """Median over the rounds of the ratio within a round."""
    return float(np.median(seconds[top] / seconds[bottom]))


class Ratios:
    """Ratios of a run by name, of our time over another's: less is better.

    Parameters
    ----------
    script : str
        Name of the benchmark, which comes before the names of its ratios.
    """

    def __init__(self, script: str):
        self.script = script
        self.values: dict[str, float] = {}

    def add(self, label: str, value: float) -> float:
        """Keep a ratio under a name of its own, and return it."""
        if label in self.values:
            raise ValueError(f"there are two ratios {label!r}")
        self.values[label] = float(value)
        return value

    def write(self, path: Path | None) -> None:
        """Write the ratios as JSON where a file is asked for."""
        if path is None:
            return
        named = {f"{self.script}: {label}": value for label, value in self.values.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(named, indent=1, ensure_ascii=False) + "\n")


def parser_of(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with what every benchmark of speed takes; one thread from here on."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--smallest", action="store_true", help="does it run? numbers mean nothing")
    parser.add_argument("--json", type=Path, help="file that the ratios are written to")
    return parser
