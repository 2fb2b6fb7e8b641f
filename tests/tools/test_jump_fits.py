"""Comparisons of jump fits: against a likelihood of their own, χ² and msm."""

import numpy as np
import pandas as pd
import pytest
from jumps.cases import cav
from scipy.linalg import expm
from scipy.optimize import minimize
from scipy.stats import chi2

import dyninfer as di

NAMES = ["a", "b", "c"]
RATES = [[0.0, 0.6, 0.2], [0.4, 0.0, 0.5], [0.1, 0.7, 0.0]]


def fitted(paths, jumps="all", **settings):
    settings = {"observation": "exact", "prior_width": None, **settings}
    return di.MarkovJumpInference(jumps=jumps, **settings).fit(paths, progress=False)


@pytest.fixture(scope="module")
def paths():
    process = di.MarkovJump.from_rates(RATES, state_names=NAMES)
    run = di.simulate(process, None, 0.5 * np.arange(20), n_paths=60, seed=3)
    return di.Paths(times=[run.times] * 60, states=list(run.states.numpy()), state_names=NAMES)


@pytest.fixture(scope="module")
def models(paths):
    return {name: fitted(paths, name) for name in ("all", "reversible", "birth-death")}


def counted(paths):
    counts = np.zeros((3, 3))
    for states in paths.states:
        np.add.at(counts, (states[:-1], states[1:]), 1)
    return counts


def test_the_ratio_is_that_of_two_likelihoods_by_hand(paths, models):
    counts = counted(paths)
    # All jumps: any matrix near the counted one is of some generator, so that frequencies are likeliest.
    free = (counts * np.log(counts / counts.sum(1, keepdims=True))).sum()

    def minus(theta):
        rates = np.zeros((3, 3))
        rates[[0, 1, 1, 2], [1, 0, 2, 1]] = np.exp(theta)
        return -(counts * np.log(expm(0.5 * (rates - np.diag(rates.sum(1)))))).sum()

    bound = -minimize(minus, np.zeros(4), method="BFGS").fun
    row = di.tl.likelihood_ratio(models["birth-death"], models["all"]).iloc[0]
    assert row["statistic"] == pytest.approx(2 * (free - bound), abs=2e-3)
    assert (row["df"], row["n_zero"]) == (2, 2)
    assert row["p_value"] == pytest.approx(chi2.sf(row["statistic"], 2), rel=1e-12)


def test_detailed_balance_costs_one_parameter_of_three_states(models):
    row = di.tl.likelihood_ratio(models["reversible"], models["all"]).iloc[0]
    assert (row["df"], row["n_zero"]) == (1, 0)
    assert row["statistic"] > 0


def test_chains_between_neighbours_are_a_limit_of_detailed_balance(models):
    row = di.tl.likelihood_ratio(models["birth-death"], models["reversible"]).iloc[0]
    assert (row["df"], row["n_zero"]) == (1, 2)


def test_criteria_count_parameters_and_observations(paths, models):
    table = di.tl.information_criteria(models).set_index("model")
    assert table["n_parameters"].to_dict() == {"all": 6, "reversible": 5, "birth-death": 4}
    counts = counted(paths)
    free = (counts * np.log(counts / counts.sum(1, keepdims=True))).sum()
    assert table.loc["all", "aic"] == pytest.approx(12 - 2 * free, abs=1e-3)
    assert table.loc["all", "bic"] == pytest.approx(6 * np.log(60 * 19) - 2 * free, abs=1e-3)
    of_paths = di.tl.information_criteria(models, n="paths").set_index("model")
    difference = (table["bic"] - of_paths["bic"]) / table["n_parameters"]
    np.testing.assert_allclose(difference, np.log(19), rtol=1e-9)


@pytest.fixture(scope="module")
def cohort():
    """Paths of two groups whose rates differ."""
    states = []
    for factor in (1.0, 1.6):
        process = di.MarkovJump(factor * np.array([[-0.5, 0.5], [1.0, -1.0]]))
        states += list(di.simulate(process, [0] * 50, np.arange(10), seed=1).states.numpy())
    table = {"dose": np.repeat([0.0, 1.0], 50), "age": np.tile(np.arange(50) / 50.0, 2)}
    times = [np.arange(10)] * 100
    return di.Paths(times=times, states=states, covariates=pd.DataFrame(table))


