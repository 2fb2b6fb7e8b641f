"""Paths on the frames of a camera: exact numbers, gaps as NaN, and what stands between frames."""

import numpy as np
import pytest

import dyninfer as di
from dyninfer.data.paths.frames import frame_numbers, frame_of, on_frames


def tracks(unit=1.0, origin=0.0):
    times = [np.array([2.0, 4.0, 5.0]), np.array([0.0, 1.0, 4.0, 7.0])]
    states = [np.arange(6.0).reshape(3, 2), 10 + np.arange(8.0).reshape(4, 2)]
    return di.Paths(times=[origin + unit * own for own in times], states=states)


@pytest.mark.parametrize(("unit", "origin"), [(1.0, 0.0), (1e-9, 0.0), (1e9, -3e9), (0.1, 1e5)])
def test_positions_stand_at_their_frames_and_nowhere_else(unit, origin):
    paths = tracks(unit, origin)
    frame = frame_of(paths)
    assert frame == pytest.approx(unit, rel=1e-9)
    positions, used = on_frames(paths)
    assert used == frame
    assert positions.shape == (2, 8, 2)
    expected = np.full((2, 8, 2), np.nan)
    expected[0, [0, 2, 3]] = paths.states[0]
    expected[1, [0, 1, 4, 7]] = paths.states[1]
    np.testing.assert_array_equal(positions, expected)


def test_a_frame_may_be_shorter_than_the_shortest_gap():
    positions, frame = on_frames(tracks(), 0.5)
    assert frame == 0.5
    assert positions.shape == (2, 15, 2)
    assert frame_numbers(tracks(), 1, 0.5).tolist() == [0, 2, 8, 14]


def test_a_position_between_two_frames_is_named():
    with pytest.raises(ValueError, match="path '0' has a position at 5, between two frames of 2"):
        on_frames(tracks(), 2.0)


@pytest.mark.parametrize("frame", [0, -1.0, np.inf, np.nan, "1"])
def test_what_is_no_time_is_no_frame(frame):
    with pytest.raises(ValueError, match="frame must be a positive time"):
        frame_of(tracks(), frame)


def test_positions_without_a_gap_have_no_frame():
    paths = di.Paths(times=[[0.0], [1.0]], states=[[[1.0]], [[2.0]]])
    with pytest.raises(ValueError, match="every track has one position"):
        frame_of(paths)
