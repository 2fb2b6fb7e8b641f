"""Wasserstein Lagrangian flows against closed forms."""

import math
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from oracles import (
    GaussianFlow,
    dirac_action,
    dirac_angle,
    dirac_mass,
    exact_gaussian,
    fisher_rao_action,
    fisher_rao_share,
    gaussian_density,
    grid_bridge,
    relative_error,
)
from sklearn.base import clone

import dyninfer as di
from dyninfer.cli import main as cli
from dyninfer.estimators.lagrangian_flow import WassersteinLagrangianFlow
from dyninfer.metrics import wasserstein
from dyninfer.testing.snapshots import CHECKS
from dyninfer.transport.lagrangians import (
    DataManifold,
    MeanAcceleration,
    OptimalTransport,
    PhysicalPotential,
    SchrodingerBridge,
    UnbalancedTransport,
)
from dyninfer.transport.objectives import DualObjective

PLAIN = GaussianFlow(
    torch.zeros(2),
    torch.tensor([2.0, 0.0]),
    torch.tensor([[1.0, 0.3], [0.3, 0.6]]),
    torch.tensor([[0.25, -0.1], [-0.1, 0.5]]),
)


def flow(steps, lagrangian=None, **settings):
    training = di.Training(max_steps=steps, patience=None, validation_fraction=0)
    return WassersteinLagrangianFlow(
        lagrangian=lagrangian or OptimalTransport(),
        **({"width": 64, "curve_width": 64, "scale": None, "training": training} | settings),
    )


def two(first, last, **extra):
    return di.Snapshots(times=[0.0, 1.0], samples=[first, last], **extra)


def cluster(x, n=500, seed=0, spread=0.03):
    return spread * np.random.default_rng(seed).normal(size=(n, 2)) + [x, 0.0]


def drift_error(model, truth, times=(0.1, 0.5, 0.9)):
    found, true = [], []
    for t in times:
        x = exact_gaussian(truth.mean(t), truth.covariance(t), 4000, 9)
        found.append(model.process_.drift(t, x))
        true.append(truth.drift(t, x))
    return relative_error(torch.cat(found), torch.cat(true))


# --- the literature's values of the closed forms ---


def test_the_closed_forms_have_the_values_of_the_literature():
    one, two_d = torch.ones(1, 1), torch.eye(2)
    bridge = GaussianFlow(torch.zeros(1), torch.zeros(1), one, 0.36 * one, 0.8)
    assert bridge.action() == pytest.approx(0.32693, rel=1e-4)
    isotropic = GaussianFlow(torch.zeros(2), torch.tensor([2.0, 0.0]), two_d, 0.25 * two_d)
    assert isotropic.action() == pytest.approx(2.25, rel=1e-5)
    assert fisher_rao_action(0.2, 0.8, 1.0) == pytest.approx(0.82819, rel=1e-5)


# --- optimal transport ---


def transported(model):
    """Relative error of the map, and of the value."""
    x = exact_gaussian(PLAIN.m0, PLAIN.s0, 4000, 9)
    moved = model.simulate(x, [0.0, 1.0]).states[:, -1] - x
    size = (moved - PLAIN.drift(0.0, x)).norm(dim=1).mean() / PLAIN.drift(0.0, x).norm(dim=1).mean()
    return float(size), model.report().attrs["action"] / PLAIN.action() - 1


