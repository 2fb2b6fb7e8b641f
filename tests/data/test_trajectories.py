"""Trajectories: weights, selection, ancestry, doors and files."""

import dataclasses
import json
import math
import subprocess
import sys

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.trajectories import Trajectories

SUFFIXES = ["h5ad", "zarr", "nc", "h5"]


def make(
    n=6,
    T=4,
    d=3,
    dtype=torch.float32,
    weighted=True,
    resampled=False,
    discrete=False,
    seed=0,
    times=None,
):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(n, T, d, generator=generator, dtype=torch.float64).to(dtype)
    if discrete:
        states = torch.randint(0, 5, (n, T), generator=generator).to(dtype)
    parents = None
    if resampled:
        parents = torch.randint(0, n, (n, T), generator=generator)
        parents[:, 0] = torch.arange(n)
    return Trajectories(
        states=states,
        times=list(range(T)) if times is None else times,
        log_weights=torch.randn(n, T, generator=generator) if weighted else None,
        parents=parents,
        origin=[f"cell-{i}" for i in range(n)],
        attrs={
            "seed": 3,
            "solver": "heun",
            "noise": None,
            "settings": {"steps": [1, 2.5], "on": True},
        },
    )


def assert_same(a, b):
    for name in ("states", "times", "log_weights", "status", "parents"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            assert x.dtype == y.dtype, name
            torch.testing.assert_close(x, y, rtol=0, atol=0, equal_nan=True)
    assert a.origin.tolist() == b.origin.tolist()
    assert (a.features, a.attrs) == (b.features, b.attrs)


# --- what it holds ---


def test_tensors_are_kept_as_given_with_their_gradient():
    states = torch.zeros(2, 3, 1, requires_grad=True)
    traj = Trajectories(states=states, times=[0, 1, 2])
    assert traj.states is states
    (traj[1:].at(0.5) * 3).sum().backward()
    assert states.grad.flatten().tolist() == [0, 0, 0, 1.5, 1.5, 0]


def test_defaults_name_paths_and_features_and_mark_all_paths_good():
    traj = Trajectories(states=torch.zeros(2, 3, 2), times=[0, 1, 2])
    assert traj.features == ("x0", "x1")
    assert traj.origin.tolist() == ["0", "1"]
    assert traj.status.tolist() == [0, 0]
    assert traj.status.dtype == torch.int8
    assert traj.times.dtype == torch.float64
    assert (traj.n_paths, traj.n_times, traj.n_features, len(traj)) == (2, 3, 2, 2)


def test_log_weights_are_float64_whatever_was_given():
    traj = Trajectories(states=torch.zeros(2, 1, 1), times=[0], log_weights=torch.zeros(2, 1))
    assert traj.log_weights.dtype == torch.float64


def test_attrs_are_plain_values_before_any_saving():
    attrs = {"a": np.float32(0.5), "b": (1, 2), "c": torch.tensor([1, 2])}
    traj = Trajectories(states=torch.zeros(1, 1, 1), times=[0], attrs=attrs)
    assert traj.attrs == {"a": 0.5, "b": [1, 2], "c": [1, 2]}
    assert traj.attrs == json.loads(json.dumps(traj.attrs))


def test_importing_trajectories_loads_no_slow_library():
    code = "import sys, dyninfer.data.trajectories, dyninfer.data.paths; print([m for m in ('scanpy', 'anndata', 'xarray', 'ot') if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"


# --- weights ---


def test_weights_ess_and_mass_match_their_definitions():
    traj = make()
    w = np.exp(traj.log_weights.numpy())
    np.testing.assert_allclose(traj.weights, w / w.sum(0))
    np.testing.assert_allclose(traj.ess, w.sum(0) ** 2 / (w**2).sum(0))
    np.testing.assert_allclose(traj.mass, w.mean(0))


def test_without_log_weights_all_paths_weigh_the_same():
    traj = make(n=5, weighted=False)
    np.testing.assert_allclose(traj.weights, 0.2)
    np.testing.assert_allclose(traj.ess, 5)
    np.testing.assert_allclose(traj.mass, 1)


def test_weights_survive_log_weights_beyond_the_range_of_exp():
    log_weights = torch.tensor([[1000.0], [1000.0 + np.log(3)]], dtype=torch.float64)
    traj = Trajectories(states=torch.zeros(2, 1, 1), times=[0], log_weights=log_weights)
    np.testing.assert_allclose(traj.weights[:, 0], [0.25, 0.75], rtol=1e-12)


def test_mean_and_std_are_the_weighted_ones():
    traj = make()
    x, w = traj.states.double().numpy(), traj.weights.numpy()
    mean = np.stack([np.average(x[:, k], axis=0, weights=w[:, k]) for k in range(4)])
    variance = np.stack(
        [np.average((x[:, k] - mean[k]) ** 2, axis=0, weights=w[:, k]) for k in range(4)]
    )
    np.testing.assert_allclose(traj.mean(), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(traj.std(), np.sqrt(variance), rtol=1e-5)


def test_mean_of_a_large_float32_population_does_not_lose_digits():
    states = torch.full((200_000, 1, 1), 1000.1)
    assert abs(float(Trajectories(states=states, times=[0]).mean()) - float(states[0, 0, 0])) < 1e-4


def test_occupation_counts_weighted_states():
    log_weights = torch.tensor([[0.0], [0.0], [np.log(2.0)]])
    traj = Trajectories(states=torch.tensor([[0], [2], [2]]), times=[0], log_weights=log_weights)
    np.testing.assert_allclose(traj.occupation(), [[0.25, 0, 0.75]], rtol=1e-6)
    assert traj.occupation(5).shape == (1, 5)


def test_diverged_paths_carry_no_weight():
    states = torch.tensor([[[1.0]], [[3.0]], [[np.nan]]])
    traj = Trajectories(
        states=states, times=[0], log_weights=torch.zeros(3, 1), status=torch.tensor([0, 0, 1])
    )
    assert traj.weights[:, 0].tolist() == [0.5, 0.5, 0]
    assert (float(traj.mean()), float(traj.std()), float(traj.mass), float(traj.ess)) == (
        2,
        1,
        1,
        2,
    )
    assert not traj.resample(50).states.isnan().any()
    assert traj.weights_at(0)[2] == 0


# --- times in between ---


def test_at_a_stored_time_returns_the_stored_states():
    traj = make(times=[0, 0.1, 0.3, 0.7])
    assert torch.equal(traj.at(0.1 + 0.2), traj.states[:, 2])
    torch.testing.assert_close(traj.weights_at(0.3), traj.weights[:, 2], rtol=1e-12, atol=0)


def test_at_interpolates_a_straight_path_exactly():
    times = torch.tensor([5.0, 2.0, 1.0])
    start, slope = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.5], [-3.0]])
    traj = Trajectories(states=(start + slope * times)[..., None], times=times)
    for t in (4.4, 1.3):
        torch.testing.assert_close(traj.at(t), start + slope * t)


