"""The branching network: its equations written out, and drivers that find its regulators."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import dyninfer as di
from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import SRA1
from dyninfer.simulators import BranchingNetwork

NETWORK = BranchingNetwork(dt=0.05)
END = 8.0


def test_drift_is_the_written_equation():
    network = BranchingNetwork(n_targets=1, n_bystanders=1)
    x = np.random.default_rng(0).uniform(0, 2, (5, 9))
    a, b, falling, rising, a1, b1, f1, r1, w1 = x.T
    expected = [
        2.5 * (a**2 + 0.5) / (1.5 + a**2 + 4 * b**2) - a,
        2.5 * (b**2 + 0.5) / (1.5 + b**2 + 4 * a**2) - b,
        -0.4 * falling,
        0.4 * (1 - rising),
        2 * a**2 / (1 + a**2) - a1,
        2 * b**2 / (1 + b**2) - b1,
        falling - f1,
        rising - r1,
        1 - w1,
    ]
    np.testing.assert_allclose(network.drift(0.0, torch.from_numpy(x)).T, expected)


def test_cells_commit_evenly_and_bystanders_vary_most():
    snapshots = NETWORK.snapshots([0, END], n=600, seed=0)
    assert snapshots.features == NETWORK.genes
    cells = pd.DataFrame(snapshots.at(END), columns=list(NETWORK.genes))
    share = (NETWORK.fates(torch.from_numpy(snapshots.at(END))) == "A").mean()
    assert share == pytest.approx(0.5, abs=0.07)
    assert cells["wandering1"].std() == pytest.approx(1.0, rel=0.1)
    # exp(−0.4 t) of what was there.
    assert cells["falling"].mean() == pytest.approx(np.exp(-0.4 * END), abs=0.02)
    committed = np.abs(cells["A"] - cells["B"]) > 1
    assert committed.mean() > 0.9


def with_true_fates(time, n=150, n_draws=20):
    """Cells at a time with the shares of their own futures that end in A."""
    x = NETWORK.sample(time, n, seed=1)
    start = x.repeat(n_draws, 1)
    run = simulate(NETWORK.process(), start, [time, END], solver=SRA1(dt=0.1), seed=2)
    is_a = (NETWORK.fates(run.states[:, -1]) == "A").reshape(n_draws, n).mean(0)
    names = pd.Index(NETWORK.genes)
    obs = pd.DataFrame({"day": time}, index=[f"c{i}" for i in range(n)])
    adata = ad.AnnData(x.numpy(), obs=obs, var=pd.DataFrame(index=names))
    adata.obsm["dyninfer_fates"] = np.stack([is_a, 1 - is_a], axis=1)
    adata.uns["dyninfer_fates"] = {"names": ["A", "B"]}
    return adata


class TrueVelocity:
    source_ = {"time_key": "day", "use_rep": "X"}

    def annotations(self, adata):
        return {"dyninfer_velocity": NETWORK.drift(0.0, torch.from_numpy(adata.X)).numpy()}


@pytest.mark.parametrize("time", [1.0, 4.0])
def test_drivers_find_the_regulators_before_the_split_and_after(time):
    """Genes of fate A, its master and targets, against all others; B's count against it."""
    adata = with_true_fates(time)
    table = di.tl.drivers(TrueVelocity(), adata, "A").loc[list(NETWORK.genes)]
    is_driver = np.isin(NETWORK.genes, NETWORK.regulated_by("A"))
    auroc = {name: roc_auc_score(is_driver, table[name]) for name in ("corr", "rise_over_rest")}
    auroc["variance"] = roc_auc_score(is_driver, adata.X.var(0))
    auroc["mean"] = roc_auc_score(is_driver, adata.X.mean(0))
    assert auroc["corr"] >= 0.85
    assert auroc["rise_over_rest"] >= 0.85
    assert max(auroc["variance"], auroc["mean"]) < 0.75
