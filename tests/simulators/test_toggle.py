"""The toggle switch: its fixed points by root finding, its masses by the weighted diffusion."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, fsolve

from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import SRA1
from dyninfer.simulators import ToggleWithGrowth

TOGGLE = ToggleWithGrowth()


def field(levels: np.ndarray) -> np.ndarray:
    """The equations at the default parameters, written out."""
    a, b = levels
    return np.array(
        [
            2.5 * (a**2 + 0.5) / (1 + a**2 + 4 * b**2 + 0.5) - a,
            2.5 * (b**2 + 0.5) / (1 + b**2 + 4 * a**2 + 0.5) - b,
        ]
    )


def rest_points() -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for a in np.linspace(0, 2.5, 12):
        for b in np.linspace(0, 2.5, 12):
            root, _, ok, _ = fsolve(field, (a, b), full_output=True)
            if ok == 1 and not any(np.allclose(root, other, atol=1e-5) for other in found):
                found.append(root)
    return found


def eigenvalues(point: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(point)
    return np.linalg.eigvals(
        torch.autograd.functional.jacobian(lambda y: TOGGLE.drift(0.0, y[None])[0], x)
    )


def test_drift_is_the_written_equation():
    x = np.random.default_rng(0).uniform(0, 3, (20, 2))
    np.testing.assert_allclose(TOGGLE.drift(0.0, torch.from_numpy(x)), [field(row) for row in x])


def test_switch_is_bistable_with_a_saddle_between():
    points = rest_points()
    stable = sorted((p for p in points if (eigenvalues(p).real < 0).all()), key=lambda p: p[0])
    assert len(points) == 3
    assert len(stable) == 2
    np.testing.assert_allclose(stable[0], stable[1][::-1], atol=1e-6)
    np.testing.assert_allclose(stable[1], [2.06, 0.07], atol=5e-3)
    (saddle,) = (p for p in points if (eigenvalues(p).real > 0).any())
    middle = brentq(lambda a: field(np.array([a, a]))[0], 0.1, 2)
    np.testing.assert_allclose(saddle, [middle, middle], atol=1e-6)
    assert (eigenvalues(saddle).real > 0).sum() == 1


def test_growth_is_half_of_its_largest_at_the_threshold():
    x = torch.tensor([[0.0, 1.0], [5.0, 0.0], [0.0, 1e4]])
    torch.testing.assert_close(TOGGLE.growth(0.0, x), torch.tensor([0.15, 0.0, 0.3]))


def test_cells_commit_to_one_gene_or_the_other():
    cells = TOGGLE.sample(9.0, 1000, seed=0)
    near = [(cells - torch.tensor(p)).norm(dim=1) < 0.7 for p in ([2.06, 0.07], [0.07, 2.06])]
    assert (near[0] | near[1]).float().mean() > 0.9
    assert near[1].sum() > 1.5 * near[0].sum()  # gene B drives division


def test_masses_and_fates_agree_with_the_weighted_process():
    n, times = 10_000, [0.0, 1.5, 3.0, 4.5, 6.0]
    snapshots = TOGGLE.snapshots(times, n, seed=1)
    runs = simulate(
        TOGGLE.process(), TOGGLE.founders(n, seed=5), times, solver=SRA1(dt=0.02), seed=5
    )
    weights = runs.log_weights.exp()
    for k in range(1, len(times)):
        expected = weights[:, k].mean().item()
        error = math.sqrt(
            (expected**2 + weights[:, k].var().item()) / n
        )  # pure birth: sd below the mean
        assert snapshots.masses[k] == pytest.approx(expected, abs=4 * error)
        high_b = (weights[:, k] * (runs.states[:, k, 1] > 1)).sum() / weights[:, k].sum()
        assert (snapshots.samples[k][:, 1] > 1).mean() == pytest.approx(high_b.item(), abs=0.03)


def test_odd_hill_exponents_are_refused():
    with pytest.raises(ValueError, match="hill must be an even integer from 2 to 8, found 3"):
        ToggleWithGrowth(hill=3)
