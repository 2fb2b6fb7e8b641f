"""A diffusion in scaled units against the same equation written in the user's units."""

import pytest
import torch

from dyninfer.diffusions import Diffusion, ScaledDiffusion
from dyninfer.learning.scaling import Scaling

SCALING = Scaling(shift=[3.0, -1.0], scale=[2.0, 0.5], start=5.0, duration=4.0, unit=1.0)
F64 = torch.float64


def inner():
    """An Ornstein-Uhlenbeck process about a place that moves, with growth, in scaled units."""
    return Diffusion(
        drift=lambda t, z: t[:, None] - z,
        diffusion=lambda t, z: 0.3 * (1 + z.square()),
        growth=lambda t, z: t * z[:, 0],
        score=lambda t, z: -z,
        potential=lambda t, z: (t[:, None] * z - 0.5 * z.square()).sum(1),
    )


def points():
    g = torch.Generator().manual_seed(0)
    return torch.linspace(5, 9, 6, dtype=F64), torch.randn(6, 2, generator=g, dtype=F64)


def by_hand(t, x):
    shift, scale = torch.tensor([3.0, -1.0], dtype=F64), torch.tensor([2.0, 0.5], dtype=F64)
    return (t - 5) / 4, (x - shift) / scale, scale


def test_every_field_is_in_the_units_of_the_user():
    p, (t, x) = ScaledDiffusion(inner(), SCALING), points()
    tau, z, scale = by_hand(t, x)
    torch.testing.assert_close(p.drift(t, x), (tau[:, None] - z) * scale / 4)
    torch.testing.assert_close(p.diffusion(t, x), 0.3 * (1 + z**2) * scale / 2)
    torch.testing.assert_close(p.growth(t, x), tau * z[:, 0] / 4)
    torch.testing.assert_close(p.score(t, x), -z / scale)
    torch.testing.assert_close(p.potential(t, x), (tau[:, None] * z - z**2 / 2).sum(1) / 4)


def test_fields_together_are_the_fields_one_by_one():
    p, (t, x) = ScaledDiffusion(inner(), SCALING), points()
    drift, growth, score = p.drift_growth_and_score(t, x)
    torch.testing.assert_close(drift, p.drift(t, x))
    torch.testing.assert_close(growth, p.growth(t, x))
    torch.testing.assert_close(score, p.score(t, x))
    torch.testing.assert_close(p.drift_and_growth(t, x)[1], growth)


def test_gradients_in_the_state_are_those_of_the_user():
    """By the chain rule: ∂b_i/∂x_j = −δ_ij / T."""
    p, (t, x) = ScaledDiffusion(inner(), SCALING), points()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda u, y: p.drift(u[None], y[None])[0], 1))
    torch.testing.assert_close(jacobian(t, x), -torch.eye(2, dtype=F64).expand(6, 2, 2) / 4)


def test_fields_that_the_inner_process_lacks_are_none():
    p, (t, x) = ScaledDiffusion(Diffusion(drift=lambda t, z: -z), SCALING), points()
    for field in (p.diffusion, p.growth, p.score, p.potential, p.divergence):
        assert field(t, x) is None
    assert p.drift_growth_and_score(t, x)[1:] == (None, None)


def test_times_may_be_numbers_and_states_of_either_precision():
    p, (_, x) = ScaledDiffusion(inner(), SCALING).double(), points()
    torch.testing.assert_close(p.drift(7.0, x), p.drift(torch.full((6,), 7.0, dtype=F64), x))
    torch.testing.assert_close(p.drift(torch.tensor(7.0), x), p.drift(7.0, x))
    assert p.drift(7.0, x.float()).dtype == torch.float32


def test_a_process_that_knows_no_conditions_says_so():
    with pytest.raises(ValueError, match="has no conditions, so 'a' cannot be used"):
        ScaledDiffusion(inner(), SCALING).given("a")


@pytest.mark.parametrize("shape", [(), (2,)])
def test_constant_noise_keeps_its_shape_and_the_precision_of_the_states(shape):
    class Constant(Diffusion):
        constant_noise = True

        def diffusion(self, t, x):
            return torch.full(shape, 0.3, dtype=x.dtype)

    even = Scaling(shift=[3.0, -1.0], scale=[2.0, 2.0], start=5.0, duration=4.0, unit=2.0)
    p, (t, x) = ScaledDiffusion(Constant(drift=lambda t, z: -z), even).double(), points()
    for states in (x, x.float()):
        amplitude = p.diffusion(t, states)
        assert amplitude.shape == shape
        assert amplitude.dtype == states.dtype
        torch.testing.assert_close(amplitude, torch.full(shape, 0.3, dtype=states.dtype))
