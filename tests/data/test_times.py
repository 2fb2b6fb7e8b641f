"""Times: two numbers are one time where they differ by rounding, and never where they do not."""

import datetime

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.data.time_reading import as_requested, as_time, as_times, requested_times
from dyninfer.data.times import Clock, repeats, same_times, spelled

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
    # The shorter is the larger of these two.
    assert Clock.of([0, 0.3 - 0.1, 0.2, 1]).times.tolist() == [0, 0.2, 1]


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
    with pytest.raises(ValueError, match=r"the times are 1700000000, 1700000010$"):
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


def cells(day=(0, 0, 1, 1), **columns):
    obs = pd.DataFrame({"day": day, **columns}, index=[f"cell{i}" for i in range(len(day))])
    return anndata.AnnData(np.arange(3.0 * len(day), dtype=np.float32).reshape(-1, 3), obs=obs)


def hours(*values):
    return pd.Series(pd.to_timedelta(list(values), unit="h"))


@pytest.mark.parametrize(
    ("column", "times"),
    [
        (pd.Series([3, 1, 2]), [3, 1, 2]),
        (pd.Series([0.1, 0.7]), [0.1, 0.7]),
        (pd.Series(["1", "2.5", "-3e2"]), [1, 2.5, -300]),
        (pd.Series(["1", "2"], dtype="string"), [1, 2]),
        (pd.Series([1, 2], dtype="Int64"), [1, 2]),
        (pd.Series([1.5, 2], dtype="Float64"), [1.5, 2]),
        (pd.Series([1, "2", 3.5], dtype=object), [1, 2, 3.5]),
        (pd.Series(pd.Categorical(["10", "9", "10"])), [10, 9, 10]),
        (pd.Series(pd.Categorical([7, 3, 7], categories=[3, 5, 7], ordered=True)), [7, 3, 7]),
        (pd.Series(pd.Categorical(["1", "2"], categories=["2", "1", "day 9", "lost"])), [1, 2]),
        (hours(36, 48), [1.5, 2]),
        (pd.Series(pd.Categorical(hours(12, 24, 12))), [0.5, 1, 0.5]),
        ([datetime.timedelta(days=2), datetime.timedelta(hours=6)], [2, 0.25]),
        (np.array([1, 2], dtype="timedelta64[D]"), [1, 2]),
        ((1, 4), [1, 4]),
        ({5}, [5]),
        (iter([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (3, [3]),
        ("3", [3]),
        (pd.Timedelta(hours=12), [0.5]),
    ],
)
def test_numbers_numeric_text_categories_and_timedeltas_are_times(column, times):
    found = as_times(column, "day")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, times, rtol=1e-15)


@pytest.mark.parametrize("kind", [list, "category", "string"])
@pytest.mark.parametrize(
    ("labels", "times"),
    [
        (("day 3", "day 12"), (3, 12)),
        (("E8.5", "E9.25"), (8.5, 9.25)),
        (("0h", "6h"), (0, 6)),
        (("12h", "2d"), (12, 48)),
        (("1,5", "2"), (1.5, 2)),
        (("P21_ctrl", "P3_ctrl"), (21, 3)),
    ],
)
def test_the_line_shown_for_text_times_turns_them_into_numbers(labels, times, kind):
    column = pd.Series(labels, index=["cell0", "cell1"])
    adata = cells(day=[0, 1])
    adata.obs["my day's"] = column if kind is list else column.astype(kind)
    with pytest.raises(
        ValueError, match=f"holds text .*({labels[0]}|{labels[1]}).*times must be numbers"
    ) as error:
        as_times(adata.obs["my day's"], "my day's")
    line = str(error.value).split("Make them: ")[1]
    exec(line, {"adata": adata, "di": di})
    np.testing.assert_array_equal(as_times(adata.obs["my day's"], "my day's"), times)


def test_the_line_shown_for_dates_turns_them_into_days():
    adata = cells(day=[0, 1])
    adata.obs["date"] = pd.to_datetime(["2024-02-27", "2024-03-01"])
    with pytest.raises(ValueError, match="'date' holds datetime64 values") as error:
        as_times(adata.obs["date"], "date")
    adata.obs["date"] = eval(str(error.value).split("as in ")[1], {"adata": adata})
    np.testing.assert_array_equal(as_times(adata.obs["date"], "date"), [0, 3])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.Series([True, False]), "'day' holds boolean values; times must be numbers"),
        (pd.Series([True, None], dtype="boolean"), "'day' holds boolean values"),
        (pd.Series([True, False], dtype=object), "'day' holds boolean values"),
        (pd.Series(pd.Categorical([True, False])), "'day' holds boolean values"),
        (pd.Series(pd.to_datetime(["2020", "2021"], utc=True)), "'day' holds datetime64 values"),
        (pd.Series([datetime.date(2020, 1, 1)]), "'day' holds date values"),
        (pd.Series(pd.period_range("2020", periods=2, freq="D")), "'day' holds period values"),
        (pd.cut(pd.Series([1.0, 2.0]), 2), "'day' holds interval values"),
        (np.array([1j, 2]), "'day' holds complex values"),
        (np.ones((2, 2)), r"'day' must be a flat list of numbers, found shape \(2, 2\)"),
        (pd.Series([1, np.nan, np.inf]), r"'day' has 2 missing or infinite times \(first: row 1\)"),
        (pd.Series([1, None], dtype="Int64"), "'day' has 1 missing or infinite times"),
        (pd.Series(pd.Categorical([1, None])), "'day' has 1 missing or infinite times"),
        (hours(1, None), "'day' has 1 missing or infinite times"),
        (pd.Series([1, np.nan], index=["a", "b"]), "first: row 'b'"),
        (
            ["day 1", "day 2"],
            "'day' holds text .'day 1'.; times must be numbers: in d, 'day 1' is 1, 'day 2' is 2. "
            r"Make them: day = di.read_times\(day, 'd'\)",
        ),
        # Python would read it as 12.
        (["0", "1_2"], "'day' holds text .'1_2'.; times must be numbers"),
    ],
)
def test_what_is_not_a_time_is_refused_by_name(column, message):
    with pytest.raises(ValueError, match=message):
        as_times(column, "day")


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
    with pytest.raises(
        ValueError, match="too large to be distinguished .* subtract the first time"
    ):
        as_times(np.array([start, start + 1]))


