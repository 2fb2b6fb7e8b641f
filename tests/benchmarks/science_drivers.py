"""Driver genes of a network whose regulators are known, by a model that saw snapshots only.

Snapshots of `BranchingNetwork` become components, a stochastic interpolant is fitted to those, its transitions carry the fates
of the last time back one time after the other, and `tl.drivers` ranks the genes. Scored by the area under the ROC curve of the
genes of fate A (its master and the master's targets) against all others, beside rankings that need no model.

"dyngen" are 1,000 simulated cells whose network is not known. In the place of drivers stand the 22 genes that tell the two end
segments apart; a ranking is asked for them by cells of all times, before the ends, and before the split. Snapshots are eight
spans of the simulator's time, and the method sees these and the segments of the last, as a biologist would.

    OMP_NUM_THREADS=1 DYNINFER_DATA=... python tests/benchmarks/science_drivers.py
"""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import scanpy as sc
import torch
from science import Rows, Tables, parser_of, print_tables
from scipy.sparse import csr_matrix
from sklearn.metrics import roc_auc_score

import dyninfer as di

TIMES = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0]
# Before the split, in its midst, and after.
SCORED = (1.0, 2.0, 6.0)
NETWORK = di.simulators.BranchingNetwork()
# Noise of the interpolant, chosen once and not by any score.
NOISE = 0.05
# Segments of the tree at its two ends, and how well a gene must tell them apart.
ENDS = ("sC -> sEndC", "sD -> sEndD")
LEAST_CONTRAST = 0.4
SPANS = 8
# Times that end in the data, before the ends, and before the split.
BEFORE = {"all": np.inf, "t < 3": 3.0, "t < 2": 2.0}


def cells(n: int, seed: int) -> ad.AnnData:
    """Cells of all times with fifteen components."""
    adata = NETWORK.snapshots(TIMES, n, seed).to_anndata()
    sc.pp.pca(adata, n_comps=15)
    return adata


def carry_back(adata: ad.AnnData, matrix: csr_matrix) -> None:
    """Write fates of the last time, pulled back by the transitions."""
    time = adata.obs["time"].to_numpy()
    is_a = NETWORK.fates(torch.from_numpy(adata.X)) == "A"
    fates = np.stack([is_a, ~is_a], axis=1).astype(float)
    for now in reversed(TIMES[:-1]):
        rows = time == now
        fates[rows] = matrix[rows] @ fates
    adata.obsm["dyninfer_fates"] = fates
    adata.uns["dyninfer_fates"] = {"names": ["A", "B"]}


def scores(model: Any, adata: ad.AnnData, time: float) -> list[float]:
    """Areas under the curve at one time, in the order of the columns."""
    at_time = (adata.obs["time"] == time).to_numpy()
    genes = list(NETWORK.genes)
    table = di.tl.drivers(model, adata, "A", cells=at_time).loc[genes]
    x = adata.X[at_time]
    of_time = [np.corrcoef(column, adata.obs["time"])[0, 1] for column in adata.X.T]
    rankings = [table["corr"], table["rise_over_rest"], np.abs(of_time), x.var(0), x.mean(0)]
    is_driver = np.isin(genes, NETWORK.regulated_by("A"))
    return [roc_auc_score(is_driver, ranking) for ranking in rankings]


def network(size: int, seeds: int) -> tuple[list[str], Rows]:
    """One row for every seed and time."""
    head = ["seed", "time", "fate", "rise over the rest", "time alone", "variance", "mean"]

    def rows() -> Rows:
        for seed in range(seeds):
            adata = cells(40 * size, seed)
            model = di.StochasticInterpolant().fit(
                adata, time_key="time", seed=seed, max_steps=100 * size, progress=False
            )
            matrix = di.tl.transition_matrix(model, adata, noise=NOISE, n_draws=8, seed=seed)
            carry_back(adata, matrix)
            for time in SCORED:
                yield [str(seed), f"{time:g}", *(f"{s:.2f}" for s in scores(model, adata, time))]

    return head, rows()


def dyngen_cells() -> ad.AnnData:
    """Cells with their snapshot, components of scaled genes, and the segment that is their label."""
    adata = di.datasets.dyngen_velocity()
    time = adata.obs["global_time"].to_numpy()
    length = time.max() / SPANS
    number = np.minimum(time // length, SPANS - 1)
    adata.obs["span"] = (number + 0.5) * length
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    adata.layers["scaled"] = sc.pp.scale(adata, copy=True, max_value=10).X
    sc.pp.pca(adata, n_comps=30, layer="scaled")
    return adata


def contrasts(adata: ad.AnnData) -> np.ndarray:
    """How far the area under the curve of every gene, between the two ends, lies from a half."""
    first, last = (dense(adata[adata.obs["lineage"] == end].X) for end in ENDS)
    is_last = np.repeat([False, True], [len(first), len(last)])
    both = np.concatenate([first, last])
    return np.array([abs(roc_auc_score(is_last, gene) - 0.5) for gene in both.T])


def dense(x: Any) -> np.ndarray:
    """Expression as an array."""
    if hasattr(x, "toarray"):
        return x.toarray()
    return np.asarray(x)


def dyngen(size: int, seeds: int) -> tuple[list[str], Rows]:
    """One row for every seed and choice of cells."""
    head = ["seed", "cells", "fates", "fates, half of plans", "of plans", "neighbours"]
    head += ["variance", "genes"]

    def rows() -> Rows:
        adata = dyngen_cells()
        is_driver = contrasts(adata) > LEAST_CONTRAST
        keys = {"time_key": "span", "use_rep": "X_pca"}
        noise = di.tl.noise_scale(adata, **keys) ** 2 / 2
        for seed in range(seeds):
            model = di.StochasticInterpolant().fit(
                adata, **keys, seed=seed, max_steps=500 * size, progress=False
            )
            options = {"states": list(ENDS), "noise": noise, "seed": seed}
            di.tl.fates(model, adata, "lineage", **options)
            adata.obsm["own"] = adata.obsm["dyninfer_fates"]
            di.tl.fates(model, adata, "lineage", transport=0.5, baselines=True, **options)
            for name, last in BEFORE.items():
                chosen = (adata.obs["global_time"] < last).to_numpy()
                x = dense(adata.X[chosen])
                areas = [roc_auc_score(is_driver, x.var(0))]
                for key in FATES[::-1]:
                    areas.insert(0, area_of(adata, chosen, key, is_driver))
                scores = [f"{area:.2f}" for area in areas]
                yield [str(seed), name, *scores, str(is_driver.sum())]

    return head, rows()


# Where the fates of a column of the table stand.
FATES = ("own", "dyninfer_fates", "dyninfer_fates_transport", "dyninfer_fates_neighbors")


def area_of(adata: ad.AnnData, cells: np.ndarray, key: str, is_driver: np.ndarray) -> float:
    """Area under the curve of the correlations with the fates under a key, whatever their sign."""
    table = di.tl.drivers(None, adata, ENDS[1], cells=cells, key=key)
    correlations = table["corr"].abs().loc[adata.var_names]
    # A gene that does not vary has none, and is last.
    return roc_auc_score(is_driver, correlations.fillna(0))


TABLES: Tables = {"network": network, "dyngen": dyngen}

if __name__ == "__main__":
    parser = parser_of(TABLES, __doc__)
    parser.add_argument("--size", type=int, default=4, help="40 cells a time and 100 steps each")
    parser.add_argument("--seeds", type=int, default=2)
    print_tables(parser, TABLES, of_data=["dyngen"])
