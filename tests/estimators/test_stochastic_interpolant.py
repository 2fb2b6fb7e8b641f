"""Stochastic interpolants against closed forms."""

import types

import numpy as np
import pytest
import torch
from oracles import MixtureBridge, relative_error

import dyninfer as di
from dyninfer.data.conditions import ConditionCode
from dyninfer.estimators.stochastic_interpolant import StochasticInterpolant
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import (
    CoupledSamples,
    EntropicOTCoupling,
    IndependentCoupling,
    OTCoupling,
    UnbalancedOTCoupling,
)
from dyninfer.transport.interpolants import (
    BrownianNoise,
    EncoderDecoderInterpolant,
    LinearInterpolant,
    MirrorInterpolant,
    OneSidedInterpolant,
    QuadraticNoise,
    SineNoise,
    TrigonometricInterpolant,
)
from dyninfer.transport.objectives import SameRows

ONE = torch.ones(1)
STANDARD = (ONE, torch.zeros(1, 2), ONE)
GAUSSIANS = MixtureBridge(STANDARD, (ONE, torch.tensor([[2.0, -1.0]]), 0.36 * ONE))
MIXTURE = (
    torch.tensor([0.3, 0.7]),
    torch.tensor([[0.0, -1.5], [1.0, 1.5]]),
    torch.tensor([0.25, 0.4]),
)
MIXTURES = MixtureBridge(
    (torch.tensor([0.5, 0.5]), torch.tensor([[-1.5, 0.0], [1.5, 0.0]]), torch.tensor([0.3, 0.3])),
    MIXTURE,
)
SLOW = pytest.mark.slow
TIMES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)


def steps(n, **settings):
    return di.Training(max_steps=n, patience=None, **{"validation_fraction": 0.0, **settings})


def ends(bridge, n=100_000):
    return di.Snapshots(times=[0.0, 1.0], samples=[bridge.sample(0, n, 0), bridge.sample(1, n, 1)])


def fitted(data, n=1500, width=64, coupling="independent", **settings):
    model = StochasticInterpolant(
        coupling=coupling, scale=None, width=width, training=steps(n), **settings
    )
    return model.fit(data, progress=False)


def coefficients(interpolant, noise=None):
    """α, β, γ, α', β', γγ' for the oracle; of a one-sided interpolant γ is α."""

    def at(t):
        t = torch.tensor([t], dtype=torch.float64)
        c, zero = interpolant.coefficients(t), torch.zeros(1)
        if noise is None:
            return c.alpha, c.beta, zero, c.alpha_slope, c.beta_slope, zero
        shape, slope = noise.shape(t)
        return (
            c.alpha,
            c.beta,
            noise.a**0.5 * shape,
            c.alpha_slope,
            c.beta_slope,
            noise.a * shape * slope,
        )

    return at


def errors(process, bridge, at, latent=None):
    """Squared errors of b, s and η at every time, over the mean square of the true field at that time.

    Where a field passes through zero (b of the encoder-decoder, midway) its mean square over time is taken.
    """
    truth, found = [], []
    for t in TIMES:
        x = bridge.sample_at(at, t, 4000, 7)
        b, s, eta = bridge.fields(at, t, x)
        if latent is not None:
            eta = -latent(t) * s
        truth.append([v.square().mean() for v in (b, s, eta)])
        tau, z = process.scaling.times(t), process.scaling.states(x)
        parts = (process.drift(t, x), process.score(t, x), process.inner.denoiser(tau, z))
        found.append([(f - v).square().mean() for f, v in zip(parts, (b, s, eta), strict=True)])
    size = torch.tensor(truth)
    size = torch.where(size > 0.1 * size.mean(0), size, size.mean(0))
    return (torch.tensor(found) / size).max(0).values


@pytest.fixture(scope="module")
def gaussian():
    training = steps(2500, batch_size=1024)
    model = StochasticInterpolant(
        coupling="independent",
        gamma=BrownianNoise(a=1.0),
        scale=None,
        width=64,
        depth=2,
        training=training,
    )
    return model.fit(ends(GAUSSIANS), progress=False)


LINEAR = coefficients(LinearInterpolant(), BrownianNoise(a=1.0))


