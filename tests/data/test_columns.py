"""Columns of obs: found by their key, and read as labels or numbers."""

from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest

from dyninfer.data.columns import MissingKey, label_column, number_column, obs_column


def cells(day=(0, 0, 1, 1), **columns):
    obs = pd.DataFrame({"day": day, **columns}, index=[f"cell{i}" for i in range(len(day))])
    return anndata.AnnData(np.arange(3.0 * len(day), dtype=np.float32).reshape(-1, 3), obs=obs)


def test_a_missing_key_suggests_the_column_that_was_meant():
    with pytest.raises(KeyError) as error:
        obs_column(cells(), "dya", "time_key")
    assert str(error.value) == (
        "time_key 'dya' is not in adata.obs; did you mean 'day'? columns that look like times: 'day'"
    )


def test_a_key_that_was_not_given_lists_the_columns_that_look_like_times():
    adata = cells(day=range(12), stage=["1", "2"] * 6, label=list("ab") * 6)
    with pytest.raises(
        KeyError, match="time_key is needed for an AnnData; columns that look like times: 'stage'$"
    ):
        obs_column(adata, None, "time_key")


def test_other_keys_list_all_columns_and_long_lists_are_cut():
    adata = cells(**{f"column{i}": [1, 2, 3, 4] for i in range(20)})
    with pytest.raises(
        KeyError, match=r"mass_key 'xyz' is not in adata.obs; columns of adata.obs: .*\(21 in all\)"
    ):
        obs_column(adata, "xyz", "mass_key")


def test_a_missing_key_reads_as_a_sentence_and_is_a_key_error():
    assert str(MissingKey("no such thing")) == "no such thing"
    assert issubclass(MissingKey, KeyError)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["ctrl", "drug", None, "drug"], dtype=object),
        pd.array(["ctrl", "drug", None, "drug"], dtype="string"),
        pd.Categorical(["ctrl", "drug", None, "drug"]),
        [1.0, 10.0, np.nan, 10.0],
        pd.array([1, 10, None, 10], dtype="Int64"),
    ],
)
def test_a_missing_label_is_no_label(labels):
    adata = cells()
    adata.obs["drug"] = labels
    message = r"condition_key 'drug' is missing in 1 of 4 rows \(first: 'cell2'\); drop them"
    with pytest.raises(ValueError, match=message):
        label_column(adata, "drug", "condition_key")
    assert len(label_column(adata, "drug", "condition_key", np.array([0, 1, 3]))) == 3


def test_numbers_of_categories_and_text_are_read_and_missing_ones_are_nan():
    for column in (["1", "2.5", None, "3"], pd.Categorical([1, 2.5, None, 3])):
        adata = cells(mass=column)
        np.testing.assert_array_equal(number_column(adata, "mass", "mass_key"), [1, 2.5, np.nan, 3])
    with pytest.raises(ValueError, match="mass_key 'mass' must hold numbers, found 'many'"):
        number_column(cells(mass=[1, "many", 2, 3]), "mass", "mass_key")


def test_columns_of_a_lazy_table_are_read_as_those_of_a_frame():
    xarray = pytest.importorskip("xarray")
    columns = {"donor": ("cell", ["a", "b", "a"]), "mass": ("cell", [1.0, 2.0, 3.0])}
    lazy = SimpleNamespace(obs=xarray.Dataset(columns), obsm={})
    assert label_column(lazy, "donor", "condition_key").tolist() == ["a", "b", "a"]
    rows = np.array([2, 0])
    assert number_column(lazy, "mass", "mass_key", rows).tolist() == [3.0, 1.0]
