"""First states that depend on covariates: multinomial regression by hand, and a simulator."""

import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.jumps.likelihood.covariate_paths import CovariatePaths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.posterior.covariate_objective import CovariateObjective, CovariateProblem

NAMES = ["mild", "middle", "severe"]
# Log-odds against the first state: constant, age, sex = "m".
TRUTH = np.array([[-0.4, 0.3], [0.8, -0.5], [0.2, 1.0]])
RATES = [[0, 0.5, 0.1], [0.3, 0, 0.4], [0, 0.6, 0]]


def odds_of(age, sex):
    z = np.stack([np.ones_like(age), age, sex == "m"], axis=1).astype(float)
    odds = np.exp(np.column_stack([np.zeros(len(z)), z @ TRUTH]))
    return z, odds / odds.sum(1, keepdims=True)


def cohort(n=400, length=6, error=0.0, seed=0, gap=0.5):
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(0, 1, n), rng.choice(["f", "m"], n)
    _, chances = odds_of(age, sex)
    first = (rng.random((n, 1)) > chances.cumsum(1)).sum(1)
    process = di.MarkovJump.from_rates(RATES, state_names=NAMES)
    run = di.simulate(process, first, gap * np.arange(length), seed=seed)
    states = run.states.numpy().copy()
    is_wrong = rng.random(states.shape) < error
    states[is_wrong] = (states + rng.integers(1, 3, states.shape))[is_wrong] % 3
    table = pd.DataFrame({"age": age, "sex": sex})
    return di.Paths(times=[run.times] * n, states=list(states), state_names=NAMES, covariates=table)


def regression(z, states, n_steps=30):
    """Newton's method on the multinomial likelihood: coefficients, their covariance, its maximum."""
    n, k = z.shape
    beta = np.zeros((k, 2))
    y = np.eye(3)[states]
    for _ in range(n_steps):
        odds = np.exp(np.column_stack([np.zeros(n), z @ beta]))
        p = odds / odds.sum(1, keepdims=True)
        slope = (z.T @ (y - p)[:, 1:]).ravel()
        matrix = np.zeros((2 * k, 2 * k))
        for row, chance in zip(z, p[:, 1:], strict=True):
            matrix += np.kron(np.outer(row, row), np.diag(chance) - np.outer(chance, chance))
        beta = beta + np.linalg.solve(matrix, slope).reshape(k, 2)
    return beta, np.linalg.inv(matrix), float(np.log(p[y == 1]).sum())


def fitted(paths, formula="~ age + sex", observation="exact", prior_width=None, **settings):
    model = di.MarkovJumpInference(
        observation=observation,
        initial_covariates=formula,
        prior_width=prior_width,
        jumps=settings.pop(
            "jumps",
            di.Only(
                ["mild>middle", "mild>severe", "middle>mild", "middle>severe", "severe>middle"]
            ),
        ),
        **settings,
    )
    return model.fit(paths, progress=False)


@pytest.fixture(scope="module")
def paths():
    return cohort()


@pytest.fixture(scope="module")
def exact(paths):
    return fitted(paths)


def test_known_labels_are_a_multinomial_logistic_regression(paths, exact):
    first = paths.covariates.iloc[np.cumsum(paths.lengths) - paths.lengths]
    z, _ = odds_of(first["age"].to_numpy(), first["sex"].to_numpy())
    beta, covariance, log_likelihood = regression(z, np.array([x[0] for x in paths.states]))
    table = exact.initial_effects_.table()
    assert table["covariate"].tolist() == ["age"] * 2 + ["sex[T.m]"] * 2
    assert table["state"].tolist() == ["middle", "severe"] * 2
    np.testing.assert_allclose(table["log_ratio"], beta[1:].ravel(), atol=1e-4)
    errors = np.sqrt(np.diag(covariance))[2:]
    np.testing.assert_allclose(table["standard_error"], errors, rtol=1e-3)
    np.testing.assert_allclose(table["odds_ratio"], np.exp(beta[1:].ravel()), rtol=1e-4)
    width = np.log(table["high"] / table["low"]) / 2
    np.testing.assert_allclose(width, 1.959964 * errors, rtol=1e-3)
    odds = np.exp(np.append(0, beta[0]))
    np.testing.assert_allclose(exact.initial_, odds / odds.sum(), atol=1e-5)
    # Given first states, the rest is a fit of its own.
    plain = fitted(paths, None)
    parts = float(plain.fit_.log_likelihood) + log_likelihood
    assert float(exact.fit_.log_likelihood) == pytest.approx(parts, abs=1e-5)
    np.testing.assert_allclose(exact.generator_, plain.generator_, atol=1e-5)


