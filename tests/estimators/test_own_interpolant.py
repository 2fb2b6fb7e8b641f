"""An interpolant of the user's own, which is no combination of its end points."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.transport.interpolants import (
    Interpolant,
    LinearInterpolant,
    OneSidedInterpolant,
    SplineInterpolant,
    TrigonometricInterpolant,
)

BEND = 3.0


@dataclass(kw_only=True, repr=False, eq=False)
class Bent(LinearInterpolant):
    """A line with half a wave of the sine on it, as high as ``BEND`` in units of the data."""

    def position(self, t, x0, x1):
        return super().position(t, x0, x1) + BEND * torch.sin(np.pi * t)[:, None]


@dataclass(kw_only=True, repr=False, eq=False)
class BentWithVelocity(Bent):
    def velocity(self, t, x0, x1):
        return x1 - x0 + BEND * np.pi * torch.cos(np.pi * t)[:, None]


@dataclass(kw_only=True, repr=False, eq=False)
class WrongVelocity(Bent):
    def velocity(self, t, x0, x1):
        return x1 - x0


@dataclass(kw_only=True, repr=False, eq=False)
class Astray(LinearInterpolant):
    def position(self, t, x0, x1):
        return super().position(t, x0, x1) + t[:, None]


@dataclass(kw_only=True, repr=False, eq=False)
class OneNumber(LinearInterpolant):
    def position(self, t, x0, x1):
        return t


@dataclass(kw_only=True, repr=False, eq=False)
class NoPosition(LinearInterpolant):
    def velocity(self, t, x0, x1):
        return x1 - x0


@dataclass(kw_only=True, repr=False, eq=False)
class BentSpline(SplineInterpolant):
    position = Bent.position


@dataclass(kw_only=True, repr=False, eq=False)
class BentNoise(OneSidedInterpolant):
    position = Bent.position


def still(n=200, size=1.0, at=0.0):
    """Two samples of one narrow population, so that only the interpolant moves."""
    rng = np.random.default_rng(0)
    samples = [at + size * 0.3 * rng.normal(size=(n, 2)) for _ in range(2)]
    return di.Snapshots(times=[0.0, 2.0], samples=samples)


@pytest.mark.parametrize("interpolant", [Bent(), BentWithVelocity()])
@pytest.mark.parametrize("scale", [None, "global"])
def test_the_population_follows_the_curve_in_the_units_of_the_data(interpolant, scale):
    data = still(at=100.0 if scale else 0.0)
    training = di.Training(max_steps=500, patience=None, learning_rate=3e-3)
    model = di.StochasticInterpolant(
        interpolant=interpolant, gamma="none", scale=scale, width=32, training=training
    ).fit(data, progress=False)
    run = model.simulate(data, [0.0, 0.5, 1.0, 2.0])
    start = np.mean(data.samples[0])
    moved = run.states.mean((0, 2)).numpy() - start
    # Of a sine at a quarter, at half, and at the end of its half wave.
    expected = [0, BEND * np.sqrt(0.5), BEND, 0]
    np.testing.assert_allclose(moved, expected, atol=0.15)


def test_a_file_with_an_own_interpolant_comes_back(tmp_path):
    data = still(50)
    model = di.StochasticInterpolant(interpolant=Bent(), width=8)
    model.fit(data, max_steps=3, progress=False)
    run = model.simulate(data, [0.0, 2.0])
    again = di.load(model.save(tmp_path / "model.safetensors"))
    assert torch.equal(again.simulate(data, [0.0, 2.0]).states, run.states)


def test_what_coefficients_say_is_what_position_and_velocity_are():
    """The default curve of every interpolant, and its derivative."""
    t = torch.linspace(0.1, 0.9, 5).double()
    x0, x1 = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    interpolant = TrigonometricInterpolant()
    assert not interpolant.is_own_curve
    angle = 0.5 * np.pi * t[:, None]
    expected = angle.cos() * x0 + angle.sin() * x1
    torch.testing.assert_close(interpolant.position(t, x0, x1), expected)
    slope = 0.5 * np.pi * (angle.cos() * x1 - angle.sin() * x0)
    torch.testing.assert_close(interpolant.velocity(t, x0, x1), slope)
    assert Interpolant.position is TrigonometricInterpolant.position


@pytest.mark.parametrize(
    ("interpolant", "message"),
    [
        (Astray(), r"Astray.position at t = 1 is not x1 \(off by"),
        (OneNumber(), r"must return a tensor of shape \(64, 2\).*returned shape \(64,\)"),
        (WrongVelocity(), "WrongVelocity.velocity is not the derivative"),
        (NoPosition(), "defines velocity and no position"),
        (BentSpline(), "defines position, which learning would ignore"),
        (BentNoise(), "defines position, which learning would ignore"),
    ],
)
def test_curves_that_cannot_be_learned_from_are_refused_by_name(interpolant, message):
    model = di.StochasticInterpolant(interpolant=interpolant, width=8)
    with pytest.raises(ValueError, match=message) as error:
        model.fit(still(), max_steps=1, progress=False)
    assert len(str(error.value)) <= 300


def test_a_bridge_bends_straight_lines_only():
    with pytest.raises(ValueError, match="bridge_sigma needs interpolant='linear'"):
        di.StochasticInterpolant(interpolant=Bent(), bridge_sigma=0.3).fit(still())