def test_weights_in_between_follow_constant_growth_exactly():
    growth, times = torch.tensor([[0.0], [0.7]], dtype=torch.float64), torch.tensor([0.0, 2.0, 3.0])
    traj = Trajectories(states=torch.zeros(2, 3, 1), times=times, log_weights=growth * times)
    expected = torch.exp(growth[:, 0] * 1.3)
    torch.testing.assert_close(traj.weights_at(1.3), expected / expected.sum())


def test_dead_paths_stay_dead_in_between():
    traj = Trajectories(
        states=torch.zeros(2, 2, 1),
        times=[0, 1],
        log_weights=torch.tensor([[0, 0], [-torch.inf, -torch.inf]]),
    )
    assert traj.weights_at(0.5).tolist() == [1, 0]


@pytest.mark.parametrize(("times", "expected"), [([0, 1, 2], [4, 4]), ([2, 1, 0], [0, 0])])
def test_integer_states_hold_the_value_of_the_earlier_time(times, expected):
    traj = Trajectories(states=torch.tensor([[3, 4, 0], [3, 4, 0]]), times=times)
    assert traj.at(1.5 if times[0] == 0 else 0.5).tolist() == expected


def test_at_joins_resampled_rows_to_their_parents():
    traj = Trajectories(
        states=torch.tensor([[[0.0], [10.0]], [[100.0], [20.0]]]),
        times=[0, 1],
        parents=torch.tensor([[0, 1], [1, 1]]),
    )
    assert traj.at(0.5).flatten().tolist() == [55, 60]


