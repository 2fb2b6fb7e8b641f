import numpy as np
import pytest
import torch

from dyninfer.fractional import (
    FractionalBrownianMotion,
    hurst_dfa,
    hurst_mle,
    hurst_rs,
    hurst_variogram,
    hurst_whittle,
)


def motion(hurst, n_paths, times, seed=0):
    return (
        FractionalBrownianMotion(hurst)
        .sample(times, n_paths, seed=seed, dtype=torch.float64)
        .numpy()
    )


@pytest.mark.parametrize("hurst", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_likelihood_recovers_the_index_and_its_interval_is_honest(hurst):
    x = 3 + 2 * motion(hurst, 64, np.linspace(0, 5, 201))
    together = hurst_mle(x, np.linspace(0, 5, 201), pooled=True)
    assert abs(together.hurst[0] - hurst) < 0.01
    each = hurst_mle(x)
    assert each.hurst.shape == (64,)
    covered = (each.interval[:, 0] <= hurst) & (hurst <= each.interval[:, 1])
    assert covered.mean() > 0.85  # 95 % less four standard errors of 64 draws
    assert each.hurst.std() == pytest.approx(each.standard_error.mean(), rel=0.3)


@pytest.mark.parametrize("hurst", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_likelihoods_are_unbiased_on_twenty_paths_of_512_increments(hurst):
    x = motion(hurst, 20, np.arange(513), seed=1)
    assert abs(hurst_mle(x).hurst.mean() - hurst) < 0.02
    assert abs(hurst_whittle(x).hurst.mean() - hurst) < 0.02


def test_uneven_times_and_observation_noise_are_part_of_the_likelihood():
    times = np.cumsum(np.random.default_rng(0).uniform(0.2, 1.8, 150))
    x = motion(0.3, 60, times)
    assert abs(hurst_mle(x, times, pooled=True).hurst[0] - 0.3) < 0.02
    noisy = x + np.random.default_rng(1).normal(size=x.shape)
    assert abs(hurst_mle(noisy, times, observation_noise=True, pooled=True).hurst[0] - 0.3) < 0.05
    assert hurst_mle(noisy, times, pooled=True).hurst[0] < 0.2


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.7])
def test_scaling_laws_are_near_the_index_within_their_known_bias(hurst):
    x = motion(hurst, 100, np.arange(2049), seed=2)
    assert hurst_variogram(x).hurst.mean() == pytest.approx(hurst, abs=0.02)
    assert hurst_variogram(x, order=1).hurst.mean() == pytest.approx(hurst, abs=0.03)
    assert hurst_dfa(x).hurst.mean() == pytest.approx(hurst, abs=0.06)
    assert hurst_rs(x).hurst.mean() == pytest.approx(hurst, abs=0.06)


def test_whittle_pooled_is_one_number_with_a_smaller_error():
    x = motion(0.7, 50, np.arange(301))
    together, each = hurst_whittle(x, pooled=True), hurst_whittle(x)
    assert together.hurst.shape == (1,)
    assert together.standard_error[0] == pytest.approx(
        each.standard_error.mean() / 50**0.5, rel=0.1
    )
    assert abs(together.hurst[0] - 0.7) < 0.02


def test_bad_paths_and_times_are_named():
    with pytest.raises(ValueError, match="paths"):
        hurst_mle(np.zeros(10))
    with pytest.raises(ValueError, match="times"):
        hurst_mle(np.ones((2, 10)), np.zeros(10))
    with pytest.raises(ValueError, match="order"):
        hurst_variogram(np.ones((2, 10)), order=3)


ESTIMATORS = [hurst_mle, hurst_whittle, hurst_variogram, hurst_rs, hurst_dfa]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_a_path_that_never_changes_has_no_index_and_hides_none(estimator, unit):
    x = motion(0.3, 3, np.arange(257)) * unit
    alone = estimator(x).hurst
    x[1] = 0.1 * unit
    with pytest.warns(UserWarning, match="path 1 does not move"):
        estimate = estimator(x)
    assert np.isnan(estimate.hurst[1])
    assert estimate.hurst[[0, 2]] == pytest.approx(alone[[0, 2]], abs=1e-6)
    if estimate.interval is not None:
        assert np.isnan(estimate.interval[1]).all()
        assert np.isnan(estimate.standard_error[1])


@pytest.mark.parametrize("estimator", [hurst_whittle, hurst_variogram, hurst_rs, hurst_dfa])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_about_a_straight_line_is_not_read_as_motion(estimator, dtype):
    line = 0.1 * np.arange(200, dtype=dtype)[None] + dtype(7)
    with pytest.warns(UserWarning, match="path 0 does not move about its trend"):
        assert np.isnan(estimator(line).hurst[0])


def test_a_line_is_the_smoothest_of_motions_to_the_likelihood_without_a_trend():
    assert hurst_mle(0.1 * np.arange(200.0)[None]).hurst[0] > 0.95


@pytest.mark.parametrize("estimator", [hurst_mle, hurst_whittle])
def test_pooled_paths_of_which_none_moves_give_nan(estimator):
    with pytest.warns(UserWarning, match="2 such paths"):
        estimate = estimator(np.ones((2, 200)), pooled=True)
    assert estimate.hurst.shape == (1,)
    assert np.isnan(estimate.hurst).all()


def test_rescaled_range_leaves_out_windows_in_which_a_path_rests():
    x = motion(0.5, 20, np.arange(2049), seed=3)
    alone = hurst_rs(x).hurst.mean()
    x[:, 600:700] = x[:, [600]]
    assert hurst_rs(x).hurst.mean() == pytest.approx(alone, abs=0.03)


@pytest.mark.parametrize(
    ("estimate", "fewest"),
    [
        (hurst_rs, 65),  # 64 increments: four windows of 16, and eight of 8
        (hurst_dfa, 64),
        (lambda x: hurst_dfa(x, degree=3), 128),  # sixteen values for four coefficients
    ],
)
def test_estimators_by_windows_say_how_many_values_they_need(estimate, fewest):
    x = np.random.default_rng(0).normal(size=(2, fewest)).cumsum(1)
    assert np.isfinite(estimate(x).hurst).all()
    with pytest.raises(ValueError, match=f"at least {fewest} times"):
        estimate(x[:, 1:])


@pytest.mark.parametrize("degree", [-1, 1.5, True, "1"])
def test_a_degree_that_is_no_whole_number_is_refused(degree):
    with pytest.raises(ValueError, match="degree must be a whole number"):
        hurst_dfa(np.eye(2, 100), degree=degree)
