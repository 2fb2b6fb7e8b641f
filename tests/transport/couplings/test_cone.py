"""The Hellinger-Kantorovich problem against closed forms and POT."""

import numpy as np
import ot
import pytest

from dyninfer.transport.couplings import ConeCoupling, TransportProblem
from dyninfer.transport.couplings.cone import cone_cost
from dyninfer.transport.couplings.cone_value import lower_bound
from dyninfer.transport.couplings.problem import squared_distances


def uniform(n):
    return np.full(n, 1 / n)


def clouds(n=100, m=80, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)), 0.7 * rng.normal(size=(m, 2)) + 1


def carried(plan):
    return plan.mass * np.exp(plan.log_source), plan.mass * np.exp(plan.log_target)


@pytest.mark.parametrize(("m0", "m1"), [(1.0, 1.0), (1.0, 3.0), (2.5, 0.4)])
@pytest.mark.parametrize("distance", [0.0, 0.5, 1.5, 3.0, 40.0])
@pytest.mark.parametrize("penalty", [0.3, 1.0])
def test_two_points_have_the_closed_form(m0, m1, distance, penalty):
    x, y = np.zeros((1, 3)), np.array([[distance, 0.0, 0.0]])
    theta = min(np.sqrt(penalty) * distance / 2, np.pi / 2)
    found = ConeCoupling(growth_penalty=penalty).value(x, y, masses=(m0, m1))
    assert found == pytest.approx(m0 + m1 - 2 * np.sqrt(m0 * m1) * np.cos(theta), abs=1e-12)


@pytest.mark.parametrize("penalty", [0.05, 1.0, 10.0])
def test_the_value_is_that_of_pot(penalty):
    x, y = clouds(40, 30)
    a, b = (w / w.sum() for w in (np.linspace(1, 2, 40), np.linspace(3, 1, 30)))
    cost = cone_cost(squared_distances(x, y), penalty)
    reference, log = ot.unbalanced.mm_unbalanced(
        a, b, np.minimum(cost, 1e3), 1.0, numItermax=20_000, stopThr=1e-15, log=True
    )
    found = ConeCoupling(growth_penalty=penalty).value(x, y, a, b)
    assert found == pytest.approx(
        2 - 2 * reference.sum(), rel=3e-3
    )  # at the optimum the value is m₀ + m₁ − 2 |π|


def test_masses_of_the_samples_only_scale_the_problem():
    x, y = clouds(40, 30)
    m0, m1 = 0.5, 3.0
    cost = np.minimum(cone_cost(squared_distances(x, y), 1.0), 1e3)
    reference = ot.unbalanced.mm_unbalanced(
        m0 * uniform(40), m1 * uniform(30), cost, 1.0, numItermax=20_000, stopThr=1e-15
    )
    found = ConeCoupling().value(x, y, masses=(m0, m1))
    assert found == pytest.approx(m0 + m1 - 2 * reference.sum(), rel=3e-3)


def test_the_value_approaches_optimal_transport_as_growth_becomes_dear():
    x, y = clouds(50, 50)
    penalty = 1e-4
    found = ConeCoupling(growth_penalty=penalty).value(x, y) / penalty * 4
    assert found == pytest.approx(ot.emd2([], [], ot.dist(x, y)), rel=0.01)


def test_far_clusters_have_the_value_of_fisher_and_rao():
    # Mass is exchanged between two far places: HK² = Σ (√p − √q)².
    p, q = np.array([0.2, 0.8]), np.array([0.8, 0.2])
    x = np.array([[0.0], [100.0]])
    expected = np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)
    assert ConeCoupling().value(x, x, p, q) == pytest.approx(expected, abs=1e-12)
    # The mass-constrained action of the method's closed form, (2/λ)(f₁ − f₀)² with f = arcsin √p.
    sphere = 2 * np.arccos(1 - expected / 2) ** 2
    assert sphere == pytest.approx(0.82819, abs=1e-4)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 30.0])
def test_pairs_change_mass_along_the_optimal_plan(penalty):
    # Where π > 0, (dμ/dπ₁)(dν/dπ₂) = 1 / cos² θ: the geometric mean of a pair's two ends, times cos θ, is π.
    x, y = clouds()
    cost = cone_cost(squared_distances(x, y), penalty)
    reference = ot.unbalanced.mm_unbalanced(
        uniform(100), uniform(80), np.minimum(cost, 1e3), 1.0, numItermax=20_000, stopThr=1e-15
    )
    coupling = ConeCoupling(growth_penalty=penalty, regularization=1e-3)
    coupling.draws = 200
    plan = coupling.plan(x, y, uniform(100), uniform(80), 0)
    start, end = carried(plan)
    pi = np.sqrt(start * end) * np.exp(-0.5 * cost[plan.source, plan.target])
    assert pi.sum() == pytest.approx(reference.sum(), rel=0.02)
    by_row = np.bincount(plan.source, pi, 100)
    assert np.abs(by_row - reference.sum(1)).sum() < 0.05 * reference.sum()
    np.testing.assert_allclose(np.bincount(plan.source, start, 100), 0.01, rtol=1e-9)
    np.testing.assert_allclose(np.bincount(plan.target, end, 80), 1 / 80, rtol=1e-9)