def test_resampled_rows_start_from_the_mean_weight():
    log_weights = torch.tensor([[0.0, 0.0], [np.log(3.0), np.log(4.0)]], dtype=torch.float64)
    traj = Trajectories(
        states=torch.zeros(2, 2, 1),
        times=[0, 1],
        log_weights=log_weights,
        parents=torch.tensor([[0, 1], [1, 1]]),
    )
    middle = np.array(
        [np.sqrt(2 * 1), np.sqrt(2 * 4)]
    )  # geometric mean of the mean weight 2 and the later one
    np.testing.assert_allclose(traj.weights_at(0.5), middle / middle.sum())


@pytest.mark.parametrize("t", [-0.1, 3.1, float("nan")])
def test_at_outside_the_range_names_the_range(t):
    with pytest.raises(ValueError, match="outside the simulated range 0 to 3"):
        make().at(t)
    with pytest.raises(ValueError, match="outside the simulated range 0 to 3"):
        make().weights_at(t)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=8, unique=True),
    st.floats(0, 1),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_at_agrees_with_numpy_interp(times, share, descending):
    times = np.sort(times)
    if np.diff(times).min() < 1e-3:
        times = np.arange(len(times)) * 1.5
    values = np.random.default_rng(0).normal(size=(3, len(times)))
    t = times[0] + share * (times[-1] - times[0])
    order = slice(None, None, -1) if descending else slice(None)
    traj = Trajectories(
        states=torch.tensor(values[:, order, None].copy()), times=times[order].copy()
    )
    expected = [np.interp(t, times, v) for v in values]
    np.testing.assert_allclose(traj.at(t)[:, 0], expected, rtol=1e-6, atol=1e-5)


# --- selection ---


@pytest.mark.parametrize(
    "index",
    [
        2,
        -1,
        slice(1, 4),
        slice(None, None, -2),
        [3, 0, 3],
        np.array([1, 4]),
        torch.tensor([5, 2]),
        np.array([True, False, True, False, False, True]),
        torch.tensor([False, True, True, False, False, False]),
    ],
)
def test_selection_of_paths_agrees_with_numpy_and_keeps_dimensions(index):
    traj = make()
    rows = np.atleast_1d(np.arange(6)[index.numpy() if isinstance(index, torch.Tensor) else index])
    chosen = traj[index]
    np.testing.assert_array_equal(chosen.states, traj.states.numpy()[rows])
    np.testing.assert_array_equal(chosen.log_weights, traj.log_weights.numpy()[rows])
    assert chosen.origin.tolist() == traj.origin[rows].tolist()
    assert chosen.attrs == traj.attrs


def test_selection_of_paths_and_times_together():
    chosen = make()[[4, 1], 1:3]
    torch.testing.assert_close(chosen.states, make().states[[4, 1], 1:3])
    assert chosen.times.tolist() == [1, 2]
    assert make()[:, -1].states.shape == (6, 1, 3)
    assert make()[:, ::-1].times.tolist() == [3, 2, 1, 0]


def test_a_slice_is_a_view():
    traj = make()
    assert traj[1:4].states.data_ptr() == traj.states[1].data_ptr()


@pytest.mark.parametrize("index", [6, [0, 9], [True, False], "a", 1.5])
def test_a_bad_selection_says_how_many_paths_there_are(index):
    with pytest.raises(IndexError, match="cannot select paths of 6"):
        make()[index]


def test_a_selection_of_nothing_is_refused():
    with pytest.raises(IndexError, match="leaves no path of 6"):
        make()[[]]
    with pytest.raises(IndexError, match="leaves no path of 6"):
        make()[10:]
    with pytest.raises(IndexError, match="leaves no time of 4"):
        make()[:, torch.zeros(4, dtype=torch.bool)]


# --- resampling and ancestry ---


