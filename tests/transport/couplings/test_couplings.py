"""Couplings against POT and known plans."""

import numpy as np
import ot
import pytest
from scipy.stats import chisquare

from dyninfer.transport.couplings import (
    COUPLINGS,
    ConeCoupling,
    IndependentCoupling,
    OTCoupling,
    UnbalancedOTCoupling,
    as_coupling,
    sample_chains,
    sample_weighted_chains,
)
from dyninfer.transport.couplings.blocks import warn_if_small
from dyninfer.transport.couplings.plan import balanced

each_coupling = pytest.mark.parametrize("name", list(COUPLINGS))


def cloud(n, d=2, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(shift, 1, (n, d)).astype(np.float32)


def weights(n, seed=None):
    w = np.ones(n) if seed is None else np.random.default_rng(seed).random(n) + 0.05
    return w / w.sum()


def marginals(plan, n, m):
    """What the weighted pairs reproduce of either sample."""
    return (
        np.bincount(plan.source, plan.mass * np.exp(plan.log_source), n),
        np.bincount(plan.target, plan.mass * np.exp(plan.log_target), m),
    )


def cost(plan, x, y):
    return np.sum(plan.mass * ((x[plan.source].astype(float) - y[plan.target]) ** 2).sum(1))


# --- all couplings ---


@each_coupling
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (5, 1), (40, 25), (25, 40)])
def test_weighted_pairs_reproduce_both_samples(name, n, m):
    a, b = weights(n), weights(m)
    plan = as_coupling(name).plan(cloud(n), cloud(m, shift=1, seed=1), a, b, seed=0)
    assert plan.mass.sum() == pytest.approx(1)
    # Independent pairs hold every sample within one draw of its share; those drawn from a dense
    # plan, and the few of a sparse one, nearly; others exactly.
    slack = {"independent": 1 / max(n, m), "entropic": 1e-4, "sparse": 1e-4}.get(name, 1e-9)
    for got, wanted in zip(marginals(plan, n, m), (a, b), strict=True):
        np.testing.assert_allclose(got, wanted, atol=slack)


@each_coupling
def test_duplicate_points_are_no_trouble(name):
    x = np.repeat(cloud(5), 6, axis=0)
    plan = as_coupling(name).plan(x, x, weights(30), weights(30), seed=0)
    for got in marginals(plan, 30, 30):
        assert np.abs(got - 1 / 30).sum() < 0.05
    same = np.zeros((4, 2))
    assert as_coupling(name).plan(
        same, same, weights(4), weights(4), 0
    ).mass.sum() == pytest.approx(1)


@each_coupling
def test_samples_of_no_weight_are_in_no_pair(name):
    a = np.array([0, 0.5, 0, 0.5, 0])
    b = np.array([0.25, 0.75, 0])
    plan = as_coupling(name).plan(cloud(5), cloud(3, seed=1), a, b, seed=0)
    assert set(plan.source) == {1, 3}
    assert set(plan.target) == {0, 1}


@each_coupling
def test_the_same_seed_gives_the_same_pairs(name):
    x, y = cloud(50), cloud(60, seed=1)
    first, again, other = (
        as_coupling(name).plan(x, y, weights(50), weights(60), seed) for seed in (3, 3, 4)
    )
    for u, v in zip(first, again, strict=True):
        np.testing.assert_array_equal(u, v)
    if name not in (
        "ot",
        "sparse",
        "growth_first",
    ):  # one block of these has no randomness but its order
        assert not np.array_equal(first.source, other.source)


@pytest.mark.parametrize("name", ["ot", "independent", "entropic", "sparse"])
def test_balanced_couplings_conserve_mass(name):
    plan = as_coupling(name).plan(cloud(20), cloud(30, seed=1), weights(20), weights(30), 0)
    assert not plan.log_source.any()
    assert not plan.log_target.any()


# --- optimal transport ---


