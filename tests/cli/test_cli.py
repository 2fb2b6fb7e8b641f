"""The command line does what Python does, with the same names, and says what is wrong in one sentence."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import anndata
import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.cli import arguments, flags
from dyninfer.cli.commands import COMMANDS, tutorials
from dyninfer.cli.commands.simulate import read_solver
from dyninfer.cli.main import main
from dyninfer.cli.values import read_settings
from dyninfer.estimators import registry
from dyninfer.learning.settings import Settings

TOY = Path(__file__).parents[1] / "toy_estimator.py"


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    """Classes that the command line loads from a user's file are forgotten after the test."""
    monkeypatch.setattr(Settings, "registry", dict(Settings.registry))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    day = np.repeat([0.0, 1.0, 2.0, 3.0], 40)
    x = (rng.normal(size=(160, 3)) + day[:, None]).astype(np.float32)
    obs = pd.DataFrame({"day": day}, index=[f"c{i}" for i in range(160)])
    anndata.AnnData(X=x, obs=obs, obsm={"X_pca": x}).write_h5ad(tmp_path / "cells.h5ad")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIT = [
    "fit",
    "cells.h5ad",
    "--time-key",
    "day",
    "--max-steps",
    "20",
    "--width",
    "8",
    "--no-progress",
]


def fails(capsys, *argv):
    """Run a command that must fail, and return its one line."""
    try:
        code = main(list(map(str, argv)))
    except SystemExit as stop:
        code = stop.code
    shown = capsys.readouterr().err.strip()
    assert code == 2
    assert "\n" not in shown
    return shown.removeprefix("dyninfer: error: ")


def test_fit_simulate_evaluate_end_to_end(folder, capsys):
    assert (
        main([*FIT, "--use-rep", "X_pca", "--hold-out", "2", "--sigma", "0.1", "--seed", "3"]) == 0
    )
    model = di.load("model.safetensors")
    assert (model.sigma, model.width, model.hold_out_, model.seed_) == (0.1, 8, [2.0], 3)
    assert "finished after 20 steps; written to model.safetensors" in capsys.readouterr().out

    times = ["--times", "0:3:7", "--n-paths", "11"]
    assert main(["simulate", "model.safetensors", "cells.h5ad", *times, "--out", "traj.nc"]) == 0
    traj = di.Trajectories.load("traj.nc")
    assert traj.states.shape == (11, 7, 3)
    np.testing.assert_allclose(traj.times, np.linspace(0, 3, 7))

    coarse = [*times, "--solver", "EulerMaruyama(dt=3.0)", "--out", "coarse.nc"]
    assert main(["simulate", "model.safetensors", "cells.h5ad", *coarse]) == 0
    assert not np.allclose(di.Trajectories.load("coarse.nc").states, traj.states)

    out = ["--out", "metrics.csv", "--report", "report.html", "--metrics", "w1", "mmd"]
    assert main(["evaluate", "model.safetensors", "cells.h5ad", *out]) == 0
    table = pd.read_csv("metrics.csv")
    expected = model.evaluate(anndata.read_h5ad("cells.h5ad"), metrics=("w1", "mmd"))
    np.testing.assert_allclose(table["w1"], expected["w1"], rtol=1e-5)
    assert list(table["held_out"]) == [False, True, False]
    report = (folder / "report.html").read_text()
    assert "Time 2 was held out" in report
    assert report.count("data:image/png;base64,") == 4


def test_evaluate_caps_samples_as_python_does_unless_told_otherwise(folder, monkeypatch):
    assert main(FIT) == 0
    calls = []

    def evaluate(self, data, **options):
        calls.append(options)
        return pd.DataFrame({"time": [1.0], "w1": [1.0]})

    monkeypatch.setattr(di.SnapshotEstimator, "evaluate", evaluate)
    asked = ["evaluate", "model.safetensors", "cells.h5ad"]
    assert main(asked) == main([*asked, "--max-samples", "30"]) == 0
    assert "max_samples" not in calls[0]
    assert calls[1]["max_samples"] == 30
    assert main([*asked, "--baselines", "still", "next"]) == 0
    assert calls[2]["baselines"] == ["still", "next"]


