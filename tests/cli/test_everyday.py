"""`compare`, `tune`, `fates` and `report` do what Python does; typos are told at once."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.cli import flags
from dyninfer.cli.arguments import Parser, times
from dyninfer.cli.main import main, make_parser
from dyninfer.cli.spelling import names_for_fit, unknown_flag
from dyninfer.estimators import registry

QUICK = "StochasticInterpolant(width=8, depth=1)"
STEPS = ["--max-steps", "20", "--no-progress"]
# Without methods that other tests have registered, which lie in no source of the package.
SHIPPED = [name for name, cls in registry().items() if cls.__module__.startswith("dyninfer.")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Cells of two kinds that part between the days 0 and 3."""
    rng = np.random.default_rng(0)
    day = np.repeat([-1.0, 0.0, 1.0, 2.0], 40)
    kind = np.tile([0, 1], 80)
    away = np.where(kind == 1, 1.0, -1.0) * (day + 1)
    x = rng.normal(scale=0.3, size=(160, 2)) + np.stack([away, day], axis=1)
    labels = pd.Categorical(np.where(kind == 1, "right", "left"))
    names = [f"c{i}" for i in range(160)]
    obs = pd.DataFrame({"day": day, "kind": labels}, index=names)
    x = x.astype(np.float32)
    cells = anndata.AnnData(X=x, obs=obs, obsm={"X_pca": x})
    cells.write_h5ad(tmp_path / "cells.h5ad")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(folder):
    fit = ["fit", "cells.h5ad", "--time-key", "day", "--method", "StochasticInterpolant"]
    assert main([*fit, "--width", "8", *STEPS]) == 0
    return "model.safetensors"


def printed(capsys, *argv):
    """What a command prints as JSON."""
    capsys.readouterr()
    assert main(list(argv)) == 0
    return json.loads(capsys.readouterr().out)


def test_fit_and_simulate_say_in_json_what_they_wrote(folder, capsys):
    fit = ["fit", "cells.h5ad", "--time-key", "day", "--width", "8", *STEPS, "--json"]
    content = printed(capsys, *fit)
    assert content["steps"] == 20
    assert content["written"] == "model.safetensors"
    times = ["--times", "-1,0.5,2", "--n-paths", "5", "--json"]
    content = printed(capsys, "simulate", "model.safetensors", "cells.h5ad", *times)
    assert content["n_paths"] == 5
    assert content["times"] == [-1, 0.5, 2]
    assert anndata.read_h5ad(content["written"]).n_obs == 15


def test_continuous_times_are_put_into_bins_on_request(folder, capsys):
    cells = anndata.read_h5ad("cells.h5ad")
    # Minutes of collection: no two cells share one.
    cells.obs["minute"] = 100 * cells.obs["day"] + np.arange(160) / 160
    cells.write_h5ad("minutes.h5ad")
    fit = ["fit", "minutes.h5ad", "--n-bins", "4", "--width", "8", *STEPS]
    assert main([*fit, "--time-key", "minute"]) == 0
    model = di.load("model.safetensors")
    np.testing.assert_allclose(np.diff(model.times_), 100, atol=1)
    argv = ["model.safetensors", "minutes.h5ad", "--n-bins", "4", "--metrics", "w1", "--json"]
    rows = printed(capsys, "evaluate", *argv)["table"]
    assert len(rows) == 3
    assert main([*fit, "--time-key", "hour"]) == 2
    assert "obs has no column 'hour'; it has day, kind, minute" in capsys.readouterr().err
    assert main(fit) == 2
    assert "--n-bins needs --time-key" in capsys.readouterr().err


def test_compare_prints_the_table_of_python(folder, capsys):
    argv = ["compare", "cells.h5ad", "--methods", QUICK, "--time-key", "day", "--seed", "2"]
    scores = ["--metrics", "w1", "--baselines", "still", "ot", *STEPS]
    content = printed(capsys, *argv, *scores, "--json", "--out", "scores.csv")
    expected = di.tl.compare(
        anndata.read_h5ad("cells.h5ad"),
        di.StochasticInterpolant(width=8, depth=1),
        time_key="day",
        metrics="w1",
        baselines=["still", "ot"],
        max_steps=20,
        seed=2,
        progress=False,
    )
    table = pd.DataFrame(content["table"])
    assert list(table["method"]) == list(expected["method"])
    assert list(table["w1"]) == list(expected["w1"])
    # Nobody gave masses: JSON has no NaN.
    assert table["mass_error"].isna().all()
    advice = di.tl.recommend(expected)
    assert content["recommendation"]["reasons"] == list(advice.reasons)
    assert list(pd.read_csv("scores.csv")["w1"]) == pytest.approx(list(expected["w1"]))
    assert main([*argv, *scores]) == 0
    assert advice.reasons[0] in capsys.readouterr().out


