"""Tables that come back from users: whole ones are read in known types, others are refused."""

import io

import numpy as np
import pandas as pd
import pytest

from dyninfer.data.tables import Column, read_table

COLUMNS = {
    "name": Column.LABEL,
    "flat": Column.FLAG,
    "rate": Column.NUMBER,
    "w1": Column.SCORE,
    "high": Column.BOUND,
}


def whole():
    return pd.DataFrame(
        {
            "name": ["a", "b"],
            "flat": [True, False],
            "rate": [1, 2],
            "w1": [0.5, np.nan],
            "high": [3.0, np.inf],
        }
    )


def read(table, **options):
    return read_table(table, COLUMNS, "tl.things", **options)


def test_a_whole_table_is_read_as_it_is_and_left_alone():
    table = whole()
    pd.testing.assert_frame_equal(read(table), table.astype({"rate": float}))
    assert table["rate"].dtype == int


def test_columns_of_other_types_hold_the_same():
    """As files and other programs give them back."""
    table = whole().astype(
        {"name": "category", "rate": "Int64", "w1": "Float64", "flat": "boolean"}
    )
    pd.testing.assert_frame_equal(read(table), read(whole()))
    text = whole().to_csv(index=False)
    pd.testing.assert_frame_equal(read(pd.read_csv(io.StringIO(text))), read(whole()))


def test_labels_that_are_numbers_become_text():
    assert list(read(whole().assign(name=[1, 2]))["name"]) == ["1", "2"]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda t: 3, TypeError, "table must be what tl.things returned, found 3"),
        (lambda t: t.drop(columns="w1"), KeyError, "no column 'w1'; give what tl.things returned"),
        (lambda t: t.iloc[:0], ValueError, "table has no rows"),
        (lambda t: pd.concat([t, t], axis=1), ValueError, "several columns 'name'"),
        (lambda t: t.assign(name=["a", None]), ValueError, "'name' .* row 1 holds none"),
        (lambda t: t.assign(flat=["True", "False"]), TypeError, "'flat' .* True or False"),
        (lambda t: t.assign(rate=["1", "2"]), TypeError, "'rate' .* a finite number"),
        (lambda t: t.assign(rate=[True, False]), TypeError, "'rate' .* found bool"),
        (lambda t: t.assign(rate=[1, 2j]), TypeError, "found complex128"),
        (lambda t: t.assign(rate=[1, np.nan]), ValueError, "'rate' .* row 1 holds none"),
        (lambda t: t.assign(w1=[np.inf, 1]), ValueError, "'w1' .* row 0 is infinite"),
    ],
)
def test_what_is_no_such_table_is_named(change, error, says):
    with pytest.raises(error, match=says):
        read(change(whole()))


def test_rows_that_must_differ_are_told():
    twice = pd.concat([whole(), whole()])
    assert len(read(twice)) == 4
    with pytest.raises(ValueError, match="several rows of one name and flat"):
        read(twice, rows=("name", "flat"))