def test_a_method_for_paths_is_fitted_with_settings_in_parts(folder, capsys):
    steps = np.random.default_rng(0).normal(size=(5, 12, 1))
    x = np.cumsum(steps, axis=1).reshape(-1, 1).astype(np.float32)
    obs = pd.DataFrame({"track": np.repeat(list("abcde"), 12), "time": np.tile(np.arange(12), 5)})
    anndata.AnnData(X=x, obs=obs.set_index(obs.index.astype(str))).write_h5ad("tracks.h5ad")
    method = ["--method", "FractionalSDE", "--noise.hurst", "0.5", "--noise.n-nodes=2"]
    keys = ["--path-key", "track", "--time-key", "time", "--hold-out", "e", "--no-progress"]
    assert main(["fit", "tracks.h5ad", *method, *keys, "--state", "Observed"]) == 0
    model = di.load("model.safetensors")
    assert (model.noise.hurst, model.noise.n_nodes, model.hold_out_) == (0.5, 2, ["e"])
    assert main(["evaluate", "model.safetensors", "tracks.h5ad", "--out", "metrics.csv"]) == 0
    table = pd.read_csv("metrics.csv")
    assert list(table.loc[table["held_out"], "path"]) == ["e"]


def test_help_of_a_flag_is_that_of_the_methods_own_fit(capsys):
    texts = {}
    for method in ("FractionalSDE", "ActionMatching"):
        with pytest.raises(SystemExit):
            main(["fit", "--method", method, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        texts[method] = shown.split("--hold-out ")[1].split("--seed")[0]
    assert "Names of paths" in texts["FractionalSDE"]
    assert "Times removed" in texts["ActionMatching"]


def test_the_command_line_fits_the_same_model_as_python(folder):
    assert main(FIT) == 0
    adata = anndata.read_h5ad("cells.h5ad")
    same = di.ActionMatching(width=8, training=di.Training(max_steps=20)).fit(
        adata, time_key="day", progress=False
    )
    for a, b in zip(
        di.load("model.safetensors").process_.parameters(), same.process_.parameters(), strict=True
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_method_of_the_users_own_file_has_its_flags_and_is_loaded_again(folder, capsys):
    method = ["--method", f"{TOY}:StraightFlow"]
    with pytest.raises(SystemExit):
        main(["fit", *method, "--help"])
    shown = capsys.readouterr().out
    assert "StraightFlow:" in shown
    assert "--growth-penalty" not in shown
    assert main([*FIT, *method]) == 0
    assert main(["evaluate", "model.safetensors", "cells.h5ad", *method, "--metrics", "w1"]) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_fit_saves_the_model_so_far_and_the_exit_status_names_it(
    folder, monkeypatch, capsys, number, status
):
    from dyninfer.estimators import action_matching

    calls, loss = [], action_matching.ActionObjective.loss

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), number)
        return loss(self, *args)

    monkeypatch.setattr(action_matching.ActionObjective, "loss", interrupted)
    # A shell starts what runs in its background with this signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert main(FIT) == status
    assert "interrupted after" in capsys.readouterr().out
    assert di.load("model.safetensors").status_ == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_during_an_exact_fit_saves_the_model_so_far(folder, monkeypatch):
    from dyninfer.jumps.posterior import ascent

    calls, search = [], ascent._search

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return search(*args)

    obs = pd.DataFrame({"time": np.tile(np.arange(5.0), 8), "path": np.repeat(np.arange(8), 5)})
    states = np.random.default_rng(0).integers(2, size=40)
    obs["state"] = pd.Categorical([("on", "off")[state] for state in states])
    obs.index = obs.index.astype(str)
    anndata.AnnData(X=np.zeros((40, 1), dtype=np.float32), obs=obs).write_h5ad("paths.h5ad")
    monkeypatch.setattr(ascent, "_search", interrupted)
    keys = ["--time-key", "time", "--path-key", "path", "--state-key", "state"]
    method = ["--method", "MarkovJumpInference", "--jumps", "BirthDeath"]
    assert main(["fit", "paths.h5ad", *method, *keys]) == 143
    assert di.load("model.safetensors").status_ == "interrupted"


@pytest.mark.parametrize("command", ["simulate", "evaluate"])
def test_a_damaged_model_file_ends_with_2_and_one_sentence(folder, capsys, command):
    assert main(FIT) == 0
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-9] ^= 64
    (folder / "model.safetensors").write_bytes(content)
    times = ["--times", "0,1", "--out", "t.h5ad"] if command == "simulate" else []
    capsys.readouterr()
    assert main([command, "model.safetensors", "cells.h5ad", *times]) == 2
    message = capsys.readouterr().err
    assert message.startswith("dyninfer: error: model file 'model.safetensors' is damaged")
    assert message.count("\n") == 1


