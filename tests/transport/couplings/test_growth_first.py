"""Growth first, then transport: what is growth, what is motion, and what cannot be told."""

import numpy as np
import pytest
import torch
from scipy.special import erfinv
from sklearn.base import clone

from dyninfer import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import from_plain, to_plain
from dyninfer.transport.couplings import (
    CoupledSamples,
    DensityRatio,
    GrowthFirstCoupling,
    OTCoupling,
    UnbalancedWeights,
)
from dyninfer.transport.couplings.axes import MOST_LOOKED_AT, leading_axes
from dyninfer.transport.couplings.density_ratio import effective_share
from dyninfer.transport.couplings.reweighting import Ends

WEIGH = [UnbalancedWeights(), DensityRatio()]


def normal(n, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def weights(n, seed=None):
    w = np.ones(n) if seed is None else np.random.default_rng(seed).random(n) + 0.05
    return w / w.sum()


def masses(plan):
    """What the pairs carry at either end."""
    return plan.mass * np.exp(plan.log_source), plan.mass * np.exp(plan.log_target)


def growth_of_sources(plan, n):
    """Log-growth of every cell of the first sample, all its pairs together."""
    start, end = masses(plan)
    return np.log(np.bincount(plan.source, end, n) / np.bincount(plan.source, start, n))


def two_groups(n, seed, factors=(4.0, 1.0), apart=6.0):
    """Two groups that grow by these factors and do not move; the group of every cell of the first."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [apart, 0.0]])
    first = np.arange(n) % 2
    second = (np.arange(n) >= n * factors[0] / sum(factors)).astype(int)
    x, y = (centres[g] + rng.normal(size=(n, 2)) for g in (first, second))
    return x, y, first


@pytest.mark.parametrize("weigh", WEIGH, ids=["plan", "odds"])
@pytest.mark.parametrize("size", [1024, 64])
@pytest.mark.filterwarnings("ignore:batch_size=64 is small")
def test_pairs_begin_and_end_with_the_weights_of_the_samples(weigh, size):
    x, y, a, b = normal(200, 8), normal(150, 8, seed=1) + 0.5, weights(200, 3), weights(150, 4)
    plan = GrowthFirstCoupling(weigh=weigh, batch_size=size).plan(x, y, a, b, 0)
    start, end = masses(plan)
    np.testing.assert_allclose(np.bincount(plan.source, start, 200), a, atol=1e-9)
    np.testing.assert_allclose(np.bincount(plan.target, end, 150), b, atol=1e-9)
    assert np.abs(plan.log_target - plan.log_source).max() > 0.1  # or the test shows nothing


def test_a_dear_change_of_mass_leaves_plain_transport():
    x, y, a, b = normal(60, 3), normal(50, 3, seed=1) + 0.5, weights(60, 3), weights(50, 4)
    plain = OTCoupling().plan(x, y, a, b, 0)
    weigh = UnbalancedWeights(mass_penalty=1e8)
    plan = GrowthFirstCoupling(weigh=weigh).plan(x, y, a, b, 0)
    table, expected = np.zeros((2, 60, 50))
    np.add.at(table, (plan.source, plan.target), plan.mass)
    np.add.at(expected, (plain.source, plain.target), plain.mass)
    np.testing.assert_allclose(table, expected, atol=1e-8)
    np.testing.assert_allclose(plan.log_target, plan.log_source, atol=1e-6)


def test_a_long_way_that_is_as_dear_for_all_is_no_growth():
    """Far away the cost is linear, ``c = 1 + 2(y − x)/s``, and the plan can be written down.

    Each cell pays its own share wherever it goes, so that the margins of the unbalanced plan are
    ``a exp(r x)`` and ``b exp(−r y)`` with ``r = 2 / (λ + ε) s``. Halfway, the samples are tilted
    by half of that towards each other; transport then carries x to ``x − r``, where the density of
    the second sample is ``exp(r x)`` times that of the first. It falls with the length ``s``.
    """
    shift, w = 100.0, weights(300)
    x = normal(300, 1)
    weigh = UnbalancedWeights(mass_penalty=0.2, regularization=0.02)
    plan = GrowthFirstCoupling(weigh=weigh).plan(x, x + shift, w, w, 0)
    rate = 2 / (0.22 * shift)
    slope = np.polyfit(x[:, 0], growth_of_sources(plan, 300), 1)[0]
    assert slope == pytest.approx(rate, rel=0.05)
    plan = GrowthFirstCoupling(weigh=weigh).plan(x, x + 1e4, w, w, 0)
    np.testing.assert_allclose(plan.log_target, plan.log_source, atol=0.02)


@pytest.mark.parametrize("weigh", WEIGH, ids=["plan", "odds"])
@pytest.mark.parametrize("seed", range(3))
def test_growth_of_two_groups_is_told_apart(weigh, seed):
    n = 500
    x, y, group = two_groups(n, seed)
    coupling = GrowthFirstCoupling(weigh=weigh)
    plan = coupling.plan(x, y, weights(n), weights(n), seed)
    growth = growth_of_sources(plan, n)
    truth = np.log([4.0, 1.0])[group]
    assert np.corrcoef(growth, truth)[0, 1] > 0.85
    # The least sample of the odds stops them before the whole growth.
    if isinstance(weigh, UnbalancedWeights):
        start, end = masses(plan)
        for number, factor in enumerate((4.0, 1.0)):
            own = group[plan.source] == number
            # Counts say how much there is in all: two cells and a half for every one.
            assert 2.5 * end[own].sum() / start[own].sum() == pytest.approx(factor, rel=0.15)


@pytest.mark.parametrize("weigh", WEIGH, ids=["plan", "odds"])
def test_a_population_that_stands_still_keeps_its_mass(weigh):
    """A second sample of the same population: within one percent nothing is lost midway."""
    x, y, w = normal(800), normal(800, seed=1), weights(800)
    plan = GrowthFirstCoupling(weigh=weigh).plan(x, y, w, w, 0)
    middle = plan.mass * np.exp(0.5 * (plan.log_source + plan.log_target))
    assert middle.sum() == pytest.approx(1, abs=0.01)


def test_a_drift_reads_as_growth_by_as_much_as_the_docstring_says():
    """Two standard deviations in five dimensions, and nobody is born or dies."""
    x, y, w = normal(800, 5), normal(800, 5, seed=1), weights(800)
    y[:, 0] += 2
    for weigh, lost in (
        (UnbalancedWeights(), 0.14),
        (DensityRatio(), 0.09),
        (DensityRatio(least_sample=0.01), 0.25),
    ):
        plan = GrowthFirstCoupling(weigh=weigh).plan(x, y, w, w, 0)
        middle = plan.mass * np.exp(0.5 * (plan.log_source + plan.log_target))
        assert 1 - middle.sum() == pytest.approx(lost, abs=0.03)


def test_what_has_no_counterpart_dies_where_it_is():
    x, y, w = normal(300), normal(300, seed=1), weights(300)
    x[:3] += 1e3
    plan = GrowthFirstCoupling().plan(x, y, w, w, 0)
    assert set(plan.source[plan.destroyed]) == {0, 1, 2}
    start, end = masses(plan)
    assert start[plan.destroyed].sum() == pytest.approx(0.01)
    reverse = GrowthFirstCoupling().plan(y, x, w, w, 0)
    assert set(reverse.target[reverse.created]) == {0, 1, 2}


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_odds_of_a_drift_leave_the_effective_size_of_the_closed_form(distance):
    """Between N(0, 1) and N(d, 1) the log-odds are ``d x − d²/2``, and ESS/n = exp(−d²/4)."""
    # Quantiles instead of draws: the mean of exp(d x) of few draws is far off.
    x = np.sqrt(2) * erfinv((np.arange(200_000) + 0.5) / 100_000 - 1)
    log_odds = distance * x - 0.5 * distance**2
    share = effective_share(weights(len(x)), 0.5 * log_odds)
    assert share == pytest.approx(np.exp(-(distance**2) / 4), rel=3e-3)


def test_the_exponent_falls_until_enough_of_the_sample_is_left():
    x, y, w = normal(400), normal(400, seed=1) + 2, weights(400)
    halfway = DensityRatio(least_sample=0.8).halfway(Ends(x, y, w, w))
    shares = [1 / np.sum(np.exp(2 * log_w)) / 400 for log_w in (halfway.log_a, halfway.log_b)]
    assert min(shares) == pytest.approx(0.8, abs=1e-3)


def test_a_doubled_weight_grows_like_two_cells():
    x, y = normal(300), normal(300, seed=1) + 0.5
    twice = np.concatenate([x, x[:100]])
    a = np.r_[np.full(100, 2.0), np.ones(200)] / 400
    plain = UnbalancedWeights().halfway(Ends(x, y, a, weights(300)))
    doubled = UnbalancedWeights().halfway(Ends(twice, y, weights(400), weights(300)))
    np.testing.assert_allclose(doubled.log_source[:300], plain.log_source, atol=1e-2)
    np.testing.assert_allclose(doubled.log_target, plain.log_target, atol=1e-2)


def test_axes_are_those_of_a_principal_component_analysis():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 12)) * np.linspace(3, 0.1, 12)
    y = x[:50] + 1.0
    for n in (80, 5):  # more cells than features, and fewer
        first, second = x[:n], y[:n]
        axes = leading_axes(first, second, weights(n), weights(len(second)), 0, 3)
        u, v = axes.coordinates(first), axes.coordinates(second)
        assert u.shape == (n, 3)
        both = np.concatenate([u, v])
        w = 0.5 * np.concatenate([weights(n), weights(len(second))])
        points = np.concatenate([first, second])
        scale = np.sqrt(w)[:, None] * (points - w @ points)
        variances = np.linalg.svd(scale, compute_uv=False)[:3] ** 2
        mine = np.sort(w @ both**2)[::-1]
        assert np.allclose(mine / mine[0], variances / variances[0])


def test_axes_of_many_cells_are_those_of_a_part_drawn_by_weight():
    """One cell in a hundred varies along another axis, and has nearly all of the weight."""
    rng = np.random.default_rng(0)
    n = 3 * MOST_LOOKED_AT
    x = rng.normal(size=(n, 6)) * (1.0, 3.0, 0.1, 0.1, 0.1, 0.1)
    heavy = np.arange(n) % 100 == 0
    x[heavy] = x[heavy][:, ::-1]
    w = np.where(heavy, 1e4, 1.0)
    w = w / w.sum()
    directions = leading_axes(x, x[:50], w, w[:50] / w[:50].sum(), 0, 1).directions
    assert np.abs(directions[4, 0]) > 0.9999
    again = leading_axes(x, x[:50], w, w[:50] / w[:50].sum(), 0, 1).directions
    np.testing.assert_array_equal(directions, again)


def test_given_masses_set_the_mean_growth():
    x, y, _ = two_groups(300, 0)
    data = Snapshots(times=[0, 1], samples=[x, y], masses=[100, 250])
    scaling = Scaling.from_samples(data.times, [x, y])
    samples = CoupledSamples(
        data, scaling, GrowthFirstCoupling(), 0, torch.device("cpu"), torch.float64
    )
    pairs, mass = samples.pairs_in(0)
    start, end = (mass * pairs.log_start.exp()).sum(), (mass * pairs.log_end.exp()).sum()
    assert float(end / start) == pytest.approx(2.5, rel=1e-9)


@pytest.mark.parametrize(
    ("coupling", "message"),
    [
        (
            GrowthFirstCoupling(weigh=UnbalancedWeights(mass_penalty=-1.0)),
            "UnbalancedWeights.mass_penalty must be positive and finite, found -1.0",
        ),
        (
            GrowthFirstCoupling(weigh=DensityRatio(least_sample=1.0)),
            "DensityRatio.least_sample must lie between 0 and 1, found 1.0",
        ),
        (GrowthFirstCoupling(axes=0), "GrowthFirstCoupling.axes must be positive, found 0"),
        (
            GrowthFirstCoupling(weigh="odds"),
            "GrowthFirstCoupling.weigh must be UnbalancedWeights or DensityRatio, found 'odds'",
        ),
    ],
)
def test_settings_that_cannot_be_are_named(coupling, message):
    with pytest.raises((TypeError, ValueError), match=message):
        coupling.plan(normal(5), normal(5), weights(5), weights(5), 0)


# --- what is expected of growth ---


def expecting(rates, gap=2.0, n=200):
    """A population that stands still while half of its cells are expected to grow."""
    x, y = normal(n), normal(n, seed=1)
    growth = [np.where(x[:, 0] > 0, rates, 0.0), np.zeros(n)]
    return Snapshots(times=[0, gap], samples=[x, y], growth=growth)


def test_a_dear_correction_leaves_the_prior_as_it_is():
    """Where the plan may change no mass, cells grow as expected: rate times duration."""
    weigh = UnbalancedWeights(mass_penalty=1e6)
    ends = Ends(
        normal(200), normal(200, seed=1), weights(200), weights(200), np.linspace(0, 2, 200)
    )
    halfway = weigh.halfway(ends)
    slope = np.polyfit(np.linspace(0, 2, 200), halfway.log_source, 1)[0]
    assert slope == pytest.approx(1, abs=1e-3)
    weigh = UnbalancedWeights(mass_penalty=1e6, prior_strength=0.5)
    halfway = weigh.halfway(ends)
    slope = np.polyfit(np.linspace(0, 2, 200), halfway.log_source, 1)[0]
    assert slope == pytest.approx(0.5, abs=1e-3)


def test_expected_growth_is_a_rate_and_moves_the_plan():
    """Twice the time at half the rate is the same plan; no strength is the plan without it."""
    data = expecting(1.0, gap=2.0)
    plan = GrowthFirstCoupling().plans(data, list(data.samples), 0)[0]
    slower = expecting(0.5, gap=4.0)
    again = GrowthFirstCoupling().plans(slower, list(slower.samples), 0)[0]
    np.testing.assert_allclose(again.log_source, plan.log_source)
    weak = GrowthFirstCoupling(weigh=UnbalancedWeights(prior_strength=0.0))
    without = weak.plans(data, list(data.samples), 0)[0]
    plain = expecting(0.0)
    expected = GrowthFirstCoupling().plans(plain, list(plain.samples), 0)[0]
    np.testing.assert_allclose(without.log_source, expected.log_source)
    grows = growth_of_sources(plan, 200) - growth_of_sources(expected, 200)
    assert grows[data.samples[0][:, 0] > 0].mean() > grows[data.samples[0][:, 0] < 0].mean() + 0.3


def test_extreme_expectations_are_weights_and_not_overflows():
    data = expecting(1e5)
    with np.errstate(all="raise", under="ignore"):
        plan = GrowthFirstCoupling().plans(data, list(data.samples), 0)[0]
    start, end = masses(plan)
    np.testing.assert_allclose(np.bincount(plan.source, start, 200), 1 / 200, atol=1e-9)
    np.testing.assert_allclose(np.bincount(plan.target, end, 200), 1 / 200, atol=1e-9)


def test_the_density_ratio_refuses_an_expected_growth():
    data = expecting(1.0)
    with pytest.raises(ValueError, match="the density ratio takes no expected growth"):
        GrowthFirstCoupling(weigh=DensityRatio()).plans(data, list(data.samples), 0)


def test_settings_survive_a_copy_and_a_file():
    coupling = GrowthFirstCoupling(weigh=DensityRatio(exponent=0.5), axes=3)
    for again in (clone(coupling), from_plain(to_plain(coupling))):
        assert again.axes == 3
        assert again.weigh.exponent == 0.5
    assert from_plain(to_plain(GrowthFirstCoupling())).weigh.mass_penalty == 0.2
