"""Solvers in any unit of states and times: the closed form is met to the same relative error."""

import math

import numpy as np
import pytest
import torch
from simulation.spelled import spelled
from torch import nn

import dyninfer as di
from dyninfer.diffusions import Diffusion, ScaledDiffusion
from dyninfer.learning.scaling import Scaling

UNITS = [1e-12, 1e-6, 1.0, 1e6, 1e12]
ADAPTIVE = ["tsit5", "dopri5", "bosh3"]
FIXED = ["rk4", "heun", "torchdiffeq:rk4"]


def rotation(turns_per_time):
    def drift(t, x):
        return turns_per_time * torch.stack([-x[:, 1], x[:, 0]], 1)

    return Diffusion(drift=drift)


@pytest.mark.parametrize("time_unit", UNITS)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("solver", ADAPTIVE)
def test_a_rotation_has_the_same_error_in_every_unit(solver, unit, time_unit):
    x = unit * np.array([[1.0, 0.0]])
    times = time_unit * np.array([0.0, 3.0, 10.0])
    run = di.simulate(rotation(1 / time_unit), x, times, solver=solver)
    exact = np.array([math.cos(10), math.sin(10)])
    assert np.abs(run.states[0, -1].numpy() / unit - exact).max() < 2e-2
    plain = di.simulate(rotation(1.0), x / unit, [0.0, 3.0, 10.0], solver=solver)
    assert np.abs(run.states.numpy() / unit - plain.states.numpy()).max() < 1e-8


@pytest.mark.parametrize("unit", [1e-15, 1e-6, 1e6, 1e15])
@pytest.mark.parametrize("solver", [*ADAPTIVE, *FIXED])
def test_single_precision_has_all_units_within_its_range(solver, unit):
    x = unit * torch.tensor([[1.0, 0.0], [0.0, -2.0]])
    run = di.simulate(rotation(1.0), x, [0.0, 1.0], solver=spelled(solver, dt=0.01))
    exact = unit * torch.tensor([math.cos(1), math.sin(1)])
    assert torch.allclose(run.states[0, -1], exact, rtol=5e-3, atol=0)


@pytest.mark.parametrize("solver", ["euler_maruyama", "sra1", "heun", "torchsde:srk"])
@pytest.mark.parametrize(("unit", "time_unit"), [(1e-12, 1e12), (1e12, 1e-12), (1.0, 1e9)])
def test_noise_has_no_unit(solver, unit, time_unit):
    def run(unit, time_unit):
        amplitude = 0.5 * unit / time_unit**0.5
        process = Diffusion(drift=lambda t, x: -x / time_unit, diffusion=amplitude)
        times = time_unit * np.array([0.0, 0.5, 1.0])
        x = unit * np.ones((20, 2))
        return di.simulate(process, x, times, solver=solver).states.numpy() / unit

    assert np.allclose(run(unit, time_unit), run(1.0, 1.0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_adaptive_noise_knows_the_unit_of_states(unit):
    process = Diffusion(drift=lambda t, x: -x, diffusion=0.5 * unit)
    x = unit * np.ones((500, 1))
    run = di.simulate(process, x, [0.0, 1.0], solver="torchsde:srk:adaptive")
    end = run.states[:, -1, 0].numpy() / unit
    assert end.mean() == pytest.approx(math.exp(-1), abs=0.06)
    assert end.std() == pytest.approx(0.5 * math.sqrt((1 - math.exp(-2)) / 2), rel=0.15)


def test_a_state_far_out_does_not_loosen_the_tolerance_of_the_others():
    x = np.array([[1.0, 0.0]] * 5 + [[1e9, 0.0]])
    run = di.simulate(rotation(6.0), x, [0.0, 10.0])
    exact = np.array([math.cos(60), math.sin(60)])
    ends = run.states[:, -1].numpy() / x[:, :1]
    assert np.abs(ends - exact).max() < 5e-3


def test_a_cloud_far_from_zero_is_as_accurate_as_at_zero():
    def around(centre):
        field = rotation(6.0)
        return Diffusion(drift=lambda t, x: field.drift(t, x - centre))

    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2))
    near = di.simulate(around(0.0), x, [0.0, 5.0]).states.numpy()
    far = di.simulate(around(1e6), x + 1e6, [0.0, 5.0]).states.numpy() - 1e6
    assert np.abs(far - near).max() < 2e-3


def test_coordinates_of_unlike_units_are_each_accurate():
    """A pendulum in nanometres and kilometres a second."""
    frequency = 1e12
    field = Diffusion(
        drift=lambda t, x: torch.stack([x[:, 1], -(frequency**2) * x[:, 0]], 1),
    )
    x = np.array([[1e-9, 0.0]])
    run = di.simulate(field, x, np.array([0.0, 5.0]) / frequency)
    exact = 1e-9 * np.array([math.cos(5), -frequency * math.sin(5)])
    assert np.allclose(run.states[0, -1].numpy(), exact, rtol=2e-3)


class Clock(nn.Module):
    """A velocity that is the scaled time itself, in single precision."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, t, x):
        return self.one * t[:, None].expand_as(x)


@pytest.mark.parametrize("solver", ["tsit5", "rk4", "dopri5", "midpoint"])
def test_a_fitted_process_knows_the_time_however_far_from_zero(solver):
    start = 1.7e9
    scaling = Scaling(shift=[0.0], scale=[2.0], start=start, duration=10.0, unit=2.0)
    process = ScaledDiffusion(Diffusion(drift=Clock()), scaling)
    run = di.simulate(process, torch.zeros(1, 1), [start, start + 5, start + 10], solver=solver)
    # dx/dτ = scale τ, so that x = scale τ² / 2.
    expected = 2.0 * np.array([0.0, 0.125, 0.5])
    assert np.allclose(run.states[0, :, 0].detach().numpy(), expected, rtol=1e-4)


def test_a_start_beyond_the_precision_of_the_run_is_a_sentence():
    network = nn.Linear(1, 1)

    class Learned(Diffusion):
        def __init__(self):
            super().__init__(drift=lambda t, x: network(x))
            self.network = network

    with pytest.raises(ValueError, match=r"x0 holds values of size 1e\+39.*float32"):
        di.simulate(Learned(), np.full((2, 1), 1e39), [0.0, 1.0])


@pytest.mark.filterwarnings("ignore:.*diverged")
@pytest.mark.parametrize("solver", ["tsit5", "rk4"])
def test_growth_beyond_the_range_of_floats_is_flagged_and_never_silent(solver):
    field = Diffusion(drift=lambda t, x: 1e3 * x)
    run = di.simulate(field, torch.ones(3, 1), [0.0, 1.0], solver=spelled(solver, dt=1e-3))
    assert run.status.tolist() == [1, 1, 1]
    assert run.states[:, -1].isnan().all()


def test_results_that_overflow_in_the_precision_of_the_start_are_flagged():
    class Double(Diffusion):
        def __init__(self):
            super().__init__(drift=lambda t, x: 100.0 * x)
            self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    with pytest.warns(RuntimeWarning, match="2 of 2 paths diverged"):
        run = di.simulate(Double(), torch.ones(2, 1), [0.0, 1.0], solver="rk4")
    assert run.status.tolist() == [1, 1]


def test_many_large_features_are_no_overflow():
    x = torch.full((1, 40), 3e37)
    run = di.simulate(Diffusion(drift=lambda t, x: 0 * x), x, [0.0, 1.0], solver="rk4")
    assert run.status.tolist() == [0]
