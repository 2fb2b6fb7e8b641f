"""Names and times in messages: short, and with the digits that matter."""

import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.data.words import as_text, counted, listed, quoted

LONG = "a name\nof many lines " * 50


def test_a_long_name_is_cut_and_stays_on_one_line():
    assert quoted("PCA1") == "'PCA1'"
    assert len(quoted(LONG)) == 40
    assert "\n" not in quoted(LONG)


def test_a_long_list_is_counted():
    assert listed("abc") == "'a', 'b', 'c'"
    assert listed([]) == "none"
    assert listed(range(500), most=2) == "'0', '1', ... (500 in all)"
    assert len(listed([LONG] * 9)) < 140


def test_what_is_counted_has_the_plural_that_its_number_asks_for():
    words = [counted(n, "path") for n in (0, 1, 2)]
    assert words == ["0 paths", "1 path", "2 paths"]


@pytest.mark.parametrize(
    ("time", "text"),
    [(0.1 + 0.2, "0.3"), (1.7e9 + 10, "1700000010"), (123456.5, "123456.5"), (np.nan, "nan")],
)
def test_a_time_has_the_digits_that_tell_it_from_its_neighbours(time, text):
    assert as_text(time) == text


def table():
    rng = np.random.default_rng(0)
    ad = pytest.importorskip("anndata")
    obs = pd.DataFrame({"time": np.repeat([0.0, 1.0], 30), "id": np.tile(np.arange(30), 2)})
    obs[LONG] = LONG
    obs.index = [f"{LONG}{i}" for i in range(60)]
    return ad.AnnData(rng.normal(size=(60, 2)), obs=obs)


@pytest.mark.parametrize(
    "keys",
    [
        {"time_key": LONG},
        {"time_key": "t" * 200},
        {"time_key": "time", "use_rep": LONG},
        {"time_key": "time", "use_rep": ["X"] * 200},
        {"time_key": "time", "weight_key": LONG},
        {"time_key": "time", "mass_key": LONG},
    ],
)
def test_messages_of_snapshots_stay_short_whatever_the_names(keys):
    with pytest.raises((KeyError, TypeError, ValueError)) as error:
        di.Snapshots.from_anndata(table(), **keys)
    assert len(str(error.value)) <= 300
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"path_key": LONG},
        {"path_key": "p" * 200},
        {"path_key": "id", "state_key": "s" * 200},
        {"path_key": "id", "use_rep": LONG, "state_key": LONG},
    ],
)
def test_messages_of_paths_stay_short_whatever_the_names(keys):
    with pytest.raises((KeyError, TypeError, ValueError)) as error:
        di.Paths.from_anndata(table(), time_key="time", **keys)
    assert len(str(error.value)) <= 300
    assert "\n" not in str(error.value)


def test_a_column_that_comes_twice_is_named():
    adata = table()
    adata.obs = pd.concat([adata.obs, adata.obs[["time"]]], axis=1)
    with pytest.raises(ValueError, match="adata.obs has several columns named 'time'"):
        di.Snapshots.from_anndata(adata, time_key="time")
