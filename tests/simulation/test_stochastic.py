import math

import numpy as np
import pytest
import torch
from simulation.spelled import spelled
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from dyninfer.diffusions import Diffusion
from dyninfer.simulation import simulate
from dyninfer.simulation.equation import equation_of
from dyninfer.simulation.solvers.euler_maruyama import EULER_MARUYAMA
from dyninfer.simulation.solvers.heun import NOISE_RULE as HEUN
from dyninfer.simulation.solvers.sra1 import SRA1_RULE as SRA1

OWN = ["euler_maruyama", "heun", "sra1"]
LIBRARY = [
    "euler",
    "milstein",
    "srk",
    "euler_heun",
    "heun",
    "midpoint",
    "log_ode",
    "reversible_heun",
]
OU = Diffusion(drift=lambda t, x: -x, diffusion=0.5)


def assert_ou_moments(run, start=1.0, sigma=0.5):
    """Mean and variance of dX = −X dt + σ dW from a point, within four standard errors."""
    t, n = run.times, run.states.shape[0] * run.states.shape[2]
    mean, variance = start * torch.exp(-t), sigma**2 / 2 * (1 - torch.exp(-2 * t))
    bias = 0.006  # of the Euler scheme at these steps
    assert (
        (run.states.double().mean((0, 2)) - mean).abs() <= 4 * (variance / n).sqrt() + bias
    ).all()
    assert (
        (run.states.double().var((0, 2)) - variance).abs() <= 4 * variance * (2 / n) ** 0.5 + bias
    ).all()


@pytest.mark.parametrize("solver", OWN)
def test_ou_mean_and_variance_match_closed_form(solver):
    assert_ou_moments(
        simulate(OU, torch.ones(6000, 2), [0.0, 0.3, 1.0, 3.0], solver=spelled(solver, dt=0.01))
    )


@pytest.mark.parametrize(
    "method", [*LIBRARY, "euler:adaptive", "srk:adaptive", "euler:adjoint", "midpoint:adjoint"]
)
def test_torchsde_agrees_on_ou_and_repeats_with_its_seed(method):
    def run(seed):
        return simulate(
            OU,
            torch.ones(1500, 2),
            [0.0, 0.3, 1.0],
            solver=spelled(f"torchsde:{method}", dt=0.02),
            seed=seed,
        )

    first = run(1)
    assert_ou_moments(first)
    assert torch.equal(first.states, run(1).states)
    assert not torch.equal(first.states, run(2).states)


@pytest.mark.parametrize(
    "diffusion", [torch.tensor([0.2, 0.8]), lambda t, x: torch.tensor([[0.2, 0.8]]).expand_as(x)]
)
@pytest.mark.parametrize("solver", [*OWN, "torchsde:srk"])
def test_diagonal_noise_is_per_coordinate(diffusion, solver):
    process = Diffusion(
        drift=lambda t, x: 0 * x,
        diffusion=diffusion if callable(diffusion) else lambda t, x: diffusion,
    )
    run = simulate(process, torch.zeros(6000, 2), [0.0, 2.0], solver=solver)
    assert np.allclose(run.states[:, 1].var(0), [2 * 0.04, 2 * 0.64], rtol=0.08)


@pytest.mark.parametrize("solver", [*OWN, "torchsde:euler"])
def test_noise_that_changes_in_time_has_the_integrated_variance(solver):
    process = Diffusion(drift=lambda t, x: 0 * x, diffusion=lambda t, x: t[:, None])
    run = simulate(process, torch.zeros(6000, 1), [0.0, 1.0, 3.0], solver=spelled(solver, dt=0.01))
    assert np.allclose(run.states[:, 1:].var(0).squeeze(), [1 / 3, 9.0], rtol=0.08)


@pytest.mark.parametrize("solver", ["euler_maruyama", "heun", "torchsde:milstein", "torchsde:srk"])
def test_state_dependent_noise_is_that_of_ito(solver):
    process = Diffusion(drift=lambda t, x: 0.5 * x, diffusion=lambda t, x: 0.4 * x)
    run = simulate(process, torch.ones(20_000, 1), [0.0, 1.0], solver=spelled(solver, dt=0.02))
    # Geometric Brownian motion: E X = exp(μ t), Var X = exp(2 μ t) (exp(σ² t) − 1); Stratonovich would give exp(μ + σ²/2).
    mean, variance = math.exp(0.5), math.exp(1.0) * (math.exp(0.16) - 1)
    assert run.states[:, 1].mean().item() == pytest.approx(
        mean, abs=4 * (variance / 20_000) ** 0.5 + 0.01
    )
    assert run.states[:, 1].var().item() == pytest.approx(variance, rel=0.08)


