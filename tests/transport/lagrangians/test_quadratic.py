"""Bridges in a quadratic potential: Mehler's kernel, the nearest quadratic, and what is not one."""

import math
import warnings

import numpy as np
import pytest
import torch
from oracles import gaussian_density, grid_bridge

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import CoupledSamples, natural_couplings
from dyninfer.transport.curves.learned import LearnedCurve, PairBatch
from dyninfer.transport.lagrangians import (
    QuadraticBridge,
    ScaledLagrangian,
    nearest_quadratic,
    with_bridge,
)

CPU, F64 = torch.device("cpu"), torch.float64
STIFFNESS = torch.tensor([8.0, -3.0, 0.0], dtype=F64)
SLOPE = torch.tensor([1.0, 0.5, -2.0], dtype=F64)
BRIDGE = QuadraticBridge(0.7, torch.eye(3, dtype=F64), STIFFNESS, SLOPE)
GRID = np.linspace(-4.5, 4.5, 289)


def number(t):
    return torch.tensor([t], dtype=F64)


@pytest.mark.parametrize("t", [0.1, 0.3, 0.7, 0.9])
def test_means_obey_the_force_and_spreads_the_noise(t):
    x, y = torch.tensor([[1.0, 2, -1]], dtype=F64), torch.tensor([[0.0, -1, 3]], dtype=F64)
    h = 1e-3

    def mean(s):
        return BRIDGE.mean(number(s), number(1.0), x, y)

    (before, _), (m, v), (after, _) = mean(t - h), mean(t), mean(t + h)
    torch.testing.assert_close((after - before) / (2 * h), v, rtol=1e-4, atol=1e-4)
    bend = (after - 2 * m + before) / h**2
    torch.testing.assert_close(bend, STIFFNESS * m - SLOPE, rtol=1e-3, atol=1e-2)

    def variance(s):
        return BRIDGE.moments(number(s), number(1.0)).spread ** 2

    rate = (variance(t + h) - variance(t - h)) / (2 * h)
    back = BRIDGE.pull(number(1 - t)).back
    torch.testing.assert_close(rate, 0.49 - 2 * back * variance(t), rtol=1e-4, atol=1e-4)


def test_ends_are_met_and_a_stiff_well_does_not_overflow():
    stiff = QuadraticBridge(0.7, torch.eye(1, dtype=F64), number(1e8), number(0.0))
    x, y = number(1.0)[:, None], number(-2.0)[:, None]
    for t, end in ((0.0, x), (1.0, y)):
        position, _ = stiff.mean(number(t), number(1.0), x, y)
        torch.testing.assert_close(position, end)
    # The stationary spread of dX = −ωX dt + σ dW.
    spread = stiff.moments(number(0.5), number(1.0)).spread
    assert float(spread) == pytest.approx(0.7 / math.sqrt(2e4), rel=1e-6)


def fitted(V, **settings):
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 2000, 3, generator=rng).unbind()
    t = torch.rand(2000, generator=rng)
    return nearest_quadratic(V, t, x, y, 0.7, **({"gap": 1.0} | settings))


def test_a_quadratic_is_recognised_whatever_its_axes():
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    matrix = turn @ torch.diag(STIFFNESS.float()) @ turn.T
    bridge = fitted(lambda t, x: x @ SLOPE.float() - 0.5 * ((x @ matrix) * x).sum(1) + t)
    assert bridge.solved
    again = bridge.axes @ torch.diag(bridge.stiffness) @ bridge.axes.T
    torch.testing.assert_close(again, matrix.double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(bridge.axes @ bridge.slope, SLOPE, rtol=1e-4, atol=1e-4)


def test_what_is_no_steady_quadratic_is_known_as_such():
    assert fitted(lambda t, x: 3 * t).solved
    pushed = fitted(lambda t, x: (4 * t).sin() * x[:, 0])
    assert pushed.exact
    assert not pushed.solved
    assert fitted(lambda t, x: -(x**4).sum(1)).departure > 0.3
    assert fitted(lambda t, x: -t * (x**2).sum(1)).departure > 0.3


def test_a_swing_of_more_than_half_a_period_is_refused():
    trap = lambda t, x: 0.5 * 10.0 * x.square().sum(1)  # noqa: E731
    with pytest.raises(ValueError, match="swings for more than half a period"):
        fitted(trap)
    assert fitted(trap, gap=0.9).solved


def curve_in(V, sigma=1.0, n=1500):
    rng = np.random.default_rng(0)
    data = Snapshots(times=[0.0, 1.0], samples=rng.normal(size=(2, n, 1)))
    scaling = Scaling.from_samples(data.times, list(data.samples), None)
    plain = ScaledLagrangian(sigma=sigma, potential=V)
    like = torch.zeros(1, dtype=F64)
    lagrangian = with_bridge(plain, list(data.samples), np.array([0.0, 1.0]), like, 0)
    coupling = natural_couplings(lagrangian, np.array([1.0]))
    return LearnedCurve(CoupledSamples(data, scaling, coupling, 0, CPU, F64), lagrangian)


def variance_at(curve, t, n=100_000):
    rng = torch.Generator().manual_seed(2)
    times = torch.full((n,), t, dtype=F64)
    pairs = curve.samples.draw(curve.samples.interval(times), rng)
    noise = torch.randn(n, 1, generator=rng, dtype=F64)
    batch = PairBatch(times, torch.ones_like(times), pairs, noise, None)
    with torch.no_grad():
        return float(curve.point(batch).state.var())


@pytest.mark.parametrize("k", [0.0, 2.0, 8.0, -1.0])
def test_pairs_and_bridges_together_have_the_spread_of_a_grid_solution(k):
    curve = curve_in(lambda t, x: -0.5 * k * x.square().sum(1))
    for t in (0.25, 0.5):
        q = grid_bridge(lambda x: -0.5 * k * x**2, 1.0, gaussian_density, gaussian_density, t, GRID)
        right = float(q @ torch.tensor(GRID) ** 2) * (GRID[1] - GRID[0])
        assert variance_at(curve, t) == pytest.approx(right, rel=0.04)


def test_what_is_not_solved_is_said():
    with pytest.warns(UserWarning, match="potential is not quadratic"):
        curve = curve_in(lambda t, x: -x.pow(4).sum(1), n=100)
    assert curve.lagrangian.bends
    growing = ScaledLagrangian(sigma=1.0, growth_penalty=1.0, potential=lambda t, x: x[:, 0])
    with pytest.warns(UserWarning, match="noise, growth and a potential together"):
        same = with_bridge(growing, [], np.array([0.0, 1.0]), torch.zeros(1), 0)
    assert same.bridge is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not curve_in(lambda t, x: -x.square().sum(1), n=100).lagrangian.bends