@pytest.mark.parametrize(
    ("steps", "residual"), [(1200, 0.1), pytest.param(4000, 0.05, marks=pytest.mark.slow)]
)
def test_transport_between_gaussians_has_the_closed_form_value_map_and_no_acceleration(
    steps, residual
):
    model = flow(steps).fit(two(*PLAIN.samples(3000)), progress=False)
    size, value = transported(model)
    report = model.report()
    assert abs(value) < 0.03
    assert report.attrs["dual_value"] == pytest.approx(PLAIN.action(), rel=0.03)
    assert size < 0.02
    assert drift_error(model, PLAIN) < 2e-3
    assert report["acceleration"].mean() < residual * report["speed"].mean()
    assert report["residual_std"].mean() < residual * report["kinetic"].mean()
    assert model.history_["action"].tail(10).mean() == pytest.approx(PLAIN.action(), rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_the_game_finds_the_transport_plan_from_independent_pairs(damping):
    model = flow(3000, coupling="independent", damping=damping, curve_learning_rate=3e-4)
    model.fit(two(*PLAIN.samples(3000)), progress=False)
    still = flow(1000, coupling="independent", curve_fraction=0.0).fit(
        two(*PLAIN.samples(3000)), progress=False
    )
    size, value = transported(model)
    assert abs(value) < 0.03
    assert transported(still)[1] > 0.06  # independent pairs alone are no solution
    assert size < 0.02
    assert drift_error(model, PLAIN) < 0.01
    assert model.report().attrs["runaways"] == 0


# --- Schrödinger bridges ---


def test_a_bridge_between_gaussians_on_the_line_has_its_closed_forms_either_way():
    truth = GaussianFlow(
        torch.zeros(1), torch.zeros(1), torch.ones(1, 1), 0.36 * torch.ones(1, 1), 0.8
    )
    data = two(*truth.samples(5000))
    model = flow(800, SchrodingerBridge(0.8)).fit(data, progress=False)
    times = np.linspace(0, 1, 11)
    run = model.simulate(
        truth.samples(20_000)[0], times, seed=1, solver=di.solvers.SRA1(dt=0.02)
    ).states[:, :, 0]
    true = torch.tensor([float(truth.covariance(float(t))) for t in times])
    assert float((run.var(0) / true - 1).abs().max()) < 0.05
    assert drift_error(model, truth) < 0.02
    assert model.report().attrs["action"] == pytest.approx(0.32693, rel=0.04)
    x = torch.linspace(-2, 2, 41)[:, None]
    for t in (0.1, 0.5, 0.9):
        score = model.process_.score(t, x * truth.covariance(t).sqrt())
        assert relative_error(score, -x / truth.covariance(t).sqrt()) < 0.02
    # With its own noise, and without any, time running down.
    for noise in (None, 0.0):
        back = model.simulate(
            truth.samples(20_000)[1], times[::-1], backward=True, noise=noise, seed=1
        ).states[:, :, 0]
        assert float((back.var(0) / true.flip(0) - 1).abs().max()) < 0.06
    assert model.report().attrs["dual_value"] == pytest.approx(0.32693, rel=0.05)


WELLS = {
    "wide": lambda x: -x.square(),
    "stiff": lambda x: -4 * x.square(),
    # Not quadratic: near its solution, and said to be only that.
    "quartic": lambda x: -x.pow(4) / 4,
}


@pytest.mark.filterwarnings("ignore:the potential is not quadratic")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("wide", marks=pytest.mark.slow),
        "stiff",
        pytest.param("quartic", marks=pytest.mark.slow),
    ],
)
def test_a_bridge_in_a_well_is_as_narrow_as_a_grid_solution(name):
    grid = torch.linspace(-4.5, 4.5, 289, dtype=torch.float64)
    q = grid_bridge(WELLS[name], 1.0, gaussian_density, gaussian_density, 0.5, grid)
    right = float(q @ grid**2) * float(grid[1] - grid[0])
    rng = np.random.default_rng(0)
    well = PhysicalPotential(lambda t, x: WELLS[name](x[:, 0]))
    model = flow(800, SchrodingerBridge(1.0) + well)
    model.fit(two(*rng.normal(size=(2, 1500, 1))), progress=False)
    run = model.simulate(rng.normal(size=(8000, 1)), [0.0, 0.5, 1.0], seed=1).states
    assert float(run[:, 1].var()) == pytest.approx(right, rel=0.04)
    assert float(run[:, 2].var()) == pytest.approx(1.0, rel=0.08)


def test_a_bridge_in_five_dimensions_is_within_two_hundredths_of_the_true_one_at_every_time():
    one = torch.eye(5)
    truth = GaussianFlow(torch.full((5,), -0.1), torch.full((5,), 0.1), one, one, 1.0)
    rng = torch.Generator().manual_seed(0)
    samples = [m + torch.randn(10_000, 5, generator=rng) for m in (-0.1, 0.1)]
    model = flow(700, SchrodingerBridge(1.0)).fit(two(*samples), progress=False)
    times = np.linspace(0, 1, 21)
    run = model.simulate(samples[0], times, seed=1, solver=di.solvers.SRA1(dt=0.025)).states
    divergence = [truth.divergence_from(run[:, k], float(t)) for k, t in enumerate(times)]
    assert np.mean(divergence) < 0.02
    assert drift_error(model, truth) < 0.03
    # The density hardly tells one σ from another here; the drift does.
    assert drift_error(model, GaussianFlow(truth.m0, truth.m1, one, one, 0.5)) > 0.3


