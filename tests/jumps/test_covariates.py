"""Rates that depend on covariates and periods: likelihoods by hand, msm's figures, refusals."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import expm

import dyninfer as di
from dyninfer.jumps.covariates import EffectSum
from dyninfer.jumps.likelihood.covariate_paths import CovariatePaths
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.posterior.covariate_objective import CovariateObjective, CovariateProblem
from tests.jumps import cases

EXACT = di.ExactLabels()
CAV = di.Only(["1>2", "1>4", "2>1", "2>3", "2>4", "3>2", "3>4"])


def fitted(paths, covariates, jumps="all", observation=EXACT, prior_width=None):
    model = di.MarkovJumpInference(
        observation=observation, jumps=jumps, covariates=covariates, prior_width=prior_width
    )
    return model.fit(paths, progress=False)


def cohort(n=120, seed=0, length=8, effect=0.8, names=("well", "ill")):
    """Two states, rates 0.5 and 0.7; a dose multiplies the first by exp(effect)."""
    rng = np.random.default_rng(seed)
    dose = rng.choice([0.0, 1.0], n)
    times = np.cumsum(rng.uniform(0.3, 1.5, (n, length)), axis=1)
    states = np.zeros((n, length), dtype=int)
    for k in range(1, length):
        gap = times[:, k] - times[:, k - 1]
        out, back = 0.5 * np.exp(effect * dose), 0.7
        is_away = states[:, k - 1] == 1
        away = out / (out + back)
        chance = away + (is_away - away) * np.exp(-(out + back) * gap)
        states[:, k] = rng.random(n) < chance
    table = pd.DataFrame({"dose": dose, "sex": rng.choice(["m", "f"], n)})
    return di.Paths(times=list(times), states=list(states), state_names=names, covariates=table)


def test_a_covariate_of_two_groups_gives_the_fits_of_each_group():
    paths = cohort()
    dose = paths.covariates["dose"].to_numpy()[np.cumsum(paths.lengths) - 1]
    both = fitted(paths, di.Covariates("~ dose"))
    low, high = fitted(paths[dose == 0], None), fitted(paths[dose == 1], None)
    np.testing.assert_allclose(both.generator_, low.generator_, rtol=1e-4)
    np.testing.assert_allclose(both.generator_at({"dose": 1}), high.generator_, rtol=1e-4)
    parts = low.fit_.log_likelihood + high.fit_.log_likelihood
    assert float(both.fit_.log_likelihood) == pytest.approx(float(parts), abs=1e-5)
    # Of independent groups the variances of the two log-rates add up.
    rates = [model.confidence_intervals(0.95) for model in (low, high)]
    deviations = [np.log(table["high"] / table["low"]) / (2 * 1.959964) for table in rates]
    expected = np.hypot(*deviations)
    np.testing.assert_allclose(both.effects_.table()["standard_error"], expected, rtol=1e-3)


def by_hand(model, paths, breaks, death, effect):
    """Log-likelihood of labels given the first, interval by interval with scipy's exponential."""
    total = 0.0
    values = np.split(paths.covariates["age"].to_numpy(), np.cumsum(paths.lengths)[:-1])
    for times, states, age in zip(paths.times, paths.states, values, strict=True):
        for k in range(len(times) - 1):
            inner = [b for b in breaks if times[k] < b < times[k + 1]]
            moments = [times[k], *inner, times[k + 1]]
            p = np.eye(3)
            for begin, end in zip(moments[:-1], moments[1:], strict=True):
                q = model.generator_at({"age": age[k]}, time=begin)
                p = p @ expm(q * (end - begin))
            if states[k + 1] == death and states[k] != death:
                p = p @ (q - np.diag(np.diag(q)))
            total += np.log(p[states[k], states[k + 1]])
    return total


def test_changing_covariates_periods_and_exact_deaths_have_the_likelihood_made_by_hand():
    rng = np.random.default_rng(1)
    times, states, ages = [], [], []
    for _ in range(25):
        length = rng.integers(3, 7)
        t = np.cumsum(rng.uniform(0.2, 1.0, length))
        x = rng.integers(0, 2, length)
        if rng.random() < 0.6:
            x[-1] = 2
        times.append(t), states.append(x)
        ages.append(rng.normal(50, 10, length))
    # One observation at the break itself: the interval before it is of the first period.
    times[0][1] = 1.5
    times[0].sort()
    table = pd.DataFrame({"age": np.concatenate(ages)})
    names = ["well", "ill", "dead"]
    paths = di.Paths(times=times, states=states, state_names=names, covariates=table)
    jumps = di.Only(["well>ill", "ill>well", "well>dead", "ill>dead"])
    covariates = di.Covariates("~ age", jumps=["well>ill", "ill>dead"]) + di.Periods([1.5, 2.5])
    model = fitted(paths, covariates, jumps, di.ExactLabels(entries=["dead"]), prior_width=2.5)
    expected = by_hand(model, paths, [1.5, 2.5], 2, covariates)
    assert float(model.fit_.log_likelihood) == pytest.approx(expected, rel=1e-9)
    first = [np.log(model.initial_[x[0]]) for x in paths.states]
    assert model.log_likelihoods(paths).sum() == pytest.approx(expected + sum(first), rel=1e-9)
    assert model.process_.breaks.tolist() == [1.5, 2.5]


