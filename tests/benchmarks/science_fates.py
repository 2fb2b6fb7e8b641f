"""Fates of barcoded blood cells, and of simulated cells whose fates are known.

Clones (``larry_clones``): methods see states, days and the labels of day 6, never the clones. Sources are the day-4 cells whose
clone has cells at day 6; the truth is the shares of labels among those. "Committed" drops cells that are not yet
differentiated at day 6 from truth and prediction; "undifferentiated" are those of the sources that are not at day 4.

    DYNINFER_DATA=... python tests/benchmarks/science_fates.py clones --seed 0
    python tests/benchmarks/science_fates.py simulated --seed 0
    python tests/benchmarks/science_fates.py plans --seed 0
    python tests/benchmarks/science_fates.py counts --seed 0

"plans" pulls simulated fates back along plans whose regularisation is that of the noise: the bridge of a Brownian motion of
variance ``σ² Δt`` is the plan of squared distances with ``ε = 2 σ² Δt``, here times some factors, beside a tenth of the mean squared
distance; each without growth, and with the growth of the simulator. "counts" are cells of a gene
network, seen as counts of few molecules: on them the regularisation of plans was chosen, which says how much noise all
methods get. No clone had a part in that.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from sklearn.decomposition import PCA

import dyninfer as di
from dyninfer.learning.random import numpy_stream, stream, subseed
from dyninfer.simulation.solvers import SRA1
from dyninfer.simulators.branching import branch
from dyninfer.tools import fate_baselines
from dyninfer.tools.fate_baselines import Plans, pulled_back
from dyninfer.tools.fate_ends import Ends

# Labels with few cells are one: their order is that of the table of results.
LABELS = ("Monocyte", "Neutrophil", "Baso", "Mast", "Meg", "undiff", "other")
COMMITTED = [label for label in LABELS if label != "undiff"]
# Those that enough clones have for a ranking.
RANKED = list(LABELS[:4])
COMPONENTS = 20
GENES, GENE_COMPONENTS, LARGEST_Z = 1000, 30, 10
# Parts of the answer that are pulled back along plans.
PARTS = (0.0, 0.5)
# Of plans, in units of the mean squared distance: what fates without a model are pulled back by.
REGULARIZATION = 0.1
# Regularisations, in units of that of the noise.
FACTORS = (0.5, 1.0, 2.0)
# Regularisations, in units of the mean squared distance.
REGULARIZATIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
# Times of the network, whose fates are those of the last, and molecules of a gene at a level of one.
NETWORK_TIMES, MOLECULES = (1.0, 2.0, 3.0, 4.5, 6.0), 2.0
# Simulators, times, and the column that the second one is compared with to tell one fate from the other.
SIMULATED = {
    "BranchingPopulation": (di.simulators.BranchingPopulation(), [1.0, 2.0, 3.0, 4.0], None),
    "ToggleWithGrowth": (di.simulators.ToggleWithGrowth(), [1.5, 3.0, 4.5, 6.0], 0),
}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=("clones", "simulated", "plans", "counts"), nargs="?", default="simulated"
    )
    parser.add_argument("--steps", type=int, help="training steps at most")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--cells", type=int, default=1000, help="simulated founders a snapshot")
    parser.add_argument("--sources", type=int, default=300, help="simulated cells that are scored")
    parser.add_argument("--clones", type=int, default=400, help="descendants behind a true fate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--genes", action="store_true", help="components of 1,000 scaled genes")
    parser.add_argument("--only", nargs="*", help="methods of the clones to run; default: all")
    parser.add_argument("--smallest", action="store_true", help="does it run? numbers mean nothing")
    options = parser.parse_args(arguments)
    if options.smallest:
        options.steps, options.draws, options.cells = 3, 2, 40
        options.sources, options.clones = 10, 5
    return options


def methods(sigma: float) -> dict[str, tuple[Any, Any]]:
    """Estimators and the noise of their simulation."""
    noise = sigma**2 / 2
    return {
        "interpolant": (di.StochasticInterpolant(), noise),
        "interpolant, unbalanced": (
            di.StochasticInterpolant(
                coupling=di.UnbalancedOTCoupling(regularization=REGULARIZATION)
            ),
            noise,
        ),
        "interpolant, entropic": (
            di.StochasticInterpolant(coupling=di.EntropicOTCoupling(regularization=REGULARIZATION)),
            noise,
        ),
        "action matching": (di.ActionMatching(sigma=sigma), None),
    }


def gene_components(adata: AnnData) -> np.ndarray:
    """Principal components of the most variable genes, each gene of variance one."""
    counts = adata.X.toarray()
    expression = np.log1p(counts / counts.sum(1, keepdims=True) * 1e4)
    # Of expression, the variance grows with the mean.
    dispersion = expression.var(0) / (expression.mean(0) + 1e-3)
    return scaled_components(expression[:, np.argsort(-dispersion)[:GENES]])


def scaled_components(expression: np.ndarray) -> np.ndarray:
    """Principal components of genes that all have variance one."""
    z = (expression - expression.mean(0)) / (expression.std(0) + 1e-9)
    components = PCA(min(GENE_COMPONENTS, *z.shape), random_state=0)
    return components.fit_transform(z.clip(-LARGEST_Z, LARGEST_Z))


def blood_cells(of_genes: bool = False) -> AnnData:
    """Barcoded cells with states of unit size and labels without the rare ones."""
    adata = di.datasets.larry_clones()
    states = np.asarray(adata.obsm["X_pca"])[:, :COMPONENTS]
    if of_genes:
        states = gene_components(adata)
    adata.obsm["X_scaled"] = states / states.std(0).max()
    labels = adata.obs["state_info"].astype(str)
    labels = labels.where(labels.isin(LABELS), "other")
    adata.obs["label"] = pd.Categorical(labels, categories=LABELS)
    return adata


def score_clones(options: argparse.Namespace) -> pd.DataFrame:
    """Scores of every method and baseline on both tasks."""
    adata = blood_cells(options.genes)
    keys = {"time_key": "day", "use_rep": "X_scaled"}
    sigma = di.tl.noise_scale(adata, **keys)
    rows = []
    for name, (estimator, noise) in methods(sigma).items():
        if options.only and name not in options.only:
            continue
        begin = time.process_time()
        model = estimator.fit(
            adata, **keys, seed=options.seed, max_steps=options.steps, progress=False
        )
        for of in ("descendants", "lineage"):
            for part in PARTS:
                di.tl.fates(
                    model,
                    adata,
                    "label",
                    of=of,
                    n_draws=options.draws,
                    noise=noise,
                    transport=part,
                    baselines=True,
                    seed=options.seed,
                )
                scores = scores_by_task(adata)
                scores["seconds"] = time.process_time() - begin
                answer = f"{name}: {of}, {part:g} of plans"
                rows.append(scores.rename({"fates": answer}).reset_index())
                print(rows[-1].round(3).to_string(), flush=True)
    return pd.concat(rows).drop_duplicates(["prediction", "task"])


def scores_by_task(adata: AnnData) -> pd.DataFrame:
    """Scores of all sources, and of those that are undifferentiated."""
    tables = []
    for task, sources in (("committed", None), ("undifferentiated", ["undiff"])):
        scores = di.tl.score_fates(
            adata, "X_clone", start=4, states=COMMITTED, sources=sources, ranked=RANKED
        )
        scores.insert(0, "task", task)
        tables.append(scores)
    return pd.concat(tables)


def is_upper(states: np.ndarray, other: int | None) -> np.ndarray:
    """Whether cells have the fate whose second coordinate is high."""
    border = 0.0 if other is None else states[:, other]
    return states[:, 1] > border


def rates(simulator: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Division and death rates of cells."""
    if hasattr(simulator, "rates"):
        return simulator.rates(x)
    # Without deaths, growth is division.
    return simulator.growth(0.0, x), torch.zeros(len(x))


