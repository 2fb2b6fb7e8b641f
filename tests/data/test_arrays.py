"""Arrays: every kind that holds numbers is read alike, and what is missing is never a number."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import dyninfer as di
from dyninfer.data.arrays import as_array, as_floats, by_columns, column_names, dense_rows

VALUES = np.array([[1.5, -2.0, 0.0], [4.0, 0.25, 3.0]])


@pytest.mark.parametrize(
    "values",
    [
        VALUES,
        VALUES.tolist(),
        VALUES[::-1].copy()[::-1],
        np.asfortranarray(VALUES),
        VALUES.astype(">f8"),
        VALUES.astype(np.float16),
        VALUES.astype(np.longdouble),
        VALUES.astype(object),
        sp.csr_matrix(VALUES),
        sp.csc_array(VALUES),
        np.ma.array(VALUES),
        pd.DataFrame(VALUES),
        pd.DataFrame(VALUES).astype("Float32"),
        torch.tensor(VALUES, requires_grad=True),
        torch.tensor(VALUES, dtype=torch.bfloat16),
        torch.tensor(VALUES, dtype=torch.float16),
    ],
)
def test_every_kind_of_array_is_read_alike(values):
    array = as_array(values, "x")
    np.testing.assert_array_equal(array, VALUES)
    assert array.dtype.isnative
    assert torch.from_numpy(as_floats(values, "x")).shape == (2, 3)


class Lazy:
    """Rows that are read when they are computed, as a dask array of sparse chunks has them."""

    shape = VALUES.shape

    def __init__(self, rows=VALUES):
        self.rows = rows
        self.n_read = 0

    def __getitem__(self, rows):
        self.n_read += len(rows)
        return Lazy(self.rows[rows])

    def compute(self):
        return sp.csr_matrix(self.rows)


def test_of_a_lazy_array_the_rows_that_are_needed_are_read():
    lazy = Lazy()
    rows = dense_rows(lazy, np.array([1]))
    np.testing.assert_array_equal(rows, VALUES[1:])
    assert lazy.n_read == 1


def test_dask_arrays_in_an_anndata_are_read_as_they_are():
    da = pytest.importorskip("dask.array")
    anndata = pytest.importorskip("anndata")
    states = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    obs = pd.DataFrame({"day": np.repeat([0.0, 1.0], 30)}, index=[f"c{i}" for i in range(60)])
    chunks = da.from_array(states, chunks=(16, 3))
    cells = anndata.AnnData(X=chunks.map_blocks(sp.csr_matrix), obs=obs)
    cells.obsm["X_pca"] = chunks
    for use_rep in ("X", "X_pca"):
        data = di.Snapshots.from_anndata(cells, time_key="day", use_rep=use_rep)
        np.testing.assert_array_equal(np.concatenate(data.samples), states)
        assert data.samples[0].dtype == np.float32


@pytest.mark.parametrize(
    "values",
    [
        np.ma.array([[1, 2], [3, 999]], mask=[[0, 0], [0, 1]]),
        np.ma.array([[1.0, 2], [3, 999]], mask=[[0, 0], [0, 1]]),
        np.array([[1, 2], [3, None]], dtype=object),
        pd.DataFrame({"a": [1, 3], "b": pd.array([2, None], dtype="Int64")}),
        pd.DataFrame({"a": [1, 3], "b": pd.array([2, pd.NA], dtype="Float32")}),
        [[1, 2], [3, float("nan")]],
    ],
)
def test_masked_none_and_na_are_missing_and_never_the_value_beneath(values):
    np.testing.assert_array_equal(as_array(values, "x"), [[1, 2], [3, np.nan]])


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.ones((2, 2), np.float64), np.float64),
        (np.ones((2, 2), ">f8"), np.float64),
        (np.ones((2, 2), np.longdouble), np.float64),
        (np.ones((2, 2), np.int64), np.float32),
        (np.full((2, 2), 2**24 + 1), np.float64),
        (np.full((2, 2), -(2**63)), np.float64),
        (np.ones((2, 2), np.float16), np.float32),
    ],
)
def test_no_digit_of_the_data_is_lost(values, dtype):
    array = as_floats(values, "x")
    assert array.dtype == dtype
    np.testing.assert_array_equal(array.astype(np.longdouble), values.astype(np.longdouble))


def test_columns_are_read_by_name():
    frame = pd.DataFrame(VALUES, columns=["a", "b", "c"])
    assert column_names(frame) == ("a", "b", "c")
    assert column_names(pd.DataFrame(VALUES)) is None
    np.testing.assert_array_equal(by_columns(frame, ["c", "a"], "x"), VALUES[:, [2, 0]])
    with pytest.raises(ValueError, match="x has no column 'd'; its columns are 'a', 'b', 'c'"):
        by_columns(frame, ["a", "d"], "x")
    frame.columns = ["a", "b", "a"]
    with pytest.raises(ValueError, match="x has several features named 'a'"):
        by_columns(frame, ["a"], "x")


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, np.asarray])
def test_rows_of_sparse_and_dense_arrays_agree(make):
    dense = np.random.default_rng(0).poisson(1.0, (7, 4)).astype(np.float64)
    rows = np.array([5, 0, 3])
    np.testing.assert_array_equal(dense_rows(make(dense), rows), dense[rows])


def test_float64_stays_and_other_numbers_become_float32():
    for given, kept in (
        (np.float64, np.float64),
        (np.float16, np.float32),
        (np.int64, np.float32),
        (np.uint8, np.float32),
    ):
        assert dense_rows(np.ones((2, 2), given), np.arange(2)).dtype == kept


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([["a"]]), "rep holds .* values; it must hold numbers"),
        (
            np.array([["a", 1]], dtype=object),
            "rep holds mixed-integer values; it must hold numbers",
        ),
        (np.array([[True]]), "rep holds bool values; it must hold numbers"),
        (np.array([[1j]]), "rep holds complex values; give their real and imaginary parts"),
    ],
)
def test_values_that_are_not_real_numbers_are_refused(values, message):
    with pytest.raises(TypeError, match=message):
        dense_rows(values, np.arange(1), "rep")


def test_a_matrix_too_large_to_be_dense_states_its_size_and_the_cure():
    huge = sp.csr_matrix((200_000, 30_000), dtype=np.float32)
    with pytest.raises(
        MemoryError,
        match=r"X as a dense 200000 x 30000 array takes 24.0 GB; .*sc.pp.pca.*use_rep='X_pca'",
    ):
        dense_rows(huge, np.arange(200_000))