def test_velocity_score_and_denoiser_of_linear_brownian_gaussians_match_closed_form(gaussian):
    assert float(errors(gaussian.process_, GAUSSIANS, LINEAR).max()) < 1e-2


@pytest.mark.parametrize(
    ("interpolant", "noise", "n"),
    [
        pytest.param(TrigonometricInterpolant(), BrownianNoise(a=1.0), 1200, id="trigonometric"),
        pytest.param(LinearInterpolant(), QuadraticNoise(a=1.0), 1000, marks=SLOW, id="quadratic"),
        pytest.param(LinearInterpolant(), None, 1000, id="flow-matching"),
    ],
)
def test_fields_of_other_families_match_closed_form_for_gaussians(interpolant, noise, n):
    model = fitted(ends(GAUSSIANS), n, interpolant=interpolant, gamma=noise or "none")
    at = coefficients(interpolant, noise)
    if noise is not None:
        assert float(errors(model.process_, GAUSSIANS, at).max()) < 1e-2
        return
    assert model.process_.score(0.5, torch.zeros(1, 2)) is None
    for t in TIMES:
        x = GAUSSIANS.sample_at(at, t, 4000, 7)
        assert relative_error(model.process_.drift(t, x), GAUSSIANS.fields(at, t, x)[0]) < 1e-2


@pytest.mark.parametrize("schedule", [pytest.param("linear", marks=SLOW), "vp"])
def test_fields_of_one_sided_interpolants_match_closed_form(schedule):
    interpolant = OneSidedInterpolant(schedule=schedule)
    model = StochasticInterpolant(
        interpolant=interpolant, scale=None, width=64, training=steps(1200)
    )
    model.fit(ends(GAUSSIANS), progress=False)
    at = coefficients(interpolant)
    assert (
        float(errors(model.process_, GAUSSIANS, at, latent=lambda t: float(at(t)[0])).max()) < 1e-2
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interpolant", "noise", "n"),
    [
        (LinearInterpolant(), BrownianNoise(a=1.0), 5000),
        (TrigonometricInterpolant(), BrownianNoise(a=1.0), 5000),
        (EncoderDecoderInterpolant(), SineNoise(a=1.0), 8000),
    ],
    ids=["linear", "trigonometric", "encoder-decoder"],
)
def test_fields_of_every_family_match_closed_form_for_mixtures(interpolant, noise, n):
    model = fitted(ends(MIXTURES), n, 128, interpolant=interpolant, gamma=noise)
    assert float(errors(model.process_, MIXTURES, coefficients(interpolant, noise)).max()) < 1e-2


@pytest.mark.slow
def test_fields_of_a_mirror_match_closed_form_for_a_mixture():
    same = MixtureBridge(MIXTURE, MIXTURE)
    model = fitted(
        ends(same), 4000, 128, interpolant=MirrorInterpolant(), gamma=BrownianNoise(a=1.0)
    )
    at = coefficients(MirrorInterpolant(), BrownianNoise(a=1.0))
    assert float(errors(model.process_, same, at)[1:].max()) < 1e-2
    b, s = (
        torch.stack([v(t, same.sample_at(at, t, 2000, 3)) for t in TIMES])
        for v in (model.process_.drift, model.process_.score)
    )
    slope = torch.tensor([0.5 - t for t in TIMES])[:, None, None]  # b = −γγ' s
    assert float((b + slope * s).square().mean() / (slope * s).square().mean()) < 2e-2


@pytest.mark.parametrize(
    "noise", [0.0, pytest.param(0.5, marks=SLOW), pytest.param(1.0, marks=SLOW), 2.0]
)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_moments_are_those_of_the_other_end_for_every_noise(gaussian, noise, backward):
    start, end = (
        GAUSSIANS.sample(int(backward), 20_000, 50),
        (STANDARD if backward else GAUSSIANS.last),
    )
    run = gaussian.simulate(
        start, [1, 0] if backward else [0, 1], noise=noise, backward=backward, seed=1
    )
    found, variance, mean = run.states[:, -1], end[2], end[1][0]
    assert float((found.mean(0) - mean).norm()) < 0.02 * float(
        (2 * variance + mean.square().sum()).sqrt()
    )
    assert float((torch.cov(found.T) / variance - torch.eye(2)).norm()) < 0.03 * 2**0.5


