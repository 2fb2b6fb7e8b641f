import math

import pytest
import torch
from simulation.spelled import spelled

from dyninfer.diffusions import Diffusion
from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import SRA1, Tsit5
from dyninfer.simulation.weights import effective_sample_size, systematic_resample

GROWING_DECAY = Diffusion(
    drift=lambda t, x: -x, growth=lambda t, x: x[:, 0]
)  # log w = x0 (1 − e^{−t})
SELECTION = Diffusion(drift=lambda t, x: 0 * x, growth=lambda t, x: x[:, 0])  # w = e^{x0 t}


@pytest.mark.parametrize("solver", ["tsit5", "rk4", "heun", "dopri5"])
def test_log_weights_of_a_flow_match_closed_form(solver):
    x = torch.rand(30, 2, dtype=torch.float64)
    run = simulate(GROWING_DECAY, x, [0.0, 0.4, 2.0], solver=spelled(solver, rtol=1e-6, atol=1e-7))
    exact = x[:, :1] * (1 - torch.exp(-run.times))
    assert run.log_weights.dtype == torch.float64
    assert (run.log_weights - exact).abs().max() < 1e-4


class Ramps(Diffusion):
    """Still cells whose growth rate falls from 1 to −2 within .01 of time 1, and rises at 3."""

    def drift(self, t, x):
        return 0 * x

    def growth(self, t, x):
        fall = (100 * (torch.as_tensor(t) - 1)).clamp(0, 1)
        rise = (100 * (torch.as_tensor(t) - 3)).clamp(0, 1)
        return (1 - 3 * fall + 3 * rise).expand(len(x)).to(x)

    def breaks(self):
        return torch.tensor([3.01, 1.0, 7.0, 3.0, 1.01], dtype=torch.float64)


@pytest.mark.parametrize("end", [0.0, 4.0])
def test_a_growth_that_bends_is_exact_where_the_process_says_when(end):
    times = torch.linspace(4 - end, end, 9, dtype=torch.float64)
    run = simulate(Ramps(), torch.ones(5, 2), times, backward=end == 0, solver=Tsit5())

    def area(u):
        """Integral of a ramp that begins at 0."""
        return 50 * u.clamp(0, 0.01).square() + (u - 0.01).clamp(min=0)

    grown = times - 3 * area(times - 1) + 3 * area(times - 3)
    # Times of a plain function are in single precision, like its states.
    assert (run.log_weights - (grown - grown[0])).abs().max() < 1e-5


def test_log_weights_run_backward_with_the_same_sign():
    run = simulate(
        GROWING_DECAY,
        torch.full((1, 1), math.exp(-2.0)).double(),
        [2.0, 0.0],
        backward=True,
        solver=Tsit5(rtol=1e-8),
    )
    assert run.log_weights[0, 1].item() == pytest.approx(-(1 - math.exp(-2.0)), abs=1e-6)


@pytest.mark.parametrize("solver", ["euler_maruyama", "heun", "sra1", "torchsde:srk"])
def test_constant_growth_is_exact_with_noise(solver):
    process = Diffusion(drift=lambda t, x: -x, diffusion=0.3, growth=lambda t, x: 0 * x[:, 0] + 0.3)
    run = simulate(process, torch.ones(10, 2), [0.0, 0.5, 2.0], solver=solver)
    assert torch.allclose(run.log_weights, (0.3 * run.times).expand(10, 3), atol=1e-5)


@pytest.mark.parametrize(
    ("solver", "tolerance"), [("euler_maruyama", 2e-2), ("heun", 1e-3), ("sra1", 1e-3)]
)
def test_mass_with_noise_matches_closed_form(solver, tolerance):
    """Growth a X on Brownian motion: E exp(a ∫ W) = exp(a² t³ / 6)."""
    process = Diffusion(drift=lambda t, x: 0 * x, diffusion=1.0, growth=lambda t, x: 0.8 * x[:, 0])
    run = simulate(process, torch.zeros(20_000, 1), [0.0, 1.0], solver=spelled(solver, dt=0.02))
    assert run.mass[1].item() == pytest.approx(
        math.exp(0.64 / 6), abs=tolerance + 4 * 0.5 / 20_000**0.5
    )


