"""Dwell times of labels and currents, against records that were made by hand."""

import numpy as np
import pytest

import dyninfer as di
from dyninfer.jumps.dwell import simulate_dwell_times

NAMES = ["shut", "open"]


def labelled(lengths, first=0):
    """A path that holds each label in turn for a length, its time origin far from zero."""
    times = 1e6 + np.concatenate([[0], np.cumsum(lengths)])
    states = (first + np.arange(len(times))) % 2
    states[-1] = states[-2]
    return di.Paths(times=[times], states=[states], state_names=NAMES)


def test_labels_become_open_and_shut_times_but_the_first():
    record = di.DwellTimes.from_labels(labelled([5, 1, 2, 3, 4]), ["open"])
    np.testing.assert_allclose(record.durations[0], [1, 2, 3, 4])
    assert record.first_open.tolist() == [True]
    # The last dwell time was not over.
    assert record.open_times.tolist() == [1, 3]
    assert record.shut_times.tolist() == [2]


def test_visits_below_the_dead_time_are_part_of_what_is_around_them():
    # Shut 5 | open 2 (0.3) 1 | shut 3 (0.2 0.4) 1 | open 4
    path = labelled([5, 2, 0.3, 1, 3, 0.2, 0.4, 0.1, 1, 4])
    record = di.DwellTimes.from_labels(path, ["open"], dead_time=0.5)
    np.testing.assert_allclose(record.durations[0], [3.3, 4.7, 4])
    assert record.first_open[0]


def test_an_apparent_dwell_time_begins_with_a_visit_that_is_resolved():
    # Shut 5 (0.2 0.2) | open 2 | shut 1: the two short visits still count as shut.
    path = labelled([5, 0.2, 0.2, 2, 1, 3])
    record = di.DwellTimes.from_labels(path, ["open"], dead_time=0.5)
    np.testing.assert_allclose(record.durations[0], [2, 1, 3])


def test_a_visit_as_long_as_the_dead_time_is_resolved_whatever_the_time_origin():
    times = 1.7e9 + 0.1 * np.arange(9)
    path = di.Paths(times=[times], states=[[0, 1, 0, 1, 1, 0, 0, 1, 1]], state_names=NAMES)
    record = di.DwellTimes.from_labels(path, ["open"], dead_time=0.1)
    np.testing.assert_allclose(record.durations[0], [0.1, 0.1, 0.2, 0.2, 0.1], atol=1e-6)


def test_a_missing_label_ends_a_record_and_another_begins():
    times = np.arange(13.0)
    states = [0, 1, 0, 1, 0, -1, 1, 0, 0, 1, 1, 0, 0]
    path = di.Paths(times=[times], states=[states], state_names=NAMES)
    record = di.DwellTimes.from_labels(path, ["open"])
    assert [d.tolist() for d in record.durations] == [[1, 1, 1], [2, 2, 1]]
    assert record.first_open.tolist() == [True, False]


def test_crossings_of_a_threshold_lie_between_the_samples():
    current = [0, 0, 1, 1, 0, 0, 2, 2]
    path = di.Paths(times=[np.arange(8.0)], states=[np.array(current, float)])
    record = di.DwellTimes.from_signal(path, threshold=0.5)
    np.testing.assert_allclose(record.durations[0], [2.0, 1.75, 1.75])
    inward = di.Paths(times=[np.arange(8.0)], states=[-np.array(current, float)])
    other = di.DwellTimes.from_signal(inward, threshold=-0.5, inward=True)
    np.testing.assert_allclose(other.durations[0], record.durations[0])


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(ValueError, match=r"shorter than dead_time=0\.25"):
        di.DwellTimes([[0.2, 0.4]], dead_time=0.25)
    with pytest.raises(ValueError, match="positive and finite, found -1"):
        di.DwellTimes([[0.2, -1.0]])
    with pytest.raises(ValueError, match="no state 'ajar'"):
        di.DwellTimes.from_labels(labelled([1, 1, 1]), ["ajar"])
    with pytest.raises(ValueError, match="some must be open and some shut"):
        di.DwellTimes.from_labels(labelled([1, 1, 1]), NAMES)
    with pytest.raises(ValueError, match="no record holds a complete dwell time"):
        di.DwellTimes.from_labels(labelled([1, 1, 1]), ["open"], dead_time=2.0)
    with pytest.raises(TypeError, match="from_labels"):
        di.DwellTimes.from_signal(labelled([1, 1, 1]), 0.5)


def test_records_without_a_complete_dwell_time_are_left_out_with_a_word():
    gate = di.MarkovJump([[-1.0, 1.0], [1.0, -1.0]], state_names=NAMES)
    with pytest.warns(UserWarning, match="hold no complete dwell time"):
        records = simulate_dwell_times(gate, ["open"], duration=2.0, n=30)
    assert 0 < len(records) < 30


def test_arguments_in_the_wrong_place_are_refused_by_name():
    times = np.arange(6.0)
    labels = di.Paths(times=[times], states=[np.array([0, 1, 1, 0, 0, 1])], state_names=["s", "o"])
    with pytest.raises(TypeError, match="open_states must be a list with names of states"):
        di.DwellTimes.from_labels(labels, 0.1, ["o"])
    for dead_time in (-1, ["o"], np.nan):
        with pytest.raises(ValueError, match="dead_time must be a time of 0 or more"):
            di.DwellTimes.from_labels(labels, ["o"], dead_time)
    current = di.Paths(times=[times], states=[np.array([0.0, 1, 1, 0, 0, 1])[:, None]])
    with pytest.raises(ValueError, match="threshold must be a current, found 'half'"):
        di.DwellTimes.from_signal(current, "half")