def test_moments_are_right_where_noise_is_a_function_that_vanishes_at_the_ends(gaussian):
    run = gaussian.simulate(
        GAUSSIANS.sample(0, 8000, 50), [0, 1], noise=lambda t: 4 * t * (1 - t), seed=1
    )
    torch.testing.assert_close(
        torch.cov(run.states[:, -1].T) / 0.36, torch.eye(2), atol=0.06, rtol=0
    )


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
def test_law_of_mixtures_is_reversed_by_any_noise(noise):
    model = fitted(ends(MIXTURES), 4000, 128, gamma=BrownianNoise(a=1.0))
    start = MIXTURES.sample(0, 20_000, 50)
    there = model.simulate(start, [0, 1], noise=noise, seed=1).states[:, -1]
    back = model.simulate(there, [1, 0], noise=noise, backward=True, seed=2).states[:, -1]
    for found, end in ((there, 1), (back, 0)):
        truth = MIXTURES.sample(end, 400_000, 9)
        size = float(truth.square().sum(1).mean().sqrt())
        assert float((found.mean(0) - truth.mean(0)).norm()) < 0.02 * size
        gap = torch.cov(found.T) - torch.cov(truth.T)
        assert float(gap.norm() / torch.cov(truth.T).norm()) < 0.03


def test_flow_forward_then_backward_returns_every_sample(gaussian):
    start = GAUSSIANS.sample(0, 1000, 3)
    tight = {"solver": di.solvers.Tsit5(rtol=1e-6, atol=1e-7)}
    there = gaussian.simulate(start, [0, 1], **tight).states[:, -1]
    back = gaussian.simulate(there, [1, 0], backward=True, **tight).states[:, -1]
    assert float((back - start).abs().max()) < 1e-4


def test_log_density_of_the_flow_is_that_of_the_target(gaussian):
    x = GAUSSIANS.sample(1, 2000, 4)
    found = di.log_density(gaussian.process_, x, (0.0, 1.0), lambda y: GAUSSIANS.log_density(y, 0))
    assert float((found - GAUSSIANS.log_density(x, 1)).abs().mean()) < 0.02


def test_the_denoiser_divided_by_gamma_is_a_worse_score_near_the_ends_than_the_learned_one(
    gaussian,
):
    other = fitted(ends(GAUSSIANS), 700, gamma=BrownianNoise(a=1.0), second="denoiser")
    x = GAUSSIANS.sample_at(LINEAR, 0.02, 4000, 7)
    truth = GAUSSIANS.fields(LINEAR, 0.02, x)[1]
    middle = GAUSSIANS.sample_at(LINEAR, 0.5, 4000, 7)
    assert (
        relative_error(other.process_.score(0.5, middle), GAUSSIANS.fields(LINEAR, 0.5, middle)[1])
        < 0.05
    )
    assert relative_error(gaussian.process_.score(0.02, x), truth) < 0.1 * relative_error(
        other.process_.score(0.02, x), truth
    )


def losses_at(time, antithetic):
    """Loss of the velocity field sin x at one time, per draw, for γ = √(t (1 − t))."""
    model = StochasticInterpolant(gamma=BrownianNoise(a=1.0), coupling="independent", scale=None)
    model.training_ = steps(1)
    data = ends(GAUSSIANS, 20_000)
    model.facts_ = model.facts(data)
    scaling = Scaling.from_samples(data.times, list(data.samples), None)
    process = model.build(data, scaling).float()
    objective = model.make_objective(process, data, scaling, 0)
    objective.antithetic = antithetic
    objective._times = lambda n, generator: torch.full((n,), time)
    process.inner.network.forward = process.inner.second.forward = lambda t, x, c: x.sin()
    batch = objective.batch(20_000, torch.Generator().manual_seed(0))
    terms = objective.loss(process, batch)
    rows = {
        name: terms[name].unflatten(0, (2, -1)).mean(0) if antithetic else terms[name]
        for name in ("velocity", "score")
    }
    return {name: float(values.std()) for name, values in rows.items()}


