"""Particles with inertia: what is learned from positions, and how the model moves by itself."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm, solve_continuous_lyapunov

import dyninfer as di
from dyninfer.learning.random import numpy_stream

# The oscillator ``dx = v dt``, ``dv = −(4 x + v) dt + dW``.
STIFFNESS = 4.0
FRICTION = 1.0
GENERATOR = np.array([[0.0, 1.0], [-STIFFNESS, -FRICTION]])
STATIONARY = solve_continuous_lyapunov(GENERATOR, -np.diag([0.0, 1.0]))
# ω, at which it swings, for its friction is weak: ω² = k − γ²/4.
SWING = math.sqrt(STIFFNESS - FRICTION**2 / 4)
LINEAR = di.Polynomials(degree=1)


def oscillators(n=40, length=600, gap=0.1, seed=0):
    """Times ``(t,)`` and states ``(n, t, 2)``, stationary and exact at any gap."""
    rng = numpy_stream(seed, "oscillators")
    ahead = expm(GENERATOR * gap)
    kick = np.linalg.cholesky(STATIONARY - ahead @ STATIONARY @ ahead.T)
    state = np.linalg.cholesky(STATIONARY) @ rng.normal(size=(2, n))
    states = [state]
    for _ in range(length):
        state = ahead @ state + kick @ rng.normal(size=(2, n))
        states.append(state)
    times = gap * np.arange(length + 1)
    return times, np.stack(states).transpose(2, 0, 1)


def tracks(gap=0.1, unit=1.0, tick=1.0, origin=0.0):
    """Positions and velocities that were made of positions alone."""
    times, states = oscillators(gap=gap)
    positions = unit * states[:, :, :1]
    clock = origin + tick * times
    paths = di.Paths(times=[clock] * len(positions), states=list(positions))
    return di.tl.with_velocities(paths)


def fitted(paths, **settings):
    model = di.KramersMoyal(drift=LINEAR, inertia=True, **settings)
    return model.fit(paths, progress=False)


@pytest.fixture(scope="module")
def model():
    return fitted(tracks(), observation_noise="averaged")


@pytest.mark.parametrize(("gap", "bias"), [(0.1, 0.02), (0.2, 0.05)])
def test_stiffness_friction_and_noise_come_from_positions_alone(gap, bias):
    table = fitted(tracks(gap), observation_noise="averaged").coefficients_
    assert list(table["feature"]) == ["v_x0"] * 4
    assert list(table["function"]) == ["1", "x0", "v_x0", "1"]
    truth = np.array([0, -STIFFNESS, -FRICTION, 1])
    error = np.abs(table["coefficient"] - truth)
    # The means over a gap smooth the swing, which costs a share (ω Δ)² / 4 at the most.
    assert (error < 3.5 * table["standard_error"] + bias * np.abs(truth)).all()


def test_without_the_cure_a_third_of_the_noise_is_missed_with_a_warning():
    with pytest.warns(UserWarning, match="observation_noise='averaged'"):
        table = fitted(tracks(gap=0.05)).coefficients_
    assert table["coefficient"].iloc[-1] == pytest.approx(2 / 3, rel=0.08)


def test_errors_of_positions_are_noticed():
    times, states = oscillators()
    rng = numpy_stream(0, "errors")
    # Of 3 % of the spread; a second difference of them scatters as much as the noise does.
    noisy = states[:, :, :1] + 0.01 * rng.normal(size=states[:, :, :1].shape)
    paths = di.Paths(times=[times] * len(noisy), states=list(noisy))
    with pytest.warns(UserWarning, match="errors of the positions make friction and noise wrong"):
        fitted(di.tl.with_velocities(paths), observation_noise="averaged")


def test_tracks_without_inertia_are_noticed():
    rng = numpy_stream(0, "brownian")
    walks = rng.normal(size=(12, 200, 1)).cumsum(axis=1)
    paths = di.Paths(times=[np.arange(200)] * 12, states=list(walks))
    with pytest.warns(UserWarning, match="too little to tell friction"):
        fitted(di.tl.with_velocities(paths), observation_noise="averaged")


def test_velocities_that_were_measured_need_no_cure():
    times, states = oscillators(gap=0.02, length=1500)
    paths = di.Paths(times=[times] * len(states), states=list(states), features=["x", "v"])
    model = fitted(paths)
    table = model.coefficients_
    truth = np.array([0, -STIFFNESS, -FRICTION, 1])
    error = np.abs(table["coefficient"] - truth)
    # An Euler step of the velocity is late by half a gap: Δ k / 2 of friction, Δ γ of the rest.
    assert (error < 3.5 * table["standard_error"] + [0, 0.08, 0.04, 0.03]).all()
    assert model.log_likelihoods(paths) is None


def test_a_fitted_oscillator_moves_as_its_closed_forms_say(model):
    rng = numpy_stream(1, "starts")
    start = rng.normal(size=(10_000, 2)) @ np.linalg.cholesky(STATIONARY).T
    half_swing = math.pi / SWING
    # From the start, and long after it, when steps of a hundredth of the span would be coarse.
    lags = np.array([0.0, 0.25, 0.5, 1.0, 1.5]) * half_swing
    run = model.simulate(start, 1 + np.append(lags, 40.0), seed=0)
    states = run.states.double().numpy()
    x, v = states[:, :5, 0], states[:, :5, 1]
    displacement = np.square(x - x[:, :1]).mean(0)
    memory = (v * v[:, :1]).mean(0)
    decay = np.exp(-FRICTION / 2 * lags)
    cosine = np.cos(SWING * lags)
    sine = FRICTION / (2 * SWING) * np.sin(SWING * lags)
    square = 1 / (2 * FRICTION * STIFFNESS)
    of_position = square * decay * (cosine + sine)
    of_velocity = STIFFNESS * square * decay * (cosine - sine)
    # After half a swing: 0.361 and −0.222.
    assert 2 * (square - of_position[3]) == pytest.approx(0.361, abs=5e-4)
    assert of_velocity[3] == pytest.approx(-0.222, abs=5e-4)
    # Friction was learned to 3 %, and variances of 10,000 individuals scatter by 1.4 %.
    share = 0.08
    np.testing.assert_allclose(displacement, 2 * (square - of_position), atol=share * 2 * square)
    np.testing.assert_allclose(memory, of_velocity, atol=share * STIFFNESS * square)
    np.testing.assert_allclose(states[:, -1].var(0), np.diag(STATIONARY), rtol=share)


def test_long_breaks_make_no_longer_steps():
    times, states = oscillators(n=12, length=100)
    later = np.where(np.arange(101) < 50, times, times + 1e4)
    paths = di.Paths(times=[times] * 11 + [later], states=list(states[:, :, :1]))
    with_break = di.tl.with_velocities(paths)
    model = di.KramersMoyal(drift=LINEAR, inertia=True, observation_noise="averaged")
    assert model.facts(with_break)["gap"] == pytest.approx(0.1)


def test_positions_have_no_noise_and_move_by_the_velocity(model):
    x = torch.tensor([[0.3, -0.7], [1.0, 2.0]], dtype=torch.float64)
    speed = model.process_.drift(0.0, x)[:, 0]
    torch.testing.assert_close(speed, x[:, 1])
    amplitude = model.process_.diffusion(0.0, x)
    assert amplitude[..., 0].eq(0).all()
    assert float(amplitude.flatten()[-1]) == pytest.approx(1, rel=0.03)
    assert (model.observation_noise_ == 0).all()


def test_units_change_no_coefficient_but_by_their_powers(model):
    unit, tick = 1e-9, 1e6
    there = fitted(tracks(unit=unit, tick=tick, origin=1e9), observation_noise="averaged")
    speed = unit / tick
    # Of the constant, the position, the velocity, and the squared noise.
    powers = np.array([speed / tick, tick**-2, 1 / tick, speed**2 / tick])
    expected = model.coefficients_["coefficient"] * powers
    # The constant is zero, within its error.
    np.testing.assert_allclose(there.coefficients_["coefficient"][1:], expected[1:], rtol=1e-4)


def test_a_saved_model_moves_on_as_before(model, tmp_path):
    model.save(tmp_path / "oscillator.dyn")
    again = di.load(tmp_path / "oscillator.dyn")
    x = torch.tensor([[0.3, -0.7]])
    assert torch.equal(again.process_.drift(0.0, x), model.process_.drift(0.0, x))


def test_velocities_stand_half_way_and_gaps_are_skipped():
    positions = [[0.0, 1.0], [np.nan, 2.0], [2.0, 5.0]]
    covariates = {"dose": [1.0, 2.0, 3.0]}
    paths = di.Paths(times=[[1, 2, 3]], states=[positions], covariates=covariates)
    both = di.tl.with_velocities(paths)
    assert both.features == ("x0", "x1", "v_x0", "v_x1")
    np.testing.assert_allclose(both.times[0], [2])
    np.testing.assert_allclose(both.states[0], [[1, 3, 1, 2]])
    # What held when the gap began.
    assert list(both.covariates["dose"]) == [1.0]


def test_what_is_no_track_is_named():
    with pytest.raises(TypeError, match="paths must be di.Paths, found list"):
        di.tl.with_velocities([[0.0]])
    with pytest.raises(TypeError, match="discrete states"):
        di.tl.with_velocities(di.Paths(times=[[0, 1]], states=[[0, 1]]))
    with pytest.raises(ValueError, match="path '0' has fewer than two whole observations"):
        di.tl.with_velocities(di.Paths(times=[[0]], states=[[0.5]]))
    both = di.tl.with_velocities(di.Paths(times=[[0, 1, 3]], states=[[0.5, 1.0, 2.0]]))
    with pytest.raises(ValueError, match="a feature 'v_x0' already"):
        di.tl.with_velocities(both)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"observation_noise": "white"}, "of noisy positions neither is right"),
        ({"steps": "finite"}, "inertia=True needs steps='short'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fitted(tracks(), **settings)


def test_features_that_are_no_velocities_are_refused():
    times, states = oscillators(n=12, length=100)
    one = di.Paths(times=[times] * 12, states=list(states[:, :, :1]))
    with pytest.raises(ValueError, match="as many velocities as positions"):
        fitted(one)
    backwards = di.Paths(times=[times] * 12, states=list(states[:, :, ::-1]))
    with pytest.raises(ValueError, match="positions 'x0' do not move by the velocities"):
        fitted(backwards)