# --- unbalanced transport ---


@pytest.mark.parametrize("masses", [pytest.param(None, marks=pytest.mark.slow), (1.0, 3.0)])
def test_free_mass_between_two_points_has_the_closed_form_value_and_mass_curve(masses):
    distance, penalty = 1.5, 1.0
    data = two(cluster(0.0), cluster(distance, seed=1), masses=masses)
    model = flow(600, UnbalancedTransport(penalty)).fit(data, progress=False)
    m0, m1 = (1.0, 1.0) if masses is None else np.array(masses) / np.mean(masses)
    report = model.report()
    assert report.attrs["action"] == pytest.approx(
        dirac_action(distance, m0, m1, penalty), rel=0.05
    )
    assert report.attrs["dual_value"] == pytest.approx(
        dirac_action(distance, m0, m1, penalty), rel=0.05
    )
    curve = dirac_mass(torch.tensor(report["time"]), distance, m0, m1, penalty)
    np.testing.assert_allclose(report["mass"], curve, atol=0.03)
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    run = model.simulate(data.samples[0], times)
    np.testing.assert_allclose(
        run.mass * m0, dirac_mass(times, distance, m0, m1, penalty), atol=0.03
    )
    np.testing.assert_allclose(run.states[:, -1].mean(0), [distance, 0.0], atol=0.03)


def test_prescribed_mass_between_two_points_is_transport_at_constant_mass():
    data = two(cluster(0.0), cluster(1.5, seed=1))
    model = flow(600, UnbalancedTransport(1.0, mass="constrained")).fit(data, progress=False)
    assert model.report().attrs["action"] == pytest.approx(0.5 * 1.5**2, rel=0.05)
    np.testing.assert_allclose(model.report()["mass"], 1.0, atol=0.03)
    np.testing.assert_allclose(
        model.simulate(data.samples[0], np.linspace(0, 1, 11)).mass, 1.0, atol=0.03
    )


def test_prescribed_mass_that_grows_makes_haste_while_it_is_small():
    # M(t) = ½ 3^t fixed: ∫ ½ M v² is least where M v is constant, ½ D² / ∫ 1/M; growth costs ½ (log 3)² ∫ M.
    data = two(cluster(0.0), cluster(1.5, seed=1), masses=(1.0, 3.0))
    model = flow(1000, UnbalancedTransport(1.0, mass="constrained")).fit(data, progress=False)
    rate = math.log(3)
    inverse, whole = 2 * (1 - 1 / 3) / rate, 1 / rate
    assert model.report().attrs["action"] == pytest.approx(
        1.125 / inverse + 0.5 * rate**2 * whole, rel=0.02
    )
    times = np.linspace(0, 1, 11)
    run = model.simulate(data.samples[0], times)
    np.testing.assert_allclose(run.mass, 3**times, atol=0.05)
    np.testing.assert_allclose(
        run.states[:, :, 0].mean(0), 1.5 * (1 - 3**-times) / (2 / 3), atol=0.04
    )