def test_resampling_equalises_weights_at_its_time_and_keeps_mean_and_mass_at_all_times():
    generator = torch.Generator().manual_seed(0)
    growth = torch.rand(4000, 1, generator=generator, dtype=torch.float64)
    times = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    traj = Trajectories(
        states=growth[..., None].expand(-1, 3, 1), times=times, log_weights=growth * times
    )
    drawn = traj.resample(20_000, time=1.0, seed=1)
    assert drawn.n_paths == 20_000
    np.testing.assert_allclose(drawn.weights[:, 1], 1 / 20_000)
    mass = [1, np.e - 1, (np.e**2 - 1) / 2]  # ∫ exp(g t) dg over uniform growth g
    mean = [0.5, 1 / (np.e - 1), (np.e**2 + 1) / 4 / mass[2]]  # ∫ g exp(g t) dg / mass
    np.testing.assert_allclose(drawn.mass, mass, rtol=0.02)
    np.testing.assert_allclose(drawn.mean()[:, 0], mean, rtol=0.02)


def test_resampling_draws_each_path_as_often_as_its_weight_says():
    weights = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
    traj = Trajectories(
        states=torch.arange(4.0).reshape(4, 1, 1),
        times=[0],
        log_weights=weights.log()[:, None],
        origin=list("abcd"),
    )
    drawn = traj.resample(10, seed=5)
    assert np.bincount(drawn.states.flatten().int(), minlength=4).tolist() == [5, 3, 2, 0]
    assert "".join(drawn.origin) == "aaaaabbbcc"


def test_resampling_is_unbiased_over_seeds():
    weights = torch.tensor([0.37, 0.63], dtype=torch.float64)
    traj = Trajectories(
        states=torch.arange(2.0).reshape(2, 1, 1), times=[0], log_weights=weights.log()[:, None]
    )
    share = np.mean([float(traj.resample(1, seed=s).states) for s in range(2000)])
    assert abs(share - 0.63) < 4 * np.sqrt(0.63 * 0.37 / 2000)


def test_resampling_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    make().resample(3)
    assert torch.equal(before, torch.get_rng_state())


def test_resampling_a_population_without_mass_is_refused():
    traj = Trajectories(
        states=torch.zeros(2, 1, 1), times=[4], log_weights=torch.full((2, 1), -torch.inf)
    )
    with pytest.raises(ValueError, match="no path has any mass left at time 4"):
        traj.resample()


def test_resampling_to_no_paths_is_refused():
    with pytest.raises(ValueError, match="n_paths must be at least 1, found 0"):
        make().resample(0)


def test_resampled_rows_can_be_drawn_at_the_last_time_only():
    traj = make(resampled=True)
    with pytest.raises(ValueError, match="cut first"):
        traj.resample(time=1.0)
    assert traj.resample().parents is None


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_lineages_follow_parents_back_row_by_row(n, T, seed):
    traj = make(n=n, T=T, resampled=True, seed=seed)
    lines = traj.lineages()
    assert lines.parents is None
    for i in range(n):
        row = i
        for k in range(T - 1, -1, -1):
            assert torch.equal(lines.states[i, k], traj.states[row, k])
            assert lines.log_weights[i, k] == traj.log_weights[i, -1]
            founder = row
            row = int(traj.parents[row, k])
        assert traj.founders()[i, -1] == founder
        assert lines.origin[i] == traj.origin[founder]


@given(st.integers(1, 5), st.integers(0, 1000), st.sets(st.integers(0, 5), min_size=1))
@settings(max_examples=40, deadline=None)
def test_leaving_times_out_keeps_the_ancestral_lines(n, seed, kept):
    traj, kept = make(n=n, T=6, resampled=True, seed=seed), sorted({*kept, 5})
    thin = traj[:, kept]
    torch.testing.assert_close(thin.lineages().states, traj.lineages().states[:, kept])
    assert thin.lineages().origin.tolist() == traj.lineages().origin.tolist()


def test_choosing_resampled_paths_chooses_ancestral_lines():
    traj = make(resampled=True)
    torch.testing.assert_close(traj[[2, 0]].states, traj.lineages().states[[2, 0]])


def test_times_of_resampled_trajectories_keep_their_order():
    with pytest.raises(ValueError, match="in their own order only"):
        make(resampled=True)[:, ::-1]


def test_without_resampling_lineages_are_the_paths_and_founders_the_rows():
    traj = make()
    assert traj.lineages() is traj
    assert torch.equal(traj.founders(), torch.arange(6)[:, None].expand(6, 4))


# --- doors ---


