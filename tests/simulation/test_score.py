"""An Ornstein-Uhlenbeck population with a known score: N(m₀ e^{−t}, s_t²), s_t² = s₀² e^{−2t} + σ²/2 (1 − e^{−2t})."""

import math

import pytest
import torch
from simulation.spelled import spelled

from dyninfer.diffusions import Diffusion
from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import SRA1, Tsit5

M0, S0, SIGMA = 1.5, 0.3, 0.8


def mean(t):
    return M0 * math.exp(-t)


def variance(t):
    return S0**2 * math.exp(-2 * t) + SIGMA**2 / 2 * (1 - math.exp(-2 * t))


def score(t, x):
    v = S0**2 * torch.exp(-2 * t) + SIGMA**2 / 2 * (1 - torch.exp(-2 * t))
    return -(x - M0 * torch.exp(-t)[:, None]) / v[:, None]


OU = Diffusion(drift=lambda t, x: -x, diffusion=SIGMA, score=score)
# The same marginals carried by a flow: v = drift − ½ σ² score.
FLOW = Diffusion(drift=lambda t, x: -x - SIGMA**2 / 2 * score(t, x), score=score)
N = 6000


def population(t, seed=0):
    noise = torch.randn(N, 1, generator=torch.Generator().manual_seed(seed))
    return mean(t) + variance(t) ** 0.5 * noise


def assert_population(states, t):
    assert states.mean().item() == pytest.approx(mean(t), abs=4.5 * (variance(t) / N) ** 0.5 + 2e-3)
    assert states.var().item() == pytest.approx(variance(t), rel=4.5 * (2 / N) ** 0.5 + 5e-3)


def fine(noise, dt):
    """The default solver of a noise, with steps of its own where it takes fixed ones."""
    return None if noise == 0 else SRA1(dt=dt)


@pytest.mark.parametrize("process", [OU, FLOW], ids=["noisy", "flow"])
@pytest.mark.parametrize("noise", [0, 0.5, 1.0, lambda t: 0.2 + t / 2, lambda t: math.cos(t) ** 2])
def test_every_noise_has_the_same_marginals_forward(process, noise):
    run = simulate(process, population(0.0), [0.0, 0.5, 1.5], noise=noise, solver=fine(noise, 0.02))
    assert_population(run.states[:, 1], 0.5)
    assert_population(run.states[:, 2], 1.5)


@pytest.mark.parametrize("process", [OU, FLOW], ids=["noisy", "flow"])
@pytest.mark.parametrize("noise", [None, 0, 0.5, 1.0, lambda t: 0.2 + t / 2])
def test_every_noise_recovers_the_initial_law_backward(process, noise):
    own = 0 if process is FLOW else 1
    run = simulate(
        process,
        population(1.5),
        [1.5, 0.5, 0.0],
        noise=noise,
        backward=True,
        solver=fine(own if noise is None else noise, 0.01),
    )
    assert_population(run.states[:, 1], 0.5)
    assert_population(run.states[:, 2], 0.0)


@pytest.mark.parametrize("solver", ["euler_maruyama", "heun", "torchsde:srk"])
def test_other_solvers_run_backward_with_noise(solver):
    run = simulate(OU, population(1.0), [1.0, 0.3], backward=True, solver=spelled(solver, dt=0.005))
    assert_population(run.states[:, 1], 0.3)


def test_zero_noise_is_deterministic_and_noise_is_not():
    x = torch.zeros(2, 1)
    still = simulate(OU, x, [0.0, 1.0], noise=0).states
    assert torch.equal(still[0], still[1])
    moving = simulate(FLOW, x, [0.0, 1.0], noise=0.1).states
    assert not torch.equal(moving[0, 1], moving[1, 1])


def test_probability_flow_forward_then_backward_returns():
    x = population(0.0)[:50].double()
    end = simulate(OU, x, [0.0, 1.0], noise=0, solver=Tsit5(rtol=1e-8, atol=1e-9)).states[:, -1]
    back = simulate(
        OU, end, [1.0, 0.0], noise=0, backward=True, solver=Tsit5(rtol=1e-8, atol=1e-9)
    ).states[:, -1]
    assert (back - x).abs().max() < 1e-6


def test_flow_without_score_takes_zero_noise():
    flow = Diffusion(drift=lambda t, x: -x)
    assert torch.equal(
        simulate(flow, torch.ones(1, 1), [0.0, 1.0], noise=0).states,
        simulate(flow, torch.ones(1, 1), [0.0, 1.0]).states,
    )


def test_a_score_of_one_number_a_state_is_refused_though_it_would_broadcast():
    process = Diffusion(drift=lambda t, x: -x, diffusion=SIGMA, score=lambda t, x: -x[:, 0])
    x = torch.ones(2, 2)
    with pytest.raises(ValueError, match=r"score\(t, x\) of the process returned shape \(1,\)"):
        simulate(process, x, [0, 1], noise=0.1)
