"""Every tutorial runs from top to bottom; with few training steps here, in full by `make tutorials` and `make docs`."""

import runpy
from pathlib import Path

import pytest

import dyninfer as di

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.py"))
STEPS = 3


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(path, monkeypatch, tmp_path):
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("Agg")
    fit, calls = di.SnapshotEstimator.fit, []

    def few_steps(self, data, **options):
        calls.append(self)
        return fit(self, data, **{**options, "max_steps": STEPS, "progress": False})

    monkeypatch.setattr(di.SnapshotEstimator, "fit", few_steps)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert calls
    assert plt.get_fignums(), "a tutorial shows at least one picture"
    plt.close("all")
