"""Driver genes of a network whose regulators are known, by a model that saw snapshots only.

Snapshots of `BranchingNetwork` become components, a stochastic interpolant is fitted to those, its transitions carry the fates
of the last time back one time after the other, and `tl.drivers` ranks the genes. Scored by the area under the ROC curve of the
genes of fate A (its master and the master's targets) against all others, beside rankings that need no model.

    OMP_NUM_THREADS=1 python tests/benchmarks/science_drivers.py
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


TABLES: Tables = {"network": network}

if __name__ == "__main__":
    parser = parser_of(TABLES, __doc__)
    parser.add_argument("--size", type=int, default=4, help="40 cells a time and 100 steps each")
    parser.add_argument("--seeds", type=int, default=2)
    print_tables(parser, TABLES)