@pytest.mark.parametrize(("n", "m", "seed"), [(60, 60, None), (50, 73, None), (64, 41, 5)])
def test_one_block_costs_what_pot_says_is_least(n, m, seed):
    x, y, a, b = cloud(n), cloud(m, shift=1, seed=1), weights(n, seed), weights(m, seed)
    plan = OTCoupling().plan(x, y, a, b, 0)
    least = ot.emd2(a, b, ot.dist(x.astype(float), y.astype(float)))
    assert cost(plan, x, y) == pytest.approx(least, rel=1e-6)


def test_in_one_dimension_the_ot_plan_sorts():
    x, y = np.random.default_rng(0).normal(size=(2, 30, 1))
    plan = OTCoupling().plan(x, y, weights(30), weights(30), 0)
    partner = dict(zip(plan.source.tolist(), plan.target.tolist(), strict=True))
    np.testing.assert_array_equal([partner[i] for i in np.argsort(x[:, 0])], np.argsort(y[:, 0]))


def test_far_from_the_origin_nothing_is_lost_to_rounding():
    x, y = cloud(40).astype(float), cloud(40, shift=1, seed=1).astype(float)
    near = OTCoupling().plan(x, y, weights(40), weights(40), 0)
    far = OTCoupling().plan(x + 1e4, y + 1e4, weights(40), weights(40), 0)
    assert cost(far, x, y) == pytest.approx(cost(near, x, y), rel=1e-6)


