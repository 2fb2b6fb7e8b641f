"""Modules of the user's own: their derivatives, and what is refused before they are trained."""

import pytest
import torch
from torch import nn

from dyninfer.learning.networks import PotentialNetwork, VectorNetwork
from dyninfer.learning.own_networks import (
    OwnPotential,
    OwnVectorNetwork,
    own_potential,
    own_vector_network,
)

D, N = 3, 7
AXES = torch.eye(D).double()
ONE_EACH = torch.randn(N, 1, D, generator=torch.Generator().manual_seed(3)).double()


def points(seed=1):
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(N, generator=generator, dtype=torch.float64)
    return t, 2 * torch.randn(N, D, generator=generator, dtype=torch.float64)


def potential(n_conditions=0):
    torch.manual_seed(0)
    return PotentialNetwork(D, 16, 3, n_conditions=n_conditions).double()


def field(n_conditions=0):
    torch.manual_seed(0)
    return VectorNetwork(D, D, 16, 2, n_conditions=n_conditions).double()


@pytest.mark.parametrize("directions", [AXES, ONE_EACH], ids=["axes", "one direction each"])
@pytest.mark.parametrize("with_condition", [False, True])
def test_derivatives_by_differentiation_equal_those_written_out(directions, with_condition):
    c = torch.rand(N, 2).double() if with_condition else None
    net = potential(2 * with_condition)
    t, x = points()
    expected = net.derivatives(t, x, directions, c)
    found = OwnPotential(net).derivatives(t, x, directions, c)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    curvature = OwnPotential(net).curvature(t, x, directions, c)
    torch.testing.assert_close(curvature, expected.laplacian, rtol=1e-10, atol=1e-12)


def test_weights_are_trained_by_the_same_gradients():
    net = potential()
    t, x = points()
    gradients = []
    for network in (net, OwnPotential(net)):
        s = network.derivatives(t, x, AXES)
        loss = (s.value + s.time + s.gradient.square().sum(1) + s.laplacian).sum()
        gradients.append(torch.autograd.grad(loss, list(net.parameters()), allow_unused=True))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fields_are_computed_where_the_program_has_switched_gradients_off(mode):
    net = potential()
    t, x = points()
    expected = net.derivatives(t, x, AXES)
    own_field = OwnVectorNetwork(field(), D)
    with mode():
        # What is made in inference mode takes part in no graph.
        found = OwnPotential(net).derivatives(t.clone(), x.clone(), AXES.clone())
        divergence = own_field.divergence(t.clone(), x.clone(), AXES)
    assert not found.gradient.requires_grad
    torch.testing.assert_close(found.gradient, expected.gradient.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(divergence, field().divergence(t, x, AXES).detach())


def test_a_drift_can_be_differentiated_by_the_state():
    net = potential()
    t, x = points()
    slopes = []
    for network in (net, OwnPotential(net)):
        z = x.clone().requires_grad_()
        gradient = network.derivatives(t, z).gradient
        slopes.append(torch.autograd.grad(gradient.square().sum(), z)[0])
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-9, atol=1e-11)


def test_a_potential_that_ignores_time_has_the_rate_zero():
    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(D).double())

        def forward(self, t, x):
            return (self.weight * x.square()).sum(1)

    t, x = points()
    s = OwnPotential(Still()).derivatives(t, x, AXES)
    assert not s.time.any()
    torch.testing.assert_close(s.gradient, 2 * x)
    torch.testing.assert_close(s.laplacian, torch.full_like(t, 2 * D))


@pytest.mark.parametrize("directions", [AXES, ONE_EACH], ids=["axes", "one direction each"])
def test_divergence_equals_that_written_out_with_growth_behind(directions):
    c = torch.rand(N, 2).double()
    net = field(2)
    own = OwnVectorNetwork(net, D, VectorNetwork(D, 1, 8, n_conditions=2).double())
    t, x = points()
    torch.testing.assert_close(
        own.divergence(t, x, directions, c), net.divergence(t, x, directions, c)
    )
    outputs = own(t, x, c)
    assert outputs.shape == (N, D + 1)
    torch.testing.assert_close(outputs[:, :D], net(t, x, c))