def test_antithetic_pairs_bound_the_variance_of_the_losses_at_the_ends():
    near, nearer = losses_at(1e-2, True), losses_at(1e-4, True)
    alone, closer = losses_at(1e-2, False), losses_at(1e-4, False)
    for name in ("velocity", "score"):
        assert nearer[name] < 1.5 * near[name]
        assert closer[name] > 5 * alone[name]  # 1/√t


def test_velocity_of_a_monge_map_is_that_of_displacement_interpolation():
    rng = np.random.default_rng(0)
    a, c = np.array([[1.5, 0.4], [0.4, 0.7]]), np.array([2.0, -1.0])
    x = rng.normal(size=(20_000, 2))
    data = di.Snapshots(times=[0, 1], samples=[x, x @ a + c])
    model = fitted(data, 1200, coupling=SameRows(), gamma="none")
    for t in (0.02, 0.5, 0.98):
        map_t = (1 - t) * np.eye(2) + t * a
        here = x[:2000] @ map_t + t * c
        truth = (here - t * c) @ np.linalg.inv(map_t) @ (a - np.eye(2)) + c
        found = model.process_.drift(t, torch.as_tensor(here, dtype=torch.float32))
        assert relative_error(found, torch.as_tensor(truth, dtype=torch.float32)) < 1e-3


def test_units_of_space_and_time_carry_over():
    data = ends(GAUSSIANS, 500)
    other = di.Snapshots(times=[10.0, 58.0], samples=[10 * s + 3 for s in data.samples])
    kwargs = {"width": 32, "depth": 2, "training": steps(150), "coupling": "independent"}
    a = StochasticInterpolant(gamma=BrownianNoise(a=0.5), **kwargs).fit(data, progress=False)
    b = StochasticInterpolant(gamma=BrownianNoise(a=50 / 48), **kwargs).fit(other, progress=False)
    x = torch.as_tensor(data.samples[1][:50])
    torch.testing.assert_close(
        b.process_.drift(34.0, 10 * x + 3), a.process_.drift(0.5, x) * 10 / 48, rtol=2e-2, atol=1e-2
    )
    torch.testing.assert_close(
        b.process_.score(34.0, 10 * x + 3), a.process_.score(0.5, x) / 10, rtol=2e-2, atol=1e-2
    )


@pytest.mark.parametrize("interpolant", ["linear", "spline"])
def test_interpolants_of_many_snapshots_are_exact_at_every_snapshot(interpolant):
    rng = np.random.default_rng(0)
    data = di.Snapshots(
        times=[0.0, 0.2, 1.0], samples=[rng.normal(k, 1, (200, 2)) for k in (0, 3, -1)]
    )
    model = StochasticInterpolant(interpolant=interpolant, gamma="none", scale=None)
    model.training_ = steps(1)
    model.facts_ = model.facts(data)
    scaling = Scaling.from_samples(data.times, list(data.samples), None)
    process = model.build(data, scaling).float()
    objective = model.make_objective(process, data, scaling, 0)
    for k, t in enumerate((0.0, 0.2, 1.0)):
        objective._times = lambda n, generator, t=t: torch.full((n,), t)
        states = objective.batch(500, torch.Generator().manual_seed(0)).state
        gaps = states[:, None].double() - torch.as_tensor(data.samples[k])
        assert float(gaps.abs().amax(2).min(1).values.max()) < 1e-5


def test_optimal_partners_of_many_snapshots_are_followed_from_each_to_the_next():
    rng = np.random.default_rng(0)
    cloud = 0.3 * rng.normal(size=(1000, 2))
    centres = np.array([[0, 0], [2, 0], [2, 3]])
    data = di.Snapshots(times=[0.0, 1.0, 4.0], samples=[cloud + c for c in centres])
    for interpolant in ("linear", "spline"):
        model = StochasticInterpolant(interpolant=interpolant, width=64, training=steps(700)).fit(
            data, progress=False
        )
        run = model.simulate(data.at(0.0), [0.0, 1.0, 4.0])
        for k in (1, 2):
            torch.testing.assert_close(
                run.states[:, k].mean(0), torch.tensor(centres[k]).double(), atol=0.1, rtol=0
            )
            assert float(run.states[:, k].std(0).max()) < 0.4


