"""Warnings name the line of the user, whatever stands between it and the reason."""

import warnings

import numpy as np
import pytest

import dyninfer as di
from dyninfer import metrics


def gate():
    run = di.simulate(di.MarkovJump([[-1.0, 1.0], [3.0, -3.0]]), None, range(20), n_paths=5)
    paths = di.Paths(times=[run.times] * 5, states=list(run.states.numpy()))
    return di.MarkovJumpInference(observation="exact").fit(paths, progress=False), paths


def drift():
    rng = np.random.default_rng(0)
    data = di.Snapshots(times=[0, 1], samples=[rng.normal(size=(30, 2)) for _ in range(2)])
    model = di.ActionMatching(width=8, depth=1)
    return model.fit(data, max_steps=2, progress=False), data


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "cause", "message"),
    [
        (gate, lambda model, paths: model.simulate(paths, [0, 50]), "beyond the data"),
        (gate, lambda model, paths: model.forecast(paths, [50]), "beyond the data"),
        (drift, lambda model, data: model.simulate(data, [0, 5]), "beyond the data"),
        (drift, lambda model, data: model.evaluate(data), "are in-sample: the model"),
        (drift, lambda model, data: model.simulate(data.at(0) * 1e39, [0, 1]), "diverged"),
    ],
)
def test_a_warning_names_the_line_outside_the_package(make, cause, message):
    arguments = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cause(*arguments)
    lines = [w.filename for w in caught if message in str(w.message)]
    assert lines == [__file__]


def test_a_warning_of_a_metric_names_the_line_outside_the_package(monkeypatch):
    monkeypatch.setattr("dyninfer.metrics.simplex.ITERATIONS", 1)
    rng = np.random.default_rng(0)
    with pytest.warns(UserWarning, match="not exact") as caught:
        metrics.wasserstein(rng.normal(size=(30, 2)), rng.normal(size=(30, 2)))
    assert [w.filename for w in caught] == [__file__]
