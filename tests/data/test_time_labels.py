"""Labels of times: what each becomes, and which are refused because they may mean two things."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di


@pytest.mark.parametrize(
    ("labels", "unit", "times"),
    [
        (["0h", "12h", "2d"], "h", [0, 12, 48]),
        (["0h", "12h", "2d"], "d", [0, 0.5, 2]),
        (["day 3", "Day_4", "D5", "6 days"], None, [3, 4, 5, 6]),
        (["E8.5", "E9.25"], None, [8.5, 9.25]),
        (["P0", "P14"], "w", [0, 2]),
        (["30 min", "0.1 h"], "min", [30, 6]),
        (["-1d", "day -2", "\N{MINUS SIGN}3d", "0"], None, [-1, -2, -3, 0]),
        (["1,5", "2"], None, [1.5, 2]),
        (["12h_rep2", "control 24-hour"], None, [12, 24]),
        (["24hpf", "3dpf"], "hours", [24, 72]),
        (["3 months", "2 years"], "month", [3, 24]),
        (["t0", "time 2.5"], None, [0, 2.5]),
        ([0, 12.5], "h", [0, 12.5]),
    ],
)
def test_labels_are_read_to_one_unit(labels, unit, times):
    np.testing.assert_array_equal(di.read_times(labels, unit), times)


def test_a_column_keeps_its_index_and_its_missing_values():
    column = pd.Series(["2d", None, "12h"], index=list("abc"), dtype="category")
    times = di.read_times(column, "h")
    assert times.dtype == np.float64
    pd.testing.assert_series_equal(times, pd.Series([48, np.nan, 12], index=list("abc")))


def test_days_after_birth_are_counted_from_conception_where_birth_is_given():
    np.testing.assert_array_equal(
        di.read_times(["E18.5", "P0", "P2"], birth=19.5), [18.5, 19.5, 21.5]
    )


@pytest.mark.parametrize(
    ("labels", "unit", "message"),
    [
        (["0h", "2d"], None, "several units (h, d); name one, such as unit='h': in h, '0h' is 0, "),
        (["3", "12h"], "h", "'3' has no unit beside others with one (h); write it with its unit"),
        (["E8.5", "P0"], "d", "count 'E8.5' from conception and 'P0' from birth; give the day of"),
        (["E8.5", "3d"], "d", "the start of '3d' is not given; count all from one event"),
        (["2 months", "3d"], "d", "a month is not a fixed number of s; write all labels in days"),
        (["2 months"], "d", "a month is not a fixed number of s"),
        (["start", "12h"], "h", "times cannot be read from 'start'; give their numbers"),
        (["3m"], None, "times cannot be read from '3m'"),
        (["day-3"], None, "times cannot be read from 'day-3'"),
        (["1,500"], None, "times cannot be read from '1,500'"),
        ([10**400], None, "labels hold a number beyond double precision"),
        (["0-12h"], None, "times cannot be read from '0-12h'"),
        (["1d 12h"], None, "times cannot be read from '1d 12h'"),
        (["sample 3"], None, "times cannot be read from 'sample 3'"),
        (["1h"], "fortnight", "unit must be one of 's', 'min', 'h', 'd', 'w', 'month', 'year'"),
    ],
)
def test_what_may_mean_two_things_is_refused(labels, unit, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        di.read_times(labels, unit)
    assert len(str(error.value)) <= 300


def test_the_message_of_many_labels_says_how_many_there_are():
    with pytest.raises(ValueError, match=r"'0h' is 0, .*\.\.\. \(61 in all\)") as error:
        di.read_times([f"{n}h" for n in range(60)] + ["9d"])
    assert len(str(error.value)) <= 300


def test_a_fit_says_what_labels_would_become_in_one_unit():
    with pytest.raises(ValueError, match="'12h' is 12, '2d' is 48. Make them: times = di.read_"):
        di.Snapshots(times=["12h", "2d"], samples=[np.zeros((30, 2))] * 2)


@pytest.mark.parametrize("labels", [{0: 1}, {"1h", "2h"}, [{0: 1}], [[1], [1, 2]], 1j])
def test_what_is_no_list_of_labels_is_refused(labels):
    with pytest.raises((TypeError, ValueError), match="labels must be|times cannot be read from"):
        di.read_times(labels)


def test_tensors_of_times_are_read_as_their_numbers():
    halves = torch.tensor([0.5, 1.0], dtype=torch.bfloat16)
    np.testing.assert_array_equal(di.read_times(halves), [0.5, 1.0])


def test_numbers_of_half_precision_stay_as_they_are():
    np.testing.assert_array_equal(di.read_times(np.array([0.5, 1], "float16")), [0.5, 1.0])


def test_an_array_comes_back_for_a_list_and_a_series_for_a_series():
    assert type(di.read_times(["0h", "12h"])) is np.ndarray
    series = di.read_times(pd.Series(["0h", "12h"], index=["b", "a"]))
    assert series.to_dict() == {"b": 0.0, "a": 12.0}
