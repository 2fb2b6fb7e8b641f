"""Floors are what fresh samples of the same population score, at the size of the comparison."""

from __future__ import annotations

import numpy as np
import pytest

from dyninfer.metrics import (
    UndefinedMetricError,
    compare_populations,
    energy_distance,
    finite_sample_floor,
    wasserstein,
)


def normals(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d))


# Means over 1,500, 60 and 20 pairs of fresh samples, known to 0.3, 0.2 and 0.1 %.
FRESH = {(100, 2): 0.3963, (285, 10): 2.2915, (285, 50): 7.8985}


@pytest.mark.parametrize(("n", "d"), FRESH)
def test_the_floor_of_all_cells_is_that_of_fresh_samples_of_their_size(n, d):
    n_data = {2: 24, 10: 6, 50: 2}[d]
    floors = [finite_sample_floor(normals(n, d, seed), "w1") for seed in range(n_data)]
    assert np.mean(floors) == pytest.approx(FRESH[n, d], rel=0.02)


def test_the_floor_of_more_pairs_than_are_taken_is_that_of_all():
    # 2 E|y − y'| / n, which is 4 / (n √π) for a normal law.
    floor = finite_sample_floor(normals(9000, 1, 0), "energy")
    assert floor == pytest.approx(4 / (9000 * np.sqrt(np.pi)), rel=0.02)


def test_sides_of_different_size_have_a_floor_of_their_own():
    fresh = [wasserstein(normals(60, 5, k), normals(240, 5, k + 99)) for k in range(40)]
    data = [normals(240, 5, k + 500) for k in range(8)]
    floors = [finite_sample_floor(y, "w1", n=(60, 240)) for y in data]
    assert np.mean(floors) == pytest.approx(np.mean(fresh), rel=0.03)
    # The comparison counts both sides by itself.
    row = compare_populations(normals(60, 5, 1), data[0], metrics=["w1"])
    assert row["w1_floor"] == pytest.approx(np.mean(fresh), rel=0.06)
    assert row["n_floor"] == 192


def test_weights_count_by_their_effective_number():
    n, d = 240, 5
    rng = np.random.default_rng(3)
    floors, fresh = [], []
    for k in range(12):
        w = rng.exponential(size=(2, n))
        x, y = normals(n, d, k), normals(n, d, k + 99)
        fresh.append(wasserstein(x, y, x_weights=w[0], y_weights=w[1]))
        row = compare_populations(x, y, x_weights=w[0], y_weights=w[1], metrics=["w1"])
        floors.append(row["w1_floor"])
    assert np.mean(floors) == pytest.approx(np.mean(fresh), rel=0.03)
    # Half as many effective cells: higher than with equal weights.
    assert np.mean(floors) > 1.05 * finite_sample_floor(normals(n, d, 7), "w1")


def test_states_that_many_cells_share_have_the_floor_of_fresh_samples():
    def counts(seed):
        return np.random.default_rng(seed).poisson(1.0, size=(200, 2)).astype(float)

    fresh = [wasserstein(counts(k), counts(k + 999)) for k in range(60)]
    floors = [finite_sample_floor(counts(k + 5000), "w1") for k in range(20)]
    assert np.mean(floors) == pytest.approx(np.mean(fresh), rel=0.05)


def test_the_floor_of_the_energy_distance_is_its_mean():
    fresh = [energy_distance(normals(40, 3, k), normals(90, 3, k + 999)) for k in range(400)]
    y = normals(2000, 3, 5)
    # E|y − y′| of normals in three dimensions is 4 / √π.
    expected = (1 / 40 + 1 / 90) * 4 / np.sqrt(np.pi)
    assert np.mean(fresh) == pytest.approx(expected, rel=0.05)
    assert finite_sample_floor(y, "energy", n=(40, 90)) == pytest.approx(expected, rel=0.02)
    w = np.repeat([1.0, 3.0], 1000)
    # Σ w² of such weights is 1.25 / m.
    weighted = finite_sample_floor(y, "energy", n=100, y_weights=w)
    assert weighted == pytest.approx(2 * 1.25 / 100 * 4 / np.sqrt(np.pi), rel=0.03)


def test_an_unbiased_score_has_no_floor():
    assert finite_sample_floor(normals(50, 2, 0), "mmd") == 0.0


def test_a_floor_that_cannot_be_had_is_said_by_name():
    three = normals(3, 2, 0)
    with pytest.raises(UndefinedMetricError, match="n=3 needs 4 samples.*y has 3"):
        finite_sample_floor(three, "w1")
    with pytest.warns(UserWarning, match="w1_floor do not exist"):
        row = compare_populations(normals(30, 2, 1), three, metrics=["w1", "energy"])
    assert np.isnan(row["w1_floor"])
    assert row["energy_floor"] > 0
    with pytest.raises(ValueError, match="one number, or one for each of two sides"):
        finite_sample_floor(three, "w1", n=(1, 2, 3))


def test_points_that_coincide_have_a_floor_of_zero():
    assert finite_sample_floor(np.ones((20, 3)), "w1") == 0.0
