"""Markov state models at several lags: against deeptime, and closed forms."""

import numpy as np
import pytest

import dyninfer as di
from dyninfer.jumps.likelihood.frames import Frames
from dyninfer.jumps.process.discrete import estimate

FIRST = [0, 0, 1, 1, 2, 1, 0, 0, 0, 1, 2, 2, 2, 1, 1, 0, 0, 1, 2]
FIRST += [2, 1, 0, 1, 1, 2, 2, 2, 2, 1, 0, 0, 0, 1, 0, 0, 1, 1, 2]
SECOND = [2, 2, 1, 1, 1, 0, 0, 1, 0, 0, 0, 1, 2, 2, 1, 2, 1, 1, 0, 0, 1, 2, 2, 2]
GATE = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]], state_names=["closed", "open"])
# What deeptime 0.5.0 counts (sliding) and estimates for the two paths above.
COUNTS = {2: [[5, 11, 4], [10, 4, 8], [3, 8, 5]], 3: [[4, 5, 11], [8, 9, 4], [6, 7, 2]]}
REVERSIBLE = [
    [0.2000000000, 0.3379945515, 0.4620054484],
    [0.2971480461, 0.4285714285, 0.2742805252],
    [0.5173260686, 0.3493405979, 0.1333333333],
]
TIMES = {
    (1, False): [1.7770004107632411, 0.48470755328848236],
    (2, False): [1.9077354040274284, 0.8490121394182659],
    (2, True): [1.9061949882054785, 0.8478837493405084],
    (3, True): [2.6584724418764454, 1.2195032880453587],
}


def two_paths(step=1.0, origin=0.0):
    states = [np.array(FIRST), np.array(SECOND)]
    return di.Paths(times=[origin + step * np.arange(len(x)) for x in states], states=states)


def gate_paths(n_paths, n_times, seed, step=0.1):
    start = GATE.stationary()[1].item()
    starts = (np.random.default_rng(seed).random(n_paths) < start).astype(int)
    run = di.simulate(GATE, starts, step * np.arange(n_times), seed=seed)
    names = list(GATE.state_names)
    return di.Paths(times=[run.times] * n_paths, states=list(run.states.numpy()), state_names=names)


@pytest.mark.parametrize("lag", [2, 3])
def test_pairs_are_counted_as_deeptime_counts_them(lag):
    assert Frames.of(two_paths()).counts(lag).tolist() == COUNTS[lag]


def test_missing_frames_are_passed_over_and_paths_are_not_joined():
    paths = di.Paths(times=[[0, 1, 3, 4], [2, 3]], states=[[0, 1, 1, 0], [1, 0]])
    frames = Frames.of(paths)
    assert frames.counts(1).tolist() == [[0, 1], [2, 0]]
    assert frames.counts(3).tolist() == [[0, 1], [1, 0]]


def test_detailed_balance_is_that_of_deeptime():
    matrix = estimate(Frames.of(two_paths()).counts(3), reversible=True)
    np.testing.assert_allclose(matrix, REVERSIBLE, atol=1e-8)


@pytest.mark.parametrize("case", TIMES)
def test_implied_time_scales_are_those_of_deeptime(case):
    lag, reversible = case
    table = di.tl.implied_timescales(two_paths(), [lag], reversible=reversible)
    np.testing.assert_allclose(table["value"], TIMES[case], rtol=1e-7)


def test_time_scales_have_the_unit_and_no_origin_of_time():
    table = di.tl.implied_timescales(two_paths(0.02, 5e3), [0.02, 0.04])
    expected = di.tl.implied_timescales(two_paths(), [1, 2])
    for column in ("lag", "value", "low", "high"):
        np.testing.assert_allclose(table[column], 0.02 * expected[column], rtol=1e-6)


def test_intervals_of_a_time_scale_cover_as_often_as_they_say():
    hits = []
    for seed in range(40):
        table = di.tl.implied_timescales(gate_paths(20, 60, seed), [0.1, 0.2], level=0.9)
        # Two states relax in 1 / (1 + 4), at any lag.
        hits += [*((table["low"] < 0.2) & (table["high"] > 0.2))]
    assert 0.84 <= np.mean(hits) <= 0.99


