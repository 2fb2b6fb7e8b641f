"""Families of interpolants and noises against their definitions."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from dyninfer.cli.values import read_settings
from dyninfer.learning.settings import from_plain, to_plain
from dyninfer.transport.interpolants import (
    INTERPOLANTS,
    NOISES,
    BrownianNoise,
    EncoderDecoderInterpolant,
    LinearInterpolant,
    MirrorInterpolant,
    OneSidedInterpolant,
    QuadraticNoise,
    SineNoise,
    SplineInterpolant,
    TrigonometricInterpolant,
    as_interpolant,
    as_latent_noise,
)
from dyninfer.transport.schedule import Schedule

FAMILIES = [
    LinearInterpolant(),
    TrigonometricInterpolant(),
    EncoderDecoderInterpolant(),
    OneSidedInterpolant(),
    OneSidedInterpolant(schedule="trigonometric"),
    OneSidedInterpolant(schedule="vp"),
    SplineInterpolant(),
]
INSIDE = torch.linspace(0.02, 0.98, 24, dtype=torch.float64)
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)
TIMES = np.array([0.0, 0.15, 0.6, 0.7, 1.0])


def differences(function, t, h=1e-6):
    return (function(t + h) - function(t - h)) / (2 * h)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_interpolants_begin_at_the_first_sample_and_end_at_the_second(family):
    c = family.coefficients(ENDS)
    torch.testing.assert_close(c.alpha, torch.tensor([1.0, 0.0]).double())
    torch.testing.assert_close(c.beta, torch.tensor([0.0, 1.0]).double())


@pytest.mark.parametrize("family", [*FAMILIES, MirrorInterpolant()], ids=str)
def test_slopes_are_the_derivatives_of_the_coefficients(family):
    for value, slope in (("alpha", "alpha_slope"), ("beta", "beta_slope")):
        rate = differences(lambda t, value=value: getattr(family.coefficients(t), value), INSIDE)
        torch.testing.assert_close(
            getattr(family.coefficients(INSIDE), slope), rate, atol=1e-6, rtol=1e-6
        )


@pytest.mark.parametrize("noise", [kind() for kind in NOISES.values()], ids=str)
def test_noise_is_zero_at_both_ends_alone_and_its_slope_is_its_derivative(noise):
    value, _ = noise.shape(ENDS)
    assert float(value.abs().max()) < 1e-15
    value, slope = noise.shape(INSIDE)
    assert float(value.min()) > 0
    torch.testing.assert_close(
        slope, differences(lambda t: noise.shape(t)[0], INSIDE), atol=1e-6, rtol=1e-6
    )


def test_noises_are_those_of_the_paper():
    t = INSIDE
    torch.testing.assert_close(BrownianNoise().shape(t)[0], (t * (1 - t)).sqrt())
    torch.testing.assert_close(QuadraticNoise().shape(t)[0], t * (1 - t))
    torch.testing.assert_close(SineNoise().shape(t)[0], torch.sin(math.pi * t) ** 2)


def test_brownian_noise_is_singular_and_the_others_are_not():
    assert [kind.singular for kind in (BrownianNoise, QuadraticNoise, SineNoise)] == [
        True,
        False,
        False,
    ]
    assert OneSidedInterpolant(schedule="vp").singular_ends == (1,)
    assert LinearInterpolant().singular_ends == ()
    near = torch.tensor([1e-12], dtype=torch.float64)
    assert abs(float(BrownianNoise().shape(near)[1])) > 1e5
    assert abs(float(OneSidedInterpolant(schedule="vp").coefficients(1 - near).alpha_slope)) > 1e5


def test_variance_is_kept_where_the_paper_says_so():
    linear, noise = LinearInterpolant().coefficients(INSIDE), BrownianNoise().shape(INSIDE)[0]
    torch.testing.assert_close(
        linear.alpha**2 + linear.beta**2 + 2 * noise**2, torch.ones(24).double()
    )
    for family in (TrigonometricInterpolant(), OneSidedInterpolant(schedule="vp")):
        c = family.coefficients(INSIDE)
        torch.testing.assert_close(c.alpha**2 + c.beta**2, torch.ones(24).double())


def test_encoder_decoder_is_noise_alone_midway_and_never_mixes_the_ends():
    c = EncoderDecoderInterpolant().coefficients(torch.cat([INSIDE, torch.tensor([0.5])]))
    assert float((c.alpha * c.beta).abs().max()) == 0.0
    assert abs(float(c.alpha[-1] + c.beta[-1])) < 1e-15
    assert float(SineNoise().shape(torch.tensor(0.5))[0]) == 1.0


def test_spline_passes_through_every_knot_and_agrees_with_scipy():
    knots = np.random.default_rng(0).normal(size=(5, 2))
    schedule = Schedule(SplineInterpolant(), None, TIMES)
    t = torch.as_tensor(np.concatenate([TIMES, np.linspace(0, 1, 101)]))
    moment, truth = schedule.moment(t), CubicSpline(TIMES, knots, bc_type="natural")
    np.testing.assert_allclose(moment.weights.numpy() @ knots, truth(t), atol=1e-12)
    np.testing.assert_allclose(moment.slopes.numpy() @ knots, truth(t, 1), atol=1e-11)
    np.testing.assert_allclose(
        schedule.moment(torch.as_tensor(TIMES)).weights, np.eye(5), atol=1e-12
    )


def test_velocity_of_the_spline_is_continuous_at_the_knots_and_that_of_straight_lines_is_not():
    knots = np.random.default_rng(0).normal(size=(5, 2))
    before, after = (torch.as_tensor(TIMES[1:-1]) + h for h in (-1e-9, 1e-9))

    def jump(schedule, pick):
        return np.abs(pick(schedule, before) - pick(schedule, after)).max()

    def by_chain(schedule, t):
        return schedule.moment(t).slopes.numpy() @ knots

    def by_pair(schedule, t):
        moment = schedule.moment(t)
        ends = np.stack([knots[moment.interval], knots[moment.interval + 1]], 1)
        return np.einsum("nk,nkd->nd", moment.slopes, ends)

    assert jump(Schedule(SplineInterpolant(), None, TIMES), by_chain) < 1e-5
    assert jump(Schedule(LinearInterpolant(), None, TIMES), by_pair) > 1.0


def test_spline_between_two_times_is_the_straight_line():
    line, spline = (
        Schedule(as_interpolant(name), None, np.array([0.0, 1.0])) for name in ("linear", "spline")
    )
    for name in ("weights", "slopes"):
        torch.testing.assert_close(
            getattr(line.moment(INSIDE), name),
            getattr(spline.moment(INSIDE), name),
            check_dtype=False,
        )


def test_noise_of_an_interval_grows_with_the_square_root_of_its_length_and_vanishes_at_snapshots():
    schedule = Schedule(LinearInterpolant(), QuadraticNoise(), TIMES, a=2.0)
    middles = torch.as_tensor((TIMES[1:] + TIMES[:-1]) / 2)
    gamma = schedule.moment(middles).gamma
    np.testing.assert_allclose(gamma, np.sqrt(2.0 * np.diff(TIMES)) / 4, rtol=1e-9)
    at = schedule.moment(torch.as_tensor(TIMES)).gamma
    assert float(at.max()) < 2e-3  # the margin


@pytest.mark.parametrize("noise", [kind() for kind in NOISES.values()], ids=str)
def test_slopes_over_many_snapshots_are_derivatives_in_the_common_time(noise):
    schedule = Schedule(TrigonometricInterpolant(), noise, TIMES, a=0.7)
    t = torch.tensor([0.05, 0.3, 0.42, 0.66, 0.8], dtype=torch.float64)
    moment = schedule.moment(t)
    for value, slope in (("weights", "slopes"), ("gamma", "gamma_slope")):
        rate = differences(lambda u, value=value: getattr(schedule.moment(u), value), t)
        torch.testing.assert_close(getattr(moment, slope), rate, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "thing",
    [*FAMILIES, MirrorInterpolant(), BrownianNoise(a=2.0), QuadraticNoise(), SineNoise(a=0.3)],
    ids=str,
)
def test_families_print_save_load_and_come_from_the_command_line(thing):
    assert str(from_plain(to_plain(thing))) == str(thing)
    assert str(read_settings(str(thing))) == str(thing)


def test_names_stand_for_families():
    assert {name: type(as_interpolant(name)) for name in INTERPOLANTS} == INTERPOLANTS
    linear = LinearInterpolant()
    assert {name: type(as_latent_noise(name, linear)) for name in NOISES} == NOISES
    assert as_latent_noise("none", linear) is None
    assert isinstance(as_latent_noise("auto", EncoderDecoderInterpolant()), SineNoise)
    assert as_latent_noise("auto", OneSidedInterpolant()) is None


@pytest.mark.parametrize(
    ("call", "mention"),
    [
        (lambda: as_interpolant("liner"), "'liner' is not known; choose one of linear"),
        (lambda: as_interpolant(["linear"]), r"\['linear'\] is not known; choose one of linear"),
        (lambda: as_latent_noise("white", LinearInterpolant()), "'white' is not known"),
        (
            lambda: as_latent_noise(BrownianNoise(a=-1.0), LinearInterpolant()),
            "must be positive, found -1.0",
        ),
        (lambda: as_latent_noise(BrownianNoise(), OneSidedInterpolant()), "its noise"),
    ],
)
def test_impossible_families_are_refused_by_name(call, mention):
    with pytest.raises(ValueError, match=mention):
        call()
