"""The one reader: data for a fit, and what is asked of a fitted model."""

from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.data.reading import (
    check_features,
    is_anndata,
    read_features,
    read_paths,
    read_snapshots,
    read_start,
    reread_paths,
    reread_snapshots,
)

KEYS = {
    "time_key": "day",
    "use_rep": "X",
    "mass_key": None,
    "weight_key": None,
    "condition_key": None,
}


def cells(n=30, times=(0.0, 1.0, 3.0), **columns):
    day = np.repeat(times, n)
    x = np.random.default_rng(0).normal(size=(len(day), 2)) + [0, 100]
    obs = pd.DataFrame({"day": day, **columns}, index=[f"cell{i}" for i in range(len(day))])
    return anndata.AnnData(x, obs=obs, var=pd.DataFrame(index=["a", "b"]))


def known(source=None, features=("a", "b"), times=(0.0, 1.0, 3.0)):
    source = {"time_key": "day", "use_rep": "X"} if source is None else source
    return SimpleNamespace(source=source, features=features, times=times)


def test_an_anndata_is_known_by_its_face_and_a_frame_is_none():
    adata = cells()
    assert is_anndata(adata)
    assert is_anndata(adata[:3])
    assert not is_anndata(adata.obs)
    assert not is_anndata(np.zeros(3))


# --- fits ---


def test_cells_and_snapshots_of_them_are_read_alike():
    adata = cells()
    one = read_snapshots(adata, KEYS, hold_out=1)
    two = read_snapshots(di.Snapshots.from_anndata(adata, **KEYS), {}, hold_out=[1])
    assert one.digest() == two.digest()
    assert one.times.tolist() == [0, 3]


def test_what_a_fit_cannot_read_is_said_in_a_sentence():
    adata = cells()
    snapshots = di.Snapshots.from_anndata(adata, **KEYS)
    with pytest.raises(ValueError, match="time_key names a key of an AnnData, but Snapshots"):
        read_snapshots(snapshots, KEYS)
    with pytest.raises(TypeError, match="Flow.fit takes an AnnData or Snapshots, not ndarray"):
        read_snapshots(np.zeros((3, 2)), KEYS, reader="Flow.fit")
    with pytest.raises(TypeError, match="Jumps cannot learn from snapshots: .* give Paths"):
        read_paths(snapshots, {}, reader="Jumps")
    with pytest.raises(TypeError, match="fit takes an AnnData or Paths, not ndarray"):
        read_paths(np.zeros((3, 2)), {})
    with pytest.raises(ValueError, match="path_key is needed"):
        read_paths(adata, {"time_key": "day", "path_key": None})
    adata.X[4, 0] = np.nan
    with pytest.raises(ValueError, match="X at time 0 has NaN .* 'cell4'"):
        read_snapshots(adata, KEYS)


def test_few_cells_at_a_time_are_warned_about():
    with pytest.warns(
        UserWarning, match=r"fewer than 20 samples at time 0 \(5\), 1 \(5\), 3 \(5\)"
    ):
        read_snapshots(cells(n=5), KEYS)


# --- fitted models ---


def test_a_model_of_no_anndata_has_no_keys_to_read_one():
    with pytest.raises(ValueError, match="no keys to read one; give Snapshots"):
        reread_snapshots(cells(), known({}))
    with pytest.raises(ValueError, match="no keys to read one; give Paths"):
        reread_paths(cells(), known({}))
    with pytest.raises(TypeError, match="data must be an AnnData or Paths, not int"):
        reread_paths(3, known({}))


def test_features_are_compared_by_name_where_both_sides_have_names():
    check_features(("a", "b"), known())
    check_features(("x0", "x1"), known())
    check_features(("a", "b"), known(features=("x0", "x1")))
    with pytest.raises(ValueError, match="fitted on 2 features, these data have 3"):
        check_features(("a", "b", "c"), known())
    with pytest.raises(ValueError, match="features differ.*'b' instead of 'a'"):
        check_features(("b", "a"), known())
    with pytest.raises(ValueError, match="features differ"):
        read_features(cells()[:, ["b", "a"]], known())


def test_cells_start_with_their_names_weights_and_conditions():
    w = np.random.default_rng(1).uniform(size=90)
    adata = cells(w=w, donor=["u", "v", "w"] * 30)
    source = {"time_key": "day", "use_rep": "X", "weight_key": "w", "condition_key": "donor"}
    for start in (adata, adata[adata.obs["day"] == 1], reread_snapshots(adata, known(source))):
        cells_there = read_start(start, 1, known(source))
        np.testing.assert_array_equal(cells_there.states, adata.X[30:60])
        assert cells_there.names.tolist() == adata.obs_names[30:60].tolist()
        np.testing.assert_allclose(cells_there.weights, w[30:60] / w[30:60].sum())
        assert cells_there.conditions.tolist() == ["u", "v", "w"] * 10
    with pytest.raises(ValueError, match="no snapshot at time 2; the times are 0, 1, 3"):
        read_start(adata, 2, known(source))
    for weight in (0.0, -1.0, np.nan, np.inf):
        adata.obs["w"] = weight
        with pytest.raises(ValueError, match="weights at time 1 must be finite, non-negative"):
            read_start(adata, 1, known(source))


def test_cells_of_one_time_are_not_taken_for_those_of_its_neighbour():
    seconds = 1.7e9 + 10 * np.arange(3)
    adata = cells(times=[seconds[0]])
    fitted = known(times=tuple(seconds))
    assert len(read_start(adata, seconds[0], fitted).states) == 30
    with pytest.raises(ValueError, match="no snapshot at time"):
        read_start(adata, seconds[1], fitted)


def test_columns_of_a_data_frame_find_their_features():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    frame = pd.DataFrame(x[:, ::-1], columns=["b", "a"], index=["one", "two"])
    start = read_start(frame.assign(batch="first"), 0, known())
    np.testing.assert_array_equal(start.states, x)
    assert start.names.tolist() == ["one", "two"]
    np.testing.assert_array_equal(read_start(pd.DataFrame(x), 0, known()).states, x)
    with pytest.raises(ValueError, match="start has no column 'a'"):
        read_start(frame.rename(columns={"a": "c"}), 0, known())


def test_arrays_start_by_position_and_tensors_keep_their_gradient():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(read_start(x.astype(">f8")[::-1], 0, known()).states, x[::-1])
    tensor = torch.tensor(x, requires_grad=True)
    assert read_start(tensor, 0, known()).states is tensor
    with pytest.raises(ValueError, match="fitted on 2 features, these data have 3"):
        read_start(np.zeros((2, 3)), 0, known())