def test_entropic_pairs_with_brownian_noise_have_the_marginals_of_the_schroedinger_bridge():
    s0, s1, sigma = 1.0, 0.6, 0.8
    rng = np.random.default_rng(0)
    x, y = (s * np.sort(rng.normal(size=(1000, 1)), 0) for s in (s0, s1))
    x, y = s0 * (x - x.mean()) / x.std(), s1 * (y - y.mean()) / y.std()
    data = di.Snapshots(times=[0, 1], samples=[x, y])
    scaling = Scaling.from_samples(data.times, [x, y], None)
    device, dtype = torch.device("cpu"), torch.float64
    coupling = EntropicOTCoupling(sigma=sigma)
    samples = CoupledSamples(data, scaling, coupling, 0, device, dtype)
    knots = samples.draw(
        torch.zeros(400_000, dtype=torch.long), torch.Generator().manual_seed(0)
    ).knots[:, :, 0]
    c = 0.5 * ((4 * s0**2 * s1**2 + sigma**4) ** 0.5 - sigma**2)
    for t in (0.25, 0.5, 0.75):
        found = float(((1 - t) * knots[:, 0] + t * knots[:, 1]).var()) + sigma**2 * t * (1 - t)
        truth = (1 - t) ** 2 * s0**2 + t**2 * s1**2 + t * (1 - t) * (2 * c + sigma**2)
        assert found == pytest.approx(truth, rel=0.03)


@pytest.mark.slow
def test_bent_interpolants_find_the_schroedinger_bridge_of_gaussians():
    s0, s1, sigma = 1.0, 0.6, 0.8
    g = torch.Generator().manual_seed(0)
    x, y = (s * torch.randn(50_000, 1, generator=g) for s in (s0, s1))
    model = StochasticInterpolant(bridge_sigma=sigma, scale=None, width=64, training=steps(1500))
    model.fit(di.Snapshots(times=[0, 1], samples=[x, y]), progress=False)
    c = 0.5 * ((4 * s0**2 * s1**2 + sigma**4) ** 0.5 - sigma**2)
    t = np.linspace(0, 1, 9)
    variance = (1 - t) ** 2 * s0**2 + t**2 * s1**2 + t * (1 - t) * (2 * c + sigma**2)
    run = model.simulate(x[:10_000], t, noise=0.5 * sigma**2, seed=1).states[:, :, 0]
    np.testing.assert_allclose(
        run.var(0), variance, rtol=0.06
    )  # of straight lines: 26 % too small midway
    assert float((run[:, 0] * run[:, -1]).mean()) == pytest.approx(c, abs=0.04)
    assert model.history_["energy"].tail(20).mean() == pytest.approx(0.32693, rel=0.03)


def test_bound_on_the_divergence_sees_errors_of_known_size_and_the_printed_constants_are_half_of_it(
    gaussian,
):
    fresh = di.Snapshots(
        times=[0, 1], samples=[GAUSSIANS.sample(0, 20_000, 60), GAUSSIANS.sample(1, 20_000, 61)]
    )
    model = fitted(ends(GAUSSIANS, 1000), 1, gamma=BrownianNoise(a=1.0))
    model.process_, process = gaussian.process_, gaussian.process_
    original, shift = process.drift_growth_and_score, torch.tensor([0.5, 0.0])

    def wrong(self, t, x):
        b, growth, s = original(t, x)
        return b + shift, growth, s + 2 * shift

    process.drift_growth_and_score = types.MethodType(wrong, process)
    try:
        found = model.kl_bound(fresh, 0.5)
    finally:
        del process.drift_growth_and_score
    assert found["velocity"] == pytest.approx(0.125, abs=4 * found["velocity_error"] + 0.01)
    assert found["path"] == pytest.approx(0.5, abs=4 * found["path_error"] + 0.01)
    assert found["path"] <= found["split"] + 0.05
    assert 0.5 * found["split"] < found["path"]  # as printed, it would not bound this
    clean = model.kl_bound(fresh, 0.5)
    assert clean["path"] < 4 * clean["path_error"] + 0.01