def test_probabilities_are_those_of_the_odds(exact):
    table = exact.initial_effects_.table().set_index(["covariate", "state"])["log_ratio"]
    log_odds = np.log(exact.initial_[1:] / exact.initial_[0])
    for state, number in (("middle", 0), ("severe", 1)):
        log_odds[number] += 2 * table["age", state] + table["sex[T.m]", state]
    odds = np.exp(np.append(0, log_odds))
    found = exact.initial_effects_.probabilities({"age": 2.0, "sex": "m"})
    np.testing.assert_allclose(found, odds / odds.sum(), rtol=1e-10)
    rows = pd.DataFrame({"age": [0.0, 2.0], "sex": ["f", "m"]})
    both = exact.initial_effects_.probabilities(rows)
    np.testing.assert_allclose(both, [exact.initial_, found], rtol=1e-10)
    np.testing.assert_allclose(exact.initial_effects_.probabilities(), exact.initial_)


def test_likelihood_and_smoothing_are_those_of_paths_with_first_states_of_their_own(paths):
    few = paths[:4]
    model = fitted(cohort(60, error=0.1), observation="label noise")
    first = few.covariates.iloc[np.cumsum(few.lengths) - few.lengths].reset_index(drop=True)
    chances = model.initial_effects_.probabilities(first)
    generator = torch.from_numpy(model.generator_)
    smooth = model.posterior_states(few)
    for row in range(4):
        one = HiddenPaths.of(few[[row]])
        initial = torch.from_numpy(chances[row])
        expected = one.log_likelihood(generator, model.emission_, initial)
        assert model.log_likelihoods(few)[row] == pytest.approx(expected.item(), abs=1e-9)
        gamma = one.smooth(generator, model.emission_, initial)[0].amax(-1)
        own = smooth[smooth["path"] == few.names[row]]
        np.testing.assert_allclose(own["probability"], gamma, atol=1e-9)
        states, _ = one.viterbi(generator, model.emission_, initial)
        assert own["viterbi"].tolist() == [NAMES[state] for state in states[0]]


def test_slopes_are_those_of_differences(paths):
    few = paths[:30]
    settings = di.MarkovJumpInference(
        covariates=di.Covariates("~ age"), initial_covariates="~ age * sex"
    )
    settings.facts_ = {"covariates": {"age": None, "sex": ["f", "m"]}}
    inference = settings._inference()
    design, first = inference.design(NAMES), inference.first_design(NAMES)
    problem = CovariateProblem(
        data=CovariatePaths.with_design(few, design),
        design=design,
        emission=LabelNoise.uniform(3, 0.1),
        initial=None,
        prior=None,
        first_x=first.of_paths(few),
    )
    objective = CovariateObjective(problem)
    theta = np.linspace(-0.7, 0.4, objective.to_user.shape[0])
    slope = objective.at(theta).slope
    assert first.size == 8
    for k, expected in enumerate(slope):
        step = 1e-5 * np.eye(len(theta))[k]
        rise = objective.at(theta + step).value - objective.at(theta - step).value
        assert rise / 2e-5 == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_effects_behind_wrong_labels_are_recovered():
    """One label in ten is wrong: believing them pulls the odds together."""
    data = cohort(1500, error=0.1, seed=3)
    model = fitted(data, observation="label noise")
    table = model.initial_effects_.table(0.99)
    truth = TRUTH[1:].ravel()
    assert ((table["low"] < np.exp(truth)) & (np.exp(truth) < table["high"])).all()
    assert model.noise_ == pytest.approx(0.1, abs=0.01)
    assert not table["flat"].any()
    believed = fitted(data).initial_effects_.table()
    error = np.abs(table["log_ratio"] - truth).mean()
    assert error < 0.75 * np.abs(believed["log_ratio"] - truth).mean()


