"""A trial whose rates, ratios and visits are those that were asked for."""

import numpy as np
import pytest

import dyninfer as di

N = 3000
PANEL = di.simulators.PatientPanel(dropout=0.0)


@pytest.fixture(scope="module")
def table():
    return PANEL.table(N, seed=0)


def patients(table):
    return table.groupby("patient", observed=True)


def test_the_drug_and_age_multiply_the_rates_that_they_are_for():
    ratio = PANEL.process("drug").generator / PANEL.process().generator
    np.testing.assert_allclose(
        [ratio[0, 1], ratio[1, 0], ratio[1, 2], ratio[2, 3]], [0.5, 1, 0.6, 1]
    )
    older = PANEL.process(age=80.0).generator / PANEL.process().generator
    # Two decades beyond the age of the rates.
    np.testing.assert_allclose([older[0, 3], older[2, 3], older[0, 1]], [2.25, 2.25, 1.0])
    names = PANEL.state_names
    edges = {
        f"{names[i]}>{names[j]}" for i, j in (PANEL.process().generator > 0).nonzero().tolist()
    }
    assert set(PANEL.jumps) == edges


def test_as_many_die_as_the_rates_say(table):
    last = patients(table).last()
    expected = np.zeros(N)
    for k, (arm, age) in enumerate(zip(last["treatment"], last["age"], strict=True)):
        expected[k] = PANEL.process(arm, age).transition(PANEL.study)[0, 3]
    error = np.sqrt((expected * (1 - expected)).sum()) / N
    died = (last["stage"] == "dead").mean()
    assert abs(died - expected.mean()) < 4 * error


def test_deaths_are_between_visits_and_all_others_are_at_the_closing_one(table):
    last = patients(table).last()
    is_dead = (last["stage"] == "dead").to_numpy()
    assert (last["year"][~is_dead] == PANEL.study).all()
    assert (last["year"][is_dead] < PANEL.study).all()
    assert ((table["stage"] == "dead").to_numpy().sum()) == is_dead.sum()
    assert (patients(table).first()["year"] == 0).all()
    gaps = patients(table)["year"].diff().dropna()
    # The gap before the closing visit may be longer, and that before a death shorter.
    assert gaps.max() < 2.0
    inner = gaps[(table.loc[gaps.index, "year"] < PANEL.study) & (table["stage"] != "dead")]
    assert inner.between(0.5, 1.5).all()
    assert abs(inner.mean() - 1) < 0.03


def test_patients_leave_as_often_as_they_were_told():
    visits = di.simulators.PatientPanel(dropout=0.1).table(N, seed=1)
    last = patients(visits).last()
    has_left = (last["stage"] != "dead") & (last["year"] < PANEL.study)
    # Every visit but the first is the last one with this chance; the closing one is the last anyway.
    is_inner = (visits["year"] > 0) & (visits["stage"] != "dead") & (visits["year"] < PANEL.study)
    share = has_left.sum() / is_inner.sum()
    assert abs(share - 0.1) < 4 * np.sqrt(0.1 * 0.9 / is_inner.sum())


def test_stages_are_taken_for_neighbours_and_nothing_else():
    read = di.simulators.PatientPanel(dropout=0.0, misread=0.2).table(N, seed=0)
    true = PANEL.table(N, seed=0)
    np.testing.assert_array_equal(read["year"], true["year"])
    is_alive = true["stage"] != "dead"
    step = read["stage"].cat.codes[is_alive] - true["stage"].cat.codes[is_alive]
    assert set(step.unique()) == {-1, 0, 1}
    assert abs((step != 0).mean() - 0.2) < 4 * np.sqrt(0.16 / is_alive.sum())
    assert (read["stage"][~is_alive] == "dead").all()


def test_rates_and_ratios_are_found_by_a_fit(table):
    table = table.assign(decades=(table["age"] - 60) / 10)
    paths = di.Paths.from_dataframe(
        table,
        time_key="year",
        path_key="patient",
        state_key="stage",
        covariate_keys=["treatment", "decades"],
    )
    deaths = [jump for jump in PANEL.jumps if jump.endswith("dead")]
    model = di.MarkovJumpInference(
        observation=di.ExactLabels(entries=["dead"]),
        jumps=di.Only(PANEL.jumps),
        covariates=di.Covariates("~ treatment")
        + di.Covariates("~ decades", jumps=deaths, shared=True),
        prior_width=None,
    ).fit(paths, progress=False)
    effects = model.effects_.table().set_index("jumps")
    ratios = dict(zip(PANEL.jumps, PANEL.treatment, strict=True)) | {", ".join(deaths): PANEL.age}
    for jump, ratio in ratios.items():
        row = effects.loc[jump] if jump in effects.index else effects.iloc[-1]
        assert abs(row["log_ratio"] - np.log(ratio)) < 4 * row["standard_error"]
    # Ends of intervals of two standard errors around log-rates.
    rates = model.confidence_intervals(0.9999)
    for row in rates.itertuples():
        rate = PANEL.rates[PANEL.jumps.index(f"{row.source}>{row.target}")]
        assert row.low < rate < row.high


def test_paths_hold_the_same_patients_as_the_table(table):
    paths = PANEL.paths(N, seed=0)
    np.testing.assert_array_equal(np.concatenate(paths.times), table["year"])
    np.testing.assert_array_equal(np.concatenate(paths.states), table["stage"].cat.codes)
    assert list(paths.covariates.columns) == ["treatment", "age"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"rates": (1.0,)}, "6 numbers each"),
        ({"treatment": (1.0, 1.0, 0.0, 1.0, 1.0, 1.0)}, r"treatment\[2\] must be positive"),
        ({"dropout": 1.0}, "dropout must be a probability below 1"),
        ({"misread": -0.1}, "misread must be a probability below 1"),
        ({"visit_gap": 0.0}, "visit_gap must be positive"),
    ],
)
def test_parameters_that_cannot_be_are_named(parameters, words):
    with pytest.raises(ValueError, match=words):
        di.simulators.PatientPanel(**parameters)


def test_an_arm_that_the_trial_has_not_is_named():
    with pytest.raises(ValueError, match="treatment must be 'placebo' or 'drug'"):
        PANEL.process("surgery")


@pytest.mark.parametrize("changes", [{"rates": (1e9, 0.12, 0.3, 0.02, 0.06, 0.3)}, {"study": 1e9}])
def test_a_disease_faster_than_any_panel_is_refused_before_it_is_drawn(changes):
    with pytest.raises(ValueError, match="times, too often for a panel"):
        di.simulators.PatientPanel(**changes)


def test_a_panel_of_more_visits_than_memory_is_refused():
    with pytest.raises(MemoryError, match="visits of 3 patients take at least"):
        di.simulators.PatientPanel(visit_gap=1e-12).table(3)