def test_slopes_are_those_of_differences():
    paths = cohort(n=15)
    model = fitted(paths, di.Covariates("~ dose * sex") + di.Periods([3.0], shared=True))
    design = model.effects_.design
    data = CovariatePaths.with_design(paths, design)
    problem = CovariateProblem(
        data=data, design=design, emission=LabelNoise.uniform(2, 0.1), initial=None, prior=None
    )
    objective = CovariateObjective(problem)
    theta = np.linspace(-0.7, 0.4, objective.to_user.shape[0])
    slope = objective.at(theta).slope
    for k, expected in enumerate(slope):
        step = 1e-5 * np.eye(len(theta))[k]
        rise = objective.at(theta + step).value - objective.at(theta - step).value
        assert rise / 2e-5 == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_other_units_of_a_covariate_divide_its_effect():
    paths = cohort(n=60)
    plain = fitted(paths, di.Covariates("~ dose"), prior_width=2.5)
    table = paths.covariates.assign(dose=1e6 * paths.covariates["dose"] + 3e6)
    other_paths = di.Paths(
        times=paths.times, states=paths.states, state_names=paths.state_names, covariates=table
    )
    other = fitted(other_paths, di.Covariates("~ dose"), prior_width=2.5)
    first, second = plain.effects_.table(), other.effects_.table()
    for column in ("log_ratio", "standard_error"):
        np.testing.assert_allclose(second[column], first[column] / 1e6, rtol=1e-4)
    np.testing.assert_allclose(other.generator_at({"dose": 3e6}), plain.generator_, rtol=1e-4)
    assert not second["flat"].any()


def test_periods_of_cav_have_the_likelihood_of_msm():
    paths = cases.cav()
    named = di.Paths(times=paths.times, states=paths.states, state_names=["1", "2", "3", "4"])
    model = fitted(named, di.Periods([5.0]), CAV, di.ExactLabels(entries=["4"]))
    assert -2 * float(model.fit_.log_likelihood) == pytest.approx(3919.99601, abs=2e-5)
    before = [0.104165, 0.041620, 0.283624, 0.326834, 0.010515, 0.116623, 0.187108]
    after = [0.228961, 0.027644, 0.189674, 0.300788, 0.143264, 0.167373, 0.322126]
    for time, expected in ((0.0, before), (6.0, after)):
        q = model.process_.at(time).generator
        assert q[cases.cav_edges()].tolist() == pytest.approx(expected, rel=2e-4)


@pytest.mark.slow  # needs R
def test_shared_effects_of_psor_are_those_of_msm(tmp_path):
    if shutil.which("Rscript") is None:
        pytest.skip("needs R with the package msm, which has the data")
    script = f'library(msm); write.csv(psor, "{tmp_path}/psor.csv", row.names=FALSE)'
    if subprocess.run(["Rscript", "-e", script], capture_output=True).returncode:
        pytest.skip("needs the R package msm, which has the data")
    rows = pd.read_csv(tmp_path / "psor.csv").dropna()
    groups = [group for _, group in rows.groupby("ptnum")]
    paths = di.Paths(
        times=[group.months.to_numpy() for group in groups],
        states=[group.state.to_numpy() - 1 for group in groups],
        state_names=["1", "2", "3", "4"],
        covariates=pd.concat(groups)[["hieffusn", "ollwsdrt"]],
    )
    covariates = (
        di.Covariates("~ ollwsdrt", jumps=["1>2", "2>3"], shared=True)
        + di.Covariates("~ ollwsdrt", jumps=["3>4"])
        + di.Covariates("~ hieffusn", shared=True)
    )
    model = fitted(paths, covariates, di.Only(["1>2", "2>3", "3>4"]))
    assert -2 * float(model.fit_.log_likelihood) == pytest.approx(1114.89946, abs=1e-5)
    rates = model.confidence_intervals()["rate"]
    np.testing.assert_allclose(rates, [0.105328, 0.180391, 0.200792], rtol=2e-5)
    table = model.effects_.table()
    np.testing.assert_allclose(table["log_ratio"], [-0.57059, 0.49521, 0.49834], atol=2e-5)
    np.testing.assert_allclose(table["standard_error"], [0.1954, 0.3568, 0.1837], atol=1e-4)


