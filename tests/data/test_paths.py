"""Paths: construction, reading from AnnData, batching, selection."""

import re

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dyninfer.data.paths import Paths


def random_paths(n=5, d=2, seed=0, discrete=False, **extra):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 7, n)
    times = [np.sort(rng.choice(100, length, replace=False) / 8) for length in lengths]
    if discrete:
        states = [rng.integers(0, 4, length) for length in lengths]
        extra = {"state_names": ["a", "b", "c", "d"]} | extra
    else:
        states = [rng.normal(size=(length, d)) for length in lengths]
    return Paths(times=times, states=states, **extra)


def cells(**columns):
    """Two individuals, interleaved and out of order in time."""
    obs = {
        "who": ["p", "q", "p", "q", "p"],
        "day": [2, 0, 0, 5, 1],
        "type": ["B", "A", "A", "A", "B"],
    }
    obs = pd.DataFrame(obs | columns, index=[f"cell{i}" for i in range(5)])
    X = np.arange(10, dtype=np.float32).reshape(5, 2)
    return anndata.AnnData(X, obs=obs, var=pd.DataFrame(index=["g1", "g2"]))


def assert_same(a, b):
    for name in ("times", "states"):
        for x, y in zip(getattr(a, name), getattr(b, name), strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
    assert a.names.tolist() == b.names.tolist()
    assert a.state_names == b.state_names


# --- construction ---


def test_paths_keep_irregular_times_and_their_own_lengths():
    paths = Paths(times=[[0, 0.5, 7], [3]], states=[np.zeros((3, 2)), np.ones((1, 2))])
    assert [t.tolist() for t in paths.times] == [[0, 0.5, 7], [3]]
    assert (len(paths), paths.n_features, paths.n_states, paths.discrete) == (2, 2, None, False)
    assert paths.lengths.tolist() == [3, 1]
    assert paths.features == ("x0", "x1")
    assert paths.names.tolist() == ["0", "1"]


def test_one_dimensional_floats_are_one_feature():
    paths = Paths(times=[[0, 1]], states=[[0.5, 1.5]])
    assert paths.states[0].tolist() == [[0.5], [1.5]]


def test_one_dimensional_integers_are_discrete_states():
    paths = Paths(times=[[0, 1, 2]], states=[[0, 2, -1]])
    assert paths.discrete
    assert paths.states[0].dtype == np.int64
    assert (paths.n_states, paths.state_names) == (3, ("0", "1", "2"))


def test_states_that_were_never_visited_count_where_they_are_named():
    assert Paths(times=[[0]], states=[[0]], state_names=["a", "b", "c"]).n_states == 3


def test_float64_stays_and_other_numbers_become_float32():
    for given_type, kept in (
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.int16, np.float32),
    ):
        assert (
            Paths(times=[[0]], states=[np.ones((1, 2), dtype=given_type)]).states[0].dtype == kept
        )


def test_tensors_are_accepted():
    paths = Paths(times=[torch.tensor([0.0, 1.0])], states=[torch.ones(2, 3, requires_grad=True)])
    assert paths.states[0].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert paths.times[0].tolist() == [0, 1]


def test_unsorted_times_are_sorted_with_their_states():
    paths = Paths(times=[[3, 1, 2], [5, 4]], states=[[0.3, 0.1, 0.2], [0.5, 0.4]])
    assert [t.tolist() for t in paths.times] == [[1, 2, 3], [4, 5]]
    assert [x[:, 0].tolist() for x in paths.states] == [[0.1, 0.2, 0.3], [0.4, 0.5]]


