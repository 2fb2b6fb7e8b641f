"""Metrics against rational numbers and fifty digits, at all scales.

References read the very floats that the metrics are given, as fractions, so that what differs is
the arithmetic alone.
"""

from fractions import Fraction
from itertools import permutations

import mpmath
import numpy as np
import ot
import pytest
import torch

from dyninfer.learning.random import stream
from dyninfer.metrics import (
    brier_score,
    crps,
    energy_distance,
    energy_score,
    gaussian_kl,
    hellinger_distance,
    median_distance,
    mmd,
    sliced_wasserstein,
    wasserstein,
)

SCALES = [1e-12, 1e-6, 1.0, 1e6, 1e12]
# Few float64 operations on each of a handful of numbers.
CLOSE = 1e-13
TINY = [1.0, 1e-5, 1e-100, 1e-300, 0.25, 0.0]


@pytest.fixture(autouse=True)
def fifty_digits():
    with mpmath.workdps(50):
        yield


def exact(number):
    """A fraction, or a number of fifty digits, at fifty digits."""
    if isinstance(number, Fraction):
        return mpmath.mpf(number.numerator) / number.denominator
    return mpmath.mpf(number)


def fractions(values):
    return [Fraction(value) for value in values]


def shares(weights):
    """Weights that sum to one, exactly."""
    weights = fractions(weights)
    return [w / sum(weights) for w in weights]