def test_wald_tests_add_up_the_effects_of_a_covariate():
    effects = fitted(cohort(), di.Covariates("~ dose")).effects_
    (row,) = effects.wald_tests().itertuples()
    beta = effects.table()["log_ratio"].to_numpy()
    covariance = effects.fit.covariance[2:4, 2:4].numpy()
    assert row.statistic == pytest.approx(beta @ np.linalg.inv(covariance) @ beta)
    # χ² with two degrees of freedom is exponential.
    assert (row.degrees, row.p_value) == (2, pytest.approx(np.exp(-row.statistic / 2)))


def test_simulated_paths_have_the_rates_of_their_covariates():
    model = fitted(cohort(), di.Covariates("~ dose"))
    n = 4000
    table = pd.DataFrame({"dose": np.repeat([0.0, 2.0], n)})
    run = model.simulate(["well"] * (2 * n), [1.0, 2.0], covariates=table, seed=1)
    is_ill = run.states[:, 1].reshape(2, n).double().mean(1)
    for dose, share in zip([0.0, 2.0], is_ill.tolist(), strict=True):
        expected = expm(model.generator_at({"dose": dose}))[0, 1]
        assert share == pytest.approx(expected, abs=4 * np.sqrt(0.25 / n))


def test_paths_run_on_with_the_covariates_of_their_last_observation():
    paths = cohort(n=30)
    model = fitted(paths, di.Covariates("~ dose"))
    table = model.evaluate(paths, n_samples=10)
    assert table["brier"].notna().all()
    one = paths[[0]]
    own = {"dose": float(one.covariates["dose"].iloc[-1])}
    end = one.times[0][-1]
    run = model.forecast(one, [end + 1.0], n_samples=4000, seed=2)
    expected = expm(model.generator_at(own))[one.states[0][-1], 1]
    assert float(run.states.double().mean()) == pytest.approx(expected, abs=0.032)


def test_a_saved_model_has_its_effects(tmp_path):
    paths = cohort(n=40)
    model = fitted(paths, di.Covariates("~ dose + sex") + di.Periods([2.0]), prior_width=2.5)
    other = di.load(model.save(tmp_path / "model.safetensors"))
    pd.testing.assert_frame_equal(other.effects_.table(), model.effects_.table())
    assert torch.equal(other.process_.generator, model.process_.generator)
    np.testing.assert_array_equal(other.log_likelihoods(paths), model.log_likelihoods(paths))


def test_columns_of_obs_are_covariates_and_the_first_category_is_the_reference():
    from anndata import AnnData

    paths = cohort(n=40)
    adata = paths.to_anndata()
    adata.obs["sex"] = adata.obs["sex"].cat.reorder_categories(["m", "f"])
    rows = np.random.default_rng(0).permutation(adata.n_obs)
    shuffled = AnnData(obs=adata.obs.iloc[rows])
    model = di.MarkovJumpInference(observation=EXACT, covariates=di.Covariates("~ sex"))
    keys = {"time_key": "time", "path_key": "path", "state_key": "state"}
    model.fit(shuffled, **keys, progress=False)
    assert set(model.effects_.table()["covariate"]) == {"sex[T.f]"}
    np.testing.assert_array_equal(model.generator_, model.generator_at({"sex": "m"}))


def test_labels_that_may_be_wrong_take_covariates_too():
    paths = cohort(n=300, effect=1.2)
    model = fitted(paths, di.Covariates("~ dose", jumps=["well>ill"]), observation=di.Labels())
    (row,) = model.effects_.table().itertuples()
    assert row.log_ratio == pytest.approx(1.2, abs=3 * row.standard_error)
    assert model.noise_ < 0.05


