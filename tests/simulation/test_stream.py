"""Paths written to disk while they are simulated are those of a run in memory."""

import numpy as np
import pytest
import torch
import xarray as xr

import dyninfer as di
from dyninfer.data import trajectory_stream
from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions import Diffusion
from dyninfer.simulation import simulate

OU = Diffusion(drift=lambda t, x: -x, diffusion=0.5, growth=lambda t, x: x[:, 0])
BURST = Diffusion(drift=lambda t, x: x**2)
TIMES = [0.0, 0.5, 1.0]


def states(n=70, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, generator=generator, dtype=dtype)


def assert_same(one, two):
    assert torch.allclose(one.states, two.states, rtol=1e-6, atol=1e-7, equal_nan=True)
    assert one.states.dtype == two.states.dtype
    assert torch.equal(one.status, two.status)
    assert (one.log_weights is None) == (two.log_weights is None)
    if one.log_weights is not None:
        assert torch.allclose(one.log_weights, two.log_weights, equal_nan=True)
    assert one.origin.tolist() == two.origin.tolist()
    assert one.features == two.features
    assert one.attrs.keys() == two.attrs.keys()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("process", [OU, BURST])
@pytest.mark.filterwarnings("ignore:.*diverged")
def test_a_stream_is_the_run_in_memory(tmp_path, monkeypatch, process, dtype):
    # So small that the file has several chunks, of which the last is not full.
    monkeypatch.setattr(trajectory_stream, "_CHUNK", 2000)
    path = tmp_path / "traj.zarr"
    x = 3 * states(dtype=dtype)
    whole = simulate(process, x, TIMES)
    run = simulate(process, x, TIMES, chunk_size=17, to=path)
    assert_same(run, whole)
    assert_same(Trajectories.load(path), whole)
    # What xarray reads of a few paths, by the table at the end of the file.
    few = xr.open_zarr(path, consolidated=False).states[60:]
    assert np.array_equal(few.values, run.states[60:].numpy(), equal_nan=True)


def test_changes_of_the_result_stay_in_memory(tmp_path):
    path = tmp_path / "traj.zarr"
    run = simulate(OU, states(), TIMES, to=path)
    run.states[:] = 0.0
    assert bool(Trajectories.load(path).states.any())


def test_a_stream_has_no_graph(tmp_path):
    x = states().requires_grad_()
    assert not simulate(OU, x, TIMES, to=tmp_path / "a.zarr").states.requires_grad


def test_an_interrupted_run_leaves_the_old_file(tmp_path):
    path = tmp_path / "traj.zarr"
    old = simulate(OU, states(), TIMES, to=path)
    calls = []

    def drift(t, x):
        calls.append(t)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return -x

    with pytest.raises(KeyboardInterrupt):
        simulate(Diffusion(drift=drift, diffusion=1.0), states(), TIMES, to=path)
    assert_same(Trajectories.load(path), old)
    assert [file.name for file in tmp_path.iterdir()] == ["traj.zarr"]


def test_the_result_outlives_a_file_that_is_replaced(tmp_path):
    path = tmp_path / "traj.zarr"
    run = simulate(OU, states(), TIMES, to=path)
    expected = run.states.clone()
    simulate(OU, states(9), TIMES, seed=1, to=path)
    assert torch.equal(run.states, expected)


def test_an_error_of_the_process_keeps_its_name(tmp_path):
    def drift(t, x):
        raise FileNotFoundError("no such table")

    with pytest.raises(FileNotFoundError, match="^no such table$"):
        simulate(Diffusion(drift=drift), states(), TIMES, to=tmp_path / "a.zarr")


def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(descriptor, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="to cannot hold .* GiB of states: .*No space left"):
        simulate(OU, states(), TIMES, to=tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.h5ad", {}, "to must end in .zarr"),
        ("none/a.zarr", {}, "folder .* does not exist"),
        ("a.zarr", {"resample": 0.5}, "resample=0.5 cannot be used: with to"),
        ("a.zarr", {"differentiable": True}, "differentiable=True cannot be used: with to"),
    ],
)
def test_what_cannot_be_streamed_is_refused(tmp_path, name, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        simulate(OU, states(), TIMES, to=tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_more_paths_than_memory_holds_at_one_time_are_refused(tmp_path):
    # 4 bytes a number, and 8 for the row that a path starts from: 4 · 3 + 8.
    with pytest.raises(MemoryError, match=r"at 1 time take at least 2e\+05 GB"):
        simulate(OU, states(), TIMES, n_paths=10**13, to=tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


def test_jumps_are_refused(tmp_path):
    process = di.MarkovJump([[-1.0, 1.0], [3.0, -3.0]])
    with pytest.raises(ValueError, match="to cannot be used: the whole numbers"):
        simulate(process, [0, 1], TIMES, to=tmp_path / "a.zarr")


def test_a_model_stores_names_features_and_weights(tmp_path):
    names = [[f"{k}-{i}" for i in range(40)] for k in range(2)]
    data = di.Snapshots(
        times=[0.0, 1.0],
        samples=[states(40).numpy(), states(40).numpy() + 1],
        weights=[np.arange(1.0, 41), np.ones(40)],
        names=names,
        features=["a", "b", "c"],
    )
    model = di.StochasticInterpolant(width=4, depth=1)
    model.fit(data, max_steps=2, progress=False)
    path = tmp_path / "traj.zarr"
    run = model.simulate(data, TIMES, to=path)
    assert_same(run, model.simulate(data, TIMES))
    assert_same(Trajectories.load(path), run)
    assert run.features == ("a", "b", "c")


def test_a_run_under_several_conditions_asks_for_one(tmp_path):
    conditions = np.array(["a", "b"] * 20)
    data = di.Snapshots(
        times=[0.0, 1.0],
        samples=[states(40).numpy(), states(40).numpy() + 1],
        conditions=[conditions, conditions],
    )
    model = di.StochasticInterpolant(width=4, depth=1)
    model.fit(data, max_steps=2, progress=False)
    path = tmp_path / "traj.zarr"
    with pytest.raises(ValueError, match="to cannot be used with several conditions"):
        model.simulate(data, TIMES, to=path)
    run = model.simulate(data, TIMES, condition="b", to=path)
    assert_same(run, model.simulate(data, TIMES, condition="b"))


def test_a_model_that_reads_its_features_out_refuses(tmp_path, monkeypatch):
    model = di.FractionalSDE()
    monkeypatch.setattr(model, "_check_fitted", lambda: None)
    with pytest.raises(ValueError, match="to cannot be used: features are computed"):
        model.simulate(None, TIMES, n_paths=3, to=tmp_path / "a.zarr")
