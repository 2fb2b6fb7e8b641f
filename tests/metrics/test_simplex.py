"""Plans of optimal transport: their ends, their cost, and the bound that shows it is the least."""

import numpy as np
import pytest
from scipy.optimize import linprog

from dyninfer.metrics.simplex import best_plan


def least_cost(cost, a, b):
    """By linear programming: rows and columns of the plan sum to the weights."""
    n, m = cost.shape
    of_rows = np.kron(np.eye(n), np.ones(m))
    of_columns = np.kron(np.ones(n), np.eye(m))
    ends = np.concatenate([a, b])
    found = linprog(cost.ravel(), A_eq=np.vstack([of_rows, of_columns]), b_eq=ends)
    return found.fun


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize(("n", "m"), [(6, 6), (6, 9), (1, 5)])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_plan_joins_its_ends_at_the_least_cost_and_its_bound_shows_it(n, m, is_weighted, unit):
    rng = np.random.default_rng(n + m)
    x = rng.normal(size=(n, 2))
    y = rng.normal(size=(m, 2))
    cost = np.linalg.norm(x[:, None] - y, axis=2)
    a = rng.uniform(0.1, 1, n) if is_weighted else np.ones(n)
    b = rng.uniform(0.1, 1, m) if is_weighted else np.ones(m)
    a, b = a / a.sum(), b / b.sum()
    plan = best_plan(unit * cost, a, b)
    np.testing.assert_allclose(np.bincount(plan.rows, plan.mass, n), a, rtol=1e-12)
    np.testing.assert_allclose(np.bincount(plan.columns, plan.mass, m), b, rtol=1e-12)
    assert len(plan.mass) <= n + m - 1
    expected = unit * least_cost(cost, a, b)
    assert plan.cost == pytest.approx(expected, rel=1e-9)
    # Duality: both are the least cost, up to rounding.
    assert plan.lower == pytest.approx(plan.cost, rel=1e-12)
    assert plan.rounding < 1e-12 * unit * cost.max() * (n + m)


def test_mass_that_rounding_left_behind_is_no_flow():
    # Weights over ten decades: the smallest still has its flow.
    a = 10.0 ** -np.arange(10)
    a /= a.sum()
    b = a[::-1].copy()
    x = np.arange(10.0)
    cost = np.abs(x[:, None] - x)
    plan = best_plan(cost, a, b)
    np.testing.assert_allclose(np.bincount(plan.rows, plan.mass, 10), a, rtol=1e-9)
    np.testing.assert_allclose(np.bincount(plan.columns, plan.mass, 10), b, rtol=1e-9)
    # On a line, the cost is the area between the distribution functions.
    assert plan.cost == pytest.approx(np.abs(np.cumsum(a - b)).sum(), rel=1e-12)
    assert len(plan.mass) <= 19


@pytest.mark.parametrize("far", [1e6, 1e9, 1e12])
def test_pairs_near_each_other_are_joined_beside_a_group_far_away(far):
    # Squares of the near ones are rounding beside those to the far one.
    near = np.random.default_rng(0).normal(size=8)
    shifted = np.random.default_rng(1).permutation(near + 0.01)
    x = np.append(near, far)
    y = np.append(shifted, far)
    cost = (x[:, None] - y) ** 2
    plan = best_plan(cost, np.full(9, 1 / 9), np.full(9, 1 / 9))
    of_near = plan.rows < 8
    assert (plan.columns[of_near] < 8).all()
    moved = y[plan.columns[of_near]] - x[plan.rows[of_near]]
    assert plan.mass[of_near] @ moved**2 <= 8 / 9 * 0.01**2 * (1 + 1e-6)