@pytest.mark.parametrize(
    ("covariates", "words"),
    [
        (di.Covariates("~ np.log(dose)"), "calls a function"),
        (di.Covariates("~ __import__('os')"), "calls a function"),
        (di.Covariates("ill ~ dose"), "left side"),
        (di.Covariates("~ 0 + dose"), "constant away"),
        (di.Covariates("~ dose +"), "cannot be read"),
        (di.Covariates("~ weight"), "lack the covariate 'weight'"),
        (di.Covariates("~ dose") + di.Covariates("~ dose + sex"), "'dose' twice"),
        (di.Covariates("~ dose", jumps=["well>dead"]), "no state 'dead'"),
        (di.Covariates("~ dose + twice"), "linearly dependent"),
        (di.Covariates("~ flat"), "'flat' is the same in all intervals"),
        (di.Periods([3.0, 2.0]), "increasing"),
        (di.Periods([1000.0]), "'time 1000 on' is the same"),
        (EffectSum([]), "at least one"),
    ],
)
def test_what_cannot_be_learned_is_refused_by_name(covariates, words):
    paths = cohort(n=20)
    table = paths.covariates.assign(twice=2 * paths.covariates["dose"], flat=1.0)
    paths = di.Paths(
        times=paths.times, states=paths.states, state_names=paths.state_names, covariates=table
    )
    with pytest.raises(ValueError, match=words):
        fitted(paths, covariates)


def test_covariates_that_no_setting_uses_are_refused():
    paths = cohort(n=20)
    plain, model = fitted(paths, None), fitted(paths, di.Covariates("~ sex"))
    with pytest.raises(ValueError, match="depend on none"):
        plain.simulate(["well"], [0.0, 1.0], covariates={"sex": "m"})
    with pytest.raises(ValueError, match="depend on 'sex'"):
        model.simulate(["well"], [0.0, 1.0])
    with pytest.raises(ValueError, match="'x', which was not in the data; there are 'f', 'm'"):
        model.generator_at({"sex": "x"})
    with pytest.raises(ValueError, match="Reversible"):
        fitted(paths, di.Covariates("~ sex"), jumps=di.Reversible())
    signal = di.Paths(times=[[0, 1, 2]], states=[[0.1, 0.2, 0.1]], covariates={"age": [3]})
    with pytest.raises(ValueError, match="covariates, which FractionalSDE does not take"):
        di.FractionalSDE().fit(signal, progress=False)


def test_methods_with_and_without_covariates_are_compared_on_the_same_columns_of_obs():
    adata = cohort(n=60, effect=2.0).to_anndata()
    methods = {
        "plain": di.MarkovJumpInference(observation=EXACT),
        "dose": di.MarkovJumpInference(observation=EXACT, covariates=di.Covariates("~ dose")),
    }
    keys = {"time_key": "time", "path_key": "path", "state_key": "state"}
    table = di.tl.compare(adata, methods, **keys, baselines=(), n_folds=3, progress=False)
    means = table.groupby("method")["log_likelihood"].mean()
    assert means["dose"] > means["plain"]


@pytest.mark.filterwarnings("ignore:simulating from")
def test_covariates_that_change_along_a_path_are_run_exactly():
    """Probabilities are products of exponentials, cut where the dose, the sex or the period changes."""
    names = ["well", "ill", "dead"]
    jumps = di.Only(["well>ill", "ill>well", "ill>dead"])
    base = cohort(n=60, length=5)
    three = di.Paths(
        times=base.times,
        states=[np.where(np.arange(5) == 4, 2 * x, x) for x in base.states],
        state_names=names,
        covariates=base.covariates,
    )
    model = fitted(three, di.Covariates("~ dose + sex") + di.Periods([2.0]), jumps, prior_width=2.5)
    n = 3000
    sexes = pd.DataFrame({"dose": 0.5, "sex": ["m"] * n + ["f"] * n})
    plan = {0.0: {"dose": 0.0, "sex": "f"}, 0.7: sexes, 2.4: {"dose": 2.0, "sex": "m"}}
    begins = [0.0, 0.7, 2.0, 2.4, 3.0]
    for half, sex in enumerate(["m", "f"]):
        values = [plan[0.0], {"dose": 0.5, "sex": sex}, {"dose": 0.5, "sex": sex}, plan[2.4]]
        p = np.eye(3)
        at = {}
        for k, own in enumerate(values):
            p = p @ expm(model.generator_at(own, begins[k]) * (begins[k + 1] - begins[k]))
            at[begins[k + 1]] = p[0]
        for solver in ("skeleton", "gillespie"):
            run = model.simulate(
                [0] * 2 * n, [0.0, 2.0, 3.0], covariates=plan, seed=1, solver=solver
            )
            own = run.states[half * n : (half + 1) * n].numpy()
            for column, time in ((1, 2.0), (2, 3.0)):
                shares = np.bincount(own[:, column], minlength=3) / n
                np.testing.assert_allclose(shares, at[time], atol=4 * np.sqrt(0.25 / n))
        process = model.effects_.process({**plan, 0.7: values[1]})
        assert process.breaks.tolist() == [0.7, 2.0, 2.4]
        np.testing.assert_allclose(process.transition(3.0)[0], at[3.0], atol=1e-12)


