"""Metrics against closed forms, SciPy, POT and naive sums."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import ot
import pandas as pd
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from dyninfer import metrics
from dyninfer.learning.random import stream
from dyninfer.metrics import (
    METRICS,
    UndefinedMetricError,
    compare_populations,
    energy_distance,
    finite_sample_floor,
    gaussian_kl,
    median_distance,
    mmd,
    sliced_wasserstein,
    wasserstein,
)

# Distances that are zero only up to rounding: a square root of a float64 rounding error.
ZERO = 1e-6
HOMOGENEOUS = ["w1", "w2", "sliced_w2", "energy"]


def cloud(n, d, seed, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) + shift


def weights(n, seed):
    return np.random.default_rng(seed).exponential(size=n) + 0.01


@st.composite
def weighted_samples(draw):
    """Two weighted samples of the same space, with repeated values and weights of zero among them."""
    d = draw(st.integers(1, 4))
    out = []
    for _ in range(2):
        n = draw(st.integers(2, 12))
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        points = (
            rng.normal(size=(n, d))
            if draw(st.booleans())
            else rng.integers(-2, 3, size=(n, d)) * 1.0
        )
        w = rng.exponential(size=n) * (rng.random(n) < 0.8)
        w[:2] += 0.1
        out += [points, w if draw(st.booleans()) else None]
    return out


def score(name, x, y, a=None, b=None):
    bandwidth = {"bandwidth": 1.5} if name == "mmd" else {}
    return METRICS[name](x, y, x_weights=a, y_weights=b, **bandwidth)


# --- exact Wasserstein ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2])
def test_wasserstein_of_a_translated_sample_is_the_length_of_the_translation(p):
    x = cloud(60, 3, 0)
    assert wasserstein(x, x + np.array([1.0, -2.0, 2.0]), p=p) == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize("n_weights", [False, True])
def test_wasserstein_in_one_dimension_matches_scipy(n_weights):
    x, y = cloud(70, 1, 1), cloud(45, 1, 2, 0.4)
    a, b = (weights(70, 3), weights(45, 4)) if n_weights else (None, None)
    expected = scipy.stats.wasserstein_distance(x[:, 0], y[:, 0], a, b)
    assert wasserstein(x, y, x_weights=a, y_weights=b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("p", [1, 2])
def test_wasserstein_on_a_line_in_the_plane_equals_the_one_dimensional_one(p):
    x, y, a, b = cloud(40, 1, 1), cloud(31, 1, 2), weights(40, 3), weights(31, 4)
    direction = np.array([[0.6, 0.8]])
    flat = wasserstein(x, y, p=p, x_weights=a, y_weights=b)
    assert wasserstein(
        x @ direction, y @ direction, p=p, x_weights=a, y_weights=b
    ) == pytest.approx(flat, rel=1e-10)


@pytest.mark.parametrize(("p", "metric"), [(1, "euclidean"), (2, "sqeuclidean")])
def test_wasserstein_of_equal_sizes_matches_the_assignment_problem(p, metric):
    x, y = cloud(80, 5, 1), cloud(80, 5, 2, 0.5)
    cost = cdist(x, y, metric)
    expected = cost[linear_sum_assignment(cost)].mean() ** (1 / p)
    assert wasserstein(x, y, p=p) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("p", "metric"), [(1, "euclidean"), (2, "sqeuclidean")])
def test_wasserstein_with_weights_matches_pot(p, metric):
    x, y, a, b = cloud(50, 4, 1), cloud(37, 4, 2), weights(50, 3), weights(37, 4)
    expected = ot.emd2(a / a.sum(), b / b.sum(), cdist(x, y, metric)) ** (1 / p)
    assert wasserstein(x, y, p=p, x_weights=a, y_weights=b) == pytest.approx(expected, rel=1e-10)


def test_wasserstein_of_point_masses_is_the_mass_moved_times_the_distance():
    x, y = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0]])
    assert wasserstein(x, y, x_weights=np.array([1.0, 3.0])) == pytest.approx(0.75 * 5)
    assert wasserstein(x, y, p=2, x_weights=np.array([1.0, 3.0])) == pytest.approx(0.75**0.5 * 5)
    assert wasserstein(x, y, x_weights=np.array([1.0, 0.0])) == 0


def test_w2_between_gaussian_samples_is_near_the_closed_form():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1500, 2)), np.array([2.0, 0.0]) + 0.5 * rng.normal(size=(1500, 2))
    # |m0 − m1|² + d (s0 − s1)²
    assert wasserstein(x, y, p=2) == pytest.approx(np.sqrt(4 + 2 * 0.25), rel=0.03)


def test_an_unfinished_transport_problem_is_announced(monkeypatch):
    monkeypatch.setattr("dyninfer.metrics.simplex.ITERATIONS", 1)
    with pytest.warns(UserWarning, match="not exact"):
        wasserstein(cloud(30, 2, 0), cloud(30, 2, 1))


def test_a_transport_problem_that_cannot_fit_is_refused_with_its_size():
    x = np.zeros((40_000, 2))
    with pytest.raises(
        ValueError, match=r"40,000 and 40,000 samples would take about 66 GB; give max_samples"
    ):
        wasserstein(x, x)


# --- sliced Wasserstein -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("sizes", [(300, 300), (300, 210)])
def test_sliced_wasserstein_matches_pot_on_the_same_directions(p, sizes):
    x, y = cloud(sizes[0], 3, 1), cloud(sizes[1], 3, 2, 0.7)
    a, b = weights(sizes[0], 3), weights(sizes[1], 4)
    theta = torch.randn(50, 3, generator=stream(5, "metrics", "projections"), dtype=torch.float64)
    theta = (theta / theta.norm(dim=1, keepdim=True)).numpy().T
    plain = ot.sliced_wasserstein_distance(x, y, projections=theta, p=p)
    weighted = ot.sliced_wasserstein_distance(
        x, y, a / a.sum(), b / b.sum(), projections=theta, p=p
    )
    options = {"p": p, "n_projections": 50, "seed": 5}
    assert sliced_wasserstein(x, y, **options) == pytest.approx(plain, rel=1e-9)
    assert sliced_wasserstein(x, y, x_weights=a, y_weights=b, **options) == pytest.approx(
        weighted, rel=1e-9
    )


def test_sliced_w2_of_a_translation_approaches_its_closed_form():
    x = cloud(20, 4, 0)
    # E (θ·v)² = |v|² / d
    value = sliced_wasserstein(x, x + np.array([2.0, 0, 0, 0]), n_projections=20_000)
    assert value == pytest.approx(2 / np.sqrt(4), rel=0.02)


def test_sliced_wasserstein_with_one_feature_is_the_wasserstein_distance():
    x, y, a = cloud(30, 1, 0), cloud(20, 1, 1), weights(30, 2)
    expected = wasserstein(x, y, p=2, x_weights=a)
    assert sliced_wasserstein(x, y, x_weights=a, n_projections=3) == pytest.approx(
        expected, rel=1e-12
    )


# --- MMD and energy distance ------------------------------------------------------------------------------------------


def naive_mmd(x, y, a, b, gammas, unbiased):
    def mean(u, v, w, z, skip):
        total = mass = 0.0
        for i in range(len(u)):
            for j in range(len(v)):
                if not (skip and i == j):
                    k = sum(np.exp(-g * ((u[i] - v[j]) ** 2).sum()) for g in gammas)
                    total, mass = total + w[i] * z[j] * k, mass + w[i] * z[j]
        return total / mass

    return mean(x, x, a, a, unbiased) + mean(y, y, b, b, unbiased) - 2 * mean(x, y, a, b, False)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("gammas", [[0.3], [1e-4, 1e-4, 1e-4]])
def test_mmd_matches_the_double_sum(unbiased, gammas):
    x, y, a, b = cloud(13, 3, 1), cloud(9, 3, 2, 0.5), weights(13, 3), weights(9, 4)
    for u, v in ((a, b), (np.ones(13), np.ones(9))):
        value = mmd(x, y, gamma=gammas, unbiased=unbiased, x_weights=u, y_weights=v)
        assert value == pytest.approx(naive_mmd(x, y, u, v, gammas, unbiased), rel=1e-8, abs=1e-14)


def test_mmd_bandwidth_is_gamma_in_other_words_and_defaults_to_the_reference_median():
    x, y = cloud(20, 3, 1), cloud(7, 3, 2)
    distances = cdist(y, y)[np.triu_indices(7, 1)]
    h = np.median(distances)  # of 21 pairs: one of them
    assert median_distance(y) == pytest.approx(h, rel=1e-12)
    assert mmd(x, y) == pytest.approx(mmd(x, y, gamma=1 / (2 * h**2)), rel=1e-12)
    assert mmd(x, y) == pytest.approx(mmd(x, y, bandwidth=h), rel=1e-12)


def test_biased_mmd_of_two_points_has_its_closed_form():
    value = mmd(np.zeros((1, 2)), np.array([[3.0, 4.0]]), bandwidth=5.0, unbiased=False)
    assert value == pytest.approx(2 - 2 * np.exp(-0.5), rel=1e-12)


def test_unbiased_mmd_of_equal_populations_is_zero_on_average():
    values = [mmd(cloud(30, 2, 2 * s), cloud(30, 2, 2 * s + 1), bandwidth=1.0) for s in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert min(values) < 0
    assert (
        np.mean(
            [
                mmd(cloud(30, 2, s), cloud(30, 2, s + 999), gamma=0.5, unbiased=False)
                for s in range(9)
            ]
        )
        > 0.01
    )


def test_mmd_between_gaussians_matches_the_closed_form():
    x, y = cloud(3000, 2, 0), cloud(3000, 2, 1, 1.0)

    def mean_kernel(shift):  # E exp(−|z|²/2h²), z ~ N(shift, 2 I), h = 1, d = 2
        return (1 / 3) * np.exp(-(shift**2) / 6)

    assert mmd(x, y, bandwidth=1.0) == pytest.approx(
        2 * mean_kernel(0) - 2 * mean_kernel(np.sqrt(2)), rel=0.05
    )


@pytest.mark.parametrize("with_weights", [False, True])
def test_energy_distance_in_one_dimension_is_the_square_of_scipys(with_weights):
    x, y = cloud(70, 1, 1), cloud(45, 1, 2, 0.4)
    a, b = (weights(70, 3), weights(45, 4)) if with_weights else (None, None)
    expected = scipy.stats.energy_distance(x[:, 0], y[:, 0], a, b) ** 2
    assert energy_distance(x, y, x_weights=a, y_weights=b) == pytest.approx(expected, rel=1e-9)


def test_energy_distance_matches_all_pairs():
    x, y = cloud(50, 6, 1), cloud(35, 6, 2, 0.4)
    expected = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
    assert energy_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_energy_distance_of_two_points_is_twice_their_distance():
    assert energy_distance(np.zeros((1, 2)), np.array([[3.0, 4.0]])) == pytest.approx(
        10.0, rel=1e-12
    )


# --- what every metric promises ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=25, deadline=None)
@given(data=weighted_samples())
def test_metric_is_symmetric(name, data):
    x, a, y, b = data
    assert score(name, x, y, a, b) == pytest.approx(score(name, y, x, b, a), rel=1e-8, abs=ZERO)


@pytest.mark.parametrize("name", HOMOGENEOUS)
@settings(max_examples=25, deadline=None)
@given(data=weighted_samples())
def test_metric_is_zero_at_equality_and_not_negative(name, data):
    x, a, y, b = data
    assert score(name, x, x, a, a) == pytest.approx(0, abs=ZERO)
    assert score(name, x, y, a, b) >= -ZERO


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=25, deadline=None)
@given(data=weighted_samples(), shift=st.floats(-1e6, 1e6))
def test_metric_ignores_a_common_translation(name, data, shift):
    x, a, y, b = data
    expected = score(name, x, y, a, b)
    assert score(name, x + shift, y + shift, a, b) == pytest.approx(expected, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("name", HOMOGENEOUS)
@settings(max_examples=25, deadline=None)
@given(data=weighted_samples(), factor=st.floats(1e-3, 1e3))
def test_metric_scales_with_the_samples(name, data, factor):
    x, a, y, b = data
    expected = factor * score(name, x, y, a, b)
    assert score(name, factor * x, factor * y, a, b) == pytest.approx(
        expected, rel=1e-7, abs=ZERO * factor
    )


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=25, deadline=None)
@given(data=weighted_samples(), seed=st.integers(0, 1000))
def test_metric_ignores_order_the_scale_of_weights_and_points_of_weight_zero(name, data, seed):
    x, a, y, b = data
    a = np.ones(len(x)) if a is None else a
    order = np.random.default_rng(seed).permutation(len(x) + 1)
    changed = np.vstack([x, np.full((1, x.shape[1]), 1e3)])[order]
    changed_weights = np.append(7 * a, 0.0)[order]
    value = score(name, changed, y, changed_weights, b)
    assert value == pytest.approx(score(name, x, y, a, b), rel=1e-7, abs=ZERO)


@pytest.mark.parametrize("name", [*HOMOGENEOUS, "biased mmd"])
@settings(max_examples=25, deadline=None)
@given(data=weighted_samples())
def test_a_weight_of_two_is_a_point_given_twice(name, data):
    x, _, y, b = data
    count = np.arange(len(x)) % 3 + 1
    if name == "biased mmd":
        one, two = (
            mmd(u, y, x_weights=w, y_weights=b, gamma=0.4, unbiased=False)
            for u, w in ((x, count), (np.repeat(x, count, 0), None))
        )
    else:
        one, two = score(name, x, y, count, b), score(name, np.repeat(x, count, 0), y, None, b)
    assert one == pytest.approx(two, rel=1e-7, abs=ZERO)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_median_distance_counts_a_point_of_weight_two_twice(unit):
    y = unit * cloud(40, 2, 0)
    count = np.arange(40) % 4 + 1
    doubled = np.repeat(y, count, axis=0)
    assert median_distance(y, y_weights=count) == pytest.approx(median_distance(doubled), rel=1e-14)
    assert median_distance(y, y_weights=np.ones(40)) == median_distance(y)
    # Of the positive distances 1, 2 and 3, that between the two heavy points has nearly all weight.
    assert median_distance([[0.0], [1.0], [3.0]], y_weights=[1, 1e-9, 1]) == 3


@pytest.mark.parametrize("name", METRICS)
def test_metric_does_not_depend_on_the_size_of_blocks(name, monkeypatch):
    x, y, a = cloud(37, 3, 1), cloud(23, 3, 2, 0.3), weights(37, 3)
    whole = [score(name, x, y), score(name, x, y, a)]
    monkeypatch.setattr(metrics.kernels, "TILE", 5)
    # The second is less than one direction takes.
    for chunk in (200, 10):
        monkeypatch.setattr(metrics.transport, "CHUNK", chunk)
        assert [score(name, x, y), score(name, x, y, a)] == pytest.approx(whole, rel=1e-10)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", METRICS)
def test_metric_takes_arrays_and_tensors_of_any_real_type(name):
    x, y = np.arange(12).reshape(6, 2) % 5, np.arange(10).reshape(5, 2) % 7
    expected = score(name, x * 1.0, y * 1.0)
    x.flags.writeable = False
    x64 = x.astype(np.float64)
    x64.flags.writeable = False
    assert score(name, x64, y) == pytest.approx(expected, rel=1e-12)
    for convert in (
        lambda v: v.astype(np.float32)[::-1],
        lambda v: v,
        lambda v: torch.tensor(v, dtype=torch.float32, requires_grad=True),
        lambda v: torch.tensor(v, dtype=torch.int32),
        lambda v: np.asfortranarray(v, dtype=np.float64),
    ):
        value = score(name, convert(x), convert(y), torch.ones(6), None)
        assert type(value) is float
        assert value == pytest.approx(expected, rel=1e-7)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", METRICS)
def test_metric_is_the_same_on_a_gpu(name):
    x, y, a = cloud(300, 4, 1), cloud(200, 4, 2, 0.3), weights(300, 3)
    on_gpu = [torch.tensor(v, device="cuda") for v in (x, y, a)]
    assert score(name, *on_gpu) == pytest.approx(score(name, x, y, a), rel=1e-8)
    assert score(name, on_gpu[0], y) == pytest.approx(score(name, x, y), rel=1e-8)


# --- units ------------------------------------------------------------------------------------------------------------

UNITS = [1e-160, 1e-12, 1e-9, 1.0, 1e6, 1e12, 1e160]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_a_metric_in_another_unit_is_the_same_length(name, unit):
    x, y, a = cloud(60, 3, 1), cloud(50, 3, 2, 0.5), weights(60, 3)
    expected = score(name, x, y, a)
    assert score(name, unit * x, unit * y, a) / unit == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("unit", [1e-300, *UNITS])
def test_mmd_does_not_depend_on_the_unit(unit):
    x, y = cloud(60, 3, 1), cloud(50, 3, 2, 0.5)
    assert mmd(unit * x, unit * y) == pytest.approx(mmd(x, y), rel=1e-9)
    assert mmd(unit * x, unit * y, bandwidth=1.5 * unit) == pytest.approx(
        mmd(x, y, bandwidth=1.5), rel=1e-9
    )


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("far", [1e4, 1e7, 1e8, 1e10])
def test_groups_far_apart_do_not_spoil_the_distances_within_them(p, far):
    x, y = cloud(80, 3, 1), cloud(80, 3, 2, 0.5)
    both = wasserstein(np.vstack([x, x + far]), np.vstack([y, y + far]), p=p)
    # Sums with far lose its last digits.
    assert both == pytest.approx(wasserstein(x, y, p=p), rel=1e-4 if far < 1e10 else 1e-3)


@pytest.mark.parametrize("p", [1, 2])
def test_weighted_groups_far_apart_match_the_assignment_within_them(p):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    w = rng.integers(1, 4, size=40).astype(float)
    far = np.array([1e9, 0])
    value = wasserstein(
        np.vstack([x, x + far]),
        np.vstack([y, y + far]),
        p=p,
        x_weights=np.tile(w, 2),
        y_weights=np.tile(w[::-1], 2),
    )
    near = wasserstein(x, y, p=p, x_weights=w, y_weights=w[::-1])
    assert value == pytest.approx(near, rel=1e-6)


def test_masked_points_are_refused_and_never_the_value_beneath():
    x = np.ma.array(cloud(5, 2, 0), mask=np.eye(5, 2))
    with pytest.raises(ValueError, match="x has values that are not finite in 2 of 5 rows"):
        wasserstein(x, cloud(5, 2, 1))
    with pytest.raises(ValueError, match="x_weights must be finite"):
        energy_distance(
            cloud(5, 2, 0), cloud(5, 2, 1), x_weights=np.ma.array(np.ones(5), mask=x.mask[:, 0])
        )


@pytest.mark.parametrize("name", METRICS)
def test_columns_of_dataframes_are_matched_by_name(name):
    x, y = cloud(60, 3, 1), cloud(50, 3, 2, [0.0, 1.0, 4.0])
    frame = pd.DataFrame(x, columns=["a", "b", "c"])[["c", "a", "b"]]
    reference = pd.DataFrame(y, columns=["a", "b", "c"])
    expected = METRICS[name](x, y)
    assert METRICS[name](frame, reference) == pytest.approx(expected, rel=1e-12)
    # Numbers are names too, once they are out of order.
    numbered = pd.DataFrame(x)[[2, 0, 1]]
    assert METRICS[name](numbered, pd.DataFrame(y)) == pytest.approx(expected, rel=1e-12)
    # The order of an array is the user's word, and so is that of columns without names.
    assert METRICS[name](x, reference) == pytest.approx(expected, rel=1e-12)
    assert METRICS[name](pd.DataFrame(x), reference) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(
        ValueError, match="x and y have different columns: 'c' is in only one of them"
    ):
        METRICS[name](frame.rename(columns={"c": "d"}), reference)
    twice = frame[["a", "b", "c", "a"]]
    with pytest.raises(ValueError, match="x .*'a'"):
        METRICS[name](twice, reference)
    with pytest.raises(ValueError, match="y .*'a'"):
        METRICS[name](reference, twice)


@pytest.mark.parametrize("far", [1e9, 1e160])
@pytest.mark.parametrize("name", METRICS)
def test_a_feature_that_never_changes_counts_for_nothing_however_large(name, far):
    x, y = cloud(60, 2, 1), cloud(50, 2, 2, 0.5)

    def beside(value):
        return [np.column_stack([sample, np.full(len(sample), value)]) for sample in (x, y)]

    expected = METRICS[name](*beside(0.0))
    assert METRICS[name](*beside(far)) == pytest.approx(expected, rel=1e-12)


# --- caps, floors, tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_a_capped_metric_is_seeded_and_near_the_full_one(name):
    x, y = cloud(800, 2, 1), cloud(700, 2, 2, 2.0)
    bandwidth = {"bandwidth": 1.5} if name == "mmd" else {}
    full = METRICS[name](x, y, **bandwidth)
    capped = [METRICS[name](x, y, max_samples=300, seed=seed, **bandwidth) for seed in (0, 0, 1)]
    assert capped[0] == capped[1] != capped[2]
    assert capped[0] == pytest.approx(full, rel=0.15)
    assert METRICS[name](x, y, max_samples=800, **bandwidth) == full


def test_the_cap_draws_by_weight():
    x, y = np.array([[0.0, 0.0]] * 500 + [[1.0, 0.0]] * 500), np.zeros((1, 2))
    w = np.repeat([1.0, 3.0], 500)
    values = [wasserstein(x, y, x_weights=w, max_samples=40, seed=seed) for seed in range(20)]
    # The mass at distance 1 is 3/4; systematic draws keep every sample within 1/40 of it on average.
    assert np.mean(values) == pytest.approx(0.75, abs=0.02)
    assert np.std(values) < 0.1


def test_the_cap_draws_at_random_whatever_the_order_of_the_samples():
    x = np.tile([[0.0, 0.0], [1.0, 0.0]], (500, 1))
    value = wasserstein(x, np.zeros((1, 2)), max_samples=500)
    assert value == pytest.approx(0.5, abs=0.1)


def test_points_of_weight_zero_are_not_there():
    x, y = cloud(30, 2, 0), np.vstack([cloud(7, 2, 1), np.full((9, 2), 1e4)])
    w = np.repeat([1.0, 0.0], [7, 9])
    assert mmd(x, y, y_weights=w) == pytest.approx(mmd(x, y[:7]), rel=1e-9)
    assert finite_sample_floor(y, "w2", y_weights=w) < 10
    with pytest.raises(UndefinedMetricError, match="y has one point of positive weight"):
        mmd(x, y, y_weights=np.eye(16)[0], gamma=1.0)


def test_the_two_sides_are_drawn_independently():
    x = cloud(400, 2, 0)
    assert wasserstein(x, x, max_samples=100) > 0.1


def test_the_floor_of_a_population_is_what_independent_samples_of_it_score():
    floor = finite_sample_floor(cloud(1000, 5, 0), "w1", n=500, repeats=4)
    fresh = np.mean(
        [wasserstein(cloud(500, 5, s), cloud(500, 5, s + 100), p=1) for s in range(1, 5)]
    )
    assert floor == pytest.approx(fresh, rel=0.05)
    assert finite_sample_floor(cloud(1000, 5, 0), "w1", n=100) > 1.2 * floor


def test_the_floor_splits_into_disjoint_parts_and_takes_functions():
    seen = []

    def record(x, y, *, x_weights, y_weights):
        seen.append((x[:, 0], y[:, 0]))
        assert (x_weights / x[:, 0]).std() == pytest.approx(0, abs=1e-12)
        return float(len(seen))

    y = np.arange(1.0, 11.0)[:, None]
    assert finite_sample_floor(y, record, n=5, repeats=3, y_weights=y[:, 0]) == 2.0
    for a, b in seen:
        assert sorted(torch.cat([a, b]).tolist()) == list(range(1, 11))
    assert len({tuple(a.tolist()) for a, _ in seen}) > 1


def test_compare_populations_gives_plain_numbers_with_floors_and_sizes():
    x, y = cloud(300, 3, 1, 1.0), cloud(900, 3, 2)
    row = compare_populations(x, y, max_samples=200)
    assert set(row) == {
        *METRICS,
        *(f"{m}_floor" for m in METRICS),
        "n_x",
        "n_y",
        "n_used",
        "n_floor",
    }
    assert (row["n_x"], row["n_y"], row["n_used"], row["n_floor"]) == (300, 900, 200, 200)
    assert all(type(v) in (float, int) for v in row.values())
    assert all(row[m] > 2 * row[f"{m}_floor"] for m in METRICS)
    assert row == compare_populations(x, y, max_samples=200)
    assert row != compare_populations(x, y, max_samples=200, seed=1)


def test_compare_populations_agrees_with_the_single_metrics():
    x, y, a = cloud(60, 2, 1, 0.5), cloud(50, 2, 2), weights(60, 3)
    row = compare_populations(x, y, x_weights=a, floor=False)
    assert row == {m: pytest.approx(METRICS[m](x, y, x_weights=a)) for m in METRICS} | {
        "n_x": 60,
        "n_y": 50,
        "n_used": 60,
    }
    assert compare_populations(x, y, metrics="w1", floor=False) == {
        "w1": wasserstein(x, y),
        "n_x": 60,
        "n_y": 50,
        "n_used": 60,
    }


def test_compare_populations_of_a_perfect_model_scores_its_floor():
    row = compare_populations(cloud(400, 3, 1), cloud(800, 3, 2))
    for name in ("w1", "w2"):
        assert row[name] == pytest.approx(row[f"{name}_floor"], rel=0.15)


def test_compare_populations_leaves_what_does_not_exist_as_nan():
    row = compare_populations(cloud(20, 2, 0), np.zeros((1, 2)))
    assert np.isnan([row[k] for k in ("mmd", "mmd_floor", "w1_floor", "energy_floor")]).all()
    assert row["w1"] == pytest.approx(np.linalg.norm(cloud(20, 2, 0), axis=1).mean())
    assert np.isnan(compare_populations(cloud(20, 2, 0), np.ones((30, 2)))["mmd"])


def test_gaussians_too_far_apart_for_a_number_are_refused():
    eye = np.eye(2)
    with pytest.raises(ValueError, match="divergence is beyond what double precision holds"):
        gaussian_kl([0, 1e300], eye, [0, 0], eye)
    assert gaussian_kl([0, 1e150], eye, [0, 0], eye) == pytest.approx(5e299)


def test_metrics_that_do_not_exist_for_a_sample_are_said():
    with pytest.warns(UserWarning, match="mmd do not exist for samples of 1 and 24 such points"):
        row = compare_populations(cloud(1, 2, 1), cloud(24, 2, 2))
    assert np.isnan(row["mmd"])
    assert np.isfinite(row["mmd_floor"])


def test_directions_that_no_memory_holds_are_refused():
    with pytest.raises(MemoryError, match="directions take at least"):
        sliced_wasserstein(cloud(5, 2, 1), cloud(5, 2, 2), n_projections=2**40)


def test_gaussian_kl_matches_torch_distributions():
    rng = np.random.default_rng(0)
    m0, m1, r0, r1 = (
        rng.normal(size=3),
        rng.normal(size=3),
        rng.normal(size=(3, 5)),
        rng.normal(size=(3, 5)),
    )
    gaussians = [
        torch.distributions.MultivariateNormal(torch.tensor(m), torch.tensor(r @ r.T))
        for m, r in ((m0, r0), (m1, r1))
    ]
    expected = float(torch.distributions.kl_divergence(*gaussians))
    assert gaussian_kl(m0, r0 @ r0.T, m1, r1 @ r1.T) == pytest.approx(expected, rel=1e-10)
    with pytest.raises(ValueError, match="cov1 is not positive definite"):
        gaussian_kl(m0, np.eye(3), m1, np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"mean1 has shape \(2,\) and mean0 has 3 features"):
        gaussian_kl(m0, np.eye(3), m1[:2], np.eye(3))


# --- errors and imports -----------------------------------------------------------------------------------------------

X = np.zeros((4, 2))


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: wasserstein(np.zeros(4), X), ValueError, r"x has shape \(4,\).*give x\[:, None\]"),
        (lambda: wasserstein(X, np.zeros((0, 2))), ValueError, r"y has shape \(0, 2\)"),
        (lambda: wasserstein(X, np.zeros((4, 3))), ValueError, "x has 2 features and y has 3"),
        (
            lambda: mmd(X, np.array([[0.0, 1], [np.nan, 0]])),
            ValueError,
            "y has values.*in 1 of 2 rows, first in row 1",
        ),
        (lambda: energy_distance(np.array([["a"]]), X), TypeError, "x holds .* must hold numbers"),
        (
            lambda: energy_distance(torch.zeros(2, 2, dtype=torch.complex64), X),
            TypeError,
            "x holds complex",
        ),
        (
            lambda: energy_distance(X, X, x_weights=np.ones(3)),
            ValueError,
            r"x_weights has shape \(3,\) and x has 4",
        ),
        (
            lambda: energy_distance(X, X, y_weights=-np.ones(4)),
            ValueError,
            "y_weights must be finite and non-neg",
        ),
        (
            lambda: energy_distance(X, X, y_weights=np.full(4, np.inf)),
            ValueError,
            "y_weights must be finite",
        ),
        (lambda: sliced_wasserstein(X, X, x_weights=np.zeros(4)), ValueError, "x_weights sum to 0"),
        (lambda: wasserstein(X, X, p=3), ValueError, "p is 3"),
        (lambda: sliced_wasserstein(X, X, n_projections=0), ValueError, "n_projections is 0"),
        (lambda: wasserstein(X, X, max_samples=2.5), ValueError, "max_samples is 2.5"),
        (lambda: mmd(X, X, bandwidth=-1.0), ValueError, "bandwidth is -1.0"),
        (lambda: mmd(X, X, gamma=[]), ValueError, r"gamma is \[\]"),
        (lambda: mmd(X, X, gamma=1.0, bandwidth=1.0), ValueError, "give one of them"),
        (lambda: mmd(X, X), UndefinedMetricError, "all points of the reference y coincide"),
        (lambda: mmd(X[:1], X, gamma=1.0), UndefinedMetricError, "x has one point.*unbiased=False"),
        (
            lambda: finite_sample_floor(X, "w1", n=9),
            UndefinedMetricError,
            "needs 5 samples.*y has 4",
        ),
        (lambda: finite_sample_floor(X, "w3"), ValueError, "'w3' is not known; choose from w1, w2"),
        (lambda: compare_populations(X, X, metrics=("w3",)), ValueError, "'w3' is not known"),
    ],
)
def test_a_mistake_is_answered_by_a_sentence(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_importing_metrics_loads_neither_torch_nor_pot():
    code = "import sys, dyninfer.metrics; print([m for m in ('torch', 'ot', 'scanpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", METRICS)
def test_tensors_of_any_layout_are_read_or_refused_by_name(name):
    x = torch.from_numpy(cloud(30, 3, 0)).relu()
    y = torch.from_numpy(cloud(30, 3, 1))
    expected = METRICS[name](x, y)
    for other in (x.to_sparse(), x.to_sparse_csr(), x.to_sparse_csc()):
        assert METRICS[name](other, y) == expected
    assert METRICS[name](x.to(torch.float8_e4m3fn), y) == pytest.approx(expected, rel=0.1, abs=0.02)
    with pytest.raises(ValueError, match="x is on the device 'meta', which holds no numbers"):
        METRICS[name](x.to("meta"), y)
    with pytest.raises(ValueError, match="y_weights is on the device 'meta'"):
        METRICS[name](x, y, y_weights=torch.ones(30, device="meta"))
