"""One run: a variant or a baseline, without certain times, scored at those times. Its rows are plain dictionaries."""

from __future__ import annotations

import ast
import datetime
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.leave_one_out import baselines
from benchmarks.leave_one_out.problems import Problem, load
from benchmarks.leave_one_out.variants import VARIANTS, taken

import dyninfer as di
from dyninfer.learning.settings import to_plain


@dataclass(frozen=True)
class Run:
    """What is run; ``outcomes`` are pairs (held, scored), each a row."""

    dataset: str
    features: int
    time: str  # "days", "index", or "any" for baselines
    variant: str
    hidden: tuple[float, ...]
    outcomes: tuple[tuple[float, float], ...]
    seed: int = 0
    cells: int | None = None  # per time; None is all
    steps: int | None = None
    given: tuple[tuple[str, Any], ...] = ()  # settings other than the variant's own

    def __str__(self) -> str:
        given = "".join(f", {k}={v}" for k, v in self.given)
        hidden = ", ".join(f"{t:g}" for t in self.hidden)
        return f"{self.dataset} {self.features}-D {self.time} {self.variant}{given}, without {hidden}, seed {self.seed}"

    def estimator(self) -> Any:
        """The estimator, not fitted."""
        settings = dict(self.given)
        taken(settings, "simulate__")
        return VARIANTS[self.variant].build(**settings)

    def simulation(self) -> dict[str, Any]:
        """Options of the simulation."""
        return VARIANTS[self.variant].simulate | taken(dict(self.given), "simulate__")

    def settings(self) -> str:
        """Every setting as text; a row of other settings is another row."""
        if self.variant in baselines.BASELINES:
            return ""
        model = self.estimator()
        plain = {
            "model": to_plain(model),
            "training": to_plain(model.training or di.Training()),  # its defaults are settings too
            "simulate": self.simulation(),
            "steps": self.steps,
        }
        return json.dumps(plain, sort_keys=True)

    def headers(self) -> Iterator[dict[str, Any]]:
        """What identifies each row of this run."""
        common = asdict(self)
        settings, given = self.settings(), ", ".join(f"{k}={v}" for k, v in self.given)
        for held, scored in common.pop("outcomes"):
            inner = len(self.hidden) > 1
            yield common | {
                "hidden": list(self.hidden),
                "given": given,
                "held": held,
                "scored": scored,
                "inner": inner,
                "settings": settings,
            }


def execute(run: Run) -> list[dict[str, Any]]:
    """Fit once, score at every time asked for, and return the rows."""
    problem = load(run.dataset, run.features, run.cells)
    stamp = {
        "version": di.__version__,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if run.variant in baselines.BASELINES:
        results = [
            baselines.score(problem, run.variant, run.hidden, scored, run.seed)
            for _, scored in run.outcomes
        ]
    else:
        model, measured = fit(problem, run)
        results = [measured | predict(problem, run, model, scored) for _, scored in run.outcomes]
    return [
        head | result | stamp for head, result in zip(run.headers(), results, strict=True) if result
    ]


def fit(problem: Problem, run: Run) -> tuple[Any, dict[str, Any]]:
    """Fitted model, and what the fit cost."""
    by_index = run.time == "index"
    shown = problem.shown(by_index, with_masses=VARIANTS[run.variant].grows)
    hidden = [problem.model_times(by_index)[problem.data.index(t)] for t in run.hidden]
    began = cpu_seconds()
    model = run.estimator().fit(
        shown, hold_out=hidden, seed=run.seed, max_steps=run.steps, progress=False
    )
    if model.status_ == "interrupted":
        raise KeyboardInterrupt  # such a model is no result
    return model, {
        "cpu_seconds": round(cpu_seconds() - began, 2),
        "steps": int(model.history_["step"].max()),
        "status": model.status_,
    }


def predict(problem: Problem, run: Run, model: Any, time: float) -> dict[str, Any]:
    """Carry all cells of the kept time before to ``time``; W1 with the model's weights and without, and the mass."""
    begin, end, _ = problem.around(run.hidden, time)
    t, start = (
        problem.model_times(run.time == "index"),
        problem.data.samples[begin].astype(np.float32),
    )
    arrived = model.simulate(start, [t[begin], t[end]], seed=run.seed, **run.simulation())
    alive = (arrived.status == 0).cpu().numpy()
    points = arrived.states[:, -1].cpu().numpy()[alive]
    plain = problem.w1(points, end)
    row = {"w1": plain, "w1_unweighted": plain, "diverged": int((~alive).sum())}
    observed = problem.mass_ratio(begin, end)
    if arrived.log_weights is not None:
        weights = arrived.log_weights[:, -1].exp().cpu().numpy()[alive]
        row |= {"w1": problem.w1(points, end, weights), "mass": float(weights.mean())}
    elif observed is not None:
        row["mass"] = 1.0
    return row | {"mass_observed": observed}


def parse_settings(texts: list[str]) -> list[tuple[tuple[str, Any], ...]]:
    """Turn ``["a=1,2", "b=x"]`` into every combination: ``[(("a", 1), ("b", "x")), (("a", 2), ("b", "x"))]``."""
    choices = []
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name and equals and values):
            raise ValueError(f"--set takes name=value or name=value,value,…; found {text!r}")
        choices.append([(name, literal(value)) for value in values.split(",")])
    return [tuple(choice) for choice in product(*choices)]


def literal(text: str) -> Any:
    """Return a number, True, False or None from its text; other text as it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def cpu_seconds() -> float:
    """CPU time of this process and of its children that ended."""
    return sum(os.times()[:4])


@lru_cache(maxsize=1)
def commit() -> str | None:
    """Short hash of the commit that is run, marked where the package differs from it; None outside a repository."""
    root = Path(di.__file__).parents[1]
    command = [
        "git",
        "-C",
        str(root),
        "describe",
        "--always",
        "--exclude=*",
        "--abbrev=10",
        "--dirty",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