def test_the_input_is_not_changed():
    times, states = np.array([2.0, 1.0]), np.array([[2.0], [1.0]])
    Paths(times=[times], states=[states]).padded()
    assert times.tolist() == [2, 1]
    assert states.tolist() == [[2], [1]]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"times": [], "states": []}, ValueError, "times is empty; give at least one path"),
        ({"times": [[0]]}, ValueError, "times has 1 path but states has 2"),
        ({"times": [[0, 1], [0]]}, ValueError, r"path 'v' has times of shape \(1,\) for 2 states"),
        (
            {"times": [[0, 1], []], "states": [[0.0, 1.0], []]},
            ValueError,
            "path 'v' is empty; leave it out",
        ),
        ({"times": [[0, 1], [3, 3]]}, ValueError, "path 'v' has several observations at time 3"),
        # The first of several is named.
        ({"times": [[7, 7], [3, 3]]}, ValueError, "path 'u' has several observations at time 7"),
        ({"times": [[0, 1], [0, np.nan]]}, ValueError, "path 'v' has missing or infinite times"),
        ({"times": [["a", "b"], ["c", "d"]]}, ValueError, "times must be numbers"),
        ({"states": [[0.0, 1.0], [np.nan, np.nan]]}, ValueError, "path 'v' has no observed value"),
        ({"states": [[0, 1], [-1, -1]]}, ValueError, "path 'v' has no observed value"),
        (
            {"states": [[0.0, 1.0], [0.0, np.inf]]},
            ValueError,
            "path 'v' has infinite states; use NaN",
        ),
        ({"states": [[0, 1], [0, -2]]}, ValueError, "path 'v' has state -2"),
        (
            {"states": [[0, 1], [0.0, 1.0]]},
            TypeError,
            "path 'u' has integer states and path 'v' has continuous",
        ),
        (
            {"states": [np.zeros((2, 3)), np.zeros((2, 4))]},
            ValueError,
            "path 'v' has 4 features but path 'u' has 3",
        ),
        ({"states": [np.zeros(2, "M8[s]")] * 2}, TypeError, "states of path 'u' holds .* numbers"),
        ({"states": [[10**9, 1], [0, 1]]}, ValueError, "states go up to 1000000000 but only 3 of"),
        (
            {"states": [["a", "b"], ["a", "c"]], "state_names": ["a", "b"]},
            ValueError,
            "state 'c' is not among state_names",
        ),
        ({"times": [[0, 1], [0.3, 0.1 * 3]]}, ValueError, "path 'v' has several observations"),
        (
            {"times": [np.ma.array([0, 1], mask=[0, 1]), [0, 1]]},
            ValueError,
            "path 'u' has missing or infinite times",
        ),
        ({"states": [np.zeros((2, 1, 1)), np.zeros((2, 1, 1))]}, TypeError, "must be floats"),
        ({"names": ["u"]}, ValueError, "one name for each of the 2 paths"),
        ({"names": ["u", "u"]}, ValueError, "names must be unique, found 'u'"),
        ({"features": ["a", "b"]}, ValueError, "features names 2 features but the states have 1"),
        ({"state_names": ["a"]}, ValueError, "state_names belong to integer states"),
        (
            {"states": [[0, 1], [0, 2]], "state_names": ["a", "b"]},
            ValueError,
            "2 names but the states go up to 2",
        ),
        (
            {"states": [[0, 1], [0, 1]], "state_names": ["a", "a"]},
            ValueError,
            "state_names must be unique",
        ),
        ({"conditions": ["drug"]}, ValueError, "one label for each of the 2 paths"),
    ],
)
def test_input_that_does_not_fit_is_refused_by_name(fields, error, message):
    good = {"times": [[0, 1], [0, 1]], "states": [[0.0, 1.0], [2.0, 3.0]], "names": ["u", "v"]}
    with pytest.raises(error, match=message):
        Paths(**(good | fields))


def test_text_and_categories_are_states_with_names():
    labels = [["open", None, "closed"], ["closed", "closed"]]
    for states in (labels, [pd.Categorical(x) for x in labels], [np.array(x) for x in labels]):
        paths = Paths(times=[[0, 1, 2], [0, 1]], states=states)
        assert paths.state_names == ("closed", "open")
        assert [x.tolist() for x in paths.states] == [[1, -1, 0], [0, 0]]
    named = Paths(times=[[0, 1, 2], [0, 1]], states=labels, state_names=["open", "closed", "hurt"])
    assert [x.tolist() for x in named.states] == [[0, -1, 1], [1, 1]]
    assert named.n_states == 3


@pytest.mark.parametrize("word", ["nan", "NaN", "", " ", "NA", "N/A", "<NA>", "NaT"])
def test_text_that_means_nothing_is_known_is_no_state(word):
    labels = [["open", word, "closed"]]
    with pytest.raises(ValueError, match="states holds the text .* list it in state_names"):
        Paths(times=[[0, 1, 2]], states=labels)
    # Sodium may well be a state.
    named = Paths(times=[[0, 1, 2]], states=labels, state_names=["closed", word, "open"])
    assert named.states[0].tolist() == [2, 1, 0]
    column = ["open", word, "closed", word, "open"]
    keys = {"time_key": "day", "path_key": "who", "state_key": "type"}
    for kind in (column, pd.Categorical(column)):
        with pytest.raises(ValueError, match="state_key 'type' holds the text"):
            Paths.from_anndata(cells(type=kind), **keys)
    # A category that nobody is in says nothing.
    unused = pd.Categorical(list("BAAAB"), categories=["A", "B", word])
    assert Paths.from_anndata(cells(type=unused), **keys).state_names == ("A", "B", word)