def test_damaged_data_end_with_2_and_one_sentence(folder, capsys):
    content = (folder / "cells.h5ad").read_bytes()
    for changed in (b"no data", content[:1000], content[:400] + b"\xff" * 600 + content[1000:]):
        (folder / "cells.h5ad").write_bytes(changed)
        assert main(FIT) == 2
        assert "'cells.h5ad' cannot be read: " in capsys.readouterr().err


def test_ctrl_c_elsewhere_ends_with_130_and_no_traceback(folder, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(anndata, "read_h5ad", interrupted)
    assert main(FIT) == 130
    assert capsys.readouterr().err == "dyninfer: interrupted\n"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["fit", "cells.h5ad", "--time-key", "dya"], "did you mean 'day'"),
        (["fit", "cells.h5ad"], "time_key is needed"),
        (["fit", "cell.h5ad", "--time-key", "day"], "no file 'cell.h5ad'"),
        (["fit", "mesc_retinoic_acids", "--time-key", "day"], "did you mean 'mesc_retinoic_acid'"),
        ([*FIT, "--hold-out", "9"], "the times are 0, 1, 2, 3"),
        ([*FIT, "--out", "no/model.safetensors"], "folder 'no' does not exist"),
        ([*FIT, "--out", ""], "'.' is a folder; name a file in it"),
        (["fit", "x" * 400, "--time-key", "day"], "there is no file '…xxx"),
        ([*FIT, "--method", "ActionMatch"], "did you mean 'ActionMatching'"),
        ([*FIT, "--method", f"{TOY}:Nothing"], "no estimator 'Nothing'"),
        ([*FIT, "--method", "none.py:Nothing"], "no file 'none.py'"),
        ([*FIT, "--sigma", "-1"], "sigma must not be negative"),
        ([*FIT, "--depth", "2.5"], "--depth: '2.5' is not a whole number"),
        ([*FIT, "--objective", "best"], "--objective: invalid choice"),
        ([*FIT, "--coupling", "NoCoupling(a=1)"], "'NoCoupling' is not known"),
        ([*FIT, "--coupling", "OTCoupling(size=1)"], "size"),
        ([*FIT, "--learning-rate", "0"], "training.learning_rate must be positive"),
        ([*FIT, "--unknown", "1"], "unrecognized arguments"),
        (
            ["simulate", "m.safetensors", "cells.h5ad", "--times", "0,1"],
            "no model file 'm.safetensors'",
        ),
        (["simulate", "m.safetensors", "cells.h5ad", "--times", "0:1"], "neither FROM:TO:NUMBER"),
        (
            ["simulate", "m.safetensors", "cells.h5ad", "--times", "0,1", "--n-paths", "0"],
            "whole number above 0",
        ),
        (
            ["simulate", "m.safetensors", "c.h5ad", "--times", "0,1", "--solver", "rk5"],
            "solver 'rk5' is not known; choose one of",
        ),
        (
            ["simulate", "m.safetensors", "c.h5ad", "--times", "0,1", "--solver", "OTCoupling()"],
            "'OTCoupling()' is not one of",
        ),
        (["datasets", "mesc"], "did you mean 'mesc_retinoic_acid'"),
        (["fly"], "fly"),
    ],
)
def test_a_mistake_is_one_sentence_on_stderr_and_exit_code_2(folder, capsys, argv, says):
    assert says in fails(capsys, *argv)


def test_traceback_is_shown_where_asked(folder):
    with pytest.raises(KeyError):
        main(["fit", "cells.h5ad", "--time-key", "dya", "--traceback"])


def test_warnings_are_sentences_without_code(folder, capsys):
    main(FIT)
    main(["simulate", "model.safetensors", "cells.h5ad", "--times", "0,4"])
    assert (
        "dyninfer: warning: simulating from 0 to 4, beyond the data (0 to 3)\n"
        in capsys.readouterr().err
    )


