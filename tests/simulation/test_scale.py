"""Origin and unit of a run, from states or motion; and how many paths are run at once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dyninfer import Diffusion
from dyninfer.simulation.equation import equation_of
from dyninfer.simulation.runner import _CPU_BUDGET, _chunk_size
from dyninfer.simulation.scale import Scale


def scale_of(states, drift=None, duration=1.0):
    x = torch.tensor(states, dtype=torch.float64)
    times = torch.tensor([0.0, duration], dtype=torch.float64)
    process = Diffusion(drift=drift or (lambda t, x: torch.zeros_like(x)))
    scale = Scale.of(equation_of(process, x, times, None, backward=False), x, times)
    return scale.origin.tolist(), scale.unit.tolist()


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_states_have_the_median_as_origin_and_the_median_distance_from_it_as_unit(size):
    # Distances from 2 are 1, 0, 2, 5 and 98; where most are equal, their mean is the unit.
    states = [[1, 3], [2, 3], [4, 3], [7, 3], [100, 8], [0, 3], [1, 3]]
    origin, unit = scale_of((size * np.array(states, dtype=float)).tolist())
    np.testing.assert_allclose(origin, [2 * size, 3 * size])
    np.testing.assert_allclose(unit, [2 * size, 5 / 7 * size])


def test_a_single_state_counts_from_zero_by_its_size():
    assert scale_of([[4.0, -8.0]]) == ([0, 0], [4, 8])
    assert scale_of([[4.0, -8.0], [4.0, -8.0]]) == ([0, 0], [4, 8])


def test_a_coordinate_at_zero_has_the_unit_of_its_motion_or_of_the_others():
    # A fiftieth of the way that its speed would take it.
    def drift(t, x):
        speeds = torch.tensor([100.0, 0.0, 0.0], dtype=x.dtype)
        return speeds.expand_as(x)

    assert scale_of([[0.0, 0.0, 3.0]], drift, duration=7.0) == ([0, 0, 0], [14, 14, 3])
    assert scale_of([[0.0, 0.0, 3.0]]) == ([0, 0, 0], [3, 3, 3])
    assert scale_of([[0.0, 0.0]]) == ([0, 0], [1, 1])


@pytest.mark.parametrize("d", [1, 50, 5000])
@pytest.mark.parametrize("is_noisy", [False, True])
def test_as_many_paths_are_run_at_once_as_the_budget_holds(d, is_noisy):
    states = torch.zeros(3, d)
    equation = SimpleNamespace(amplitude=torch.ones if is_noisy else None)
    task = SimpleNamespace(equation=equation, grid=SimpleNamespace(n_steps=100))
    solver = SimpleNamespace(needs_all_paths=False)
    n = _chunk_size(states, task, solver)
    assert n % 64 == 0
    # Sixteen tables of states, of four bytes a number, and six of the noise.
    least = 4 * n * d * (22 if is_noisy else 16)
    assert least < _CPU_BUDGET
    # And no fewer than a quarter of those, unless noise asks for it.
    if not is_noisy:
        assert 4 * n * (16 * d + 2048) > _CPU_BUDGET / 4
    else:
        calm = SimpleNamespace(equation=SimpleNamespace(amplitude=None), grid=task.grid)
        assert n < _chunk_size(states, calm, solver)
    assert _chunk_size(states, task, SimpleNamespace(needs_all_paths=True)) == 3
