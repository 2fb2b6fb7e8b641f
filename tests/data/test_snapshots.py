"""Snapshots: construction, reading from AnnData, selection."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dyninfer.data.snapshots import Snapshots

QUICK = settings(max_examples=25, deadline=None)


def make(**fields):
    given = {"times": [0, 1, 4], "samples": [np.full((n, 2), float(n)) for n in (5, 7, 6)]}
    return Snapshots(**(given | fields))


def cells(n=30, times=(0, 2, 3), seed=0, **obs):
    rng = np.random.default_rng(seed)
    day = np.array(times)[np.arange(n) % len(times)]
    frame = pd.DataFrame({"day": day, **obs}, index=[f"c{i}" for i in range(n)])
    adata = anndata.AnnData(rng.normal(size=(n, 4)).astype(np.float32), obs=frame)
    adata.obsm["X_pca"] = rng.normal(size=(n, 2))
    return adata


def as_sets(snapshots):
    """Times, and their samples with everything that belongs to them, in whatever order."""
    columns = [snapshots.weights, snapshots.conditions, snapshots.names]
    return [
        (t, snapshots.masses if snapshots.masses is None else snapshots.masses[k])
        + (
            sorted(
                zip(x.tolist(), *(c[k].tolist() for c in columns if c is not None), strict=True)
            ),
        )
        for k, (t, x) in enumerate(zip(snapshots.times, snapshots.samples, strict=True))
    ]


def assert_same(a, b):
    np.testing.assert_array_equal(a.times, b.times)
    for name in ("samples", "weights", "conditions", "names"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        for u, v in zip(x or (), y or (), strict=True):
            assert u.dtype == v.dtype or name in ("names", "conditions")
            np.testing.assert_array_equal(u, v)
    np.testing.assert_array_equal(a.masses, b.masses)
    assert a.features == b.features


# --- construction ---


def test_times_are_sorted_with_all_that_belongs_to_them():
    snapshots = Snapshots(
        times=[4, 0],
        samples=[np.full((1, 2), 4.0), np.zeros((2, 2))],
        masses=[40, 10],
        weights=[[4], [1, 2]],
        conditions=[["d"], ["a", "b"]],
        names=[["four"], ["zero", "nil"]],
    )
    assert snapshots.times.tolist() == [0, 4]
    assert snapshots.sizes == (2, 1)
    assert snapshots.masses.tolist() == [10, 40]
    assert snapshots.at(4).tolist() == [[4, 4]]
    assert [c.tolist() for c in snapshots.conditions] == [["a", "b"], ["d"]]
    assert [n.tolist() for n in snapshots.names] == [["zero", "nil"], ["four"]]
    np.testing.assert_allclose(snapshots.weights_at(0), [1 / 3, 2 / 3])


def test_unequal_gaps_stay_unequal():
    assert make(times=[0.25, 3, 90]).times.tolist() == [0.25, 3, 90]


def test_lists_frames_sparse_matrices_and_tensors_are_samples():
    x = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    for sample in (
        x.tolist(),
        pd.DataFrame(x),
        sp.csr_matrix(x),
        torch.tensor(x, requires_grad=True),
    ):
        np.testing.assert_array_equal(Snapshots(times=[0, 1], samples=[sample, sample]).at(0), x)


def test_float64_stays_and_everything_else_becomes_float32():
    for kind, kept in ((np.float64, np.float64), (np.float16, np.float32), (np.int64, np.float32)):
        samples = [np.ones((2, 1), kind)] * 2
        assert Snapshots(times=[0, 1], samples=samples).at(0).dtype == kept


def test_weights_are_uniform_where_none_are_given():
    np.testing.assert_allclose(make().weights_at(1), np.full(7, 1 / 7))


def test_the_input_is_not_changed():
    times, samples = np.array([2.0, 1.0]), [np.ones((2, 2)), np.zeros((3, 2))]
    Snapshots(times=times, samples=samples)
    assert times.tolist() == [2, 1]
    assert len(samples[0]) == 2


def test_the_repr_shows_times_sizes_and_masses():
    text = repr(make(masses=[1, 2, 3.5], weights=[np.ones(n) for n in (5, 7, 6)]))
    assert text.splitlines() == [
        "Snapshots: 3 times, 18 samples x 2 features",
        "    time 0  5, mass 1",
        "    time 1  7, mass 2",
        "    time 4  6, mass 3.5",
        "    with    weights",
    ]


def test_times_that_agree_to_six_digits_keep_a_line_each():
    close = Snapshots(times=[1.0, 1.00000001], samples=[np.ones((2, 1)), np.ones((3, 1))])
    assert repr(close).splitlines()[1:] == ["    time 1           2", "    time 1.00000001  3"]


def test_a_notebook_shows_what_a_terminal_does():
    page = make(masses=[1, 2, 3.5])._repr_html_()
    assert "<b>Snapshots: 3 times, 18 samples x 2 features</b>" in page
    assert "<b>time 4</b></td><td style='text-align:left'>6, mass 3.5</td>" in page


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (
            {"times": [0, 1]},
            ValueError,
            "times has 2 entries but samples has 3; give one sample per time",
        ),
        (
            {"times": [0], "samples": [np.ones((2, 2))]},
            ValueError,
            r"need at least two times, found \[0.0\]",
        ),
        (
            {"times": [0, 1, 1]},
            ValueError,
            r"times must differ, found \[0.0, 1.0, 1.0\]; join the samples",
        ),
        ({"times": [0, 1, np.nan]}, ValueError, "'times' has 1 missing or infinite times"),
        (
            {"times": ["day 0", "day 1", "day 2"]},
            ValueError,
            "'times' holds text .'day 0'.; times must be numbers",
        ),
        (
            {"times": [[0, 1, 2]]},
            ValueError,
            r"'times' must be a flat list of numbers, found shape \(1, 3\)",
        ),
        (
            {"samples": [np.ones((2, 2)), np.ones((0, 2)), np.ones((2, 2))]},
            ValueError,
            "sample at time 1 is empty",
        ),
        (
            {"samples": [np.ones(2), np.ones(2), np.ones(2)]},
            ValueError,
            r"time 0 has shape \(2,\); it must be",
        ),
        (
            {"samples": [np.ones((2, 0))] * 3},
            ValueError,
            r"time 0 has shape \(2, 0\); it must be \(samples, features\)",
        ),
        (
            {"samples": [np.ones((2, 2)), np.ones((2, 3)), np.ones((2, 2))]},
            ValueError,
            r"number of features: \[2, 3\]",
        ),
        (
            {"samples": [[[1, 2], [3]]] * 3},
            ValueError,
            "sample at time 0 must be a rectangular array",
        ),
        (
            {"samples": [[["a", "b"]]] * 3},
            TypeError,
            "sample at time 0 holds .* values; it must hold numbers",
        ),
        (
            {"samples": [np.ones((2, 2), complex)] * 3},
            TypeError,
            "sample at time 0 holds complex values",
        ),
        (
            {"samples": [np.array([["a", 1]], object)] * 3},
            TypeError,
            "sample at time 0 holds mixed",
        ),
        (
            {"masses": [1, 2]},
            ValueError,
            r"masses has shape \(2,\); give one mass for each of the 3 times",
        ),
        (
            {"masses": [1, 0, 2]},
            ValueError,
            r"masses must be positive and finite, found \[1.0, 0.0, 2.0\]",
        ),
        ({"masses": [1, np.nan, 2]}, ValueError, "masses must be positive and finite"),
        ({"masses": ["a", "b", "c"]}, ValueError, "masses must be numbers, found"),
        ({"weights": [np.ones(5)]}, ValueError, "weights has 1 entries but there are 3 times"),
        (
            {"weights": [np.ones(5), np.ones(6), np.ones(6)]},
            ValueError,
            r"weights at time 1 has shape \(6,\) but there are 7",
        ),
        (
            {"weights": [np.ones(5), -np.ones(7), np.ones(6)]},
            ValueError,
            "weights at time 1 must be finite, non-negative",
        ),
        (
            {"weights": [np.ones(5), np.zeros(7), np.ones(6)]},
            ValueError,
            "weights at time 1 .* not all zero",
        ),
        (
            {"weights": [np.ones(5), np.full(7, np.nan), np.ones(6)]},
            ValueError,
            "weights at time 1 must be finite",
        ),
        (
            {"weights": [["a"] * 5, np.ones(7), np.ones(6)]},
            ValueError,
            "weights at time 0 must be numbers",
        ),
        ({"features": ["g"]}, ValueError, "features names 1 feature but the samples have 2"),
    ],
)
def test_input_that_cannot_be_is_named(fields, error, message):
    with pytest.raises(error, match=message):
        make(**fields)


# --- from AnnData ---


def test_cells_are_grouped_by_time_with_their_names_and_keys():
    adata = cells(
        mass=np.repeat([[1.0, 5.0, 2.0]], 10, 0).ravel(),
        w=np.arange(30.0) + 1,
        dose=["hi", "lo"] * 15,
    )
    got = Snapshots.from_anndata(
        adata,
        time_key="day",
        use_rep="X_pca",
        mass_key="mass",
        weight_key="w",
        condition_key="dose",
    )
    assert got.times.tolist() == [0, 2, 3]
    assert got.masses.tolist() == [1, 5, 2]
    for k, t in enumerate(got.times):
        rows = np.flatnonzero(adata.obs["day"] == t)
        np.testing.assert_array_equal(got.samples[k], adata.obsm["X_pca"][rows])
        np.testing.assert_array_equal(got.weights[k], adata.obs["w"].iloc[rows])
        assert got.conditions[k].tolist() == adata.obs["dose"].iloc[rows].tolist()
        assert got.names[k].tolist() == adata.obs_names[rows].tolist()
    assert got.features == ("PCA1", "PCA2")
    assert got.source == {
        "time_key": "day",
        "use_rep": "X_pca",
        "mass_key": "mass",
        "weight_key": "w",
        "condition_key": "dose",
    }


def test_x_sparse_x_views_and_frames_give_the_same_snapshots():
    adata = cells()
    wanted = Snapshots.from_anndata(adata, time_key="day", use_rep="X")
    sparse = adata.copy()
    sparse.X = sp.csr_matrix(adata.X)
    double = anndata.concat([adata, adata], index_unique="-")
    view = double[:30]
    view.obs_names = adata.obs_names
    adata.obsm["frame"] = pd.DataFrame(adata.X, index=adata.obs_names, columns=adata.var_names)
    for other, rep in ((sparse, "X"), (view, "X"), (adata, "frame")):
        assert_same(Snapshots.from_anndata(other, time_key="day", use_rep=rep), wanted)


@QUICK
@given(order=st.permutations(range(30)))
def test_the_order_of_cells_does_not_matter(order):
    adata = cells(w=np.arange(30.0) + 1, dose=list("abc") * 10)
    keys = {"time_key": "day", "weight_key": "w", "condition_key": "dose"}
    assert as_sets(Snapshots.from_anndata(adata[order], **keys)) == as_sets(
        Snapshots.from_anndata(adata, **keys)
    )


@QUICK
@given(
    times=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5, unique_by=lambda t: round(t, 3)),
    kind=st.sampled_from(["float", "text", "category", "object"]),
)
def test_times_keep_their_units(times, kind):
    adata = cells(times=times)
    days = adata.obs["day"].astype(float)
    column = {
        "float": days,
        "text": days.map(repr),
        "category": days.astype("category"),
        "object": days.astype(object),
    }
    adata.obs["day"] = column[kind]
    found = Snapshots.from_anndata(adata, time_key="day").times
    np.testing.assert_allclose(found, np.sort(times), rtol=1e-15)


@QUICK
@given(
    gone=st.sets(st.sampled_from([0, 2, 3, 7, 8]), min_size=1, max_size=3),
    as_rep=st.sampled_from(["X", "X_pca"]),
)
def test_held_out_cells_are_never_looked_at(gone, as_rep):
    times = (0, 2, 3, 7, 8)
    adata = cells(n=50, times=times, mass=1.0, w=1.0)
    keys = {"time_key": "day", "use_rep": as_rep, "mass_key": "mass", "weight_key": "w"}
    wanted = Snapshots.from_anndata(adata[~adata.obs["day"].isin(gone)].copy(), **keys)
    spoilt = adata.copy()
    held = spoilt.obs["day"].isin(gone).to_numpy()
    spoilt.X[held] = np.nan
    spoilt.obsm["X_pca"][held] = np.inf
    spoilt.obs["mass"] = np.where(held, "nobody knows", "1")
    spoilt.obs.loc[held, "w"] = -1
    assert_same(Snapshots.from_anndata(spoilt, **keys, hold_out=gone).check_finite(), wanted)


def test_a_time_held_out_of_snapshots_leaves_the_others_as_they_were():
    full = make(
        samples=[np.ones((5, 2)), np.full((7, 2), np.nan), np.zeros((6, 2))], masses=[1, 2, 3]
    )
    kept = full.without(1).check_finite()
    assert kept.times.tolist() == [0, 4]
    assert kept.masses.tolist() == [1, 3]
    with pytest.raises(
        ValueError,
        match=r"samples at time 1 has NaN or infinite values in 7 of 7 rows \(first: 'row 0'\)",
    ):
        full.check_finite()


def test_a_float32_time_is_found_by_the_number_it_shows():
    adata = cells(times=np.array([0.1, 0.2, 0.4], dtype=np.float32))
    held = Snapshots.from_anndata(adata, time_key="day", hold_out=0.2)
    np.testing.assert_allclose(held.times, [0.1, 0.4], rtol=1e-6)
    assert held.index(0.4) == 1


def test_a_nan_is_named_by_its_cell():
    adata = cells()
    adata.obsm["X_pca"][4, 1] = np.nan
    snapshots = Snapshots.from_anndata(adata, time_key="day")
    with pytest.raises(
        ValueError, match=r"X_pca at time 2 has NaN .* in 1 of 10 rows \(first: 'c4'\)"
    ):
        snapshots.check_finite()


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"time_key": "dya"}, KeyError, "time_key 'dya' is not in adata.obs; did you mean 'day'"),
        ({"time_key": None}, KeyError, "time_key is needed for an AnnData"),
        (
            {"time_key": "one"},
            ValueError,
            r"need at least two times in adata.obs\['one'\], found \[7.0\]",
        ),
        (
            {"use_rep": "X_umap"},
            KeyError,
            "use_rep 'X_umap' is not in adata.obsm; there are 'X_pca', 'X'",
        ),
        ({"mass_key": "mas"}, KeyError, "mass_key 'mas' is not in adata.obs; did you mean 'mass'"),
        (
            {"mass_key": "mass"},
            ValueError,
            r"mass_key 'mass' has several values at time 0 \(0 to 27\); give one per time",
        ),
        ({"mass_key": "text"}, ValueError, "mass_key 'text' must hold numbers, found 'x'"),
        ({"mass_key": "zero"}, ValueError, "masses must be positive and finite"),
        ({"weight_key": "negative"}, ValueError, "weights at time 0 must be finite, non-negative"),
        ({"weight_key": "text"}, ValueError, "weight_key 'text' must hold numbers, found 'x'"),
        ({"weight_key": "gap"}, ValueError, "weights at time 0 must be finite"),
        ({"condition_key": "drug"}, KeyError, "condition_key 'drug' is not in adata.obs"),
        ({"hold_out": 5}, ValueError, "no snapshot at time 5; the times are 0, 2, 3"),
        (
            {"hold_out": [0, 2]},
            ValueError,
            r"need at least two times in adata.obs\['day'\], found \[3.0\]",
        ),
        (
            {"hold_out": "day 2"},
            ValueError,
            "'hold_out .day.' holds text .'day 2'.; times must be numbers",
        ),
        ({"hold_out": True}, ValueError, "'hold_out .day.' holds boolean values"),
    ],
)
def test_a_key_or_value_that_cannot_be_is_named(keys, error, message):
    adata = cells(one=7, mass=np.arange(30), text="x", zero=0.0, negative=-1.0)
    adata.obs["gap"] = pd.array([None] + [1.0] * 29, dtype="Float64")
    with pytest.raises(error, match=message):
        Snapshots.from_anndata(adata, **({"time_key": "day"} | keys))


def test_an_anndata_without_cells_has_no_times():
    empty = anndata.AnnData(np.zeros((0, 2)), obs=pd.DataFrame({"day": np.zeros(0)}))
    with pytest.raises(ValueError, match="need at least two times"):
        Snapshots.from_anndata(empty, time_key="day")


def test_raw_counts_in_x_are_warned_about_and_a_representation_is_not():
    adata = cells()
    adata.X = np.random.default_rng(0).poisson(20, adata.shape).astype(np.float32)
    with pytest.warns(UserWarning, match="adata.X looks like raw counts"):
        Snapshots.from_anndata(adata, time_key="day", use_rep="X")
    Snapshots.from_anndata(adata, time_key="day")


class Unreadable:
    """Stands where X is and fails when its values are asked for."""

    shape, ndim, dtype = (30, 4), 2, np.dtype(np.float32)

    def __getitem__(self, rows):
        raise AssertionError("X was read")

    __array__ = __getitem__


def test_x_of_a_backed_file_is_never_read_where_the_representation_is_in_obsm(
    tmp_path, monkeypatch
):
    adata = cells()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    np.testing.assert_array_equal(
        Snapshots.from_anndata(backed, time_key="day", use_rep="X").at(2),
        Snapshots.from_anndata(adata, time_key="day", use_rep="X").at(2),
    )
    monkeypatch.setattr(anndata.AnnData, "X", property(lambda self: Unreadable()))
    with pytest.raises(AssertionError, match="X was read"):
        Snapshots.from_anndata(backed, time_key="day", use_rep="X")
    assert_same(
        Snapshots.from_anndata(backed, time_key="day"),
        Snapshots.from_anndata(adata, time_key="day"),
    )


def test_anndata_is_left_as_it_was():
    adata = cells()
    before = adata.copy()
    Snapshots.from_anndata(adata, time_key="day", hold_out=2)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    np.testing.assert_array_equal(adata.X, before.X)


@QUICK
@given(seed=st.integers(0, 1000), with_extras=st.booleans())
def test_anndata_round_trip_keeps_everything(seed, with_extras):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, 3)
    extras = {
        "masses": rng.random(3) + 0.1,
        "weights": [rng.random(n) + 0.1 for n in sizes],
        "conditions": [rng.choice(["a", "b"], n) for n in sizes],
    }
    names = [np.array([f"{k}-{i}" for i in range(n)], dtype=object) for k, n in enumerate(sizes)]
    given = make(
        samples=[rng.normal(size=(n, 2)) for n in sizes],
        names=names,
        features=["g", "h"],
        **(extras if with_extras else {}),
    )
    keys = (
        {"mass_key": "mass", "weight_key": "weight", "condition_key": "condition"}
        if with_extras
        else {}
    )
    assert_same(
        Snapshots.from_anndata(given.to_anndata(), time_key="time", use_rep="X", **keys), given
    )


# --- selection ---


@QUICK
@given(
    sizes=st.lists(st.integers(4, 40), min_size=2, max_size=4),
    fraction=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_a_split_is_a_partition_with_enough_on_either_side(sizes, fraction, seed):
    samples = [np.arange(n, dtype=float)[:, None] + 100 * k for k, n in enumerate(sizes)]
    whole = Snapshots(times=range(len(sizes)), samples=samples, masses=np.ones(len(sizes)))
    first, second = whole.split(fraction, seed)
    for k, x in enumerate(samples):
        parts = [first.samples[k], second.samples[k]]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts), 0), x)
        assert min(map(len, parts)) >= 2
        assert abs(len(parts[1]) - fraction * len(x)) <= 2
    again = whole.split(fraction, seed)[1]
    assert as_sets(again) == as_sets(second)


def test_a_split_takes_weights_and_names_along():
    whole = Snapshots(
        times=[0, 1],
        samples=[np.arange(10.0)[:, None]] * 2,
        weights=[np.arange(10.0) + 1] * 2,
        names=[np.arange(10).astype(str)] * 2,
    )
    for part in whole.split(0.4, seed=3):
        for k in (0, 1):
            np.testing.assert_array_equal(part.weights[k], part.samples[k][:, 0] + 1)
            np.testing.assert_array_equal(part.names[k].astype(float), part.samples[k][:, 0])


def test_a_single_sample_cannot_be_split():
    with pytest.raises(
        ValueError, match="time 1 has 1 sample, too few to split; .*validation_fraction=0"
    ):
        Snapshots(times=[0, 1], samples=[np.ones((9, 1)), np.ones((1, 1))]).split(0.1)


def test_a_subsample_holds_different_rows_of_the_snapshot():
    whole = Snapshots(times=[0, 1], samples=[np.arange(50.0)[:, None], np.arange(3.0)[:, None]])
    part = whole.subsample(10, seed=1)
    assert part.sizes == (10, 3)
    assert len(np.unique(part.at(0))) == 10
    assert set(part.at(0).ravel()) <= set(range(50))


def test_a_time_that_is_not_there_lists_those_that_are():
    with pytest.raises(ValueError, match="no snapshot at time 2; the times are 0, 1, 4"):
        make().at(2)
    with pytest.raises(
        ValueError, match=r"hold_out leaves \[4.0\]; at least two times must remain"
    ):
        make().without([0, 1])


@pytest.mark.parametrize("start", [0.0, 1e5, 1.7e9])
def test_every_snapshot_is_found_at_its_own_time_however_far_from_zero(start):
    times = start + np.array([0.0, 0.5, 60.0])
    data = Snapshots(times=times, samples=[np.full((2, 1), k) for k in range(3)])
    assert [data.at(t)[0, 0] for t in times] == [0, 1, 2]
    assert data.without(times[1]).times.tolist() == [times[0], times[2]]
    with pytest.raises(ValueError, match="no snapshot at time"):
        data.at(start + 30)


def test_a_time_in_single_precision_finds_its_snapshot():
    data = Snapshots(times=[0.1, 0.2, 0.3], samples=[np.full((2, 1), k) for k in range(3)])
    assert data.at(np.float32(0.3))[0, 0] == 2


def test_both_parts_of_a_split_carry_weight():
    weights = np.where(np.arange(60) % 10 == 0, 1.0, 0.0)
    data = Snapshots(times=[0, 1], samples=[np.arange(60.0)[:, None]] * 2, weights=[weights] * 2)
    first, second = data.split(0.1)
    assert all(w.sum() > 0 for part in (first, second) for w in part.weights)
    assert sorted([*first.at(0)[:, 0], *second.at(0)[:, 0]]) == list(range(60))
    one = Snapshots(times=[0, 1], samples=data.samples, weights=[np.eye(60)[0]] * 2)
    with pytest.raises(
        ValueError, match="time 0 has 1 sample of positive weight, too few to split"
    ):
        one.split(0.1)


def frames(*columns):
    rng = np.random.default_rng(0)
    level = {"a": 0, "b": 100, "c": -100}
    return [
        pd.DataFrame({name: level[name] + rng.normal(size=50) for name in names})
        for names in columns
    ]


def test_data_frames_are_read_by_the_names_of_their_columns():
    snapshots = Snapshots(times=[0, 1], samples=frames("ab", "ba"))
    assert snapshots.features == ("a", "b")
    for t in (0, 1):
        np.testing.assert_allclose(snapshots.at(t).mean(0), [0, 100], atol=1)
    chosen = Snapshots(times=[0, 1], samples=frames("abc", "cba"), features=["c", "a"])
    np.testing.assert_allclose(chosen.at(1).mean(0), [-100, 0], atol=1)


def test_data_frames_with_other_columns_or_beside_arrays_are_refused():
    with pytest.raises(ValueError, match="'c' is in only one of them"):
        Snapshots(times=[0, 1], samples=frames("ab", "abc"))
    with pytest.raises(ValueError, match="are a DataFrame and an array"):
        Snapshots(times=[0, 1], samples=[frames("ab")[0], np.zeros((5, 2))])


def test_features_of_one_name_are_refused_before_anything_is_learned():
    adata = anndata.AnnData(np.zeros((4, 3)), obs=pd.DataFrame({"t": [0, 0, 1, 1]}))
    adata.var_names = ["Actb", "Actb", "Sox2"]
    with pytest.raises(ValueError, match="several features named 'Actb'.*var_names_make_unique"):
        Snapshots.from_anndata(adata, time_key="t")


def test_a_masked_entry_is_missing_and_refused_when_it_is_used():
    sample = np.ma.array([[1.0, 2.0], [3.0, 999.0]], mask=[[0, 0], [0, 1]])
    snapshots = Snapshots(times=[0, 1], samples=[sample, sample])
    assert np.isnan(snapshots.at(0)[1, 1])
    with pytest.raises(ValueError, match="NaN or infinite values in 1 of 2 rows"):
        snapshots.check_finite()
    with pytest.raises(ValueError, match="weights at time 0 must be finite"):
        Snapshots(times=[0, 1], samples=[np.zeros((2, 1))] * 2, weights=[sample[1]] * 2)
    with pytest.raises(ValueError, match="conditions at time 0 is missing in 1 of 2 rows"):
        Snapshots(times=[0, 1], samples=[np.zeros((2, 1))] * 2, conditions=[sample[1]] * 2)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pd.Categorical([101, 7]), ["101", "7"]),
        (pd.Categorical([True, False]), ["True", "False"]),
        ([True, False], ["True", "False"]),
        (["10", "1"], ["10", "1"]),
        ([10, 1], [10, 1]),
        (np.array([0.5, 1], np.float32), [0.5, 1]),
    ],
)
def test_categories_truth_values_and_text_are_names_and_numbers_are_amounts(labels, expected):
    snapshots = Snapshots(times=[0, 1], samples=[np.zeros((2, 1))] * 2, conditions=[labels] * 2)
    assert snapshots.conditions[0].tolist() == expected
    adata = anndata.AnnData(np.zeros((4, 1)), obs=pd.DataFrame({"t": [0, 0, 1, 1]}))
    adata.obs["dose"] = pd.concat([pd.Series(labels)] * 2).array
    read = Snapshots.from_anndata(adata, time_key="t", condition_key="dose")
    assert read.conditions[1].tolist() == expected
    back = Snapshots.from_anndata(read.to_anndata(), time_key="time", condition_key="condition")
    assert back.conditions[1].tolist() == expected


def test_a_mass_that_is_missing_in_some_cells_is_counted():
    obs = pd.DataFrame({"t": [0, 0, 1, 1], "mass": [1, np.nan, 2, 2]}, index=list("abcd"))
    adata = anndata.AnnData(np.zeros((4, 1)), obs=obs)
    with pytest.raises(ValueError, match="'mass' is missing in 1 of 2 rows at time 0"):
        Snapshots.from_anndata(adata, time_key="t", mass_key="mass")


def test_times_of_cells_that_differ_by_rounding_are_one_snapshot():
    times = [0, 3, 0.1 * 3 * 10, 3, 4, np.float32(4)]
    adata = anndata.AnnData(np.zeros((6, 1)), obs=pd.DataFrame({"t": times}))
    assert Snapshots.from_anndata(adata, time_key="t").sizes == (1, 3, 2)
    with pytest.raises(ValueError, match="times must differ"):
        Snapshots(times=[0, 3, 0.1 * 3 * 10], samples=[np.zeros((2, 1))] * 3)
