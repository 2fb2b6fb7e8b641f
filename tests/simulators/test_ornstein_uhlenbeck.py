"""The Ornstein-Uhlenbeck simulator against textbook formulas, automatic derivatives and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, multivariate_normal, norm

from dyninfer.simulators import OrnsteinUhlenbeck

OU = OrnsteinUhlenbeck(rate=1.5, mean=0.5, sigma=0.8, initial_mean=(2.0, -1.0), initial_std=0.3)


def moments(t: float) -> tuple[np.ndarray, float]:
    """Integrate dm/dt = −θ(m − μ), dv/dt = −2θv + σ² by hand with a fine Runge-Kutta rule."""
    y, h = np.array([2.0, -1.0, 0.09]), t / 400

    def slope(y):
        return np.array([-1.5 * (y[0] - 0.5), -1.5 * (y[1] - 0.5), -3.0 * y[2] + 0.64])

    for _ in range(400):
        a = slope(y)
        b = slope(y + h / 2 * a)
        c = slope(y + h / 2 * b)
        y = y + h / 6 * (a + 2 * b + 2 * c + slope(y + h * c))
    return y[:2], y[2]


@pytest.mark.parametrize("t", [0.1, 0.7, 3.0])
def test_moments_solve_the_moment_equations(t):
    mean, variance = moments(t)
    np.testing.assert_allclose(OU.marginal_mean(t), mean, rtol=1e-8)
    assert OU.marginal_variance(t).item() == pytest.approx(variance, rel=1e-8)


def test_moments_accept_integer_times():
    assert OU.marginal_mean(1).dtype == torch.float64
    torch.testing.assert_close(OU.marginal_mean(1), OU.marginal_mean(1.0))


@pytest.mark.parametrize("t", [0.0, 0.4, 2.0])
def test_samples_follow_the_marginal(t):
    mean, variance = moments(t) if t else (np.array([2.0, -1.0]), 0.09)
    x = OU.sample(t, 20_000, seed=3)
    assert x.dtype == torch.float32
    for j in range(2):
        assert kstest(x[:, j].numpy(), norm(mean[j], math.sqrt(variance)).cdf).pvalue > 1e-3


def test_log_density_matches_scipy():
    x = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, variance = moments(0.7)
    expected = multivariate_normal(mean, variance * np.eye(2)).logpdf(x.numpy())
    np.testing.assert_allclose(OU.log_density(0.7, x), expected, rtol=1e-7)


def test_fields_of_the_process_are_derivatives_of_potential_and_log_density():
    x = torch.randn(
        50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    t = torch.linspace(0, 2, 50, dtype=torch.float64)
    process = OU.process()
    (from_potential,) = torch.autograd.grad(process.potential(t, x).sum(), x)
    (from_density,) = torch.autograd.grad(OU.log_density(t, x).sum(), x)
    torch.testing.assert_close(process.drift(t, x), from_potential)
    torch.testing.assert_close(process.score(t, x), from_density)


def test_probability_flow_solves_the_continuity_equation():
    x = torch.randn(
        30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    t = torch.linspace(0.1, 2, 30, dtype=torch.float64).requires_grad_()
    change, slope = torch.autograd.grad(OU.log_density(t, x).sum(), (t, x))
    v = OU.probability_flow(t, x)
    divergence = sum(
        torch.autograd.grad(v[:, j].sum(), x, retain_graph=True)[0][:, j] for j in range(2)
    )
    residual = change + divergence + (slope * v).sum(1)  # (∂ρ/∂t + ∇·(ρ v)) / ρ
    assert residual.abs().max() < 1e-10


def test_paths_have_the_exact_autocovariance():
    times = [0.0, 0.3, 0.5, 2.0]
    paths = OU.paths(times, 20_000, seed=5)
    x = np.stack(paths.states)[:, :, 0]
    cov = np.cov(x.T)
    for i, s in enumerate(times):
        for j, t in enumerate(times):
            expected = math.exp(-1.5 * abs(t - s)) * (
                0.09 if min(s, t) == 0 else moments(min(s, t))[1]
            )
            assert cov[i, j] == pytest.approx(expected, abs=5 * 0.25 / math.sqrt(20_000))
            assert OU.autocovariance(s, t) == pytest.approx(expected, rel=1e-7)


def test_law_becomes_stationary():
    assert OU.marginal_variance(50.0).item() == pytest.approx(OU.stationary_variance) == 0.64 / 3


def test_snapshots_are_unpaired_and_reproducible():
    a, b = OU.snapshots([0, 1, 2], 500, seed=1), OU.snapshots([0, 1, 2], 500, seed=1)
    np.testing.assert_array_equal(a.at(1), b.at(1))
    for s, t in ((0, 1), (1, 2)):
        assert abs(np.corrcoef(a.at(s)[:, 0], a.at(t)[:, 0])[0, 1]) < 0.2
    assert a.masses is None


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match="rate must be positive, found -1"):
        OrnsteinUhlenbeck(rate=-1)
    with pytest.raises(ValueError, match="initial_mean must be a number or 2 numbers"):
        OrnsteinUhlenbeck(initial_mean=(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="times must be increasing"):
        OU.paths([1.0, 0.0], 3)
    with pytest.raises(ValueError, match="t must not be negative"):
        OU.sample(-1.0, 3)
