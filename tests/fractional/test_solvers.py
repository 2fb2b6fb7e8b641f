"""Fractional diffusions through `simulate`: by their own solver, and by torchsde."""

import numpy as np
import pytest
import torch
from torch import nn

from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.controlled import run_controlled
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import FractionalEuler, RungeKutta4, TorchSDE, Tsit5

SLOW_NODES = [0.1, 1.0, 10.0]  # explicit rules need steps shorter than the fastest of them
DOUBLE = torch.float64


def still(t, x):
    return torch.zeros_like(x)


def rising(t):
    return 0.3 + 0.4 * t / 2


def test_a_plain_run_is_that_of_the_inner_interface():
    process = FractionalDiffusion(lambda t, x: -x, MarkovApproximation(5), hurst=0.7)
    x0, times = torch.ones(70, 2), [0.0, 0.3, 1.0]
    run = simulate(process, x0, times, solver=FractionalEuler(dt=0.02), seed=3)
    inner = run_controlled(process, x0, times, seed=3, solver=FractionalEuler(0.02))
    torch.testing.assert_close(run.states, inner.states, rtol=0, atol=1e-5)
    assert run.attrs["longest_step"] == pytest.approx(0.02)
    assert run.log_weights is None


@pytest.mark.parametrize("definition", ["moving-average", "integral"])
@pytest.mark.parametrize("kind", ["I", "II"])
def test_chunks_and_resampling_do_not_change_paths(kind, definition):
    approximation = MarkovApproximation(4, kind=kind, dt=0.01)
    process = FractionalDiffusion(still, approximation, hurst=rising, definition=definition)
    x0, times = torch.zeros(100, 1, dtype=DOUBLE), [0.0, 0.5, 1.0, 2.0]
    whole = simulate(process, x0, times, seed=1).states
    for options in ({"chunk_size": 33}, {"resample": 0.5}):
        part = simulate(process, x0, times, seed=1, **options).states
        torch.testing.assert_close(part, whole, rtol=0, atol=1e-9)
    few = simulate(process, x0[:20], times, seed=1).states
    torch.testing.assert_close(few, whole[:20], rtol=0, atol=1e-9)


def test_diverged_paths_are_flagged_and_replaced_with_their_memory():
    process = FractionalDiffusion(lambda t, x: x**3, MarkovApproximation(3), 0.6, diffusion=0.1)
    x0 = torch.tensor([[0.0], [3.0]])
    with pytest.warns(RuntimeWarning, match="1 of 2 paths diverged"):
        run = simulate(process, x0, [0.0, 0.01, 2.0])
    assert run.status.tolist() == [0, 1]
    with pytest.warns(RuntimeWarning, match="resampling replaced them"):
        run = simulate(process, x0, [0.0, 0.01, 2.0], resample=0.5)
    assert run.status.tolist() == [0, 0]


@pytest.mark.parametrize("method", TorchSDE.methods)
def test_torchsde_has_the_covariance_of_the_approximation(method):
    approximation = MarkovApproximation(nodes=SLOW_NODES, dt=0.01)
    process = FractionalDiffusion(still, approximation, hurst=0.8, diffusion=0.5)
    times, n = [0.0, 0.3, 1.0], 4000
    solver = TorchSDE(method, dt=0.02)
    x = simulate(process, torch.zeros(n, 2, dtype=DOUBLE), times, solver=solver).states[:, 1:]
    exact = 0.25 * approximation.covariance(times, 0.8)[1:, 1:]
    error = ((exact.diag()[:, None] * exact.diag() + exact**2) / (2 * n)).sqrt()
    estimate = (x[..., 0].T @ x[..., 0] + x[..., 1].T @ x[..., 1]) / (2 * n)
    assert ((estimate - exact).abs() < 4 * error + 0.02 * exact).all()
    # The coordinates have Brownian motions of their own.
    assert abs(np.corrcoef(x[:, -1].T.numpy())[0, 1]) < 4 / n**0.5


@pytest.mark.parametrize("definition", ["moving-average", "integral"])
@pytest.mark.parametrize("kind", ["I", "II"])
def test_torchsde_agrees_on_an_index_that_changes_in_time(kind, definition):
    approximation = MarkovApproximation(nodes=SLOW_NODES, dt=0.01, kind=kind)
    process = FractionalDiffusion(still, approximation, hurst=rising, definition=definition)
    x0, times = torch.zeros(4000, 1, dtype=DOUBLE), [0.0, 1.0, 2.0]
    ours = simulate(process, x0, times, solver=FractionalEuler(dt=0.02), seed=1)
    theirs = simulate(process, x0, times, solver=TorchSDE("heun", dt=0.02), seed=2)
    a, b = (torch.cov(run.states[:, 1:, 0].T) for run in (ours, theirs))
    torch.testing.assert_close(a, b, rtol=0.12, atol=0.02)


