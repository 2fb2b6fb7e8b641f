"""The demonstration leaves its files, and its report says what the numbers say."""

from __future__ import annotations

import re

import anndata
import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.cli.demo import run_demo
from dyninfer.metrics import wasserstein
from dyninfer.report import add_interpolation, verdict, write_report


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_demo(
        tmp_path_factory.mktemp("demo") / "results", seed=1, max_steps=15, progress=False
    )


def test_demo_leaves_its_files(demo):
    names = {path.name for path in demo.folder.iterdir()}
    pictures = {"trajectories.png", "populations.png", "evaluation.png"}
    assert (
        names == {"metrics.csv", "trajectories.h5ad", "model.safetensors", "report.html"} | pictures
    )


def test_demo_files_hold_what_was_returned(demo):
    adata = di.datasets.mesc_retinoic_acid()
    model = di.load(demo.folder / "model.safetensors")
    assert model.hold_out_ == [24.0]
    traj = di.Trajectories.load(demo.folder / "trajectories.h5ad")
    np.testing.assert_array_equal(traj.states, demo.trajectories.states)
    assert set(np.unique(adata.obs["time"])) <= set(traj.times.tolist())
    np.testing.assert_allclose(traj.at(0.0), adata.obsm["X_pca"][adata.obs["time"] == 0], rtol=1e-6)
    table = pd.read_csv(demo.folder / "metrics.csv")
    previous = table[:8]
    assert list(previous["time"]) == [6, 12, 24, 36, 48, 60, 72, 96]
    assert list(previous["held_out"]) == [False, False, True] + [False] * 5
    assert (table["start"][8:] == 0).all()
    np.testing.assert_allclose(
        previous["w1"], model.evaluate(adata, metrics=["w1"], seed=1)["w1"], rtol=1e-4
    )


def test_demo_never_shows_the_held_out_cells_to_the_model(demo):
    assert 24.0 not in demo.model.times_
    assert sum(demo.model.sizes_) == 2449 - 291


def test_report_refers_to_nothing_outside_itself(demo):
    text = (demo.folder / "report.html").read_text()
    sources = re.findall(r"(?:src|href)\s*=\s*'([^']*)'", text)
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"<script|<link|@import|url\(|https?://", text)


def test_report_and_summary_state_the_held_out_score_with_its_baselines(demo):
    row = demo.evaluation[demo.evaluation["held_out"]].iloc[0]
    text = (demo.folder / "report.html").read_text()
    for name in ("w1", "w1_floor", "w1_still", "w1_ot"):
        assert f"{row[name]:.3f}" in text
        assert f"{row[name]:#.3g}" in demo.summary
    assert "Semrau" in text
    assert "neklyudov2023action" in text


def line(model, observed, **kwargs):
    row = {"time": 1.0, "start": 0.0, "held_out": True} | kwargs
    return verdict(model, pd.DataFrame([row]))[0]


def test_verdict_follows_the_numbers(demo):
    text = line(demo.model, None, w1=1.0, w1_still=2.0, w1_floor=0.5, w1_ot=0.8)
    assert "2.00 away: the model beats this baseline, being 50 % closer" in text
    assert "0.800 away: the model does not beat this baseline, being 25 % further away" in text
    assert "gains 67 % of what could be gained" in text
    text = line(demo.model, None, w1=1.0, w1_still=0.8, w1_floor=0.9, w1_ot=1.01)
    assert "0.800 away: the model does not beat this baseline" in text
    assert "1.01 away: the model and this baseline are equal within 2 %" in text
    assert "gains" not in text


def test_verdict_without_a_held_out_time_says_so(demo):
    table = pd.DataFrame(
        {"time": [1, 2], "held_out": [False] * 2, "w1": [1.0, 3.0], "w1_still": [2.0, 2.0]}
    )
    (text,) = verdict(demo.model, table)
    assert "No time was held out" in text
    assert "1 of 2 times" in text


def test_interpolation_of_a_translation_is_exact_and_has_no_value_at_the_end():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    data = di.Snapshots(times=[0, 1, 3], samples=[x, x + 1, x + 3])
    table = add_interpolation(
        pd.DataFrame({"time": [1.0, 3.0], "w1": [9.0, 9.0], "mmd": [9.0, 9.0]}), data
    )
    assert table["w1_ot"][0] == pytest.approx(0, abs=1e-6)
    assert np.isnan(table["w1_ot"][1])
    assert "energy_ot" not in table


def test_interpolation_is_that_of_an_independent_assignment():
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(1)
    x, y, z = rng.normal(size=(3, 25, 2))
    data = di.Snapshots(times=[0, 1, 4], samples=[x, y, z + 2])
    i, j = linear_sum_assignment(cdist(x, z + 2, "sqeuclidean"))
    expected = wasserstein(0.75 * x[i] + 0.25 * (z + 2)[j], y)
    table = add_interpolation(pd.DataFrame({"time": [1.0], "w1": [0.0]}), data)
    assert table["w1_ot"][0] == pytest.approx(expected, rel=1e-5)


def test_report_escapes_what_it_is_given(demo, tmp_path):
    path = write_report(tmp_path / "r.html", demo.model, demo.evaluation, title="<b>a & b</b>")
    assert "<h1>&lt;b&gt;a &amp; b&lt;/b&gt;</h1>" in path.read_text()


def test_report_into_a_missing_folder_is_an_error(demo, tmp_path):
    with pytest.raises(FileNotFoundError, match="make it first"):
        write_report(tmp_path / "no" / "r.html", demo.model, demo.evaluation)


def test_demo_changes_no_global_state(demo, tmp_path):
    import matplotlib
    import torch

    before = torch.get_num_threads(), torch.get_rng_state().clone(), dict(matplotlib.rcParams)
    again = run_demo(tmp_path, seed=1, max_steps=15, progress=False)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert dict(matplotlib.rcParams) == before[2]
    np.testing.assert_array_equal(again.trajectories.states, demo.trajectories.states)
    assert anndata.read_h5ad(tmp_path / "trajectories.h5ad").n_obs == 282 * 65
