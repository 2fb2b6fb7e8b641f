"""Standardisation against sample statistics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import zscore
from torch import nn

from dyninfer.learning.scaling import Scaling

RNG = np.random.default_rng(0)
SAMPLES = [RNG.normal([5, -2, 100], [1, 0.1, 30], (n, 3)) for n in (50, 50)]
TIMES = np.array([2.0, 10.0])


def test_one_scale_per_feature_gives_z_scores():
    scaling = Scaling.from_samples(TIMES, SAMPLES, "feature")
    scaled = np.concatenate([scaling.states(s) for s in SAMPLES])
    np.testing.assert_allclose(scaled, zscore(np.concatenate(SAMPLES)), rtol=1e-10)
    assert scaling.unit == 1


def test_a_common_scale_keeps_distances_in_proportion():
    scaling = Scaling.from_samples(TIMES, SAMPLES, "global")
    x = SAMPLES[0]
    before = np.linalg.norm(x[:, None] - x[None], axis=-1)
    z = scaling.states(x)
    np.testing.assert_allclose(
        np.linalg.norm(z[:, None] - z[None], axis=-1) * scaling.unit, before, atol=1e-9
    )
    pooled = np.concatenate([scaling.states(s) for s in SAMPLES])
    assert pooled.var(0).mean() == pytest.approx(1)
    np.testing.assert_allclose(pooled.mean(0), 0, atol=1e-12)


def test_every_time_counts_the_same_however_many_samples_it_has():
    few, many = np.zeros((2, 1)), np.ones((200, 1))
    assert Scaling.from_samples(TIMES, [few, many]).shift[0] == pytest.approx(0.5)


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("mode", ["global", "feature"])
def test_a_sample_of_weight_two_counts_as_one_given_twice(mode, unit):
    rng = np.random.default_rng(0)
    samples = [unit * rng.normal(5, 1 + k, (30, 3)) for k in range(2)]
    counts = [rng.integers(1, 4, 30) for _ in samples]
    doubled = [np.repeat(x, count, axis=0) for x, count in zip(samples, counts, strict=True)]
    weighted = Scaling.from_samples(TIMES, samples, mode, weights=counts)
    by_number = Scaling.from_samples(TIMES, doubled, mode)
    np.testing.assert_allclose(weighted.shift, by_number.shift, rtol=1e-13)
    np.testing.assert_allclose(weighted.scale, by_number.scale, rtol=1e-13)
    assert weighted.common_scale == by_number.common_scale


def test_a_sample_without_weight_has_no_part_in_the_scale():
    samples = [np.array([[0.0], [2.0], [1e6]])] * 2
    scaling = Scaling.from_samples(TIMES, samples, weights=[np.array([1.0, 1.0, 0.0])] * 2)
    assert (float(scaling.shift), float(scaling.scale)) == (1.0, 1.0)


def test_no_scale_leaves_states_alone_and_scales_time():
    scaling = Scaling.from_samples(TIMES, SAMPLES, None)
    np.testing.assert_array_equal(scaling.states(SAMPLES[0]), SAMPLES[0])
    np.testing.assert_allclose(scaling.times([2, 4, 10]), [0, 0.25, 1])


@pytest.mark.parametrize("mode", ["global", "feature"])
@pytest.mark.parametrize("value", [0.0, 0.1, -3e5 + 0.1, np.float32(0.1)])
def test_a_constant_is_centred_and_its_rounding_is_not_blown_up(mode, value):
    samples = [np.full((n, 2), value) for n in (7, 3)]
    scaling = Scaling.from_samples(TIMES, samples, mode)
    np.testing.assert_array_equal(scaling.scale.numpy(), 1)
    assert abs(scaling.states(samples[0])).max() < 1e-6


def test_an_unknown_mode_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="scale must be 'global', 'feature' or None, not 'minmax'"):
        Scaling.from_samples(TIMES, SAMPLES, "minmax")


def test_scaled_states_keep_their_dtype():
    scaling = Scaling.from_samples(TIMES, SAMPLES)
    for dtype in (np.float32, np.float64):
        assert scaling.states(SAMPLES[0].astype(dtype)).dtype == dtype


@settings(max_examples=30, deadline=None)
@given(
    shift=st.floats(-1e3, 1e3),
    stretch=st.floats(1e-3, 1e3),
    mode=st.sampled_from(["global", "feature"]),
)
def test_a_change_of_units_leaves_scaled_states_and_times_as_they_were(shift, stretch, mode):
    scaling = Scaling.from_samples(TIMES, SAMPLES, mode)
    other = Scaling.from_samples(
        TIMES * stretch + shift, [s * stretch + shift for s in SAMPLES], mode
    )
    np.testing.assert_allclose(
        other.states(SAMPLES[0] * stretch + shift), scaling.states(SAMPLES[0]), atol=1e-6
    )
    np.testing.assert_allclose(other.times(TIMES * stretch + shift), [0, 1], atol=1e-9)


# --- fields ---

UNEVEN = Scaling(shift=[100.0, -5.0], scale=[30.0, 0.1], start=10.0, duration=24.0, unit=1.0)
EVEN = Scaling(shift=[100.0, -5.0], scale=[3.0, 3.0], start=10.0, duration=24.0, unit=3.0)
each = pytest.mark.parametrize("scaling", [UNEVEN, EVEN])
X = torch.tensor([[90.0, -5.1], [130.0, -4.7]], dtype=torch.float64)


@each
def test_states_times_and_fields_come_back(scaling):
    v, one = torch.ones(4, 2, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    for there, back, value in (
        (scaling.states, scaling.user_states, X),
        (scaling.times, scaling.user_times, torch.tensor([10.0, 31.0])),
        (scaling.displacements, scaling.user_displacements, v),
        (scaling.velocities, scaling.user_velocities, v),
        (scaling.scores, scaling.user_scores, v),
        (scaling.rates, scaling.user_rates, one),
    ):
        torch.testing.assert_close(back(there(value)), value)
    assert scaling.user_times(scaling.times(22.0)) == pytest.approx(22.0)


@each
def test_arrays_and_tensors_are_scaled_alike(scaling):
    np.testing.assert_allclose(scaling.states(X.numpy()), scaling.states(X).numpy())
    np.testing.assert_allclose(scaling.times(np.array([12.0])), scaling.times(torch.tensor([12.0])))


@each
def test_a_velocity_is_the_time_derivative_of_a_state(scaling):
    """Along x(t) = x₀ + v t, by finite differences in scaled units."""
    v, h = torch.tensor([[2.0, -0.3]], dtype=torch.float64), 1e-4
    moved = scaling.states(X + v * h * scaling.duration) - scaling.states(X)
    torch.testing.assert_close((moved / h), scaling.velocities(v).expand(2, 2), rtol=1e-6, atol=0)


@each
def test_noise_amplitudes_give_the_variance_of_a_brownian_motion(scaling):
    """In time t a Brownian motion of amplitude σ has variance σ² t: (scale²) times that of z at τ."""
    sigma = torch.tensor([0.4, 0.7], dtype=torch.float64)
    tau = 0.3
    torch.testing.assert_close(
        scaling.user_amplitudes(sigma) ** 2 * (tau * scaling.duration),
        scaling.scale**2 * sigma**2 * tau,
    )


def test_a_scalar_amplitude_stays_one_only_where_there_is_one_scale():
    sigma = torch.tensor(0.5, dtype=torch.float64)
    assert EVEN.user_amplitudes(sigma).shape == ()
    torch.testing.assert_close(UNEVEN.user_amplitudes(sigma).shape, torch.Size([2]))
    for scaling in (EVEN, UNEVEN):
        inside = torch.tensor(scaling.amplitude(0.5), dtype=torch.float64)
        expected = 0.5 * scaling.scale / scaling.unit
        torch.testing.assert_close(scaling.user_amplitudes(inside).expand(2), expected)


@each
def test_scores_and_log_densities_are_those_of_a_normal_sample_in_both_units(scaling):
    """z ~ N(0, 1), so x ~ N(shift, scale²)."""
    x = X.clone().requires_grad_()
    normal = torch.distributions.Normal(scaling.shift, scaling.scale)
    log_density = normal.log_prob(x).sum(1)
    (score,) = torch.autograd.grad(log_density.sum(), x)
    z = scaling.states(X)
    torch.testing.assert_close(scaling.user_scores(-z), score)
    unit = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(scaling.user_log_densities(unit), log_density.detach())


def test_a_potential_has_the_velocity_as_its_gradient_where_there_is_one_scale():
    """u(z) = ½ |z|² has the velocity z."""
    x = X.clone().requires_grad_()
    potential = EVEN.user_potentials(0.5 * EVEN.states(x).square().sum(1))
    (gradient,) = torch.autograd.grad(potential.sum(), x)
    torch.testing.assert_close(gradient, EVEN.user_velocities(EVEN.states(X)))


def test_units_stay_in_double_precision_in_a_module_of_single_precision():
    scaling = Scaling(shift=[1e6 + 0.123], scale=[0.1], start=0.0, duration=1.0, unit=0.1)
    module = nn.ModuleDict({"scaling": scaling, "layer": nn.Linear(1, 1)}).to(torch.float32)
    assert module["layer"].weight.dtype == torch.float32
    assert scaling.shift.item() == 1e6 + 0.123
    assert module.float().half().double()["scaling"].shift.item() == 1e6 + 0.123


def test_tensors_keep_their_precision():
    for dtype in (torch.float32, torch.float64):
        x = X.to(dtype)
        for convert in (EVEN.states, EVEN.user_states, EVEN.velocities, EVEN.user_scores):
            assert convert(x).dtype == dtype
        assert EVEN.times(x[:, 0]).dtype == dtype


def test_numbers_that_are_loaded_or_moved_replace_those_in_use():
    scaling = Scaling(shift=[1.0], scale=[2.0], start=0.0, duration=1.0, unit=2.0)
    x = torch.tensor([[5.0]])
    assert scaling.states(x).item() == 2.0
    scaling.load_state_dict({"shift": torch.tensor([3.0]), "scale": torch.tensor([4.0])})
    assert scaling.states(x).item() == 0.5
    holder = nn.ModuleDict({"scaling": scaling})
    holder.load_state_dict({"scaling.shift": torch.zeros(1), "scaling.scale": torch.ones(1)})
    assert scaling.states(x).item() == 5.0
    assert scaling.double().states(x).dtype == torch.float32


def test_a_first_use_in_inference_mode_leaves_gradients_possible():
    scaling = Scaling(shift=[1.0], scale=[2.0], start=0.0, duration=1.0, unit=2.0)
    x = torch.tensor([[5.0]])
    with torch.inference_mode():
        scaling.states(x)
    x.requires_grad_()
    scaling.states(x).square().sum().backward()
    assert x.grad.item() == pytest.approx(2.0)


def test_a_spread_that_overflows_is_refused():
    samples = [np.array([[-1e200], [1e200]])]
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="spread of the data is beyond"):
        Scaling.from_samples(np.array([0.0, 1.0]), samples)