def test_anndata_has_one_row_per_path_and_time():
    traj = make(resampled=True)
    adata = traj.to_anndata()
    assert adata.shape == (24, 3)
    assert list(adata.var_names) == list(traj.features)
    row = adata[(adata.obs["path"] == 4) & (adata.obs["time"] == 2.0)]
    np.testing.assert_array_equal(row.X[0], traj.states[4, 2])
    assert row.obs["log_weight"].item() == traj.log_weights[4, 2]
    assert row.obs["weight"].item() == traj.weights[4, 2]
    assert row.obs["parent"].item() == traj.parents[4, 2]
    founder = traj.parents[traj.parents[4, 2], 1]
    assert row.obs["origin"].item() == traj.origin[founder]
    assert json.loads(adata.uns["dyninfer_trajectories"]["attrs"]) == traj.attrs


def test_changing_the_anndata_in_place_does_not_change_the_trajectories():
    traj = make()
    before = traj.states.clone()
    traj.to_anndata().X[:] = 0
    assert torch.equal(traj.states, before)


def test_anndata_rows_may_come_back_in_any_order():
    traj = make(times=[3, 2, 1, 0.5])
    adata = traj.to_anndata()
    shuffled = adata[np.random.default_rng(0).permutation(24)]
    assert_same(traj, Trajectories.from_anndata(shuffled))


def test_whole_paths_times_and_features_of_the_anndata_may_be_left_out():
    traj, adata = make(), make().to_anndata()
    rows = adata.obs["path"].isin([1, 4]) & (adata.obs["time"] > 0)
    back = Trajectories.from_anndata(adata[rows, ["x2", "x0"]].copy())
    torch.testing.assert_close(back.states, traj.states[[1, 4], 1:][..., [2, 0]])
    assert back.features == ("x2", "x0")
    assert back.origin.tolist() == ["cell-1", "cell-4"]


def test_an_anndata_with_a_missing_row_is_refused():
    with pytest.raises(ValueError, match="23 rows for 6 paths and 4 times"):
        Trajectories.from_anndata(make().to_anndata()[1:])


def test_an_anndata_with_a_repeated_row_is_refused():
    adata = make().to_anndata()[[0, 0, *range(2, 24)]].copy()
    adata.obs_names_make_unique()
    with pytest.raises(ValueError, match="every path needs one row"):
        Trajectories.from_anndata(adata)


def test_an_anndata_with_a_time_that_is_not_its_own_is_refused():
    for odd in (-1e9, 1e9):
        adata = make().to_anndata()
        adata.obs.loc[adata.obs_names[3], "time"] = odd
        with pytest.raises(ValueError, match="every path needs one row"):
            Trajectories.from_anndata(adata)


def test_a_sparse_matrix_comes_back_and_text_or_two_runs_in_one_are_refused():
    traj = make()
    adata = traj.to_anndata()
    adata.X = sp.csr_matrix(adata.X)
    assert_same(Trajectories.from_anndata(adata), traj)
    with pytest.raises(ValueError, match="do not concatenate trajectories"):
        Trajectories.from_anndata(
            anndata.concat([adata, adata], uns_merge="same", index_unique="-")
        )
    adata.obs["time"] = adata.obs["time"].astype(str)
    with pytest.raises(TypeError, match="make the times numbers"):
        Trajectories.from_anndata(adata)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_origins_that_are_rows_come_back_as_rows(tmp_path, suffix):
    traj = Trajectories(states=torch.zeros(3, 2, 1), times=[0, 1], origin=np.array([2, 0, 2]))
    assert traj[1:].origin.tolist() == [0, 2]
    traj.save(tmp_path / f"run.{suffix}")
    back = Trajectories.load(tmp_path / f"run.{suffix}").origin
    assert back.dtype == np.int64
    assert back.tolist() == [2, 0, 2]


def test_a_list_of_times_is_kept_in_double_precision():
    times = [1e8, 1e8 + 1.3, 1e8 + 2.6]
    traj = Trajectories(states=torch.zeros(2, 3, 1), times=times)
    assert traj.times.tolist() == times
    with pytest.raises(ValueError, match="outside the simulated range"):
        traj.at(1e8 + 3)
    assert traj.at(np.float64(times[1])).shape == (2, 1)


def test_part_of_resampled_trajectories_is_refused_by_from_anndata():
    adata = make(resampled=True).to_anndata()
    with pytest.raises(ValueError, match="part of resampled trajectories"):
        Trajectories.from_anndata(adata[adata.obs["time"] > 1])