def test_none_and_null_are_names_as_others():
    paths = Paths(times=[[0, 1]], states=[["none", "null"]], conditions=["None"])
    assert paths.state_names == ("none", "null")
    with pytest.raises(ValueError, match="conditions holds the text 'nan'"):
        Paths(times=[[0, 1]], states=[["a", "b"]], conditions=["nan"])


@pytest.mark.parametrize(
    "states",
    [
        np.ma.array([0, 7, 1], mask=[0, 1, 0]),
        pd.Series([0, None, 1], dtype="Int64"),
        pd.array([0, pd.NA, 1], dtype="Int8"),
    ],
)
def test_whole_numbers_with_gaps_are_states_with_gaps(states):
    assert Paths(times=[[0, 1, 2]], states=[states]).states[0].tolist() == [0, -1, 1]


@pytest.mark.parametrize(
    "states",
    [
        np.ma.array([0.5, 7, 1.5], mask=[0, 1, 0]),
        [0.5, None, 1.5],
        pd.Series([0.5, None, 1.5], dtype="Float32"),
        np.array([0.5, np.nan, 1.5], dtype=">f8")[::-1][::-1],
    ],
)
def test_numbers_with_gaps_are_paths_with_gaps(states):
    paths = Paths(times=[[0, 1, 2]], states=[states])
    np.testing.assert_array_equal(paths.states[0][:, 0], [0.5, np.nan, 1.5])


def test_data_frames_are_read_by_the_names_of_their_columns():
    one = pd.DataFrame({"a": [1.0, 2.0], "b": [10.0, 20.0]})
    paths = Paths(times=[[0, 1]] * 2, states=[one, one[["b", "a"]]])
    assert paths.features == ("a", "b")
    np.testing.assert_array_equal(paths.states[0], paths.states[1])
    with pytest.raises(ValueError, match="the states of path '1' has no column 'b'"):
        Paths(times=[[0, 1]] * 2, states=[one, one.rename(columns={"b": "c"})])


def test_paths_at_a_time_are_those_that_are_there_whatever_the_origin_of_time():
    for start in (0, -5e3, 1.7e9, 1.7e18):
        unit = 1e9 if start > 1e18 else 1
        t = start + unit * np.arange(10.0)
        paths = Paths(times=[t] * 20, states=[np.arange(10) % 2] * 20)
        assert len(paths.at(start)) == 20
        assert len(paths.at(float(t[3]) * (1 + 1e-16))) == 20
        with pytest.raises(ValueError, match="no path has an observation"):
            paths.at(start + 0.5 * unit)


# --- reading ---


def test_rows_are_grouped_by_path_and_sorted_by_time():
    paths = Paths.from_anndata(cells(), time_key="day", path_key="who", use_rep="X")
    assert paths.names.tolist() == ["p", "q"]
    assert [t.tolist() for t in paths.times] == [[0, 1, 2], [0, 5]]
    assert paths.states[0].tolist() == [[4, 5], [8, 9], [0, 1]]
    assert paths.states[1].tolist() == [[2, 3], [6, 7]]
    assert paths.features == ("g1", "g2")
    assert paths.source == {"time_key": "day", "path_key": "who", "use_rep": "X"}


def test_the_default_representation_is_x_pca_then_x():
    adata = cells()
    assert Paths.from_anndata(adata, time_key="day", path_key="who").features == ("g1", "g2")
    adata.obsm["X_pca"] = np.ones((5, 3), dtype=np.float32)
    paths = Paths.from_anndata(adata, time_key="day", path_key="who")
    assert (paths.features, paths.source["use_rep"]) == (("PCA1", "PCA2", "PCA3"), "X_pca")


