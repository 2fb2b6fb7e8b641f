import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

from dyninfer.fractional import MarkovApproximation, multifractional_covariance
from dyninfer.fractional.controlled import StartingMemory, run_controlled
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.solver import FractionalEuler
from dyninfer.simulation import simulate

REFERENCE = [20.0**p for p in (-1, -0.5, 0, 0.5, 1)]
DOUBLE = torch.float64


def still(t, x):
    return torch.zeros_like(x)


def noise_only(approximation, hurst, **settings):
    return FractionalDiffusion(still, approximation, hurst=hurst, **settings)


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize("hurst", [0.2, 0.8])
def test_paths_without_drift_have_the_covariance_of_the_approximation(kind, hurst):
    approximation = MarkovApproximation(6, kind=kind, dt=0.01)
    times = [0.0, 0.01, 0.13, 0.5, 1.0]
    run = run_controlled(
        noise_only(approximation, hurst),
        torch.zeros(10_000, 1, dtype=DOUBLE),
        times,
        solver=FractionalEuler(0.1),
    )
    x = run.states[..., 0]
    exact = approximation.covariance(times, hurst)
    error = ((exact.diag()[:, None] * exact.diag() + exact**2) / len(x)).sqrt()
    assert (((x.T @ x / len(x) - exact)[1:, 1:] / error[1:, 1:]).abs() < 3.5).all()


def test_step_length_does_not_change_the_law_of_the_noise_however_fast_the_nodes():
    approximation = MarkovApproximation(nodes=[0.1, 10.0, 1e5])
    exact = approximation.covariance([1.0], 0.3).item()
    for dt in (1.0, 0.02):
        run = run_controlled(
            noise_only(approximation, 0.3),
            torch.zeros(10_000, 1),
            [0, 1],
            solver=FractionalEuler(dt),
        )
        assert run.states[:, -1].var().item() == pytest.approx(exact, rel=0.05)


def test_index_one_half_is_brownian_motion():
    run = run_controlled(
        noise_only(MarkovApproximation(5), 0.5),
        torch.zeros(20_000, 2),
        [0.0, 0.5, 2.0],
        seed=2,
        solver=FractionalEuler(0.5),
    )
    np.testing.assert_allclose(run.states.var(0)[1:], [[0.5] * 2, [2.0] * 2], rtol=0.04)


@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_fractional_ornstein_uhlenbeck_has_its_variance(hurst):
    approximation = MarkovApproximation(10, kind="I", horizon=2.0, dt=0.005, hurst_range=(0.3, 0.7))
    process = FractionalDiffusion(lambda t, x: -x, approximation, hurst=hurst)
    run = run_controlled(process, torch.zeros(10_000, 1), [0.0, 1.0], solver=FractionalEuler(0.005))
    density = lambda u: hurst * u ** (2 * hurst - 1) * (np.exp(-u) + np.exp(u - 2))  # noqa: E731
    assert run.states[:, -1].var().item() == pytest.approx(quad(density, 0, 1)[0], rel=0.05)


@pytest.mark.parametrize("calculus", ["stratonovich", "ito"])
def test_geometric_motion_matches_its_closed_form_path_by_path(calculus):
    approximation = MarkovApproximation(nodes=[0.1, 1.0, 10.0], normalize="kernel")
    mu, sigma, hurst, x0 = 0.3, 0.4, 0.6, torch.ones(200, 1, dtype=DOUBLE)
    brown = run_controlled(
        noise_only(approximation, hurst), 0 * x0, [0, 1], solver=FractionalEuler(1e-3)
    ).states[:, -1]
    correction = 0.0
    if calculus == "ito":
        correction = 0.5 * sigma**2 * approximation.weights(hurst).sum() ** 2
    exact = torch.exp(mu + sigma * brown - correction)
    process = FractionalDiffusion(
        lambda t, x: mu * x,
        approximation,
        hurst,
        diffusion=lambda t, x: sigma * x,
        calculus=calculus,
    )
    found = run_controlled(process, x0, [0, 1], solver=FractionalEuler(1e-3)).states[:, -1]
    assert ((found - exact).square().mean().sqrt() / exact.mean()) < 0.01
    other = torch.exp(
        mu + sigma * brown - (0.5 * sigma**2 * approximation.weights(hurst).sum() ** 2 - correction)
    )
    assert ((found - other).mean() / exact.mean()).abs() > 0.02