def test_an_anndata_of_cells_is_not_trajectories():
    import anndata

    with pytest.raises(KeyError, match="holds no trajectories"):
        Trajectories.from_anndata(anndata.AnnData(np.zeros((2, 2), dtype=np.float32)))


def test_xarray_has_named_dimensions_and_labels():
    data = make().to_xarray()
    assert dict(data.sizes) == {"path": 6, "time": 4, "feature": 3}
    chosen = data.states.sel(time=2.0, feature="x1").isel(path=3)
    assert float(chosen) == float(make().states[3, 2, 1])
    assert chosen.origin == "cell-3"


def test_xarray_of_something_else_is_not_trajectories():
    import xarray

    with pytest.raises(KeyError, match="holds no trajectories"):
        Trajectories.from_xarray(xarray.Dataset())


def test_snapshots_carry_weights_masses_and_names_in_ascending_order():
    traj = make(times=[3, 2, 1, 0.5])
    snapshots = traj.to_snapshots()
    assert isinstance(snapshots, Snapshots)
    assert snapshots.times.tolist() == [0.5, 1, 2, 3]
    np.testing.assert_array_equal(snapshots.at(0.5), traj.states[:, 3])
    np.testing.assert_allclose(snapshots.weights_at(2), traj.weights[:, 1])
    np.testing.assert_allclose(snapshots.masses, traj.mass.flip(0))
    assert snapshots.names[0].tolist() == traj.origin.tolist()
    assert snapshots.features == traj.features


def test_snapshots_leave_out_diverged_paths_and_need_no_weights():
    traj = Trajectories(states=torch.randn(3, 2, 1), times=[0, 1], status=torch.tensor([0, 1, 0]))
    snapshots = traj.to_snapshots()
    assert snapshots.sizes == (2, 2)
    assert snapshots.weights is None
    assert snapshots.masses is None


def test_integer_states_have_no_snapshots_mean_or_std():
    traj = make(discrete=True, dtype=torch.int64)
    for method in (traj.to_snapshots, traj.mean, traj.std):
        with pytest.raises(TypeError, match="integers"):
            method()
    with pytest.raises(TypeError, match="use mean"):
        make().occupation()


# --- files ---

