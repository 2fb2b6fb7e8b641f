"""Tables of a jump process: against msm, closed forms, and the intervals of the rates."""

import numpy as np
import pandas as pd
import pytest
from jumps.cases import cav

import dyninfer as di

# What msm 1.7 fits to its `cav` data with exact deaths, and what it prints for these rates.
MSM_RATES = [
    [0.0, 0.1278742882, 0.0, 0.04248525290],
    [0.2251010798, 0.0, 0.3425940977, 0.04026811143],
    [0.0, 0.1306240221, 0.0, 0.30645802802],
    [0.0, 0.0, 0.0, 0.0],
]
STATES = ["well", "mild", "severe", "death"]
CAV = di.MarkovJump.from_rates(MSM_RATES, initial=[1, 0, 0, 0], state_names=STATES)
GATE = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]], state_names=["closed", "open"])


def values(table):
    return table["value"].to_numpy()


@pytest.fixture(scope="module")
def gate():
    run = di.simulate(GATE, None, 0.2 * np.arange(30), n_paths=40, seed=1)
    names = list(GATE.state_names)
    paths = di.Paths(times=[run.times] * 40, states=list(run.states.numpy()), state_names=names)
    model = di.MarkovJumpInference(observation="exact", prior_width=None)
    return model.fit(paths, progress=False)


def test_sojourn_times_are_those_of_msm():
    expected = [5.869938327, 1.644836157, 2.287899949, np.inf]
    np.testing.assert_allclose(values(di.tl.sojourn_times(CAV)), expected, rtol=1e-8)


def test_length_of_stay_is_that_of_msm():
    ten_years = di.tl.length_of_stay(CAV, 10, start=["well", "mild"])
    expected = [
        [5.6025465878, 1.1722386468, 0.7177798345, 2.5074349310],
        [2.063528085, 2.324196092, 1.643442212, 3.968833610],
    ]
    np.testing.assert_allclose(values(ten_years), np.ravel(expected), rtol=1e-8)
    for_ever = di.tl.length_of_stay(CAV, start=["well"])
    expected = [8.816371016, 2.229900094, 1.747842564, np.inf]
    np.testing.assert_allclose(values(for_ever), expected, rtol=1e-8)


def test_length_of_stay_adds_up_to_the_horizon_where_rates_change_in_time():
    periods = [GATE.generator.numpy(), 3 * GATE.generator.numpy()]
    process = di.MarkovJump(periods, breaks=[0.7])
    stays = values(di.tl.length_of_stay(process, 2.0)).reshape(2, 2)
    np.testing.assert_allclose(stays.sum(1), 2.0, rtol=1e-12)
    # From closed, the open share is 0.2 (1 − e^{−5 s}), with s the time in units of the first period.
    first = 0.7 - (1 - np.exp(-3.5)) / 5
    second = 1.3 - (np.exp(-3.5) - np.exp(-23)) / 15
    assert stays[0, 1] == pytest.approx(0.2 * (first + second), rel=1e-12)


def test_first_passage_times_are_those_of_msm():
    expected = [12.794113639, 9.224679528, 5.044738721, 0.0]
    np.testing.assert_allclose(values(di.tl.first_passage(CAV, "death")), expected, rtol=1e-8)


def test_a_target_that_may_be_missed_takes_for_ever():
    table = di.tl.first_passage(CAV, "severe", start=["well", "severe", "death"])
    assert values(table).tolist() == [np.inf, 0.0, np.inf]


def test_next_states_are_those_of_msm():
    table = di.tl.next_states(CAV)
    assert "death" not in set(table["source"])
    expected = [0.75061, 0.24939, 0.37025, 0.56351, 0.06623, 0.29885, 0.70115]
    np.testing.assert_allclose(values(table), expected, atol=6e-6)


def test_a_single_jump_has_a_row():
    table = di.tl.next_states(di.MarkovJump([[-2.0, 2.0], [0.0, 0.0]]))
    assert table.to_numpy().tolist() == [["0", "1", 1.0]]


def test_transition_probabilities_are_those_of_msm():
    expected = [
        [0.51968, 0.13852, 0.09120, 0.25060],
        [0.24384, 0.13880, 0.18089, 0.43646],
        [0.06121, 0.06897, 0.16911, 0.70071],
        [0.0, 0.0, 0.0, 1.0],
    ]
    table = di.tl.transition_probabilities(CAV, 5)
    np.testing.assert_allclose(values(table), np.ravel(expected), atol=6e-6)


