import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from dyninfer.diffusions import Diffusion
from dyninfer.simulation import log_density, log_density_with_noise
from dyninfer.simulation.solvers import SRA1, Tsit5

MATRIX = torch.tensor([[0.5, 0.2, 0.0], [-0.1, -0.3, 0.4], [0.2, 0.1, 0.1]], dtype=torch.float64)


def normal(x):
    return Normal(0.0, 1.0).log_prob(x).sum(1)


def linear(**fields):
    return Diffusion(drift=lambda t, x: x @ MATRIX.T.to(x), **fields)


def linear_flow_log_density(x, t):
    spread = torch.linalg.matrix_exp(MATRIX * t)
    return MultivariateNormal(torch.zeros(3).double(), spread @ spread.T).log_prob(x.double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunk_size", [None, 7])
def test_linear_flow_of_a_gaussian_is_the_closed_form(dtype, chunk_size):
    x = torch.randn(50, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    found = log_density(linear(), x, (0.5, 2.0), normal, chunk_size=chunk_size)
    assert found.dtype == torch.float64
    assert (found - linear_flow_log_density(x, 1.5)).abs().max() < 1e-4


def test_ou_by_its_probability_flow_is_the_closed_form():
    sigma = 0.8

    def variance(t):
        return torch.exp(-2 * t) + sigma**2 / 2 * (1 - torch.exp(-2 * t))

    ou = Diffusion(
        drift=lambda t, x: -x, diffusion=sigma, score=lambda t, x: -x / variance(t)[:, None]
    )
    x = torch.linspace(-2, 2, 21)[:, None].repeat(1, 2)
    exact = Normal(0.0, variance(torch.tensor(1.0).double()).sqrt()).log_prob(x.double()).sum(1)
    assert (log_density(ou, x, (0.0, 1.0), normal) - exact).abs().max() < 1e-4


def test_nonlinear_flow_integrates_to_one():
    """x' = sin(2x) has no constant divergence; its density must still integrate to 1."""
    grid = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    density = log_density(
        Diffusion(drift=lambda t, x: torch.sin(2 * x)), grid, (0.0, 1.0), normal
    ).exp()
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1.0, abs=1e-4)


def test_growth_adds_to_the_density():
    x = torch.randn(10, 3, dtype=torch.float64)
    found = log_density(linear(growth=lambda t, x: 0 * x[:, 0] + 0.4), x, (0.0, 1.5), normal)
    assert torch.allclose(found, linear_flow_log_density(x, 1.5) + 0.6, atol=1e-4)


def test_more_coordinates_than_one_batch_of_directions_are_all_counted():
    rates = torch.linspace(-0.5, 0.5, 37)
    x = torch.randn(5, 37)
    found = log_density(Diffusion(drift=lambda t, x: x * rates.to(x)), x, (0.0, 1.0), normal)
    exact = Normal(0.0, rates.double().exp()).log_prob(x.double()).sum(1)
    assert (found - exact).abs().max() < 1e-4 * 10


def test_hutchinson_is_unbiased_and_seeded():
    x = torch.randn(1, 3, generator=torch.Generator().manual_seed(0)).repeat(4000, 1)
    found = log_density(linear(), x, (0.0, 1.5), normal, trace="hutchinson", seed=1)
    again = log_density(linear(), x[:100], (0.0, 1.5), normal, trace="hutchinson", seed=1)
    exact = linear_flow_log_density(x[:1], 1.5).item()
    assert found.std() > 0.05
    assert found.mean().item() == pytest.approx(exact, abs=4 * found.std().item() / 4000**0.5)
    assert torch.allclose(again, found[:100], atol=1e-5)


def test_more_probes_mean_less_variance():
    x = torch.zeros(2000, 3)
    spread = [
        log_density(linear(), x, (0.0, 1.0), normal, trace="hutchinson", n_probes=p).var().item()
        for p in (1, 4)
    ]
    assert spread[1] == pytest.approx(spread[0] / 4, rel=0.25)


def test_divergence_known_to_the_process_is_used():
    class Known(Diffusion):
        def divergence(self, t, x):
            return torch.full_like(x[:, 0], MATRIX.trace().item())

    process = Known(drift=lambda t, x: (x @ MATRIX.T.to(x)).detach())  # autograd could not find it
    x = torch.randn(10, 3)
    assert (
        log_density(process, x, (0.0, 1.5), normal) - linear_flow_log_density(x, 1.5)
    ).abs().max() < 1e-4


def test_drift_that_is_a_gradient_computed_by_autograd_works():
    class Gradient(Diffusion):
        def drift(self, t, x):
            tracked = x.requires_grad
            with torch.enable_grad():
                x = x if tracked else x.detach().requires_grad_(True)
                potential = 0.5 * torch.einsum("ni,ij,nj->n", x, (MATRIX + MATRIX.T).to(x) / 2, x)
                (slope,) = torch.autograd.grad(potential.sum(), x, create_graph=tracked)
            return slope

    x = torch.randn(10, 3)
    spread = torch.linalg.matrix_exp((MATRIX + MATRIX.T) / 2)
    exact = MultivariateNormal(torch.zeros(3).double(), spread @ spread.T).log_prob(x.double())
    assert (log_density(Gradient(), x, (0.0, 1.0), normal) - exact).abs().max() < 1e-4


def test_trained_networks_leave_no_graph():
    process = Diffusion(drift=Net())
    assert not log_density(process, torch.ones(2, 2), (0.0, 1.0), normal).requires_grad


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, t, x):
        return torch.tanh(self.layer(x))


