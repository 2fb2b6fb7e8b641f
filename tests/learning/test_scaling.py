"""Standardisation against sample statistics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import zscore

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


def test_no_scale_leaves_states_alone_and_scales_time():
    scaling = Scaling.from_samples(TIMES, SAMPLES, None)
    np.testing.assert_array_equal(scaling.states(SAMPLES[0]), SAMPLES[0])
    np.testing.assert_allclose(scaling.times([2, 4, 10]), [0, 0.25, 1])


@pytest.mark.parametrize("mode", ["global", "feature"])
@pytest.mark.parametrize("value", [0.0, 0.1, -3e5 + 0.1, np.float32(0.1)])
def test_a_constant_is_centred_and_its_rounding_is_not_blown_up(mode, value):
    samples = [np.full((n, 2), value) for n in (7, 3)]
    scaling = Scaling.from_samples(TIMES, samples, mode)
    np.testing.assert_array_equal(scaling.scale, 1)
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