def test_far_clusters_exchange_mass_without_motion():
    rng = np.random.default_rng(1)

    def sample(share, n=1500):
        right = rng.random(n) < share
        return rng.normal(size=(n, 2)) * 0.3 + np.where(right, 10.0, -10.0)[:, None] * [1.0, 0.0]

    data = di.Snapshots(times=[0.0, 1.0], samples=[sample(0.2), sample(0.8)])
    near = UnbalancedOTCoupling(
        mass_penalty=0.1
    )  # carrying mass over 20 units is dearer than growing it
    model = StochasticInterpolant(coupling=near, width=64, training=steps(1000)).fit(
        data, progress=False
    )
    run = model.simulate(data.at(0.0), [0.0, 1.0])
    assert float((run.states[:, 1] - run.states[:, 0]).norm(dim=1).median()) < 1.0
    assert float((run.weights[:, 1] * (run.states[:, 1, 0] > 0)).sum()) == pytest.approx(
        0.8, abs=0.03
    )


def test_masses_of_the_data_are_grown_to():
    cloud = np.random.default_rng(0).normal(size=(1000, 2))
    data = di.Snapshots(times=[0.0, 2.0, 3.0], samples=[cloud] * 3, masses=[1.0, 3.0, 2.0])
    model = StochasticInterpolant(width=32, training=steps(600)).fit(data, progress=False)
    np.testing.assert_allclose(
        model.simulate(cloud, [0.0, 2.0, 3.0]).mass, [1.0, 3.0, 2.0], rtol=0.08
    )


def doses(labels, n=400, shift=lambda dose: [dose, 0.0]):
    rng = np.random.default_rng(0)
    start = [rng.normal(size=(n, 2)) * 0.3 for _ in labels]
    end = [rng.normal(size=(n, 2)) * 0.3 + shift(label) for label in labels]
    conditions = np.repeat(labels, n)
    return di.Snapshots(
        times=[0.0, 1.0],
        samples=[np.concatenate(start), np.concatenate(end)],
        conditions=[conditions] * 2,
    )


def test_a_dose_that_was_never_seen_is_simulated_between_its_neighbours():
    data = doses([0, 1, 3, 4])
    model = StochasticInterpolant(width=64, training=steps(1000)).fit(data, progress=False)
    start = np.random.default_rng(5).normal(size=(1000, 2)) * 0.3
    for dose in (1, 2, 3):
        end = model.simulate(start, [0.0, 1.0], condition=dose).states[:, 1].mean(0)
        torch.testing.assert_close(
            end, torch.tensor([dose, 0.0], dtype=torch.float64), atol=0.15, rtol=0
        )


def test_a_combination_that_was_never_seen_is_simulated_from_its_parts():
    moves = {
        "none": [0.0, 0.0],
        "A": [2.0, 0.0],
        "B": [0.0, 2.0],
        "C": [0.0, -2.0],
        "A+C": [2.0, -2.0],
    }
    data = doses(list(moves), shift=moves.get)
    model = StochasticInterpolant(width=64, training=steps(1000)).fit(data, progress=False)
    end = (
        model.simulate(np.zeros((200, 2)), [0.0, 1.0], condition="A+B", noise=0.01)
        .states[:, 1]
        .mean(0)
    )
    torch.testing.assert_close(end, torch.tensor([2.0, 2.0], dtype=torch.float64), atol=0.6, rtol=0)
    with pytest.raises(ValueError, match="'D' was not in the data"):
        model.simulate(np.zeros((2, 2)), [0.0, 1.0], condition="D")


def test_pairs_never_cross_conditions_and_the_control_stands_in_where_there_is_none_yet():
    data = di.Snapshots(
        times=[0.0, 1.0],
        samples=[np.zeros((40, 1)), np.repeat([[0.0], [5.0], [-5.0]], 30, 0)],
        conditions=[["control"] * 40, np.repeat(["control", "up", "down"], 30)],
    )
    scaling = Scaling.from_samples(data.times, list(data.samples), None)
    code = ConditionCode.of(["control", "up", "down"])
    args = (data, scaling, OTCoupling(), 0, torch.device("cpu"), torch.float64)
    samples = CoupledSamples(*args, code=code, control="control")
    drawn = samples.draw(torch.zeros(3000, dtype=torch.long), torch.Generator().manual_seed(0))
    names = np.array(code.parts)[drawn.code.argmax(1)]
    found = {name: set(drawn.knots[names == name][:, 1, 0].tolist()) for name in code.parts}
    assert found == {"control": {0.0}, "up": {5.0}, "down": {-5.0}}
    with pytest.warns(UserWarning, match="'up' has samples at no two neighbouring times"):
        CoupledSamples(*args, code=code)


