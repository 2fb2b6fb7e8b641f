"""The written-out derivatives of the potential against automatic differentiation."""

import numpy as np
import pytest
import torch
from torch.autograd.functional import hessian, jacobian

import dyninfer as di
from dyninfer.learning.networks import SMOOTH_ACTIVATIONS, PotentialNetwork

D, N = 3, 7
each_network = pytest.mark.parametrize(
    ("activation", "depth"), [(a, d) for a in SMOOTH_ACTIVATIONS for d in (1, 3)]
)


def network(activation="silu", depth=3, d=D, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return PotentialNetwork(d, width=16, depth=depth, activation=activation).to(dtype)


def points(n=N, d=D, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.rand(n, generator=generator, dtype=dtype),
        2 * torch.randn(n, d, generator=generator, dtype=dtype),
    )


def autograd_derivatives(net, t, x):
    """Value, ∂s/∂t, ∇s and ∇²s, one point at a time."""
    found = []
    for ti, xi in zip(t, x, strict=True):
        both = torch.cat([ti[None], xi])

        def s(z):
            return net(z[:1], z[None, 1:])[0]

        found.append(
            (
                s(both).detach(),
                jacobian(s, both)[0],
                jacobian(s, both)[1:],
                hessian(s, both)[1:, 1:],
            )
        )
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


@each_network
def test_value_time_derivative_gradient_and_laplacian_equal_autograd(activation, depth):
    net, (t, x) = network(activation, depth), points()
    value, time, gradient, second = autograd_derivatives(net, t, x)
    s = net.derivatives(t, x, torch.eye(D, dtype=x.dtype))
    torch.testing.assert_close(s.value, value, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(s.time, time, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(s.gradient, gradient, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(
        s.laplacian, second.diagonal(dim1=1, dim2=2).sum(1), rtol=1e-12, atol=1e-13
    )


@each_network
def test_curvature_along_directions_of_each_point_is_the_quadratic_form_of_the_hessian(
    activation, depth
):
    net, (t, x) = network(activation, depth), points()
    v = torch.randn(N, 2, D, dtype=x.dtype)
    second = autograd_derivatives(net, t, x)[3]
    expected = torch.einsum("nki,nij,nkj->n", v, second, v)
    torch.testing.assert_close(net.curvature(t, x, v), expected, rtol=1e-11, atol=1e-12)


def test_a_condition_shifts_the_first_layer_and_is_no_direction_of_the_state():
    """With weights W_c of the condition, s(t, x, c) is the potential whose bias is b + W_c c."""
    torch.manual_seed(0)
    net = PotentialNetwork(D, width=16, depth=3, n_conditions=2).double()
    t, x = points()
    c = torch.tensor([[0.5, -1.0]]).double()
    plain = PotentialNetwork(D, width=16, depth=3).double()
    plain.load_state_dict({**net.state_dict(), "hidden.0.weight": net.hidden[0].weight[:, : 1 + D]})
    with torch.no_grad():
        plain.hidden[0].bias += net.hidden[0].weight[:, 1 + D :] @ c[0]
    axes = torch.eye(D, dtype=x.dtype)
    found = net.derivatives(t, x, axes, c.expand(N, -1))
    torch.testing.assert_close(found, plain.derivatives(t, x, axes), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(net(t, x, c.expand(N, -1)), found.value)


@each_network
def test_parameter_gradients_through_derivatives_equal_double_backward(activation, depth):
    net, (t, x) = network(activation, depth), points()
    coefficients = torch.randn(N, D + 3, dtype=x.dtype)

    def mixed(value, time, gradient, laplacian):
        parts = torch.cat([torch.stack([value, time, laplacian], 1), gradient], 1)
        return (coefficients * parts.square()).sum()

    s = net.derivatives(t, x, torch.eye(D, dtype=x.dtype))
    ours = torch.autograd.grad(mixed(*s[:3], s.laplacian), net.parameters())

    t, x = t.requires_grad_(), x.requires_grad_()
    value = net(t, x)
    time, gradient = torch.autograd.grad(value.sum(), (t, x), create_graph=True)
    laplacian = sum(
        torch.autograd.grad(gradient[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(D)
    )
    theirs = torch.autograd.grad(mixed(value, time, gradient, laplacian), net.parameters())
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


@each_network
def test_the_gradient_can_itself_be_differentiated_twice(activation, depth):
    net, (t, x) = network(activation, depth), points(2)

    def ours(z):
        return net.derivatives(t, z).gradient

    assert torch.autograd.gradcheck(ours, (x.clone().requires_grad_(),))
    assert torch.autograd.gradgradcheck(ours, (x.clone().requires_grad_(),))


def test_the_jacobian_of_the_gradient_is_the_hessian():
    net, (t, x) = network(), points()
    ours = jacobian(lambda z: net.derivatives(t, z).gradient.sum(0), x).transpose(0, 1)
    torch.testing.assert_close(ours, autograd_derivatives(net, t, x)[3], rtol=1e-11, atol=1e-12)


def test_one_random_sign_gives_the_exact_laplacian_where_the_hessian_is_diagonal():
    net, (t, x) = network(depth=1), points()
    with torch.no_grad():
        net.hidden[0].weight.zero_()
        for unit in range(16):  # every unit looks along one axis only
            net.hidden[0].weight[unit, 1 + unit % D] = 1.0 + unit
    signs = torch.randint(0, 2, (N, 1, D)).to(x) * 2 - 1
    exact = net.curvature(t, x, torch.eye(D, dtype=x.dtype))
    torch.testing.assert_close(net.curvature(t, x, signs), exact, rtol=1e-11, atol=1e-12)


def test_hutchinsons_estimate_over_all_sign_vectors_is_the_laplacian():
    net, (t, x) = network(), points()
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=x.dtype)] * D)
    mean = net.curvature(t, x, signs) / len(signs)
    torch.testing.assert_close(
        mean, net.curvature(t, x, torch.eye(D, dtype=x.dtype)), rtol=1e-11, atol=1e-12
    )
    one_by_one = torch.stack([net.curvature(t, x, v[None]) for v in signs])
    assert one_by_one.std(0).min() > 1e-4  # the estimate is one, not the exact value in disguise


def test_the_laplacian_is_left_out_where_it_is_not_asked_for():
    assert network().derivatives(*points()).laplacian is None


def test_the_potential_is_not_pinned_at_the_origin():
    net = network()
    t = torch.tensor([0.0, 0.3, 0.9], dtype=torch.float64)
    at_origin = net(t, torch.zeros(3, D, dtype=torch.float64))
    assert at_origin.abs().min() > 1e-3
    assert at_origin.std() > 1e-4


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_derivatives_need_no_autograd(context):
    net, (t, x) = network(), points()
    axes = torch.eye(D, dtype=x.dtype)
    expected = net.derivatives(t, x, axes)
    with context():
        found = net.derivatives(t, x, axes)
    for a, b in zip(found, expected, strict=True):
        assert not a.requires_grad
        torch.testing.assert_close(a, b.detach(), rtol=0, atol=0)


@pytest.mark.parametrize("activation", SMOOTH_ACTIVATIONS)
@pytest.mark.filterwarnings("ignore")
def test_compiled_derivatives_and_their_gradients_equal_eager_ones(activation):
    net, (t, x) = network(activation, depth=2), points()
    axes = torch.eye(D, dtype=x.dtype)

    def loss(t, x):
        s = net.derivatives(t, x, axes)
        return (s.value + s.time + s.gradient.square().sum(1) + s.laplacian).sum()

    torch.compiler.reset()
    compiled = torch.compile(loss, backend="aot_eager")
    torch.testing.assert_close(compiled(t, x), loss(t, x), rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(compiled(t, x), net.parameters())
    for a, b in zip(ours, torch.autograd.grad(loss(t, x), net.parameters()), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", SMOOTH_ACTIVATIONS)
def test_bfloat16_autocast_trains_float32_weights_near_the_full_gradient(activation):
    net, (t, x) = network(activation, dtype=torch.float32), points(256, dtype=torch.float32)
    axes = torch.eye(D)

    def gradients(enabled):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            s = net.derivatives(t, x, axes)
            loss = (s.gradient.square().sum(1) / 2 + s.time + 0.1 * s.laplacian).float().mean()
        return torch.cat(
            [
                g.flatten()
                for g in torch.autograd.grad(loss, net.parameters(), allow_unused=True)
                if g is not None
            ]
        )

    full, half = gradients(False), gradients(True)
    assert half.dtype == torch.float32
    assert (half - full).norm() / full.norm() < 0.05


def test_extreme_inputs_give_finite_derivatives():
    for activation in SMOOTH_ACTIVATIONS:
        net = network(activation, dtype=torch.float32)
        x = torch.full((2, D), 1e6) * torch.tensor([[1.0], [-1.0]])
        s = net.derivatives(torch.zeros(2), x, torch.eye(D))
        assert all(part.isfinite().all() for part in s)


def test_a_single_feature_and_an_empty_batch_work():
    net = network(d=1)
    for n in (0, 1):
        s = net.derivatives(*points(n, 1), torch.eye(1, dtype=torch.float64))
        assert [p.shape for p in s] == [(n,), (n,), (n, 1), (n,)]


def test_an_activation_that_is_not_smooth_is_refused():
    with pytest.raises(
        ValueError, match="activation 'relu' is not known to be smooth.*silu, softplus, tanh"
    ):
        PotentialNetwork(2, activation="relu")


@pytest.mark.parametrize("size", [{"width": 0}, {"depth": 0}])
def test_an_empty_network_is_refused(size):
    with pytest.raises(ValueError, match="width and depth must be at least 1"):
        PotentialNetwork(2, **size)


def test_silu_at_zero_has_its_known_derivatives():
    net = PotentialNetwork(1, width=1, depth=1).double()
    with torch.no_grad():
        net.hidden[0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        net.hidden[0].bias.zero_()
        net.output.weight.fill_(1.0)
        net.output.bias.zero_()
    s = net.derivatives(torch.zeros(1).double(), torch.zeros(1, 1).double(), torch.eye(1).double())
    assert [float(v.detach()) for v in (s.value, s.gradient, s.laplacian)] == pytest.approx(
        [0, 0.5, 0.5]
    )
    assert float(s.time.detach()) == 0


def test_a_curve_that_no_memory_holds_is_refused_before_it_is_made():
    samples = [np.random.default_rng(k).normal(k, 1, (30, 2)) for k in range(2)]
    model = di.WassersteinLagrangianFlow(width=4, depth=1, curve_width=2**30)
    with pytest.raises(MemoryError, match="networks of width 1073741824 .* take at least"):
        model.fit(di.Snapshots(times=[0, 1], samples=samples), max_steps=1, progress=False)


def test_a_network_that_no_memory_holds_is_refused_before_it_is_made():
    with pytest.raises(MemoryError, match="networks of width 1073741824 and depth 2 take at least"):
        PotentialNetwork(2, width=2**30, depth=2)
