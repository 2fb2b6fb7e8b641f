import numpy as np
import pytest
from scipy.integrate import quad

from dyninfer.fractional.multifractional import multifractional_covariance, sample_multifractional


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
