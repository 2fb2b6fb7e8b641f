"""Driver genes and trends: correlations by the book, closed forms of velocities and of paths."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control, pearsonr

import dyninfer as di

N = 120


class Known:
    """A fitted model whose velocity is given, for the tools alone."""

    source_ = {"time_key": "day", "use_rep": "X_pca"}

    def __init__(self, velocity):
        self.velocity = velocity

    def annotations(self, adata):
        rows = adata.obs["row"].to_numpy()
        return {"dyninfer_velocity": self.velocity[rows]}


def with_fates(adata, probabilities, names=("A", "B", "C/D")):
    adata.obsm["dyninfer_fates"] = probabilities
    adata.uns["dyninfer_fates"] = {"names": list(names)}
    return adata


def cells(seed=0, n_genes=10):
    """Gene0 goes with fate A, Gene1 against it, Gene9 is constant; the others are noise."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([1, 1, 1], N)
    x = rng.normal(size=(N, n_genes))
    x[:, 0] += 5 * shares[:, 0]
    x[:, 1] -= 3 * shares[:, 0]
    x[:, 9] = 2.0
    obs = pd.DataFrame({"day": np.arange(N) % 3, "row": np.arange(N)})
    obs.index = [f"c{i}" for i in range(N)]
    var = pd.DataFrame(index=[f"Gene{i}" for i in range(n_genes)])
    adata = ad.AnnData(x, obs=obs, var=var)
    loadings = np.linalg.qr(rng.normal(size=(n_genes, 4)))[0]
    adata.varm["PCs"] = loadings
    adata.obsm["X_pca"] = (x - x.mean(0)) @ loadings
    return with_fates(adata, shares)


def test_correlations_intervals_and_q_values_are_those_of_the_book():
    adata = cells()
    table = di.tl.drivers(None, adata, "A")
    assert list(table.index[:1]) == ["Gene0"]
    assert list(table.index[-2:]) == ["Gene1", "Gene9"]
    share = adata.obsm["dyninfer_fates"][:, 0]
    for gene in ("Gene0", "Gene1", "Gene5"):
        book = pearsonr(adata[:, gene].X.ravel(), share)
        low, high = book.confidence_interval(0.95)
        row = table.loc[gene]
        np.testing.assert_allclose(
            [row["corr"], row["ci_low"], row["ci_high"]], [book[0], low, high]
        )
    tests = table["pval"].dropna()
    np.testing.assert_allclose(table["qval"].dropna(), false_discovery_control(tests), rtol=1e-10)
    assert table.loc["Gene0", "qval"] < 0.01 < table.loc["Gene5", "qval"]
    assert table.loc["Gene9", ["corr", "pval", "qval"]].isna().all()


def test_without_a_fate_each_gets_its_table_in_their_order():
    table = di.tl.drivers(None, cells(), genes=["Gene0", "Gene1"])
    assert table["fate"].tolist() == ["A", "A", "B", "B", "C/D", "C/D"]


def test_fates_that_count_as_one_are_added():
    adata = cells()
    table = di.tl.drivers(None, adata, ["B", "C/D"])
    single = di.tl.drivers(None, adata, "A")
    np.testing.assert_allclose(table["corr"].loc[single.index], -single["corr"])
    assert set(table["fate"]) == {"B or C/D"}


def test_genes_come_from_a_layer_or_from_raw_dense_or_sparse():
    adata = cells()
    expected = di.tl.drivers(None, adata, "A")
    adata.layers["sparse"] = csr_matrix(adata.X)
    other = ad.AnnData(
        csr_matrix(adata.X), obs=adata.obs, var=adata.var.set_index("Raw" + adata.var_names)
    )
    adata.raw = other
    adata.X = np.zeros_like(adata.X)
    pd.testing.assert_frame_equal(di.tl.drivers(None, adata, "A", layer="sparse"), expected)
    raw = di.tl.drivers(None, adata, "A", use_raw=True)
    assert raw.index[0] == "RawGene0"
    np.testing.assert_allclose(raw["corr"], expected["corr"])


@pytest.mark.parametrize(
    "choose",
    [
        lambda a: a.obs["day"] == 1,
        lambda a: np.flatnonzero(a.obs["day"] == 1),
        lambda a: a.obs_names[a.obs["day"] == 1],
    ],
)
def test_cells_are_chosen_by_mask_number_or_name(choose):
    adata = cells()
    part = di.tl.drivers(None, adata[adata.obs["day"] == 1].copy(), "A")
    pd.testing.assert_frame_equal(di.tl.drivers(None, adata, "A", cells=choose(adata)), part)


