"""Observed and expected shares of states: by hand, and against msm."""

import numpy as np
import pandas as pd
import pytest
from jumps.cases import cav
from tools.test_jump_tables import GATE, MSM_RATES

import dyninfer as di

NAMES = ["well", "ill", "dead"]
SLOW = di.MarkovJump.from_rates([[0, 0.2, 0.1], [0, 0, 0.3], [0, 0, 0]], state_names=NAMES)


@pytest.fixture
def three():
    """Paths that end, that die and that begin late."""
    times = [[0, 2, 4], [0, 3], [1, 5]]
    states = [["well", "ill", "ill"], ["well", "dead"], ["well", "ill"]]
    return di.Paths(times=times, states=states, state_names=NAMES)


def observed(table):
    return table.pivot(index="time", columns="state", values="observed")[NAMES].to_numpy()


def test_a_path_is_where_it_was_observed_last_and_the_dead_stay(three):
    table = di.tl.prevalence(SLOW, three, [0, 1, 2.5, 4, 5])
    expected = [[1, 0, 0], [1, 0, 0], [2 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0.5, 0.5]]
    np.testing.assert_allclose(observed(table), expected)
    assert table.groupby("time")["n_paths"].first().tolist() == [2, 3, 3, 3, 2]


def test_midpoints_change_the_state_half_way(three):
    table = di.tl.prevalence(SLOW, three, [1.0, 1.1, 1.6, 3.1], interpolation="midpoint")
    # Half way, at 1, the first path is well still; at 1.6 the second has died.
    thirds = [[3, 0, 0], [2, 1, 0], [1, 1, 1], [0, 2, 1]]
    np.testing.assert_allclose(observed(table), np.array(thirds) / 3)


def test_the_dead_leave_the_study_where_it_ends(three):
    table = di.tl.prevalence(SLOW, three, [3.0, 5.0], followed_until=4)
    np.testing.assert_allclose(observed(table), [[1 / 3, 1 / 3, 1 / 3], [0, 1, 0]])


def test_expected_is_the_mean_over_the_paths_that_have_begun(three):
    table = di.tl.prevalence(SLOW, three, [0.5, 3.0])
    alone = [np.exp(-0.3 * t) for t in (0.5, 3, 2)]
    shares = table[table["state"] == "well"]["expected"]
    np.testing.assert_allclose(shares, [alone[0], (2 * alone[1] + alone[2]) / 3], rtol=1e-12)
    np.testing.assert_allclose(table.groupby("time")["expected"].sum(), 1, rtol=1e-12)


def test_another_origin_and_unit_of_time_change_nothing(three):
    late = di.Paths(
        times=[1e6 + 60 * t for t in three.times], states=list(three.states), state_names=NAMES
    )
    slower = di.MarkovJump(SLOW.generator / 60, state_names=NAMES)
    table = di.tl.prevalence(slower, late, [1e6 + 60 * t for t in (0, 1, 2.5, 5)])
    expected = di.tl.prevalence(SLOW, three, [0, 1, 2.5, 5])
    for column in ("observed", "expected"):
        np.testing.assert_allclose(table[column], expected[column], rtol=1e-9)


def test_times_that_differ_by_rounding_are_one():
    paths = di.Paths(times=[[0, 0.1 * 3, 0.9]] * 2, states=[["well", "ill", "ill"]] * 2)
    table = di.tl.prevalence(
        di.MarkovJump.from_rates([[0, 1], [1, 0]], state_names=["ill", "well"]), paths, [0.3]
    )
    assert table.set_index("state").loc["ill", "observed"] == 1


def test_most_intervals_hold_the_truth_of_a_model_that_fits():
    run = di.simulate(GATE, [0] * 200, 0.3 * np.arange(12), seed=2)
    names = list(GATE.state_names)
    paths = di.Paths(times=[run.times] * 200, states=list(run.states.numpy()), state_names=names)
    model = di.MarkovJumpInference(observation="exact", prior_width=None)
    model.fit(paths, progress=False)
    table = di.tl.prevalence(model, paths, run.times[1:], level=0.99)
    truth = 0.2 * (1 - np.exp(-5 * 0.3 * np.arange(1, 12)))
    opened = table[table["state"] == "open"]
    assert ((opened["low"] < truth) & (truth < opened["high"])).all()
    assert (abs(opened["observed"] - truth) < 4 * np.sqrt(truth * (1 - truth) / 200)).all()


@pytest.mark.parametrize(
    ("times", "keywords", "words"),
    [
        ([9.0], {"followed_until": 5}, "no path is observed at time 9"),
        ([], {}, "times is empty; give at least one time"),
        ([-1.0], {}, "no path is observed at time -1"),
        ([1.0], {"interpolation": "end"}, "'start' or 'midpoint'"),
    ],
)
def test_what_cannot_be_asked_is_named(three, times, keywords, words):
    with pytest.raises(ValueError, match=words):
        di.tl.prevalence(SLOW, three, times, **keywords)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (1j, "model must be a fitted MarkovJumpInference or a MarkovJump, found 1j"),
        (di.MarkovJumpInference(), "is not fitted yet"),
        (di.MarkovJump(np.zeros((2, 3, 3))), "model is a batch"),
    ],
)
def test_what_has_no_jump_process_is_named_before_the_data_are_read(three, model, words):
    with pytest.raises((TypeError, ValueError), match=words):
        di.tl.prevalence(model, three)