def strong_errors(scheme, process, levels=(16, 32, 64), fine=1024, paths=400):
    """RMS distance at t = 1 to the scheme's own limit on the same Brownian paths, per number of steps."""
    generator = torch.Generator().manual_seed(0)
    x0 = torch.ones(paths, 1, dtype=torch.float64)
    equation = equation_of(process, x0, torch.tensor([0.0, 1.0]), None, backward=False)
    dw = torch.randn(fine, paths, 1, generator=generator, dtype=torch.float64) / fine**0.5

    def run(scheme, steps):
        size, h = fine // steps, 1 / steps
        parts = dw.view(steps, size, paths, 1)
        total = parts.sum(1)
        # ∫ (W_s − W_0) ds over the step, from the increments: I_(1,0) / h = Σ_j ((size − j) − 1/2) ΔW_j / size.
        ahead = (size - torch.arange(size, dtype=torch.float64) - 0.5)[None, :, None, None] / size
        chi = (parts * ahead).sum(1)
        x = x0
        for k in range(steps):
            nodes = [torch.tensor((k + c) * h, dtype=torch.float64) for c in scheme.c]
            g0, g1 = (process.diffusion(torch.tensor([(k + c) * h]), x[:1]) for c in (0.0, 1.0))
            kick = g0 * total[k]
            if scheme is SRA1:
                kick = g1 * total[k] + (g0 - g1) * chi[k], 1.5 * g1 * chi[k]
            x, _ = scheme.step(equation, nodes, x, None, h, kick)
        return x

    exact = run(SRA1, fine)
    return [(run(scheme, steps) - exact).square().mean().sqrt().item() for steps in levels]


@pytest.mark.parametrize("time_dependent", [False, True])
@pytest.mark.parametrize(("scheme", "order"), [(EULER_MARUYAMA, 1.0), (HEUN, 1.0), (SRA1, 1.5)])
def test_strong_order_for_additive_noise(scheme, order, time_dependent):
    diffusion = (lambda t, x: (0.3 + t)[:, None].to(x) + 0 * x.detach()) if time_dependent else 0.6
    process = Diffusion(drift=lambda t, x: torch.sin(2 * x) - x, diffusion=diffusion)
    errors = strong_errors(scheme, process)
    observed = math.log2(errors[0] / errors[-1]) / 2
    assert observed == pytest.approx(order, abs=0.2)


class CountKernels(TorchDispatchMode):
    """Counts what would be a kernel launch, and what would make the host wait for the device."""

    VIEWS = (
        "view",
        "expand",
        "select",
        "slice",
        "unbind",
        "t.",
        "transpose",
        "alias",
        "detach",
        "unsqueeze",
        "permute",
    )
    READS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "item")

    def __init__(self):
        super().__init__()
        self.launches = self.reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__
        self.reads += name.startswith(self.READS)
        self.launches += not name.startswith(
            (*self.VIEWS, *self.READS, "empty", "_unsafe_view", "new_empty", "split")
        )
        return func(*args, **(kwargs or {}))


def test_an_euler_maruyama_step_is_at_most_12_launches_and_never_waits():
    net = nn.Sequential(
        *(m for _ in range(3) for m in (nn.Linear(50, 50), nn.SiLU())), nn.Linear(50, 50)
    )
    process = Diffusion(drift=lambda t, x: net(x), diffusion=0.3)
    counts = []
    for steps in (100, 200):
        with CountKernels() as count, torch.no_grad():
            simulate(
                process,
                torch.randn(500, 50),
                [0.0, 4.0],
                solver=spelled("euler_maruyama", dt=4 / steps),
            )
        counts.append((count.launches, count.reads))
    (launches, reads), (launches_of_twice, reads_of_twice) = counts
    assert (launches_of_twice - launches) / 100 <= 12
    assert reads_of_twice == reads  # reads belong to the run, none to a step


@pytest.mark.parametrize(
    "solver",
    [*OWN, "torchsde:euler", "torchsde:reversible_heun", "torchsde:reversible_heun:adjoint"],
)
def test_gradients_reach_start_drift_and_noise(solver):
    class Ou(Diffusion):
        def __init__(self):
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
            self.sigma = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

        def drift(self, t, x):
            return -self.rate * x

        def diffusion(self, t, x):
            return self.sigma

    process = Ou()
    x = torch.zeros(2000, 1, dtype=torch.float64, requires_grad=True)
    end = simulate(process, x, [0.0, 1.0], solver=spelled(solver, dt=1 / 64)).states[:, -1]
    by_x, by_sigma = torch.autograd.grad(end.square().mean(), (x, process.sigma), retain_graph=True)
    # E X² = σ² (1 − e^{−2k}) / 2k from zero, and ∂X/∂x = e^{−k}.
    assert by_sigma.item() == pytest.approx(0.5 * (1 - math.exp(-1.4)) / 0.7, rel=0.1)
    assert torch.allclose(
        by_x * 2000 / (2 * end.detach()), torch.tensor(math.exp(-0.7)).double(), rtol=0.02
    )


def test_a_diverging_noisy_path_is_flagged_once():
    process = Diffusion(drift=lambda t, x: x**3, diffusion=0.1)
    with pytest.warns(RuntimeWarning, match="1 of 2 paths diverged, the first by time 2") as caught:
        run = simulate(process, torch.tensor([[0.0], [3.0]]), [0.0, 0.01, 2.0])
    assert len(caught) == 1
    assert run.status.tolist() == [0, 1]
    assert run.states[1, :2].isfinite().all()
    assert run.states[1, 2].isnan().all()


def test_nan_from_torchsde_does_not_pass_silently():
    process = Diffusion(drift=lambda t, x: x * math.nan, diffusion=0.1)
    with pytest.warns(RuntimeWarning, match="2 of 2 paths diverged"):
        simulate(process, torch.ones(2, 1), [0.0, 1.0], solver="torchsde:euler")
