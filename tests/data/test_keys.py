"""Reading columns and representations: what is accepted, in which units, and what the refusals say."""

import datetime
import re

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from dyninfer.data import keys
from dyninfer.data.times import as_times


def cells(day=(0, 0, 1, 1), **columns):
    obs = pd.DataFrame({"day": day, **columns}, index=[f"cell{i}" for i in range(len(day))])
    return anndata.AnnData(np.arange(3.0 * len(day), dtype=np.float32).reshape(-1, 3), obs=obs)


def hours(*values):
    return pd.Series(pd.to_timedelta(list(values), unit="h"))


# --- times ---


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
        (("P21_ctrl", "3"), (21, 3)),
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
    exec(line, {"adata": adata})
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
            "'day' holds text .'day 1'.; times must be numbers, such as 3.0 for 'day 3'",
        ),
    ],
)
def test_what_is_not_a_time_is_refused_by_name(column, message):
    with pytest.raises(ValueError, match=message):
        as_times(column, "day")


# --- columns ---


def test_a_missing_key_suggests_the_column_that_was_meant():
    with pytest.raises(KeyError) as error:
        keys.obs_column(cells(), "dya", "time_key")
    assert str(error.value) == (
        "time_key 'dya' is not in adata.obs; did you mean 'day'? columns that look like times: 'day'"
    )


def test_a_key_that_was_not_given_lists_the_columns_that_look_like_times():
    adata = cells(day=range(12), stage=["1", "2"] * 6, label=list("ab") * 6)
    with pytest.raises(
        KeyError, match="time_key is needed for an AnnData; columns that look like times: 'stage'$"
    ):
        keys.obs_column(adata, None, "time_key")


def test_other_keys_list_all_columns_and_long_lists_are_cut():
    adata = cells(**{f"column{i}": [1, 2, 3, 4] for i in range(20)})
    with pytest.raises(
        KeyError, match=r"mass_key 'xyz' is not in adata.obs; columns of adata.obs: .*\(21 in all\)"
    ):
        keys.obs_column(adata, "xyz", "mass_key")


def test_a_missing_key_reads_as_a_sentence_and_is_a_key_error():
    assert str(keys.MissingKey("no such thing")) == "no such thing"
    assert issubclass(keys.MissingKey, KeyError)


# --- representations ---


def test_x_pca_is_taken_where_it_is_and_x_where_it_is_not():
    adata = cells()
    assert keys.representation(adata)[2] == "X"
    adata.obsm["X_pca"] = np.zeros((4, 2))
    array, names, rep = keys.representation(adata)
    assert (array.shape, names, rep) == ((4, 2), ("PCA1", "PCA2"), "X_pca")


def test_a_data_frame_names_the_features():
    adata = cells()
    adata.obsm["markers"] = pd.DataFrame(
        {"CD4": np.ones(4), "CD8": np.zeros(4)}, index=adata.obs_names
    )
    array, names, _ = keys.representation(adata, "markers")
    assert names == ("CD4", "CD8")
    assert isinstance(array, np.ndarray)


def test_a_missing_representation_lists_those_there_are_and_says_how_to_compute_pcs():
    adata = cells()
    adata.obsm["X_umap"] = np.zeros((4, 2))
    with pytest.raises(
        KeyError,
        match=r"use_rep 'X_pca' is not in adata.obsm; there are 'X_umap', 'X'; compute it with sc.pp.pca",
    ):
        keys.representation(adata, "X_pca")


def test_an_empty_x_says_what_else_there_is():
    adata = anndata.AnnData(obs=pd.DataFrame(index=["a", "b"]))
    with pytest.raises(KeyError, match="adata.X is empty; and adata.obsm has nothing"):
        keys.representation(adata)
    adata.obsm["X_umap"] = np.zeros((2, 2))
    with pytest.raises(KeyError, match="adata.X is empty; give use_rep, one of 'X_umap'"):
        keys.representation(adata)


# --- values ---


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, np.asarray])
def test_rows_of_sparse_and_dense_arrays_agree(make):
    dense = np.random.default_rng(0).poisson(1.0, (7, 4)).astype(np.float64)
    rows = np.array([5, 0, 3])
    np.testing.assert_array_equal(keys.dense_rows(make(dense), rows), dense[rows])


def test_float64_stays_and_other_numbers_become_float32():
    for given, kept in (
        (np.float64, np.float64),
        (np.float16, np.float32),
        (np.int64, np.float32),
        (np.uint8, np.float32),
    ):
        assert keys.dense_rows(np.ones((2, 2), given), np.arange(2)).dtype == kept


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([["a"]]), "rep holds .* values; it must hold numbers"),
        (np.array([[None]], dtype=object), "rep holds object values; it must hold numbers"),
        (np.array([[True]]), "rep holds bool values; it must hold numbers"),
        (np.array([[1j]]), "rep holds complex values; give their real and imaginary parts"),
    ],
)
def test_values_that_are_not_real_numbers_are_refused(values, message):
    with pytest.raises(TypeError, match=message):
        keys.dense_rows(values, np.arange(1), "rep")


def test_a_matrix_too_large_to_be_dense_states_its_size_and_the_cure():
    huge = sp.csr_matrix((200_000, 30_000), dtype=np.float32)
    with pytest.raises(
        MemoryError,
        match=r"X as a dense 200000 x 30000 array takes 24.0 GB; .*sc.pp.pca.*use_rep='X_pca'",
    ):
        keys.dense_rows(huge, np.arange(200_000))


def test_raw_counts_are_warned_about_and_normalised_values_are_not(recwarn):
    counts = np.random.default_rng(0).poisson(8.0, (100, 50)).astype(np.float32)
    with pytest.warns(UserWarning, match="adata.X looks like raw counts.*log1p"):
        keys.warn_if_counts(counts, "adata.X")
    recwarn.clear()
    keys.warn_if_counts(np.log1p(counts), "adata.X")
    keys.warn_if_counts(np.array([[0.0, 1.0], [1.0, 0.0]]), "adata.X")
    keys.warn_if_counts(counts - 5, "adata.X")
    assert not recwarn.list


def test_missing_values_are_counted_and_the_first_row_named():
    x = np.zeros((5, 2))
    x[1, 0], x[4] = np.nan, np.inf
    message = (
        "X_pca has NaN or infinite values in 2 of 5 rows (first: 'AAAC-1'); remove or impute them"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        keys.finite_or_raise(x, "X_pca", ["a", "AAAC-1", "c", "d", "e"])
    keys.finite_or_raise(np.zeros((2, 3)), "X_pca")