class Answer(nn.Module):
    """A small network whose answer is changed by a function of ``(t, x, answer)``."""

    def __init__(self, change=lambda t, x, y: y, body=None, n_outputs=D):
        super().__init__()
        self.body = body or nn.Sequential(nn.Linear(D + 1, 8), nn.SiLU(), nn.Linear(8, n_outputs))
        self.change = change

    def forward(self, t, x):
        return self.change(t, x, self.body(torch.cat([t[:, None], x], 1)))


def scalar(**options):
    return Answer(lambda t, x, y: y[:, 0], **options)


def layers(*others):
    return nn.Sequential(nn.Linear(D + 1, 8), *others, nn.Linear(8, D))


def test_a_good_module_is_copied_and_left_as_it_was():
    module = Answer()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    own = own_vector_network(module, D)
    with torch.no_grad():
        own.module.body[0].weight.zero_()
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)
    assert isinstance(own_potential(scalar(), D), OwnPotential)


def test_last_layers_that_begin_with_zeros_and_lazy_ones_are_fine():
    module = Answer()
    nn.init.zeros_(module.body[-1].weight)
    nn.init.zeros_(module.body[-1].bias)
    own_vector_network(module, D)
    lazy = Answer(body=nn.Sequential(nn.LazyLinear(8), nn.SiLU(), nn.Linear(8, D)))
    own = own_vector_network(lazy, D)
    assert own.module.body[0].weight.shape == (8, D + 1)


def noisy(t, x, y):
    return y + torch.randn_like(y)


def normalised(t, x, y):
    return y - y.mean(0)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Answer(n_outputs=2), r"must return a tensor of shape \(4, 3\).*returned shape \(4, 2\)"),
        (Answer(lambda t, x, y: (y, y)), "it returned tuple"),
        (Answer(lambda t, x, y: y.double()), "it returned torch.float64"),
        (Answer(lambda t, x, y: y / 0), "is not finite"),
        (Answer(lambda t, x, y: y.detach()), "does not depend on x"),
        (Answer(lambda t, x, y: y * t.exp() @ x), "failed on t .*x .*RuntimeError"),
        (Answer(noisy), "answers differently when it is asked twice"),
        (Answer(normalised), "for a state alone and among others"),
        (Answer(lambda t, x, y: y.squeeze()), "for a state alone and among others"),
        (Answer(body=layers(nn.BatchNorm1d(8))), r"BatchNorm1d \('body.1'\).*GroupNorm"),
        (Answer(body=layers(nn.Dropout(0.1))), r"Dropout \('body.1'\), which draws at random"),
        (nn.Identity(), "no weights to learn"),
        (nn.Linear(3, 2, device="meta"), "device meta, which holds no numbers"),
    ],
)
def test_fields_that_cannot_be_trained_are_refused_by_name(module, message):
    with pytest.raises(ValueError, match=message) as error:
        own_vector_network(module, D)
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            Answer(),
            r"must return a tensor of shape \(4,\) for 4 states; it returned shape \(4, 3\)",
        ),
        (Answer(lambda t, x, y: y[:, :1]), r"returned shape \(4, 1\)"),
        (scalar(body=layers(nn.ReLU())), r"ReLU \('body.1'\).*jumps"),
        (Answer(lambda t, x, y: y.abs().sum(1), body=layers()), "without second derivatives"),
        (Answer(lambda t, x, y: t.exp() + y.detach().sum(1)), "does not depend on x"),
    ],
)
def test_potentials_that_cannot_be_trained_are_refused_by_name(module, message):
    with pytest.raises(ValueError, match=message) as error:
        own_potential(module, D)
    assert len(str(error.value)) <= 300


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="network must be a torch module, found 'unet'"):
        own_potential("unet", D)
    with pytest.raises(TypeError, match=r"give an instance of it: network=Answer\(...\)"):
        own_potential(Answer, D)
