"""Sinkhorn's iteration and entropic pairs against POT and the Gaussian Schrödinger bridge."""

import numpy as np
import ot
import pytest
import torch

from dyninfer.transport.couplings import (
    EntropicOTCoupling,
    TransportProblem,
    UnbalancedOTCoupling,
)
from dyninfer.transport.couplings.sinkhorn import LogSums, sinkhorn


def problem(n=120, m=150, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 2)), 0.7 * rng.normal(1, 1, (m, 2))
    a, b = rng.random(n) + 0.1, rng.random(m) + 0.1
    return x, y, a / a.sum(), b / b.sum(), ot.dist(x, y)


@pytest.mark.parametrize("eps", [0.05, 1.0])
def test_the_balanced_plan_is_that_of_pot(eps):
    *_, a, b, cost = problem()
    reference = ot.sinkhorn(
        a, b, cost, eps, method="sinkhorn_log", numItermax=50_000, stopThr=1e-12
    )
    solution = sinkhorn(TransportProblem(cost, a, b), eps, tolerance=1e-9, max_steps=50_000)
    plan = np.exp(solution.log_plan)
    assert solution.converged
    assert abs(solution.dual_gap) < 1e-8
    np.testing.assert_allclose(plan, reference, atol=1e-9, rtol=1e-5)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 100.0])
def test_the_unbalanced_plan_is_that_of_pot(penalty):
    *_, a, b, cost = problem()
    reference = ot.unbalanced.sinkhorn_unbalanced(
        a,
        b,
        cost,
        0.1,
        penalty,
        method="sinkhorn_translation_invariant",
        numItermax=20_000,
        stopThr=1e-13,
    )
    solution = sinkhorn(TransportProblem(cost, a, b), 0.1, penalty, tolerance=1e-9)
    plan = np.exp(solution.log_plan)
    assert solution.converged
    # Two values that are equal at the optimum alone, and the primal one is never the lesser.
    assert 0 <= solution.dual_gap + 1e-10 < 1e-7
    np.testing.assert_allclose(plan, reference, atol=1e-7, rtol=1e-3)


def test_log_sums_by_the_kept_kernel_are_the_true_ones():
    g = torch.Generator().manual_seed(0)
    cost = 1e4 * torch.rand(30, 40, generator=g, dtype=torch.float64)
    log_w, p = torch.randn(2, 40, generator=g, dtype=torch.float64)
    sums = LogSums(cost, log_w)
    for move in (0.0, 1.0, 15.0, 300.0, 310.0):
        moved = p + move * torch.rand(40, generator=g, dtype=torch.float64)
        torch.testing.assert_close(
            sums(moved, 2.0), torch.logsumexp(log_w + (moved - cost) / 2.0, 1)
        )


@pytest.mark.parametrize("sigma", [0.3, 0.8])
def test_pairs_of_gaussians_are_the_ends_of_their_schrodinger_bridge(sigma):
    # Between N(0, 1) and N(0, s²) the ends of the bridge have covariance (√(4 s² + σ⁴) − σ²) / 2.
    s, n = 0.6, 1000
    x, y = (np.linspace(0, 1, n + 2)[1:-1] for _ in range(2))
    x, y = (np.sqrt(2) * torch.erfinv(torch.as_tensor(2 * u - 1)).numpy()[:, None] for u in (x, y))
    x, y = x / x.std(), s * y / y.std()
    w = np.full(n, 1 / n)
    plan = EntropicOTCoupling(sigma=sigma / 2, duration=4.0).plan(x, y, w, w, 0)
    found = np.sum(plan.mass * x[plan.source, 0] * y[plan.target, 0])
    assert found == pytest.approx((np.sqrt(4 * s**2 + sigma**4) - sigma**2) / 2, rel=0.02)


def test_drawn_pairs_have_the_cost_and_the_partners_of_the_plan():
    x, y, a, b, cost = problem()
    coupling = EntropicOTCoupling(regularization=0.05)
    reference = ot.sinkhorn(
        a, b, cost, 0.05 * (a @ cost @ b), method="sinkhorn_log", numItermax=10_000
    )
    coupling.draws = 400
    plan = coupling.plan(x, y, a, b, 0)
    drawn = np.zeros_like(reference)
    np.add.at(drawn, (plan.source, plan.target), plan.mass)
    assert (drawn * cost).sum() == pytest.approx((reference * cost).sum(), rel=5e-3)
    np.testing.assert_allclose(drawn.sum(1), a, rtol=1e-3)
    np.testing.assert_allclose(drawn.sum(0), b, rtol=1e-3)
    assert np.abs(drawn - reference).sum() < 0.1


def test_the_regularization_is_relative_to_the_mean_squared_distance():
    x, y, a, b, _ = problem(60, 60)
    first, other = (EntropicOTCoupling().plan(c * x, c * y, a, b, 0) for c in (1.0, 1024.0))
    np.testing.assert_array_equal(first.source, other.source)


def test_an_iteration_that_does_not_converge_says_so():
    *_, a, b, cost = problem()
    with pytest.warns(
        UserWarning, match="stopped after 2 steps with margins .* raise the regularization"
    ):
        sinkhorn(TransportProblem(cost, a, b), 1e-3, max_steps=2).warn_unless_converged()


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_an_entropy_below_the_rounding_of_the_cost_is_refused_in_any_unit(scale):
    x, y, a, b, _ = problem(30, 30)
    x, y = scale * x, scale * y
    refused = [
        UnbalancedOTCoupling(regularization=1e-46),
        EntropicOTCoupling(regularization=1e-15),
        EntropicOTCoupling(sigma=1e-9 * scale),
    ]
    for coupling in refused:
        with pytest.raises(ValueError, match="of the mean cost, .* or use a coupling without ent"):
            coupling.plan(x, y, a, b, 0)
    # A group a million spreads away is no reason to refuse the noise of the others.
    x[0] += 1e6 * scale
    plan = EntropicOTCoupling(sigma=0.5 * scale).plan(x, y, a, b, 0)
    np.testing.assert_allclose(np.bincount(plan.source, plan.mass, 30), a, rtol=1e-6)


@pytest.mark.parametrize("kind", [EntropicOTCoupling, UnbalancedOTCoupling])
def test_far_outliers_leave_the_plan_finite(kind):
    x, y, a, b, _ = problem(100, 100)
    x[0] += 1e5
    plan = kind().plan(x, y, a, b, 0)
    found = np.bincount(plan.source, plan.mass * np.exp(plan.log_source), 100)
    np.testing.assert_allclose(found, a, rtol=0.05)
