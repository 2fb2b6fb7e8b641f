"""Couplings against exact rational numbers and fifty digits: in any unit, beside a far group."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from dyninfer.transport.couplings import (
    ConeCoupling,
    OTCoupling,
    SparseOTCoupling,
    TransportProblem,
)
from dyninfer.transport.couplings.problem import squared_distances
from dyninfer.transport.couplings.sinkhorn import sinkhorn

UNITS = [1e-12, 1e-6, 1.0, 1e6, 1e12]
FAR = [0.0, 1e7, 1e10]


def clouds(n, m, d=3, far=0.0, unit=1.0):
    """Two samples, of which the second half lies far away where ``far`` is not zero."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, d))
    y = rng.normal(0.3, 1.2, (m, d))
    x[n // 2 :] += far
    y[m // 2 :] += far
    return x * unit, y * unit


def exact_squares(x, y):
    """Squared distances of these very floats, as rational numbers."""
    rows, columns = (
        [[Fraction(float(value)) for value in point] for point in sample] for sample in (x, y)
    )
    return [[sum((u - v) ** 2 for u, v in zip(p, q, strict=True)) for q in columns] for p in rows]


def least_assignment(cost):
    """Least sum of costs of a perfect matching, by dynamic programming over sets of columns."""
    n = len(cost)
    least = {0: Fraction(0)}
    for row in cost:
        longer = {}
        for columns, value in least.items():
            for j in range(n):
                if columns >> j & 1:
                    continue
                both = columns | 1 << j
                total = value + row[j]
                if both not in longer or total < longer[both]:
                    longer[both] = total
        least = longer
    return least[2**n - 1]


@pytest.mark.parametrize("d", [3, 12])
@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("unit", UNITS)
def test_every_distance_has_eleven_digits(unit, far, d):
    x, y = clouds(6, 5, d, far, unit)
    exact = np.array(exact_squares(x, y)).astype(float)
    np.testing.assert_allclose(squared_distances(x, y), exact, rtol=2e-11)


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("unit", UNITS)
def test_equal_weights_cost_exactly_the_least_assignment(unit, far):
    x, y = clouds(9, 9, far=far, unit=unit)
    cost = exact_squares(x, y)
    equal = np.full(9, 1 / 9)
    plan = OTCoupling().plan(x, y, equal, equal, 0)
    # Nine pairs, each of a ninth: their costs are added up without rounding.
    assert sorted(plan.source) == sorted(plan.target) == list(range(9))
    np.testing.assert_allclose(plan.mass, equal, rtol=1e-12)
    total = sum(cost[i][j] for i, j in zip(plan.source, plan.target, strict=True))
    assert total == least_assignment(cost)


@pytest.mark.parametrize("far", FAR[:2])
@pytest.mark.parametrize("unit", UNITS)
def test_unequal_weights_cost_what_as_many_copies_cost(unit, far):
    x, y = clouds(5, 6, far=far, unit=unit)
    # Tenths: half of them in each of the two groups, so that nothing must cross between these.
    n_x, n_y = [3, 2, 1, 2, 2], [1, 2, 2, 1, 3, 1]
    cost = exact_squares(np.repeat(x, n_x, 0), np.repeat(y, n_y, 0))
    plan = OTCoupling().plan(x, y, np.array(n_x) / 10, np.array(n_y) / 10, 0)
    pairs = exact_squares(x, y)
    value = sum(
        Fraction(float(mass)) * pairs[i][j]
        for i, j, mass in zip(plan.source, plan.target, plan.mass, strict=True)
    )
    assert float(value) == pytest.approx(float(least_assignment(cost) / 10), rel=1e-9)


def fifty_digits(problem, epsilon, penalty=None):
    """Entropic plan by Sinkhorn's iteration in fifty digits, with mass that may change."""
    cost, a, b = problem
    with mpmath.workdps(50):
        eps = mpmath.mpf(epsilon)
        power = mpmath.mpf(1)
        if penalty is not None:
            power = mpmath.mpf(penalty) / (mpmath.mpf(penalty) + eps)
        n, m = cost.shape
        kernel = [
            [a[i] * b[j] * mpmath.exp(-mpmath.mpf(cost[i, j]) / eps) for j in range(m)]
            for i in range(n)
        ]
        u, v = [mpmath.mpf(1)] * n, [mpmath.mpf(1)] * m
        for _ in range(400):
            u = [
                (a[i] / mpmath.fsum(kernel[i][j] * v[j] for j in range(m))) ** power
                for i in range(n)
            ]
            v = [
                (b[j] / mpmath.fsum(kernel[i][j] * u[i] for i in range(n))) ** power
                for j in range(m)
            ]
        return np.array([[float(u[i] * kernel[i][j] * v[j]) for j in range(m)] for i in range(n)])


@pytest.mark.parametrize("far", [0.0, 100.0])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("penalty", [None, 2.0])
def test_entropic_plans_have_the_entries_of_fifty_digits(penalty, unit, far):
    x, y = clouds(4, 5, far=far, unit=unit)
    a, b = np.arange(1.0, 5) / 10, np.full(5, 0.2)
    if penalty is None and far:
        # As much in either group as in its partner: what must cross would be no plan of floats.
        a, b = np.full(4, 0.25), np.array([0.3, 0.2, 0.2, 0.2, 0.1])
    problem = TransportProblem(squared_distances(x, y), a, b)
    epsilon = 0.7 * unit**2
    rho = None if penalty is None else penalty * unit**2
    solution = sinkhorn(problem, epsilon, rho or np.inf, tolerance=1e-13)
    plan = np.exp(solution.log_plan)
    np.testing.assert_allclose(plan, fifty_digits(problem, epsilon, rho), rtol=1e-9, atol=1e-300)


def star_value(centre, points, weights, mass, penalty):
    """HK² between one point of some mass and points around it, in fifty digits.

    With ``p`` the mass of the plan, ``c_j + log(p/a) + log(π_j/b_j) = 0`` for every partner, so
    that ``p² = a Σ b_j cos² θ_j``.
    """
    with mpmath.workdps(50):
        total = mpmath.mpf(0)
        for (square,), weight in zip(exact_squares(points, centre), weights, strict=True):
            length = mpmath.sqrt(mpmath.mpf(square.numerator) / square.denominator)
            theta = mpmath.sqrt(mpmath.mpf(penalty)) * length / 2
            if theta < mpmath.pi / 2:
                total += mpmath.mpf(weight) * mpmath.cos(theta) ** 2
        plan_mass = mpmath.sqrt(mpmath.mpf(mass) * total)
        return mass + mpmath.fsum(weights) - 2 * plan_mass


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("unit", UNITS)
def test_the_cone_value_of_stars_has_the_closed_form(unit, far):
    penalty = 0.8 / unit**2
    x, y = np.zeros((1, 2)), np.array([[0.3, 0.0], [1.1, 0.0], [2.0, 0.0]])
    a, b = np.ones(1), np.array([2, 1, 3]) / 6
    if far:
        # The same star once more, out of reach, with the masses in other proportions.
        x, y = np.concatenate([x, x + far]), np.concatenate([y, y + far])
        a, b = np.array([0.6, 0.4]), np.concatenate([0.3 * b, 0.7 * b])
    x, y = x * unit, y * unit
    exact = 0
    for k in range(len(x)):
        star = slice(3 * k, 3 * k + 3)
        exact += star_value(x[k : k + 1], y[star], b[star], a[k], penalty)
    value = ConeCoupling(growth_penalty=penalty).value(x, y, a, b)
    assert value == pytest.approx(float(exact), rel=3e-3)
    assert value >= float(exact) * (1 - 1e-9)


@pytest.mark.parametrize("unit", UNITS)
def test_the_sparse_plan_of_two_and_two_is_the_rational_one(unit):
    x, y = np.array([[0.0], [1.0]]) * unit, np.array([[0.25], [1.5]]) * unit
    half = np.full(2, 0.5)
    plan = SparseOTCoupling(regularization=8.0).plan(x, y, half, half, 0)
    cost = exact_squares(x, y)
    mean = sum(map(sum, cost)) / 4
    gain = (cost[0][0] + cost[1][1] - cost[0][1] - cost[1][0]) / mean
    # p of each straight pair and ½ − p of each crossed one cost least where D + γ (4p − 1) = 0.
    straight = Fraction(1, 4) - gain / 32
    dense = np.zeros((2, 2))
    dense[plan.source, plan.target] = plan.mass
    # The costs are shifted by up to 1e-4 of their mean, so that equal samples differ.
    assert dense[0, 0] == pytest.approx(float(straight), abs=1e-4)
    assert dense[0, 1] == pytest.approx(float(Fraction(1, 2) - straight), abs=1e-4)
