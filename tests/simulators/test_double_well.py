"""The double well against finite differences, low-noise theory and an independent time stepping."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad
from scipy.linalg import solve_banded
from scipy.stats import kstest, norm

from dyninfer.simulators import DoubleWell

WELL = DoubleWell(barrier=1.0, stiffness=2.0, sigma=1.0)


def euler_maruyama(
    well: DoubleWell, x: np.ndarray, t: float, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Plain time stepping of the first coordinate, written from the equation."""
    h = t / steps
    for _ in range(steps):
        force = -4 * well.barrier * x * (x**2 - 1)
        x = x + h * force + well.sigma * math.sqrt(h) * rng.standard_normal(x.shape)
    return x


def passage_time_by_differences(a: float, sigma: float, start: float, target: float) -> float:
    """Solve ``½ σ² T'' − V' T' = −1`` with T(target) = 0 and a wall far to the left, by central differences."""
    x = np.linspace(-3.2, target, 20_001)
    h, d = x[1] - x[0], 0.5 * sigma**2
    force = -4 * a * x[:-1] * (x[:-1] ** 2 - 1)
    lower, upper = d / h**2 - force / (2 * h), d / h**2 + force / (2 * h)
    upper[0] += lower[0]
    bands = np.zeros((3, len(force)))
    bands[0, 1:], bands[1], bands[2, :-1] = upper[:-1], -2 * d / h**2, lower[1:]
    return float(np.interp(start, x[:-1], solve_banded((1, 1), bands, -np.ones(len(force)))))


def test_drift_is_the_gradient_of_the_potential():
    x = torch.randn(
        40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    process = DoubleWell(dimension=3).process()
    (gradient,) = torch.autograd.grad(process.potential(0.0, x).sum(), x)
    torch.testing.assert_close(process.drift(0.0, x), gradient)


def test_stationary_density_integrates_to_one_and_has_its_score():
    def density(y, x):
        return WELL.stationary_log_density(torch.tensor([[x, y]], dtype=torch.float64)).exp().item()

    assert dblquad(density, -2.5, 2.5, -4, 4, epsabs=1e-6)[0] == pytest.approx(1, abs=1e-5)
    x = torch.randn(
        20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    (gradient,) = torch.autograd.grad(WELL.stationary_log_density(x).sum(), x)
    torch.testing.assert_close(WELL.stationary_score(x), gradient)


@pytest.mark.parametrize(("start", "target"), [(-1.0, 1.0), (-1.0, 0.0), (0.5, 1.2)])
def test_passage_time_solves_the_backward_equation(start, target):
    expected = passage_time_by_differences(1.0, 1.0, start, target)
    assert WELL.mean_first_passage_time(start, target) == pytest.approx(expected, rel=1e-5)


def test_passage_time_is_symmetric():
    assert WELL.mean_first_passage_time(1.0, -1.0) == pytest.approx(
        WELL.mean_first_passage_time(-1.0, 1.0)
    )


def test_kramers_rate_is_the_low_noise_limit():
    ratios = []
    for sigma in (0.6, 0.45, 0.35):
        well = DoubleWell(barrier=1.0, sigma=sigma)
        ratios.append(well.kramers_rate * well.mean_first_passage_time(-1.0, 1.0))
    assert abs(ratios[2] - 1) < 0.05
    assert abs(ratios[2] - 1) < abs(ratios[1] - 1) < abs(ratios[0] - 1)


def test_slowest_relaxation_is_twice_the_rate_of_escape():
    well = DoubleWell(barrier=1.0, sigma=0.45)
    assert well.relaxation_rate == pytest.approx(
        2 / well.mean_first_passage_time(-1.0, 1.0), rel=0.01
    )


def test_marginal_starts_from_the_initial_law_and_ends_in_the_stationary_one():
    x, start = WELL.marginal_density(0.0)
    np.testing.assert_allclose(start, norm(-1, 0.2).pdf(x), atol=5e-3)
    x, end = WELL.marginal_density(100.0)
    weight = np.exp(-2 * (x**2 - 1) ** 2)
    np.testing.assert_allclose(end, weight / np.trapezoid(weight, x), atol=1e-4)


@pytest.mark.parametrize("t", [0.05, 0.5, 3.0])
def test_marginal_matches_time_stepping(t):
    rng = np.random.default_rng(0)
    x = euler_maruyama(WELL, -1 + 0.2 * rng.standard_normal(20_000), t, 2000, rng)
    centre, density = WELL.marginal_density(t)
    h = centre[1] - centre[0]
    assert kstest(x, lambda y: np.interp(y, centre + h / 2, np.cumsum(density) * h)).pvalue > 1e-3


def test_marginal_of_a_wide_start_is_a_density():
    x, density = DoubleWell(initial_std=2.0).marginal_density(0.1)
    assert density.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-9)


def test_samples_follow_the_marginal_and_the_other_coordinates_relax():
    x = WELL.sample(0.5, 20_000, seed=2).numpy()
    rng = np.random.default_rng(1)
    reference = euler_maruyama(WELL, -1 + 0.2 * rng.standard_normal(20_000), 0.5, 1000, rng)
    assert kstest(x[:, 0], reference).pvalue > 1e-3
    variance = 0.04 * math.exp(-2) + 0.25 * (1 - math.exp(-2))
    assert kstest(x[:, 1], norm(0, math.sqrt(variance)).cdf).pvalue > 1e-3


def test_paths_cross_the_barrier_as_the_marginals_say():
    times = [0.0, 1.0, 2.0]
    x = np.stack(WELL.paths(times, 4000, seed=1).states)
    for k, t in enumerate(times):
        centre, density = WELL.marginal_density(t)
        h = centre[1] - centre[0]
        law = np.cumsum(density) * h
        assert (
            kstest(x[:, k, 0], lambda y, c=centre, f=law, h=h: np.interp(y, c + h / 2, f)).pvalue
            > 1e-3
        )


def test_passage_time_outside_the_populated_range_is_refused():
    with pytest.raises(ValueError, match="start must be between"):
        WELL.mean_first_passage_time(-9.0, 1.0)
    with pytest.raises(ValueError, match="barrier must be positive"):
        DoubleWell(barrier=0.0)