def test_what_nothing_can_reach_is_destroyed_and_created_in_place():
    x, y = clouds(40, 40)
    x[:10] += 100
    y[:20] -= 100
    plan = ConeCoupling(growth_penalty=0.1).plan(x, y, uniform(40), uniform(40), 0)
    start, end = carried(plan)
    assert set(plan.source[plan.destroyed]) == set(range(10))
    assert set(plan.target[plan.created]) == set(range(20))
    assert start[plan.destroyed].sum() == pytest.approx(0.25, rel=1e-9)
    assert end[plan.created].sum() == pytest.approx(0.5, rel=1e-9)
    assert end[plan.destroyed].sum() < 1e-20
    assert start[plan.created].sum() < 1e-20
    assert np.isfinite([plan.log_source, plan.log_target]).all()
    # The stand-in of what vanishes is its nearest sample.
    nearest = squared_distances(x, y).argmin(1)
    np.testing.assert_array_equal(plan.target[plan.destroyed], nearest[plan.source[plan.destroyed]])


def test_samples_wholly_out_of_reach_exchange_nothing():
    x, y = clouds(10, 12)
    plan = ConeCoupling().plan(x, y + 1000, uniform(10), uniform(12), 0)
    assert (plan.destroyed ^ plan.created).all()
    start, end = carried(plan)
    np.testing.assert_allclose(np.bincount(plan.source, start, 10), 1 / 10)
    np.testing.assert_allclose(np.bincount(plan.target, end, 12), 1 / 12)
    assert ConeCoupling().value(x, y + 1000, masses=(2.0, 3.0)) == pytest.approx(5.0)


def test_no_pair_carries_more_than_a_few_pairs_weight():
    x, y = clouds()
    plan = ConeCoupling(growth_penalty=3.0).plan(x, y, uniform(100), uniform(80), 0)
    assert np.exp(np.maximum(plan.log_source, plan.log_target)).max() < 3


def test_noise_gives_the_absolute_entropic_problem():
    # ε = σ²λT/2 beside Kullback-Leibler terms of weight one: POT's unbalanced Sinkhorn.
    x, y = clouds(50, 40)
    penalty, sigma, duration = 0.2, 0.7, 3.0
    cost = cone_cost(squared_distances(x, y), penalty)
    assert np.isfinite(cost).all()
    reference = ot.unbalanced.sinkhorn_unbalanced(
        uniform(50),
        uniform(40),
        cost,
        sigma**2 * penalty * duration / 2,
        1.0,
        numItermax=50_000,
        stopThr=1e-13,
    )
    coupling = ConeCoupling(growth_penalty=penalty, sigma=sigma, duration=duration)
    coupling.draws = 400
    plan = coupling.plan(x, y, uniform(50), uniform(40), 0)
    gained = np.log(reference.sum(1) / reference.sum(0)[:, None] * 50 / 40)[
        plan.target, plan.source
    ]
    np.testing.assert_allclose(plan.log_target - plan.log_source, gained, atol=0.2)


def test_noise_and_dear_growth_give_the_schrodinger_bridge():
    x, y = clouds(50, 40)
    sigma = 0.7
    reference = ot.sinkhorn(
        uniform(50), uniform(40), ot.dist(x, y), 2 * sigma**2, numItermax=10_000
    )
    coupling = ConeCoupling(growth_penalty=1e-4, sigma=sigma)
    coupling.draws = 400
    plan = coupling.plan(x, y, uniform(50), uniform(40), 0)
    drawn = np.zeros((50, 40))
    np.add.at(drawn, (plan.source, plan.target), plan.mass)
    assert np.abs(drawn - reference).sum() < 0.1
    assert np.abs(plan.log_target - plan.log_source).max() < 0.1


def test_a_plan_far_from_the_best_tells_its_dual_gap(recwarn):
    x, y = clouds()
    coupling = ConeCoupling()
    coupling.plan(x, y, uniform(100), uniform(80), 0)
    assert not recwarn.list
    coarse = ConeCoupling(regularization=10.0)
    coarse.polish = 1
    with pytest.warns(UserWarning, match="cone was not solved.*dual gap is"):
        coarse.plan(x, y, uniform(100), uniform(80), 0)


@pytest.mark.parametrize("penalty", [1e-4, 0.05, 1.0, 30.0])
def test_potentials_bound_the_value_from_below(penalty):
    x, y = clouds(40, 30)
    cost = cone_cost(squared_distances(x, y), penalty)
    problem = TransportProblem(cost, uniform(40), uniform(30))
    value = ConeCoupling(growth_penalty=penalty).value(x, y)
    rng = np.random.default_rng(0)
    for size in (0.0, 0.1, 10.0):
        potential = size * rng.normal(size=40)
        assert lower_bound(problem, potential) <= value * (1 + 1e-9)
