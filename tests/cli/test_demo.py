"""The demonstration leaves its files, and its report says what the numbers say."""

from __future__ import annotations

import re

import anndata
import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.cli.demo import run_demo


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
    sources = re.findall(r"(?:src|href)\s*=\s*[\"']([^\"']*)[\"']", text)
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"<link|@import|url\(|https?://|fetch\(|XMLHttp|import ", text)
    # The data of the picture and its script, both written into the page.
    assert re.findall(r"<script[^>]*>", text) == ['<script type="application/json">', "<script>"]
    assert (demo.folder / "report.html").stat().st_size < 5e6


def test_report_and_summary_state_the_held_out_score_with_its_baselines(demo):
    row = demo.evaluation[demo.evaluation["held_out"]].iloc[0]
    text = (demo.folder / "report.html").read_text()
    for name in ("w1", "w1_floor", "w1_still", "w1_ot"):
        assert f"{row[name]:.3f}" in text
        assert f"{row[name]:#.3g}" in demo.summary
    assert "Semrau" in text
    assert "neklyudov2023action" in text


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