def test_points_that_cannot_be_followed_are_nan_with_one_warning():
    with pytest.warns(RuntimeWarning, match="could not follow 1 of 2") as caught:
        found = log_density(
            Diffusion(drift=lambda t, x: -(x**2)), torch.tensor([[0.1], [2.0]]), (0.0, 1.0), normal
        )
    assert len(caught) == 1
    # x0 = x / (1 − x t) and dx0/dx = (1 − x t)⁻².
    exact = normal(torch.tensor([[0.1 / 0.9]])).item() - 2 * math.log(0.9)
    assert found[0].item() == pytest.approx(exact, abs=1e-4)
    assert found[1].isnan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trace": "guess"}, "trace must be 'exact' or 'hutchinson'"),
        ({"times": (0.0, 0.5, 1.0)}, "times must be two numbers"),
        ({"times": (1.0, 0.0)}, "times decrease"),
        ({"x": torch.ones(3)}, r"must be \(n, d\)"),
        ({"base_log_density": lambda x: x}, r"must return a tensor \(n,\)"),
        ({"process": Diffusion(drift=lambda t, x: x, diffusion=1.0)}, "needs the score"),
        (
            {"process": "model"},
            "process must be a Diffusion, such as process_ of a fitted model, but it is a str",
        ),
        ({"base_log_density": None}, "base_log_density must be a function"),
        ({"trace": "hutchinson", "n_probes": 0}, "n_probes must be at least 1, found 0"),
    ],
)
def test_wrong_arguments_are_named_in_a_sentence(change, message):
    arguments = {
        "process": linear(),
        "x": torch.ones(2, 3),
        "times": (0.0, 1.0),
        "base_log_density": normal,
        **change,
    }
    with pytest.raises((ValueError, TypeError), match=message):
        log_density(**arguments)


# --- with noise ---


def shrinking(rate, stiffness):
    """Drift ``−rate x``, and a score ``−stiffness x`` that is not that of its density."""
    return Diffusion(drift=lambda t, x: -rate * x, score=lambda t, x: -stiffness * x)


def noisy_closed_form(x, force, noise, t):
    """Log-density of ``dX = −force X dt + √(2ε) dW`` from a standard normal, and Jensen's bound."""
    variance = math.exp(-2 * force * t) + noise / force * (1 - math.exp(-2 * force * t))
    exact = Normal(0.0, variance**0.5).log_prob(x.double()).sum(1)
    # Back from x to N(e^{ft} x, ε/f (e^{2ft} − 1)), with the divergence −f d all the way.
    d = x.shape[1]
    back = math.exp(force * t)
    spread = noise / force * (back**2 - 1)
    squares = back**2 * x.double().square().sum(1) + d * spread
    bound = force * d * t - 0.5 * squares - 0.5 * d * math.log(2 * math.pi)
    return exact, bound


@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_density_with_noise_is_that_of_the_noisy_process_within_two_standard_errors(trace):
    noise, t = 0.3, 0.8
    process = shrinking(0.4, 0.5)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(150, 2, generator=generator)
    result = log_density_with_noise(
        process, x, (1.0, 1.0 + t), normal, noise, n_paths=400, trace=trace, solver=SRA1(dt=0.05)
    )
    exact, bound = noisy_closed_form(x, 0.4 + noise * 0.5, noise, t)
    ratio = torch.exp(result.log_density - exact)
    error = ratio * result.relative_error
    assert float(((ratio - 1).abs() < 2 * error).double().mean()) > 0.9
    # Of all points: the mean of densities has no bias.
    assert abs(float(ratio.mean()) - 1) < 2 * float(error.square().sum().sqrt()) / 150
    # The flow of the same process is another one, by a tenth of a nat and more.
    flow = log_density(process, x, (1.0, 1.0 + t), normal)
    assert float((flow - exact).abs().mean()) > 0.1
    within = (result.lower_bound - bound).abs() < 2 * result.bound_error
    assert float(within.double().mean()) > 0.9
    assert float(result.lower_bound.mean()) < float(exact.mean())


