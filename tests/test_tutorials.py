"""Every tutorial runs from top to bottom; with few training steps here, in full by `make tutorials` and `make docs`."""

import runpy
from pathlib import Path

import pytest

import dyninfer as di

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.py"))
STEPS = 3
# Their exact fits of paths take seconds, and the tutorials assert the numbers that they say.
IN_FULL = {"08_patients_panel", "10_tracks", "11_physics"}


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(path, monkeypatch, tmp_path):
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    calls = []

    def few_steps(fit):
        def quick(self, data, **options):
            calls.append(self)
            is_full = path.stem in IN_FULL and isinstance(self, di.PathEstimator)
            fewer = {} if is_full else {"max_steps": STEPS}
            return fit(self, data, **{**options, **fewer, "progress": False})

        return quick

    for kind in (di.SnapshotEstimator, di.PathEstimator):
        monkeypatch.setattr(kind, "fit", few_steps(kind.fit))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert calls
    assert plt.get_fignums(), "a tutorial shows at least one picture"
    plt.close("all")


@pytest.fixture
def run_in_full(monkeypatch, tmp_path):
    """What a tutorial leaves in its names, by the name of its file."""
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    yield lambda file: runpy.run_path(str(TUTORIALS[0].with_name(file)))
    plt.close("all")


@pytest.mark.slow
def test_what_is_said_of_fates_and_genes_after_a_full_fit(run_in_full):
    found = run_in_full("02_counts_to_fates.py")
    agreement = found["agreement"]
    assert agreement["correlation"].is_monotonic_increasing
    assert (agreement["correlation"] > 0.45).all()
    assert (agreement["spread of truth"] > agreement["spread of fates"]).all()
    assert (agreement["squared error"] < agreement["knowing nothing"]).all()
    assert (agreement["of 50 neighbours"] < agreement["squared error"]).all()
    assert set(found["early"].index[:7]) == found["regulators"]


@pytest.mark.slow
def test_what_is_said_of_full_fits_when_methods_are_chosen(run_in_full):
    choice = run_in_full("03_which_method.py")
    explained = choice["explained"]
    methods = list(choice["methods"])
    assert (explained.loc[methods, ("energy", 24)] > 0.4).all()
    assert (explained.xs(72, axis=1, level="time") < 0).all(axis=None)
    assert not choice["advice"].is_worthwhile