@pytest.mark.filterwarnings("ignore:batch_size=32 is small")
@pytest.mark.parametrize(
    "coupling", [OTCoupling(batch_size=32), UnbalancedOTCoupling(batch_size=32)]
)
@pytest.mark.parametrize(("n", "m", "seed"), [(200, 200, None), (300, 7, None), (130, 200, 5)])
def test_blocks_together_have_exact_marginals(coupling, n, m, seed):
    a, b = weights(n, seed), weights(m, seed)
    plan = coupling.plan(cloud(n), cloud(m, shift=1, seed=1), a, b, 0)
    for got, wanted in zip(marginals(plan, n, m), (a, b), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:batch_size=16 is small")
def test_more_blocks_cost_more_and_the_random_coupling_most():
    x, y, w = cloud(256), cloud(256, shift=1, seed=1), weights(256)
    costs = [cost(OTCoupling(batch_size=size).plan(x, y, w, w, 0), x, y) for size in (256, 64, 16)]
    costs.append(cost(IndependentCoupling(pairs_per_sample=64).plan(x, y, w, w, 0), x, y))
    assert costs == sorted(costs)
    # E|x − y|² of independent draws, from the two samples' own moments.
    expected = x.var(0).sum() + y.var(0).sum() + ((x.mean(0) - y.mean(0)) ** 2).sum()
    assert costs[-1] == pytest.approx(expected, rel=0.05)


def test_independent_pairs_are_independent():
    plan = IndependentCoupling(pairs_per_sample=400).plan(
        cloud(4), cloud(3), weights(4), weights(3), 0
    )
    table = np.zeros((4, 3))
    np.add.at(table, (plan.source, plan.target), 1)
    assert chisquare(table.ravel()).pvalue > 1e-3


# --- unbalanced transport ---


def two_clusters(n=300, left=0.5, gap=30.0, seed=0):
    """A near and a far cluster, ``left`` of the cells in the near one."""
    x = cloud(n, seed=seed) * 0.3
    far = np.arange(n) >= round(left * n)
    x[far, 0] += gap
    return x, far


def test_far_clusters_exchange_mass_instead_of_cells():
    x, far_x = two_clusters(left=0.5)
    y, far_y = two_clusters(left=0.8, seed=1)
    w = weights(300)
    plan = UnbalancedOTCoupling(mass_penalty=0.1).plan(x, y, w, w, 0)
    crossing = far_x[plan.source] != far_y[plan.target]
    assert plan.mass[crossing].sum() < 1e-3
    gained = np.exp(plan.log_target - plan.log_source)
    # The near cluster grows from 0.5 to 0.8 of the mass, the far one shrinks from 0.5 to 0.2.
    for far, factor in ((False, 0.8 / 0.5), (True, 0.2 / 0.5)):
        inside = far_x[plan.source] == far
        start, end = (
            np.sum((plan.mass * np.exp(v))[inside]) for v in (plan.log_source, plan.log_target)
        )
        assert end / start == pytest.approx(factor, rel=1e-3)
        assert np.median(gained[inside]) == pytest.approx(factor, rel=0.1)
    balanced = OTCoupling().plan(x, y, w, w, 0)
    assert balanced.mass[far_x[balanced.source] != far_y[balanced.target]].sum() == pytest.approx(
        0.3, abs=1e-6
    )


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_the_plan_is_that_of_pot(penalty):
    x, y, a, b = cloud(120), 0.7 * cloud(150, shift=1, seed=1), weights(120, 3), weights(150, 4)
    m = ot.dist(x.astype(float), y.astype(float))
    reference = ot.unbalanced.sinkhorn_unbalanced(
        a, b, m / (a @ m @ b), 0.05, penalty, numItermax=50_000, stopThr=1e-12
    )
    plan = UnbalancedOTCoupling(mass_penalty=penalty, regularization=0.05)
    plan.draws = 400
    plan = plan.plan(x, y, a, b, 0)
    # Along a pair the weight changes by (b / column sum) / (a / row sum) of POT's plan.
    rows, columns = reference.sum(1), reference.sum(0)
    born = np.log(b / columns)[plan.target] - np.log(a / rows)[plan.source]
    np.testing.assert_allclose(plan.log_target - plan.log_source, born, atol=0.15)
    # And the geometric mean of the two weights times the mass is proportional to the plan itself.
    share = plan.mass * np.exp(plan.log_source) * (rows / a)[plan.source]
    drawn = np.zeros_like(reference)
    np.add.at(drawn, (plan.source, plan.target), share)
    near = (x[:, :1] > 0) & (y[:, :1].T > 0.7)
    assert drawn[near].sum() / drawn.sum() == pytest.approx(
        reference[near].sum() / reference.sum(), rel=0.01
    )
    assert (drawn * m).sum() / drawn.sum() == pytest.approx(
        (reference * m).sum() / reference.sum(), rel=0.01
    )


def test_a_large_mass_penalty_approaches_conservation_of_mass():
    x, y, w = cloud(100), cloud(100, shift=1, seed=1), weights(100)
    spread = [
        np.abs(p.log_target - p.log_source).mean()
        for p in (
            UnbalancedOTCoupling(mass_penalty=v).plan(x, y, w, w, 0) for v in (0.1, 1.0, 1000.0)
        )
    ]
    assert spread[0] > spread[1] > spread[2]
    close = UnbalancedOTCoupling(mass_penalty=1000.0, regularization=0.002).plan(x, y, w, w, 0)
    least = ot.emd2(w, w, ot.dist(x.astype(float), y.astype(float)))
    assert cost(close, x, y) == pytest.approx(least, rel=0.05)


@pytest.mark.parametrize(("gap", "share"), [(20.0, 0.1), (100.0, 0.01), (1e4, 0.01)])
@pytest.mark.parametrize("penalty", [0.05, 1.0, 100.0])
def test_outliers_keep_their_mass_at_the_start(gap, share, penalty):
    x, far = two_clusters(left=1 - share, gap=gap)
    w = weights(300)
    plan = UnbalancedOTCoupling(mass_penalty=penalty).plan(x, cloud(300, seed=1), w, w, 0)
    start, end = marginals(plan, 300, 300)
    assert start[far].sum() == pytest.approx(share, rel=1e-6)
    np.testing.assert_allclose(end, w, rtol=1e-6)
    assert np.exp(plan.log_source).max() < 4  # no pair carries more than a few pairs' weight
    assert np.exp(plan.log_target).max() < 4


def test_a_change_of_units_leaves_the_unbalanced_plan_as_it_was():
    x, y, w = cloud(50), cloud(50, shift=1, seed=1), weights(50)
    first, other = (UnbalancedOTCoupling().plan(c * x, c * y, w, w, 0) for c in (1.0, 1024.0))
    np.testing.assert_array_equal(first.source, other.source)
    np.testing.assert_allclose(first.log_target, other.log_target, atol=1e-6)


# --- blocks that are too small ---


def test_small_blocks_are_warned_of_with_what_larger_ones_would_give():
    x, y, w = cloud(2000, d=5), cloud(2000, d=5, shift=0.3, seed=1), weights(2000)
    with pytest.warns(UserWarning, match="batch_size=32 is small for these 2000 samples") as said:
        OTCoupling(batch_size=32).plan(x, y, w, w, 0)
    text = str(said[0].message)
    small, large, random = (
        float(text.split(before)[1].split()[0].strip(",;"))
        for before in ("distance of ", "blocks of 32, of ", "1024, and of ")
    )
    part = [slice(k * 32, k * 32 + 32) for k in range(20)]
    again = np.mean(
        [ot.emd2([], [], ot.dist(x[p].astype(float), y[p].astype(float))) for p in part]
    )
    assert small == pytest.approx(again, rel=0.1)
    assert large == pytest.approx(
        ot.emd2([], [], ot.dist(x[:1024].astype(float), y[:1024].astype(float))), rel=0.1
    )
    assert random == pytest.approx(10 + 5 * 0.3**2, rel=0.1)


@pytest.mark.parametrize("d", [2, 10, 50])
def test_the_default_size_serves_ordinary_data(d, recwarn):
    x, y = cloud(3000, d=d), cloud(3000, d=d, shift=0.3, seed=1)
    found = warn_if_small(x, y, weights(3000), weights(3000), OTCoupling().batch_size, 0)
    assert not recwarn.list
    assert found[0] > found[1]


def test_data_of_many_small_clusters_are_too_much_for_the_default_size():
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(3000, 20))
    x, y = (
        centres[rng.integers(3000, size=6000)] + 0.1 * rng.normal(size=(6000, 20)) for _ in "xy"
    )
    with pytest.warns(
        UserWarning, match="batch_size=2048 is small .* raise batch_size to 6000 or more"
    ):
        warn_if_small(x, y, weights(6000), weights(6000), 2048, 0)