def test_a_process_bounds_the_steps_of_its_density_with_noise():
    process = shrinking(0.4, 0.5)
    x = torch.zeros(3, 1)
    options = {"noise": 0.3, "n_paths": 20}
    short = log_density_with_noise(process, x, (0.0, 1.0), normal, solver=SRA1(dt=0.004), **options)
    # Without it, steps are a hundredth of the span.
    process.longest_step = 0.004
    bounded = log_density_with_noise(process, x, (0.0, 1.0), normal, **options)
    assert torch.equal(bounded.log_density, short.log_density)


def test_the_logarithm_of_few_paths_is_low_by_half_the_squared_error():
    x = torch.full((20_000, 1), 0.5)
    process = shrinking(0.4, 0.5)
    result = log_density_with_noise(
        process, x, (0.0, 1.0), normal, 0.3, n_paths=8, solver=SRA1(dt=0.1)
    )
    exact, _ = noisy_closed_form(x[:1], 0.55, 0.3, 1.0)
    bias = float(result.log_density.mean() - exact)
    assert bias == pytest.approx(-0.5 * float(result.relative_error.square().mean()), rel=0.3)


def test_a_density_that_few_paths_carry_is_warned_of():
    with pytest.warns(UserWarning, match="standard error above half of itself"):
        log_density_with_noise(
            shrinking(3.0, 0.5),
            torch.full((20, 3), 1.0),
            (0.0, 1.0),
            normal,
            0.5,
            n_paths=4,
            solver=SRA1(dt=0.05),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": 0.0}, "is the deterministic flow: its density is exact"),
        ({"n_paths": 1}, "n_paths must be at least 2"),
        ({"solver": Tsit5()}, "cannot run this process"),
        ({"process": linear()}, "needs the score"),
        ({"base_log_density": lambda x: x}, r"must return a tensor \(n,\)"),
    ],
)
def test_wrong_arguments_of_a_density_with_noise_are_named(change, message):
    arguments = {
        "process": shrinking(0.4, 0.5),
        "x": torch.ones(2, 3),
        "times": (0.0, 1.0),
        "base_log_density": normal,
        "noise": 0.1,
        **change,
    }
    with pytest.raises((ValueError, TypeError), match=message):
        log_density_with_noise(**arguments)


def explosion_density(x):
    """Of x' = −x² for a time of 1, which comes from x / (1 − x), with a normal start."""
    source = x / (1 - x)
    return normal_log_density(source) - 2 * torch.log(1 - x[:, 0])


def normal_log_density(x):
    return torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)


def test_points_that_cannot_be_followed_back_are_counted_and_no_others(recwarn):
    process = Diffusion(drift=lambda t, x: -(x**2))
    points = torch.tensor([[0.5], [-1.0], [0.2]], dtype=torch.float64)
    values = log_density(process, points, (0.0, 1.0), normal_log_density)
    torch.testing.assert_close(values, explosion_density(points), rtol=1e-4, atol=1e-4)
    one_by_one = log_density(process, points, (0.0, 1.0), normal_log_density, chunk_size=1)
    torch.testing.assert_close(one_by_one, values, rtol=1e-4, atol=1e-4)
    assert [str(warning.message) for warning in recwarn] == []
    # That of 2 comes from infinity, 0.5 time ago.
    points = torch.cat([points, torch.tensor([[2.0]])])
    with pytest.warns(RuntimeWarning, match="could not follow 1 of 4 points back"):
        values = log_density(process, points, (0.0, 1.0), normal_log_density)
    assert values.isfinite().tolist() == [True, True, True, False]
    with pytest.warns(RuntimeWarning, match="could not follow 1 of 1 points back"):
        assert log_density(process, points[3:], (0.0, 1.0), normal_log_density).isnan().all()


def test_the_solver_of_a_density_is_tsit5_in_its_own_tolerances():
    process = Diffusion(drift=lambda t, x: -(x**2))
    points = torch.tensor([[0.5]], dtype=torch.float64)
    fine = Tsit5(rtol=1e-10, atol=1e-12)
    value = log_density(process, points, (0.0, 1.0), normal_log_density, solver=fine)
    torch.testing.assert_close(value, explosion_density(points), rtol=1e-9, atol=1e-9)
    with pytest.raises(TypeError, match="solver must be Tsit5"):
        log_density(process, points, (0.0, 1.0), normal_log_density, solver="rk4")
    with pytest.raises(ValueError, match="chunk_size"):
        log_density(process, points, (0.0, 1.0), normal_log_density, chunk_size=0)
