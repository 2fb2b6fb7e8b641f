"""A scene holds the places, times, names and colours of what it was made of."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.report import Scene, write_report
from dyninfer.report.scene import FINEST


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    time = np.repeat([0.0, 1.0, 2.0], 20)
    states = (rng.normal(size=(60, 2)) + time[:, None]).astype(np.float32)
    kind = pd.Categorical(["stem", "</script>", "nerve"] * 20)
    obs = pd.DataFrame({"day": time, "kind": kind}, index=[f"c{i}" for i in range(60)])
    adata = anndata.AnnData(X=states, obs=obs)
    adata.var_names = ["Sox2", "Pax6"]
    return adata


@pytest.fixture(scope="module")
def traj():
    states = np.linspace([[0.0, 0.0], [1.0, 0.5]], [[2.0, 2.0], [3.0, 2.5]], 5).swapaxes(0, 1)
    times = np.linspace(0, 2, 5)
    names = ["Sox2", "Pax6"]
    return di.Trajectories(
        states=torch.tensor(states), times=times, features=names, origin=["c3", "c1"]
    )


def places(values, everything):
    low, high = everything.min(), everything.max()
    return np.rint(FINEST * (values - low) / (high - low))


def test_cells_and_paths_lie_where_they_are_in_one_range(cells, traj):
    content = Scene.of(cells, traj, time_key="day").content
    states = np.asarray(traj.states)
    for axis, name in enumerate("xy"):
        everything = np.concatenate([cells.X[:, axis], states[..., axis].ravel()])
        expected = places(cells.X[:, axis], everything)
        np.testing.assert_allclose(content["cells"][name], expected, atol=1)
        expected = places(states[..., axis], everything)
        np.testing.assert_allclose(content["paths"][name], expected, atol=1)
    assert content["labels"] == ["Sox2", "Pax6"]
    assert content["times"] == [0, 0.5, 1, 1.5, 2]
    assert content["paths"]["name"] == ["c3", "c1"]
    assert content["cells"]["name"] == list(cells.obs_names)
    assert content["cells"]["time"] == [0] * 20 + [1] * 20 + [2] * 20


def test_labels_keep_their_order_and_colors_and_numbers_three_digits(cells, traj):
    adata = cells.copy()
    adata.uns["kind_colors"] = ["#000001", "#000002", "#000003"]
    labels, gene = Scene.of(adata, traj, time_key="day", color=["kind", "Pax6"]).content["colors"]
    assert labels["labels"] == ["</script>", "nerve", "stem"]
    assert labels["palette"] == adata.uns["kind_colors"]
    assert labels["values"][:3] == [2, 0, 1]
    np.testing.assert_allclose(gene["values"], cells.X[:, 1], rtol=5e-3)
    np.testing.assert_allclose(gene["range"], np.quantile(cells.X[:, 1], [0.01, 0.99]), rtol=1e-5)


def test_no_text_of_a_scene_ends_its_element(cells, traj):
    text = Scene.of(cells, traj, time_key="day", color=["kind"]).json()
    assert "<" not in text
    assert json.loads(text)["colors"][0]["labels"][0] == "</script>"


def test_many_cells_and_paths_are_thinned_by_the_seed_alone(cells, traj):
    content = Scene.of(cells, traj, time_key="day", n_cells=7, n_paths=1, seed=3).content
    again = Scene.of(cells, traj, time_key="day", n_cells=7, n_paths=1, seed=3).content
    assert content == again
    assert len(content["cells"]["x"]) == 7
    assert content["n_left_out"] == 53
    assert len(content["paths"]["x"]) == 1


def test_a_single_feature_lies_over_time():
    data = di.Snapshots(times=[0, 2], samples=[np.zeros((2, 1)), np.ones((2, 1))])
    run = di.Trajectories(states=torch.tensor([[[0.0], [4.0]]]), times=[0, 2], features=["x0"])
    content = Scene.of(data, run, time_unit="h").content
    assert content["labels"] == ["time (h)", "x0"]
    assert content["cells"]["x"] == [0, 0, FINEST, FINEST]
    assert content["paths"]["y"] == [[0, FINEST]]


def test_the_script_stands_once_on_a_page_with_two_scenes(cells, traj, tmp_path):
    model = di.ActionMatching(width=8, training=di.Training(max_steps=2))
    model.fit(cells, time_key="day", use_rep="X", hold_out=1.0, progress=False)
    table = model.evaluate(cells, metrics=["w1"])
    scene = Scene.of(cells, traj, time_key="day", color=["kind"])
    path = write_report(tmp_path / "r.html", model, table, [("One.", scene), ("Two.", scene)])
    text = path.read_text()
    assert text.count("function startScene") == 1
    assert text.count('<script type="application/json">') == 2
    assert text.count("</script>") == 3


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"color": ["kin"]}, KeyError, "color 'kin' is neither a column of adata.obs"),
        ({"color": "kind"}, TypeError, "color must be"),
        ({"color": [3]}, TypeError, "color must be a column of obs or a gene, found 3"),
        ({"n_cells": 0}, ValueError, "n_cells"),
        ({"time_unit": 1}, TypeError, "a unit must be text"),
    ],
)
def test_what_a_scene_cannot_hold_is_named(cells, traj, options, kind, says):
    with pytest.raises(kind, match=says):
        Scene.of(cells, traj, time_key="day", **options)
