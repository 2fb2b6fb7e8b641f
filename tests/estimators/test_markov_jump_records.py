"""Records as people bring them: states that say nothing, gaps, units, and times of any origin."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import dyninfer as di

GATE = [[-1.0, 1.0], [3.0, -3.0]]
HEALTH = [[-0.5, 0.4, 0.1], [0.2, -0.5, 0.3], [0.0, 0.0, 0.0]]


def records(generator, n, times, seed=0, **process):
    truth = di.MarkovJump(generator, **process)
    run = di.simulate(truth, None, np.asarray(times), n_paths=n, seed=seed)
    return run.times.numpy(), run.states.numpy()


def fitted(paths, **settings):
    return di.MarkovJumpInference(**settings).fit(paths, progress=False)


def gate_paths(n=100, length=40, **fields):
    times, states = records(GATE, n, 0.2 * np.arange(length))
    return di.Paths(times=[times] * n, states=list(states), **fields)


def followed_until_death():
    """Follow-up ends at the first look that finds somebody dead."""
    t, x = records(HEALTH, 300, np.arange(15), seed=1, initial=[1.0, 0.0, 0.0])
    times, states = [], []
    for row in x:
        is_dead = row == 2
        length = len(row)
        if is_dead.any():
            length = int(is_dead.argmax()) + 1
        times.append(t[:length])
        states.append(row[:length])
    return di.Paths(times=times, states=states, state_names=["well", "ill", "dead"])


@pytest.mark.parametrize("observation", ["exact", "label noise"])
def test_a_state_that_is_entered_and_never_left_is_named(observation):
    with pytest.warns(UserWarning, match="no path is seen to leave state dead"):
        fitted(followed_until_death(), observation=observation)


def test_a_state_that_is_said_to_be_absorbing_is_and_nothing_is_said():
    jumps = di.Only(["well>ill", "ill>well", "well>dead", "ill>dead"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fitted(followed_until_death(), observation="exact", jumps=jumps)
    assert (model.generator_[2] == 0).all()
    np.testing.assert_allclose(model.process_.stationary(), [0, 0, 1], atol=1e-12)
    for i, j in [(0, 1), (0, 2), (1, 0), (1, 2)]:
        assert model.generator_[i, j] == pytest.approx(HEALTH[i][j], rel=0.3)


def test_labels_that_count_from_one_leave_a_state_that_nobody_saw_and_it_is_named():
    times, states = records(GATE, 50, 0.2 * np.arange(30))
    paths = di.Paths(times=[times] * 50, states=list(states + 1))
    with pytest.warns(UserWarning, match="no label names state 0.*number the states from 0"):
        fitted(paths, observation="exact")


def test_conditions_that_would_change_nothing_are_refused():
    paths = gate_paths(10)
    labels = {"day": np.concatenate(paths.times), "cell": np.repeat(paths.names, 40)}
    obs = pd.DataFrame(labels | {"state": np.concatenate(paths.states), "sex": "f"})
    obs.index = obs.index.astype(str)
    cells = ad.AnnData(np.random.default_rng(0).normal(size=(400, 1)), obs=obs)
    keys = {"time_key": "day", "path_key": "cell", "condition_key": "sex", "progress": False}
    with pytest.raises(ValueError, match="condition_key='sex' cannot be used"):
        di.MarkovJumpInference().fit(cells, state_key="state", **keys)
    with pytest.raises(ValueError, match="condition_key='sex' cannot be used"):
        di.FractionalSDE().fit(cells, **keys)


@pytest.mark.parametrize("observation", ["exact", "label noise", "confusion"])
@pytest.mark.parametrize("first_missing", [0, 1])
def test_every_second_label_may_be_missing(observation, first_missing):
    times, states = records(GATE, 100, 0.2 * np.arange(40))
    states[:, first_missing::2] = -1
    model = fitted(di.Paths(times=[times] * 100, states=list(states)), observation=observation)
    assert model.generator_[0, 1] == pytest.approx(1, rel=0.3)
    assert model.generator_[1, 0] == pytest.approx(3, rel=0.3)


def test_whole_numbers_as_floats_are_told_to_become_integers():
    times, states = records(GATE, 3, 0.2 * np.arange(20))
    states = states.astype(float)
    states[0, 3] = np.nan
    paths = di.Paths(times=[times] * 3, states=list(states))
    with pytest.raises(TypeError, match="make them integers, with -1 for missing") as error:
        fitted(paths)
    assert len(str(error.value)) <= 300


def test_irregular_gaps_beside_a_long_pause_have_the_rates_of_the_process():
    waits = np.random.default_rng(1).exponential(0.3, 40_000)
    waits[20_000] = 1e7
    times, states = records(GATE, 1, np.concatenate([[0], np.cumsum(waits)]))
    paths = di.Paths(times=[times], states=list(states))
    model = fitted(paths, observation="exact", prior_width=None)
    assert model.generator_[0, 1] == pytest.approx(1, abs=0.06)
    assert model.generator_[1, 0] == pytest.approx(3, abs=0.18)


def signal(spread, seed=0):
    times, states = records(GATE, 10, 0.1 * np.arange(100), seed=seed)
    noise = np.random.default_rng(seed).normal(size=states.shape)
    return times, states + np.asarray(spread)[states] * noise


@pytest.mark.parametrize("spread", [(0.0, 0.0), (0.0, 0.1)])
def test_levels_without_noise_are_fitted_and_told_to_be_labels(spread):
    times, values = signal(spread)
    paths = di.Paths(times=[times] * 10, states=list(values))
    with pytest.warns(UserWarning, match="values of state 0.* are all equal"):
        model = fitted(paths, observation=di.Gaussian(2))
    assert model.generator_[0, 1] == pytest.approx(1, rel=0.35)
    assert model.generator_[1, 0] == pytest.approx(3, rel=0.35)
    np.testing.assert_allclose(model.emission_.mean[:, 0], [0, 1], atol=0.05)


@pytest.mark.parametrize(("unit", "origin"), [(1e-12, 0.0), (1e12, 0.0), (1.0, 1e6)])
def test_a_signal_has_the_same_rates_in_any_unit_and_about_any_level(unit, origin):
    times, values = signal((0.2, 0.3))
    plain = di.Paths(times=[times] * 10, states=list(values))
    other = di.Paths(times=[times] * 10, states=list(unit * values + origin))
    first = fitted(plain, observation=di.Gaussian(2))
    second = fitted(other, observation=di.Gaussian(2))
    np.testing.assert_allclose(second.generator_, first.generator_, rtol=1e-3)
    mean = (second.emission_.mean - origin) / unit
    np.testing.assert_allclose(mean, first.emission_.mean, atol=1e-4)


def test_a_rule_finds_the_same_states_in_any_unit():
    times, values = signal((0.2, 0.3))
    for rule in (di.MixtureStates(n_states=2), di.KMeansStates(n_states=2)):
        shares = []
        for unit in (1.0, 1e-12, 1e12):
            paths = di.Paths(times=[times] * 10, states=list(unit * values))
            shares.append(rule.learn(paths, seed=0)["share"])
        np.testing.assert_allclose(shares[1], shares[0], atol=1e-6)
        np.testing.assert_allclose(shares[2], shares[0], atol=1e-6)


def test_a_cell_may_be_as_old_as_its_ancestor_but_for_rounding():
    early, late = 0.3, 0.1 * 3
    assert early < late
    cells = {"states": [[0], [1], [0], [1]], "conditions": list("aabb")}
    paths = di.Paths(times=[[early], [2.0], [early], [2.0]], **cells)
    model = fitted(paths, observation="exact", clones=di.Clones(late))
    at_start = fitted(paths, observation="exact", clones=di.Clones(early))
    np.testing.assert_allclose(model.generator_, at_start.generator_, rtol=1e-9)
    assert model.simulate(None, [early, 2.0], n_paths=3).states.shape == (3, 2)
    with pytest.raises(ValueError, match="begins at 0.3, before the ancestor_time=0.4"):
        fitted(paths, observation="exact", clones=di.Clones(0.4))
    with pytest.raises(ValueError, match="cannot be drawn at 0.1, before the ancestor_time=0.3"):
        model.simulate(None, [0.1, 2.0], n_paths=3)


def test_what_lies_beyond_the_data_is_said_of_paths_too():
    paths = gate_paths(10)
    model = fitted(paths, observation="exact")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.simulate(paths, [0.2, 7.8])
    with pytest.warns(UserWarning, match=r"simulating from 0 to 20, beyond the data \(0 to 7.8\)"):
        model.simulate(paths, [0.0, 20.0])
    with pytest.warns(UserWarning, match=r"from 7.8 to 9, beyond the data \(0 to 7.8\)"):
        model.forecast(paths, [8.0, 9.0], n_samples=2)


def test_rows_beyond_the_data_are_annotated_with_a_warning():
    cells = gate_paths(10).to_anndata()
    keys = {"time_key": "time", "path_key": "path", "state_key": "state"}
    model = di.MarkovJumpInference(observation="exact").fit(cells, **keys, progress=False)
    cells.obs["time"] += 5
    with pytest.warns(UserWarning, match=r"annotating from 5 to 12.8, beyond the data"):
        model.annotate(cells)


def test_a_path_whose_past_is_missing_is_scored_without_a_forecast():
    times, states = records(GATE, 20, 0.2 * np.arange(20))
    states[3, :12] = -1
    paths = di.Paths(times=[times] * 20, states=list(states))
    table = fitted(paths, observation="exact").evaluate(paths, n_samples=5)
    assert table["forecasts"].tolist() == [10] * 3 + [0] + [10] * 16
    assert table["log_likelihood"].notna().all()
    assert np.isnan(table["brier"][3])
    assert table["brier"].drop(3).notna().all()


def gate_labels(gap, wrong=0.05, seed=0):
    """A gate that stays one time unit in either state, looked at every ``gap``."""
    gate = di.MarkovJump([[-1.0, 1.0], [1.0, -1.0]])
    times = gap * np.arange(100)
    states = di.simulate(gate, None, times, n_paths=50, seed=seed).states.numpy()
    is_wrong = np.random.default_rng(seed).random(states.shape) < wrong
    labels = np.where(is_wrong, 1 - states, states)
    return di.Paths(times=[times] * 50, states=list(labels), state_names=("a", "b"))


@pytest.mark.parametrize("gap", [0.01, 0.3])
def test_gaps_within_the_memory_tell_the_rates(gap):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        rates = fitted(gate_labels(gap)).confidence_intervals()["rate"]
    np.testing.assert_allclose(rates, 1.0, rtol=0.3)


@pytest.mark.parametrize("observation", ["label noise", "exact"])
@pytest.mark.parametrize("gap", [3.0, 100.0])
def test_gaps_beyond_the_memory_are_named(gap, observation):
    """Chance alone would give a hundredth of the rate, with an interval far from it."""
    paths = gate_labels(gap, wrong=0.05 * (observation == "label noise"))
    with pytest.warns(UserWarning, match="equally likely without any memory.*shorter gaps"):
        fitted(paths, observation=observation)


def gate_signal(gap):
    """The gate as a noisy signal."""
    labels = gate_labels(gap, wrong=0.0)
    noise = 0.2 * np.random.default_rng(1).normal(size=(50, 100))
    signal = [states + z for states, z in zip(labels.states, noise, strict=True)]
    return di.Paths(times=labels.times, states=signal)


def test_gaps_of_a_signal_beyond_the_memory_are_named():
    two = di.Gaussian(n_states=2)
    with pytest.warns(UserWarning, match="equally likely without any memory"):
        fitted(gate_signal(30.0), observation=two)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fitted(gate_signal(0.3), observation=two)