def bridge_control(approximation, hurst, end, s):
    """Optimal control towards one Gaussian observation of size s at 0: u = −(a·G) m / (v + s²)."""
    g, w = approximation.nodes, approximation.weights(hurst)
    sums = g[:, None] + g

    def control(t, x, y):
        left = end - float(t[0])
        decay = torch.exp(-g * left)
        v = (w[:, None] * w * -torch.expm1(-sums * left) / sums).sum()
        mean = x + (y * (w * (decay - 1)).to(y)).sum(-1)
        return -(w * decay).sum().to(x) * mean / (v + s**2).to(x)

    return control


@pytest.mark.parametrize(("hurst", "published"), [(0.3, 4.82), (0.7, 2.72), (0.9, 2.82)])
def test_bridge_on_the_references_grid_costs_what_the_closed_form_says(hurst, published):
    approximation = MarkovApproximation(
        nodes=REFERENCE, horizon=6.0, normalize="kernel", weights="single", zero_node=False
    )
    run = run_controlled(
        noise_only(approximation, hurst),
        torch.zeros(5000, 1, dtype=DOUBLE),
        [0.0, 2.0],
        control=bridge_control(approximation, hurst, 2.0, 0.1),
        solver=FractionalEuler(0.01, memory="euler"),
    )
    cost = run.energy + 0.5 * (run.states[:, -1, 0] / 0.1) ** 2
    assert (cost.mean() - published).abs() < 0.02 + 3.5 * cost.std() / 5000**0.5


def test_steps_refined_before_a_sharp_observation_close_the_gap_of_the_bridge():
    approximation = MarkovApproximation(
        nodes=REFERENCE, horizon=6.0, normalize="kernel", weights="single", zero_node=False
    )
    costs = {}
    halved = [2.0 - 0.01 * 0.5**k for k in range(9)]
    for refined in ([], halved):
        times = [0.0, *refined, 2.0]
        run = run_controlled(
            noise_only(approximation, 0.3),
            torch.zeros(5000, 1, dtype=DOUBLE),
            times,
            control=bridge_control(approximation, 0.3, 2.0, 0.1),
            solver=FractionalEuler(0.01),
        )
        costs[len(refined)] = (run.energy + 0.5 * (run.states[:, -1, 0] / 0.1) ** 2).mean().item()
    assert costs[0] > 4.0
    assert costs[9] < 3.5  # 2.671 without a grid


def test_control_that_is_zero_costs_nothing_and_changes_no_path():
    process = noise_only(MarkovApproximation(4), 0.7)
    x0 = torch.zeros(5, 2)
    plain = run_controlled(process, x0, [0, 1])
    idle = run_controlled(process, x0, [0, 1], control=lambda t, x, y: torch.zeros_like(x))
    assert (idle.energy == 0.0).all()
    assert torch.equal(plain.states, idle.states)


@pytest.mark.parametrize("method", ["exact", "euler"])
def test_constant_control_moves_the_mean_and_costs_its_square(method):
    approximation = MarkovApproximation(nodes=[0.2, 2.0, 20.0])
    process, x0 = noise_only(approximation, 0.7), torch.zeros(50, 2, dtype=DOUBLE)
    u = torch.tensor([1.0, -2.0], dtype=DOUBLE)
    runs = [
        run_controlled(
            process, x0, [0, 0.3, 2], control=c, solver=FractionalEuler(1e-2, memory=method)
        )
        for c in (None, lambda t, x, y: u.expand_as(x))
    ]
    g, w = approximation.nodes, approximation.weights(0.7)
    gain = torch.where(g > 0, -torch.expm1(-g * 2) / g.clamp_min(1e-9), 2.0)
    shift = runs[1].states[:, -1] - runs[0].states[:, -1]
    np.testing.assert_allclose(
        shift, ((w * gain).sum() * u).expand(50, 2), rtol=1e-9 if method == "exact" else 0.02
    )
    np.testing.assert_allclose(runs[1].energy, 0.5 * 5 * 2, rtol=1e-9)


def test_gradients_reach_index_start_memory_and_control():
    approximation = MarkovApproximation(4)
    x0, y0 = (
        torch.zeros(20, 1, dtype=DOUBLE),
        torch.zeros(20, 1, 5, dtype=DOUBLE, requires_grad=True),
    )
    push = torch.tensor(0.5, dtype=DOUBLE, requires_grad=True)

    def loss(hurst):
        process = FractionalDiffusion(lambda t, x: -x, approximation, hurst)
        run = run_controlled(
            process,
            x0,
            [0, 1],
            control=lambda t, x, y: push * torch.ones_like(x),
            solver=FractionalEuler(0.1),
            start=StartingMemory(y0 + 1),
        )
        return run.states.square().mean() + run.energy.mean()

    hurst = nn.Parameter(torch.tensor(0.4, dtype=DOUBLE))
    loss(hurst).backward()
    high, low = (torch.tensor(0.4 + e, dtype=DOUBLE) for e in (1e-5, -1e-5))
    numeric = (loss(high) - loss(low)) / 2e-5
    assert hurst.grad.item() == pytest.approx(numeric.item(), rel=1e-5)
    assert y0.grad.abs().sum() > 0
    assert push.grad.abs() > 0