# --- two observations of one path ---


@pytest.mark.parametrize(
    ("times", "rows"),
    [
        ([0, 1, 1, 2], [1]),
        ([0.3, 0.1 * 3, 1.0], [0]),
        # The same time in single and in double precision.
        ([0, 0.1, np.float32(0.1), 0.2], [1]),
        ([SECONDS, SECONDS + 10], []),
        ([NANOSECONDS, NANOSECONDS + 1000, NANOSECONDS + 2000], []),
        # Both are numbers of single precision, and no other gap says that this one is short.
        ([2.0**24, 2.0**24 + 1], []),
        ([0, 1e-9, 2e-9], []),
        ([0, 1, 1e39, 2e39], []),
    ],
)
def test_two_times_of_a_path_are_one_where_they_differ_by_rounding(times, rows):
    times = np.array(times, dtype=np.float64)
    assert repeats(times, np.zeros(len(times))).tolist() == rows


def test_times_of_different_paths_are_never_compared():
    times = np.array([0.0, 1.0, 1.0, 2.0, 5.0, 5.0])
    owner = np.array([0, 0, 1, 1, 1, 2])
    assert repeats(times, owner).tolist() == []


def test_a_whole_number_beyond_double_precision_is_an_infinite_time():
    for times in ([0, 10**400], 10**400, [0, -(10**400)], pd.Series([0, 10**400], dtype=object)):
        with pytest.raises(ValueError, match="1 missing or infinite times"):
            as_times(times)
    with pytest.raises(ValueError, match="missing or infinite"):
        Clock([0.0, 1.0]).index(10**400)


def test_masked_times_of_any_kind_are_missing():
    days = np.array([1, 2, 3], dtype="m8[D]")
    for values in (days, np.array(["1", "2", "3"]), np.array([1, 2, 3])):
        masked = np.ma.masked_array(values, [False, True, False])
        with pytest.raises(ValueError, match=r"1 missing or infinite times \(first: row 1"):
            as_times(masked)
        whole = np.ma.masked_array(values, [False, False, False])
        np.testing.assert_array_equal(as_times(whole), [1, 2, 3])


@pytest.mark.parametrize(
    ("times", "among", "words"),
    [
        ([0.1, 2, 1 / 3], (), ["0.1", "2", "0.333333"]),
        (1.7e9, (), ["1700000000"]),
        ([1.7e9, 1.7e9 + 3600], (), ["1700000000", "1700003600"]),
        (0.123456789, [0.123456788], ["0.123456789"]),
        ([1e-9, 1e18], (), ["1e-09", "1e+18"]),
        ([5.0, 5.0], [5.0], ["5", "5"]),
    ],
)
def test_times_are_spelled_with_the_digits_that_tell_them_apart(times, among, words):
    assert spelled(times, among) == words


@pytest.mark.parametrize("time", [{"a": 1}, [{"a": 1}]])
def test_what_has_no_hash_is_named_as_no_time(time):
    with pytest.raises(ValueError, match="times cannot be read from"):
        as_times(time)


def test_a_difference_of_far_times_is_as_coarse_as_they_are():
    # (1e9 + 0.001) − 1e9 is 0.001 to about 1e-7, seven digits worse than 0.001 itself.
    clock = Clock([0.0, 1e-3, 1e9])
    assert clock.nearest((1e9 + 1e-3) - 1e9) == 1
    assert clock.nearest(1e-3 + 2e-6) is None
    near = Clock([0.0, 1e-3, 1.0])
    assert near.nearest(1e-3 + 1e-7) is None


def test_no_time_and_tables_of_times_are_refused():
    with pytest.raises(ValueError, match="times is empty; give at least one time"):
        requested_times([])
    with pytest.raises(ValueError, match=r"flat list of numbers, found shape \(1, 2\)"):
        as_requested([[0.0, 1.0]])
    with pytest.raises(ValueError, match="time must be one number"):
        as_time([0.0, 1.0])
    assert requested_times([2.0, 1.0]).tolist() == [2.0, 1.0]