def test_mass_that_teleports_is_told_with_its_share_and_the_reach():
    rng = np.random.default_rng(0)
    here, there = rng.normal(0, 0.1, (200, 2)), rng.normal(20, 0.1, (100, 2))
    data = two(here, np.concatenate([here[:100], there]))
    with pytest.warns(
        UserWarning,
        match=r"50% of the mass between times 0 and 1 .* farther apart than π/√λ = 3.14",
    ):
        flow(5, UnbalancedTransport(1.0)).fit(data, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow(5, UnbalancedTransport(0.001)).fit(data, progress=False)


@pytest.mark.parametrize("mass", ["constrained", pytest.param("free", marks=pytest.mark.slow)])
def test_two_far_clusters_exchange_mass_without_motion(mass):
    def clusters(share, seed):
        k = round(1000 * share)
        return np.concatenate([cluster(10.0, k, seed), cluster(-10.0, 1000 - k, seed + 1)])

    data = two(clusters(0.2, 0), clusters(0.8, 2))
    model = flow(600, UnbalancedTransport(1.0, mass=mass)).fit(data, progress=False)
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    run = model.simulate(data.samples[0], times)
    right = (run.weights * (run.states[:, :, 0] > 0)).sum(0)
    # Where mass is free, each cluster goes its own way: √m is linear in time.
    own = [((1 - times) * a**0.5 + times * b**0.5).square() for a, b in ((0.2, 0.8), (0.8, 0.2))]
    share = (
        fisher_rao_share(times, 0.2, 0.8) if mass == "constrained" else own[0] / (own[0] + own[1])
    )
    np.testing.assert_allclose(right, share, atol=0.03)
    total = torch.ones_like(times) if mass == "constrained" else own[0] + own[1]
    np.testing.assert_allclose(run.mass, total, atol=0.03)
    value = (
        fisher_rao_action(0.2, 0.8, 1.0)
        if mass == "constrained"
        else 4 * (0.8**0.5 - 0.2**0.5) ** 2
    )
    assert model.report().attrs["action"] == pytest.approx(value, rel=0.05)
    assert float((run.states[:, -1] - run.states[:, 0]).norm(dim=1).max()) < 0.05


def test_growth_that_is_dear_leaves_optimal_transport():
    data = two(*PLAIN.samples(2000))
    model = flow(600, UnbalancedTransport(1e-3)).fit(data, progress=False)
    assert drift_error(model, PLAIN) < 5e-3
    assert model.report().attrs["action"] == pytest.approx(PLAIN.action(), rel=0.05)
    np.testing.assert_allclose(model.report()["mass"], 1.0, atol=0.01)


@pytest.mark.parametrize("mass", ["free", pytest.param("constrained", marks=pytest.mark.slow)])
def test_given_masses_are_met_at_every_snapshot(mass):
    rng = np.random.default_rng(0)
    masses = np.array([1.0, 2.0, 1.5])
    samples = [rng.normal(0.3 * k, 1.0, (400, 2)) for k in range(3)]
    data = di.Snapshots(times=[0.0, 1.0, 3.0], samples=samples, masses=masses)
    model = flow(800, UnbalancedTransport(1.0, mass=mass), curve_fraction=0.0).fit(
        data, progress=False
    )
    run = model.simulate(data.samples[0], [0.0, 1.0, 3.0])
    np.testing.assert_allclose(run.mass, masses, rtol=0.05)


# --- potentials ---


PUSHED = GaussianFlow(
    torch.zeros(2),
    torch.tensor([2.0, 1.0]),
    torch.tensor([[0.5, 0.1], [0.1, 0.3]]),
    torch.tensor([[0.25, -0.1], [-0.1, 0.5]]),
)


def ends():
    """Starting cells of :data:`PUSHED` with their partners of the optimal plan, which these potentials leave as it is."""
    x = exact_gaussian(PUSHED.m0, PUSHED.s0, 4000, 9)
    return x, x + PUSHED.drift(0.0, x)


def test_a_constant_force_bends_paths_into_parabolas():
    a = torch.tensor([2.0, -1.0])
    model = flow(800, OptimalTransport() + PhysicalPotential(lambda t, x: -(x * a).sum(1)))
    model.fit(two(*PUSHED.samples(3000)), progress=False)
    x, y = ends()
    run = model.simulate(x, [0.0, 0.5, 1.0]).states.mean(0)
    np.testing.assert_allclose(run[1], PUSHED.mean(0.5) - a / 8, atol=0.03)
    np.testing.assert_allclose(run[2], PUSHED.m1, atol=0.03)
    assert relative_error(model.process_.drift(0.0, x), y - x - a / 2) < 0.01
    assert relative_error(model.process_.drift(1.0, y), y - x + a / 2) < 0.01
    value = PUSHED.action() + 0.5 * float(a @ (PUSHED.m0 + PUSHED.m1)) - float(a @ a) / 24
    assert model.report().attrs["action"] == pytest.approx(value, rel=0.03)


def test_a_harmonic_trap_bends_paths_into_sines():
    w = 2.0
    trap = PhysicalPotential(lambda t, x: 0.5 * w**2 * x.square().sum(1))
    model = flow(800, OptimalTransport() + trap)
    model.fit(two(*PUSHED.samples(3000)), progress=False)
    x, y = ends()
    run = model.simulate(x, [0.0, 0.5, 1.0]).states.mean(0)
    sin, cos = math.sin(w), math.cos(w)
    np.testing.assert_allclose(run[1], (PUSHED.m0 + PUSHED.m1) * math.sin(w / 2) / sin, atol=0.03)
    np.testing.assert_allclose(run[2], PUSHED.m1, atol=0.03)
    assert relative_error(model.process_.drift(0.0, x), w * (y - x * cos) / sin) < 0.01
    assert relative_error(model.process_.drift(1.0, y), w * (y * cos - x) / sin) < 0.02
    pairs = w * ((x.square() + y.square()).sum(1) * cos - 2 * (x * y).sum(1)) / (2 * sin)
    size = model.report()["kinetic"].mean()
    assert model.report().attrs["action"] == pytest.approx(float(pairs.mean()), abs=0.03 * size)


def gravity():
    """Cells thrown upwards: state at time t, energy, launch velocity."""
    a, u, b = (
        torch.tensor([0.0, -16.0]),
        torch.tensor([1.0, 8.0]),
        torch.tensor([[0.3, 0.2], [0.2, -0.3]]),
    )
    return (
        lambda t, x: x + (u + x @ b) * t + 0.5 * a * t**2,
        lambda t, x: -(x * a).sum(1),
        lambda x: u + x @ b,
        torch.zeros(2),
    )


def trap():
    """Cells launched sideways in a harmonic trap."""
    w, u, b = 2.0, torch.tensor([0.0, 3.0]), torch.tensor([[1.4, 0.2], [0.2, 1.2]])
    at = torch.tensor([2.5, 0.0])
    return (
        lambda t, x: x * math.cos(w * t) + (u + (x - at) @ b) * math.sin(w * t) / w,
        lambda t, x: 0.5 * w**2 * x.square().sum(1),
        lambda x: u + (x - at) @ b,
        at,
    )


@pytest.mark.parametrize("planted", [gravity, pytest.param(trap, marks=pytest.mark.slow)])
def test_a_known_force_field_fills_in_what_no_transport_would(planted):
    move, energy, launch, at = planted()

    def population(t, seed, n=1500):
        return move(t, at + 0.4 * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)))

    times = [0.0, 0.5, 1.0]
    data = di.Snapshots(times=times, samples=[population(t, k) for k, t in enumerate(times)])
    knowing = flow(800, OptimalTransport() + PhysicalPotential(energy)).fit(data, progress=False)
    ignorant = flow(300).fit(data, progress=False)
    x = population(0.0, 5)
    assert relative_error(knowing.process_.drift(0.0, x), launch(x)) < 0.02
    assert relative_error(ignorant.process_.drift(0.0, x), launch(x)) > 0.1
    for start, held in ((0.0, 0.25), (0.5, 0.75)):
        truth, fresh = (population(held, seed)[:1000].numpy() for seed in (77, 78))
        floor = wasserstein(fresh, truth, p=1)
        found = [
            wasserstein(m.simulate(data, [start, held]).states[:1000, -1].numpy(), truth, p=1)
            for m in (knowing, ignorant)
        ]
        assert found[0] < 1.3 * floor + 0.02
        assert found[1] > 2 * floor