@pytest.mark.filterwarnings("ignore:batch_size=")
@pytest.mark.parametrize("n", [2, 3])
def test_blocks_of_one_pair_two_or_three_samples(n):
    x, y = cloud(n), cloud(n, seed=1)
    plan = OTCoupling(batch_size=1).plan(x, y, weights(n), weights(n), 0)
    first, second = marginals(plan, n, n)
    np.testing.assert_allclose(first, weights(n))
    np.testing.assert_allclose(second, weights(n))


# --- chains ---


def test_every_column_of_the_chains_has_its_marginal_and_every_step_lies_in_the_plan():
    sizes = [30, 45, 20]
    samples = [cloud(n, shift=k, seed=k) for k, n in enumerate(sizes)]
    w = [weights(n, 7) for n in sizes]
    plans = [OTCoupling().plan(samples[k], samples[k + 1], w[k], w[k + 1], 0) for k in (0, 1)]
    n = 40_000
    chains = sample_chains(plans, sizes, n, seed=0)
    assert chains.shape == (n, 3)
    for k in range(3):
        counts = np.bincount(chains[:, k], minlength=sizes[k])
        assert np.abs(counts / n - w[k]).max() < 4 * np.sqrt(w[k].max() / n)
    for k, plan in enumerate(plans):
        pairs = set(zip(plan.source.tolist(), plan.target.tolist(), strict=True))
        assert set(map(tuple, chains[:, k : k + 2].tolist())) <= pairs