def test_noise_of_a_path_depends_on_the_seed_and_its_number_alone():
    process = noise_only(MarkovApproximation(4), 0.3)
    many = run_controlled(process, torch.zeros(100, 1), [0, 1], seed=5).states
    few = run_controlled(process, torch.zeros(10, 1), [0, 1], seed=5).states
    # Products of matrices round differently in batches of another size.
    torch.testing.assert_close(many[:10], few, rtol=0, atol=3e-6)
    other = run_controlled(process, torch.zeros(10, 1), [0, 1], seed=6).states
    assert (few - other).abs().max() > 0.1


def test_run_goes_on_from_its_memory():
    approximation = MarkovApproximation(4)
    process = noise_only(approximation, 0.8)
    x0 = torch.zeros(10_000, 1, dtype=DOUBLE)
    first = run_controlled(process, x0, [0, 1], seed=1, solver=FractionalEuler(0.5))
    second = run_controlled(
        process,
        first.states[:, -1],
        [1, 2],
        seed=2,
        solver=FractionalEuler(0.5),
        start=StartingMemory(first.memory),
    )
    exact = approximation.covariance([2.0], 0.8).item()
    assert second.states[:, -1].var().item() == pytest.approx(exact, rel=0.05)


def test_euler_with_coarse_steps_is_refused_with_a_safe_step():
    process = noise_only(MarkovApproximation(nodes=[100.0]), 0.3)
    with pytest.raises(ValueError, match=r"dt=0.005"):
        run_controlled(
            process, torch.zeros(2, 1), [0, 1], solver=FractionalEuler(0.1, memory="euler")
        )
    with pytest.warns(RuntimeWarning, match=r"dt=0.005"):
        run_controlled(
            process, torch.zeros(2, 1), [0, 1], solver=FractionalEuler(0.008, memory="euler")
        )


def test_one_time_alone_is_refused():
    with pytest.raises(ValueError, match="times"):
        run_controlled(noise_only(MarkovApproximation(3), 0.5), torch.zeros(2, 1), [1.0])


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"solver": FractionalEuler(memory="rk")}, "memory"),
        ({"start": StartingMemory(torch.zeros(2, 1, 3))}, "memory"),
        ({"start": StartingMemory(torch.zeros(2, 1, 4), torch.zeros(2, 1, 3))}, "origin"),
        ({"solver": FractionalEuler(-1.0)}, "dt"),
    ],
)
def test_bad_arguments_are_named(settings, word):
    with pytest.raises(ValueError, match=word):
        run_controlled(
            noise_only(MarkovApproximation(3), 0.5), torch.zeros(2, 1), [0, 1], **settings
        )


DEFINITIONS = ["moving-average", "integral"]


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("method", ["exact", "euler"])
@pytest.mark.parametrize("kind", ["I", "II"])
def test_function_that_is_constant_gives_the_paths_of_the_number(definition, method, kind):
    approximation, x0 = (
        MarkovApproximation(nodes=[0.2, 2.0, 20.0], kind=kind),
        torch.zeros(5, 2, dtype=DOUBLE),
    )
    index = torch.tensor([0.3, 0.8], dtype=DOUBLE)
    push = lambda t, x, y: torch.ones_like(x)  # noqa: E731
    runs = []
    for hurst in (index, lambda t: index.expand(len(t), 2)):
        process = FractionalDiffusion(lambda t, x: -x, approximation, hurst, definition=definition)
        runs.append(
            run_controlled(
                process, x0, [0, 0.3, 1], control=push, solver=FractionalEuler(0.02, memory=method)
            )
        )
    np.testing.assert_allclose(runs[0].states, runs[1].states, atol=1e-12)
    assert torch.equal(runs[0].memory, runs[1].memory)


def falling(t):
    return 0.8 - 0.5 * t


@pytest.mark.parametrize(("kind", "dt"), [("I", 0.5), ("II", 0.5), ("II", 0.02)])
def test_moving_average_is_the_weighted_memory_at_every_step_length(kind, dt):
    approximation = MarkovApproximation(6, kind=kind, dt=0.02)
    times = [0.0, 0.1, 0.5, 1.0]
    process = FractionalDiffusion(still, approximation, falling)
    x0, y0 = torch.zeros(4, 1, dtype=DOUBLE), torch.zeros(4, 1, 7, dtype=DOUBLE)
    run = run_controlled(process, x0, times, solver=FractionalEuler(dt), start=StartingMemory(y0))
    w = approximation.weights(falling(1.0))
    np.testing.assert_allclose(run.states[:, -1, 0], (run.memory[:, 0] * w).sum(-1), atol=1e-10)


