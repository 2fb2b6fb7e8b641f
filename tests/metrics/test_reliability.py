"""`reliability`: shares and intervals of binomial numbers, and errors of known miscalibration."""

import numpy as np
import pytest
from scipy.stats import binomtest

import dyninfer as di
from dyninfer.metrics import expected_calibration_error, reliability


def test_intervals_are_those_of_wilson():
    observed = np.repeat([1, 0], [13, 27])
    table = reliability(np.full(40, 0.31), observed)
    expected = binomtest(13, 40).proportion_ci(method="wilson")
    row = table.iloc[0]
    assert (row["low"], row["high"], row["n"]) == (0.3, 0.4, 40)
    assert row["observed"] == pytest.approx(13 / 40)
    # 1.96 is the quantile rounded.
    assert row["observed_low"] == pytest.approx(expected.low, abs=1e-5)
    assert row["observed_high"] == pytest.approx(expected.high, abs=1e-5)


def test_the_error_of_a_known_distortion_is_found():
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=40_000)
    observed = rng.random(40_000) < truth
    calibrated = expected_calibration_error(reliability(truth, observed))
    assert calibrated.error == pytest.approx(calibrated.floor, rel=0.8)
    # Said are squares: the mean distance of p and p² is 1/2 − 1/3.
    distorted = expected_calibration_error(reliability(truth**2, observed))
    assert distorted.error == pytest.approx(1 / 6, abs=0.01)


@pytest.mark.parametrize("n_sisters", [1, 8])
def test_intervals_hold_the_truth_and_the_floor_is_the_error_of_calibrated_predictions(n_sisters):
    rng = np.random.default_rng(1)
    inside, errors, floors = [], [], []
    for _ in range(300):
        clone_truth = rng.uniform(size=150)
        shares = rng.binomial(n_sisters, clone_truth) / n_sisters
        # Two cells of every clone, which share what is observed.
        clones = np.repeat(np.arange(150), 2)
        table = reliability(clone_truth[clones], shares[clones], groups=clones)
        is_low = table["observed_low"] <= table["predicted"]
        is_high = table["predicted"] <= table["observed_high"]
        inside.append((is_low & is_high).mean())
        error, floor = expected_calibration_error(table)
        errors.append(error)
        floors.append(floor)
    assert 0.92 < np.mean(inside) < 0.975
    assert np.mean(errors) == pytest.approx(np.mean(floors), rel=0.06)


def test_forecasts_of_a_known_chain_are_calibrated():
    names = ["a", "b"]
    gate = di.MarkovJump([[-1.0, 1.0], [0.7, -0.7]], state_names=names)
    times = [0.5 * k for k in range(8)]
    run = di.simulate(gate, None, times, n_paths=400, seed=0)
    paths = di.Paths(times=[times] * 400, states=list(run.states.numpy()), state_names=names)
    model = di.MarkovJumpInference(observation=di.ExactLabels())
    model.fit(paths[:200], progress=False)
    # Two thirds of the paths are new.
    table = model.evaluate(paths, by="reliability", n_samples=100, max_paths=None)
    error, floor = expected_calibration_error(table)
    assert error < floor + np.sqrt(2 / np.pi) * np.sqrt(0.25 / 100)
    assert table["n"].sum() == 400 * 4 * 2


def test_regions_of_numbers_hold_what_they_should():
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(99, 800, 1))
    observed = rng.normal(size=(800, 1))
    options = {
        "path": np.arange(800),
        "time": np.zeros(800),
        "observed": observed,
        "still": observed,
    }
    forecasts = di.metrics.forecasts.Forecasts(draws=draws, **options)
    table = forecasts.reliability()
    np.testing.assert_allclose(table["predicted"], np.arange(1, 10) / 10)
    inside = (table["observed_low"] <= table["predicted"]) & (
        table["predicted"] <= table["observed_high"]
    )
    assert inside.all()
    # Twice too narrow: a region of 90 % holds those within half a quantile of 95 %.
    narrow = di.metrics.forecasts.Forecasts(draws=draws / 2, **options).reliability()
    assert narrow["observed"].iloc[-1] == pytest.approx(0.589, abs=0.04)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([1.2], [1]), "predicted must lie between 0 and 1, found 1.2"),
        (([0.2], [np.nan]), "observed must lie between 0 and 1, found nan"),
        (([0.2, 0.3], [1]), "must have one length, found 2, 1 and 2"),
        (([], []), "predicted is empty"),
        (([[0.2]], [1]), "must be one number for each case"),
    ],
)
def test_what_cannot_be_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        reliability(*arguments)