def test_survival_is_that_of_msm_and_is_one_at_the_start():
    table = di.tl.survival(CAV, "death", [0, 5])
    expected = [1, 0.7493966631, 1, 0.5635373777, 1, 0.2992885292]
    np.testing.assert_allclose(values(table), expected, rtol=1e-9)
    assert list(table["start"]) == ["well", "well", "mild", "mild", "severe", "severe"]


def test_survival_is_of_the_first_entry_where_the_target_is_left_again():
    table = di.tl.survival(GATE, "open", [0.5, 2.0])
    np.testing.assert_allclose(values(table), np.exp([-0.5, -2.0]), rtol=1e-12)


def test_survival_follows_rates_that_change_in_time():
    process = di.MarkovJump([GATE.generator.numpy(), 3 * GATE.generator.numpy()], breaks=[0.5])
    table = di.tl.survival(process, 1, [2.0])
    assert values(table)[0] == pytest.approx(np.exp(-0.5 - 3 * 1.5), rel=1e-12)


def test_intervals_are_those_of_the_rates(gate):
    rates = gate.confidence_intervals(0.8)
    table = di.tl.sojourn_times(gate, level=0.8, n_samples=20_000)
    # With two states a mean sojourn is one over a rate, and so are the ends of its interval.
    np.testing.assert_allclose(table["low"], 1 / rates["high"], rtol=0.01)
    np.testing.assert_allclose(table["high"], 1 / rates["low"], rtol=0.01)
    passage = di.tl.first_passage(gate, "open", level=0.8, n_samples=20_000)
    assert passage.iloc[0]["high"] == pytest.approx(table.iloc[0]["high"], rel=1e-12)


def test_intervals_of_infinite_times_are_infinite_and_no_nan(gate):
    table = di.tl.length_of_stay(gate)
    assert np.isinf(table[["value", "low", "high"]].to_numpy()).all()