def test_beside_covariates_of_rates_and_saved_alike(paths, tmp_path):
    few = paths[:150]
    model = fitted(few, "~ sex", covariates=di.Covariates("~ age", shared=True), prior_width=2.5)
    assert len(model.effects_.table()) == 1
    assert model.initial_effects_.table()["covariate"].tolist() == ["sex[T.m]"] * 2
    again = di.load(model.save(tmp_path / "model.safetensors"))
    pd.testing.assert_frame_equal(again.initial_effects_.table(), model.initial_effects_.table())
    np.testing.assert_array_equal(again.log_likelihoods(few), model.log_likelihoods(few))
    values = {"age": 1.0, "sex": "m"}
    runs = [m.simulate(None, [0, 1], n_paths=5, covariates=values, seed=2) for m in (model, again)]
    assert torch.equal(runs[0].states, runs[1].states)


def test_other_units_of_a_covariate_divide_its_effect(paths, exact):
    table = paths.covariates.assign(age=1e6 * paths.covariates["age"] + 4e6)
    other = fitted(
        di.Paths(times=paths.times, states=paths.states, state_names=NAMES, covariates=table)
    )
    first, second = (model.initial_effects_.table() for model in (exact, other))
    factor = np.where(first["covariate"] == "age", 1e6, 1.0)
    for column in ("log_ratio", "standard_error"):
        np.testing.assert_allclose(second[column] * factor, first[column], rtol=1e-3)
    at = {"age": 4e6, "sex": "f"}
    np.testing.assert_allclose(other.initial_effects_.probabilities(at), exact.initial_, rtol=1e-4)


def test_first_states_are_drawn_at_the_covariates_of_every_path(exact):
    n = 4000
    rows = pd.DataFrame({"age": np.repeat([-1.0, 1.0], n // 2), "sex": "m"})
    run = exact.simulate(None, [0.0, 1.0], n_paths=n, covariates=rows, seed=0)
    for half, chances in enumerate(exact.initial_effects_.probabilities(rows)[[0, -1]]):
        own = run.states[half * n // 2 : (half + 1) * n // 2, 0].numpy()
        shares = np.bincount(own, minlength=3) / (n // 2)
        np.testing.assert_allclose(shares, chances, atol=4 * np.sqrt(0.25 / (n // 2)))


def test_a_model_without_the_covariate_is_tested_against_it(paths, exact):
    small = fitted(paths, "~ age")
    row = di.tl.likelihood_ratio(small, exact).iloc[0]
    gain = exact.fit_.log_likelihood - small.fit_.log_likelihood
    assert row["statistic"] == pytest.approx(2 * float(gain))
    assert row["df"] == 2
    assert row["p_value"] < 0.01
    with pytest.raises(ValueError, match=r"in it alone first states depend on 'sex\[T.m\]'"):
        di.tl.likelihood_ratio(exact, small)
    # Given the first labels, a likelihood is of other data.
    with pytest.raises(ValueError, match="not comparable"):
        di.tl.likelihood_ratio(fitted(paths, None), exact)


def test_what_cannot_be_is_named(paths, exact):
    for settings, word in (
        ({"clones": di.Clones(0.0)}, "not clones"),
        ({"observation": di.ExactTimes()}, "every jump is observed"),
        ({"observation": di.Confusion(exact_first=True)}, "exact_first=True gives"),
        ({"jumps": "reversible"}, "initial_covariates need a separate rate"),
        ({"refine": False}, "not trained for"),
        ({"formula": "~ height"}, "the data lack the covariate 'height'"),
        ({"formula": "~ log(age)"}, "calls a function"),
    ):
        with pytest.raises(ValueError, match=word):
            fitted(paths, **settings)
    same = di.Paths(
        times=paths.times,
        states=paths.states,
        state_names=NAMES,
        covariates={"age": np.ones(len(paths))},
    )
    with pytest.raises(ValueError, match="same at the first observation of every path"):
        fitted(same, "~ age")
    for call, word in (
        (lambda: exact.simulate(None, [0, 1], n_paths=2), "first states of this model depend on"),
        (
            lambda: exact.simulate([0, 1], [0, 1], covariates={"age": 0, "sex": "f"}),
            "start gives those",
        ),
        (
            lambda: exact.simulate(
                None, [0, 1], n_paths=3, covariates=pd.DataFrame({"age": [0.0, 1.0], "sex": "f"})
            ),
            "a row for each of the 3 paths",
        ),
    ):
        with pytest.raises(ValueError, match=word):
            call()