@pytest.mark.parametrize(
    ("calculus", "methods"),
    [("stratonovich", ["euler_heun", "heun", "midpoint"]), ("ito", ["euler", "milstein", "srk"])],
)
def test_torchsde_runs_noise_that_depends_on_the_state_in_the_sense_of_the_process(
    calculus, methods
):
    """Geometric motion: log X is μ t + σ B̂(t), less ½ σ² ω̄² t in the sense of Itô."""
    approximation = MarkovApproximation(nodes=SLOW_NODES, dt=0.01, kind="II")
    mu, sigma, hurst = 0.3, 0.4, 0.6
    process = FractionalDiffusion(
        lambda t, x: mu * x,
        approximation,
        hurst,
        diffusion=lambda t, x: sigma * x,
        calculus=calculus,
    )
    correction = 0.0
    if calculus == "ito":
        correction = 0.5 * sigma**2 * float(approximation.weights(hurst).sum()) ** 2
    variance = sigma**2 * float(approximation.covariance([1.0], hurst))
    for method in methods:
        solver = TorchSDE(method, dt=0.01)
        run = simulate(process, torch.ones(4000, 1, dtype=DOUBLE), [0.0, 1.0], solver=solver)
        log_x = run.states[:, -1, 0].log()
        assert log_x.mean().item() == pytest.approx(
            mu - correction, abs=4 * (variance / 4000) ** 0.5 + 5e-3
        )
        assert log_x.var().item() == pytest.approx(variance, rel=0.12)


def test_methods_of_the_other_sense_are_refused_by_name():
    process = FractionalDiffusion(
        still, MarkovApproximation(nodes=SLOW_NODES), diffusion=lambda t, x: x
    )
    with pytest.raises(ValueError, match="Stratonovich, of which the methods are euler_heun, heun"):
        simulate(process, torch.ones(2, 2), [0.0, 1.0], solver="torchsde:srk")
    with pytest.raises(ValueError, match=r"fractional noise that depends on.*FractionalEuler\(\)"):
        simulate(process, torch.ones(2, 2), [0.0, 1.0], solver="sra1")


def test_steps_too_long_for_the_fastest_node_are_refused_with_a_safe_step():
    process = FractionalDiffusion(still, MarkovApproximation(nodes=[100.0]))
    for solver in (TorchSDE("euler", dt=0.1), FractionalEuler(dt=0.1, memory="euler")):
        with pytest.raises(ValueError, match="dt=0.005 or less"):
            simulate(process, torch.zeros(2, 1), [0.0, 1.0], solver=solver)


def test_without_noise_any_solver_of_flows_runs_the_drift():
    process = FractionalDiffusion(lambda t, x: -x, MarkovApproximation(3), diffusion=0.0)
    x0 = torch.ones(3, 2, dtype=DOUBLE)
    for solver in (Tsit5(rtol=1e-8, atol=1e-9), RungeKutta4(dt=0.01), "dopri8"):
        run = simulate(process, x0, [0.0, 1.0], solver=solver)
        torch.testing.assert_close(run.states[:, 1], x0 * np.exp(-1), rtol=1e-3, atol=0)
    assert simulate(process, x0, [0.0, 1.0]).attrs["solver"]["class"] == "FractionalEuler"


def test_options_that_fractional_noise_cannot_use_are_refused():
    process = FractionalDiffusion(still, MarkovApproximation(3))
    with pytest.raises(ValueError, match="noise=0.5 cannot be used: fractional noise remembers"):
        simulate(process, torch.zeros(2, 1), [0.0, 1.0], noise=0.5)
    with pytest.raises(ValueError, match="backward=True cannot be used"):
        simulate(process, torch.zeros(2, 1), [1.0, 0.0], backward=True)


def test_gradients_reach_the_start_and_the_hurst_index():
    hurst = nn.Parameter(torch.tensor(0.7, dtype=DOUBLE))
    process = FractionalDiffusion(lambda t, x: -x, MarkovApproximation(nodes=SLOW_NODES), hurst)
    for solver in (FractionalEuler(dt=0.1), TorchSDE("midpoint", dt=0.02)):
        x0 = torch.ones(5, 1, dtype=DOUBLE, requires_grad=True)
        end = simulate(process, x0, [0.0, 1.0], solver=solver).states[:, -1]
        by_x, by_hurst = torch.autograd.grad(end.sum(), (x0, hurst))
        torch.testing.assert_close(by_x, torch.full_like(by_x, np.exp(-1)), rtol=0.06, atol=0)
        assert by_hurst.abs() > 0


@pytest.mark.parametrize("solver", [FractionalEuler(0.008, memory="euler"), TorchSDE(dt=0.008)])
def test_a_coarse_rule_is_warned_of_at_the_line_that_asked_for_it(solver):
    process = FractionalDiffusion(still, MarkovApproximation(nodes=[100.0]), hurst=0.3)
    with pytest.warns(RuntimeWarning, match=r"dt=0.005") as caught:
        simulate(process, torch.zeros(2, 1), [0.0, 0.02], solver=solver)
    assert caught[0].filename == __file__
