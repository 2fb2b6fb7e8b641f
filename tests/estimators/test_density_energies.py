"""Energies of the density in a Lagrangian flow, against curves that keep their shape.

With ``L = K − U`` a cell obeys ``ẍ = −∇f'(ρ)``. Of ``f = κ ρ log ρ`` a normal density stays normal, with
``s'' = κ/s``; of ``f = κ ρ²`` on the line a parabola ``3/(4a) (1 − x²/a²)`` stays one, with ``a'' = 3κ/a²``.
Both are boundary value problems, solved here by scipy.
"""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_bvp
from scipy.stats import norm

import dyninfer as di
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.lagrangians.curve_density import CurveDensity
from dyninfer.transport.lagrangians.kernels import KernelDensity
from dyninfer.transport.objectives import DualObjective

LEVELS = (np.arange(1000) + 0.5) / 1000


def normal_sample():
    return norm.ppf(LEVELS)[:, None]


def parabola_sample():
    x = np.linspace(-1, 1, 4001)
    share = 0.5 + 0.75 * (x - x**3 / 3)
    return np.interp(LEVELS, share, x)[:, None]


def widths(force, start, end):
    """Solution of ``w'' = force(w)`` from one width to another in unit time."""
    grid = np.linspace(0, 1, 41)
    guess = np.stack([np.linspace(start, end, 41), np.zeros(41)])
    solution = solve_bvp(
        lambda t, y: np.stack([y[1], force(y[0])]),
        lambda first, last: np.array([first[0] - start, last[0] - end]),
        grid,
        guess,
    )
    assert solution.success
    return solution.sol


def fitted(lagrangian, first, last, monkeypatch, unit=1.0, duration=1.0):
    # A fifth of the usual steps with three times the rate: within a hundredth the same width.
    monkeypatch.setattr(DualObjective, "warm_steps", 200)
    monkeypatch.setattr(DualObjective, "warm_size", 256)
    data = di.Snapshots(times=[5.0, 5.0 + duration], samples=[unit * first, unit * last])
    training = di.Training(max_steps=150, patience=None, validation_fraction=0)
    model = di.WassersteinLagrangianFlow(
        lagrangian=lagrangian,
        width=48,
        curve_width=48,
        curve_learning_rate=3e-3,
        training=training,
    )
    return model.fit(data, progress=False), data


def width_midway(model, data):
    first, last = data.times
    run = model.simulate(data.samples[0], [first, (first + last) / 2, last])
    _, middle, end = run.states.std(0)[:, 0].tolist()
    assert end == pytest.approx(data.samples[1].std(), rel=0.03)
    return middle


@pytest.mark.parametrize(("strength", "end"), [(-3.0, 1.0), (1.0, 0.8)])
def test_a_normal_population_with_internal_energy_is_as_wide_as_its_equation_says(
    strength, end, monkeypatch
):
    exact = widths(lambda s: strength / s, 1.0, end)
    x = normal_sample()
    # Lengths in units of 10 and a duration of 2: the strength is a squared velocity.
    model, data = fitted(
        di.InternalEnergy(25 * strength), x, end * x, monkeypatch, unit=10.0, duration=2.0
    )
    right, straight = 10 * exact(0.5)[0], 5 * (1 + end)
    found = width_midway(model, data)
    assert found == pytest.approx(right, rel=0.05)
    assert abs(found - right) < 0.25 * abs(straight - right)
    # ∫ ½ s'² − κ E log ρ, with E log ρ = −½ log 2πe s² of the user's lengths.
    s, rate = exact(np.linspace(0, 1, 401))
    entropy = 0.5 * np.log(2 * math.pi * math.e * (10 * s) ** 2)
    action = 2 * np.mean(25 * 0.5 * rate**2 + 25 * strength * entropy)
    assert model.report().attrs["action"] == pytest.approx(action, rel=0.02)


@pytest.mark.parametrize("strength", [-1.0, pytest.param(0.15, marks=pytest.mark.slow)])
def test_a_parabola_with_congestion_is_as_wide_as_barenblatts(strength, monkeypatch):
    exact = widths(lambda a: 3 * strength / a**2, 1.0, 1.0)
    x = parabola_sample()
    model, data = fitted(di.Congestion(strength), x, x, monkeypatch)
    # The standard deviation of the parabola is a/√5.
    assert width_midway(model, data) == pytest.approx(exact(0.5)[0] / math.sqrt(5), rel=0.05)


@pytest.mark.filterwarnings("ignore:.*mass")
def test_an_energy_beyond_the_largest_with_a_least_action_is_warned_of(monkeypatch):
    # From width 1 to width 1 in unit time, s'' = κ/s has no solution above κ = 2.34.
    x = normal_sample()
    with pytest.warns(UserWarning, match=r"shrinks to .* no curve has the least action"):
        fitted(di.InternalEnergy(8.0), x, x, monkeypatch)


