"""The folding toy against its gradient, a plain NumPy loop over steps, and the known populations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dyninfer.simulators import ProteinFolding

FRAMES = 0.1 * np.arange(100)


def test_drift_is_minus_the_slope_of_the_energy():
    x = 2 * torch.randn(50, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x.requires_grad_()
    (slope,) = torch.autograd.grad(ProteinFolding.energy(x.norm(dim=-1)).sum(), x)
    torch.testing.assert_close(ProteinFolding.drift(0.0, x.detach()), -slope)
    assert ProteinFolding.drift(0.0, torch.zeros(1, 5)).isfinite().all()
    assert float(ProteinFolding.energy(torch.tensor(0.0))) == -22.5


def test_populations_are_those_of_the_benchmark_and_of_a_plain_loop():
    n, rng = 1500, np.random.default_rng(0)
    x, inner = 2 * (rng.standard_normal((n, 5)) - 0.5), 0.0
    for k in range(1100):
        r = np.linalg.norm(x, axis=1, keepdims=True)
        inner += (r < 2).mean() / 100 if k >= 1000 else 0.0
        slope = np.where(r < 3, -5 * (r - 3), 1.5 * (r - 3) ** 2 - 2 * (r - 3))
        x = x - 0.1 * slope * x / r + np.sqrt(0.2) * rng.standard_normal((n, 5))
    radius = np.stack(ProteinFolding().paths(FRAMES, n, seed=0).states)[:, :, 0]
    found = (radius < 2).mean(1)
    error = found.std() / np.sqrt(n)
    assert found.mean() == pytest.approx(0.678, abs=4 * error)
    assert found.mean() == pytest.approx(inner, abs=4 * np.sqrt(2) * error)


def test_one_step_moves_by_the_drift_and_spreads_by_the_noise():
    x = ProteinFolding(burn_in=0).positions([0.0, 0.1], 20_000, seed=0).double()
    moved = x[:, 1] - x[:, 0] - 0.1 * ProteinFolding.drift(0.0, x[:, 0])
    assert (moved.mean(0).abs() < 5 * np.sqrt(0.2 / 20_000)).all()
    torch.testing.assert_close(moved.var(0), torch.full((5,), 0.2).double(), rtol=0.05, atol=0)
    torch.testing.assert_close(x[:, 0].mean(0), torch.full((5,), -1.0).double(), rtol=0.1, atol=0)


def test_a_path_depends_on_the_seed_and_its_number_alone():
    system, frames = ProteinFolding(burn_in=20), [0.0, 0.3, 1.0]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    whole = system.positions(frames, 200, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert whole.dtype == torch.float32
    assert torch.equal(whole[:70], system.positions(frames, 70, seed=1))
    assert not torch.equal(whole, system.positions(frames, 200, seed=2))
    finer = system.positions([0.1 * k for k in range(11)], 200, seed=1)
    torch.testing.assert_close(whole, finer[:, [0, 3, 10]])


def test_labels_are_the_radii_cut_in_two():
    system = ProteinFolding(burn_in=100)
    radius = np.stack(system.paths(FRAMES, 300, seed=3).states)[:, :, 0]
    labels = system.labels(FRAMES, 300, seed=3, threshold=2.5)
    assert labels.state_names == ("folded", "unfolded")
    np.testing.assert_array_equal(np.stack(labels.states), radius >= 2.5)
    noisy = np.stack(system.labels(FRAMES, 300, seed=3, threshold=2.5, label_noise=0.1).states)
    assert (noisy != (radius >= 2.5)).mean() == pytest.approx(0.1, abs=0.01)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"times must be multiples of step = 0.1, found 0.25"):
        ProteinFolding().paths([0.0, 0.25], 3)
    with pytest.raises(ValueError, match="step must be positive"):
        ProteinFolding(step=0.0)
    with pytest.raises(ValueError, match="threshold must be positive"):
        ProteinFolding().labels([0.0], 3, threshold=0.0)
