"""The page holds what it is given, escaped, and nothing that has to be fetched from elsewhere."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.report import pictures, verdict, write_report


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(40, 2)) + shift for shift in range(4)]
    return di.Snapshots(times=[0, 1, 2, 3], samples=samples)


@pytest.fixture(scope="module")
def model(data):
    training = di.Training(max_steps=10)
    return di.ActionMatching(width=8, training=training).fit(data, hold_out=2, progress=False)


@pytest.fixture(scope="module")
def evaluation(model, data):
    return model.evaluate(data, baselines=["still", "ot"])


def page(tmp_path, *arguments, **options):
    return write_report(tmp_path / "report.html", *arguments, **options).read_text()


def test_report_escapes_what_it_is_given(model, evaluation, tmp_path):
    text = page(
        tmp_path,
        model,
        evaluation,
        title="<b>a & b</b>",
        introduction=["x < y"],
        references=["<script>alert(1)</script>"],
    )
    assert "<h1>&lt;b&gt;a &amp; b&lt;/b&gt;</h1>" in text
    assert "<title>&lt;b&gt;a &amp; b&lt;/b&gt;</title>" in text
    assert "<p>x &lt; y</p>" in text
    assert "<script" not in text


def test_a_caption_cannot_leave_its_attribute(model, evaluation, tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"no picture")
    text = page(tmp_path, model, evaluation, [('" onload="x', picture)])
    assert 'alt="&#34; onload=&#34;x"' in text


def test_held_out_times_are_marked_and_every_score_is_there(model, evaluation, tmp_path):
    text = page(tmp_path, model, evaluation, time_unit="d")
    rows = re.findall(r'<tr class="held-out"><td>([^<]*)</td>', text)
    assert rows == ["2 d, held out"] * 2  # of the main metric, and of all others
    for value in evaluation[["w1", "w2", "mmd", "energy_floor"]].to_numpy().ravel():
        assert f"<td>{value:.3f}</td>" in text


def test_what_has_no_value_is_a_dash(model, evaluation, tmp_path):
    assert np.isnan(evaluation["w1_ot"].iloc[-1])
    assert "<td>–</td>" in page(tmp_path, model, evaluation)


def test_interpolation_and_the_long_run_are_spoken_of_only_where_they_are(
    model, data, evaluation, tmp_path
):
    plain = page(tmp_path, model, model.evaluate(data))
    assert "optimal transport" not in plain
    assert "every simulation started" not in plain
    long_run = model.evaluate(data, start="first")
    full = page(tmp_path, model, evaluation, long_run=long_run)
    assert "optimal transport" in full
    assert "every simulation started from the cells of 0," in full


def test_settings_facts_versions_and_citation_are_on_the_page(model, evaluation, tmp_path):
    text = page(tmp_path, model, evaluation, seconds=12.0)
    for name, value in {
        "width": "8",
        "training.max_steps": "10",
        "held out before anything was computed": "2",
        "time for everything": "12 s",
        "numpy": np.__version__,
    }.items():
        assert f"<tr><td>{name}</td><td>{value}</td></tr>" in text
    assert "neklyudov2023action" in text


def test_a_method_without_a_training_loop_has_a_page_and_no_picture_of_training(
    model, data, evaluation, tmp_path
):
    trained = pictures(model, data, evaluation)
    other = copy.copy(model)
    other.training_ = None
    other.history_ = pd.DataFrame({"pass": [1, 2]})
    figures = pictures(other, data, evaluation)
    assert len(figures) == len(trained) - 1
    text = page(tmp_path, other, evaluation, figures)
    assert "<tr><td>training</td><td>finished</td></tr>" in text
    assert "training." not in text


def test_report_into_a_missing_folder_is_an_error(model, evaluation, tmp_path):
    with pytest.raises(FileNotFoundError, match="make it first"):
        write_report(tmp_path / "no" / "r.html", model, evaluation)


def test_only_the_page_is_left_in_its_folder(model, evaluation, tmp_path):
    page(tmp_path, model, evaluation)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"title": 3}, TypeError, "title must be text, found 3"),
        ({"introduction": "One."}, TypeError, "introduction must be a list with texts"),
        ({"references": [3]}, TypeError, "every one of references must be text, found 3"),
        ({"figures": [("no picture", 3)]}, TypeError, "figures must be pairs of a caption"),
        ({"figures": ["ab"]}, TypeError, "figures must be pairs of a caption"),
        ({"figures": [("a", Path("no.png"))]}, FileNotFoundError, "there is no picture 'no.png'"),
        ({"long_run": ()}, TypeError, "long_run must be what model.evaluate returned"),
        ({"seconds": "3"}, TypeError, "seconds must be a number, found '3'"),
        ({"time_unit": 1}, TypeError, "time_unit must be text, found 1"),
    ],
)
def test_what_a_page_cannot_hold_is_named(model, evaluation, tmp_path, options, kind, message):
    with pytest.raises(kind, match=message):
        page(tmp_path, model, evaluation, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda t: t.iloc[:0], ValueError, "has no rows"),
        (lambda t: t.to_dict(), TypeError, "must be what model.evaluate returned"),
        (lambda t: t.drop(columns="held_out"), KeyError, "has no column 'held_out'"),
        (lambda t: t.drop(columns="energy_floor"), KeyError, "has no column 'energy_floor'"),
        (lambda t: t.assign(w1="a"), TypeError, "column 'w1' of .* must hold one number"),
        (lambda t: t.assign(time=np.nan), ValueError, "has a time that is missing or infinite"),
        (lambda t: t[["time", "start"]], KeyError, "has no metric, one of w1"),
    ],
)
def test_scores_of_another_kind_are_refused_everywhere(
    model, data, evaluation, change, kind, message
):
    table = change(evaluation)
    for call in (
        lambda: verdict(model, table),
        lambda: pictures(model, data, table),
        lambda: write_report("page.html", model, table),
    ):
        with pytest.raises(kind, match=message):
            call()


def test_what_is_no_model_or_no_data_is_refused(model, data, evaluation):
    for call in (
        lambda: verdict(3, evaluation),
        lambda: pictures(di.ActionMatching(), data, evaluation),
        lambda: write_report("page.html", None, evaluation),
    ):
        with pytest.raises(TypeError, match="model must be a fitted method"):
            call()
    with pytest.raises(TypeError, match="observed must be Snapshots, found 3"):
        pictures(model, 3, evaluation)