def test_every_cell_is_simulated_annotated_and_saved_under_its_own_condition(tmp_path):
    snapshots = doses([0, 4], n=100)
    data = snapshots.to_anndata()
    data.obsm["X_pca"] = np.asarray(data.X)
    keys = {"time_key": "time", "use_rep": "X_pca", "condition_key": "condition"}
    model = StochasticInterpolant(width=32, training=steps(400)).fit(data, progress=False, **keys)
    run = model.simulate(data, [0.0, 1.0])
    labels = data.obs["condition"][data.obs["time"] == 0.0].to_numpy()
    assert list(run.origin) == list(data.obs_names[data.obs["time"] == 0.0])
    for label, mean in ((0, 0.0), (4, 4.0)):
        assert float(run.states[labels == label, 1, 0].mean()) == pytest.approx(mean, abs=0.4)
    again = di.load(model.save(tmp_path / "model.safetensors"))
    torch.testing.assert_close(again.simulate(data, [0.0, 1.0]).states, run.states, rtol=0, atol=0)
    velocity = model.annotate(data).obsm["dyninfer_velocity"]
    start = (data.obs["time"] == 0.0).to_numpy()
    assert velocity[start & (data.obs["condition"] == 4).to_numpy(), 0].mean() > 2
    table = model.evaluate(data, metrics=("w1",))
    assert float(table["w1"].iloc[0]) < 0.6
    with pytest.raises(ValueError, match="name one"):
        model.simulate(np.zeros((3, 2)), [0.0, 1.0])
    with pytest.raises(ValueError, match="n_paths"):
        model.simulate(data, [0.0, 1.0], n_paths=10)


@pytest.mark.slow
def test_rectified_flow_keeps_the_map_on_straighter_lines():
    data = ends(MIXTURES, 4000)
    model = fitted(data, 1500, gamma="none")
    straight = model.rectify(data, max_steps=1500, progress=False)
    start = torch.as_tensor(data.samples[0][:1000])
    times = np.linspace(0, 1, 11)

    def bend(run):
        line = run.states[:, :1] + torch.as_tensor(times)[None, :, None] * (
            run.states[:, -1:] - run.states[:, :1]
        )
        return float((run.states - line).square().sum(2).mean())

    first, second = (m.simulate(start, times) for m in (model, straight))
    assert bend(second) < 0.1 * bend(first)
    gap = (first.states[:, -1] - second.states[:, -1]).square().sum(1).mean()
    assert float(gap) < 0.02


