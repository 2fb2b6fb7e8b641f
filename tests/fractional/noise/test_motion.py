import mpmath as mp
import numpy as np
import pytest
import torch

from dyninfer.fractional import FractionalBrownianMotion
from dyninfer.fractional.noise.motion import noise_autocovariance


@pytest.mark.parametrize("hurst", [0.02, 0.3, 0.5, 0.9])
def test_riemann_liouville_covariance_matches_mpmath(hurst):
    times = [1e-3, 0.5, 0.99, 1.0]
    found = FractionalBrownianMotion(hurst, "II", "kernel").covariance(times)

    def exact(s, t):
        h, s, t = mp.mpf(hurst), mp.mpf(s), mp.mpf(t)
        kernel = s ** (h + 0.5) * t ** (h - 0.5) / mp.gamma(h + 0.5) / mp.gamma(h + 1.5)
        return float(kernel * mp.hyp2f1(0.5 - h, 1, h + 1.5, s / t))

    expected = [[exact(min(s, t), max(s, t)) for s in times] for t in times]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("hurst", [0.1, 0.5, 0.9])
def test_fast_sampler_has_the_covariance_of_the_motion(hurst):
    motion, times = FractionalBrownianMotion(hurst), np.linspace(0, 2, 101)
    x = motion.sample(times, 20_000, dtype=torch.float64)
    exact = motion.covariance(times)
    assert (x.T @ x / len(x) - exact).abs().max() < 0.03 * exact.max()
    assert (x[:, 0] == 0).all()


@pytest.mark.parametrize("kind", ["I", "II"])
def test_cholesky_sampler_has_the_covariance_of_the_motion_on_an_uneven_grid(kind):
    motion, times = FractionalBrownianMotion(0.3, kind, "kernel"), [0.0, 0.1, 0.15, 1.0, 4.0]
    x = motion.sample(times, 10_000, n_features=2, seed=1, dtype=torch.float64)
    assert x.shape == (10_000, 5, 2)
    exact = motion.covariance(times)
    for feature in x.unbind(-1):
        assert (feature.T @ feature / len(x) - exact).abs().max() < 0.04 * exact.max()
    assert (x[..., 0] * x[..., 1]).mean(0).abs().max() < 0.04 * exact.max()


@pytest.mark.parametrize("hurst", [0.02, 0.1, 0.5, 0.9, 0.98])
def test_circulant_of_the_noise_has_no_negative_eigenvalue(hurst):
    r = noise_autocovariance(hurst, 1001)
    assert torch.fft.rfft(torch.cat([r, r[1:-1].flip(0)])).real.min() > -1e-10


def test_unit_normalisation_has_variance_one_at_time_one_and_kernel_has_its_constant():
    assert FractionalBrownianMotion(0.1).variance(1.0) == 1
    for hurst, variance in ((0.1, 3.52), (0.3, 1.38), (0.7, 0.995), (0.9, 1.93)):
        assert FractionalBrownianMotion(hurst, normalize="kernel").variance(
            1.0
        ).item() == pytest.approx(variance, rel=3e-3)


def test_seed_fixes_the_paths_and_global_randomness_is_left_alone():
    state = torch.random.get_rng_state()
    a, b, c = (FractionalBrownianMotion(0.3).sample([0, 1, 2], 5, seed=s) for s in (3, 3, 4))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [((1.0,), "hurst"), ((0.5, "III"), "kind"), ((0.5, "I", "x"), "normalize")],
)
def test_bad_arguments_are_named(arguments, word):
    with pytest.raises(ValueError, match=word):
        FractionalBrownianMotion(*arguments)


def test_times_that_do_not_increase_are_refused():
    with pytest.raises(ValueError, match="strictly increase"):
        FractionalBrownianMotion(0.5).sample([0, 1, 1], 2)