def test_processes_without_growth_have_no_weights():
    run = simulate(Diffusion(drift=lambda t, x: -x), torch.ones(2, 1), [0.0, 1.0])
    assert run.log_weights is None
    assert "ess" not in run.attrs


def test_effective_sample_size_matches_its_definition():
    w = torch.tensor([[1.0, 1.0], [1.0, 3.0], [1.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(
        effective_sample_size(w.log()), torch.tensor([3.0, 16 / 10], dtype=torch.float64)
    )


def test_systematic_draws_are_within_one_of_their_share():
    w = torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w[:20] = 0
    rows, mean = systematic_resample(w.log(), torch.Generator().manual_seed(1))
    counts = torch.bincount(rows, minlength=500)
    assert ((counts - 500 * w / w.sum()).abs() < 1).all()
    assert torch.allclose(mean.exp(), w.mean().expand(500))


@pytest.mark.parametrize("chunk_size", [None, 130])
def test_resampling_keeps_mass_and_law_and_records_ancestry(chunk_size):
    n = 1000
    x = torch.linspace(-1, 1, n, dtype=torch.float64)[:, None]
    times = torch.linspace(0, 3, 13, dtype=torch.float64)
    run = simulate(SELECTION, x, times, resample=0.8, seed=2, chunk_size=chunk_size)
    t = times[1:]
    mass = torch.sinh(t) / t  # mean of e^{x t} over x uniform on (−1, 1)
    tilted = 1 / torch.tanh(t) - 1 / t  # mean of x under weights e^{x t}
    assert torch.allclose(run.mass[1:], mass, rtol=5e-3)
    assert torch.allclose((run.weights[:, 1:] * run.states[:, 1:, 0]).sum(0), tilted, atol=5e-3)
    resampled = (run.parents != torch.arange(n)[:, None]).any(0)
    assert resampled.sum() >= 2
    assert not resampled[0]
    assert (run.log_weights[:, resampled].std(0) == 0).all()
    # Nothing moves here, so every row is where its parent was.
    for k in range(1, len(times)):
        assert torch.equal(run.states[:, k], run.states[run.parents[:, k], k - 1])
    assert len(run.attrs["ess"]) == len(times)
    assert (torch.tensor(run.attrs["ess"]) < 0.8 * n).tolist() == resampled.tolist()


def test_resampling_does_not_depend_on_chunks():
    process = Diffusion(drift=lambda t, x: -x, diffusion=0.5, growth=lambda t, x: x[:, 0])
    x, times = torch.randn(300, 2), [0.0, 0.5, 1.0, 2.0]
    runs = [
        simulate(process, x, times, resample=0.95, seed=4, chunk_size=c, solver=SRA1(dt=0.05))
        for c in (None, 50)
    ]
    assert torch.equal(runs[0].parents, runs[1].parents)
    assert torch.equal(runs[0].states, runs[1].states)


def test_resampling_replaces_paths_that_diverged():
    process = Diffusion(drift=lambda t, x: x**2, growth=lambda t, x: 0 * x[:, 0])
    x = torch.tensor([[0.1]] * 9 + [[2.0]])
    with pytest.warns(
        RuntimeWarning, match="1 of 10 paths diverged, the first by time 1; resampling replaced"
    ):
        run = simulate(process, x, [0.0, 1.0, 2.0], resample=0.5)
    assert run.states.isfinite().all()
    assert run.status.sum() == 0
    assert torch.allclose(run.mass, torch.tensor([1.0, 0.9, 0.9], dtype=torch.float64))


def test_weights_of_diverged_paths_do_not_spoil_the_effective_sample_size():
    process = Diffusion(drift=lambda t, x: x**2, growth=lambda t, x: 0 * x[:, 0])
    with pytest.warns(RuntimeWarning, match="1 of 3"):
        run = simulate(process, torch.tensor([[0.1], [0.1], [2.0]]), [0.0, 1.0])
    assert run.attrs["ess"] == pytest.approx([3.0, 2.0])
