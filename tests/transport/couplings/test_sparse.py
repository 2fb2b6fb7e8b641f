"""Sparse transport: few partners, nearly the least cost, both samples reproduced."""

import numpy as np
import ot
import pytest

from dyninfer.transport.couplings import SparseOTCoupling


def problem(n, m, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), rng.normal(0.7, 1, (m, 3)), np.full(n, 1 / n), np.full(m, 1 / m)


@pytest.mark.parametrize(("n", "m"), [(120, 120), (80, 130), (130, 80)])
@pytest.mark.parametrize("max_nz", [2, 4])
def test_nobody_of_the_larger_side_has_more_partners_than_allowed(n, m, max_nz):
    x, y, a, b = problem(n, m)
    plan = SparseOTCoupling(max_nz=max_nz, regularization=3.0).plan(x, y, a, b, 0)
    side = plan.target if m >= n else plan.source
    counts = np.bincount(side, minlength=max(n, m))
    assert counts.min() >= 1
    assert counts.max() == max_nz
    for rows, wanted in ((plan.source, a), (plan.target, b)):
        assert 0.5 * np.abs(np.bincount(rows, plan.mass, len(wanted)) - wanted).sum() < 0.02


def test_the_cost_is_close_to_the_least():
    x, y, a, b = problem(150, 150)
    cost = ot.dist(x, y)
    plan = SparseOTCoupling().plan(x, y, a, b, 0)
    least = ot.emd2(a, b, cost)
    assert least * 0.999 <= np.sum(plan.mass * cost[plan.source, plan.target]) <= 1.05 * least


def test_too_few_partners_are_an_error_with_the_missing_mass():
    x, y = np.zeros((30, 2)), np.ones((31, 2))
    x[0], a = 5.0, np.array([0.5] + [0.5 / 29] * 29)
    with pytest.raises(
        ValueError, match=r"with max_nz=1 .* pairs miss .*% of the mass; raise max_nz"
    ):
        SparseOTCoupling(max_nz=1).plan(x, y, a, np.array([0.9] + [0.1 / 30] * 30), 0)


def test_a_solver_that_ran_out_of_steps_is_not_put_down_to_the_bound(monkeypatch):
    monkeypatch.setattr(SparseOTCoupling, "solver_steps", 2)
    remedy = "its solver ran out of 2 steps: raise the regularization, or lower batch_size"
    with pytest.raises(ValueError, match=f"pairs miss .*% of the mass; {remedy}"):
        SparseOTCoupling(max_nz=2, regularization=0.01).plan(*problem(40, 40), 0)


def test_a_bound_below_one_is_named():
    with pytest.raises(ValueError, match=r"SparseOTCoupling.max_nz must be positive"):
        SparseOTCoupling(max_nz=0).plan(*problem(5, 5), 0)


def test_a_value_that_may_be_far_above_the_least_tells_the_dual_gap():
    # Two partners at most, where the quadratic term asks for many: the bound has a true gap.
    x, y, a, b = problem(40, 40)
    with pytest.warns(UserWarning, match="sparse transport was not solved.*dual gap is"):
        SparseOTCoupling(max_nz=2, regularization=30.0).plan(x, y, a, b, 0)
