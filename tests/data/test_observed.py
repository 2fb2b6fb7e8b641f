"""What is observed of paths until a time, where some features are missing."""

from dataclasses import replace

import numpy as np
import pytest

import dyninfer as di
from dyninfer.data.paths.observed import (
    digest,
    filled,
    last_rows,
    last_values,
    observed_at,
    past_of,
    rows_with_values,
)

NAN = np.nan
PATHS = di.Paths(
    times=[[0.0, 1.0, 2.0], [0.0, 0.5, 2.0], [0.0, 3.0]],
    states=[
        [[1.0, 2.0], [NAN, 3.0], [NAN, NAN]],
        [[NAN, NAN], [5.0, NAN], [6.0, 7.0]],
        [[8.0, NAN], [9.0, 1.0]],
    ],
)
STATES = di.Paths(times=[[0.0, 1.0], [0.0, 2.0]], states=[["a", None], ["b", "a"]])


def test_a_path_is_observed_at_a_time_where_none_of_its_features_is_missing():
    assert observed_at(PATHS, 0.0).tolist() == [True, False, False]
    assert observed_at(PATHS, 2.0).tolist() == [False, True, False]
    assert observed_at(STATES, 0.0).tolist() == [True, True]
    assert observed_at(STATES, 1.0).tolist() == [False, False]


def test_the_last_value_of_each_feature_counts_and_later_ones_do_not():
    np.testing.assert_array_equal(last_values(PATHS, 0.5), [[1, 2], [5, NAN], [8, NAN]])
    np.testing.assert_array_equal(last_values(PATHS, 2.0), [[1, 3], [6, 7], [8, NAN]])
    np.testing.assert_array_equal(last_values(PATHS, 3.0), [[1, 3], [6, 7], [9, 1]])
    assert last_values(STATES, 1.0).tolist() == [0, 1]
    assert last_values(STATES, 2.0).tolist() == [0, 0]


def test_states_are_one_feature():
    assert STATES.n_features == 1
    assert PATHS.n_features == 2


def test_the_past_ends_with_the_time_itself():
    assert past_of(PATHS, 2.0).lengths.tolist() == [3, 3, 1]
    assert past_of(PATHS, 1.0).lengths.tolist() == [2, 2, 1]
    assert past_of(PATHS, 0.5).lengths.tolist() == [1, 2, 1]


def test_rows_in_which_nothing_was_observed_are_left_out():
    paths = rows_with_values(PATHS)
    assert [own.tolist() for own in paths.times] == [[0, 1], [0.5, 2], [0, 3]]
    np.testing.assert_array_equal(paths.states[1], [[5, NAN], [6, 7]])
    whole = PATHS[[2]]
    assert rows_with_values(whole) is whole


def test_a_missing_value_is_filled_with_the_mean_of_its_feature():
    values = np.array([[1.0, NAN, NAN], [4.0, 2.0, NAN], [NAN, 3.0, NAN], [1.0, NAN, NAN]])
    expected = [[1, 2.5, 0], [4, 2, 0], [2, 3, 0], [1, 2.5, 0]]
    np.testing.assert_array_equal(filled(values), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"times": [[0.0, 1.0, 2.5], [0.0, 0.5, 2.0], [0.0, 3.0]]},
        {"states": [*PATHS.states[:2], np.array([[8.0, NAN], [9.0, 1.5]])]},
        {"names": ["a", "b", "c"]},
        {"conditions": ["a", "b", "b"]},
        {"covariates": {"dose": [1.0, 2.0, 3.0]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_fingerprint_changes_with_whatever_is_learned_from(change):
    assert digest(replace(PATHS)) == digest(PATHS)
    assert digest(replace(PATHS, **change)) != digest(PATHS)
    # Names of features change nothing that is learned.
    assert digest(replace(PATHS, features=["x", "y"])) == digest(PATHS)


def test_rows_without_a_value_are_no_observations_of_a_window():
    last = last_rows(PATHS, 1)
    assert [times.tolist() for times in last.times] == [[1.0, 2.0], [2.0], [3.0]]
    both = last_rows(PATHS, 2)
    assert [times.tolist() for times in both.times] == [[0.0, 1.0, 2.0], [0.5, 2.0], [0.0, 3.0]]
