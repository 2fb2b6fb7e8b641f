"""Gradients through simulations, against the sensitivities of the Ornstein-Uhlenbeck process."""

import math

import numpy as np
import pytest
import torch
from simulation.spelled import spelled

import dyninfer as di
from dyninfer.diffusions import Diffusion
from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.simulation import simulate

DOUBLE = torch.float64
SPAN = 0.8


def parameter(value):
    return torch.tensor(value, dtype=DOUBLE, requires_grad=True)


def relaxing(rate, centre, amplitude):
    """``dX = −k (X − m) dt + σ dW``, its parameters in closures that no module shows."""
    return Diffusion(
        drift=lambda t, x: -rate * (x - centre),
        diffusion=lambda t, x: amplitude,
    )


@pytest.mark.parametrize("solver", ["sra1", "euler_maruyama", "heun", "torchsde:srk"])
def test_sensitivities_of_every_path_are_those_of_the_closed_form(solver):
    rate, centre, amplitude = parameter(0.7), parameter(0.4), parameter(0.5)
    x0 = torch.full((3, 1), 2.0, dtype=DOUBLE, requires_grad=True)
    process = relaxing(rate, centre, amplitude)
    rule = spelled(solver, dt=1 / 400)
    run = simulate(process, x0, [0.0, SPAN], solver=rule, differentiable=True)
    last = run.states[:, -1, 0]
    by_x, by_centre, by_amplitude = torch.autograd.grad(
        last.sum(), (x0, centre, amplitude), retain_graph=True
    )
    # X(T) = m + (x − m) e^{−kT} + σ Z, with the same Z whatever the parameters.
    decay = math.exp(-0.7 * SPAN)
    noise = last.detach() - (0.4 + 1.6 * decay)
    assert by_x.flatten().numpy() == pytest.approx([decay] * 3, rel=2e-3)
    assert float(by_centre) == pytest.approx(3 * (1 - decay), rel=2e-3)
    assert float(by_amplitude) == pytest.approx(float(noise.sum()) / 0.5, abs=5e-3)


def test_mean_and_variance_move_with_the_parameters_as_in_the_closed_form():
    rate, centre, amplitude = parameter(0.7), parameter(0.4), parameter(0.5)
    process = relaxing(rate, centre, amplitude)
    x0 = np.full((4000, 1), 2.0)
    run = simulate(process, x0, [0.0, SPAN], differentiable=True)
    last = run.states[:, -1, 0]
    (mean_by_rate,) = torch.autograd.grad(last.mean(), rate, retain_graph=True)
    of_variance = torch.autograd.grad(last.var(), (rate, amplitude), retain_graph=True)
    decay = math.exp(-0.7 * SPAN)
    assert float(mean_by_rate) == pytest.approx(-1.6 * SPAN * decay, rel=0.02)
    # V = σ² (1 − e^{−2kT}) / 2k
    lost = (1 - decay**2) / (2 * 0.7)
    by_rate = 0.25 * (2 * SPAN * decay**2 / (2 * 0.7) - lost / 0.7)
    assert [float(slope) for slope in of_variance] == pytest.approx(
        [by_rate, 2 * 0.5 * lost], rel=0.08
    )
    # The noise is linear in σ, so that this holds for the sample as it is.
    assert float(of_variance[1]) == pytest.approx(4 * float(last.detach().var()), rel=1e-9)


def test_gradients_are_the_slopes_of_runs_with_the_same_seed():
    def end(rate):
        process = Diffusion(drift=lambda t, x: -rate * x**3, diffusion=lambda t, x: 0.2 * x)
        x0 = np.linspace(0.5, 2.0, 5)[:, None]
        return process, x0

    rate = parameter(0.9)
    run = simulate(*end(rate), [0.0, 0.5], seed=3, differentiable=True)
    (slope,) = torch.autograd.grad(run.states[:, -1].square().mean(), rate)
    values = [
        float(simulate(*end(shifted), [0.0, 0.5], seed=3).states[:, -1].square().mean())
        for shifted in (0.9 - 1e-5, 0.9 + 1e-5)
    ]
    assert float(slope) == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-6)