def distance(x, y):
    total = sum((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(x, y, strict=True))
    return mpmath.sqrt(exact(total))


def cost_on_a_line(x, y, a, b, p):
    """``W_p^p`` of weighted points on a line, a rational number: mass moves in order."""
    left = sorted(zip(fractions(x), shares(a), strict=True))
    right = sorted(zip(fractions(y), shares(b), strict=True))
    total = Fraction(0)
    (u, mass_u), (v, mass_v) = left.pop(0), right.pop(0)
    while True:
        moved = min(mass_u, mass_v)
        total += moved * abs(u - v) ** p
        mass_u -= moved
        mass_v -= moved
        if mass_u == 0:
            if not left:
                return total
            u, mass_u = left.pop(0)
        if mass_v == 0:
            if not right:
                return total
            v, mass_v = right.pop(0)


def along(points, direction):
    """Scalar products with a direction, exactly."""
    parts = fractions(direction)
    return [sum(u * v for u, v in zip(fractions(x), parts, strict=True)) for x in points]


def cost_of_best_assignment(x, y, p):
    """``W_p^p`` of as many equal points, the least over all assignments."""
    costs = [[distance(u, v) ** p for v in y] for u in x]
    n = len(x)
    totals = (sum(costs[i][j] for i, j in enumerate(order)) for order in permutations(range(n)))
    return min(totals) / n


def root(cost, p):
    return exact(cost) ** (mpmath.mpf(1) / p)


def mean_of_pairs(f, x, y, a, b):
    """``Σ a_i b_j f(|x_i − y_j|)``."""
    total = mpmath.mpf(0)
    for u, v in zip(x, shares(a), strict=True):
        for w, s in zip(y, shares(b), strict=True):
            total += exact(v * s) * f(distance(u, w))
    return total


def energy_reference(x, y, a, b):
    def same(r):
        return r

    between = mean_of_pairs(same, x, y, a, b)
    return 2 * between - mean_of_pairs(same, x, x, a, a) - mean_of_pairs(same, y, y, b, b)


def mmd_reference(x, y, a, b, bandwidth, unbiased):
    h = mpmath.mpf(bandwidth)

    def kernel(r):
        return mpmath.exp(-(r**2) / (2 * h**2))

    def within(points, weights):
        mean = mean_of_pairs(kernel, points, points, weights, weights)
        itself = sum(exact(w) ** 2 for w in shares(weights))
        return (mean - itself) / (1 - itself) if unbiased else mean

    return within(x, a) + within(y, b) - 2 * mean_of_pairs(kernel, x, y, a, b)


def few(n, d, seed, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(n, d))


def same(value, reference, rel=CLOSE, size=None):
    """Whether a float is a reference of fifty digits, relative to it or to the size of the data."""
    size = abs(reference) if size is None else mpmath.mpf(size)
    assert abs(mpmath.mpf(value) - reference) <= rel * size, (value, float(reference))


# --- Wasserstein ---


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", [1, 2])
def test_wasserstein_on_a_line_is_the_rational_number(p, scale):
    x, y = few(6, 1, 0, scale), few(5, 1, 1, scale)
    a, b = [3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5]
    same(
        wasserstein(x, y, p=p, x_weights=a, y_weights=b),
        root(cost_on_a_line(x[:, 0], y[:, 0], a, b, p), p),
    )
    equal = [1] * 5
    same(wasserstein(x[:5], y, p=p), root(cost_on_a_line(x[:5, 0], y[:, 0], equal, equal, p), p))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", [1, 2])
def test_wasserstein_of_points_on_a_line_in_space_is_the_rational_number(p, scale):
    x, y = few(6, 1, 0, scale), few(5, 1, 1, scale)
    # (3, 4, 12) has length 13; its multiples by floats hardly round.
    direction = np.array([[3.0, 4.0, 12.0]])
    a, b = [3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5]
    value = wasserstein(x @ direction, y @ direction, p=p, x_weights=a, y_weights=b)
    same(value, 13 * root(cost_on_a_line(x[:, 0], y[:, 0], a, b, p), p), rel=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("d", [2, 9])
def test_wasserstein_in_space_is_the_best_of_all_assignments(p, scale, d):
    x, y = few(5, d, 2, scale), few(5, d, 3, scale)
    same(wasserstein(x, y, p=p), root(cost_of_best_assignment(x, y, p), p), rel=1e-11)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("far", [1e3, 1e6, 1e9])
def test_wasserstein_within_groups_is_exact_beside_a_group_far_away(p, scale, far):
    x, y = few(6, 2, 4, scale), few(6, 2, 5, scale)
    # Whole numbers of a power of two: moved there, the points keep their digits.
    step = 2.0 ** np.floor(np.log2(scale) - 20)
    x, y = step * np.round(x / step), step * np.round(y / step)
    offset = step * np.round(far * scale / step)
    x[3:] += offset
    y[3:] += offset
    parts = [cost_of_best_assignment(x[k], y[k], p) for k in (slice(3), slice(3, 6))]
    same(wasserstein(x, y, p=p), root(sum(parts) / 2, p), rel=1e-11)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("d", [1, 2, 9])
@pytest.mark.parametrize("far", [1.0, 1e8])
def test_what_most_points_share_takes_no_digit_from_the_others(p, d, far):
    # The median is the far point: moved there, the others would all be one.
    x, y = few(6, d, 21, 1e-9), few(6, d, 22, 1e-9)
    x[2:], y[2:] = far, far
    reference = root(cost_of_best_assignment(x[:2], y[:2], p) / 3, p)
    same(wasserstein(x, y, p=p), reference, rel=1e-11)
    if d == 1:
        same(sliced_wasserstein(x, y, p=p), reference, rel=1e-11)


def test_the_median_distance_counts_short_distances_beside_a_group_far_away():
    y = np.array([[0.0], [1e-9], [3e-9], [1e8], [1e8]])
    # Positive distances: 1, 2 and 3 billionths, and six far ones.
    assert median_distance(y) == pytest.approx(1e8, rel=1e-15)
    y = np.array([[0.0], [1e-9], [3e-9], [8e-9], [1e8]])
    assert median_distance(y) == pytest.approx(7e-9, rel=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", [1, 2])
def test_weights_from_1e_300_to_one_are_the_masses_that_they_say(p, scale):
    x, y = few(6, 1, 6, scale), few(6, 1, 7, scale)
    heavy = [0.5, 1e-200, 2.0, 1e-10, 1e-300, 1.0]
    positive = [k for k, w in enumerate(TINY) if w > 0]
    points, weights = x[positive, 0], [TINY[k] for k in positive]
    reference = root(cost_on_a_line(points, y[:, 0], weights, heavy, p), p)
    same(wasserstein(x, y, p=p, x_weights=TINY, y_weights=heavy), reference)
    plane = np.array([[0.6, 0.8]])
    value = wasserstein(x @ plane, y @ plane, p=p, x_weights=TINY, y_weights=heavy)
    same(value, reference, rel=1e-9)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", [1, 2])
def test_a_weight_of_two_is_a_point_given_twice_in_the_plane(p, scale):
    x, y = few(3, 2, 8, scale), few(4, 2, 9, scale)
    a, b = [2, 1, 3], [1, 2, 1, 2]
    copies_x, copies_y = np.repeat(x, a, axis=0), np.repeat(y, b, axis=0)
    reference = root(cost_of_best_assignment(copies_x, copies_y, p), p)
    same(wasserstein(x, y, p=p, x_weights=a, y_weights=b), reference, rel=1e-11)
    same(wasserstein(copies_x, copies_y, p=p), reference, rel=1e-11)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", [1, 2])
def test_wasserstein_matches_pot_in_units_of_one(p, scale):
    x, y = few(40, 3, 10), few(30, 3, 11)
    rng = np.random.default_rng(12)
    a, b = rng.dirichlet(np.ones(40)), rng.dirichlet(np.ones(30))
    cost = ot.dist(x, y, metric="euclidean") ** p
    expected = scale * ot.emd2(a, b, cost) ** (1 / p)
    value = wasserstein(scale * x, scale * y, p=p, x_weights=a, y_weights=b)
    assert value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_sliced_wasserstein_is_the_mean_over_its_directions(p, scale, weighted):
    x, y = few(5, 3, 13, scale), few(5, 3, 14, scale)
    a = [3, 1, 4, 1, 5] if weighted else [1] * 5
    b = [2, 6, 5, 3, 5] if weighted else [1] * 5
    generator = stream(0, "metrics", "projections")
    directions = torch.randn(4, 3, generator=generator, dtype=torch.float64).tolist()
    total = mpmath.mpf(0)
    for direction in directions:
        cost = cost_on_a_line(along(x, direction), along(y, direction), a, b, p)
        total += exact(cost) / distance(direction, [0.0] * 3) ** p
    weights = {"x_weights": a, "y_weights": b} if weighted else {}
    value = sliced_wasserstein(x, y, p=p, n_projections=4, **weights)
    same(value, root(total / 4, p), rel=1e-12)


# --- all pairs ---


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("d", [1, 2, 9])
@pytest.mark.parametrize("weighted", [False, True])
def test_energy_distance_is_the_sum_over_all_pairs(d, scale, weighted):
    x, y = few(6, d, 15, scale), few(6, d, 16, scale)
    a = [1.0, 1e-5, 1e-100, 1e-300, 0.25, 3.0] if weighted else [1.0] * 6
    b = [0.5, 1e-200, 2.0, 1e-10, 1e-300, 1.0] if weighted else [1.0] * 6
    weights = {"x_weights": a, "y_weights": b} if weighted else {}
    same(energy_distance(x, y, **weights), energy_reference(x, y, a, b), rel=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("far", [1e3, 1e6])
def test_energy_distance_keeps_the_digits_of_its_largest_distance(scale, far):
    x, y = few(6, 2, 17, scale), few(6, 2, 18, scale)
    x[3:] += far * scale
    y[3:] += far * scale
    equal = [1] * 6
    reference = energy_reference(x, y, equal, equal)
    same(energy_distance(x, y), reference, rel=1e-14, size=far * scale)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("far", [0.0, 1e6])
def test_mmd_is_the_sum_over_all_pairs(unbiased, scale, far):
    x, y = few(6, 2, 19, scale), few(6, 2, 20, scale)
    x[3:] += far * scale
    y[3:] += far * scale
    a, b = [3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]
    reference = mmd_reference(x, y, a, b, 1.5 * scale, unbiased)
    for kernel in ({"bandwidth": 1.5 * scale}, {"gamma": 0.5 / (1.5 * scale) ** 2}):
        value = mmd(x, y, x_weights=a, y_weights=b, unbiased=unbiased, **kernel)
        # Kernels are of the size of one; distances far away have lost digits of short ones.
        same(value, reference, rel=1e-14 if far == 0 else 1e-13, size=1)


# --- scores and divergences ---


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("origin", [0.0, 1e6])
def test_crps_is_the_rational_number(scale, origin):
    draws = scale * (origin + few(7, 1, 21)[:, 0])
    observed = scale * (origin + 0.3)
    x, y = fractions(draws), Fraction(float(observed))
    pairs = sum(abs(u - v) for u in x for v in x)
    reference = sum(abs(u - y) for u in x) / 7 - pairs / (2 * 7 * 6)
    same(float(crps(draws, observed)), exact(reference), size=scale)


@pytest.mark.parametrize("scale", [1e-300, *SCALES, 1e300])
def test_energy_score_is_the_sum_over_all_pairs(scale):
    draws, observed = few(6, 3, 22, scale), few(1, 3, 23, scale)[0]
    errors = sum(distance(x, observed) for x in draws)
    pairs = sum(distance(x, z) for x in draws for z in draws)
    reference = errors / 6 - pairs / (2 * 6 * 5)
    same(float(energy_score(draws, observed)), reference, rel=1e-12)


def test_brier_score_is_the_rational_number():
    draws = [0, 2, 2, 1, 0, 2, 2]
    frequencies = [Fraction(draws.count(state), 7) for state in range(4)]
    reference = sum((f - (state == 1)) ** 2 for state, f in enumerate(frequencies))
    same(float(brier_score(draws, 1, n_states=4)), exact(reference), rel=1e-15)


@pytest.mark.parametrize("scale", [1e-300, *SCALES, 1e300])
def test_hellinger_distance_has_all_digits_of_frequencies_that_hardly_differ(scale):
    p, q = [0.3 * scale, 0.7 * scale, 1e-9 * scale], [0.3 * scale, 0.7 * scale, 2e-9 * scale]
    pairs = zip(shares(p), shares(q), strict=True)
    squares = [(mpmath.sqrt(exact(a)) - mpmath.sqrt(exact(b))) ** 2 for a, b in pairs]
    same(float(hellinger_distance(p, q)), mpmath.sqrt(sum(squares) / 2), rel=1e-10)


@pytest.mark.parametrize("scale", [1e-100, *SCALES, 1e100])
def test_gaussian_kl_is_that_of_fifty_digits_in_any_unit(scale):
    rng = np.random.default_rng(24)
    roots = [rng.normal(size=(3, 3)) for _ in range(2)]
    cov0, cov1 = (scale**2 * (root @ root.T + 0.1 * np.eye(3)) for root in roots)
    mean0, mean1 = scale * rng.normal(size=3), scale * rng.normal(size=3)
    s0, s1 = mpmath.matrix(cov0.tolist()), mpmath.matrix(cov1.tolist())
    shift = mpmath.matrix(mean1.tolist()) - mpmath.matrix(mean0.tolist())
    inverse = s1**-1
    trace = sum((inverse * s0)[i, i] for i in range(3))
    mahalanobis = (shift.T * inverse * shift)[0]
    log_volume = mpmath.log(mpmath.det(s1) / mpmath.det(s0))
    reference = (trace + mahalanobis - 3 + log_volume) / 2
    same(gaussian_kl(mean0, cov0, mean1, cov1), reference, rel=1e-11)
