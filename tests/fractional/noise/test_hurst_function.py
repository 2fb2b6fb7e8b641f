import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch.distributions import MultivariateNormal

from dyninfer.fractional import (
    FractionalBrownianMotion,
    HurstFunction,
    MarkovApproximation,
    fit_multifractional,
    multifractional_covariance,
    sample_multifractional,
)
from dyninfer.fractional.controlled import run_controlled
from dyninfer.fractional.noise.interpolation import interpolated_weights, weights_of_many
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.solver import FractionalEuler

TIMES = np.linspace(0, 2, 129)


def step(t):
    return 0.3 + 0.5 / (1 + np.exp(-7 * (1 - t)))


def sine(t):
    return 0.5 + 0.25 * np.sin(np.pi * t)


@pytest.mark.parametrize("shape", [step, sine])
@pytest.mark.parametrize("seed", [0, 1])
def test_index_of_exact_multifractional_paths_is_found(shape, seed):
    fit = fit_multifractional(2 * sample_multifractional(TIMES, shape, 16, seed=seed), TIMES)
    error = fit.hurst(torch.from_numpy(TIMES)).numpy() - shape(TIMES)
    assert np.sqrt((error**2).mean()) < 0.05
    assert fit.amplitude == pytest.approx(2, rel=0.1)
    assert fit.status == "finished"


def test_likelihood_found_is_at_least_that_of_the_truth():
    x = 2 * sample_multifractional(TIMES, step, 8)
    truth = MultivariateNormal(
        torch.zeros(128).double(), 4 * multifractional_covariance(TIMES[1:], step)
    )
    fit = fit_multifractional(x, TIMES, n_coefficients=8, n_nodes=14)
    gained = fit.log_likelihood - truth.log_prob(x[:, 1:]).sum().item()
    assert -1 < gained < 15  # twice the gain is near χ² of nine parameters


def test_constant_index_with_a_past_is_found_constant():
    x = FractionalBrownianMotion(0.7).sample(TIMES, 16, dtype=torch.float64)
    fit = fit_multifractional(5 + x, TIMES, kind="I", n_coefficients=4)
    np.testing.assert_allclose(fit.hurst(torch.from_numpy(TIMES)), 0.7, atol=0.05)


def test_function_is_the_logistic_of_a_cubic_spline_and_constant_outside():
    h = HurstFunction(1.0, 3.0, n_coefficients=7)
    c = np.random.default_rng(0).normal(size=7)
    h.coefficients.data = torch.from_numpy(c)
    t = np.linspace(1, 3, 41)
    spline = BSpline(1 + 0.5 * np.arange(-3, 8), c, 3)
    found = h(torch.from_numpy(t)).detach()
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-spline(t))), atol=1e-12)
    assert torch.equal(h(torch.tensor([0.0, 9.0]).double()).detach(), found[[0, -1]])


@pytest.mark.parametrize("kind", ["I", "II"])
def test_interpolated_weights_are_the_weights(kind):
    noise = MarkovApproximation(10, dt=0.005, kind=kind)
    index = torch.tensor([0.0198, 0.1234, 0.5, 0.77, 0.9802], dtype=torch.float64)
    exact = noise.weights(index)
    error = (interpolated_weights(noise)(index) - exact).abs() / exact.abs().amax(1, keepdim=True)
    assert error.max() < 1e-7


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.9), (0.001, 0.999)])
def test_weights_of_many_indices_and_their_slopes_are_those_of_each(low, high):
    """Also where some are beyond the range of the interpolation."""
    noise = MarkovApproximation(8, horizon=2.0, dt=0.01)
    index = torch.linspace(low, high, 150, dtype=torch.float64).view(75, 2).requires_grad_(True)
    one, many = noise.weights(index), weights_of_many(noise, index)
    assert torch.allclose(many, one, atol=1e-7, rtol=0)
    toward = torch.linspace(-1, 1, one.numel(), dtype=torch.float64).view_as(one)
    slopes = [torch.autograd.grad((w * toward).sum(), index)[0] for w in (one, many)]
    assert torch.allclose(*slopes, rtol=1e-5, atol=1e-4)


def test_function_drives_a_process_and_its_coefficients_have_gradients():
    h = HurstFunction(0.0, 1.0)
    process = FractionalDiffusion(lambda t, x: -x, MarkovApproximation(4, kind="II"), h)
    run = run_controlled(process, torch.zeros(10, 1), [0, 1], solver=FractionalEuler(0.1))
    run.states[:, -1].square().mean().backward()
    assert (h.coefficients.grad.abs() > 0).all()


@pytest.mark.parametrize(
    ("paths", "times", "settings", "word"),
    [
        (np.ones(10), np.arange(10), {}, "paths"),
        (np.ones((2, 10)), np.arange(10), {}, "do not move"),
        (np.ones((2, 10)), np.arange(9), {}, "times"),
        (np.eye(10), np.arange(10) - 1.0, {}, "times"),
        (np.eye(10), np.arange(10), {"n_coefficients": 3}, "n_coefficients"),
    ],
)
def test_data_that_cannot_be_are_named(paths, times, settings, word):
    with pytest.raises(ValueError, match=word):
        fit_multifractional(paths, times, **settings)