def test_moving_average_has_the_exact_multifractional_covariance():
    approximation = MarkovApproximation(12, kind="II", dt=0.05)
    times = np.linspace(0, 1, 6)
    process = FractionalDiffusion(still, approximation, falling)
    x = (
        run_controlled(process, torch.zeros(20_000, 1), times, solver=FractionalEuler(0.5))
        .states[:, 1:, 0]
        .double()
    )
    exact = multifractional_covariance(times[1:], falling)
    scale = exact.diag().sqrt()
    error = ((x.T @ x / len(x) - exact) / scale[:, None] / scale).abs()
    assert error.max() < 0.035  # three standard errors and the approximation's 0.01


def test_integral_keeps_the_past_where_the_moving_average_weighs_it_anew():
    """With a jump of H at ½ the integral is one motion until then, and adds increments of the other."""
    approximation, x0 = MarkovApproximation(4, kind="II"), torch.zeros(20_000, 1, dtype=DOUBLE)
    jump = lambda t: torch.where(t < 0.5, 0.7, 0.3).double()  # noqa: E731
    runs = {
        name: run_controlled(
            FractionalDiffusion(still, approximation, jump, definition=name),
            x0,
            [0, 0.5, 1],
            solver=FractionalEuler(0.25),
        ).states[..., 0]
        for name in DEFINITIONS
    }
    w = approximation.weights([0.7, 0.3])
    g = approximation.nodes
    sums = g[:, None] + g
    spread = lambda r: torch.where(sums > 0, -torch.expm1(-sums * r) / sums.clamp_min(1e-9), r)  # noqa: E731
    lost = torch.expm1(-0.5 * g)
    early, step = spread(0.5), w[0] + w[1] * lost
    exact = {
        "integral": step @ early @ step + w[1] @ early @ w[1],
        "moving-average": w[1] @ spread(1.0) @ w[1],
    }
    assert exact["integral"] < 0.9 * exact["moving-average"]
    for name, run in runs.items():
        assert run[:, -1].var().item() == pytest.approx(exact[name].item(), rel=0.035)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_gradients_reach_the_function_of_the_index(definition):
    class Line(nn.Module):
        def __init__(self, slope):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float32))

        def forward(self, t):
            assert t.dtype == torch.float32
            return 0.6 + self.slope * t

    def loss(slope):
        process = FractionalDiffusion(
            lambda t, x: -x, MarkovApproximation(4), Line(slope), definition=definition
        )
        run = run_controlled(
            process, torch.zeros(20, 1, dtype=DOUBLE), [0, 1], solver=FractionalEuler(0.1)
        )
        return run.states.square().mean(), process

    value, process = loss(-0.25)
    value.backward()
    (slope,) = process.parameters()
    numeric = (loss(-0.25 + 2**-9)[0] - loss(-0.25 - 2**-9)[0]) / 2**-8
    assert slope.grad.item() == pytest.approx(numeric.item(), rel=1e-3)


def test_moving_average_goes_on_from_its_memory_and_origin():
    approximation = MarkovApproximation(4)
    process = FractionalDiffusion(still, approximation, falling)
    x0 = torch.zeros(3, 1, dtype=DOUBLE)
    y0 = torch.randn(3, 1, 5, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    first = run_controlled(
        process, x0, [0, 0.5], solver=FractionalEuler(0.5), start=StartingMemory(y0)
    )
    second = run_controlled(
        process,
        first.states[:, -1],
        [0.5, 1],
        seed=1,
        solver=FractionalEuler(0.5),
        start=StartingMemory(first.memory, origin=y0),
    )
    exact = ((second.memory - y0) * approximation.weights(falling(1.0))).sum(-1)
    np.testing.assert_allclose(second.states[:, -1], exact, atol=1e-12)


def test_starts_with_fewer_features_than_the_process_are_refused():
    drift = nn.Linear(2, 2)
    process = FractionalDiffusion(
        lambda t, x: drift(x.expand(-1, 2)), MarkovApproximation(2, dt=0.1), 0.3
    )
    with pytest.raises(ValueError, match=r"shape \(2, 1\) has shape \(2, 2\); give x0"):
        simulate(process, torch.zeros(3, 1), [0.0, 1.0])
