"""The doctor names what a fit uses and what keeps it from running, and its call is one that runs."""

import anndata
import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.cli.main import main


def cells(times=(0, 1, 3), n=30, n_genes=5):
    rng = np.random.default_rng(0)
    day = np.repeat(times, n)
    kind = pd.Categorical(np.where(np.arange(len(day)) % 2, "left", "right"))
    obs = pd.DataFrame({"day": day, "kind": kind}, index=[f"c{i}" for i in range(len(day))])
    adata = anndata.AnnData(rng.normal(size=(len(day), n_genes)).astype(np.float32), obs=obs)
    adata.obsm["X_pca"] = rng.normal(size=(len(day), 3)).astype(np.float32)
    return adata


def test_it_names_times_features_and_a_call_that_runs():
    adata = cells()
    examination = di.tl.doctor(adata)
    assert examination.is_ready
    assert examination.used == {
        "times": "'day', with the number of cells: 0 (30), 1 (30), 3 (30)",
        "features": "'X_pca', 3 features",
    }
    assert "'kind'" in examination.contents["labels"]
    assert examination.call == "model = di.ActionMatching().fit(adata, time_key='day', hold_out=1)"
    names = {"di": di, "adata": adata}
    exec(examination.call.removesuffix(")") + ", max_steps=1, progress=False)", names)
    assert list(names["model"].hold_out_) == [1.0]


def test_it_leaves_the_data_as_they_are():
    adata = cells()
    before = adata.copy()
    di.tl.doctor(adata)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert list(adata.uns) == list(before.uns)


def test_text_is_told_with_the_line_that_reads_it():
    adata = cells()
    adata.obs["day"] = "day " + adata.obs["day"].astype(str)
    examination = di.tl.doctor(adata)
    assert not examination.is_ready
    assert examination.call == ""
    line = "adata.obs['day'] = di.read_times(adata.obs['day'], 'd')"
    assert any(line in problem for problem in examination.problems)
    exec(line, {"di": di, "adata": adata})
    assert di.tl.doctor(adata).is_ready


def test_clusters_are_not_taken_for_times():
    adata = cells()
    adata.obs["leiden"] = pd.Categorical((np.arange(90) % 4).astype(str))
    assert di.tl.doctor(adata).used["times"].startswith("'day'")
    adata.obs = adata.obs.rename(columns={"day": "sample"})
    # Two columns that may be times: it asks.
    (problem,) = di.tl.doctor(adata).problems
    assert "'sample'" in problem
    assert "'leiden'" in problem
    assert di.tl.doctor(adata, time_key="sample").is_ready


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.obs.drop(columns="day"), "time_key is needed"),
        (lambda a: a.obs.assign(day=1), "time"),
    ],
)
def test_what_keeps_a_fit_from_running_is_what_the_fit_says(change, words):
    adata = cells()
    adata.obs = change(adata)
    key = "day" if "day" in adata.obs else None
    examination = di.tl.doctor(adata, time_key=key)
    with pytest.raises((KeyError, ValueError)) as error:
        di.ActionMatching().fit(adata, time_key=key, max_steps=1, progress=False)
    assert error.value.args[0] in examination.problems
    assert words in examination.problems[0]


def test_two_problems_are_told_at_once():
    adata = cells()
    del adata.obs["day"]
    problems = di.tl.doctor(adata, use_rep="X_scvi").problems
    assert any("time_key" in problem for problem in problems)
    assert any("X_scvi" in problem for problem in problems)


def test_few_cells_are_a_caution_and_two_times_a_lack():
    examination = di.tl.doctor(cells(times=(0, 1), n=10))
    assert any("fewer than 20" in caution for caution in examination.cautions)
    assert any("third time" in sentence for sentence in examination.missing)
    assert "hold_out" not in examination.call


def test_the_command_prints_the_text(tmp_path, capsys):
    adata = cells()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    assert main(["doctor", str(tmp_path / "cells.h5ad")]) == 0
    assert capsys.readouterr().out.strip() == str(di.tl.doctor(adata)).strip()


def test_a_view_whose_table_of_features_repeats_a_column_is_examined():
    adata = cells()
    table = np.zeros((len(adata), 2))
    adata.obsm["table"] = pd.DataFrame(table, index=adata.obs_names, columns=["a", "a"])
    assert "table" in di.tl.doctor(adata[:60]).contents["obsm"]


def test_other_data_than_an_anndata_are_refused():
    with pytest.raises(TypeError, match="AnnData"):
        di.tl.doctor(np.zeros((3, 2)))
