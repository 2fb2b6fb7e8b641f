"""Scores of velocities, against angles and lengths that are known."""

import math

import numpy as np
import pytest

from dyninfer.metrics.velocities import score_velocities


@pytest.mark.parametrize("unit", [1e-300, 1e-12, 1.0, 1e12])
@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, math.pi])
def test_velocities_that_are_turned_have_the_cosine_and_the_chord_of_their_angle(angle, unit):
    direction = np.linspace(0, 6, 20)
    lengths = unit * np.linspace(1, 2, 20)[:, None]
    observed = lengths * np.stack([np.cos(direction), np.sin(direction)], 1)
    turned = direction + angle
    predicted = lengths * np.stack([np.cos(turned), np.sin(turned)], 1)
    scores = score_velocities(observed, predicted)
    assert scores["alignment"] == pytest.approx(math.cos(angle), abs=1e-12)
    assert scores["relative_error"] == pytest.approx(2 * math.sin(angle / 2), abs=1e-12)
    assert "coverage" not in scores


def test_cells_that_stand_still_have_no_direction_and_no_relative_error():
    still = np.zeros((3, 2))
    scores = score_velocities(still, np.ones((3, 2)))
    assert math.isnan(scores["alignment"])
    assert math.isnan(scores["relative_error"])


def test_nine_in_ten_errors_are_within_the_interval_of_ninety_per_cent():
    z = np.array([-1.65, -1.64, 0.0, 1.64, 1.65])[:, None]
    assert score_velocities(z, z, z)["coverage"] == pytest.approx(0.6)