def test_a_density_by_kernels_has_the_mass_mean_and_covariance_of_its_sample():
    rng = np.random.default_rng(0)
    sample = rng.exponential(size=(60, 2)) @ np.array([[1.0, 0.6], [0.0, 0.5]])
    side = np.linspace(-6, 12, 361)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), -1).reshape(-1, 2)
    density = KernelDensity(torch.as_tensor(sample)).log_density(torch.as_tensor(grid)).exp()
    mass = density.numpy() * (side[1] - side[0]) ** 2
    mean = mass @ grid
    deviation = grid - mean
    assert mass.sum() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(mean, sample.mean(0), atol=1e-3)
    covariance = (mass * deviation.T) @ deviation
    np.testing.assert_allclose(covariance, np.cov(sample.T, ddof=0), atol=2e-3)


@pytest.mark.parametrize("term", [di.InternalEnergy(-0.7), di.Congestion(0.3, power=3.0)])
def test_what_cells_feel_is_the_derivative_of_the_energy(term):
    rho = torch.linspace(0.1, 2.0, 20, dtype=torch.float64, requires_grad=True)
    density = rho * term.energy(rho.log())
    (slope,) = torch.autograd.grad(density.sum(), rho)
    torch.testing.assert_close(slope, term.first_variation(rho.log()))


def test_the_density_between_two_looks_is_linear_in_the_logarithm():
    rng = np.random.default_rng(1)
    samples = [torch.as_tensor(s * rng.normal(size=(300, 1))) for s in (1.0, 2.0, 3.0)]
    density = CurveDensity()
    density.update(torch.tensor([0.0, 0.5, 1.0]), samples)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    parts = [KernelDensity(sample).log_density(x) for sample in samples]
    t = torch.full((9,), 0.625)
    torch.testing.assert_close(density.log_density(t, x), 0.75 * parts[1] + 0.25 * parts[2])
    torch.testing.assert_close(density.log_density(0 * t + 1, x), parts[2])


@pytest.mark.parametrize(
    ("lagrangian", "message"),
    [
        (di.InternalEnergy(0.0), "InternalEnergy.strength must be finite and not zero, found 0.0"),
        (di.Congestion(math.inf), "Congestion.strength must be finite"),
        (di.Congestion(1.0, power=1.0), "its limit 1 is InternalEnergy"),
        (
            di.SchrodingerBridge(0.5) + di.InternalEnergy(1.0),
            r"leave out SchrodingerBridge\(sigma=0.5\)",
        ),
        (di.InternalEnergy(1.0) + di.UnbalancedTransport(0.5), "leave out UnbalancedTransport"),
    ],
)
def test_what_no_curve_can_feel_is_refused(lagrangian, message):
    with pytest.raises(ValueError, match=message):
        lagrangian.check()
    with pytest.raises(ValueError, match=message):
        di.WassersteinLagrangianFlow(lagrangian=lagrangian).check()


def test_conditions_are_refused_as_the_density_is_of_all():
    x = normal_sample()[:50]
    labels = np.repeat(["a", "b"], 25)
    data = di.Snapshots(times=[0.0, 1.0], samples=[x, x], conditions=[labels, labels])
    model = di.WassersteinLagrangianFlow(lagrangian=di.InternalEnergy(-1.0))
    with pytest.raises(ValueError, match="condition"):
        model.fit(data, max_steps=1, progress=False)


def test_a_potential_beside_an_energy_of_the_density_adds_up():
    data = di.Snapshots(times=[0.0, 2.0], samples=[3 * normal_sample(), 3 * normal_sample()])
    scaling = Scaling.from_samples(data.times, list(data.samples))
    well = di.PhysicalPotential(lambda t, x: x.square().sum(1))
    both = (well + di.InternalEnergy(0.5)).scaled(data, scaling)
    alone = di.InternalEnergy(0.5).scaled(data, scaling)
    sample = torch.as_tensor(scaling.states(data.samples[0]))
    for lagrangian in (both, alone):
        lagrangian.potential.density.update(torch.tensor([0.0, 1.0]), [sample, sample])
    t = torch.full((5,), 0.5, dtype=torch.float64)
    x = sample[::200].double()
    gap = both.potential(t, x) - alone.potential(t, x)
    torch.testing.assert_close(gap, well.potential(data, scaling)(t, x))


def test_states_that_are_not_finite_have_no_density_and_stop_no_fit_by_an_error():
    states = torch.randn(20, 2)
    states[3, 1] = torch.nan
    assert KernelDensity(states).log_density(torch.zeros(4, 2)).isnan().all()
    # Of what has a density, all is as before.
    flat = torch.zeros(20, 2)
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(1, 2, dtype=dtype)
        assert KernelDensity(flat).log_density(x).isfinite().all()
