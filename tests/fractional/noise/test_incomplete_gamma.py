import mpmath as mp
import pytest
import torch

from dyninfer.fractional import gamma_p, gamma_q, scaled_gamma_q

mp.mp.dps = 40
POINTS = [(a, z) for a in (0.52, 0.8, 1.48, 2.4) for z in (1e-6, 0.3, 3.999, 4.001, 50.0, 1e5)]


def as_double(*values):
    return [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]


@pytest.mark.parametrize(("a", "z"), POINTS)
def test_values_and_slopes_in_both_arguments_match_mpmath(a, z):
    def exact(x, y):
        return mp.exp(y) * mp.gammainc(x, y, mp.inf, regularized=True)

    at = as_double(a, z)
    value = scaled_gamma_q(*at)
    slopes = torch.autograd.grad(value, at)
    assert value.item() == pytest.approx(float(exact(mp.mpf(a), mp.mpf(z))), rel=1e-12)
    assert slopes[0].item() == pytest.approx(
        float(mp.diff(exact, (mp.mpf(a), mp.mpf(z)), (1, 0))), rel=1e-11
    )
    assert slopes[1].item() == pytest.approx(
        float(mp.diff(exact, (mp.mpf(a), mp.mpf(z)), (0, 1))), rel=1e-9, abs=1e-12
    )
    assert gamma_p(*at).item() == pytest.approx(
        float(mp.gammainc(a, 0, z, regularized=True)), rel=1e-12
    )


def test_gradients_are_finite_on_both_sides_of_the_branch_and_at_zero():
    a, z = as_double([0.6, 0.6, 1.4, 1.4, 0.9], [0.0, 4.0, 4.0, 800.0, 1e-12])
    for f in (gamma_p, gamma_q, scaled_gamma_q):
        assert all(torch.isfinite(g).all() for g in torch.autograd.grad(f(a, z).sum(), (a, z)))