def test_a_step_of_a_chain_depends_on_the_last_step_alone():
    sizes = [2, 2, 2]
    half = [balanced(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.ones(4)) for _ in range(2)]
    chains = sample_chains(half, sizes, 20_000, seed=1)
    counts = np.bincount(chains @ [4, 2, 1], minlength=8)
    assert chisquare(counts).pvalue > 1e-3


def test_weighted_chains_reproduce_every_sample_though_plans_change_mass():
    sizes = [40, 50, 30]
    samples = [cloud(n, shift=0.7 * k, seed=k) for k, n in enumerate(sizes)]
    w = [weights(n, 7) for n in sizes]
    plans = [
        UnbalancedOTCoupling(mass_penalty=0.3).plan(samples[k], samples[k + 1], w[k], w[k + 1], 0)
        for k in (0, 1)
    ]
    n = 40_000
    chains = sample_weighted_chains(plans, sizes, n, seed=0)
    carried = np.exp(chains.log_weights)
    assert carried[:, 2].std() > 0.1  # or the test shows nothing
    for k in range(3):
        found = np.bincount(chains.rows[:, k], carried[:, k] / n, sizes[k])
        assert np.abs(found - w[k]).max() < 5 * np.sqrt(
            w[k].max() * np.mean(carried[:, k] ** 2) / n
        )


def test_chains_refuse_mass_that_is_created_in_place():
    x, far = cloud(20), cloud(20) + 100
    plans = [ConeCoupling().plan(x, np.concatenate([x, far]), weights(20), weights(40), 0)]
    with pytest.raises(ValueError, match=r"50\.0% of the mass of sample 1 is created in place"):
        sample_chains(plans, [20, 40], 10, 0)


def test_chains_say_where_they_end():
    first = balanced(np.array([0, 1]), np.array([0, 1]), np.ones(2))
    second = balanced(np.array([0]), np.array([0]), np.ones(1))
    with pytest.raises(
        ValueError, match=r"of the chains end at sample 1, whose plan does not go on"
    ):
        sample_chains([first, second], [2, 2, 1], 100, 0)


# --- errors ---


def test_an_unknown_coupling_lists_those_there_are():
    with pytest.raises(
        ValueError,
        match="coupling 'sinkhorn' is not known; choose one of independent, ot, unbalanced",
    ):
        as_coupling("sinkhorn")


def test_values_that_are_not_finite_stop_the_coupling():
    x = cloud(5)
    x[0] = np.inf
    failed = pytest.raises(
        ValueError, match="optimal transport failed on these samples; check them for extreme"
    )
    for name in ("ot", "unbalanced", "entropic", "sparse", "cone", "growth_first"):
        with failed, np.errstate(all="ignore"):
            as_coupling(name).plan(x, cloud(5), weights(5), weights(5), 0)


@pytest.mark.parametrize(
    ("coupling", "setting"),
    [
        (OTCoupling(batch_size=0), "OTCoupling.batch_size must be positive, found 0"),
        (OTCoupling(workers=0), "OTCoupling.workers must be positive, found 0"),
        (
            UnbalancedOTCoupling(mass_penalty=-1.0),
            "UnbalancedOTCoupling.mass_penalty must be positive and finite",
        ),
        (
            ConeCoupling(growth_penalty=0.0),
            "ConeCoupling.growth_penalty must be positive and finite",
        ),
        (ConeCoupling(sigma=-1.0), "ConeCoupling.sigma must be finite and not negative"),
    ],
)
def test_settings_that_cannot_be_are_named(coupling, setting):
    with pytest.raises(ValueError, match=setting):
        coupling.plan(cloud(5), cloud(5), weights(5), weights(5), 0)
