"""Times: two numbers are one time where they differ by rounding, and never where they do not."""

import numpy as np
import pandas as pd
import pytest
import torch

from dyninfer.data.times import Clock, as_times, same_times

SECONDS = 1.7e9  # of the unix clock
NANOSECONDS = 1.7e18


def as_single(values):
    return np.asarray(values, dtype=np.float32)


# --- what one time is ---


@pytest.mark.parametrize(
    ("column", "times"),
    [
        ([0, 1, 2, 3, 0.1 * 3 * 10], [0, 1, 2, 3]),
        ([0.3, 0.1 + 0.2, 1.0], [0.3, 1]),
        ([0.1 * 3 - 0.3, 0, 1, 2], [0, 1, 2]),
        (np.append(as_single([0.1, 0.2, 0.3]), [0.1, 0.2, 0.3]), [0.1, 0.2, 0.3]),
        (np.append(as_single([-5.1, 7.3]), [-5.1, 7.3]), [-5.1, 7.3]),
        (np.append([96.1, 97.1], as_single([96.1, 97.1])), [96.1, 97.1]),
        ([72 / 24, 3.0000000000000004, 4], [3, 4]),
    ],
)
def test_numbers_of_a_column_that_differ_by_rounding_are_one_time(column, times):
    column = np.asarray(column, dtype=np.float64)
    clock = Clock.of(column)
    np.testing.assert_allclose(clock.times, times, rtol=1e-7, atol=1e-16)
    assert (clock.positions(column) >= 0).all()


def test_of_two_spellings_of_a_time_the_shorter_one_stays():
    assert Clock.of([0, 0.1 * 3, 0.3, np.float32(0.3), 1]).times.tolist() == [0, 0.3, 1]


@pytest.mark.parametrize(
    "times",
    [
        SECONDS + np.array([0.0, 10, 20]),
        SECONDS + np.arange(200.0),
        SECONDS + np.array([0.0, 0.1, 1000]),
        NANOSECONDS + 1e9 * np.arange(5),
        -NANOSECONDS + 1e9 * np.arange(5),
        np.array([0, 1e-4, 1, 2]),
        1000 + np.array([0, 1e-4, 1, 2]),
        1e6 + np.array([0, 0.01, 100, 200]),
        np.array([0, 1, 10_001]),
        1e-12 * np.array([0, 1, 3, 10_000]),
        1e12 * np.array([-3, 1, 3, 10_000]),
        np.array([2**24, 2**24 + 1.0]),
        np.cumsum(np.random.default_rng(0).exponential(size=5000)),
    ],
)
def test_times_far_from_zero_or_in_uneven_gaps_are_never_taken_for_each_other(times):
    clock = Clock.of(np.tile(times, 2))
    np.testing.assert_array_equal(clock.times, np.sort(times))
    np.testing.assert_array_equal(clock.positions(np.sort(times)), np.arange(len(times)))
    between = (clock.times[1:] + clock.times[:-1]) / 2
    assert (clock.positions(between) == -1).all()


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1, 86400, 1e9, 1e12])
@pytest.mark.parametrize("shift", [0, -1, 3.3])
def test_the_unit_and_the_origin_of_time_change_no_answer(unit, shift):
    times = unit * (shift + np.array([0, 0.1, 0.4, 1, 96]))
    clock = Clock(times)
    for near in (times * (1 + 1e-15), as_single(times), times + 1e-9 * unit):
        np.testing.assert_array_equal(clock.positions(near), np.arange(5))
    for far in (times + 1e-3 * unit, times - 1e-3 * unit):
        np.testing.assert_array_equal(clock.positions(far), np.full(5, -1))


def test_single_and_double_precision_meet():
    times = [0.1, 0.2, 0.7, 24.3]
    for clock, asked in ((Clock(times), as_single(times)), (Clock(as_single(times)), times)):
        assert [clock.index(t) for t in asked] == [0, 1, 2, 3]


def test_a_single_time_is_judged_by_the_gaps_of_the_data_that_it_belongs_to():
    assert Clock([SECONDS], spacing=10).nearest(SECONDS + 4) is None
    assert Clock([SECONDS], spacing=10).nearest(SECONDS + 1e-6) == 0
    assert Clock([0.1]).nearest(np.float32(0.1)) == 0


# --- what a clock is asked ---


def test_positions_are_those_of_the_order_that_was_given():
    assert Clock([3, 1, 2]).positions([1, 2, 3, 4]).tolist() == [1, 2, 0, -1]


def test_a_time_that_is_not_there_is_answered_by_those_that_are():
    with pytest.raises(ValueError, match="nothing at time 2; the times are 0, 1, 3$"):
        Clock([0, 1, 3]).index(2)
    with pytest.raises(ValueError, match=r"the times are 1.7e\+09, 1.70000001e\+09$"):
        Clock([SECONDS, SECONDS + 10]).index(0)
    with pytest.raises(ValueError, match="the times are none"):
        Clock([]).index(0)


def test_rows_of_a_column_at_a_time_include_those_that_are_rounded():
    column = np.array([3, 0.1 * 3 * 10, 1, 2, 3])
    assert Clock.of(column).rows(column, 3).tolist() == [0, 1, 4]


def test_a_clock_covers_its_ends_in_any_precision_and_nothing_beyond():
    clock = Clock([0.1, 0.2, 0.7])
    assert clock.covers(0.1)
    assert clock.covers(as_single([0.1, 0.7]))
    assert clock.covers([0.1, 0.5])
    assert not clock.covers(0.7001)
    assert not clock.covers([0.0999, 0.5])
    late = Clock(SECONDS + np.array([0, 10, 20]))
    assert late.covers(SECONDS + 20)
    assert not late.covers(SECONDS + 21)


def test_lists_of_times_are_the_same_in_any_precision():
    times = [0.1, 0.2, 0.3]
    assert same_times(times, as_single(times))
    assert same_times(as_single(times), times)
    assert same_times(times[::-1], as_single(times)[::-1])
    assert same_times([1, 1, 2], [1, 1, 2.0000000000000004])
    assert not same_times(times, times[::-1])
    assert not same_times(times, times[:2])
    assert not same_times(SECONDS + np.arange(3), SECONDS + np.arange(3) + 0.1)
    assert not same_times([0, 1, 2], [0, 1.01, 2])
    assert not same_times([1, 2], [3, 4])


# --- reading ---


@pytest.mark.parametrize(
    "values",
    [
        [1e7, 1e7 + 1.3],
        np.array([1e7, 1e7 + 1.3]),
        np.array([1e7, 1e7 + 1.3], dtype=">f8"),
        torch.tensor([1e7, 1e7 + 1.3], dtype=torch.float64, requires_grad=True),
        pd.Series([1e7, 1e7 + 1.3]),
        (t for t in (1e7, 1e7 + 1.3)),
        {1e7, 1e7 + 1.3},
        np.array([1e7, 0, 1e7 + 1.3])[::2],
    ],
)
def test_every_kind_of_list_is_read_in_double_precision(values):
    assert sorted(as_times(values).tolist()) == [1e7, 1e7 + 1.3]


def test_masked_times_are_missing_and_never_the_value_under_the_mask():
    with pytest.raises(ValueError, match="'day' has 1 missing or infinite times"):
        as_times(np.ma.array([1, 2], mask=[0, 1]), "day")


def test_nanoseconds_that_double_precision_merges_are_refused():
    start = 1_700_000_000_000_000_000
    assert as_times(np.array([start, start + 10**9])).tolist() == [start, start + 1e9]
    with pytest.raises(ValueError, match="too large to be told apart .* subtract the first time"):
        as_times(np.array([start, start + 1]))