def test_a_categorical_column_gives_integer_states_in_the_order_of_its_categories():
    kind = pd.Categorical(["B", "A", "A", None, "B"], categories=["B", "A", "never"])
    paths = Paths.from_anndata(cells(type=kind), time_key="day", path_key="who", state_key="type")
    assert paths.state_names == ("B", "A", "never")
    assert [x.tolist() for x in paths.states] == [[1, 0, 0], [1, -1]]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (list("BAAAB"), ("A", "B")),
        ([3, 1, 1, 1, 3], ("1", "3")),
        ([3.0, 1, np.nan, 1, 3], ("1", "3")),
    ],
)
def test_text_and_whole_numbers_serve_as_states_too(values, names):
    paths = Paths.from_anndata(cells(type=values), time_key="day", path_key="who", state_key="type")
    assert paths.state_names == names
    assert paths.states[1].tolist() == [0, 0]


def test_one_condition_per_path_is_read():
    adata = cells(dose=["hi", "lo", "hi", "lo", "hi"])
    paths = Paths.from_anndata(adata, time_key="day", path_key="who", condition_key="dose")
    assert paths.conditions.tolist() == ["hi", "lo"]


def test_timedeltas_become_days():
    adata = cells(day=pd.to_timedelta([48, 0, 0, 120, 24], unit="h"))
    paths = Paths.from_anndata(adata, time_key="day", path_key="who")
    assert paths.times[0].tolist() == [0, 1, 2]


def test_sparse_matrices_are_read():
    from scipy.sparse import csr_matrix

    adata = cells()
    expected = Paths.from_anndata(adata, time_key="day", path_key="who")
    adata.X = csr_matrix(adata.X)
    assert_same(expected, Paths.from_anndata(adata, time_key="day", path_key="who"))


def test_a_view_is_read_without_warning_and_nothing_is_changed(recwarn):
    adata = cells()
    before = adata.obs.copy()
    paths = Paths.from_anndata(adata[adata.obs["who"] == "p"], time_key="day", path_key="who")
    assert paths.names.tolist() == ["p"]
    pd.testing.assert_frame_equal(adata.obs, before)
    assert not [w for w in recwarn if "dyninfer" in str(w.filename)]


@pytest.mark.parametrize("how", [{"state_key": "type"}, {"use_rep": "X_pca"}])
def test_a_backed_file_is_read_without_its_matrix(tmp_path, how, monkeypatch):
    adata = cells()
    adata.obsm["X_pca"] = np.ones((5, 3), dtype=np.float32)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    monkeypatch.setattr(anndata.AnnData, "X", property(lambda self: pytest.fail("X was read")))
    paths = Paths.from_anndata(backed, time_key="day", path_key="who", **how)
    assert paths.lengths.tolist() == [3, 2]
    backed.file.close()


@pytest.mark.parametrize(
    ("given_keys", "columns", "error", "message"),
    [
        (
            {"time_key": "dya"},
            {},
            KeyError,
            "time_key 'dya' is not in adata.obs; did you mean 'day'",
        ),
        (
            {"path_key": "whom"},
            {},
            KeyError,
            "path_key 'whom' is not in adata.obs; did you mean 'who'",
        ),
        ({"path_key": None}, {}, KeyError, "path_key is needed"),
        (
            {"state_key": "typ"},
            {},
            KeyError,
            "state_key 'typ' is not in adata.obs; did you mean 'type'",
        ),
        ({"condition_key": "x"}, {}, KeyError, "condition_key 'x' is not in adata.obs"),
        ({"use_rep": "X_umap"}, {}, KeyError, "use_rep 'X_umap' is not in adata.obsm"),
        ({"use_rep": "X", "state_key": "type"}, {}, ValueError, "not both"),
        ({}, {"day": list("abcde")}, ValueError, "times must be numbers"),
        (
            {},
            {"day": [2, 0, 2, 5, 1]},
            ValueError,
            "path 'p' has several rows at time 2.*clones.*duplicated",
        ),
        (
            {},
            {"who": ["p", None, "p", "q", "p"]},
            ValueError,
            "path_key 'who' is missing in 1 rows .*'cell1'",
        ),
        (
            {"condition_key": "type"},
            {},
            ValueError,
            "condition_key 'type' changes within path 'p' \\('A', 'B'\\)",
        ),
        (
            {"state_key": "type"},
            {"type": [0.5, 1, 2, 3, 4]},
            ValueError,
            "holds continuous numbers \\(such as 0.5\\)",
        ),
    ],
)
def test_a_mistake_in_the_keys_or_the_table_is_a_sentence(given_keys, columns, error, message):
    with pytest.raises(error, match=message):
        Paths.from_anndata(
            cells(**columns), **({"time_key": "day", "path_key": "who"} | given_keys)
        )


