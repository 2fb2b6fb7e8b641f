"""Methods of paths have a page too: forecasts beside the last value, and what was learned."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.report import belief, pictures, write_report

GENERATOR = [[-1.0, 1.0, 0.0], [0.5, -1.0, 0.5], [0.0, 1.0, -1.0]]


@pytest.fixture(scope="module")
def data():
    times = np.linspace(0, 10, 21)
    run = di.simulate(di.MarkovJump(GENERATOR), np.zeros(16, dtype=int), times, seed=0)
    names = [f"cell {i}" for i in range(16)]
    return di.Paths(times=[times] * 16, states=list(run.states.numpy()), names=names)


@pytest.fixture(scope="module")
def model(data):
    return di.MarkovJumpInference().fit(data, hold_out=["cell 4", "cell 9"], progress=False)


@pytest.fixture(scope="module")
def evaluation(model, data):
    return model.evaluate(data, n_samples=20)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def scores(held_out, **columns):
    n = len(held_out)
    names = [f"p{i}" for i in range(n)]
    table = {"path": names, "held_out": held_out, "observations": 10, "forecasts": 5}
    return pd.DataFrame(table | columns)


def test_forecasts_that_beat_the_last_value_and_cover_are_believed(model):
    table = scores([True, False], crps=[1.0, 9.0], crps_still=[2.0, 2.0], coverage=[0.9, 0.1])
    answer, numbers, limits = belief(model, table)
    assert answer == (
        "Believe the model as a forecaster: it forecasts the later half of 1 held-out path better "
        "than the last value, held still, and is as sure of it as it may be."
    )
    assert "the CRPS is 1.00, that of the last value 2.00" in numbers
    assert "90 % of the observations lie where 90 % should" in numbers
    assert limits == "The scores of 1 other path are in-sample: the model was fitted to them."


@pytest.mark.parametrize(
    ("crps", "coverage", "start", "word"),
    [
        (1.0, 0.7, "Believe the model in part", "is too sure of it"),
        (1.0, 0.99, "Believe the model in part", "is less sure of it than it could be"),
        (1.97, 0.9, "Do not believe the model", "no better than the last value"),
    ],
)
def test_the_answer_follows_score_and_coverage(model, crps, coverage, start, word):
    table = scores([True], crps=[crps], crps_still=[2.0], coverage=[coverage])
    answer = belief(model, table)[0]
    assert answer.startswith(start)
    assert word in answer


def test_means_weigh_paths_by_their_forecasts(model):
    table = scores([True, True], crps=[1.0, 4.0], crps_still=9.0, coverage=0.9)
    table["forecasts"] = [1, 3]
    assert "the CRPS is 3.25" in belief(model, table)[1]


def test_likelihood_alone_leaves_it_open_and_no_held_out_path_leaves_it_untested(model):
    table = scores([True], log_likelihood=[-20.0])
    answer, numbers, _ = belief(model, table)
    assert "is open: the likelihood of 1 held-out path is known" in answer
    assert "the log-likelihood of an observation is -2 nats" in numbers
    answer, _, advice = belief(model, scores([False], crps=[1.0], crps_still=[2.0]))
    assert "no path was held out, so every score is in-sample" in answer
    assert "hold_out=" in advice


def test_the_page_has_belief_scores_rates_and_what_follows(model, data, evaluation, tmp_path):
    figures = pictures(model, data, evaluation, time_unit="s")
    assert len(figures) == 2
    path = write_report(tmp_path / "r.html", model, evaluation, figures, time_unit="s")
    text = path.read_text()
    for sentence in belief(model, evaluation):
        assert sentence in text
    assert text.count(", held out</td>") == 2
    for rate in model.confidence_intervals()["rate"]:
        assert f"<td>{rate:.3f}</td>" in text
    assert "slowest relaxation time" in text
    assert "from time 0 s to 10 s" in text
    assert "population" not in text.split("<body>")[1].split("<h2>Settings")[0]


def test_memory_of_the_noise_is_on_the_page_of_a_fractional_method(tmp_path):
    rng = np.random.default_rng(0)
    states = [0.3 * rng.normal(size=(20, 1)).cumsum(0) for _ in range(6)]
    data = di.Paths(times=[np.arange(20.0)] * 6, states=states)
    model = di.FractionalSDE().fit(data, hold_out=["1"], max_steps=5, progress=False)
    table = model.evaluate(data, n_samples=5)
    text = write_report(tmp_path / "r.html", model, table).read_text()
    low, high = model.hurst_interval()
    row = f"<td>Hurst index</td><td>{model.hurst_:.3f}</td><td>{low:.3f}</td><td>{high:.3f}</td>"
    assert row in text


def test_what_is_of_snapshots_is_refused(model, data, evaluation, tmp_path):
    with pytest.raises(ValueError, match="long_run is for models of snapshots"):
        write_report(tmp_path / "r.html", model, evaluation, long_run=evaluation)
    with pytest.raises(TypeError, match="observed must be Paths, found 3"):
        pictures(model, 3, evaluation)
    with pytest.raises(KeyError, match="no column 'held_out'"):
        belief(model, evaluation.drop(columns="held_out"))


def test_forecasts_show_the_share_of_draws_in_every_state(model, data):
    (panels,) = di.pl.forecasts(model, data, [4, 0], n_samples=50, time_unit="s")
    assert [ax.get_title() for ax in panels] == ["cell 4, held out", "cell 0"]
    for ax in panels:
        (mesh,) = [c for c in ax.collections if hasattr(c, "get_coordinates")]
        share = np.asarray(mesh.get_array()).reshape(3, -1)
        np.testing.assert_allclose(share.sum(0), 1)
    observed = panels[0].get_lines()[0]
    np.testing.assert_array_equal(observed.get_ydata(), data.states[4])


def test_rates_lie_at_their_places_with_their_intervals(model):
    table = model.confidence_intervals()
    ax = di.pl.rates(table, time_unit="s")
    assert ax.get_xlabel() == "rate (1 / s)"
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == f"{table['source'][0]} → {table['target'][0]}"
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose([dot.get_xdata()[0] for dot in dots], table["rate"], rtol=1e-6)
    bars = [line for line in ax.get_lines() if len(line.get_xdata()) == 2]
    np.testing.assert_allclose([bar.get_xdata()[1] for bar in bars], table["high"], rtol=1e-6)


def test_what_cannot_be_forecast_or_drawn_is_named(model, data):
    with pytest.raises(ValueError, match="past_fraction must lie between 0 and 1, found 1"):
        di.pl.forecasts(model, data, past_fraction=1)
    with pytest.raises(TypeError, match="model must be a fitted method for paths, found 3"):
        di.pl.forecasts(3, data)
    with pytest.raises(KeyError, match="table has no column 'flat'"):
        di.pl.rates(model.confidence_intervals().drop(columns="flat"))
    with pytest.raises(TypeError, match="found 3"):
        di.pl.rates(3)


def test_the_shell_writes_the_page_of_a_method_of_paths(data, tmp_path, monkeypatch):
    from dyninfer.cli.main import main

    monkeypatch.chdir(tmp_path)
    data.to_anndata().write_h5ad("cells.h5ad")
    keys = {"time_key": "time", "path_key": "path", "state_key": "state"}
    model = di.MarkovJumpInference()
    model.fit(data.to_anndata(), **keys, hold_out=["cell 4"], progress=False)
    model.save("model.safetensors")
    assert main(["report", "model.safetensors", "cells.h5ad", "--time-unit", "s"]) == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>MarkovJumpInference on cells.h5ad</title>" in text
    assert "the later half of 1 held-out path" in text
    assert text.count("data:image/png") == 2