def test_paths_go_round_a_ring_of_data_instead_of_through_the_hole():
    rng = np.random.default_rng(0)

    def ring(angle):
        return np.stack([np.cos(angle), np.sin(angle)], 1) + 0.05 * rng.normal(size=(len(angle), 2))

    def snapshot(centre):
        return np.concatenate(
            [ring(centre + 0.15 * rng.normal(size=1000)), ring(rng.uniform(0, 6.283, 400))]
        )

    data = two(snapshot(np.pi), snapshot(0.0))
    start = ring(np.pi + 0.15 * rng.normal(size=500))
    radius, ends = {}, {}
    for name, lagrangian in (("ring", DataManifold(strength=6.0)), ("plain", OptimalTransport())):
        total = OptimalTransport() + lagrangian
        model = flow(600 if name == "ring" else 200, total, scale="global").fit(
            data, progress=False
        )
        run = model.simulate(start, [0.0, 0.5, 1.0]).states
        radius[name], ends[name] = run[:, 1].norm(dim=1), run[:, 2].norm(dim=1)
    assert float(radius["plain"].median()) < 0.4
    assert float(radius["ring"].median()) > 0.7
    assert float((radius["ring"] < 0.5).float().mean()) < 0.15
    assert float((radius["plain"] < 0.5).float().mean()) > 0.6
    assert float((ends["ring"] - 1).abs().median()) < 0.15