def test_cells_without_fates_do_not_count():
    adata = cells()
    part = di.tl.drivers(None, adata[:90].copy(), "A")
    adata.obsm["dyninfer_fates"][90:] = np.nan
    pd.testing.assert_frame_equal(di.tl.drivers(None, adata, "A"), part)


def test_genes_rise_by_the_decoded_velocity_of_the_cells_bound_for_the_fate():
    adata = cells()
    velocity = np.random.default_rng(1).normal(size=(N, 4))
    table = di.tl.drivers(Known(velocity), adata, "B", genes=["Gene2", "Gene7"])
    share = adata.obsm["dyninfer_fates"][:, 1]
    for gene in ("Gene2", "Gene7"):
        rate = velocity @ adata.varm["PCs"][adata.var_names.get_loc(gene)]
        rise, rest = np.average(rate, weights=share), np.average(rate, weights=1 - share)
        np.testing.assert_allclose(
            table.loc[gene, ["rise", "rise_over_rest"]].astype(float), [rise, rise - rest]
        )


def test_a_gene_outside_the_components_has_no_velocity():
    adata = cells()
    adata.varm["PCs"][4] = 0
    table = di.tl.drivers(Known(np.ones((N, 4))), adata, "A")
    assert np.isnan(table.loc["Gene4", "rise"])
    assert table["rise"].drop("Gene4").notna().all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"fate": "D"}, KeyError, "'D' is not a fate; the fates are 'A', 'B', 'C/D'"),
        ({"genes": ["gene1"]}, KeyError, "gene 'gene1' is not in adata.X; did you mean 'Gene1'?"),
        ({"genes": ["Gen1"]}, KeyError, "did you mean 'Gene1'?"),
        ({"layer": "counts"}, KeyError, "layer 'counts' is not in adata.layers; there are none"),
        ({"use_raw": True}, KeyError, "adata.raw is empty"),
        ({"cells": ["c1", "x"]}, KeyError, "cells 'x' are not in adata.obs_names"),
        ({"cells": np.ones(3, dtype=bool)}, ValueError, "cells has 3 entries, adata has 120 cells"),
        ({"cells": [1, 2]}, ValueError, "2 cells have fates; drivers need at least 5"),
        ({"level": 95}, ValueError, "level must lie between 0 and 1, found 95"),
    ],
)
def test_what_cannot_be_is_named(arguments, error, message):
    with pytest.raises(error) as raised:
        di.tl.drivers(None, cells(), **arguments)
    assert message in str(raised.value)


def test_one_fate_and_fates_that_do_not_vary_say_why():
    adata = with_fates(cells(), np.ones((N, 1)), ["A"])
    with pytest.raises(ValueError, match="same probability of 'A'.*there is only one fate"):
        di.tl.drivers(None, adata)
    adata = with_fates(cells(), np.full((N, 2), 0.5), ["A", "B"])
    with pytest.raises(ValueError, match="choose cells from before the fates separate"):
        di.tl.drivers(None, adata)
    del adata.obsm["dyninfer_fates"]
    with pytest.raises(KeyError, match="no fates"):
        di.tl.drivers(None, adata)


def paths(n=200, **fields):
    """Paths that leave the origin along the first component, half of them backwards."""
    times = torch.tensor([0.0, 1.0, 2.0])
    speed = torch.linspace(-1, 1, n, dtype=torch.float64)
    states = torch.zeros(n, 3, 4, dtype=torch.float64)
    states[:, :, 0] = speed[:, None] * times
    return di.Trajectories(
        states=states, times=times, features=["PCA1", "PCA2", "PCA3", "PCA4"], **fields
    )


def two_ends():
    """Cells right of the origin have fate A, those left of it B."""
    adata = cells()
    states = np.zeros((N, 4))
    states[:, 0] = np.linspace(-2, 2, N)
    adata.obsm["X_pca"] = states
    adata.X = 3 + states @ adata.varm["PCs"].T
    is_right = (states[:, 0] > 0).astype(float)
    return with_fates(adata, np.stack([is_right, 1 - is_right], axis=1), ["A", "B"])


