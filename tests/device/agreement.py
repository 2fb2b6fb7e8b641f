"""Fits, runs and files of every estimator on a device, beside those of the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from device.cases import cells, growing_cells, tracks, treated_cells, visits

import dyninfer as di

N_STEPS = 200
TIMES = [0.0, 0.5, 1.0, 2.0]


def training(device: str) -> di.Training:
    """Settings of a fit on a device."""
    return di.Training(device=device, validation_fraction=0.0)


def drift(model: Any, device: str, condition: str | None = None) -> np.ndarray:
    """Velocity at a few states in the middle of the time."""
    process = model.process_ if condition is None else model.process_.given(condition)
    generator = torch.Generator().manual_seed(0)
    n_features = len(model.feature_names_in_)
    x = torch.randn(50, n_features, generator=generator)
    t = torch.tensor(0.2)
    with torch.no_grad():
        return process.drift(t.to(device), x.to(device)).cpu().double().numpy()


def flow(model: Any, device: str) -> np.ndarray:
    """Where the flow takes the first cells."""
    start = cells().samples[0]
    run = model.simulate(start, TIMES)
    return run.states.cpu().double().numpy()


def likelihoods(data: Callable[[], Any]) -> Callable[[Any, str], np.ndarray]:
    """What a model of paths says of them, which is exact."""
    return lambda model, device: model.log_likelihoods(data())


@dataclass(frozen=True)
class Case:
    """An estimator, its data, and what it is compared by."""

    make: Callable[[str], Any]
    data: Callable[[], Any]
    answer: Callable[[Any, str], np.ndarray]
    tolerance: float
    # Of a fit; None where it has no training steps.
    n_steps: int | None = N_STEPS
    keys: dict[str, str] = field(default_factory=dict)


def fractional(**options: Any) -> di.FractionalSDE:
    """A fractional equation with few nodes."""
    return di.FractionalSDE(noise=di.FractionalNoise(n_nodes=5), **options)


def with_networks(device: str) -> di.FractionalSDE:
    """One that is trained on its bound."""
    inference = di.Variational(training=training(device))
    return fractional(drift="network", inference=inference)


def families() -> Any:
    """Walks of two environments."""
    paths = tracks()
    return di.Paths(times=paths.times, states=paths.states, conditions=["a", "b"] * 6)


# Single precision, and steps that adapt to it; double precision.
SINGLE, DOUBLE = 2e-3, 1e-8
CASES = {
    "ActionMatching": Case(
        lambda device: di.ActionMatching(training=training(device)), cells, flow, SINGLE
    ),
    "ActionMatching, growth": Case(
        lambda device: di.ActionMatching(training=training(device), growth_penalty=0.5),
        growing_cells,
        flow,
        SINGLE,
    ),
    "WassersteinLagrangianFlow": Case(
        lambda device: di.WassersteinLagrangianFlow(training=training(device), curve_fraction=0.5),
        cells,
        flow,
        SINGLE,
    ),
    "StochasticInterpolant": Case(
        lambda device: di.StochasticInterpolant(training=training(device)), cells, drift, SINGLE
    ),
    "StochasticInterpolant, conditions": Case(
        lambda device: di.StochasticInterpolant(training=training(device)),
        treated_cells,
        lambda model, device: drift(model, device, "drug"),
        SINGLE,
    ),
    "FractionalSDE": Case(
        lambda device: fractional(inference=di.Exact(device=device)),
        tracks,
        likelihoods(tracks),
        DOUBLE,
    ),
    "FractionalSDE, networks": Case(with_networks, tracks, drift, SINGLE, 20),
    "MarkovJumpInference": Case(
        lambda device: di.MarkovJumpInference(), visits, likelihoods(visits), DOUBLE, None
    ),
    "MarkovJumpInference, exact": Case(
        lambda device: di.MarkovJumpInference(observation="exact"),
        visits,
        likelihoods(visits),
        DOUBLE,
        None,
    ),
    "KramersMoyal": Case(lambda device: di.KramersMoyal(), tracks, drift, DOUBLE, None),
    "VectorFieldGP": Case(
        lambda device: di.VectorFieldGP(n_neighbors=20),
        di.testing.example_velocities,
        drift,
        DOUBLE,
        None,
        {"velocity_key": "velocity_pca"},
    ),
    "DriftFamilies": Case(
        lambda device: di.DriftFamilies(),
        families,
        lambda model, device: drift(model, device, "a"),
        DOUBLE,
        None,
    ),
}


@dataclass(frozen=True)
class Row:
    """What a comparison says."""

    name: str
    difference: float  # of the same model on both devices, relative to the largest answer
    seconds_here: float  # of a fit on the CPU
    seconds_there: float


def fitted(case: Case, device: str) -> tuple[Any, float]:
    """A model, and the seconds that it took."""
    options: dict[str, Any] = {"progress": False} | case.keys
    if case.n_steps is not None:
        options["max_steps"] = case.n_steps
    data = case.data()
    begin = time.perf_counter()
    model = case.make(device).fit(data, **options)
    return model, time.perf_counter() - begin


def compare(name: str, device: str, folder: Path) -> Row:
    """Fit on both, and ask one model on both: as it was fitted or moved, and from its file."""
    case = CASES[name]
    _, seconds_here = fitted(case, "cpu")
    model, seconds_there = fitted(case, device)
    path = model.save(folder / "model.safetensors")
    there = case.answer(model.to(device), device)
    loaded = case.answer(di.load(path, device=device), device)
    here = case.answer(di.load(path, device="cpu"), "cpu")
    size = np.abs(here).max()
    differences = [np.abs(answer - here).max() / size for answer in (there, loaded)]
    return Row(name, max(differences), seconds_here, seconds_there)


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| estimator | largest difference | CPU, s | device, s |", "|---|---|---|---|"]
    for row in rows:
        seconds = f"{row.seconds_here:.2f} | {row.seconds_there:.2f}"
        lines.append(f"| {row.name} | {row.difference:.1e} | {seconds} |")
    return "\n".join(lines) + "\n"