# --- sums ---


def test_growth_and_noise_together_reproduce_what_was_made_by_both():
    # x = b t + Brownian motion, and cells grow at rate g·x: a tilted Gaussian, whose mean and mass are known.
    sigma, n = 0.5, 3000
    rng = np.random.default_rng(0)
    first = rng.normal(0, 0.6, (n, 2))
    last = rng.normal(0, math.sqrt(0.36 + 0.25), (n, 2)) + [1.0, 0.0]
    data = two(first, last, masses=(1.0, 2.0))
    model = flow(600, UnbalancedTransport(0.3) + SchrodingerBridge(sigma)).fit(data, progress=False)
    run = model.simulate(first, [0.0, 1.0], seed=1, solver=di.solvers.SRA1(dt=0.02))
    end, w = run.states[:, -1].double(), run.weights[:, -1].double()
    mean = (w[:, None] * end).sum(0)
    assert float(run.mass[-1]) == pytest.approx(2.0, rel=0.05)
    np.testing.assert_allclose(mean, last.mean(0), atol=0.05)
    spread = (w[:, None] * (end - mean).square()).sum(0)
    np.testing.assert_allclose(spread, last.var(0), rtol=0.1)


# --- contract ---

SMALL = {"width": 16, "depth": 2, "curve_width": 16}
NEW = {
    "constrained": {"lagrangian": UnbalancedTransport(0.3, mass="constrained"), "scale": "feature"},
    "manifold": {
        "lagrangian": OptimalTransport() + DataManifold(strength=0.5, n_landmarks=16),
        "curve_fraction": 0.9,
    },
    "everything": {
        "lagrangian": UnbalancedTransport(0.3) + SchrodingerBridge(0.5) + MeanAcceleration(),
        "refinement_steps": 1,
    },
}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", NEW)
def test_every_kind_of_lagrangian_keeps_the_contract(name, check, monkeypatch):
    monkeypatch.setattr(DualObjective, "warm_steps", 2)
    monkeypatch.setattr(DualObjective, "alone", 2)
    CHECKS[check](clone(WassersteinLagrangianFlow(**SMALL, **NEW[name])))


# --- files, text, mistakes ---


def spring(t, x):
    return x.square().sum(1)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(DualObjective, "warm_steps", 2)
    rng = np.random.default_rng(0)
    return di.Snapshots(times=[0, 1, 2], samples=[rng.normal(k, 1, (40, 2)) for k in range(3)])


def test_a_saved_potential_keeps_its_name_and_a_refit_asks_for_the_function(small, tmp_path):
    lagrangian = UnbalancedTransport(0.1) + PhysicalPotential(spring)
    model = WassersteinLagrangianFlow(lagrangian=lagrangian, **SMALL).fit(
        small, max_steps=4, progress=False
    )
    again = di.load(model.save(tmp_path / "model.safetensors"))
    assert (
        repr(again.lagrangian)
        == repr(lagrangian)
        == ("UnbalancedTransport(growth_penalty=0.1) + PhysicalPotential(V=spring)")
    )
    assert torch.equal(
        again.simulate(small, [0.0, 2.0]).states, model.simulate(small, [0.0, 2.0]).states
    )
    pd.testing.assert_frame_equal(again.report(), model.report())
    assert again.report().attrs == model.report().attrs
    with pytest.raises(TypeError, match="name 'spring': .* give the function itself to fit again"):
        again.fit(small, max_steps=2, progress=False)