@pytest.fixture
def tracks(folder):
    rng = np.random.default_rng(1)
    obs = pd.DataFrame({"t": np.tile(np.arange(6.0), 8), "track": np.repeat(np.arange(8), 6)})
    obs["state"] = pd.Categorical(rng.choice(["a", "b"], 48))
    obs.index = obs.index.astype(str)
    tracks = anndata.AnnData(X=rng.normal(size=(48, 1)).cumsum(0), obs=obs)
    tracks.write_h5ad("tracks.h5ad")
    keys = ["--time-key", "t", "--path-key", "track", "--state-key", "state"]
    return ["tracks.h5ad", *keys, "--no-progress", "--json"]


def test_compare_takes_paths_and_their_folds(tracks, capsys):
    method = ["--methods", "MarkovJumpInference(observation=ExactLabels())"]
    argv = ["compare", *tracks, *method]
    table = pd.DataFrame(printed(capsys, *argv, "--n-folds", "2")["table"])
    assert sorted(set(table["fold"])) == [0, 1]
    assert table["per_observation"].notna().sum() == 6
    table = pd.DataFrame(printed(capsys, *argv, "--hold-out", "3", "5")["table"])
    assert set(table["n_paths"]) == {2}


def test_tune_chooses_as_python_does_and_fits_what_it_chose(folder, capsys):
    argv = ["tune", "cells.h5ad", "--method", QUICK, "--time-key", "day", *STEPS]
    few = ["--hold-out", "1", "--n-subsamples", "1", "--max-cells", "30"]
    content = printed(capsys, *argv, *few, "--json", "--model", "tuned.safetensors")
    tuned = di.tl.tune(
        anndata.read_h5ad("cells.h5ad"),
        di.StochasticInterpolant(width=8, depth=1),
        time_key="day",
        hold_out=1,
        n_subsamples=1,
        max_cells=30,
        max_steps=20,
        progress=False,
    )
    assert content["reasons"] == list(tuned.reasons)
    assert content["settings_scored"] == tuned.settings_scored
    saved = di.load("tuned.safetensors")
    assert " ".join(repr(saved).split()) == content["best"]
    assert saved.hold_out_ == [1.0]


def test_tune_takes_paths_and_fits_without_those_held_out(tracks, capsys):
    folds = ["--n-folds", "2", "--hold-out-share", "0.25"]
    content = printed(capsys, "tune", *tracks, *folds, "--model", "tuned.safetensors")
    tuned = di.tl.tune(
        anndata.read_h5ad("tracks.h5ad"),
        time_key="t",
        path_key="track",
        state_key="state",
        hold_out=0.25,
        n_folds=2,
        progress=False,
    )
    assert content["reasons"] == list(tuned.reasons)
    assert content["best"].startswith("MarkovJumpInference(")
    saved = di.load("tuned.safetensors")
    assert tuple(saved.hold_out_) == tuned.hold_out
    content = printed(capsys, "tune", *tracks, "--n-folds", "2", "--hold-out", "3", "5")
    assert set(pd.DataFrame(content["table"])["n_paths"]) == {3}


def test_fates_are_those_of_python_and_are_written(model, folder, capsys):
    argv = ["fates", model, "cells.h5ad", "--label-key", "kind", "--n-draws", "5"]
    argv += ["--transport", "0.5"]
    files = ["--out", "fates.h5ad", "--table", "fates.csv"]
    content = printed(capsys, *argv, *files, "--json")
    cells = anndata.read_h5ad("cells.h5ad")
    expected = di.tl.fates(di.load(model), cells, label_key="kind", n_draws=5, transport=0.5)
    assert content["fates"] == ["left", "right"]
    groups = di.tl.transition_table(cells, "kind").reset_index()
    assert [row["left"] for row in content["table"]] == list(groups["left"])
    written = anndata.read_h5ad("fates.h5ad").obsm["dyninfer_fates"]
    np.testing.assert_array_equal(np.asarray(written), expected.to_numpy())
    by_cell = pd.read_csv("fates.csv", index_col="cell")
    assert list(by_cell.index) == list(cells.obs_names)
    # Without labels, of clusters.
    assert main(["fates", model, "cells.h5ad", "--n-draws", "3"]) == 0
    assert "mean fates of the cells of every time" in capsys.readouterr().out


def test_a_report_is_titled_by_the_name_of_the_file(model, folder, capsys):
    (folder / "deep").mkdir()
    (folder / "cells.h5ad").rename(folder / "deep" / "cells.h5ad")
    assert main(["report", model, "deep/cells.h5ad", "--out", "report.html"]) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<title>StochasticInterpolant on cells.h5ad</title>" in page
    assert main(["report", model, "deep/cells.h5ad", "--title", "Our cells"]) == 0
    assert "<title>Our cells</title>" in (folder / "report.html").read_text(encoding="utf-8")
    argv = ["evaluate", model, "deep/cells.h5ad", "--metrics", "w1", "--json"]
    table = printed(capsys, *argv)["table"]
    assert [row["time"] for row in table] == [0.0, 1.0, 2.0]


