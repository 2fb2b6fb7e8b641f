"""Dividing cells against the birth-death process, an event-by-event simulation, and the weighted diffusion."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import SRA1
from dyninfer.simulators import BranchingPopulation
from dyninfer.simulators.branching import birth_death_offspring

CELLS = BranchingPopulation()


def constant(birth: float, death: float, dt: float = 0.1) -> BranchingPopulation:
    return BranchingPopulation(
        birth_upper=birth, birth_lower=birth, death_upper=death, death_lower=death, dt=dt
    )


def gillespie_counts(
    birth: float, death: float, t: float, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Cells left by each of ``n`` founders, one event at a time."""
    count, clock = np.ones(n, dtype=int), np.zeros(n)
    alive = np.arange(n)
    while len(alive):
        clock[alive] += rng.exponential(1 / ((birth + death) * count[alive]))
        alive = alive[clock[alive] < t]
        count[alive] += np.where(rng.random(len(alive)) < birth / (birth + death), 1, -1)
        alive = alive[count[alive] > 0]
    return count


def test_drift_is_the_gradient_of_the_potential():
    x = torch.randn(
        40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    process = BranchingPopulation(dimension=4, speed=1.7).process()
    (gradient,) = torch.autograd.grad(process.potential(0.0, x).sum(), x)
    torch.testing.assert_close(process.drift(0.0, x), gradient)


def test_fates_are_stable_rest_points():
    fates = torch.tensor([[3.0, math.sqrt(2)], [3.0, -math.sqrt(2)]], dtype=torch.float64)
    assert CELLS.drift(0.0, fates).abs().max() < 1e-12
    for fate in fates:
        jacobian = torch.autograd.functional.jacobian(lambda x: CELLS.drift(0.0, x[None])[0], fate)
        assert torch.linalg.eigvals(jacobian).real.max() < 0


@pytest.mark.parametrize(
    ("birth", "death", "h"), [(0.7, 0.2, 1.5), (0.5, 0.5, 2.0), (0.0, 0.4, 1.0), (0.3, 0.0, 2.0)]
)
def test_offspring_follow_the_birth_death_law(birth, death, h):
    n = 20_000
    rates = (torch.full((n,), birth), torch.full((n,), death))
    ours = birth_death_offspring(*rates, h, torch.Generator().manual_seed(0)).numpy()
    reference = gillespie_counts(birth, death, h, 5 * n, np.random.default_rng(0))
    top = max(1, np.searchsorted(np.bincount(reference)[::-1].cumsum()[::-1] < 50, True) - 1)
    bins = [np.bincount(np.minimum(c, top), minlength=top + 1) for c in (ours, reference)]
    used = bins[1] > 0
    assert bins[0][~used].sum() == 0
    assert chisquare(bins[0][used], bins[1][used] / 5).pvalue > 1e-3


@pytest.mark.parametrize(("birth", "death"), [(0.8, 0.3), (0.4, 0.4)])
def test_constant_rates_give_the_closed_form_mean_and_variance_at_any_step(birth, death):
    n, t = 20_000, 2.0
    cells = constant(birth, death, dt=0.5)
    counts = np.bincount(cells.grow(t, n, seed=1)[1].numpy(), minlength=n)
    mean = math.exp((birth - death) * t)
    variance = (
        2 * birth * t if birth == death else (birth + death) / (birth - death) * mean * (mean - 1)
    )
    assert cells.count_mean(t) == pytest.approx(mean)
    assert cells.count_variance(t) == pytest.approx(variance)
    assert counts.mean() == pytest.approx(mean, abs=4 * math.sqrt(variance / n))
    assert counts.var() == pytest.approx(variance, rel=0.08)


def test_mass_and_fates_of_the_cells_agree_with_the_weighted_process():
    n, times = 20_000, [0.0, 1.5, 3.0]
    runs = simulate(CELLS.process(), CELLS.founders(n, seed=7), times, solver=SRA1(dt=0.01), seed=7)
    weights = runs.log_weights.exp()
    for k, t in enumerate(times[1:], start=1):
        cells, clone = CELLS.grow(t, n, seed=k)
        counts = np.bincount(clone.numpy(), minlength=n)
        error = math.sqrt((counts.var() + weights[:, k].var().item()) / n)
        assert len(cells) / n == pytest.approx(weights[:, k].mean().item(), abs=4 * error)
        upper = (weights[:, k] * (runs.states[:, k, 1] > 0)).sum() / weights[:, k].sum()
        assert (cells[:, 1] > 0).float().mean().item() == pytest.approx(upper.item(), abs=0.02)
        mean = (weights[:, k, None] * runs.states[:, k]).sum(0) / weights[:, k].sum()
        np.testing.assert_allclose(cells.mean(0), mean, atol=0.03)


def test_faster_growing_fate_takes_over():
    cells = CELLS.sample(4.0, 4000, seed=0)
    assert (cells[:, 1] > 0).float().mean() > 0.65


def test_equal_rates_leave_the_fates_balanced():
    cells = constant(0.5, 0.2, dt=0.05).sample(3.0, 4000, seed=0)
    assert (cells[:, 1] > 0).float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_snapshots_count_cells_per_founder():
    snapshots = CELLS.snapshots([0.0, 1.0, 3.0], 300, seed=0)
    np.testing.assert_allclose(snapshots.masses, np.array(snapshots.sizes) / 300)
    assert snapshots.masses[0] == 1
    assert snapshots.sizes[1] != snapshots.sizes[2]


def test_closed_form_is_refused_where_rates_vary():
    with pytest.raises(ValueError, match="constant rates only"):
        CELLS.count_mean(1.0)
    with pytest.raises(ValueError, match="dimension must be at least 2"):
        BranchingPopulation(dimension=1)
