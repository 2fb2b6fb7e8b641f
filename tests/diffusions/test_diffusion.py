"""Diffusion processes made of plain functions or by subclassing."""

import pytest
import torch

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import batch_times

X = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_fields_made_of_functions_see_batched_times():
    shapes = []

    def field(t, x):
        shapes.append(tuple(t.shape))
        return x * t[:, None]

    process = Diffusion(
        drift=field, score=field, growth=lambda t, x: t, potential=lambda t, x: t * x[:, 0]
    )
    torch.testing.assert_close(process.drift(2.0, X), 2 * X)
    torch.testing.assert_close(process.score(torch.tensor(3), X), 3 * X)
    torch.testing.assert_close(process.drift(torch.arange(5), X), X * torch.arange(5)[:, None])
    torch.testing.assert_close(process.growth(4, X), torch.full((5,), 4.0, dtype=X.dtype))
    torch.testing.assert_close(process.potential(0.5, X), 0.5 * X[:, 0])
    assert shapes == [(5,)] * 3


def test_fields_that_are_not_given_are_none():
    process = Diffusion(drift=lambda t, x: x)
    for name in ("diffusion", "growth", "score", "potential", "divergence"):
        assert getattr(process, name)(0.0, X) is None
    drift, growth = process.drift_and_growth(0.0, X)
    assert torch.equal(drift, X)
    assert growth is None


@pytest.mark.parametrize("noise", [0.5, torch.tensor(0.5)])
def test_a_number_is_a_scalar_amplitude_in_the_dtype_of_the_states(noise):
    amplitude = Diffusion(drift=lambda t, x: x, diffusion=noise).diffusion(0.0, X)
    assert amplitude.shape == ()
    assert amplitude.dtype == X.dtype
    assert amplitude == 0.5


def test_a_diagonal_amplitude_may_depend_on_time_and_state():
    process = Diffusion(drift=lambda t, x: x, diffusion=lambda t, x: t[:, None] * x.abs())
    torch.testing.assert_close(process.diffusion(2.0, X), 2 * X.abs())


def test_drift_and_growth_are_both_fields_at_once():
    process = Diffusion(drift=lambda t, x: -x, growth=lambda t, x: x.sum(1))
    drift, growth = process.drift_and_growth(0.0, X)
    assert torch.equal(drift, -X)
    assert torch.equal(growth, X.sum(1))


def test_a_subclass_needs_only_a_drift_and_is_told_so():
    class Still(Diffusion):
        pass

    with pytest.raises(NotImplementedError, match=r"Still must define drift\(t, x\)"):
        Still().drift(0.0, X)


def test_fields_are_differentiable():
    x = X.clone().requires_grad_()
    process = Diffusion(drift=lambda t, x: x**3)
    (gradient,) = torch.autograd.grad(process.drift(0.0, x).sum(), x)
    torch.testing.assert_close(gradient, 3 * X**2)


def test_a_network_given_as_a_field_moves_and_counts_with_the_process():
    net = torch.nn.Linear(2, 2)
    process = Diffusion(drift=lambda t, x: net(x), diffusion=0.1)
    assert process.drift(0.0, X.float()).shape == (5, 2)

    class Owned(Diffusion):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(2, 2)

        def drift(self, t, x):
            return self.net(x)

    assert len(list(Owned().parameters())) == 2
    assert Owned().to(torch.float64).drift(0.0, X).dtype == torch.float64


def test_a_scalar_time_becomes_a_view_for_every_row():
    t = batch_times(3, X)
    assert t.shape == (5,)
    assert t.dtype == X.dtype
    assert t.stride() == (0,)
    own = torch.rand(5, dtype=X.dtype)
    assert batch_times(own, X) is own


@pytest.mark.parametrize("field", [2, int, len, lambda x: x, torch.nn.Linear(2, 2)])
def test_fields_that_take_no_time_and_state_are_refused_by_name(field):
    for name in ("growth", "score", "potential"):
        with pytest.raises(TypeError, match=rf"{name} must be a function of \(t, x\), found"):
            Diffusion(drift=lambda t, x: -x, **{name: field})
    with pytest.raises(TypeError, match=r"drift must be a function of \(t, x\), found"):
        Diffusion(drift=field)


def test_a_diffusion_that_is_no_number_is_refused():
    for amplitude in ("wide", object()):
        with pytest.raises(TypeError, match="diffusion holds"):
            Diffusion(drift=lambda t, x: -x, diffusion=amplitude)