KINDS = [
    {"dtype": torch.float32},
    {"dtype": torch.float64, "resampled": True, "times": [3, 2, 1, 0.1]},
    {"dtype": torch.bfloat16, "weighted": False},
    {"dtype": torch.int64, "discrete": True},
    {"dtype": torch.int8, "discrete": True, "weighted": False},
]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind["dtype"]))
def test_saving_and_loading_returns_every_field_exactly(tmp_path, suffix, kind):
    traj = make(**kind)
    traj.save(tmp_path / f"run.{suffix}")
    traj.save(tmp_path / f"run.{suffix}")  # over an older one
    assert_same(traj, Trajectories.load(tmp_path / f"run.{suffix}"))
    assert [p.name for p in tmp_path.iterdir()] == [f"run.{suffix}"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_diverged_states_survive_saving(tmp_path, suffix):
    states = torch.tensor([[[1.0]], [[torch.nan]], [[torch.inf]]])
    traj = Trajectories(
        states=states, times=[0.1], status=torch.tensor([0, 1, 1]), features=["gène / 1"]
    )
    traj.save(tmp_path / f"run.{suffix}")
    assert_same(traj, Trajectories.load(tmp_path / f"run.{suffix}"))


@given(
    n=st.integers(1, 12),
    T=st.integers(1, 11),
    d=st.integers(1, 3),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_anndata_and_xarray_round_trips_are_exact_for_any_size(n, T, d, weighted, seed):
    traj = make(n=n, T=T, d=d, weighted=weighted, seed=seed)
    assert_same(traj, Trajectories.from_anndata(traj.to_anndata()))
    assert_same(traj, Trajectories.from_xarray(traj.to_xarray()))


def test_an_unknown_suffix_lists_those_known(tmp_path):
    for act in (make().save, Trajectories.load):
        with pytest.raises(ValueError, match=r"run.csv.*\.h5ad, \.zarr, \.nc, \.h5"):
            act(tmp_path / "run.csv")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere' does not exist; make it first"):
        make().save(tmp_path / "nowhere" / "run.h5ad")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*run\.h5ad"):
        Trajectories.load(tmp_path / "run.h5ad")


def test_a_folder_of_other_things_is_not_overwritten(tmp_path):
    folder = tmp_path / "data.zarr"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds other files"):
        make().save(folder)
    assert (folder / "thesis.txt").read_text() == "years of work"
    (tmp_path / "file.zarr").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds other files"):
        make().save(tmp_path / "file.zarr")


@pytest.mark.parametrize("suffix", ["h5ad", "nc", "h5"])
def test_a_broken_file_is_a_sentence(tmp_path, suffix):
    (tmp_path / f"run.{suffix}").write_text("not data")
    with pytest.raises(ValueError, match="cannot be read as trajectories"):
        Trajectories.load(tmp_path / f"run.{suffix}")


def test_a_store_of_something_else_is_a_sentence(tmp_path):
    import zarr

    zarr.create_group(tmp_path / "group.zarr").create_array("x", data=np.zeros(3))
    with pytest.raises(ValueError, match="cannot be read as trajectories"):
        Trajectories.load(tmp_path / "group.zarr")


# --- refusals of the constructor ---


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"states": np.zeros((2, 2, 1))}, TypeError, "must be a torch tensor, got ndarray"),
        (
            {"states": torch.zeros(2, 2)},
            ValueError,
            r"float states must be \(path, time, feature\), got shape \(2, 2\)",
        ),
        (
            {"states": torch.zeros(2, 2, 1).int()},
            ValueError,
            r"integer states must be \(path, time\)",
        ),
        ({"states": torch.zeros(2, 2).bool()}, TypeError, "must be float or integer, got bool"),
        ({"states": torch.zeros(0, 2, 1)}, ValueError, "at least one path"),
        ({"times": [0, 1, 2]}, ValueError, r"times must be \(time,\) = \(2,\).*got shape \(3,\)"),
        ({"times": [1, 1]}, ValueError, "strictly ascending or strictly descending"),
        ({"times": [0, float("nan")]}, ValueError, "times must be finite"),
        (
            {"log_weights": torch.zeros(2)},
            ValueError,
            r"log_weights must be \(path, time\) = \(2, 2\)",
        ),
        ({"origin": ["a"]}, ValueError, r"origin must be \(path,\) = \(2,\)"),
        ({"status": torch.zeros(3)}, ValueError, r"status must be \(path,\) = \(2,\)"),
        ({"parents": torch.zeros(2, 3).long()}, ValueError, r"parents must be \(path, time\)"),
        ({"parents": torch.zeros(2, 2)}, TypeError, "parents must be int64, got float32"),
        ({"parents": torch.tensor([[0, 2], [1, 0]])}, ValueError, "row numbers from 0 to 1"),
        (
            {"parents": torch.tensor([[1, 0], [1, 0]])},
            ValueError,
            "rows at the first time have no earlier row",
        ),
        ({"features": ["a", "b"]}, ValueError, "features has 2 names for 1 feature of"),
        (
            {"states": torch.zeros(2, 2, 2), "features": ["a", "a"]},
            ValueError,
            "unique, found 'a' more than once",
        ),
        (
            {"attrs": {"model": object()}},
            TypeError,
            "attrs must hold plain values, found <object object",
        ),
    ],
)
def test_a_field_that_does_not_fit_is_refused_by_name(fields, error, message):
    with pytest.raises(error, match=message):
        Trajectories(**({"states": torch.zeros(2, 2, 1), "times": [0, 1]} | fields))


# --- pictures ---


def test_repr_says_sizes_times_mass_and_divergence():
    traj = Trajectories(
        states=torch.zeros(3, 2, 1),
        times=[4, 0.5],
        log_weights=torch.zeros(3, 2),
        status=torch.tensor([0, 0, 1]),
        attrs={"estimator": "ActionMatching"},
    )
    text = repr(traj)
    for part in (
        "3 paths x 2 times x 1 feature (float32, cpu)",
        "4 to 0.5",
        "mass",
        "2 to 2 of 3",
        "1 of 3 paths",
        "ActionMatching",
    ):
        assert part in text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind["dtype"]))