def true_fates(
    simulator: Any, cells: np.ndarray, span: float, other: int | None, n: int, seed: int
) -> np.ndarray:
    """Share of the descendants that have the upper fate, from ``n`` copies of every cell."""
    founders = torch.as_tensor(cells).repeat_interleave(n, 0)
    ends, founder = branch(
        simulator.drift,
        simulator.sigma,
        partial(rates, simulator),
        founders,
        span,
        simulator.dt,
        stream(seed, "true fates"),
    )
    cell = (founder // n).numpy()
    upper = is_upper(ends.numpy(), other)
    counts = np.bincount(cell, minlength=len(cells))
    return np.bincount(cell, upper, len(cells)) / counts


def simulated_cells(options: argparse.Namespace, name: str) -> AnnData:
    """Snapshots of a simulator with fates as labels."""
    simulator, times, other = SIMULATED[name]
    snapshots = simulator.snapshots(times, n=options.cells, seed=options.seed)
    states = np.concatenate(snapshots.samples)
    time_of = np.repeat(snapshots.times, snapshots.sizes)
    obs = pd.DataFrame({"time": time_of}, index=np.arange(len(states)).astype(str))
    obs["label"] = np.where(is_upper(states, other), "upper", "lower")
    obs["mass"] = np.repeat(snapshots.masses, snapshots.sizes)
    return AnnData(states, obs=obs)


def score_simulated(options: argparse.Namespace) -> pd.DataFrame:
    """Mean squared error of the share of one fate among descendants."""
    rows = []
    for name, (simulator, times, other) in SIMULATED.items():
        adata = simulated_cells(options, name)
        is_first = (adata.obs["time"] == times[0]).to_numpy()
        sources = np.flatnonzero(is_first)[: options.sources]
        span = times[-1] - times[0]
        states = np.asarray(adata.X)[sources]
        truth = true_fates(simulator, states, span, other, options.clones, options.seed)
        # What so many draws of the true probability would miss it by.
        floor = (truth * (1 - truth)).mean() / options.draws
        for coupling, mass_key in (
            ("auto", None),
            ("growth_first", "mass"),
            ("unbalanced", "mass"),
        ):
            model = di.StochasticInterpolant(coupling=coupling).fit(
                adata,
                time_key="time",
                use_rep="X",
                mass_key=mass_key,
                seed=options.seed,
                max_steps=options.steps,
                progress=False,
            )
            di.tl.fates(
                model,
                adata,
                "label",
                n_draws=options.draws,
                # The noise of the simulator itself.
                noise=simulator.sigma**2 / 2,
                baselines=True,
                seed=options.seed,
            )
            keys = {f"interpolant, coupling {coupling}": "dyninfer_fates"}
            for baseline in ("neighbors", "transport"):
                keys[baseline] = f"dyninfer_fates_{baseline}"
            for prediction, key in keys.items():
                values = adata.obsm[key]["upper"].to_numpy()[sources]
                mse = ((values - truth) ** 2).mean()
                rows.append({"cells": name, "prediction": prediction, "mse": mse, "floor": floor})
                print(rows[-1], flush=True)
    return pd.DataFrame(rows).drop_duplicates(["cells", "prediction"])


def score_plans(options: argparse.Namespace) -> pd.DataFrame:
    """Mean squared error of fates pulled back along plans, by their noise and with growth known."""
    rows = []
    for name, (simulator, times, other) in SIMULATED.items():
        adata = simulated_cells(options, name)
        states = np.asarray(adata.X)
        rows_of = {time: np.flatnonzero(adata.obs["time"] == time) for time in times}
        end_rows = rows_of.pop(times[-1])
        upper = is_upper(states[end_rows], other)
        ends = Ends(("lower", "upper"), states[end_rows], upper.astype(int))
        rates_of_cells = simulator.growth(0.0, torch.as_tensor(states)).numpy()
        sources = rows_of[times[0]][: options.sources]
        span = times[-1] - times[0]
        truth = true_fates(simulator, states[sources], span, other, options.clones, options.seed)
        for factor in (None, *FACTORS):
            variance = None if factor is None else factor * simulator.sigma**2
            for growth in (None, rates_of_cells):
                plans = Plans(True, options.seed, variance, growth)
                fates = pulled_back(states, rows_of, times[-1], list(rows_of), ends, plans)
                error = fates[sources, 1] - truth
                row = {"cells": name, "factor": factor, "growth": growth is not None}
                rows.append(row | {"mse": (error**2).mean(), "bias": error.mean()})
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def cells_as_counts(options: argparse.Namespace) -> AnnData:
    """Cells of a gene network with components of their counts, their fates, and the share of fate A to come."""
    network = di.simulators.BranchingNetwork()
    n_cells = max(20, options.cells // 4)
    samples = [
        network.sample(now, n_cells, seed=subseed(options.seed, "cells", k))
        for k, now in enumerate(NETWORK_TIMES)
    ]
    expected = []
    for now, cells in zip(NETWORK_TIMES[:-1], samples, strict=False):
        copies = cells.repeat_interleave(options.clones, 0)
        times = [now, NETWORK_TIMES[-1]]
        run = di.simulate(network.process(), copies, times, seed=options.seed, solver=SRA1(dt=0.05))
        is_a = network.fates(run.states[:, -1]) == "A"
        expected.append(is_a.reshape(n_cells, -1).mean(1))
    is_a = network.fates(samples[-1]) == "A"
    levels = np.concatenate(samples).clip(0)
    rng = numpy_stream(options.seed, "counts")
    expression = np.log1p(rng.poisson(MOLECULES * levels))
    obs = pd.DataFrame({"time": np.repeat(NETWORK_TIMES, n_cells)})
    obs.index = obs.index.astype(str)
    obs["label"] = np.concatenate(
        [np.repeat("early", n_cells * len(expected)), np.where(is_a, "A", "B")]
    )
    obs["truth"] = np.concatenate([*expected, is_a])
    adata = AnnData(expression.astype(np.float32), obs=obs)
    components = scaled_components(expression)
    adata.obsm["X_scaled"] = components / components.std(0).max()
    return adata


def score_counts(options: argparse.Namespace) -> pd.DataFrame:
    """Mean squared error of the share of fate A at every time, by plans and by a model."""
    adata = cells_as_counts(options)
    keys = {"time_key": "time", "use_rep": "X_scaled"}
    sigma = di.tl.noise_scale(adata, **keys)
    model = di.StochasticInterpolant().fit(
        adata, **keys, seed=options.seed, max_steps=options.steps, progress=False
    )
    answers = {}
    for part in PARTS:
        fates = di.tl.fates(
            model,
            adata,
            "label",
            n_draws=options.draws,
            noise=sigma**2 / 2,
            transport=part,
            baselines=True,
            seed=options.seed,
        )
        answers[f"interpolant, {part:g} of plans"] = fates["A"]
    answers["neighbors"] = adata.obsm["dyninfer_fates_neighbors"]["A"]
    regularization = fate_baselines.REGULARIZATION
    for epsilon in REGULARIZATIONS:
        fate_baselines.REGULARIZATION = epsilon
        # All of the answer is that of the plans, whose regularisation no noise says.
        fates = di.tl.fates(model, adata, "label", n_draws=1, noise=0.0, transport=1.0)
        answers[f"plans, {epsilon:g}"] = fates["A"]
    fate_baselines.REGULARIZATION = regularization
    squares = {name: (values - adata.obs["truth"]) ** 2 for name, values in answers.items()}
    by_time = pd.DataFrame(squares).groupby(adata.obs["time"]).mean()
    return by_time.iloc[:-1].T.rename_axis("prediction").reset_index()


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    options = parse(arguments)
    scores = {
        "clones": score_clones,
        "simulated": score_simulated,
        "plans": score_plans,
        "counts": score_counts,
    }
    table = scores[options.what](options)
    print(table.round(4).to_string(index=False))
    return table


if __name__ == "__main__":
    main()