def test_a_rate_and_an_amplitude_are_fitted_by_two_moments():
    log_rate, log_amplitude = parameter(0.0), parameter(0.0)
    x0 = np.full((200, 1), 2.0)
    truth = torch.tensor([0.7, 0.5], dtype=DOUBLE).log()

    def moments(log_rate, log_amplitude, differentiable):
        process = relaxing(log_rate.exp(), 0.0, log_amplitude.exp())
        times = [0.0, SPAN]
        solver = di.solvers.SRA1(dt=0.1)
        run = simulate(process, x0, times, solver=solver, differentiable=differentiable)
        last = run.states[:, -1, 0]
        return torch.stack([last.mean(), last.var()])

    wanted = moments(*truth, differentiable=False)
    search = torch.optim.LBFGS([log_rate, log_amplitude], line_search_fn="strong_wolfe")

    def distance():
        search.zero_grad()
        loss = (moments(log_rate, log_amplitude, differentiable=True) - wanted).square().sum()
        loss.backward()
        return loss

    search.step(distance)
    assert [log_rate.item(), log_amplitude.item()] == pytest.approx(truth.tolist(), abs=1e-4)


@pytest.mark.parametrize("solver", ["tsit5", "rk4", "heun", "euler", "dopri5"])
def test_flows_pass_gradients_to_what_a_function_closes_over(solver):
    rate = parameter(0.7)
    process = Diffusion(drift=lambda t, x: -rate * x)
    x0 = np.array([[2.0], [1.0]])
    run = simulate(process, x0, [0.0, SPAN], solver=solver, differentiable=True)
    (slope,) = torch.autograd.grad(run.states[0, -1, 0], rate)
    # The plain rule of Euler has the error of its own hundredth of the span.
    tolerance = 1e-2 if solver == "euler" else 5e-4
    assert float(slope) == pytest.approx(-2 * SPAN * math.exp(-0.7 * SPAN), rel=tolerance)


def test_growth_passes_gradients_to_the_weights():
    rate = parameter(0.3)
    process = Diffusion(drift=lambda t, x: -rate * x, growth=lambda t, x: rate * x[:, 0])
    run = simulate(process, np.ones((2, 1)), [0.0, 1.0], differentiable=True)
    (slope,) = torch.autograd.grad(run.log_weights[0, -1], rate)
    # log w = 1 − e^{−r}
    assert float(slope) == pytest.approx(math.exp(-0.3), rel=1e-4)


def test_fractional_noise_passes_gradients():
    amplitude = parameter(0.5)
    process = FractionalDiffusion(
        drift=lambda t, x: -x,
        noise=MarkovApproximation(5),
        hurst=0.7,
        diffusion=amplitude,
    )
    run = simulate(process, np.zeros((4, 1)), [0.0, 1.0], differentiable=True)
    last = run.states[:, -1, 0]
    (slope,) = torch.autograd.grad(last.sum(), amplitude)
    # The noise is linear in its amplitude.
    assert float(slope) == pytest.approx(float(last.detach().sum()) / 0.5, rel=1e-5)


def test_without_the_switch_a_closure_leaves_no_graph():
    process = relaxing(parameter(0.7), 0.0, parameter(0.5))
    assert not simulate(process, np.ones((2, 1)), [0.0, 1.0]).states.requires_grad


def test_where_there_is_no_gradient_a_sentence_says_so():
    process = relaxing(parameter(0.7), 0.0, parameter(0.5))
    x0 = np.ones((2, 1))
    times = [0.0, 1.0]
    with pytest.raises(ValueError, match="resample=0.5 cannot be used: which path is drawn anew"):
        simulate(process, x0, times, resample=0.5, differentiable=True)
    with pytest.raises(ValueError, match="chunk_size=1 cannot be used: gradients keep the steps"):
        simulate(process, x0, times, chunk_size=1, differentiable=True)
    with pytest.raises(ValueError, match="turned off here"), torch.no_grad():
        simulate(process, x0, times, differentiable=True)
    still = relaxing(0.7, 0.0, torch.tensor(0.5))
    with pytest.raises(ValueError, match="depend on nothing that has any; call requires_grad_"):
        simulate(still, x0, times, differentiable=True)
    jumps = di.MarkovJump([[-1.0, 1.0], [2.0, -2.0]])
    with pytest.raises(ValueError, match="differentiable=True cannot be used: .*whole numbers"):
        simulate(jumps, [0, 1], times, differentiable=True)
    with pytest.raises(TypeError, match="differentiable must be True or False"):
        simulate(process, x0, times, differentiable="yes")