def test_a_new_family_is_one_small_class():
    from dataclasses import dataclass

    from dyninfer.transport.interpolants import Coefficients, Interpolant

    @dataclass(kw_only=True, repr=False, eq=False)
    class SmoothStep(Interpolant):
        """Slow at both ends."""

        def coefficients(self, t):
            s, rate = t * t * (3 - 2 * t), 6 * t * (1 - t)
            return Coefficients(1 - s, s, -rate, rate)

    model = fitted(ends(GAUSSIANS, 20_000), 500, interpolant=SmoothStep(), gamma="none")
    end = model.simulate(GAUSSIANS.sample(0, 5000, 3), [0, 1]).states[:, -1]
    torch.testing.assert_close(end.mean(0), GAUSSIANS.last[1][0], atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("settings", "mention"),
    [
        ({"interpolant": "liner"}, "interpolant 'liner'"),
        ({"gamma": "white"}, "gamma 'white'"),
        ({"coupling": "sinkhorn"}, "coupling"),
        ({"second": "energy"}, "second must be one of score"),
        ({"activation": "relu"}, "activation"),
        ({"interpolant": "one-sided", "coupling": "ot"}, "draws its start independently"),
        ({"interpolant": "one-sided"}, "needs two times, found 3"),
        ({"bridge_sigma": -1.0}, "bridge_sigma must be positive"),
        ({"bridge_sigma": 1.0, "gamma": "sine"}, "bridge_sigma needs gamma='auto'"),
        ({"bridge_sigma": 1.0, "interpolant": "spline"}, "bridge_sigma needs interpolant='linear'"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, mention):
    rng = np.random.default_rng(0)
    data = di.Snapshots(times=[0, 1, 2], samples=[rng.normal(size=(40, 2))] * 3)
    with pytest.raises(ValueError, match=mention):
        StochasticInterpolant(**settings).fit(data, max_steps=2, progress=False)


def test_what_cannot_be_learned_from_is_refused_by_name(gaussian):
    curve = di.DensityCurve(lambda t, n: torch.randn(n, 2), times=(0.0, 1.0))
    with pytest.raises(ValueError, match="give Snapshots"):
        StochasticInterpolant().fit(curve, max_steps=2, progress=False)
    rng = np.random.default_rng(0)
    data = di.Snapshots(times=[0, 1], samples=[rng.normal(3, 1, (100, 2))] * 2)
    with pytest.raises(ValueError, match="starts from a standard normal sample"):
        StochasticInterpolant(interpolant="one-sided").fit(data, max_steps=2, progress=False)
    flow = StochasticInterpolant(gamma="none").fit(data, max_steps=2, progress=False)
    with pytest.raises(ValueError, match="needs the score"):
        flow.simulate(data.at(0), [0, 1], noise=0.5)
    with pytest.raises(ValueError, match="needs a learned score"):
        flow.kl_bound(data, 0.5)
    with pytest.raises(ValueError, match="has no conditions"):
        gaussian.simulate(np.zeros((2, 2)), [0, 1], condition="A")


def test_independent_pairs_are_made_of_every_sample():
    rng = np.random.default_rng(0)
    data = di.Snapshots(times=[0, 1], samples=[rng.normal(size=(50, 1)), rng.normal(size=(70, 1))])
    scaling = Scaling.from_samples(data.times, list(data.samples), None)
    samples = CoupledSamples(
        data, scaling, IndependentCoupling(), 0, torch.device("cpu"), torch.float64
    )
    knots = samples.draw(
        torch.zeros(20_000, dtype=torch.long), torch.Generator().manual_seed(0)
    ).knots
    assert [len(np.unique(knots[:, k, 0])) for k in (0, 1)] == [50, 70]


def test_a_checkpoint_of_other_conditions_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(40, 2)), rng.normal(size=(40, 2))]
    labels = [np.repeat(["a", "b"], 20)] * 2
    first = di.Snapshots(times=[0, 1], samples=samples, conditions=labels)
    other = di.Snapshots(times=[0, 1], samples=samples, conditions=[labels[0][::-1]] * 2)
    path = tmp_path / "run.ckpt"
    options = {"max_steps": 3, "progress": False, "checkpoint": path}
    StochasticInterpolant().fit(first, **options)
    with pytest.raises(ValueError, match="other data"):
        StochasticInterpolant().fit(other, resume=True, **options)


def test_conditions_share_no_noise_whatever_the_seeds():
    """Condition b at seed 0 repeated the noise of condition a at seed 1."""
    one = np.zeros((30, 1))
    labels = [np.repeat(["a", "b"], 30)] * 2
    samples = [np.concatenate([one, one]), np.concatenate([one, one]) + 1]
    data = di.Snapshots(times=[0, 1], samples=samples, conditions=labels)
    model = StochasticInterpolant(width=8, depth=1).fit(data, max_steps=2, progress=False)
    kicks = []
    for seed in (0, 1):
        run = model.simulate(data, [0.0, 1.0], noise=5.0, seed=seed)
        flow = model.simulate(data, [0.0, 1.0], noise=0.0, seed=seed)
        moved = (run.states - flow.states)[:, -1, 0]
        kicks += [moved[:30], moved[30:]]
    correlation = torch.corrcoef(torch.stack(kicks))
    # Of 30 independent pairs, six correlations stay below 4.5 / √30; a repeated noise has 1.
    assert float((correlation - torch.eye(4)).abs().max()) < 0.82