def test_tables_scale_with_the_unit_of_time():
    slow = di.MarkovJump(GATE.generator / 1e6)
    for table in (di.tl.sojourn_times, lambda p: di.tl.first_passage(p, 1)):
        np.testing.assert_allclose(values(table(slow)), 1e6 * values(table(GATE)), rtol=1e-12)
    stay = di.tl.length_of_stay(slow, 2e6)
    np.testing.assert_allclose(values(stay), 1e6 * values(di.tl.length_of_stay(GATE, 2)), rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: di.tl.sojourn_times("gate"), "fitted MarkovJumpInference or a MarkovJump"),
        (lambda: di.tl.sojourn_times(di.MarkovJump(np.zeros((3, 2, 2)))), "take one process"),
        (lambda: di.tl.length_of_stay(GATE, -1), "until must be a time of 0 or more"),
        (lambda: di.tl.first_passage(GATE, "shut"), "there are closed, open"),
        (lambda: di.tl.survival(GATE, "open", []), "one or more times"),
        (lambda: di.tl.survival(GATE, "open", [-1.0]), "one or more times"),
        (
            lambda: di.tl.transition_probabilities(GATE, 1, start_time=np.nan),
            "start_time must be one finite time",
        ),
        (lambda: di.tl.sojourn_times(GATE, level=2), "level must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_asked_is_named(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_tables_that_need_constant_rates_say_so():
    process = di.MarkovJump(np.stack([GATE.generator, GATE.generator]), breaks=[1.0])
    for ask in (di.tl.sojourn_times, di.tl.next_states, di.tl.length_of_stay):
        with pytest.raises(ValueError, match=r"take a period: process\.at"):
            ask(process)


@pytest.mark.slow
def test_intervals_of_sojourns_are_those_that_msm_draws():
    jumps = di.Only(["0>1", "0>3", "1>0", "1>2", "1>3", "2>1", "2>3"])
    model = di.MarkovJumpInference(
        observation=di.ExactLabels(entries=["3"]), jumps=jumps, prior_width=None
    ).fit(cav(), progress=False)
    table = di.tl.sojourn_times(model, level=0.95, n_samples=20_000)
    # sojourn.msm(ci="normal", B=20000): draws of normal log-rates, as ours.
    expected = [[5.2473668, 6.5346582], [1.3690087, 1.8935798], [1.7902474, 2.8747688]]
    np.testing.assert_allclose(table[["low", "high"]][:3], expected, rtol=0.01)


@pytest.fixture(scope="module")
def aged():
    """A gate whose rates may depend on age, fitted without a prior."""
    gate = di.MarkovJump([[-1.0, 1.0], [2.0, -2.0]])
    run = di.simulate(gate, None, 0.3 * np.arange(8), n_paths=30, seed=0)
    ages = pd.DataFrame({"age": 40.0 + np.arange(30)})
    states = list(run.states.numpy())
    paths = di.Paths(times=[run.times] * 30, states=states, covariates=ages)
    covariates = di.Covariates("~ age")
    model = di.MarkovJumpInference(observation="exact", covariates=covariates, prior_width=None)
    return model.fit(paths, progress=False)


def test_a_table_says_that_it_is_of_rates_where_covariates_are_zero(aged):
    with pytest.warns(UserWarning, match="rates at which 'age' is 0"):
        di.tl.sojourn_times(aged, n_samples=10)
    process = aged.effects_.process({"age": 50.0})
    expected = -1 / np.diag(aged.generator_at({"age": 50.0}))
    np.testing.assert_allclose(di.tl.sojourn_times(process)["value"], expected)


def test_tables_at_covariates_have_the_intervals_of_their_rates(aged):
    table = di.tl.sojourn_times(aged, level=0.8, n_samples=20_000, covariates={"age": 50.0})
    # The logarithm of a sojourn is minus that of one rate: log q + 50 β, normal with this spread.
    covariance = aged.fit_.covariance.numpy()
    for k in range(2):
        weight = np.zeros(4)
        weight[[k, 2 + k]] = 1.0, 50.0
        half = 1.2816 * np.sqrt(weight @ covariance @ weight)
        value = -1 / aged.generator_at({"age": 50.0})[k, k]
        np.testing.assert_allclose(table["value"][k], value)
        np.testing.assert_allclose(table["low"][k], value * np.exp(-half), rtol=0.02)
        np.testing.assert_allclose(table["high"][k], value * np.exp(half), rtol=0.02)


def test_every_table_is_of_the_process_at_its_covariates(aged):
    here = {"covariates": {"age": 45.0}, "n_samples": 20}
    process = aged.effects_.process({"age": 45.0})
    asked = [
        (di.tl.length_of_stay, (2.0,)),
        (di.tl.first_passage, (1,)),
        (di.tl.next_states, ()),
        (di.tl.transition_probabilities, (0.5,)),
        (di.tl.survival, (1, [0.5, 1.0])),
    ]
    for ask, arguments in asked:
        table = ask(aged, *arguments, **here)
        expected = ask(process, *arguments)
        np.testing.assert_allclose(table["value"], expected["value"], rtol=1e-12)
        assert (table["low"] <= table["value"] + 1e-12).all()


def test_rates_that_change_in_time_have_tables_with_intervals():
    slow = di.MarkovJump([[-0.3, 0.3], [0.0, 0.0]])
    run = di.simulate(slow, [0] * 80, np.arange(6.0), seed=0)
    paths = di.Paths(times=[run.times] * 80, states=list(run.states.numpy()))
    model = di.MarkovJumpInference(
        observation="exact",
        jumps=di.Only(["0>1"]),
        covariates=di.Periods([2.0]),
        prior_width=None,
    ).fit(paths, progress=False)
    table = di.tl.survival(model, 1, [1.0, 4.0], level=0.95)
    first, second = (model.generator_at(None, time)[0, 1] for time in (0.0, 3.0))
    np.testing.assert_allclose(table["value"], np.exp([-first, -2 * first - 2 * second]))
    truth = np.exp([-0.3, -1.2])
    assert ((table["low"] < truth) & (truth < table["high"])).all()


@pytest.mark.parametrize(
    ("covariates", "words"),
    [
        ({"age": [40.0, 50.0]}, "covariates has 2 rows"),
        ({"sex": 1.0}, "age"),
    ],
)
def test_covariates_that_are_no_one_process_are_refused(aged, covariates, words):
    with pytest.raises(ValueError, match=words):
        di.tl.sojourn_times(aged, covariates=covariates)


def test_a_process_has_no_covariates():
    with pytest.raises(ValueError, match="covariates cannot be used"):
        di.tl.sojourn_times(GATE, covariates={"age": 1.0})
