"""Divergence and curl of linear fields are those of their matrices, on states and on a plane."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from known_process import KnownProcess

import dyninfer as di
from dyninfer.diffusions import Diffusion
from dyninfer.tools import divergence

SPIRAL = np.array([[-0.5, -2.0], [1.0, 0.3]])
DEEP = np.diag([1.0, -2.0, 0.25, 0.5]) + 0.3 * np.eye(4, k=1)


def cells(d, n=120):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)).astype(np.float32)
    obs = pd.DataFrame({"time": np.repeat([1.0, 3.0], n // 2)})
    obs.index = obs.index.astype(str)
    return ad.AnnData(x, obs=obs)


def fitted(process, adata):
    return KnownProcess(process=process).fit(adata, time_key="time", use_rep="X", progress=False)


def linear(matrix):
    """A field that grows with time, by which every slope is multiplied."""
    matrix = torch.as_tensor(matrix)

    def drift(t, x):
        return t.reshape(-1, 1) * x @ matrix.T.to(x.dtype)

    return Diffusion(drift=drift)


def test_of_a_linear_field_they_are_trace_and_rotation_of_its_matrix():
    adata = cells(2)
    table = divergence(fitted(linear(SPIRAL), adata), adata)
    time = adata.obs["time"].to_numpy()
    np.testing.assert_allclose(table["divergence"], time * np.trace(SPIRAL), rtol=1e-5)
    rotation = SPIRAL[1, 0] - SPIRAL[0, 1]
    np.testing.assert_allclose(table["curl"], time * rotation, rtol=1e-5)
    pd.testing.assert_series_equal(
        adata.obs["dyninfer_divergence"], table["divergence"], check_names=False
    )
    assert "dyninfer_curl" in adata.obs


def test_in_many_dimensions_there_is_a_divergence_alone():
    adata = cells(4)
    table = divergence(fitted(linear(DEEP), adata), adata)
    assert list(table.columns) == ["divergence"]
    np.testing.assert_allclose(table["divergence"], adata.obs["time"] * np.trace(DEEP), rtol=1e-5)


def test_on_a_turned_and_stretched_plane_they_are_those_of_the_mapped_matrix():
    adata = cells(2)
    # A matrix that does not depend on time: neighbours on the plane are of both times.
    model = fitted(Diffusion(drift=lambda t, x: x @ torch.as_tensor(SPIRAL.T).to(x.dtype)), adata)
    stretched = np.array([[2.0, 1.0], [0.0, 0.5]])
    adata.obsm["X_flat"] = np.asarray(adata.X) @ stretched.T
    table = divergence(model, adata, "flat")
    mapped = stretched @ SPIRAL @ np.linalg.inv(stretched)
    np.testing.assert_allclose(table["divergence"], np.trace(SPIRAL), rtol=1e-3)
    np.testing.assert_allclose(table["curl"], mapped[1, 0] - mapped[0, 1], rtol=1e-3)
    assert {"dyninfer_divergence_flat", "dyninfer_curl_flat"} <= set(adata.obs)


def test_of_a_trained_network_it_is_the_trace_of_its_jacobian():
    adata = cells(3)
    model = di.ActionMatching(width=8, depth=1)
    model.fit(adata, time_key="time", use_rep="X", max_steps=3, progress=False)
    table = divergence(model, adata)
    x = torch.as_tensor(np.asarray(adata.X), dtype=torch.float64)
    step = 1e-3
    expected = torch.zeros(len(x), dtype=torch.float64)
    t = torch.as_tensor(adata.obs["time"].to_numpy())
    for k in range(3):
        shift = step * torch.eye(3, dtype=torch.float64)[k]
        ahead = model.process_.drift(t, x + shift)[:, k]
        behind = model.process_.drift(t, x - shift)[:, k]
        expected += ((ahead - behind) / (2 * step)).detach()
    np.testing.assert_allclose(table["divergence"], expected, atol=5e-3)


def test_what_cannot_be_is_refused():
    adata = cells(4)
    model = fitted(linear(DEEP), adata)
    adata.obsm["X_deep"] = np.zeros((120, 3))
    with pytest.raises(ValueError, match="has 3 columns; curl needs two"):
        divergence(model, adata, "deep")
    with pytest.raises(ValueError, match="n_neighbors is used with a basis only"):
        divergence(model, adata, n_neighbors=5)
    with pytest.raises(KeyError):
        divergence(model, adata, "nowhere")
    with pytest.raises(TypeError, match="fitted estimator"):
        divergence(3, adata)
    assert "dyninfer_divergence" not in adata.obs
