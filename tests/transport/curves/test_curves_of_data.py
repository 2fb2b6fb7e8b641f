"""Density curves: exact at the data, right derivatives, and two forms of the action that agree."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

import dyninfer as di
from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import (
    IndependentCoupling,
    OTCoupling,
    UnbalancedOTCoupling,
    as_coupling,
)
from dyninfer.transport.curves import (
    DensityCurve,
    InterpolatedCurve,
    SmoothCurve,
    TimeSampler,
    choose_curve,
    default_coupling,
)

CPU, F64 = torch.device("cpu"), torch.float64
TIMES = (2.0, 3.0, 7.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def snapshots(sizes=(40, 50, 60), times=TIMES, seed=0, **extra):
    rng = np.random.default_rng(seed)
    samples = [rng.normal([k, -2.0 * k], 1 + 0.3 * k, (n, 2)) for k, n in enumerate(sizes)]
    return Snapshots(times=times[: len(sizes)], samples=samples, **extra)


def sampler(data, interpolation="linear", coupling="ot"):
    scaling = Scaling.from_samples(data.times, list(data.samples))
    return choose_curve(data, scaling, interpolation, as_coupling(coupling), 0, CPU, F64), scaling


def in_units(state, scaling):
    return scaling.user_states(state).numpy()


def draw(curve, t, seed=0):
    t = torch.as_tensor(t, dtype=F64)
    return curve.draw(t, torch.ones_like(t), generator(seed))


# --- times ---


@pytest.mark.parametrize("n", [64, 500, 4096])
def test_times_have_the_star_discrepancy_of_a_low_discrepancy_sequence(n):
    for seed in range(5):
        t, _ = TimeSampler(False, CPU, F64).draw(n, generator(seed))
        t = t.sort().values.numpy()
        i = np.arange(n)
        assert max(np.max((i + 1) / n - t), np.max(t - i / n)) < 2 * math.log(n) / n
        assert (t >= 0).all()
        assert (t <= 1).all()


def test_uniform_times_have_density_one_and_change_with_every_batch():
    times, source = TimeSampler(False, CPU, F64), generator()
    (first, density), (second, _) = times.draw(100, source), times.draw(100, source)
    assert (density == 1).all()
    assert not torch.equal(first, second)


def adapted(std, batches=400, n=512):
    """Time sampler after it has seen an integrand ``exp(3t) + std(t) noise``."""
    times, source = TimeSampler(True, CPU, F64), generator()
    for _ in range(batches):
        t, _ = times.draw(n, source)
        times.observe(t, (3 * t).exp() + std(t) * torch.randn(n, generator=source, dtype=F64))
    return times, source


def test_time_density_approaches_the_profile_of_the_standard_deviation():
    times, _ = adapted(lambda t: 1 + 20 * t)
    middle = (np.arange(50) + 0.5) / 50
    # Within a bin exp(3t) itself varies a little: 3 exp(3t) / (50 √12).
    std = np.hypot(1 + 20 * middle, 3 * np.exp(3 * middle) / (50 * 12**0.5))
    expected = 0.9 * std / std.mean() + 0.1
    np.testing.assert_allclose(times.density, expected, rtol=0.1)
    assert times.density.mean() == pytest.approx(1)


def test_times_are_drawn_from_the_density_that_is_reported():
    times, source = adapted(lambda t: 1 + 20 * t, batches=100)
    t = torch.cat([times.draw(1000, source)[0] for _ in range(100)])
    shares = torch.histc(t, 50, 0, 1) / len(t)
    np.testing.assert_allclose(shares * 50, times.density, rtol=0.02)


def test_the_weighted_mean_over_adapted_times_is_the_integral():
    times, source = adapted(lambda t: 1 + 20 * t, batches=100)
    means = []
    for _ in range(200):
        t, density = times.draw(300, source)
        means.append(float(((3 * t).exp() / density).mean()))
    error = np.mean(means) - (math.exp(3) - 1) / 3
    assert abs(error) < 4 * np.std(means) / len(means) ** 0.5 + 1e-9
    assert abs(error) < 0.01


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_an_integrand_that_does_not_vary_leaves_times_uniform(value):
    times = TimeSampler(True, CPU, torch.float32)
    for seed in range(3):
        t, _ = times.draw(256, generator(seed))
        times.observe(t, torch.full_like(t, value))
        torch.testing.assert_close(times.density, torch.ones(50))


def test_every_time_keeps_a_tenth_of_the_uniform_density():
    times, _ = adapted(lambda t: 1000.0 * (t > 0.9), batches=50)
    assert times.density.min() >= 0.1


# --- straight lines ---


@pytest.mark.parametrize("coupling", ["ot", "independent", "unbalanced"])
def test_a_linear_curve_is_at_the_data_at_the_times_of_the_data(coupling):
    data = snapshots()
    curve, scaling = sampler(data, coupling=coupling)
    for k, t in enumerate(scaling.times(data.times)):
        state = draw(curve, np.full(200, t)).state.numpy()
        distance = np.abs(state[:, None] - scaling.states(data.samples[k])[None]).max(-1).min(1)
        assert distance.max() < 1e-6


@pytest.mark.parametrize("coupling", ["ot", "independent", "unbalanced"])
def test_weighted_draws_at_a_snapshot_have_its_weights(coupling):
    rng = np.random.default_rng(1)
    data = snapshots(weights=[rng.random(n) + 0.1 for n in (40, 50, 60)])
    curve, scaling = sampler(data, coupling=coupling)
    n = 40_000
    for k, t in enumerate(scaling.times(data.times)):
        batch = draw(curve, np.full(n, t), seed=k)
        which = (
            np.abs(batch.state.numpy()[:, None] - scaling.states(data.samples[k])[None])
            .sum(-1)
            .argmin(1)
        )
        weight = np.ones(n) if batch.weight is None else batch.weight.numpy()
        got = np.bincount(which, weight, data.sizes[k]) / n
        wanted = data.weights_at(data.times[k])
        slack = 1 / max(data.sizes) / 16 if coupling == "independent" else 0
        assert np.abs(got - wanted).max() < 5 * np.sqrt(2 * wanted.max() / n) + slack


@pytest.mark.parametrize("masses", [None, (1.0, 4.0, 2.0)])
@pytest.mark.parametrize(
    ("interpolation", "coupling"), [("linear", "ot"), ("linear", "unbalanced"), ("cubic", "ot")]
)
def test_velocity_and_growth_are_derivatives_along_the_curve(interpolation, coupling, masses):
    curve, scaling = sampler(snapshots(masses=masses), interpolation, coupling)
    t, h = np.random.default_rng(0).random(300), 1e-5
    t = t[np.abs(t[:, None] - scaling.times(TIMES)[None]).min(1) > h]
    before, here, after = (draw(curve, t + s * h) for s in (-1, 0, 1))
    torch.testing.assert_close(
        here.velocity, (after.state - before.state) / (2 * h), rtol=1e-6, atol=1e-7
    )
    if masses is None and coupling == "ot":
        assert here.growth is None
        assert here.weight is None
    else:
        slope = (after.weight.log() - before.weight.log()) / (2 * h)
        torch.testing.assert_close(here.growth, slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("interpolation", "coupling"),
    [("linear", "ot"), ("linear", "unbalanced"), ("cubic", "ot"), ("none", "ot")],
)
def test_the_mean_weight_at_a_snapshot_is_its_mass_over_their_mean(interpolation, coupling):
    masses = np.array([10.0, 40.0, 25.0])
    curve, scaling = sampler(snapshots(masses=masses), interpolation, coupling)
    n = 20_000
    for k, t in enumerate([0.0, 0.2, 1.0]):
        if interpolation == "none":
            t = [0.0, 0.3, 1.0][k]  # inside the share of each snapshot under the trapezoidal rule
        weight = draw(curve, np.full(n, t), seed=k).weight
        assert weight.mean() == pytest.approx(
            masses[k] / masses.mean(), abs=5 * float(weight.std()) / n**0.5 + 1e-6
        )


def test_given_masses_change_exponentially_between_the_times():
    curve, _ = sampler(snapshots(masses=(1.0, 4.0, 2.0)))
    weight = draw(curve, [0.0, 0.05, 0.1, 0.15, 0.2, 0.6]).weight * (7 / 3)
    np.testing.assert_allclose(weight, [1, 4**0.25, 2, 4**0.75, 4, 8**0.5], rtol=1e-9)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_the_ends_of_a_draw_are_its_own_curve_at_the_neighbouring_snapshots(interpolation):
    curve, scaling = sampler(snapshots(masses=(1.0, 4.0, 2.0)), interpolation)
    times = torch.as_tensor(scaling.times(TIMES))
    t = torch.rand(200, generator=generator(), dtype=F64)
    batch = draw(curve, t)
    k = torch.searchsorted(times, t) - 1
    torch.testing.assert_close(batch.start_time, times[k])
    torch.testing.assert_close(batch.end_time, times[k + 1])
    torch.testing.assert_close(batch.gap, times[k + 1] - times[k])
    at_start = draw(curve, times[k])
    torch.testing.assert_close(batch.start_state, at_start.state)
    torch.testing.assert_close(batch.start_weight, at_start.weight)
    just_before = draw(curve, times[k + 1] - 1e-9)
    torch.testing.assert_close(batch.end_state, just_before.state, rtol=0, atol=1e-6)
    torch.testing.assert_close(batch.end_weight, just_before.weight, rtol=0, atol=1e-6)


def test_a_single_sample_at_every_time_is_a_curve():
    data = Snapshots(times=[0, 1], samples=[np.zeros((1, 1)), np.full((1, 1), 2.0)])
    for name in ("ot", "independent", "unbalanced"):
        curve, scaling = sampler(data, coupling=name)
        np.testing.assert_allclose(in_units(draw(curve, [0.25]).state, scaling), [[0.5]])


# --- smooth curves ---


def test_a_cubic_curve_is_the_natural_spline_of_scipy_through_its_knots():
    data = snapshots((30, 30, 30, 30), (0.0, 1.0, 1.5, 4.0))
    curve, scaling = sampler(data, "cubic")
    assert isinstance(curve, SmoothCurve)
    n, knots_at = 50, scaling.times(data.times)
    knots = np.stack([draw(curve, np.full(n, t)).state.numpy() for t in knots_at])
    for k in range(4):  # every knot is a sample of its snapshot
        gaps = np.abs(knots[k][:, None] - scaling.states(data.samples[k])[None]).max(-1).min(1)
        assert gaps.max() < 1e-6
    spline = CubicSpline(knots_at, knots, bc_type="natural")
    for t in np.linspace(0, 1, 23):
        batch = draw(curve, np.full(n, t))
        np.testing.assert_allclose(batch.state, spline(t), atol=1e-10)
        np.testing.assert_allclose(batch.velocity, spline(t, 1), atol=1e-9)


def test_a_cubic_curve_has_a_continuous_velocity_and_a_linear_one_has_not():
    data = snapshots()
    jumps = {}
    for kind in ("linear", "cubic"):
        curve, _ = sampler(data, kind)
        left, right = (draw(curve, np.full(500, 0.2 + s)).velocity for s in (-1e-9, 1e-9))
        jumps[kind] = (left - right).abs().max()
    assert jumps["cubic"] < 1e-5
    assert jumps["linear"] > 0.1


def test_a_cubic_curve_between_two_snapshots_is_the_straight_line():
    assert isinstance(sampler(snapshots((20, 20)), "cubic")[0], InterpolatedCurve)


def test_a_cubic_curve_refuses_a_coupling_that_changes_mass():
    with pytest.raises(
        ValueError,
        match="interpolation='cubic' needs a coupling that conserves mass; use coupling='ot'",
    ):
        sampler(snapshots(), "cubic", "unbalanced")


# --- dense snapshots ---


@pytest.mark.parametrize("masses", [None, np.linspace(1, 3, 7)])
def test_dense_snapshots_integrate_by_the_trapezoidal_rule(masses):
    times = np.array([0.0, 0.3, 0.4, 1.0, 1.7, 1.8, 4.0])
    values = np.sin(times)
    data = Snapshots(times=times, samples=values[:, None, None], masses=masses)
    curve, scaling = sampler(data, "none")
    n = 200_000
    batch = draw(curve, (np.arange(n) + 0.5) / n)
    weight = np.ones(7) if masses is None else masses / masses.mean()
    got = scaling.user_states(batch.state)[:, 0]
    got = got if masses is None else got * batch.weight
    assert got.mean() == pytest.approx(np.trapezoid(weight * values, times) / 4, abs=1e-4)
    assert batch.velocity is None
    assert set(np.round(batch.time.numpy(), 9)) == set(np.round(times / 4, 9))


def test_dense_snapshots_stay_unbiased_where_times_are_adapted():
    times = np.linspace(0, 1, 11)
    data = Snapshots(times=times, samples=np.exp(3 * times)[:, None, None])
    curve, scaling = sampler(data, "none")
    adaptive, source = adapted(lambda t: 1 + 50 * t, batches=50)
    assert adaptive.density.max() > 1.5
    means = []
    for _ in range(200):
        t, density = adaptive.draw(500, source)
        batch = curve.draw(t, density, source)
        means.append(float(((scaling.user_states(batch.state)[:, 0]) / batch.density).mean()))
    wanted = np.trapezoid(np.exp(3 * times), times)
    assert np.mean(means) == pytest.approx(wanted, abs=4 * np.std(means) / 200**0.5)
    assert np.std(means) / 200**0.5 < 0.01 * wanted


def test_dense_snapshots_draw_both_ends_from_the_first_and_last_sample():
    data = snapshots(weights=[np.r_[np.ones(n - 1), 5.0] for n in (40, 50, 60)])
    curve, scaling = sampler(data, "none")
    n = 30_000
    batch = draw(curve, np.linspace(0, 1, n))
    for state, k in ((batch.start_state, 0), (batch.end_state, 2)):
        z = scaling.states(data.samples[k])
        which = np.abs(state.numpy()[:, None] - z[None]).sum(-1).argmin(1)
        np.testing.assert_allclose(
            np.bincount(which, minlength=len(z)) / n, data.weights_at(TIMES[k]), atol=0.01
        )
    assert (batch.start_time == 0).all()
    assert (batch.end_time == 1).all()


# --- samplers ---


def test_a_sampler_is_asked_in_the_units_of_the_user():
    asked = []

    def sample(t, n):
        asked.append(t)
        return t[:, None] * torch.tensor([10.0, -1.0])

    curve = DensityCurve(sample, times=(5.0, 9.0), features=("a", "b"))
    pilot = curve.pilot()
    assert pilot.features == ("a", "b")
    assert (pilot.times.min(), pilot.times.max()) == (5, 9)
    inner, scaling = sampler_of(curve)
    batch = draw(inner, [0.0, 0.25, 1.0])
    np.testing.assert_allclose(asked[-3], [5, 6, 9])
    np.testing.assert_allclose(
        in_units(batch.state, scaling), [[50, -5], [60, -6], [90, -9]], rtol=1e-6
    )
    np.testing.assert_allclose(in_units(batch.start_state, scaling), [[50, -5]] * 3, rtol=1e-6)
    np.testing.assert_allclose(in_units(batch.end_state, scaling), [[90, -9]] * 3, rtol=1e-6)


def sampler_of(curve):
    pilot = curve.pilot()
    scaling = Scaling.from_samples(pilot.times, list(pilot.samples))
    return choose_curve(curve, scaling, "linear", OTCoupling(), 0, CPU, F64), scaling


def test_a_sampler_is_seeded_and_the_global_generator_left_alone():
    curve, _ = sampler_of(DensityCurve(lambda t, n: torch.randn(n, 2), times=(0, 1)))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (draw(curve, np.zeros(5), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.state, again.state)
    assert not torch.equal(first.state, other.state)
    assert not torch.equal(first.state, first.start_state)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (
            lambda t, n: torch.zeros(n),
            r"must return a tensor of shape \(512, features\) .* it returned shape \(512,\)",
        ),
        (lambda t, n: torch.zeros(3, 2), r"it returned shape \(3, 2\)"),
        (lambda t, n: np.zeros((n, 2)), r"it returned shape \(512, 2\)"),
        (lambda t, n: None, "it returned NoneType"),
        (
            lambda t, n: torch.full((n, 2), math.nan),
            "samples at time 0 has NaN or infinite values in 512 of 512",
        ),
    ],
)
def test_a_sampler_that_returns_something_else_is_told_what_was_expected(sample, message):
    with pytest.raises(ValueError, match=message):
        DensityCurve(sample, times=(0, 1)).pilot()


@pytest.mark.parametrize("times", [(1, 0), (1, 1), (0, 1, 2), (0, math.nan), 3])
def test_times_that_are_no_interval_are_refused(times):
    with pytest.raises(ValueError, match=r"times must be \(first, last\) with first < last"):
        DensityCurve(lambda t, n: torch.zeros(n, 1), times=times)


@pytest.mark.parametrize("times", [("a", "b"), (0, 10**400), (None, None), (0, math.inf)])
def test_ends_of_an_interval_that_are_no_times_are_refused(times):
    with pytest.raises(ValueError, match="times"):
        DensityCurve(lambda t, n: torch.zeros(n, 1), times=times)


def test_ends_of_an_interval_may_be_any_numbers():
    curve = DensityCurve(lambda t, n: torch.zeros(n, 1), times=torch.tensor([0, 2]))
    assert curve.times == (0.0, 2.0)


def test_a_sampler_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="sampler must be a function"):
        DensityCurve(np.zeros((3, 2)), times=(0, 1))


def test_an_unknown_interpolation_is_refused():
    with pytest.raises(
        ValueError, match="interpolation 'spline' is not known; choose 'linear', 'cubic' or 'none'"
    ):
        sampler(snapshots(), "spline")


def test_mass_that_may_change_takes_the_unbalanced_coupling_on_straight_lines():
    assert default_coupling(True, "linear") == "unbalanced"
    assert default_coupling(False, "linear") == default_coupling(True, "cubic") == "ot"


# --- the two forms of the action ---


def action_objective(data, form, **settings):
    model = di.ActionMatching(objective=form, width=16, depth=2, activation="tanh", **settings)
    model.training_ = di.Training(validation_fraction=0, precision="float64")
    scaling = Scaling.from_samples(data.times, list(data.samples))
    model.scaling_, model.facts_ = scaling, model.facts(data)
    torch.manual_seed(4)
    process = model.build(data, scaling).double()
    with torch.no_grad():
        for p in process.inner.network.parameters():
            p.mul_(2.0)  # a potential that bends
    return model.make_objective(process, data, scaling, 0), process


MASSES = {"masses": (1.0, 5.0, 2.0)}
CASES = {
    "plain": ({}, {}),
    "independent": ({"coupling": IndependentCoupling(pairs_per_sample=2)}, {}),
    "entropic": ({"sigma": 0.7}, {}),
    "unbalanced": ({"growth_penalty": 2.0, "coupling": UnbalancedOTCoupling(mass_penalty=0.2)}, {}),
    "masses": ({"growth_penalty": 0.5, "coupling": "ot"}, MASSES),
    "everything": ({"sigma": 0.7, "growth_penalty": 2.0, "coupling": "unbalanced"}, MASSES),
    "cubic": ({"interpolation": "cubic"}, {}),
    "cubic with masses": ({"interpolation": "cubic", "growth_penalty": 1.0}, MASSES),
}


@pytest.mark.parametrize("case", CASES)
def test_velocity_and_boundary_forms_of_the_action_are_the_same_integral(case):
    """One cell per snapshot: nothing is random but time, which Gauss-Legendre integrates."""
    settings, extra = CASES[case]
    data = snapshots((1, 1, 1), **extra)
    nodes, node_weights = np.polynomial.legendre.leggauss(40)
    edges = (data.times - data.times[0]) / np.ptp(data.times)
    t = np.concatenate(
        [a + (b - a) * (nodes + 1) / 2 for a, b in zip(edges, edges[1:], strict=False)]
    )
    w = np.concatenate([(b - a) * node_weights / 2 for a, b in zip(edges, edges[1:], strict=False)])
    values = []
    for form in ("velocity", "boundary"):
        objective, process = action_objective(data, form, **settings)
        batch = draw(objective.curve, t)
        values.append(float(torch.as_tensor(w) @ objective.action_density(process, batch).detach()))
    assert values[0] == pytest.approx(values[1], rel=1e-9)
    assert abs(values[0]) > 1e-3


@pytest.mark.parametrize("case", CASES)
def test_velocity_and_boundary_forms_of_the_action_agree_in_the_mean(case):
    settings, extra = CASES[case]
    data = snapshots(**extra)
    (by_velocity, process), (by_boundary, _) = (
        action_objective(data, f, **settings) for f in ("velocity", "boundary")
    )
    gaps, source = [], generator(11)
    for k in range(120):
        batch = by_velocity.batch(1000, source)
        one, two = (o.loss(process, batch) for o in (by_velocity, by_boundary))
        gaps.append(float((one["loss"] - two["loss"]).mean().detach()))
        if k < 20:
            by_velocity.observe(batch, two)  # adapted times must not matter
    gaps = np.array(gaps)
    error = gaps.std() / len(gaps) ** 0.5
    assert abs(gaps.mean()) < 4 * error
    assert error < 0.02  # so that a wrong term would be seen


def test_the_comparison_of_the_two_forms_sees_a_missing_growth_term():
    # Masses are known apart from the curve; only pairs that change mass have growth of their own.
    data = snapshots(masses=(1.0, 5.0, 2.0))
    (by_velocity, process), (by_boundary, _) = (
        action_objective(data, f, coupling="unbalanced", growth_penalty=0.5)
        for f in ("velocity", "boundary")
    )
    source, gaps = generator(11), []
    for _ in range(60):
        batch = by_velocity.batch(1000, source)
        one = by_velocity.loss(process, batch._replace(growth=None))["loss"]
        gaps.append(float((one - by_boundary.loss(process, batch)["loss"]).mean().detach()))
    assert abs(np.mean(gaps)) > 10 * np.std(gaps) / len(gaps) ** 0.5


def test_two_sides_of_a_sample_have_the_mean_of_the_exact_laplacian():
    rng = np.random.default_rng(0)
    data = Snapshots(times=[0, 1], samples=[rng.normal(k, 1, (60, 12)) for k in (0, 1)])
    objective, process = action_objective(data, "boundary", sigma=1.5)
    source, gaps = generator(2), []
    for _ in range(100):
        batch = objective.batch(500, source)
        assert batch.probe.shape == (250, 12)
        assert set(batch.probe.unique().tolist()) == {-0.02, 0.02}
        by_sides = objective.action_density(process, batch)
        exact = objective.action_density(process, batch._replace(probe=None))
        gaps.append(float((by_sides - exact).mean().detach()))
    assert abs(np.mean(gaps)) < 4 * np.std(gaps) / len(gaps) ** 0.5


def test_the_velocity_form_is_refused_where_the_curve_has_no_velocity():
    with pytest.raises(
        ValueError, match="objective='velocity' needs a curve whose velocity is known"
    ):
        action_objective(snapshots(), "velocity", interpolation="none")
