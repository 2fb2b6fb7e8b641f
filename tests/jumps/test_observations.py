"""Observation schemes: errors that cannot be, first labels that are right, labels for several states."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import expm

import dyninfer as di
from dyninfer.jumps.gillespie import simulate_events
from dyninfer.jumps.likelihood.observation import ConfusionMatrix
from tests.jumps import cases

NAMES = ["1", "2", "3", "4"]
PROGRESSIVE = di.Only(["1>2", "1>4", "2>3", "2>4", "3>4"])
BACK_AND_FORTH = di.Only(["1>2", "1>4", "2>1", "2>3", "2>4", "3>2", "3>4"])


def fitted(paths, observation, jumps="all", prior_width=None):
    model = di.MarkovJumpInference(observation=observation, jumps=jumps, prior_width=prior_width)
    return model.fit(paths, progress=False)


def cav():
    paths = cases.cav()
    return di.Paths(times=paths.times, states=paths.states, state_names=NAMES)


def test_misclassified_states_of_cav_with_exact_deaths_and_first_states_are_those_of_msm():
    observation = di.Confusion(
        allowed=["1>2", "2>1", "2>3", "3>2"], entries=["4"], exact_first=True, prior_weight=0.0
    )
    model = fitted(cav(), observation, PROGRESSIVE)
    assert -2 * float(model.fit_.log_likelihood) == pytest.approx(3933.73790, abs=2e-5)
    rates = model.confidence_intervals()["rate"].to_numpy()
    np.testing.assert_allclose(rates, [0.089627, 0.041360, 0.258696, 0.033258, 0.307627], rtol=1e-4)
    confusion = model.emission_.confusion.numpy()
    errors = confusion[[0, 1, 1, 2], [1, 0, 2, 1]]
    np.testing.assert_allclose(errors, [0.026906, 0.174910, 0.063173, 0.115100], rtol=1e-4)
    assert (confusion[[0, 2, 3, 3, 3, 0, 1, 2], [2, 0, 0, 1, 2, 3, 3, 3]] == 0).all()


def alive_cav():
    """Every fourth later observation of someone alive says no more than that."""
    paths = cases.cav()
    flat = np.concatenate(paths.states)
    first = np.cumsum(paths.lengths) - paths.lengths
    is_later = np.ones(len(flat), dtype=bool)
    is_later[first] = False
    is_fourth = (np.arange(len(flat)) + 1) % 4 == 0
    labels = np.array(NAMES, dtype=object)[flat]
    labels[is_later & is_fourth & (flat < 3)] = "alive"
    states = np.split(labels, np.cumsum(paths.lengths)[:-1])
    return di.Paths(times=paths.times, states=states)


def test_censored_states_of_cav_have_the_likelihood_of_msm():
    """msm 1.7 with censor=99, censor.states=1:3, deathexact=4 on the same rows."""
    observation = di.ExactLabels(entries=["4"], censored={"alive": ["1", "2", "3"]})
    model = fitted(alive_cav(), observation, BACK_AND_FORTH)
    assert model.process_.state_names == ("1", "2", "3", "4")
    assert -2 * float(model.fit_.log_likelihood) == pytest.approx(3523.01607, abs=2e-5)


def by_hand(q, states, times, emissions):
    """Log-likelihood of one path given its first state: weights of states, step by step."""
    weights = emissions[0]
    for k in range(1, len(states)):
        weights = weights @ expm(q * (times[k] - times[k - 1])) * emissions[k]
    return np.log(weights.sum())


def test_labels_for_several_states_are_sums_over_them():
    times = [[0.0, 0.7, 1.1, 2.5], [0.0, 1.3, 2.0]]
    states = [["a", "a or b", "c", "a or b"], ["b", "c", "a"]]
    paths = di.Paths(times=times * 10, states=states * 10)
    observation = di.ExactLabels(censored={"a or b": ["a", "b"]})
    model = fitted(paths, observation, prior_width=2.5)
    rows = {"a": [1, 0, 0], "b": [0, 1, 0], "c": [0, 0, 1], "a or b": [1, 1, 0]}
    expected = 0.0
    for t, labels in zip(times, states, strict=True):
        emissions = np.array([rows[label] for label in labels], dtype=float)
        expected += by_hand(model.generator_, labels, t, emissions)
    assert float(model.fit_.log_likelihood) == pytest.approx(10 * expected, rel=1e-9)
    table = model.posterior_states(paths)
    assert set(table["viterbi"]) <= {"a", "b", "c"}


def test_a_first_label_for_several_states_leaves_the_first_state_to_be_fitted():
    states = [["a", "b", "a"], ["b", "b", "b"], ["a or b", "b", "b"]]
    paths = di.Paths(times=[[0.0, 1.0, 2.0]] * 30, states=states * 10)
    model = fitted(paths, di.ExactLabels(censored={"a or b": ["a", "b"]}), prior_width=2.5)
    # With the first states unknown their chances are part of the likelihood.
    assert float(model.fit_.log_likelihood) == pytest.approx(model.log_likelihoods(paths).sum())
    assert model.initial_.sum() == pytest.approx(1.0)


def test_errors_that_cannot_be_stay_impossible_and_the_others_are_learned():
    q = np.array([[-0.3, 0.3, 0.0], [0.2, -0.5, 0.3], [0.0, 0.4, -0.4]])
    run = di.simulate(di.MarkovJump(q), [0] * 400, 0.4 * np.arange(30), seed=1)
    truth = np.array([[0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.2, 0.8]])
    rng = np.random.default_rng(0)
    cumulative = truth.cumsum(1)[run.states.numpy()]
    labels = (rng.random(run.states.shape)[..., None] > cumulative).sum(-1)
    paths = di.Paths(times=[run.times] * 400, states=list(labels), state_names=["a", "b", "c"])
    model = fitted(paths, di.Confusion(allowed=["a>b", "c>b"]), prior_width=2.5)
    confusion = model.emission_.confusion.numpy()
    assert (confusion[truth == 0] == 0).all()
    np.testing.assert_allclose(confusion, truth, atol=0.03)


def test_a_saved_confusion_keeps_its_zeros(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (30, 8))
    paths = di.Paths(times=[np.arange(8)] * 30, states=list(labels), state_names=["a", "b", "c"])
    observation = di.Confusion(allowed=["a>b", "b>a"], exact_first=True)
    model = fitted(paths, observation, prior_width=2.5)
    other = di.load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(other.log_likelihoods(paths), model.log_likelihoods(paths))
    exact = di.ExactLabels(censored={"c": ["a", "b"]})
    model = fitted(paths, exact, prior_width=2.5)
    other = di.load(model.save(tmp_path / "model.safetensors"))
    assert other.observation.censored == {"c": ["a", "b"]}


def test_the_prior_counts_as_so_many_observations_of_what_can_be():
    allowed = torch.tensor([[False, True, False], [True, False, True], [False, False, False]])
    matrix = ConfusionMatrix.among(allowed, 0.1, weight=20.0)
    expected = [[18.0, 2.0, 0.0], [1.0, 18.0, 1.0], [0.0, 0.0, 20.0]]
    torch.testing.assert_close(matrix.prior_counts, torch.tensor(expected).double())
    assert len(matrix.parameters()) == 3


def table(**labels):
    return di.Paths(times=[[0, 1, 2, 3]] * 5, states=[list(labels["states"])] * 5)


@pytest.mark.parametrize(
    ("observation", "states", "words"),
    [
        ("exact", [0, 1, 99, 1], r"only '0', '1', '99' occur; if 99 is a code"),
        (di.ExactLabels(censored={"x": ["a"]}), "abab", "two states or more"),
        (di.ExactLabels(censored={"x": ["a", "d"]}), "abxa", "no state 'd'"),
        (di.ExactLabels(censored={"x": ["a", "x"]}), "abxa", "as a state and as a label"),
        (di.Confusion(allowed=["a>d"]), "abab", "no state 'd'"),
        (di.Confusion(allowed=["ab"]), "abab", "allowed must be written"),
        (di.Confusion(allowed=["a>b"], entries=["b"]), "abab", "label 'b' be wrong"),
        (di.Confusion(prior_weight=-1.0), "abab", "must not be negative"),
    ],
)
def test_schemes_that_cannot_be_are_refused_by_name(observation, states, words):
    with pytest.raises(ValueError, match=words):
        fitted(table(states=states), observation)


def test_a_code_of_numbers_is_no_state():
    paths = table(states=[0, 1, 99, 1])
    model = fitted(paths, di.ExactLabels(censored={"99": ["0", "1"]}), prior_width=2.5)
    assert model.process_.state_names == ("0", "1")


def test_paths_of_clones_take_no_codes():
    frame = pd.DataFrame({"t": [1.0, 1.0], "p": ["x", "y"], "s": ["a", "b"], "c": ["k", "k"]})
    from anndata import AnnData

    model = di.MarkovJumpInference(
        observation=di.ExactLabels(censored={"c": ["a", "b"]}), clones=di.Clones(ancestor_time=0)
    )
    keys = {"time_key": "t", "path_key": "p", "state_key": "s", "condition_key": "c"}
    with pytest.raises(ValueError, match="not clones"):
        model.fit(AnnData(obs=frame.set_index(frame.index.astype(str))), **keys, progress=False)


def recorded(q, n=60, stop=8.0, seed=1):
    """Every jump of some paths, and where each of them ends."""
    events = simulate_events(di.MarkovJump(q), [0] * n, stop, seed=seed)
    times, states = [], []
    for t, x in zip(events.times.numpy(), events.states.numpy(), strict=True):
        is_visit = np.isfinite(t)
        times.append(np.append(t[is_visit], stop))
        states.append(np.append(x[is_visit], x[is_visit][-1]))
    return di.Paths(times=times, states=states, state_names=["a", "b", "c"])


def test_rates_of_complete_paths_are_jumps_over_dwell_times():
    paths = recorded([[-1.0, 0.7, 0.3], [0.2, -0.5, 0.3], [0.0, 0.4, -0.4]])
    jumps, dwell_times = np.zeros((3, 3)), np.zeros(3)
    for t, x in zip(paths.times, paths.states, strict=True):
        np.add.at(dwell_times, x[:-1], np.diff(t))
        is_jump = np.diff(x) != 0
        np.add.at(jumps, (x[:-1][is_jump], x[1:][is_jump]), 1)
    model = fitted(paths, di.ExactTimes(), di.Only(["a>b", "a>c", "b>a", "b>c", "c>b"]))
    table = model.confidence_intervals(0.95)
    rates = jumps / dwell_times[:, None]
    np.testing.assert_allclose(table["rate"], rates[rates > 0], rtol=1e-6)
    # The variance of a log-rate is one over the number of jumps.
    deviation = np.log(table["high"] / table["low"]) / (2 * 1.959964)
    np.testing.assert_allclose(deviation, jumps[jumps > 0] ** -0.5, rtol=1e-4)
    log_rates = np.log(rates[rates > 0])
    expected = (jumps[jumps > 0] * log_rates).sum() - (rates.sum(1) * dwell_times).sum()
    assert float(model.fit_.log_likelihood) == pytest.approx(expected)
    given = np.log([model.initial_[x[0]] for x in paths.states]).sum()
    assert model.log_likelihoods(paths).sum() == pytest.approx(expected + given)


def test_complete_paths_are_refused_where_something_is_missing_or_cannot_be():
    paths = recorded([[-1.0, 0.7, 0.3], [0.2, -0.5, 0.3], [0.0, 0.4, -0.4]], n=5)
    with pytest.raises(ValueError, match="from a to c, which cannot happen"):
        fitted(paths, di.ExactTimes(), "birth-death")
    gappy = di.Paths(times=[[0, 1, 2]], states=[[0, -1, 1]])
    with pytest.raises(ValueError, match="path '0' lacks a label"):
        fitted(gappy, di.ExactTimes())


def test_states_that_no_path_connects_are_named():
    rng = np.random.default_rng(0)
    states = [rng.integers(0, 2, 10) + 2 * (k % 2) for k in range(20)]
    paths = di.Paths(times=[np.arange(10)] * 20, states=states, state_names=list("abcd"))
    with pytest.warns(UserWarning, match="between the states a, b and the states c, d"):
        fitted(paths, "exact", prior_width=2.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(paths, "exact", di.Only(["a>b", "b>a", "c>d", "d>c"]))


def test_labels_that_no_jumps_lead_to_are_named_with_their_path():
    names = ["mild", "severe", "dead"]
    paths = di.Paths(
        times=[[0, 1, 2], [0, 1.5, 3, 4]],
        states=[[0, 1, 2], [0, 1, -1, 0]],
        names=["Ann", "Bob"],
        state_names=names,
    )
    jumps = di.Only(["mild>severe", "severe>dead"])
    for covariates in (None, di.Periods([1.0])):
        model = di.MarkovJumpInference(observation="exact", jumps=jumps, covariates=covariates)
        with pytest.raises(ValueError, match=r"'Bob' is 'severe' at 1.5 and 'mild' at 4, .*1 such"):
            model.fit(paths, progress=False)
    # Two jumps on the way are no obstacle.
    through = di.Paths(times=[[0, 1]] * 2, states=[[0, 2], [0, 1]], state_names=names)
    di.MarkovJumpInference(observation="exact", jumps=jumps).fit(through, progress=False)