def test_negative_times_are_times_and_no_flags(model, folder, capsys):
    for text, expected in [("-1,-0.5", [-1, -0.5]), ("-1:1:5", [-1, -0.5, 0, 0.5, 1])]:
        assert list(times(text)) == expected
        argv = ["simulate", model, "cells.h5ad", "--times", text, "--n-paths", "3"]
        assert main([*argv, "--out", "run.h5ad"]) == 0
        assert di.Trajectories.load("run.h5ad").times.tolist() == expected
    argv = ["fit", "cells.h5ad", "--time-key", "day", "--hold-out", "0", "1", *STEPS]
    assert main([*argv, "--width", "8", "--out", "other.safetensors"]) == 0
    parser = Parser()
    parser.add_argument("--hold-out", nargs="+", type=float)
    assert parser.parse_args(["--hold-out", "-1e3", "-.5"]).hold_out == [-1000.0, -0.5]


TYPOS = [
    (["fit", "c.h5ad", "--hold-uot", "3"], "--hold-out"),
    (["fit", "c.h5ad", "--method", "MarkovJumpInference", "--prior-widht=2"], "--prior-width"),
    (["fit", "c.h5ad", "--method=FractionalSDE", "--nose.hurst", "0.7"], "--noise"),
    (["fit", "c.h5ad", "--lerning-rate", "1"], "--learning-rate"),
    (["compare", "c.h5ad", "--time-kye", "day"], "--time-key"),
    (["tune", "c.h5ad", "--holdout", "3"], "--hold-out"),
    (["fates", "m", "c.h5ad", "--labelkey", "kind"], "--label-key"),
    (["simulate", "m", "c.h5ad", "--tims", "0,1"], "--times"),
]


@pytest.mark.parametrize(("argv", "meant"), TYPOS)
def test_a_typo_is_told_before_anything_slow_is_imported(argv, meant):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "dyninfer", *argv]
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode == 2
    if meant != "--times":
        assert f"did you mean {meant!r}?" in done.stderr
    assert seconds < 0.5


@pytest.mark.parametrize("name", SHIPPED)
def test_flags_that_are_read_from_the_source_are_those_of_the_parser(name):
    argv = ["fit", "cells.h5ad", "--method", name]
    parser = make_parser(argv)
    commands = parser._subparsers._group_actions[0]
    of_fit = commands.choices["fit"]
    options = [option for option in of_fit.options() if option.startswith("--")]
    known = names_for_fit(name)
    everywhere = {"n_bins", "json", "method", "out", "help", "traceback"}
    # What the parser takes is never called a typo.
    assert unknown_flag(options, known | everywhere) is None
    # And what the source says is a flag, unless no text can give it.
    cls = registry()[name]
    missing = known - {flags_name(option) for option in options}
    assert missing <= {"training", *unwritable(cls)}


def flags_name(option):
    name = option.removeprefix("--").replace("-", "_")
    for prefix in ("own.", "fit.", "training."):
        name = name.removeprefix(prefix)
    return name


def unwritable(cls):
    writable = {flag.name for flag in flags.of_fields(cls)}
    return set(cls._get_param_names()) - writable


def test_a_method_of_the_users_own_is_not_judged_by_our_source():
    assert names_for_fit("my.py:Mine") is None


def test_an_interrupted_search_ends_with_130(folder, monkeypatch, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("dyninfer.tools.compare", interrupted)
    assert main(["compare", "cells.h5ad", "--time-key", "day", "--methods", QUICK]) == 130
    assert capsys.readouterr().err == "dyninfer: interrupted\n"


MISTAKES = [
    (["compare", "cells.h5ad", "--methods", "Action"], "did you mean 'ActionMatching'"),
    (["compare", "cells.h5ad", "--methods", "OTCoupling()"], "is no method"),
    (["compare", "cells.h5ad", "--time-key", "day", "--n-folds", "2"], "n_folds cannot be used"),
    (["compare", "cells.h5ad", "--time-key", "day", "--out", "no/t.csv"], "folder 'no'"),
    (["compare", "cells.h5ad", "--time-key", "day", "--hold-out", "x"], "'x'"),
    (["tune", "cells.h5ad", "--time-key", "day", "--hold-out", "9"], "the times are"),
    (["tune", "cells.h5ad", "--time-key", "day", "--hold-out-share", ".5"], "is of paths"),
    (["tune", "cells.h5ad", "--time-key", "day", "--n-folds", "2"], "n_folds cannot be used"),
    (["fates", "m.safetensors", "cells.h5ad"], "no model file 'm.safetensors'"),
    (["report", "m.safetensors", "cells.h5ad", "--out", "no/r.html"], "folder 'no'"),
]


@pytest.mark.parametrize(("argv", "says"), MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(folder, capsys, argv, says):
    assert main(argv) == 2
    shown = capsys.readouterr().err.strip()
    assert "\n" not in shown
    assert says in shown