def test_datasets_are_listed_and_written(folder, capsys):
    assert main(["datasets"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in di.datasets.available()["name"])
    assert main(["datasets", "mesc_retinoic_acid", "--out", "cells2.h5ad"]) == 0
    assert anndata.read_h5ad("cells2.h5ad").shape == (2449, 41)


def test_tutorials_are_listed_and_copied_but_not_over_a_file(folder, capsys):
    assert main(["tutorials"]) == 0
    assert "01_first_steps           First steps" in capsys.readouterr().out
    assert main(["tutorials", "copy", "1", "--out", "lessons"]) == 0
    copy = Path("lessons/01_first_steps.py")
    assert copy.read_text().startswith("# ---")
    assert "exists; name another folder" in fails(
        capsys, "tutorials", "copy", "01", "--out", "lessons"
    )
    assert "did you mean '01_first_steps'?" in fails(capsys, "tutorials", "run", "01_first")
    assert "name a tutorial by its number" in fails(capsys, "tutorials", "run")


def test_a_tutorial_runs_away_from_here_and_leaves_its_pictures(folder, capsys, monkeypatch):
    lesson = Path("05_lesson.py").resolve()
    lesson.write_text(
        "import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.figure()\nopen('debris', 'w').close()\n"
    )
    monkeypatch.setattr(tutorials, "_tutorials", lambda: [lesson])
    assert main(["tutorials", "run", "5", "--out", "pictures"]) == 0
    assert "2 pictures in" in capsys.readouterr().out
    names = sorted(path.name for path in Path("pictures").iterdir())
    assert names == ["05_lesson_1.png", "05_lesson_2.png"]
    assert not Path("debris").exists()


def test_info_names_the_versions_that_are_installed(capsys):
    from importlib.metadata import version

    assert main(["info"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines["numpy"] == version("numpy")
    assert lines["torch"] == version("torch")


@pytest.mark.parametrize(
    "argv", [["--help"], ["demo", "--help"], ["simulate", "--help"], ["datasets"], ["tutorials"]]
)
def test_torch_is_not_imported_for(argv):
    code = (
        "import sys\nfrom dyninfer.cli.main import main\n"
        f"try: main({argv})\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"  dyninfer {command}" in capsys.readouterr().out.split("example")[-1]


@pytest.mark.parametrize("cls", [*registry().values(), di.Training], ids=lambda cls: cls.__name__)
def test_every_setting_has_a_flag_with_help(cls):
    made = {flag.name: flag for flag in flags.of_fields(cls, skip=["training"])}
    # A network is code, which no text can give.
    fields = {field.name for field in dataclasses.fields(cls)}
    assert set(made) == fields - {"training", "network"}
    assert [name for name, flag in made.items() if not flag.help] == []


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class Push(Settings):
    """A push.

    Parameters
    ----------
    force : float
        How hard, in ``N``; at most 100 % of it.
    mode : {"soft", "hard"}
        How.
    other : Push, optional
        Another.
    sizes, names
        Lists.
    """

    force: float = 1.0
    mode: Literal["soft", "hard"] | None = "soft"
    other: Settings | None = None
    sizes: tuple[int, ...] = (1, 2)
    names: list[str] = dataclasses.field(default_factory=list)
    firm: bool = False
    function: type | None = None

    def __add__(self, right):
        return Push(force=self.force + right.force)


def parse(*argv):
    parser = arguments.Parser()
    flags.add(parser, flags.of_fields(Push), "own.")
    return arguments.by_prefix(parser.parse_args(argv), "own.")


def test_flags_follow_types_defaults_and_docstrings():
    made = {flag.name: flag for flag in flags.of_fields(Push)}
    assert set(made) == {"force", "mode", "other", "sizes", "names", "firm"}
    assert made["force"].help == "How hard, in N; at most 100 % of it."
    assert made["sizes"].help == made["names"].help == "Lists."
    assert (made["force"].default, made["names"].default) == (1.0, [])


def test_flags_that_are_not_given_leave_no_trace():
    assert parse() == {}


def test_flags_become_values_of_their_type():
    given = parse("--force", "2", "--mode", "none", "--sizes", "3", "4", "--firm", "--names", "a")
    assert given == {"force": 2.0, "mode": None, "sizes": [3, 4], "firm": True, "names": ["a"]}
    assert isinstance(given["force"], float)


def test_settings_are_written_as_in_python_and_added():
    other = parse("--other", "Push(force=2.0, mode='hard', other=Push())")["other"]
    assert (other.force, other.mode, other.other.force) == (2.0, "hard", 1.0)
    assert parse("--other", "Push(force=2) + Push(force=3)")["other"].force == 5


def parse_parts(*argv, cls=None):
    """Value of the setting ``other`` of a push, given whole or in parts."""
    cls = cls or Team
    parser = arguments.Parser()
    own = flags.of_fields(cls)
    flags.add(parser, own, "own.")
    for flag in own:
        for parts in flags.of_parts(flag, argv).values():
            flags.add(parser, parts, "own.")
    return flags.compose(cls, arguments.by_prefix(parser.parse_args(argv), "own."))


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class Rope(Settings):
    """A rope.

    Parameters
    ----------
    length : float
        In metres; has no default.
    """

    length: float


@dataclasses.dataclass(kw_only=True, repr=False, eq=False)
class Team(Settings):
    """A team.

    Parameters
    ----------
    lead, helper : Push or Rope
        Who, and with what.
    spare : Rope, optional
        Another rope.
    """

    lead: Push | Rope = dataclasses.field(default_factory=lambda: Push(force=5.0))
    helper: Push | Rope | None = None
    spare: Rope | None = None


def test_parts_of_a_setting_change_its_default():
    team = parse_parts("--lead.force", "2", "--lead.firm")
    assert isinstance(team.lead, Push)
    assert (team.lead.force, team.lead.firm, team.lead.mode) == (2.0, True, "soft")
    assert parse_parts("--lead.firm").lead.force == 5.0


def test_a_bare_name_chooses_the_class_whose_parts_are_flags():
    team = parse_parts("--lead", "Rope", "--lead.length", "3", "--helper=Push")
    assert (type(team.lead), team.lead.length, type(team.helper)) == (Rope, 3.0, Push)


def test_parts_change_settings_that_are_given_whole():
    team = parse_parts("--helper", "Push(force=2, mode='hard')", "--helper.force", "7")
    assert (team.helper.force, team.helper.mode) == (7.0, "hard")


def test_the_only_class_a_setting_can_have_needs_no_name():
    assert parse_parts().spare is None
    assert parse_parts("--spare.length", "4").spare.length == 4.0


def test_parts_reach_into_parts():
    @dataclasses.dataclass(kw_only=True, repr=False, eq=False)
    class League(Settings):
        """A league.

        Parameters
        ----------
        home : Team
            Who plays.
        """

        home: Team = dataclasses.field(default_factory=Team)

    league = parse_parts("--home.helper", "Rope", "--home.helper.length", "2", cls=League)
    assert (league.home.helper.length, league.home.lead.force) == (2.0, 5.0)


@pytest.mark.parametrize("text", ["Team", "Team()", "1", "Push(force=1) + 2"])
def test_a_setting_of_another_class_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        parse_parts("--lead", text)
    assert "--lead: " in capsys.readouterr().err


def test_settings_in_lists_and_their_own_reprs_are_read():
    pushes = read_settings("[Push(force=inf), Push(sizes=(1, -2))]")
    assert (pushes[0].force, pushes[1].sizes) == (float("inf"), (1, -2))
    team = read_settings(repr(Team(spare=Rope(length=2.5))))
    assert (team.spare.length, team.lead.force) == (2.5, 5.0)


@pytest.mark.parametrize(
    "text", ["Push(", "Push(1)", "Push(force=f())", "open('x')", "Push", "__import__('os')"]
)
def test_settings_run_nothing_but_settings(text):
    with pytest.raises(ValueError):
        read_settings(text)


def test_a_taken_name_gets_the_prefix():
    parser = arguments.Parser()
    flags.add(parser, flags.of_fields(Push), "own.", reserved={"force"})
    assert arguments.by_prefix(parser.parse_args(["--own.force", "2"]), "own.") == {"force": 2.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tsit5", "Tsit5()"),
        ("SRA1", "SRA1()"),
        ("RungeKutta4(dt=0.5)", "RungeKutta4(dt=0.5)"),
        ("TorchDiffEq('dopri5')", "TorchDiffEq()"),
        ("Gillespie", "Gillespie()"),
    ],
)
def test_solvers_are_spelled_shortly_or_with_settings(text, expected):
    assert repr(read_solver(text)) == repr(read_settings(expected))


def test_times_are_evenly_spaced_or_a_list():
    np.testing.assert_array_equal(arguments.times("0:4:81"), np.linspace(0, 4, 81))
    np.testing.assert_array_equal(arguments.times("3,1.5,0"), [3, 1.5, 0])