def test_trends_are_the_decoded_mean_and_band_of_the_paths():
    adata, run = two_ends(), paths()
    table = di.tl.trends(adata, run, ["Gene3", "Gene1"], level=0.8)
    assert table["fate"].unique().tolist() == ["all"]
    assert table["gene"].tolist() == ["Gene3"] * 3 + ["Gene1"] * 3
    last = table[(table["gene"] == "Gene1") & (table["time"] == 2)].iloc[0]
    slope = adata.varm["PCs"][1, 0]
    ends = 3 + slope * run.states[:, -1, 0].numpy()
    np.testing.assert_allclose(last["mean"], 3, atol=1e-9)
    np.testing.assert_allclose(
        [last["low"], last["high"]], np.quantile(ends, [0.1, 0.9]), atol=2e-2
    )
    np.testing.assert_allclose(last["error"], ends.std() / np.sqrt(200))
    assert last["paths"] == pytest.approx(200)


def test_trends_towards_a_fate_follow_the_paths_that_end_in_it():
    adata, run = two_ends(), paths()
    table = di.tl.trends(adata, run, "Gene1", ["A", "B"], n_neighbors=1)
    slope = adata.varm["PCs"][1, 0]
    for fate, sign in (("A", 1), ("B", -1)):
        curve = table[table["fate"] == fate]
        np.testing.assert_allclose(
            curve["mean"], 3 + sign * slope * curve["time"] / 2, atol=0.02 * abs(slope)
        )
        np.testing.assert_allclose(curve["paths"], 100, rtol=0.02)


def test_trends_weigh_paths_by_their_mass_at_the_end():
    run = paths()
    heavy = torch.zeros(200, 3, dtype=torch.float64)
    heavy[150:, 2] = 50.0
    table = di.tl.trends(two_ends(), paths(log_weights=heavy), "Gene1", "A")
    np.testing.assert_allclose(table["paths"], 50)
    adata = two_ends()
    mean = 3 + adata.varm["PCs"][1, 0] * run.states[150:, :, 0].mean(0).numpy()
    np.testing.assert_allclose(table["mean"], mean, atol=1e-9)


def test_lost_paths_are_left_out_of_trends():
    run = paths()
    status = torch.zeros(200, dtype=torch.int8)
    status[::2] = 1
    run.states[::2, 1:] = torch.nan
    lost = di.Trajectories(states=run.states, times=run.times, status=status, features=run.features)
    table = di.tl.trends(two_ends(), lost, "Gene1")
    assert table.notna().all(axis=None)
    np.testing.assert_allclose(table["paths"], 100)
    with pytest.raises(ValueError, match="all paths of traj were lost"):
        di.tl.trends(two_ends(), lost[np.arange(0, 200, 2)], "Gene1")


@pytest.mark.parametrize(
    ("genes", "fate", "error", "message"),
    [
        ("Gene", "A", KeyError, "gene 'Gene' is not in adata.var_names; did you mean 'Gene"),
        ("Gene1", "C", KeyError, "'C' is not a fate; the fates are 'A', 'B'"),
        (
            "Gene1",
            "B",
            ValueError,
            "0.0 of 40 simulated paths end in 'B'; simulate more, with noise",
        ),
    ],
)
def test_trends_that_cannot_be_are_a_message_and_no_empty_curve(genes, fate, error, message):
    with pytest.raises(error) as raised:
        di.tl.trends(two_ends(), paths()[160:], genes, fate, n_neighbors=3)
    assert message in str(raised.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_none_takes_no_gene_from_the_paths(value):
    """The mean over all cells that the components leave out would not be finite."""
    adata = two_ends()
    adata.X[3, 1] = value
    with pytest.raises(ValueError, match="adata.X has NaN or infinite values in 1 of .*'c3'"):
        di.tl.trends(adata, paths(), "Gene1")
    assert di.tl.trends(adata, paths(), "Gene2").notna().all(axis=None)


def test_trends_of_other_features_ask_for_the_representation():
    run = di.Trajectories(states=torch.zeros(5, 2, 4), times=[0.0, 1.0])
    with pytest.raises(KeyError, match="has the features of traj .*give use_rep, one of 'X_pca'"):
        di.tl.trends(two_ends(), run, "Gene1")
    assert len(di.tl.trends(two_ends(), run, "Gene1", use_rep="X_pca")) == 2
