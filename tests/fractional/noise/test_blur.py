import numpy as np
import pytest
import torch
from scipy.integrate import quad

from dyninfer.fractional import FractionalBrownianMotion, blurred_covariance
from dyninfer.fractional.noise.blur import cross_covariance


def mean_of_power(lag, exponent, exposure):
    """Mean of ``|lag + u - v|^a``: the difference of two uniform times has a triangular density."""

    def density(s):
        return (exposure - abs(s)) / exposure**2

    corners = sorted({-exposure, *(p for p in (-lag, 0.0) if abs(p) < exposure), exposure})
    total = 0.0
    for low, high in zip(corners, corners[1:], strict=False):
        value, _ = quad(
            lambda s: abs(lag + s) ** exponent * density(s), low, high, epsabs=1e-14, epsrel=1e-13
        )
        total += value
    return total


@pytest.mark.parametrize("hurst", [0.1, 0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("exposure", [0.05, 0.5, 1.0])
def test_covariance_of_increments_is_that_of_quadrature(hurst, exposure):
    """At unequal gaps, near and beyond the lag where the series takes over."""
    times = np.array([3.0, 4.0, 6.0, 7.5, 12.0, 40.0])
    covariance = blurred_covariance(times, hurst, exposure).numpy()
    variances = np.diag(covariance)
    of_displacement = variances[:, None] + variances - 2 * covariance
    at_zero = mean_of_power(0.0, 2 * hurst, exposure)
    for i, j in zip(*np.triu_indices(6, 1), strict=True):
        lag = times[j] - times[i]
        expected = mean_of_power(lag, 2 * hurst, exposure) - at_zero
        assert of_displacement[i, j] == pytest.approx(expected, rel=1e-10)


def test_without_exposure_it_is_fractional_motion():
    times = np.array([0.0, 1.0, 2.5, 7.0])
    expected = FractionalBrownianMotion(0.3).covariance(times)
    torch.testing.assert_close(blurred_covariance(times, 0.3, 0.0), expected)


@pytest.mark.parametrize("hurst", [0.2, 0.7])
def test_it_is_the_limit_of_means_over_many_points(hurst):
    """Means of exact motion at 400 midpoints of every exposure, and the motion itself."""
    times = np.array([0.5, 1.5, 3.5])
    offsets = (np.arange(400) + 0.5) / 400 - 0.5
    grid = (times[:, None] + 0.8 * offsets).ravel()
    exact = FractionalBrownianMotion(hurst).covariance(np.append(grid, times)).numpy()
    means = np.kron(np.eye(3), np.full(400, 1 / 400))
    fine = means @ exact[:1200, :1200] @ means.T
    # The motion starts at the first time, not at 0.
    start = exact[1200]
    of_means = means @ start[:1200]
    expected = fine - of_means - of_means[:, None] + start[1200]
    np.testing.assert_allclose(blurred_covariance(times, hurst, 0.8), expected, atol=2e-4)
    crossed = means @ exact[:1200, 1200:] - start[1200:] - of_means[:, None] + start[1200]
    elapsed = torch.from_numpy(times - times[0])
    found = cross_covariance(elapsed, elapsed, torch.tensor(hurst), 0.8)
    np.testing.assert_allclose(found, crossed.T, atol=2e-4)


def test_it_is_differentiable_in_the_index():
    hurst = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    times = torch.tensor([0.0, 1.0, 2.0, 30.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda h: blurred_covariance(times, h, 0.7), hurst)


@pytest.mark.parametrize("exposure", [-0.1, np.nan, np.inf, "half"])
def test_an_exposure_is_a_time(exposure):
    with pytest.raises(ValueError, match="exposure must be a time"):
        blurred_covariance([0.0, 1.0], 0.5, exposure)
