"""What a run asks of a field before it starts: shapes, and whether noise depends on the state."""

import numpy as np
import pytest
import torch

from dyninfer import Diffusion, simulate


@pytest.mark.parametrize("d", [2, 3])
def test_every_shape_of_one_amplitude_gives_the_same_paths(d):
    x = torch.linspace(0, 1, 5 * d).reshape(5, d)
    amplitudes = {
        "()": lambda t, x: torch.tensor(0.3),
        "(1,)": lambda t, x: torch.full((1,), 0.3),
        "(d,)": lambda t, x: torch.full((d,), 0.3),
        "(n, 1)": lambda t, x: torch.full((len(x), 1), 0.3),
        "(n, d)": lambda t, x: torch.full_like(x, 0.3),
    }
    runs = {}
    for shape, amplitude in amplitudes.items():
        process = Diffusion(drift=lambda t, x: -x, diffusion=amplitude)
        runs[shape] = simulate(process, x, [0.0, 0.5], seed=1)
    for run in runs.values():
        torch.testing.assert_close(run.states, runs["(n, d)"].states, rtol=1e-5, atol=1e-6)
        assert run.attrs["solver"]["class"] == "SRA1"
    wrong = Diffusion(drift=lambda t, x: -x, diffusion=lambda t, x: torch.ones(len(x)))
    with pytest.raises(ValueError, match=r"diffusion\(t, x\) of the process returned shape \("):
        simulate(wrong, x, [0.0, 0.5])


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_noise_that_depends_on_the_state_is_found_in_any_unit(unit):
    # Without a path to the state in the graph, only a difference between states tells.
    hidden = Diffusion(drift=lambda t, x: -x, diffusion=lambda t, x: 0.1 * x.detach())
    run = simulate(hidden, np.full((4, 2), unit, dtype=np.float32), [0.0, 0.1])
    assert run.attrs["solver"]["class"] == "EulerMaruyama"


def test_the_memory_of_a_run_counts_every_number_of_its_states():
    still = Diffusion(drift=lambda t, x: torch.zeros_like(x))
    # 4 bytes a number, and 8 for the row that a path starts from: 4 · 30 · 2 + 8.
    with pytest.raises(
        MemoryError, match=r"states of .* paths at 2 times take at least 2\.48e\+04 GB"
    ):
        simulate(still, torch.ones(2, 30), [0.0, 1.0], n_paths=10**11)
