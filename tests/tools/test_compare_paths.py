"""`compare` for paths: no leak, likelihoods of closed forms, and the right model wins."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

import dyninfer as di
from dyninfer.tools import compare, recommend
from dyninfer.tools.held_out_paths import path_folds
from dyninfer.tools.path_baselines import Chain, Relaxation

RATE, LEVEL, DEVIATION = 1.3, 2.0, 0.5
TIMES = np.cumsum([0.0, 0.3, 0.1, 0.4, 0.2, 0.6, 0.3, 0.2, 0.5, 0.1])


def relaxing(n=60, rate=RATE, seed=0, times=TIMES):
    """Exact stationary Ornstein-Uhlenbeck paths of one feature."""
    rng = np.random.default_rng(seed)
    law = multivariate_normal(np.full(len(times), LEVEL), covariance(times, rate))
    values = law.rvs(n, random_state=rng)
    return di.Paths(times=[times] * n, states=list(values[..., None]), features=["x"])


def covariance(times, rate=RATE):
    return DEVIATION**2 * np.exp(-rate * np.abs(times[:, None] - times))


def walking(n=60, seed=0):
    rng = np.random.default_rng(seed)
    gaps = np.diff(TIMES)
    steps = rng.normal(size=(n, len(gaps))) * np.sqrt(gaps)
    walks = np.cumsum(steps, axis=1)
    start = rng.normal(size=(n, 1))
    values = np.concatenate([start, start + walks], axis=1)
    return di.Paths(times=[TIMES] * n, states=list(values[..., None]))


def switching(n=40, seed=0):
    gate = di.MarkovJump([[-1.0, 1.0], [3.0, -3.0]], state_names=["closed", "open"])
    rng = np.random.default_rng(seed)
    # Gaps of very different lengths: what a chain from observation to observation cannot know.
    times = np.cumsum([0.0, *rng.exponential(0.4, 39)])
    run = di.simulate(gate, None, times, n_paths=n, seed=seed)
    states = list(run.states.numpy())
    return di.Paths(times=[times] * n, states=states, state_names=["closed", "open"])


def run(data, models=(), **options):
    return compare(data, models, progress=False, **options)


def means(table, column):
    return table.groupby("method")[column].mean()


def exact():
    return di.MarkovJumpInference(observation=di.ExactLabels())


def test_likelihood_of_a_relaxation_is_that_of_the_joint_normal():
    paths = relaxing(n=400)
    learned = Relaxation.learned(paths, None)
    truth = Relaxation(*np.array([[RATE], [LEVEL], [DEVIATION * np.sqrt(2 * RATE)]]), *[[0.0]] * 2)
    assert learned.rate[0] == pytest.approx(RATE, rel=0.1)
    assert learned.level[0] == pytest.approx(LEVEL, abs=0.05)
    assert learned.scale[0] == pytest.approx(truth.scale[0], rel=0.05)
    stationary = Relaxation(
        truth.rate, truth.level, truth.scale, np.array([LEVEL]), np.array([DEVIATION])
    )
    law = multivariate_normal(np.full(len(TIMES), LEVEL), covariance(TIMES))
    values = np.array(paths.states)[..., 0]
    np.testing.assert_allclose(stationary.log_likelihoods(paths), law.logpdf(values), rtol=1e-6)


def test_likelihood_where_values_are_missing_is_that_of_what_is_left():
    paths = relaxing(n=3)
    states = [s.copy() for s in paths.states]
    states[1][3:6] = np.nan
    with_gaps = di.Paths(times=paths.times, states=states)
    law = Relaxation.learned(relaxing(), None)
    whole = np.delete(np.arange(len(TIMES)), [3, 4, 5])
    shorter = di.Paths(times=[TIMES[whole]], states=[paths.states[1][whole]])
    assert law.log_likelihoods(with_gaps)[1] == pytest.approx(law.log_likelihoods(shorter)[0])


def test_draws_have_the_moments_of_the_conditional_law():
    law = Relaxation(
        rate=np.array([RATE, 0.0]),
        level=np.array([LEVEL, 0.0]),
        scale=np.array([1.0, 2.0]),
        first_mean=np.zeros(2),
        first_deviation=np.ones(2),
    )
    past = di.Paths(times=[[0.0, 1.0]], states=[[[0.0, 0.0], [5.0, np.nan]]])
    draws = law.draw(past, np.array([1.5, 3.0]), 40000, seed=0)
    assert draws.shape == (40000, 2, 2)
    for k, time in enumerate([1.5, 3.0]):
        decay = np.exp(-RATE * (time - 1.0))
        relaxed = LEVEL + (5 - LEVEL) * decay
        assert draws[:, k, 0].mean() == pytest.approx(relaxed, abs=0.02)
        assert draws[:, k, 0].var() == pytest.approx((1 - decay**2) / (2 * RATE), rel=0.03)
        # The walk was last seen at time 0.
        assert draws[:, k, 1].var() == pytest.approx(4 * time, rel=0.03)


def test_likelihood_of_a_chain_is_the_product_of_its_frequencies():
    a, b = [0, 0, 1, 1], [0, 1, 1, 1]
    paths = di.Paths(times=[[0, 1, 2, 3]] * 2, states=[a, b], state_names=["a", "b"])
    # One observation is shared by the states of a row: (1 + ½)/(3), ...
    from_a, from_b = np.array([1.5, 2.5]) / 4, np.array([0.5, 3.5]) / 4
    first = np.array([2.5, 0.5]) / 3
    expected = np.log([first[0] * from_a[0] * from_a[1] * from_b[1]] * 2)
    expected[1] = np.log(first[0] * from_a[1] * from_b[1] * from_b[1])
    chain = Chain.learned(paths, depends=True)
    np.testing.assert_allclose(chain.log_likelihoods(paths), expected)
    # The odds of the next state, in draws.
    draws = chain.draw(paths[[0]], np.array([4.0]), 20000, seed=0)
    assert (draws == 1).mean() == pytest.approx(from_b[1], abs=0.01)


@pytest.mark.parametrize(("data", "best"), [(relaxing, "ou"), (walking, "random_walk")])
def test_the_right_baseline_wins_in_every_proper_score(data, best):
    table = run(data(n=200), n_folds=2, max_samples=None)
    for score, sign in [("per_observation", 1), ("crps", -1), ("energy_score", -1)]:
        by_method = sign * means(table, score).drop("ou" if best == "random_walk" else [])
        assert by_method.idxmax() == best, score
    # A walk is a relaxation without rate: one more parameter costs next to nothing.
    if best == "random_walk":
        likelihood = means(table, "per_observation")
        assert likelihood["ou"] == pytest.approx(likelihood[best], abs=0.01)
    calibrated = table[table["method"] == best]
    assert calibrated["coverage"].mean() == pytest.approx(0.9, abs=0.03)
    assert calibrated["calibration_error"].mean() < 0.04
    # Values apart from each other are as sure as they may be too, but not sharp.
    error = means(table, "calibration_error")
    assert error["still"] == pytest.approx(0.5)
    if best == "ou":
        assert error["random_walk"] > 2 * error[best]


def test_crps_of_independent_values_is_that_of_the_normal():
    # E CRPS of the true N(μ, s²) is s / √π (Gneiting and Raftery 2007, section 4.2).
    paths = relaxing(n=300, rate=60.0)
    table = run(paths, n_folds=2, max_samples=None, baselines="independent")
    assert table["crps"].mean() == pytest.approx(DEVIATION / np.sqrt(np.pi), rel=0.03)
    entropy = norm(scale=DEVIATION).entropy()
    assert table["per_observation"].mean() == pytest.approx(-entropy, abs=0.03)


def test_a_fractional_equation_with_half_as_index_is_the_relaxation():
    # Two ways to one number: Kalman messages, with hardly any noise of observation, and a regression.
    model = di.FractionalSDE(noise=di.FractionalNoise(hurst=0.5), observation_noise=1e-3)
    table = run(relaxing(n=20), [model], n_folds=2, baselines="ou", metrics="per_observation")
    likelihood = means(table, "per_observation")
    assert likelihood["FractionalSDE"] == pytest.approx(likelihood["ou"], abs=1e-4)
    assert not table["in_sample"].any()


def test_jumps_in_continuous_time_win_where_gaps_differ():
    data = switching()
    table = run(data, [exact()], n_folds=2)
    assert list(table["method"][:4]) == ["MarkovJumpInference", "still", "independent", "chain"]
    likelihood = means(table, "per_observation").dropna()
    assert likelihood.idxmax() == "MarkovJumpInference"
    advice = recommend(table)
    assert advice.method == "MarkovJumpInference"
    assert advice.is_worthwhile
    assert "held-out paths" in advice.reasons[0]
    assert "highest of one method" in advice.reasons[0]
    text = pd.read_csv(pd.io.common.StringIO(table.to_csv(index=False)))
    assert recommend(text).reasons == advice.reasons
    refitted = advice.fit(data, progress=False)
    assert repr(refitted) == repr(exact())


def test_scores_are_those_of_a_fit_by_hand():
    data = switching()
    names = list(data.names[:15])
    table = run(data, [exact()], hold_out=names, seed=3, baselines=[])
    model = exact().fit(data, hold_out=names, seed=3, progress=False)
    held_out = data[names]
    total = model.log_likelihoods(held_out, 3).sum()
    row = table.iloc[0]
    assert row["log_likelihood"] == pytest.approx(total, rel=1e-12)
    assert row["per_observation"] == pytest.approx(total / held_out.lengths.sum(), rel=1e-12)
    by_hand = model.evaluate(held_out, n_samples=99, seed=3)
    weights = by_hand["forecasts"]
    brier = (by_hand["brier"] * weights).sum() / weights.sum()
    assert row["brier"] == pytest.approx(brier, rel=1e-12)
    assert row["n_paths"] == 15
    assert row["forecasts"] == weights.sum()


def test_what_is_left_out_changes_no_fit():
    data = switching()
    names = list(data.names[:20])
    states = list(data.states)
    # Their second half, which is forecast, is turned round: the others may not notice.
    for k in range(20):
        states[k] = np.concatenate([states[k][:20], 1 - states[k][20:]])
    spoilt = di.Paths(times=data.times, states=states, state_names=data.state_names)
    seen = []
    fit = di.MarkovJumpInference.fit

    class Watched(di.MarkovJumpInference):
        def fit(self, *args, **options):
            model = fit(self, *args, **options)
            seen.append(self.generator_)
            return model

    for paths in (data, spoilt):
        table = run(paths, {"m": Watched(observation=di.ExactLabels())}, hold_out=names)
        assert not table["in_sample"].any()
    np.testing.assert_array_equal(seen[0], seen[1])


def test_folds_hold_every_path_once_and_keep_clones_together():
    data = relaxing(n=11)
    folds = path_folds(data, n_folds=3, seed=1)
    assert sorted(len(fold.names) for fold in folds) == [3, 4, 4]
    everyone = [name for fold in folds for name in fold.names]
    assert sorted(everyone) == sorted(data.names)
    clones = di.Paths(times=data.times, states=data.states, conditions=list("aabbccddeef"))
    for fold in path_folds(clones, by_condition=True, n_folds=3):
        left_out = set(clones[list(fold.names)].conditions)
        rest = set(clones.without(list(fold.names)).conditions)
        assert not left_out & rest
    with pytest.raises(ValueError, match="splits condition 'a'"):
        path_folds(clones, ["0"], by_condition=True)


def test_finished_scores_are_not_computed_again(tmp_path, monkeypatch):
    data = switching(n=12)
    whole = run(data, [exact()], n_folds=2, checkpoint=tmp_path)

    def refuse(*args, **options):
        raise AssertionError("fitted again")

    monkeypatch.setattr(di.MarkovJumpInference, "fit", refuse)
    again = run(data, [exact()], n_folds=2, checkpoint=tmp_path)
    pd.testing.assert_frame_equal(whole, again)


def test_a_method_that_fails_leaves_a_note_and_not_an_error():
    wrong = {"wrong": di.FractionalSDE(observation_noise=-1.0)}
    with pytest.warns(UserWarning, match="wrong failed in fold 0"):
        table = run(relaxing(n=6), wrong, hold_out=["0"], baselines=["still"])
    assert table["status"].tolist() == ["failed", ""]
    assert "observation_noise" in table["note"][0]
    with pytest.raises(ValueError, match="no method of the table has a crps in every fold"):
        recommend(table, metric="crps")
    with pytest.raises(TypeError, match="use MarkovJumpInference"):
        run(switching(n=6), di.FractionalSDE())


MISTAKES = [
    ({"path_key": "track"}, "path_key names a key of an AnnData"),
    ({"mass_key": "m"}, "mass_key cannot be used where paths are compared"),
    ({"metrics": "w1"}, "metric 'w1' is not known for these paths"),
    ({"baselines": "ot"}, "baseline 'ot' is not known for paths of numbers"),
    ({"n_folds": 1}, "20 paths cannot be left out in 1 fold; give two or more folds"),
    ({"n_folds": 21}, "20 paths cannot be left out in 21 folds"),
    ({"hold_out": []}, "hold_out is empty"),
    ({"hold_out": ["0"], "n_folds": 2}, "n_folds divides all paths"),
    ({"max_samples": 0}, "max_samples"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        run(relaxing(n=20), **options)


def test_methods_of_two_kinds_are_refused():
    with pytest.raises(TypeError, match="'FractionalSDE' learns from paths and 'ActionMatching'"):
        run(relaxing(n=4), [di.FractionalSDE(), di.ActionMatching()])
    cells = di.Snapshots(times=[0, 1, 2], samples=[np.zeros((5, 2))] * 3)
    with pytest.raises(ValueError, match="n_folds cannot be used where snapshots are compared"):
        run(cells, n_folds=3)
