"""A potential's drift, growth and noise in the units of the user."""

import numpy as np
import pytest
import torch

from dyninfer.diffusions import PotentialDiffusion, ScaledDiffusion
from dyninfer.learning.networks import PotentialNetwork
from dyninfer.learning.scaling import Scaling

D, N = 3, 6
TIMES = np.array([10.0, 34.0])
RNG = np.random.default_rng(0)
SAMPLES = [RNG.normal([100, -5, 0], [30, 2, 0.1], (80, D)) for _ in TIMES]
each_scale = pytest.mark.parametrize("mode", ["global", "feature", None])


def process(mode="global", **settings):
    scaling = Scaling.from_samples(TIMES, SAMPLES, mode)
    torch.manual_seed(0)
    network = PotentialNetwork(D, width=12, depth=2, activation="tanh")
    return in_users_units(network, scaling, **settings), scaling


def in_users_units(network, scaling, sigma=0.0, growth_penalty=None):
    penalty = None if growth_penalty is None else scaling.growth_penalty(growth_penalty)
    inner = PotentialDiffusion(network, scaling.amplitude(sigma), penalty)
    return ScaledDiffusion(inner, scaling).double()


def points():
    x = torch.as_tensor(SAMPLES[0][:N]).requires_grad_()
    return torch.linspace(10, 34, N, dtype=torch.float64), x


@pytest.mark.parametrize("mode", ["global", None])
def test_drift_is_the_gradient_of_the_potential_in_the_users_units(mode):
    p, _ = process(mode)
    t, x = points()
    (gradient,) = torch.autograd.grad(p.potential(t, x).sum(), x)
    torch.testing.assert_close(p.drift(t, x), gradient)


def test_with_a_scale_per_feature_the_drift_is_the_gradient_in_standard_deviations():
    p, scaling = process("feature")
    t, x = points()
    (gradient,) = torch.autograd.grad(p.potential(t, x).sum(), x)
    torch.testing.assert_close(p.drift(t, x), gradient * scaling.scale**2)


@each_scale
def test_divergence_is_the_trace_of_the_jacobian_of_the_drift(mode):
    p, _ = process(mode)
    t, x = points()
    drift = p.drift(t, x)
    trace = sum(
        torch.autograd.grad(drift[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(D)
    )
    torch.testing.assert_close(p.divergence(t, x), trace)


@each_scale
def test_growth_is_the_penalty_times_the_potential_and_comes_with_the_drift(mode):
    p, _ = process(mode, growth_penalty=0.7)
    t, x = points()
    torch.testing.assert_close(p.growth(t, x), 0.7 * p.potential(t, x))
    drift, growth = p.drift_and_growth(t, x)
    torch.testing.assert_close(drift, p.drift(t, x))
    torch.testing.assert_close(growth, p.growth(t, x))


def test_mass_is_conserved_and_paths_are_smooth_where_nothing_else_was_asked():
    p, _ = process()
    t, x = points()
    assert p.growth(t, x) is None
    assert p.diffusion(t, x) is None
    assert p.score(t, x) is None
    assert p.drift_and_growth(t, x)[1] is None


def test_noise_is_a_scalar_in_the_units_of_the_states():
    p, _ = process("global", sigma=0.4)
    assert p.diffusion(*points()).item() == pytest.approx(0.4, rel=1e-15)
    assert p.diffusion(*points()).shape == ()


def test_with_a_scale_per_feature_noise_is_in_standard_deviations():
    p, scaling = process("feature", sigma=0.4)
    torch.testing.assert_close(p.diffusion(*points()), 0.4 * scaling.scale)


@pytest.mark.parametrize("mode", ["global", "feature"])
def test_a_change_of_units_changes_the_drift_as_units_do(mode):
    """Metres to centimetres, hours to minutes: the same network must give the same motion."""
    p, scaling = process(mode)
    other = Scaling.from_samples(60 * TIMES, [100 * s for s in SAMPLES], mode)
    q = in_users_units(p.inner.network, other)
    t, x = points()
    torch.testing.assert_close(q.drift(60 * t, 100 * x), p.drift(t, x) * 100 / 60)


def test_the_path_of_a_potential_linear_in_time_and_space_is_known():
    """u = a·z + bτ: the drift is a c/T everywhere."""
    p, scaling = process("global")
    a = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    p.inner.network.hidden = torch.nn.ModuleList([torch.nn.Linear(D + 1, 1, bias=False).double()])
    p.inner.network.output = torch.nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        p.inner.network.hidden[0].weight.copy_(
            1e-4 * torch.cat([torch.tensor([3.0]).double(), a])[None]
        )
        p.inner.network.output.weight.fill_(1e4)  # tanh is linear near zero
    t, x = points()
    expected = (a * scaling.unit / scaling.duration).expand(N, D)
    torch.testing.assert_close(p.drift(t, x), expected, rtol=1e-5, atol=0)


def test_scaling_moves_and_saves_with_the_weights():
    p, scaling = process("feature")
    state = p.state_dict()
    assert torch.equal(state["scaling.shift"], scaling.shift)
    assert torch.equal(state["scaling.scale"], scaling.scale)
    assert p.float().drift(20.0, torch.zeros(2, D)).dtype == torch.float32


def test_drift_is_differentiable_in_state_and_weights():
    p, _ = process(sigma=0.2, growth_penalty=1.0)
    t, x = points()
    drift, growth = p.drift_and_growth(t, x)
    gradients = torch.autograd.grad(
        (drift.square().sum() + growth.sum()), [x, *p.inner.network.parameters()]
    )
    assert all(g.isfinite().all() and g.abs().sum() > 0 for g in gradients)