def covariate_model(n=60, late=0.0):
    """A gate that opens faster at a dose, and the paths of both doses; half of them begin late."""
    times, states, doses = [], [], []
    for k, rate in enumerate((0.3, 1.0)):
        gate = di.MarkovJump([[-rate, rate], [0.5, -0.5]])
        run = di.simulate(gate, np.zeros(n, dtype=int), np.arange(6.0), seed=k)
        states += list(run.states.numpy())
        times += [np.arange(6.0) + late * (j % 2) for j in range(n)]
        doses += [float(k)] * n
    paths = di.Paths(times=times, states=states, covariates=pd.DataFrame({"dose": doses}))
    model = di.MarkovJumpInference(observation="exact", covariates=di.Covariates("~ dose"))
    return model.fit(paths, progress=False), paths


@pytest.mark.parametrize("late", [0.0, 1.5])
def test_each_path_is_expected_to_move_by_its_own_covariates(late):
    model, paths = covariate_model(late=late)
    times = [4.0, 2.0, 5.0]
    table = di.tl.prevalence(model, paths, times, n_samples=200)
    opened = table[table["state"] == "1"]
    processes = [model.effects_.process({"dose": dose}) for dose in (0.0, 1.0)]
    for time, expected in zip(times, opened["expected"], strict=True):
        # Half of the paths have been running for less long.
        spans = (time, time - late)
        shares = [p.transition(span)[0, 1].item() for p in processes for span in spans]
        assert abs(expected - np.mean(shares)) < 1e-12
    assert ((opened["low"] < opened["expected"]) & (opened["expected"] < opened["high"])).all()
    # Those of one dose alone: the others would be expected elsewhere.
    few = di.tl.prevalence(model, paths[:60], [2.0], n_samples=200)
    shares = [processes[0].transition(span)[0, 1].item() for span in (2.0, 2.0 - late)]
    assert abs(few["expected"][1] - np.mean(shares)) < 1e-12


def test_nobody_is_dead_before_the_day_of_death():
    times = [[0.0, 2.0, 6.0], [0.0, 4.0, 8.0], [0.0, 3.0, 8.0]]
    states = [["well", "ill", "dead"], ["well", "ill", "ill"], ["well", "well", "ill"]]
    paths = di.Paths(times=times, states=states, state_names=NAMES)
    jumps = di.Only(["well>ill", "ill>dead"])
    model = di.MarkovJumpInference(observation=di.ExactLabels(entries=["dead"]), jumps=jumps)
    model.fit(paths, progress=False)
    table = di.tl.prevalence(model, paths, [1.5, 5.5, 6.0], interpolation="midpoint", n_samples=10)
    counts = (table["observed"] * 3).round().to_numpy().reshape(3, 3)
    # At 1.5 the first is nearer to being ill; at 5.5 it is nearer to its death, and alive.
    np.testing.assert_array_equal(counts, [[2, 1, 0], [1, 2, 0], [0, 2, 1]])


def test_covariates_that_change_along_a_path_are_refused_by_its_name():
    model, paths = covariate_model()
    doses = paths.covariates.copy()
    doses.loc[7, "dose"] = 1.0
    changing = di.Paths(times=paths.times, states=paths.states, covariates=doses)
    with pytest.raises(ValueError, match="change along path '1'"):
        di.tl.prevalence(model, changing)


def test_prevalence_is_that_of_msm():
    data = cav()
    process = di.MarkovJump.from_rates(MSM_RATES)
    table = di.tl.prevalence(process, data, [0, 2.5, 5, 10, 15])
    counts = (table["observed"] * table["n_paths"]).round().to_numpy().reshape(-1, 4)
    msm = [[622, 0, 0, 0], [406, 49, 14, 60], [235, 50, 30, 108], [60, 25, 21, 190], [7, 1, 4, 243]]
    np.testing.assert_array_equal(counts, msm)
    shares = 100 * table["expected"].to_numpy().reshape(-1, 4)[[1, 4]]
    expected = [
        [69.66822370, 13.574466587, 5.285871882, 11.47143784],
        [18.99554491, 6.245591089, 6.071664964, 68.68719904],
    ]
    np.testing.assert_allclose(shares, expected, rtol=1e-8)
    nearer = di.tl.prevalence(process, data, [2.5, 5, 10, 15], interpolation="midpoint")
    counts = (nearer["observed"] * nearer["n_paths"]).round().to_numpy().reshape(-1, 4)
    msm = [[381, 50, 22, 76], [222, 47, 33, 121], [41, 27, 14, 214], [3, 0, 1, 251]]
    np.testing.assert_array_equal(counts, msm)
