"""Files of trajectories: whole or as before, and a sentence wherever a bit was changed."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import anndata
import h5py
import numpy as np
import pytest
import torch
import xarray as xr

from dyninfer import Trajectories
from dyninfer.data.trajectory_file import h5ad_content, netcdf_content
from dyninfer.learning import digest, files

SUFFIXES = ["h5ad", "zarr", "nc", "h5"]


def make(seed=0):
    states = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(seed))
    return Trajectories(states=states, times=[0.0, 1.0, 3.0], origin=["a", "b", "c", "d"])


def saved(folder, suffix, seed=0):
    path = folder / f"run.{suffix}"
    make(seed).save(path)
    return path


def sentence(path):
    with pytest.raises(ValueError) as caught:
        Trajectories.load(path)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    assert len(text) <= 300
    return text


def parts_of(path):
    if path.is_file():
        return [path]
    return sorted(part for part in path.rglob("*") if part.is_file())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_changed_bit_is_a_sentence_wherever_it_is(tmp_path, suffix):
    path = saved(tmp_path, suffix)
    for part in parts_of(path):
        content = part.read_bytes()
        for place in range(0, len(content), 1 + len(content) // 80):
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            part.write_bytes(changed)
            assert "digest" in sentence(path)
        part.write_bytes(content)
    assert torch.equal(Trajectories.load(path).states, make().states)


@pytest.mark.parametrize("suffix", ["h5ad", "nc"])
def test_a_file_that_was_cut_off_or_grew_is_a_sentence(tmp_path, suffix):
    path = saved(tmp_path, suffix)
    content = path.read_bytes()
    for changed in (b"", content[:9], content[:1000], content[:-1], content + b"x"):
        path.write_bytes(changed)
        sentence(path)


def test_a_zarr_that_lost_or_gained_a_file_is_a_sentence(tmp_path):
    path = saved(tmp_path, "zarr")
    (path / "more").write_bytes(b"")
    assert "does not match its digest" in sentence(path)
    (path / "more").unlink()
    shutil.rmtree(path / "states" / "c")
    assert "does not match its digest" in sentence(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_another_program_wrote_names_the_door_that_reads_it(tmp_path, suffix):
    path = tmp_path / f"run.{suffix}"
    if suffix == "h5ad":
        make().to_anndata().write_h5ad(path)
        again = Trajectories.from_anndata(anndata.read_h5ad(path))
        door = "anndata.read_h5ad and use Trajectories.from_anndata"
    elif suffix == "zarr":
        make().to_xarray().to_zarr(path, consolidated=False)
        again = Trajectories.from_xarray(xr.open_zarr(path, consolidated=False))
        door = "xarray.open_zarr and use Trajectories.from_xarray"
    else:
        make().to_xarray().to_netcdf(path, engine="h5netcdf")
        again = Trajectories.from_xarray(xr.load_dataset(path, engine="h5netcdf"))
        door = "xarray.open_dataset and use Trajectories.from_xarray"
    assert door in sentence(path)
    assert torch.equal(again.states, make().states)


def test_other_programs_read_what_is_written(tmp_path):
    states = make().states.numpy()
    adata = anndata.read_h5ad(saved(tmp_path, "h5ad"))
    np.testing.assert_array_equal(adata.X, states.reshape(12, 2))
    for data in (
        xr.load_dataset(saved(tmp_path, "nc"), engine="h5netcdf"),
        xr.open_zarr(saved(tmp_path, "zarr"), consolidated=False),
    ):
        np.testing.assert_array_equal(data["states"].values, states)


def deceitful(path, dtype="float32", attrs="{}"):
    """A file with the right digest around fields that cannot be."""
    if path.suffix == ".h5ad":
        adata = make().to_anndata()
        adata.uns["dyninfer_trajectories"] |= {"dtype": dtype, "attrs": attrs}
        content = h5ad_content(adata)
    else:
        data = make().to_xarray()
        fields = json.loads(data.attrs["dyninfer_trajectories"]) | {"dtype": dtype, "attrs": attrs}
        data.attrs["dyninfer_trajectories"] = json.dumps(fields)
        content = netcdf_content(data)
    path.write_bytes(digest.sealed(content))
    return path


@pytest.mark.parametrize("suffix", ["h5ad", "nc"])
def test_fields_that_cannot_be_are_a_sentence_even_with_the_right_digest(tmp_path, suffix):
    path = tmp_path / f"run.{suffix}"
    assert "there is no dtype 'load'" in sentence(deceitful(path, dtype="load"))
    assert "not JSON" in sentence(deceitful(path, attrs="{"))
    assert "not JSON" in sentence(deceitful(path, attrs="[" * 10_000))


def test_content_that_holds_no_trajectories_is_a_sentence(tmp_path):
    adata = anndata.AnnData(X=np.zeros((2, 2), dtype=np.float32))
    (tmp_path / "run.h5ad").write_bytes(digest.sealed(h5ad_content(adata)))
    assert "this AnnData holds no trajectories" in sentence(tmp_path / "run.h5ad")
    (tmp_path / "run.nc").write_bytes(digest.sealed(netcdf_content(xr.Dataset())))
    assert "this Dataset holds no trajectories" in sentence(tmp_path / "run.nc")


def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_a_sentence(tmp_path):
    (tmp_path / "folder.h5ad").mkdir()
    os.mkfifo(tmp_path / "pipe.nc")
    (tmp_path / "file.zarr").write_bytes(b"x")
    for name in ("folder.h5ad", "pipe.nc", "file.zarr"):
        sentence(tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_save_leaves_the_old_file_and_a_sentence(tmp_path, suffix, monkeypatch):
    path = saved(tmp_path, suffix)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        patch.setattr(files, "write_inside", full)
        with pytest.raises(OSError, match="could not be written: No space left .* unchanged"):
            make(seed=1).save(path)
    assert torch.equal(Trajectories.load(path).states, make().states)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_save_follows_a_link_and_removes_what_a_killed_one_left(tmp_path, suffix):
    path = saved(tmp_path, suffix)
    link = tmp_path / f"link.{suffix}"
    link.symlink_to(path.name)
    debris = files._unused_path(path)
    debris.mkdir()
    make(seed=1).save(link)
    assert link.is_symlink()
    assert torch.equal(Trajectories.load(path).states, make(seed=1).states)
    assert not debris.exists()


FULL_DISK = """
import sys, torch
import dyninfer as di
from test_storage import limit_files
traj = di.Trajectories(states=torch.zeros(200, 20, 3), times=list(range(20)))
limit_files(3000)
for suffix in ("h5ad", "nc", "h5", "zarr"):
    try:
        traj.save(f"{sys.argv[1]}/run.{suffix}")
    except OSError as error:
        print("sentence" if "could not be written" in str(error) else error)
"""


def limit_files(n_bytes):
    """No file may grow beyond so many bytes, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


def test_a_full_disk_is_a_sentence_in_every_format_and_ends_no_interpreter(tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    here = os.path.dirname(__file__)
    environment = os.environ | {"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{here}"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert run.returncode == 0, run.stderr
    # Zeros are compressed in a zarr, which then fits.
    assert run.stdout.split() == ["sentence"] * 3


def test_a_file_of_hdf5_that_reads_for_ever_is_refused_before_hdf5_sees_it(tmp_path, monkeypatch):
    path = saved(tmp_path, "h5ad")
    content = bytearray(path.read_bytes())
    content[2386] ^= 1
    path.write_bytes(content)

    def opened(*_, **__):
        raise AssertionError("HDF5 was asked")

    monkeypatch.setattr(h5py, "File", opened)
    assert "digest" in sentence(path)