def test_the_command_line_takes_a_sum_of_lagrangians(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    day = np.repeat([0.0, 1.0, 2.0], 40)
    x = (rng.normal(size=(120, 3)) + day[:, None]).astype(np.float32)
    obs = pd.DataFrame({"day": day}, index=[f"c{i}" for i in range(120)])
    anndata.AnnData(X=x, obs=obs).write_h5ad(tmp_path / "cells.h5ad")
    monkeypatch.chdir(tmp_path)
    text = "UnbalancedTransport(0.1)+SchrodingerBridge(0.3)"
    command = [
        "fit",
        "cells.h5ad",
        "--method",
        "WassersteinLagrangianFlow",
        "--time-key",
        "day",
        "--lagrangian",
        text,
    ]
    assert cli.main([*command, "--max-steps", "5", "--width", "8", "--no-progress"]) == 0
    model = di.load("model.safetensors")
    assert (
        repr(model.lagrangian)
        == "UnbalancedTransport(growth_penalty=0.1) + SchrodingerBridge(sigma=0.3)"
    )
    x = torch.randn(4, model.n_features_in_)
    assert model.process_.diffusion(0.0, x) == pytest.approx(0.3)
    growth, potential = model.process_.growth(0.0, x), model.process_.potential(0.0, x)
    torch.testing.assert_close(growth, 0.1 * potential)


def test_a_density_curve_is_refused_with_the_method_that_takes_it():
    curve = di.DensityCurve(lambda t, n: torch.randn(n, 2), times=(0, 1))
    with pytest.raises(
        TypeError, match="give it snapshots, or fit a DensityCurve with ActionMatching"
    ):
        WassersteinLagrangianFlow(**SMALL).fit(curve, progress=False)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"lagrangian": None}, TypeError, r"lagrangian must be .*Lagrangian.*, found None"),
        ({"lagrangian": "ot"}, TypeError, r"lagrangian must be .*Lagrangian.*, found 'ot'"),
        ({"lagrangian": OptimalTransport}, TypeError, r"lagrangian must be .*Lagrangian"),
        (
            {"lagrangian": SchrodingerBridge(-1.0)},
            ValueError,
            "SchrodingerBridge.sigma must be positive",
        ),
        (
            {"lagrangian": SchrodingerBridge(1.0) + SchrodingerBridge(2.0)},
            ValueError,
            "both set the noise; keep one of them",
        ),
        ({"curve_fraction": 1.5}, ValueError, r"curve_fraction must lie in \[0, 1\], found 1.5"),
        ({"curve_learning_rate": 0.0}, ValueError, "curve_learning_rate must be positive, found 0"),
        ({"damping": -0.1}, ValueError, r"damping must lie in \[0, 1\], found -0.1"),
        ({"refinement_steps": -1}, ValueError, "refinement_steps must not be negative, found -1"),
        ({"refinement_size": -1.0}, ValueError, "refinement_size must be positive, found -1"),
        ({"curve_width": 0}, ValueError, "curve_width must be at least 1, found 0"),
        ({"width": 0}, ValueError, "width and depth must be at least 1"),
        ({"activation": "relu"}, ValueError, "smooth"),
        ({"coupling": "sinkhorn"}, ValueError, "coupling"),
        ({"scale": "robust"}, ValueError, "scale"),
    ],
)
def test_what_cannot_be_is_refused_by_name(small, settings, error, message):
    with pytest.raises(error, match=message):
        WassersteinLagrangianFlow(**(SMALL | settings)).fit(small, max_steps=2, progress=False)


def test_masses_are_left_out_in_words_where_mass_is_conserved(small):
    data = di.Snapshots(times=small.times, samples=list(small.samples), masses=[1.0, 4.0, 2.0])
    results = []
    with pytest.warns(UserWarning, match="masses of the snapshots are not used"):
        results.append(flow(30).fit(data, progress=False))
    results.append(flow(30).fit(small, progress=False))
    x = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(*(m.process_.drift(1.0, x) for m in results))


def test_a_report_is_in_the_units_of_the_data(small):
    """The same data ten times as large and twice as slow."""
    stretched = di.Snapshots(times=2 * small.times, samples=[10 * s for s in small.samples])
    a = flow(100, UnbalancedTransport(0.5), scale="global").fit(small, progress=False).report()
    b = (
        flow(100, UnbalancedTransport(0.005), scale="global")
        .fit(stretched, progress=False)
        .report()
    )
    for column, factor in {
        "time": 2,
        "mass": 1,
        "kinetic": 25,
        "growth": 25,
        "residual_std": 25,
        "speed": 5,
        "acceleration": 2.5,
    }.items():
        np.testing.assert_allclose(b[column], factor * a[column], rtol=2e-2)
    assert b.attrs["action"] == pytest.approx(50 * a.attrs["action"], rel=1e-2)
    assert a.attrs["action"] == pytest.approx(
        float((a["kinetic"] + a["growth"]).mean() * 2), rel=1e-2
    )


def test_a_report_before_fitting_is_refused():
    with pytest.raises(Exception, match="not fitted yet"):
        WassersteinLagrangianFlow().report()


def test_the_angle_of_far_points_is_a_right_one():
    assert dirac_angle(100.0, 1.0) == math.pi / 2
