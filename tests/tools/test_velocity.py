"""Velocities in genes and on a basis: closed forms of known drifts and linear maps."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.tools.decoding import decoder_of

RNG = np.random.default_rng(0)


class Known:
    """A fitted model whose velocity is ``matrix @ x``, for the tools alone."""

    def __init__(self, matrix, use_rep="X_pca"):
        self.matrix, self.source_ = np.asarray(matrix), {"time_key": "day", "use_rep": use_rep}

    def annotations(self, adata):
        values = adata.obsm["X_pca"] if self.source_["use_rep"] == "X_pca" else adata.X
        return {"dyninfer_velocity": values @ self.matrix.T}


def cells(n=200, n_genes=12, n_features=3):
    """Cells whose components are exactly those of their genes."""
    loadings = np.linalg.qr(RNG.normal(size=(n_genes, n_features)))[0]
    z = RNG.normal(size=(n, n_features)) * [3, 2, 1]
    mean = RNG.uniform(1, 5, n_genes)
    noise = RNG.normal(size=(n, n_genes)) * 0.1
    noise -= noise @ loadings @ loadings.T
    noise -= noise.mean(0)
    names = [f"Gene{i}" for i in range(n_genes)]
    obs = pd.DataFrame({"day": np.arange(n) % 2}, index=[f"c{i}" for i in range(n)])
    adata = ad.AnnData(mean + z @ loadings.T + noise, obs=obs, var=pd.DataFrame(index=names))
    adata.obsm["X_pca"], adata.varm["PCs"], adata.var["mean"] = z, loadings, mean
    return adata


def test_components_are_decoded_with_the_mean_of_the_genes():
    adata = cells()
    decode = decoder_of(adata, "X_pca", ["Gene3", "Gene1"])
    states = np.array([[0.0, 0, 0], [1, 0, 0]])
    mean = adata.var["mean"][["Gene3", "Gene1"]].to_numpy()
    np.testing.assert_allclose(decode.values(states)[0], mean)
    np.testing.assert_allclose(decode.values(states)[1] - mean, adata.varm["PCs"][[3, 1], 0])


def test_a_layer_of_velocities_is_the_velocity_times_the_loadings():
    adata, matrix = cells(), RNG.normal(size=(3, 3))
    di.tl.velocity_layer(Known(matrix), adata)
    expected = adata.obsm["X_pca"] @ matrix.T @ adata.varm["PCs"].T
    np.testing.assert_allclose(adata.layers["dyninfer_velocity"], expected, rtol=1e-5, atol=1e-5)
    smooth = adata.var["mean"].to_numpy() + adata.obsm["X_pca"] @ adata.varm["PCs"].T
    np.testing.assert_allclose(adata.layers["dyninfer_expression"], smooth, rtol=1e-5)
    assert adata.var["dyninfer_velocity_genes"].all()


def test_a_function_is_decoded_by_its_jacobian():
    adata, matrix = cells(), RNG.normal(size=(3, 3))
    genes = adata.varm["PCs"].T

    def decoder(z):
        return np.exp(0.3 * z @ genes)

    di.tl.velocity_layer(Known(matrix), adata, decoder=decoder)
    z = adata.obsm["X_pca"]
    expected = 0.3 * decoder(z) * (z @ matrix.T @ genes)
    np.testing.assert_allclose(adata.layers["dyninfer_velocity"], expected, rtol=1e-4, atol=1e-4)


def test_states_that_are_genes_need_no_decoder():
    adata = cells()
    di.tl.velocity_layer(Known(2 * np.eye(12), "X"), adata)
    np.testing.assert_allclose(adata.layers["dyninfer_velocity"], 2 * adata.X, rtol=1e-6)


def test_components_of_another_matrix_are_warned_about():
    adata = cells()
    adata.layers["scaled"] = adata.X.copy()
    adata.X = (adata.X - adata.X.mean(0)) * 0.1
    with pytest.warns(
        UserWarning, match="components were not computed from adata.X.*name the layer"
    ):
        decoder_of(adata, "X_pca")
    np.testing.assert_allclose(
        decoder_of(adata, "X_pca", layer="scaled").values(np.zeros((1, 3)))[0], adata.var["mean"]
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"genes": ["gene3"]}, KeyError, "gene 'gene3' is not in .*; did you mean 'Gene3'?"),
        ({"genes": []}, ValueError, "genes is empty"),
        ({"rep": "X_scvi"}, ValueError, "unknown how 'X_scvi' becomes genes; give decoder"),
        ({"decoder": "LV"}, KeyError, "loadings 'LV' are not in adata.varm .it holds 'PCs'."),
        ({"genes": ["Gene0"]}, ValueError, "'Gene0' took no part in the components"),
        ({"rep": "wide"}, ValueError, "loadings of 3 components, 'wide' has 9; give decoder"),
        ({"decoder": lambda z: z}, ValueError, "decoder returns 3 genes, and adata.var_names has"),
    ],
)
def test_what_cannot_be_decoded_is_refused_by_name(arguments, error, message):
    adata = cells()
    adata.varm["PCs"][0] = 0
    adata.obsm["X_scvi"], adata.obsm["wide"] = np.zeros((200, 2)), np.zeros((200, 9))
    if arguments.get("rep") == "wide":
        arguments = {**arguments, "decoder": "PCs"}
    with pytest.raises(error, match=message):
        decoder_of(adata, **{"rep": "X_pca", **arguments})


def test_arrows_on_a_linear_basis_are_exact():
    adata, matrix = cells(), RNG.normal(size=(3, 3))
    velocity = adata.obsm["X_pca"] @ matrix.T
    turn = RNG.normal(size=(3, 2))
    adata.obsm["X_turned"] = adata.obsm["X_pca"] @ turn + 7
    adata.obsm["dyninfer_velocity"] = velocity
    arrows = di.tl.velocity_embedding(adata, "turned", use_rep="X_pca")
    np.testing.assert_allclose(arrows, velocity @ turn, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(adata.obsm["dyninfer_velocity_turned"], arrows)


def test_arrows_on_a_curve_follow_its_slope():
    """Positions are (cos, sin) of a one-dimensional state that moves at speed 2."""
    angle = np.linspace(0, 6, 2000)
    adata = ad.AnnData(angle[:, None].astype(np.float64))
    adata.obsm["X_circle"] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    adata.obsm["dyninfer_velocity"] = np.full((2000, 1), 2.0)
    arrows = di.tl.velocity_embedding(adata, "circle", use_rep="X")[50:-50]
    tangent = 2 * np.stack([-np.sin(angle), np.cos(angle)], axis=1)[50:-50]
    np.testing.assert_allclose(arrows, tangent, atol=4e-3)


def test_what_is_missing_for_arrows_is_named():
    adata = cells()
    with pytest.raises(KeyError, match=r"no velocity; call model.annotate\(adata\) first"):
        di.tl.velocity_embedding(adata)
    adata.obsm["dyninfer_velocity"] = np.zeros((200, 2))
    with pytest.raises(ValueError, match="the representation of the velocity is not known"):
        di.tl.velocity_embedding(adata)
    with pytest.raises(KeyError, match="use_rep 'umap' is not in adata.obsm"):
        di.tl.velocity_embedding(adata, use_rep="X_pca")
    with pytest.raises(ValueError, match="the velocity has 2 features, 'X_pca' has 3"):
        di.tl.velocity_embedding(adata, "pca", use_rep="X_pca")
