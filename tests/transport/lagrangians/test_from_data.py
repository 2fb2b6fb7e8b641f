"""Potentials found in the data: right derivatives with unequal gaps, dense regions favoured, held-out cells unseen."""

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import Settings
from dyninfer.transport.lagrangians import DataManifold, MeanAcceleration, OptimalTransport
from dyninfer.transport.objectives import DualObjective

F64 = torch.float64


def scaling_of(data, mode=None):
    return Scaling.from_samples(data.times, list(data.samples), mode)


def force(potential, tau, z):
    """``−∇V`` at one scaled time."""
    z = torch.as_tensor(z, dtype=F64).requires_grad_()
    (slope,) = torch.autograd.grad(potential(torch.full((len(z),), tau, dtype=F64), z).sum(), z)
    return -slope


# --- mean acceleration ---


@pytest.mark.parametrize("times", [(0.0, 1.0, 2.0, 3.0), (2.0, 3.0, 7.0, 7.5)])
def test_the_force_is_the_acceleration_of_a_mean_that_moves_on_a_parabola(times):
    # The second difference with unequal gaps is exact for a parabola; other denominators are not.
    a, v = np.array([3.0, -1.0]), np.array([0.5, 2.0])
    shape = np.random.default_rng(0).normal(size=(40, 2))
    shape -= shape.mean(0)
    samples = [shape * (1 + 0.2 * k) + v * t + 0.5 * a * t**2 for k, t in enumerate(times)]
    data = di.Snapshots(times=times, samples=samples)
    for mode in (None, "global"):
        scaling = scaling_of(data, mode)
        potential = MeanAcceleration().potential(data, scaling)
        for tau in (0.0, 0.2, 0.7, 1.0):
            found = force(potential, tau, np.zeros((3, 2))) * scaling.unit / scaling.duration**2
            np.testing.assert_allclose(found, np.tile(a, (3, 1)), rtol=1e-9)


def test_the_force_is_the_second_difference_with_its_own_denominator():
    times, means = (0.0, 1.0, 4.0, 5.0), np.array([0.0, 2.0, 3.0, 7.0])
    data = di.Snapshots(times=times, samples=[np.full((30, 1), m) for m in means])
    scaling = scaling_of(data)
    potential = MeanAcceleration(strength=2.0).potential(data, scaling)
    first = 2 * (1 / 3 - 2) / (0.5 * 4)  # (m2−m1)/3 − (m1−m0)/1 over half of t2 − t0
    second = 2 * (4 - 1 / 3) / (0.5 * 4)
    found = [
        float(force(potential, t / 5, np.zeros((1, 1)))[0, 0]) / 25
        for t in (0.0, 1.0, 2.5, 4.0, 5.0)
    ]
    np.testing.assert_allclose(found, [first, first, 0.5 * (first + second), second, second])


def test_means_are_weighted_as_the_cells_are():
    samples = [np.array([[0.0], [10.0]]), np.array([[1.0], [50.0]]), np.array([[4.0], [90.0]])]
    plain = di.Snapshots(times=[0, 1, 2], samples=[s[:1] for s in samples])
    weighted = di.Snapshots(times=[0, 1, 2], samples=samples, weights=[np.array([1.0, 1e-12])] * 3)
    both = [
        float(force(MeanAcceleration().potential(d, scaling_of(d)), 0.5, np.zeros((1, 1))))
        for d in (plain, weighted)
    ]
    assert both == pytest.approx([8.0, 8.0])  # in scaled time: 2 · 2²


def test_the_potential_is_zero_at_the_mean_so_that_it_shifts_no_energy():
    times = (0.0, 1.0, 2.0)
    data = di.Snapshots(times=times, samples=[np.full((20, 1), float(t**2)) for t in times])
    potential = MeanAcceleration().potential(data, scaling_of(data))
    tau, mean = (
        torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=F64),
        torch.tensor([[0.0], [0.5], [1.0], [4.0]], dtype=F64),
    )
    np.testing.assert_allclose(potential(tau, mean), 0, atol=1e-12)


def test_mean_acceleration_needs_three_times_and_counts_those_that_are_kept():
    rng = np.random.default_rng(0)
    data = di.Snapshots(times=[0, 1, 2], samples=[rng.normal(k, 1, (30, 2)) for k in range(3)])
    model = di.WassersteinLagrangianFlow(
        lagrangian=OptimalTransport() + MeanAcceleration(), width=8, depth=1
    )
    with pytest.raises(
        ValueError, match="MeanAcceleration needs at least three times .* these data have 2"
    ):
        model.fit(data, hold_out=1.0, max_steps=2, progress=False)