def test_effects_of_two_groups_are_tested_like_two_fits_against_one(cohort):
    large = fitted(cohort, covariates=di.Covariates("~ dose"))
    row = di.tl.likelihood_ratio(fitted(cohort), large).iloc[0]
    groups = [cohort[:50], cohort[50:], cohort]
    of_groups = [
        float(fitted(di.Paths(times=g.times, states=list(g.states))).fit_.log_likelihood)
        for g in groups
    ]
    expected = 2 * (of_groups[0] + of_groups[1] - of_groups[2])
    assert row["statistic"] == pytest.approx(expected, abs=2e-3)
    assert (row["df"], row["n_zero"]) == (2, 0)


def test_effects_that_are_not_nested_are_refused(cohort):
    dose = fitted(cohort, covariates=di.Covariates("~ dose", shared=True))
    both = fitted(cohort, covariates=di.Covariates("~ dose + age"))
    age = fitted(cohort, covariates=di.Covariates("~ age"))
    # One effect on both jumps is a special case of one on each.
    assert di.tl.likelihood_ratio(dose, both).iloc[0]["df"] == 3
    assert di.tl.likelihood_ratio(age, both).iloc[0]["df"] == 2
    with pytest.raises(ValueError, match="it alone has the effect of 'dose'"):
        di.tl.likelihood_ratio(dose, age)
    with pytest.raises(ValueError, match="which has no covariates"):
        di.tl.likelihood_ratio(dose, fitted(cohort))


def test_models_that_are_not_nested_are_refused(paths, models):
    other = fitted(paths, di.Only(["a>b", "b>a", "b>c", "c>b", "a>c"]))
    with pytest.raises(ValueError, match="it alone has the jump from state 0 to 2"):
        di.tl.likelihood_ratio(other, models["birth-death"])
    with pytest.raises(ValueError, match="is tied to one that it has"):
        di.tl.likelihood_ratio(other, models["reversible"])
    with pytest.raises(ValueError, match="are tied in another way"):
        di.tl.likelihood_ratio(models["all"], models["reversible"])
    with pytest.raises(ValueError, match="same parameters"):
        di.tl.likelihood_ratio(models["all"], models["all"])


def test_likelihoods_that_do_not_compare_are_refused(paths, models):
    fewer = fitted(paths[:50])
    with pytest.raises(ValueError, match="different data"):
        di.tl.likelihood_ratio(models["birth-death"], fewer)
    noisy = fitted(paths, observation="label noise")
    with pytest.raises(ValueError, match="labels that may be wrong"):
        di.tl.information_criteria([models["all"], noisy])
    network = di.MarkovJumpInference(refine=False, observation="exact").fit(paths, progress=False)
    with pytest.raises(ValueError, match="refine=True"):
        di.tl.information_criteria([network])
    prior = fitted(paths, prior_width=2.5)
    with pytest.raises(ValueError, match="differ in prior_width"):
        di.tl.likelihood_ratio(models["birth-death"], prior)
    with pytest.raises(ValueError, match="prior_width=None"):
        di.tl.likelihood_ratio(fitted(paths, "birth-death", prior_width=2.5), prior)


@pytest.mark.slow
def test_the_ratio_of_two_fits_to_cav_is_that_of_msm():
    jumps = ["0>1", "0>3", "1>0", "1>2", "1>3", "2>1", "2>3"]
    observation = di.ExactLabels(entries=["3"])
    every = fitted(cav(), di.Only(jumps), observation=observation)
    fewer = [jump for jump in jumps if jump != "1>3"]
    small = fitted(cav(), di.Only(fewer), observation=observation)
    row = di.tl.likelihood_ratio(small, every).iloc[0]
    assert row["statistic"] == pytest.approx(3971.46053343 - 3968.797881, abs=5e-3)