@pytest.mark.filterwarnings("ignore:simulating from")
def test_a_plan_of_one_time_is_no_plan_and_one_that_begins_late_is_refused():
    model = fitted(cohort(n=40), di.Covariates("~ dose"))
    start = [0] * 20
    plain = model.simulate(start, [0, 1, 2], covariates={"dose": 1.0}, seed=3)
    planned = model.simulate(start, [0, 1, 2], covariates={0: {"dose": 1.0}}, seed=3)
    assert torch.equal(plain.states, planned.states)
    with pytest.raises(ValueError, match="from time 1 on, and the run begins at 0"):
        model.simulate(start, [0, 1, 2], covariates={1: {"dose": 1.0}})
    with pytest.raises(ValueError, match="finite times"):
        model.simulate(start, [0, 1, 2], covariates={np.nan: {"dose": 1.0}})
    table = pd.DataFrame({"dose": [0.0, 1.0, 2.0]})
    with pytest.raises(ValueError, match="has 3 rows"):
        model.simulate(start, [0, 1], covariates={0: {"dose": 1.0}, 0.5: table})
    with pytest.raises(ValueError, match="lack 'dose'"):
        model.simulate(start, [0, 1], covariates={0: {"dose": 1.0}, 0.5: {"sex": "m"}})


def test_rates_of_periods_alone_and_draws_at_a_plan_have_their_shapes():
    paths = cohort(n=40)
    plain = di.Paths(times=paths.times, states=paths.states, state_names=paths.state_names)
    model = fitted(plain, di.Periods([3.0]))
    assert model.process_.breaks.tolist() == [3.0]
    late = model.effects_.generators(time=4.0).numpy()
    np.testing.assert_allclose(model.effects_.process().at(4.0).generator, late)
    assert model.effects_.draw(5).generator.shape == (5, 2, 2, 2)
    dosed = fitted(paths, di.Covariates("~ dose"))
    plan = {0: {"dose": 0.0}, 2: pd.DataFrame({"dose": [0.0, 1.0, 2.0]})}
    draws = dosed.effects_.draw(5, plan)
    assert draws.generator.shape == (5, 3, 2, 2, 2)
    assert draws.breaks.tolist() == [2.0]


def test_draws_of_rates_that_change_in_time_are_those_of_every_period():
    """Irregular gaps; rates of 0.4 and 1, of which the first is doubled from time 3 on."""
    true = [[[-0.4, 0.4], [1.0, -1.0]], [[-0.8, 0.8], [1.0, -1.0]]]
    process = di.MarkovJump(true, breaks=[3.0])
    rng = np.random.default_rng(5)
    times = np.sort(rng.uniform(0, 8, 12))
    run = di.simulate(process, [0] * 300, np.append(0, times), seed=1)
    paths = di.Paths(times=[run.times] * 300, states=list(run.states.numpy()))
    model = fitted(paths, di.Periods([3.0]))
    draws = model.sample_processes(4000, seed=2)
    assert draws.breaks.tolist() == [3.0]
    assert draws.generator.shape == (4000, 2, 2, 2)
    rates = draws.generator[:, :, 0, 1].log()
    assert rates.mean(0).exp().numpy() == pytest.approx([0.4, 0.8], rel=0.15)
    # The first log-rate is the first parameter, of whose covariance the interval is made.
    deviation = float(model.fit_.covariance[0, 0].sqrt())
    assert float(rates[:, 0].std()) == pytest.approx(deviation, rel=0.05)

    def late(drawn):
        return drawn.at(4.0).stationary()

    table = model.derived(late, n_samples=1000)
    assert ((table["low"] < [1 / 1.8, 0.8 / 1.8]) & (table["high"] > [1 / 1.8, 0.8 / 1.8])).all()
    few = model.sample_processes(3)
    runs = di.simulate(few, [0, 1], [0.0, 2.0, 5.0])
    assert runs.states.shape == (6, 3)


def test_a_formula_alone_is_told_what_to_be_made_into():
    model = di.MarkovJumpInference(covariates="~ x")
    paths = di.Paths(times=[[0, 1]], states=[[0, 1]])
    with pytest.raises(
        TypeError, match=r"covariates must be Covariates\('~ sex \+ age'\), Periods"
    ):
        model.fit(paths, progress=False)
