import numpy as np
import pytest
import torch
from scipy import stats
from simulation.spelled import spelled

from dyninfer.diffusions import Diffusion
from dyninfer.learning.random import mix64, stream
from dyninfer.simulation import simulate
from dyninfer.simulation.equation import equation_of
from dyninfer.simulation.grid import Grid
from dyninfer.simulation.noise import BLOCK, PathNoise
from dyninfer.simulation.scale import Scale
from dyninfer.simulation.solvers import TorchSDE
from dyninfer.simulation.solvers.grid_motion import GridMotion
from dyninfer.simulation.solvers.task import Task
from dyninfer.simulation.solvers.weighted import Weighted

WIENER = Diffusion(drift=lambda t, x: torch.zeros_like(x), diffusion=1.0)


@pytest.mark.parametrize(
    "solver", ["euler_maruyama", "heun", "sra1", "torchsde:euler", "torchsde:srk"]
)
def test_brownian_variance_equals_elapsed_time_over_a_long_horizon(solver):
    times = torch.tensor([0.0, 1.0, 7.0, 50.0, 100.0])
    run = simulate(WIENER, torch.zeros(3000, 2), times, solver=spelled(solver, dt=1.0))
    variance = run.states.var(dim=(0, 2)).numpy()
    # 6,000 normals: the relative standard error of a variance is 1.8 %.
    assert np.allclose(variance[1:], times[1:].numpy(), rtol=0.08)
    increments = run.states.diff(dim=1)
    correlation = np.corrcoef(increments.reshape(3000, -1).T.numpy())
    assert np.abs(correlation - np.eye(8)).max() < 0.08


def test_normals_are_standard_and_independent_across_paths_steps_and_columns():
    normals = PathNoise(0, 700, 2, torch.zeros(1)).segment(range(300), 0)
    assert stats.kstest(normals.flatten()[:50_000].numpy(), "norm").pvalue > 1e-3
    by_path = np.corrcoef(normals[..., 0].T.numpy())
    assert np.abs(by_path - np.eye(300)).max() < 6 / len(normals) ** 0.5


def test_any_rows_of_any_segment_equal_those_of_the_whole():
    noise = PathNoise(1, 5000, 3, torch.zeros(1))
    assert noise.segment_length < 5000
    whole = noise.segment(range(300), 2)
    for rows in (range(0, 5), range(60, 70), range(BLOCK, 2 * BLOCK), range(129, 300)):
        assert torch.equal(noise.segment(rows, 2), whole[:, rows.start : rows.stop])


def test_segments_cover_all_steps_once():
    noise = PathNoise(1, 5000, 3, torch.zeros(1))
    lengths = [len(noise.segment(range(2), k)) for k in range(-(-5000 // noise.segment_length))]
    assert sum(lengths) == 5000


def test_blocks_never_share_a_generator_seed():
    streams = PathNoise(11, 10, 1, torch.zeros(1)).streams
    seeds = {streams.seed(block, segment) for block in range(3000) for segment in range(60)}
    assert len(seeds) == 3000 * 60


def test_splitmix64_has_its_published_first_output():
    # First output of splitmix64 seeded with 0, in the reference implementation's test vectors.
    assert mix64(0) == 0xE220A8397B1DCDAF


def test_streams_of_different_purposes_differ():
    a, b = (torch.rand(4, generator=stream(0, purpose)) for purpose in ("start", "resample"))
    assert not torch.equal(a, b)


@pytest.mark.parametrize("method", ["euler", "milstein", "srk", "midpoint", "reversible_heun"])
def test_torchsde_with_fixed_steps_gives_a_path_its_own_noise(method):
    solver = TorchSDE(method, dt=0.05)
    run = simulate(WIENER, torch.zeros(70, 2), [0.0, 0.3, 1.0], solver=solver)
    few = simulate(WIENER, torch.zeros(5, 2), [0.0, 0.3, 1.0], solver=solver)
    chunked = simulate(WIENER, torch.zeros(70, 2), [0.0, 0.3, 1.0], solver=solver, chunk_size=9)
    assert torch.equal(few.states, run.states[:5])
    assert torch.equal(chunked.states, run.states)


def test_integrals_over_a_step_have_the_moments_of_brownian_motion():
    x = torch.zeros(20_000, 1, dtype=torch.float64)
    times = torch.tensor([0.0, 2.0], dtype=torch.float64)
    equation = equation_of(WIENER, x, times, None, False)
    grid = Grid.of(times, 0.5)
    scale = Scale.of(equation, x, times)
    task = Task(equation, grid, 0, range(len(x)), grid.intervals, scale)
    motion = GridMotion(task, Weighted(task, x, None), 1, "space-time")
    w, u = motion(0.25, 0.5, return_U=True)
    h = 0.25
    covariance = np.cov(torch.cat([w, u], dim=1).T.numpy())
    expected = np.array([[h, h**2 / 2], [h**2 / 2, h**3 / 3]])
    # Relative standard errors of variances of 20,000 normals are 1 %.
    assert np.allclose(covariance, expected, rtol=0.05)