def test_an_empty_anndata_is_refused():
    with pytest.raises(ValueError, match="has no rows"):
        Paths.from_anndata(cells()[[]], time_key="day", path_key="who")


def test_raw_counts_are_pointed_out():
    adata = cells()
    adata.X = adata.X * 10
    with pytest.warns(UserWarning, match="raw counts"):
        Paths.from_anndata(adata, time_key="day", path_key="who")


@given(st.integers(1, 8), st.integers(0, 1000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_anndata_round_trip_is_exact_for_rows_in_any_order_within_paths(n, seed, discrete):
    paths = random_paths(
        n=n, seed=seed, discrete=discrete, conditions=[f"c{i % 2}" for i in range(n)]
    )
    adata = paths.to_anndata()
    owner = adata.obs["path"].cat.codes.to_numpy()
    shuffle = np.random.default_rng(seed).random(len(owner))
    with anndata.settings.override(remove_unused_categories=False):
        adata = adata[np.lexsort([shuffle, owner])].copy()
    how = {"state_key": "state"} if discrete else {"use_rep": "X"}
    back = Paths.from_anndata(
        adata, time_key="time", path_key="path", condition_key="condition", **how
    )
    assert_same(paths, back)
    assert back.conditions.tolist() == paths.conditions.tolist()


def test_gaps_survive_the_anndata_round_trip():
    for states, how in (
        ([[0, -1, 1]], {"state_key": "state"}),
        ([[0.5, np.nan, 1.0]], {"use_rep": "X"}),
    ):
        paths = Paths(times=[[0, 1, 2]], states=states)
        assert_same(
            paths, Paths.from_anndata(paths.to_anndata(), time_key="time", path_key="path", **how)
        )


# --- batching ---


def test_padding_repeats_the_last_time_and_masks_what_was_not_seen():
    paths = Paths(times=[[0, 1, 4], [2]], states=[[[1.0, 2], [np.nan, 3], [5, 6]], [[7.0, 8]]])
    times, states, mask = paths.padded()
    assert times.tolist() == [[0, 1, 4], [2, 2, 2]]
    assert states.tolist() == [[[1, 2], [0, 3], [5, 6]], [[7, 8], [0, 0], [0, 0]]]
    assert mask.tolist() == [
        [[True, True], [False, True], [True, True]],
        [[True, True]] + [[False, False]] * 2,
    ]
    assert (times.dtype, states.dtype, mask.dtype) == (torch.float64, torch.float64, torch.bool)


def test_padding_of_discrete_paths_masks_missing_states():
    times, states, mask = Paths(times=[[0, 1], [2]], states=[[3, -1], [1]]).padded()
    assert states.tolist() == [[3, 0], [1, 0]]
    assert mask.tolist() == [[True, False], [True, False]]
    assert states.dtype == torch.int64


@given(st.integers(1, 8), st.integers(0, 1000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_padding_loses_and_invents_nothing(n, seed, discrete):
    paths = random_paths(n=n, seed=seed, discrete=discrete)
    times, states, mask = paths.padded()
    for i in range(n):
        length = len(paths.times[i])
        np.testing.assert_array_equal(times[i, :length], paths.times[i])
        np.testing.assert_array_equal(states[i, :length], paths.states[i])
        assert mask[i, :length].all()
        assert not mask[i, length:].any()
        assert (times[i].diff() >= 0).all()


def test_changing_a_batch_does_not_change_the_paths():
    paths = random_paths()
    before = paths.states[0].copy()
    for tensor in paths.padded()[:2]:
        tensor.zero_()
    np.testing.assert_array_equal(paths.states[0], before)


# --- selection ---


@pytest.mark.parametrize(
    "index",
    [1, -1, slice(1, 4), [3, 0], np.array([False, True, True, False, True]), torch.tensor([4])],
)
def test_selection_by_number_slice_and_mask_agrees_with_numpy(index):
    paths = random_paths(conditions=list("vwxyz"))
    rows = np.atleast_1d(
        np.arange(5)[np.asarray(index) if isinstance(index, torch.Tensor) else index]
    )
    chosen = paths[index]
    assert chosen.names.tolist() == rows.astype(str).tolist()
    assert chosen.conditions.tolist() == paths.conditions[rows].tolist()
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(chosen.states[i], paths.states[row])


def test_selection_by_name():
    paths = random_paths(names=list("abcde"))
    assert paths["c"].names.tolist() == ["c"]
    assert paths[["e", "a"]].names.tolist() == ["e", "a"]


def test_state_names_survive_a_selection_that_never_visits_them():
    paths = Paths(times=[[0], [0]], states=[[0], [1]], state_names=["a", "b"])
    assert paths[0].state_names == ("a", "b")


def test_a_bad_selection_says_what_there_is():
    paths = random_paths(names=list("abcde"))
    with pytest.raises(KeyError, match="no path is named 'f'; there are 'a', 'b', 'c', 'd', 'e'"):
        paths["f"]
    with pytest.raises(IndexError, match="cannot select paths of 5 by 7"):
        paths[7]
    with pytest.raises(IndexError, match="leaves no path of 5"):
        paths[[]]


def test_iteration_gives_one_path_at_a_time():
    assert [p.names[0] for p in random_paths(n=3)] == ["0", "1", "2"]


@given(st.integers(2, 30), st.floats(0.01, 0.99), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_a_split_puts_every_path_on_exactly_one_side(n, fraction, seed):
    paths = random_paths(n=n)
    rest, part = paths.split(fraction, seed=seed)
    assert sorted([*rest.names, *part.names]) == sorted(paths.names)
    assert len(part) == min(max(round(n * fraction), 1), n - 1)
    assert paths.split(fraction, seed=seed)[1].names.tolist() == part.names.tolist()


def test_a_split_that_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="one path cannot be split"):
        random_paths(n=1).split(0.5)
    for fraction in (0, 1, -0.2):
        with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
            random_paths().split(fraction)


def test_without_leaves_paths_out_by_name_or_number():
    paths = random_paths(names=list("abcde"))
    assert paths.without("b").names.tolist() == list("acde")
    assert paths.without([0, 4]).names.tolist() == list("bcd")
    assert paths.without(None) is paths
    with pytest.raises(ValueError, match="leaves no path"):
        paths.without(list("abcde"))


def test_at_returns_the_paths_observed_at_that_time():
    paths = Paths(times=[[0, 0.3], [0.3, 2], [1]], states=[[1.0, 2.0], [3.0, 4.0], [5.0]])
    assert paths.at(0.1 + 0.2).tolist() == [[2], [3]]
    with pytest.raises(
        ValueError, match="no path has an observation at time 1.4; the nearest is at 1"
    ):
        paths.at(1.4)


def test_repr_says_sizes_times_gaps_and_conditions():
    paths = Paths(times=[[0, 1], [0.5]], states=[[1.0, np.nan], [2.0]], conditions=["drug", "none"])
    text = repr(paths)
    for part in (
        "2 paths x 1 feature, 3 observations",
        "0 to 1, 1 to 2 per path",
        "0.333",
        "drug, none",
    ):
        assert part in text
    assert "states  a, b, c, d" in repr(random_paths(discrete=True))


def test_times_come_in_any_kind_of_tensor_or_are_refused_by_name():
    t = torch.tensor([0.0, 1.0, 3.0])
    for times in (t.bfloat16(), t.half(), t.to_sparse(), t.int()):
        paths = Paths(times=[times], states=[[0.1, 0.2, 0.3]])
        np.testing.assert_array_equal(paths.times[0], [0, 1, 3])
    with pytest.raises(ValueError, match="'meta', which holds no numbers"):
        Paths(times=[t.to("meta")], states=[[0.1, 0.2, 0.3]])
    with pytest.raises(ValueError, match="'times' must be a flat list of numbers"):
        Paths(times=[[0, [1, 2]]], states=[[0.1, 0.2]])


def test_rows_of_a_table_that_differ_by_rounding_are_one_time():
    adata = anndata.AnnData(np.arange(4.0)[:, None])
    adata.obs["id"] = "a"
    adata.obs["day"] = [0.0, 0.3, 0.1 * 3, 1.0]
    with pytest.raises(ValueError, match="path 'a' has several rows at time 0.3"):
        Paths.from_anndata(adata, time_key="day", path_key="id", use_rep="X")


@pytest.mark.parametrize("name", ["names", "features", "state_names"])
@pytest.mark.parametrize("value", [pd.NA, np.bool_(True), 3, "ab"])
def test_names_that_are_no_list_are_refused(name, value):
    states = [[0, 1, 1], [1, 1, 0]]
    if name == "features":
        states = [np.eye(3, 2), np.ones((3, 2))]
    with pytest.raises(TypeError, match=f"{name} must be a list with one name per"):
        Paths(times=[[0, 1, 2], [0, 1, 2]], states=states, **{name: value})


def test_times_of_two_kinds_are_refused():
    spans = pd.to_timedelta([0, 1, 2], unit="D")
    for other in (spans, ["0", "1", "2"]):
        with pytest.raises(TypeError, match="times of path '0' are of kind .* of kind number"):
            Paths(times=[other, [0, 1, 2]], states=[np.eye(3), np.eye(3)])


@pytest.mark.parametrize("value", [1.5, 1j, np.inf, object(), {0, 1}, {}, [{}]])
def test_what_chooses_no_paths_is_refused(value):
    paths = Paths(times=[[0, 1, 2], [0, 1, 2]], states=[[0, 1, 1], [1, 1, 0]])
    for choose in (paths.without, paths.__getitem__):
        with pytest.raises((TypeError, KeyError), match="paths are chosen by|no path is named"):
            choose(value)
    with pytest.raises(ValueError, match="cannot select paths of 2 by 7"):
        paths.without(7)


VISITS = pd.DataFrame(
    {
        "who": ["b", "a", "a", "b"],
        "year": [1.5, 0.0, 2.0, 0.5],
        "stage": ["ill", "well", "ill", "well"],
        "arm": ["x", "y", "y", "x"],
        "x": [4.0, 1.0, 2.0, 3.0],
        "y": [0.4, 0.1, np.nan, 0.3],
    }
)
KEYS = {"time_key": "year", "path_key": "who"}


def test_a_table_of_visits_becomes_paths_in_order():
    paths = Paths.from_dataframe(VISITS, state_key="stage", covariate_keys=["arm"], **KEYS)
    assert paths.names.tolist() == ["b", "a"]
    assert paths.state_names == ("ill", "well")
    np.testing.assert_array_equal(np.concatenate(paths.times), [0.5, 1.5, 0.0, 2.0])
    np.testing.assert_array_equal(np.concatenate(paths.states), [1, 0, 1, 0])
    assert paths.covariates["arm"].tolist() == ["x", "x", "y", "y"]
    # Nothing of the table is changed.
    assert VISITS.index.tolist() == [0, 1, 2, 3]


def test_columns_of_numbers_become_features():
    paths = Paths.from_dataframe(VISITS, feature_keys=["x", "y"], condition_key="arm", **KEYS)
    assert paths.features == ("x", "y")
    np.testing.assert_array_equal(np.concatenate(paths.states)[:, 0], [3.0, 4.0, 1.0, 2.0])
    assert np.isnan(paths.states[1][1, 1])
    assert paths.conditions.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ValueError, "give state_key"),
        ({"state_key": "stage", "feature_keys": ["x"]}, ValueError, "give state_key"),
        ({"feature_keys": ["z"]}, KeyError, "'z'"),
        ({"feature_keys": ["stage"]}, TypeError, "continuous states are numbers"),
        ({"state_key": "stagee"}, KeyError, "did you mean 'stage'"),
    ],
)
def test_columns_that_cannot_be_read_are_named(options, error, words):
    with pytest.raises(error, match=words):
        Paths.from_dataframe(VISITS, **options, **KEYS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": [1, np.nan]}, "drop them: table[table['id'].notna()]"),
        ({"t": ["0h", "1d"]}, "Make them: table['t'] = di.read_times(table['t'], 'h')"),
        ({"id": [1, 1], "t": [0, 0]}, "table[~table.duplicated(['id', 't'])]"),
    ],
)
def test_a_remedy_for_a_table_is_one_that_runs(changes, words):
    table = pd.DataFrame({"id": [1, 2], "t": [0.0, 1.0], "s": ["x", "y"]} | changes)
    with pytest.raises(ValueError, match=re.escape(words)):
        Paths.from_dataframe(table, time_key="t", path_key="id", state_key="s")


def test_a_column_that_a_table_lacks_is_named_as_its_own():
    table = pd.DataFrame({"id": [1], "t": [0.0], "s": ["x"]})
    with pytest.raises(KeyError, match="path_key 'idd' is not in table; did you mean 'id'"):
        Paths.from_dataframe(table, time_key="t", path_key="idd", state_key="s")


def test_only_a_table_is_read_as_one():
    with pytest.raises(TypeError, match="must be a DataFrame, found dict"):
        Paths.from_dataframe({}, state_key="stage", **KEYS)