def test_the_time_scales_of_a_model_stand_beside():
    table = di.tl.implied_timescales(gate_paths(20, 60, 0), model=GATE)
    np.testing.assert_allclose(table["model"], 0.2, rtol=1e-12)
    assert table["lag"].max() <= 0.25 * 5.9


def test_predictions_are_powers_and_exponentials():
    paths = gate_paths(40, 60, 5)
    table = di.tl.chapman_kolmogorov(paths, 0.1, n_multiples=3)
    counts = Frames.of(paths).counts(1).numpy()
    matrix = counts / counts.sum(1, keepdims=True)
    expected = [np.linalg.matrix_power(matrix, k).ravel() for k in (1, 2, 3)]
    np.testing.assert_allclose(table["predicted"], np.ravel(expected), rtol=1e-12)
    by_model = di.tl.chapman_kolmogorov(paths, 0.1, n_multiples=3, model=GATE)
    opened = 0.2 * (1 - np.exp(-5 * 0.1 * np.arange(1, 4)))
    jumps = (by_model["source"] == "closed") & (by_model["target"] == "open")
    np.testing.assert_allclose(by_model[jumps]["predicted"], opened, rtol=1e-12)
    np.testing.assert_allclose(by_model["estimated"], table["estimated"], rtol=1e-12)


def test_labels_that_are_markov_pass_and_lumped_states_fail():
    def is_outside(table):
        above = table["predicted_low"] > table["estimated_high"]
        return above | (table["predicted_high"] < table["estimated_low"])

    chain = di.MarkovJump.from_rates([[0, 1, 0], [0.1, 0, 2], [0, 0.5, 0]])
    run = di.simulate(chain, [0, 1, 2] * 100, 0.2 * np.arange(40), seed=0)
    times = [run.times] * 300
    states = run.states.numpy()
    markov = di.tl.chapman_kolmogorov(di.Paths(times=times, states=list(states)), 0.2)
    assert not is_outside(markov).any()
    lumped = di.Paths(times=times, states=list((states == 2).astype(int)))
    assert is_outside(di.tl.chapman_kolmogorov(lumped, 0.2)).any()


def test_a_fitted_model_predicts_with_intervals():
    paths = gate_paths(40, 60, 5)
    model = di.MarkovJumpInference(observation="exact", prior_width=None)
    model.fit(paths, progress=False)
    table = di.tl.chapman_kolmogorov(paths, 0.2, model=model)
    assert (table["predicted_low"] < table["predicted_high"]).all()
    assert (table["predicted"] - table["estimated"]).abs().max() < 0.08


def test_what_cannot_be_asked_is_named():
    uneven = di.Paths(times=[[0, 1, 2.5, 3.1]], states=[[0, 1, 0, 1]])
    cases = [
        (lambda: di.tl.implied_timescales(uneven), "equal steps"),
        (lambda: di.tl.implied_timescales(two_paths(), [1.5]), "not a multiple of 1"),
        (lambda: di.tl.implied_timescales(two_paths(), [40]), "40 is longer than every path"),
        (lambda: di.tl.implied_timescales(two_paths(), [37]), "no successor 37 later"),
        (lambda: di.tl.chapman_kolmogorov(two_paths(), None), "lag must be one finite time"),
        (lambda: di.tl.chapman_kolmogorov(two_paths(), 1e308), "longer than every path"),
        (lambda: di.tl.chapman_kolmogorov(two_paths(), 1, n_multiples=2**40), "than every path"),
        (lambda: di.tl.implied_timescales([[0, 1]]), "data must be Paths"),
        (
            lambda: di.tl.implied_timescales(two_paths(), lags=[]),
            "lags is empty; give at least one time",
        ),
        (lambda: di.tl.implied_timescales(two_paths(), model="x"), "model must be"),
        (lambda: di.tl.chapman_kolmogorov(two_paths(), 1, n_multiples=0), "at least 1"),
    ]
    for call, words in cases:
        with pytest.raises((TypeError, ValueError), match=words):
            call()
    one_way = di.Paths(times=[[0, 1, 2, 3]], states=[[0, 0, 1, 1]])
    with pytest.raises(ValueError, match="reversible=False"):
        di.tl.implied_timescales(one_way, [1], reversible=True)
