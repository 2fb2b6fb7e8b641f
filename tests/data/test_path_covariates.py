"""Covariates that paths carry: one row for every path or observation, none missing."""

import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.data.paths.observed import digest, past_of

TIMES = [[0, 2, 1], [0, 3]]
STATES = [[0, 1, 2], [0, 1]]


def paths(**columns):
    return di.Paths(times=TIMES, states=STATES, covariates=pd.DataFrame(columns))


def test_one_row_for_every_path_holds_for_all_of_its_observations():
    table = paths(age=[30, 40], sex=["m", "f"]).covariates
    assert table["age"].tolist() == [30.0] * 3 + [40.0] * 2
    assert table["sex"].tolist() == ["m"] * 3 + ["f"] * 2


def test_a_mapping_is_a_table_and_plain_values_are_those_of_one_path():
    lists = di.Paths(times=TIMES, states=STATES, covariates={"age": [30, 40], "sex": ["m", "f"]})
    pd.testing.assert_frame_equal(lists.covariates, paths(age=[30, 40], sex=["m", "f"]).covariates)
    one = di.Paths(times=TIMES[:1], states=STATES[:1], covariates={"age": 30, "sex": "m"})
    assert one.covariates["age"].tolist() == [30, 30, 30]
    assert one.covariates["sex"].tolist() == ["m", "m", "m"]


def test_several_columns_of_one_name_are_refused():
    table = pd.DataFrame([[1, 2], [3, 4]], columns=["age", "age"])
    with pytest.raises(ValueError, match="several columns of one name"):
        di.Paths(times=TIMES, states=STATES, covariates=table)


def test_rows_are_sorted_with_the_times_and_go_with_their_path():
    every = paths(dose=[1, 3, 2, 4, 5])
    assert every.covariates["dose"].tolist() == [1, 2, 3, 4, 5]
    assert every[[1, 0]].covariates["dose"].tolist() == [4, 5, 1, 2, 3]
    assert past_of(every, 2).covariates["dose"].tolist() == [1, 2, 3, 4]


def test_numbers_are_amounts_and_all_else_is_a_name():
    table = paths(batch=pd.Categorical([7, 55]), on=[True, False], dose=[1, 2]).covariates
    assert table["batch"].cat.categories.tolist() == ["7", "55"]
    assert table["on"].cat.categories.tolist() == ["False", "True"]
    assert table["dose"].dtype == np.float64


def test_what_is_missing_at_the_last_observation_is_what_it_was_before():
    table = paths(sex=["m", None, "m", "f", None], dose=[1, np.nan, 2, 3, np.nan]).covariates
    assert table["dose"].tolist() == [1, 2, 2, 3, 3]
    assert table["sex"].tolist() == ["m", "m", "m", "f", "f"]


def test_covariates_are_read_back_from_an_anndata_and_count_in_the_digest():
    own = paths(dose=[1, 3, 2, 4, 5])
    keys = {"time_key": "time", "path_key": "path", "state_key": "state"}
    back = di.Paths.from_anndata(own.to_anndata(), **keys, covariate_keys=["dose"])
    pd.testing.assert_frame_equal(back.covariates, own.covariates)
    assert digest(own) != digest(paths(dose=[1, 3, 2, 4, 6]))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"age": [1, 2, 3]}, "3 rows; give one for each of the 2 paths"),
        ({"age": [1, None, 3, None, 5]}, "'age' is missing in 1 of 5 observations .* path '1'"),
        ({"age": [1, np.inf]}, "must be finite"),
        ({"sex": ["m", "nan"]}, "reads as a missing value"),
    ],
)
def test_what_is_no_covariate_is_refused_by_name(table, words):
    with pytest.raises(ValueError, match=words):
        paths(**table)


def test_a_list_is_no_table():
    with pytest.raises(TypeError, match="must be a DataFrame"):
        di.Paths(times=TIMES, states=STATES, covariates=[1, 2])