def test_notebook_view_is_well_formed_with_one_line_per_path(kind):
    from xml.etree import ElementTree

    root = ElementTree.fromstring(make(**kind)._repr_html_())
    assert len(list(root.iter("polyline"))) == 6


def test_notebook_view_of_many_diverged_paths_is_small_and_finite():
    states = torch.randn(5000, 300, 2)
    states[::2, 100:] = torch.inf
    html = Trajectories(
        states=states, times=torch.arange(300), features=["<a>", "b"], attrs={"x": "<i>"}
    )._repr_html_()
    assert len(html) < 60_000
    assert "<a>" not in html
    assert "<i>" not in html
    assert "nan" not in html.lower().split("<svg")[1].split("</svg>")[0]


# --- devices ---


def test_a_path_that_overflows_in_a_lower_precision_has_failed_from_there_on():
    traj = make(dtype=torch.float64)
    states = traj.states.clone()
    states[1, 1:, 0] = 1e39
    with pytest.warns(UserWarning, match="states of 1 of .* paths overflow in torch.float32"):
        single = dataclasses.replace(traj, states=states).to(dtype=torch.float32)
    assert single.status.tolist() == [0, 1] + [0] * (traj.n_paths - 2)
    assert single.states[1, 1:].isnan().all()
    assert torch.equal(single.states[1, 0], states[1, 0].float())


def test_to_changes_the_precision_of_states_only():
    traj = make(resampled=True).to(dtype=torch.float64)
    assert traj.states.dtype == traj.log_weights.dtype == traj.times.dtype == torch.float64
    assert (
        make(discrete=True, dtype=torch.int64).to("cpu", torch.float32).states.dtype == torch.int64
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "kind", [KINDS[0], KINDS[1], KINDS[3]], ids=["float", "resampled", "integer"]
)
def test_everything_works_on_the_gpu(tmp_path, kind):
    here, there = make(**kind), make(**kind).to("cuda")
    assert there.states.is_cuda
    torch.testing.assert_close(there.weights.cpu(), here.weights)
    torch.testing.assert_close(there.at(1.5).cpu(), here.at(1.5))
    torch.testing.assert_close(there.weights_at(1.5).cpu(), here.weights_at(1.5))
    assert_same(there.resample(9, seed=2).to("cpu"), here.resample(9, seed=2))
    assert_same(there[torch.tensor([3, 1], device="cuda"), 1:].to("cpu"), here[[3, 1], 1:])
    there.save(tmp_path / "run.zarr")
    assert_same(here, Trajectories.load(tmp_path / "run.zarr"))
    repr(there), there._repr_html_()


def test_a_mass_that_no_float_holds_is_a_sentence_and_its_logarithm_is_there():
    rows = [[0.0, 400.0, 1000.0], [0.0, 400.0, 1000.0 + math.log(3)]]
    log_weights = torch.tensor(rows, dtype=torch.float64)
    traj = Trajectories(states=torch.zeros(2, 3, 1), times=[0, 1, 2], log_weights=log_weights)
    np.testing.assert_allclose(traj.log_mass, [0, 400, 1000 + math.log(2)])
    for door in (lambda: traj.mass, traj.to_snapshots):
        with pytest.raises(ValueError, match=r"mass at time 2 is e\^1001, more than float64 holds"):
            door()
    assert "1 to e^1001" in repr(traj)
    np.testing.assert_allclose(traj[:, :2].mass, [1, math.exp(400)])
    # What matters to averages is relative, and stays.
    np.testing.assert_allclose(traj.weights[:, 2], [0.25, 0.75])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_state_between_two_times_is_on_the_line_from_the_parent_of_each_row(sign):
    # Rows change places before the second time, and all stem from row 0 at the third.
    parents = torch.tensor([[0, 1, 0], [1, 0, 0]])
    states = torch.tensor([[[1.0], [20.0], [300.0]], [[2.0], [10.0], [400.0]]])
    times = sign * torch.tensor([0.0, 1.0, 2.0])
    traj = Trajectories(states=states, times=times, parents=parents)
    assert traj.at(sign * 0.5)[:, 0].tolist() == [11.0, 5.5]
    assert traj.at(sign * 1.25)[:, 0].tolist() == [90.0, 115.0]
    assert traj.at(sign * 1.0)[:, 0].tolist() == [20.0, 10.0]
