import numpy as np
import pytest
import torch
from scipy.integrate import quad

from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.noise.multifractional import (
    approximate_covariance,
    multifractional_covariance,
    sample_multifractional,
)


def falling(t):
    return 0.8 - 0.4 * t


def test_covariance_is_the_integral_of_the_two_kernels():
    s, t = 0.4, 1.0
    a, b = falling(t) + 0.5, falling(s) + 0.5
    # The weight carries the singular end of the kernel of the earlier time.
    kernel, _ = quad(lambda r: (t - r) ** (a - 1), 0, s, weight="alg", wvar=(0, b - 1))
    scale = np.sqrt(2 * (a - 0.5)) * np.sqrt(2 * (b - 0.5))
    found = multifractional_covariance([s, t], falling)
    assert found[0, 1].item() == pytest.approx(scale * kernel, rel=1e-9)
    np.testing.assert_allclose(found.diag(), [s ** (2 * falling(s)), t ** (2 * falling(t))])


def test_samples_have_the_covariance():
    times = np.linspace(0, 1, 21)
    x = sample_multifractional(times, falling, 20_000)
    assert (x.T @ x / len(x) - multifractional_covariance(times, falling)).abs().max() < 0.03


def test_an_index_that_leaves_its_range_is_refused():
    with pytest.raises(ValueError, match="hurst"):
        multifractional_covariance([0.0, 3.0], falling)


def test_approximation_with_an_index_of_its_own_at_every_time_is_near_the_exact_covariance():
    times = np.linspace(0.02, 1, 50)
    noise = MarkovApproximation(12, dt=0.02, kind="II")
    found = approximate_covariance(noise, times, torch.from_numpy(falling(times)))
    exact = multifractional_covariance(times, falling)
    scale = exact.diag().sqrt()
    assert ((found - exact) / scale[:, None] / scale).abs().max() < 0.02


@pytest.mark.parametrize("kind", ["I", "II"])
def test_approximation_with_one_index_is_the_closed_covariance(kind):
    noise = MarkovApproximation(6, dt=0.01, kind=kind)
    times = torch.linspace(0, 1, 21, dtype=torch.float64)
    found = approximate_covariance(noise, times, torch.full((21,), 0.7, dtype=torch.float64))
    np.testing.assert_allclose(found, noise.covariance(times, 0.7), atol=1e-9)


@pytest.mark.parametrize("kind", ["I", "II"])
def test_two_indices_meet_in_the_cross_covariance_of_their_weights(kind):
    noise = MarkovApproximation(nodes=[0.1, 1.0, 10.0], kind=kind)
    s, t = 0.4, 1.0
    early, late = noise.weights([0.3, 0.8])
    g = noise.nodes
    sums = g[:, None] + g
    decay = lambda r: torch.exp(-g * r)  # noqa: E731
    past = 1 - decay(s)[:, None] - decay(t) if kind == "I" else -decay(s)[:, None] * decay(t)
    pair = torch.where(sums > 0, (decay(t - s) + past) / sums.clamp_min(1e-9), s)  # [early, late]
    found = approximate_covariance(noise, [s, t], torch.tensor([0.3, 0.8], dtype=torch.float64))
    assert found[0, 1].item() == pytest.approx((early @ pair @ late).item(), rel=1e-9)


def test_times_that_do_not_fit_the_indices_are_refused():
    noise = MarkovApproximation(3, kind="II")
    with pytest.raises(ValueError, match="times"):
        approximate_covariance(noise, [0.1, 0.2, 0.3], torch.tensor([0.5, 0.5]))
