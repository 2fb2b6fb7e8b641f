"""The ion channel against the published passage times and its own levels."""

from __future__ import annotations

import numpy as np
import pytest

from dyninfer.simulators.ion_channel import IonChannel

PUBLISHED = np.array([[0, 0.068, 0.054], [0.133, 0, 0.033], [0.181, 0.092, 0]])


def test_passage_times_and_occupancy_are_the_published_ones():
    process = IonChannel().process()
    np.testing.assert_allclose(process.first_passage_matrix().numpy(), PUBLISHED, atol=5e-5)
    np.testing.assert_allclose(process.stationary().numpy(), [0.180, 0.150, 0.671], atol=4e-3)


def test_current_has_the_levels_noise_and_memory_of_the_gate():
    channel = IonChannel()
    current = np.stack(channel.paths(np.arange(20) * 1e-3, 3000, seed=0).states)[:, :, 0]
    law, level = channel.process().stationary().numpy(), np.array(channel.levels)
    mean, variance = law @ level, law @ level**2 - (law @ level) ** 2
    assert current.mean() == pytest.approx(mean, abs=0.03)
    assert current.var() == pytest.approx(variance + 0.01, rel=0.06)
    p = channel.process().transition(10e-3).numpy()
    covariance = (law * level) @ p @ level - mean**2
    assert np.cov(current[:, 3], current[:, 13])[0, 1] == pytest.approx(covariance, rel=0.15)


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match="6 and 3 numbers"):
        IonChannel(rates=(1.0,))
    with pytest.raises(ValueError, match=r"rates\[1\] must be positive"):
        IonChannel(rates=(1.0, 0.0, 1.0, 1.0, 1.0, 1.0))
