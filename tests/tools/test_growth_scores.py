"""Scores of division and death: known rates, known genes, and what is missing is said."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

import dyninfer as di
from dyninfer.tools.gene_sets import APOPTOSIS, G2M_PHASE, PROLIFERATION, S_PHASE, symbols_in

OTHERS = [f"GENE{i}" for i in range(20)]


def cells(n=40, genes=(*PROLIFERATION, *APOPTOSIS, *OTHERS), dividing=None):
    """Cells of which the first half express the genes of the cell cycle."""
    rng = np.random.default_rng(0)
    x = rng.random((n, len(genes)))
    names = pd.Index(genes).astype(str)
    cycle = names.str.upper().isin(PROLIFERATION)
    x[: n // 2, cycle] += 2.0
    obs = pd.DataFrame({"day": np.arange(n) % 2}, index=[f"c{i}" for i in range(n)])
    return ad.AnnData(X=x.astype(np.float32), obs=obs, var=pd.DataFrame(index=names))


def test_the_sets_are_whole_and_apart():
    assert (len(S_PHASE), len(G2M_PHASE)) == (43, 54)
    assert len(set(PROLIFERATION)) == 97
    assert not set(PROLIFERATION) & set(APOPTOSIS)


def test_scores_are_mean_z_scores_and_rates_follow_the_logistic_curve():
    """Two genes, half of the cells high in both: z-scores are one and minus one."""
    x = np.repeat([[2.0, 3.0], [0.0, 1.0]], 5, axis=0)
    adata = ad.AnnData(X=x, var=pd.DataFrame(index=["A", "B"]))
    table = di.tl.score_growth(adata, proliferation=["A", "B"], apoptosis=["B"])
    np.testing.assert_allclose(table["proliferation"], np.repeat([1.0, -1.0], 5))
    birth = 0.3 + 1.4 / (1 + np.exp(-8 * (np.array([1.0, -1.0]) - 0.25)))
    death = 0.3 + 1.4 / (1 + np.exp(-20 * (np.array([1.0, -1.0]) - 0.1)))
    np.testing.assert_allclose(table["birth"], np.repeat(birth, 5))
    np.testing.assert_allclose(table["growth"], np.repeat(birth - death, 5))
    np.testing.assert_allclose(adata.obs["dyninfer_growth_prior"], table["growth"])


def test_cells_in_the_cycle_are_expected_to_grow():
    adata = cells()
    table = di.tl.score_growth(adata)
    growth = adata.obs["dyninfer_growth_prior"].to_numpy()
    assert growth[:20].min() > growth[20:].max()
    assert table["birth"].between(0.3, 1.7).all()


def test_rates_are_per_unit_of_the_times():
    day = di.tl.score_growth(cells())["growth"]
    hour = di.tl.score_growth(cells(), days_per_unit=1 / 24)["growth"]
    np.testing.assert_allclose(24 * hour, day)


def test_layers_sparse_matrices_columns_of_symbols_and_mice_are_the_same():
    expected = di.tl.score_growth(cells())["growth"].to_numpy()
    sparse = cells()
    sparse.X = csr_matrix(sparse.X)
    layered = cells()
    layered.layers["log"] = layered.X.copy()
    layered.X = np.zeros_like(layered.X)
    named = cells()
    named.var["symbol"] = named.var_names
    named.var_names = [f"ENSG{i:05d}" for i in range(named.n_vars)]
    mouse = cells(genes=symbols_in((*PROLIFERATION, *APOPTOSIS, *OTHERS), "mouse"))
    for adata, options in (
        (sparse, {}),
        (layered, {"layer": "log"}),
        (named, {"gene_key": "symbol"}),
        (mouse, {"organism": "mouse"}),
    ):
        scores = di.tl.score_growth(adata, **options)["growth"]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_former_symbols_are_known():
    adata = cells()
    adata.var_names = adata.var_names.str.replace("CENPU", "MLF1IP")
    np.testing.assert_allclose(
        di.tl.score_growth(adata)["growth"], di.tl.score_growth(cells())["growth"]
    )


def test_an_empty_set_leaves_a_rate_at_its_lowest():
    table = di.tl.score_growth(cells(), apoptosis=[])
    np.testing.assert_allclose(table["death"], 0.3)


def test_a_gene_that_nobody_expresses_counts_for_nothing():
    adata, silent = cells(), cells()
    del_column = list(adata.var_names).index("MCM5")
    silent.X[:, del_column] = 0
    rest = adata[:, adata.var_names != "MCM5"].copy()
    np.testing.assert_allclose(
        di.tl.score_growth(silent)["growth"], di.tl.score_growth(rest)["growth"], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("adata", "options", "kind", "message"),
    [
        (cells(genes=OTHERS), {}, ValueError, "0 of the 97 genes of proliferation are in the data"),
        (
            cells(genes=symbols_in(PROLIFERATION, "mouse")),
            {},
            ValueError,
            "the names look like those of mouse: give organism='mouse'",
        ),
        (
            cells(genes=[f"ENSG{i}" for i in range(9)]),
            {},
            ValueError,
            "identifiers: give the column of symbols, gene_key",
        ),
        (cells(), {"organism": "yeast"}, ValueError, "one of human, mouse, found 'yeast'"),
        (cells(), {"layer": "log"}, KeyError, "layer 'log' is not in adata.layers"),
        (cells(), {"gene_key": "symbol"}, KeyError, "gene_key 'symbol' is not in adata.var"),
        (cells(), {"days_per_unit": 0}, ValueError, "days_per_unit must be positive and finite"),
        (cells(), {"layer": np.array([1])}, KeyError, "is not in adata.layers"),
        (cells(), {"apoptosis": 3}, TypeError, "apoptosis must be a list with symbols of genes"),
        (cells(), {"apoptosis": [3]}, TypeError, "apoptosis must be symbols of genes, found 3"),
        (cells(), {"proliferation": "TOP2A"}, TypeError, "proliferation must be a list"),
        (np.zeros((3, 3)), {}, TypeError, "AnnData"),
    ],
)
def test_what_cannot_be_scored_is_named(adata, options, kind, message):
    with pytest.raises(kind, match=message):
        di.tl.score_growth(adata, **options)


def test_few_genes_and_counts_are_warned_of():
    few = cells(genes=(*PROLIFERATION[:30], *APOPTOSIS))
    with pytest.warns(UserWarning, match="only 30 of the 97 genes of proliferation"):
        di.tl.score_growth(few)
    counts = cells()
    counts.X = np.round(20 * counts.X)
    with pytest.warns(UserWarning, match="looks like raw counts"):
        di.tl.score_growth(counts)


def test_a_fit_takes_the_score_as_its_prior():
    adata = cells(80)
    di.tl.score_growth(adata)
    adata.obsm["X_pca"] = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = di.StochasticInterpolant(
            coupling="growth_first", training=di.Training(max_steps=3), width=8
        ).fit(adata, time_key="day", growth_key="dyninfer_growth_prior", progress=False)
    assert model.source_["growth_key"] == "dyninfer_growth_prior"
