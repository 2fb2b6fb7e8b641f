"""Families of drifts against what was simulated, and against their two limits."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

import dyninfer as di
from dyninfer.learning.random import numpy_stream

# Planar systems that relax alike, and turn not at all, one way, or the other.
TURNS = (0.0, 1.5, -1.5)
VARIATION = 0.14
LINEAR = di.Polynomials(degree=1)


def environments(seed, n=30, length=200, gap=0.1, sigma=0.5):
    """Family of each environment, its matrix, and a path of each, of ten Euler steps a gap."""
    rng = numpy_stream(seed, "environments")
    family = np.arange(n) % len(TURNS)
    base = [[[-0.5, turn], [-turn, -0.5]] for turn in TURNS]
    matrix = np.array(base)[family] + VARIATION * rng.normal(size=(n, 2, 2))
    dt = gap / 10
    x = 0.5 * rng.normal(size=(n, 2))
    states = [x]
    for step in range(10 * length):
        along = np.einsum("eij,ej->ei", matrix, x)
        x = x + along * dt + sigma * np.sqrt(dt) * rng.normal(size=(n, 2))
        if step % 10 == 9:
            states.append(x)
    names = [f"donor {number:02d}" for number in range(n)]
    times = gap * np.arange(length + 1)
    paths = di.Paths(times=[times] * n, states=list(np.stack(states, 1)), conditions=names)
    return family, matrix, paths


@pytest.fixture(scope="module")
def donors():
    return environments(0)


@pytest.fixture(scope="module")
def model(donors):
    return di.DriftFamilies().fit(donors[2], progress=False)


def matrix_of(process):
    """Slopes of a linear drift ``(d, d)``."""
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    drift = process.drift(0.0, corners).numpy()
    return (drift[1:] - drift[0]).T


def matrices(model):
    names = model.facts_["environments"]
    return np.stack([matrix_of(model.process_.given(name)) for name in names])


def root_mean_square(error):
    return float(np.sqrt(np.mean(error**2)))


def test_three_families_of_thirty_environments_are_counted_and_routed(donors, model):
    family, _, _ = donors
    assert len(model.facts_["shares"]) == 3
    counts = np.zeros((3, 3))
    np.add.at(counts, (model.environments_["family"].to_numpy(), family), 1)
    rows, columns = linear_sum_assignment(-counts)
    assert counts[rows, columns].sum() / 30 >= 0.96


def test_shrinking_to_the_family_beats_the_family_and_each_on_its_own():
    errors = []
    for seed in range(4):
        _, matrix, paths = environments(seed)
        own = di.DriftFamilies(n_families=1, spread=1e4).fit(paths, progress=False)
        family = di.DriftFamilies(n_families=3, spread=1e-4).fit(paths, progress=False)
        shrunk = di.DriftFamilies(n_families=3).fit(paths, progress=False)
        errors.append([root_mean_square(matrices(m) - matrix) for m in (own, family, shrunk)])
    own, family, shrunk = np.mean(errors, axis=0)
    assert shrunk < family < own
    # A slope is known to σ / √(V T), with the variance V = σ² / 2θ = ¼ and T = 20.
    assert own == pytest.approx(0.5 / np.sqrt(0.25 * 20), rel=0.6)
    # The family is known ten times better, and its members differ by their variation.
    assert family == pytest.approx(np.hypot(VARIATION, own / np.sqrt(10)), rel=0.25)


def test_one_family_without_a_prior_is_a_regression_of_each_environment(donors):
    _, _, paths = donors
    model = di.DriftFamilies(n_families=1, spread=1e5).fit(paths, progress=False)
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)).double()
    for number in (0, 7):
        alone = di.Paths(times=paths.times[:1], states=[paths.states[number]])
        expected = di.KramersMoyal(drift=LINEAR).fit(alone, progress=False).process_.drift(0.0, x)
        drift = model.process_.given(f"donor {number:02d}").drift(0.0, x)
        torch.testing.assert_close(drift, expected, rtol=1e-4, atol=1e-4)


def test_one_family_without_variation_is_the_pooled_regression(donors):
    _, _, paths = donors
    model = di.DriftFamilies(n_families=1, spread=1e-6).fit(paths, progress=False)
    pooled = di.Paths(times=paths.times, states=paths.states)
    # The noise of each is that of its own regression, by which a common drift is not moved.
    expected = di.KramersMoyal(drift=LINEAR).fit(pooled, progress=False)
    difference = matrix_of(model.process_) - matrix_of(expected.process_)
    assert np.abs(difference).max() < 1e-4
    assert matrices(model).std(0).max() < 1e-4


def test_a_new_environment_finds_its_family_and_is_adapted_to(donors, model):
    _, matrix, paths = environments(9, n=3)
    renamed = di.Paths(times=paths.times, states=paths.states, conditions=["a", "b", "c"])
    routes = model.route(renamed)
    assert (routes.max(axis=1) > 0.9).all()
    families = routes.to_numpy().argmax(1)
    known = model.environments_["family"].to_numpy()[:3]
    assert list(families) == list(known)
    adapted = model.adapt(renamed[[1]])
    error = root_mean_square(matrix_of(adapted.process_) - matrix[1])
    assert error < 0.35
    future = model.forecast(renamed, [21.0, 22.0], n_samples=4)
    assert future.states.shape == (12, 2, 2)
    assert list(future.origin[::4]) == list(renamed.names)


def test_a_saved_model_simulates_each_environment_the_same(donors, model, tmp_path):
    path = model.save(tmp_path / "families")
    again = di.load(path)
    start = np.zeros((3, 2))
    options = {"times": [0.0, 1.0], "condition": "donor 04", "seed": 1}
    run = model.simulate(start, **options)
    assert torch.equal(run.states, again.simulate(start, **options).states)
    assert again.environments_.equals(model.environments_)


def test_several_families_have_no_drift_without_an_environment(model):
    with pytest.raises(ValueError, match="condition=name"):
        model.simulate(np.zeros((3, 2)), [0.0, 1.0])
    with pytest.raises(ValueError, match="no environment is named"):
        model.simulate(np.zeros((3, 2)), [0.0, 1.0], condition="donor 99")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_families": 2, "max_families": 3}, "leave one of the two out"),
        ({"n_families": 99}, "more than the 30 environments"),
        ({"spread": 0.0}, "spread must be positive"),
    ],
)
def test_settings_that_cannot_be_are_named(donors, settings, message):
    with pytest.raises(ValueError, match=message):
        di.DriftFamilies(**settings).fit(donors[2], progress=False)