# --- data manifold ---


def ring(n=3000, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], 1) + noise * rng.normal(size=(n, 2))


def manifold(**settings):
    data = di.Snapshots(times=[0, 1], samples=[ring(seed=0), ring(seed=1)])
    scaling = scaling_of(data, "global")
    return DataManifold(**settings).potential(data, scaling), scaling, data


def energy(potential, scaling, x):
    z = torch.as_tensor(scaling.states(np.asarray(x, dtype=float)))
    return potential(torch.zeros(len(z), dtype=F64), z)


@pytest.mark.parametrize("kernel", ["rbf", "gaussian"])
def test_energy_is_high_on_the_data_and_low_in_the_hole(kernel):
    potential, scaling, data = manifold(kernel=kernel)
    on = energy(potential, scaling, np.concatenate(data.samples))
    hole, outside = (energy(potential, scaling, x) for x in ([[0.0, 0.0]], [[3.0, 0.0]]))
    assert float(on.mean()) == pytest.approx(0, abs=0.05)  # zero on average over the data
    assert float(on.std()) < 0.8  # half a χ² across the ring
    assert float(hole) < -3
    assert float(outside) == pytest.approx(
        float(hole), abs=0.05
    )  # the floor: emptier is not dearer


def test_the_force_points_back_to_the_data_and_fades_far_away():
    potential, scaling, _ = manifold(floor=1e-3)
    inside, outside, far = (
        force(potential, 0.0, scaling.states(np.array([x])))
        for x in ([0.9, 0.0], [1.1, 0.0], [6.0, 0.0])
    )
    # ẍ = −∇V pushes away from high energy: a least action path runs where V is high, and is thrown outwards from it.
    assert float(inside[0, 0]) < -1
    assert float(outside[0, 0]) > 1
    assert float(far.norm()) < 1e-3


def test_strength_multiplies_and_the_floor_bounds_the_energy():
    x = np.concatenate([ring(200, seed=3), [[0.0, 0.0]]])
    one, three = (energy(*manifold(strength=k)[:2], x) for k in (1.0, 3.0))
    torch.testing.assert_close(three, 3 * one)
    shallow, deep = (float(energy(*manifold(floor=f)[:2], [[0.0, 0.0]])) for f in (1e-1, 1e-4))
    assert deep - shallow == pytest.approx(-np.log(1e3), abs=0.3)


def test_few_cells_and_repeated_cells_are_no_trouble():
    for samples in (
        [np.zeros((5, 2)), np.zeros((5, 2)) + 1e-3],
        [ring(6), ring(4)],
        [ring(60), ring(90)],
    ):
        data = di.Snapshots(times=[0, 1], samples=samples)
        potential = DataManifold().potential(data, scaling_of(data, "global"))
        assert bool(energy(potential, scaling_of(data, "global"), samples[0]).isfinite().all())
    between = ring(500, seed=9)  # 150 cells are enough for new ones not to fall between kernels
    assert float(energy(potential, scaling_of(data, "global"), between).mean()) > -1


@pytest.mark.parametrize(
    "term", [MeanAcceleration(), DataManifold(n_landmarks=8)], ids=["mean", "manifold"]
)
def test_potentials_are_found_in_all_cells_but_those_held_out(term, monkeypatch):
    monkeypatch.setattr(DualObjective, "warm_steps", 2)
    monkeypatch.setattr(Settings, "registry", dict(Settings.registry))
    rng = np.random.default_rng(0)
    seen = []

    class Spy(type(term)):
        def potential(self, data, scaling):
            seen.append(data)
            return super().potential(data, scaling)

    data = di.Snapshots(times=[0, 1, 2, 5], samples=[rng.normal(k, 1, (40, 2)) for k in range(4)])
    model = di.WassersteinLagrangianFlow(
        lagrangian=OptimalTransport() + Spy(**term.get_params()), width=8, depth=1
    )
    model.fit(data, hold_out=2.0, max_steps=2, progress=False)
    (used,) = seen
    assert list(used.times) == [0, 1, 5]
    assert all(n == 40 for n in used.sizes)
