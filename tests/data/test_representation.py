"""Representations: which array of an AnnData holds the features, and what is said about it."""

import re

import anndata
import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.data.representation import check_finite, representation, warn_if_counts


def cells(day=(0, 0, 1, 1), **columns):
    obs = pd.DataFrame({"day": day, **columns}, index=[f"cell{i}" for i in range(len(day))])
    return anndata.AnnData(np.arange(3.0 * len(day), dtype=np.float32).reshape(-1, 3), obs=obs)


def test_x_pca_is_taken_where_it_is_and_x_where_it_is_not():
    adata = cells()
    assert representation(adata)[2] == "X"
    adata.obsm["X_pca"] = np.zeros((4, 2))
    array, names, rep = representation(adata)
    assert (array.shape, names, rep) == ((4, 2), ("PCA1", "PCA2"), "X_pca")


def test_a_data_frame_names_the_features():
    adata = cells()
    adata.obsm["markers"] = pd.DataFrame(
        {"CD4": np.ones(4), "CD8": np.zeros(4)}, index=adata.obs_names
    )
    array, names, _ = representation(adata, "markers")
    assert names == ("CD4", "CD8")
    assert isinstance(array, np.ndarray)


def test_a_missing_representation_lists_those_there_are_and_says_how_to_compute_pcs():
    adata = cells()
    adata.obsm["X_umap"] = np.zeros((4, 2))
    with pytest.raises(
        KeyError,
        match=r"use_rep 'X_pca' is not in adata.obsm; there are 'X_umap', 'X'; compute it with sc.pp.pca",
    ):
        representation(adata, "X_pca")


def test_an_empty_x_says_what_else_there_is():
    adata = anndata.AnnData(obs=pd.DataFrame(index=["a", "b"]))
    with pytest.raises(KeyError, match="adata.X is empty; and adata.obsm has nothing"):
        representation(adata)
    adata.obsm["X_umap"] = np.zeros((2, 2))
    with pytest.raises(KeyError, match="adata.X is empty; give use_rep, one of 'X_umap'"):
        representation(adata)


def test_a_layer_is_a_representation_with_the_names_of_the_genes():
    adata = cells()
    adata.layers["Ms"] = 2 * adata.X
    array, names, rep = representation(adata, "Ms")
    assert (names, rep) == (tuple(adata.var_names), "Ms")
    np.testing.assert_array_equal(array, adata.layers["Ms"])
    # What is in obsm comes first.
    adata.obsm["Ms"] = np.zeros((4, 2))
    assert representation(adata, "Ms")[0].shape == (4, 2)


def test_counts_in_a_layer_are_warned_about():
    adata = cells(day=np.arange(40) % 2)
    adata.layers["counts"] = np.random.default_rng(0).poisson(30.0, (40, 3))
    with pytest.warns(UserWarning, match=r"adata.layers\['counts'\] looks like raw counts"):
        di.Snapshots.from_anndata(adata, time_key="day", use_rep="counts")


def test_thousands_of_genes_without_components_are_a_question():
    obs = pd.DataFrame({"day": [0, 0, 1, 1]}, index=list("abcd"))
    adata = anndata.AnnData(np.ones((4, 1000), dtype=np.float32), obs=obs)
    with pytest.raises(ValueError, match="there are 1000 genes and no adata.obsm.*sc.pp.pca.*use_"):
        representation(adata)
    assert representation(adata, "X")[0].shape == (4, 1000)
    assert representation(adata[:, :999])[0].shape == (4, 999)


def test_raw_counts_are_warned_about_and_normalised_values_are_not(recwarn):
    counts = np.random.default_rng(0).poisson(8.0, (100, 50)).astype(np.float32)
    with pytest.warns(UserWarning, match="adata.X looks like raw counts.*log1p"):
        warn_if_counts(counts, "adata.X")
    recwarn.clear()
    warn_if_counts(np.log1p(counts), "adata.X")
    warn_if_counts(np.array([[0.0, 1.0], [1.0, 0.0]]), "adata.X")
    warn_if_counts(counts - 5, "adata.X")
    assert not recwarn.list


def test_missing_values_are_counted_and_the_first_row_named():
    x = np.zeros((5, 2))
    x[1, 0], x[4] = np.nan, np.inf
    message = (
        "X_pca has NaN or infinite values in 2 of 5 rows (first: 'AAAC-1'); remove or impute them"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_finite(x, "X_pca", ["a", "AAAC-1", "c", "d", "e"])
    check_finite(np.zeros((2, 3)), "X_pca")
