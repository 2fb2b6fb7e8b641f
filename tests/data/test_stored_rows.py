"""Rows that stay in a file answer as an array does, and a fit of them is that of memory."""

import copy
import gc
import io
import pickle
import shutil

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.data import arrays
from dyninfer.data import stored_rows as module
from dyninfer.data.stored_rows import StoredRows, groups_of_rows
from dyninfer.learning import slabs
from dyninfer.transport.couplings import OTCoupling, supply
from dyninfer.transport.couplings import stretches as plans_of_all

N = 600
FEATURES = 3


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    """Every file counts as a large one, and is read by hundreds of rows."""
    monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(slabs, "SLAB", 100)


def states(dtype=np.float32):
    values = np.random.default_rng(0).normal(size=(N, FEATURES))
    return values.astype(dtype)


def cells(dtype=np.float32):
    """Cells of three times, all mixed."""
    time = np.random.default_rng(1).permutation(N) % 3
    names = [f"cell {i}" for i in range(N)]
    x = states(dtype) + time[:, None].astype(dtype)
    return anndata.AnnData(x, obs=pd.DataFrame({"day": time.astype(float)}, index=names))


def backed(folder, adata):
    adata.write_h5ad(folder / "cells.h5ad")
    return anndata.read_h5ad(folder / "cells.h5ad", backed="r")


@pytest.fixture
def stored(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = states()
        yield groups_of_rows(file["x"], [np.arange(0, N, 2), np.arange(1, N, 2)], "x")


@pytest.mark.parametrize(
    "index",
    [
        7,
        -1,
        slice(20, 60),
        slice(None, None, -3),
        np.array([5, 5, 299, 0, 17]),
        np.array([], dtype=int),
        np.arange(300) % 4 == 0,
        (slice(2, 9), 1),
    ],
    ids=str,
)
def test_an_index_gives_what_it_gives_of_the_array(stored, index):
    for own, begin in zip(stored, (0, 1), strict=True):
        np.testing.assert_array_equal(own[index], states()[begin::2][index])


def test_beyond_the_rows_there_are_none(stored):
    with pytest.raises(IndexError):
        stored[0][np.array([300])]


def test_whatever_else_is_asked_is_asked_of_all_rows(stored):
    rows, array = stored[0], states()[::2]
    assert (len(rows), rows.shape, rows.ndim, rows.dtype) == (300, (300, 3), 2, np.float32)
    np.testing.assert_array_equal(rows.mean(0), array.mean(0))
    np.testing.assert_array_equal(2 - rows**2, 2 - array**2)
    np.testing.assert_array_equal(np.concatenate(stored), np.concatenate([array, states()[1::2]]))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows)), array)
    np.testing.assert_array_equal(copy.deepcopy(rows), array)


def test_rows_are_one_after_another_and_a_table_takes_them(stored):
    rows, array = stored[0], states()[::2]
    np.testing.assert_array_equal(list(rows), array)
    np.testing.assert_array_equal(pd.DataFrame(rows), array)
    assert repr(rows) == "<StoredRows of 300 x 3 float32>"


class Reluctant(io.RawIOBase):
    """A file that takes and gives seven bytes at once."""

    def __init__(self):
        self.inner = io.BytesIO()

    def seek(self, offset, whence=0):
        return self.inner.seek(offset, whence)

    def write(self, view):
        return self.inner.write(view[:7])

    def readinto(self, view):
        return self.inner.readinto(view[:7])


def test_a_system_that_writes_a_part_is_asked_again():
    rows = StoredRows(FEATURES, np.float32)
    rows._file.close()
    rows._file = Reluctant()
    rows.append(states()[:20])
    rows.append(states()[20:50])
    np.testing.assert_array_equal(rows, states()[:50])


@pytest.mark.filterwarnings("error")
def test_a_file_goes_with_its_rows_in_silence():
    rows = StoredRows(FEATURES, np.float32)
    file = rows._file
    del rows
    gc.collect()
    assert file.closed


def test_what_is_too_wide_to_be_read_in_parts_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "DENSE_LIMIT_GB", 1e-9)
    with pytest.raises(MemoryError, match="600 x 3 array .* reduce it first"):
        di.Snapshots.from_anndata(backed(tmp_path, cells()), time_key="day")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_snapshots_of_a_file_are_those_of_memory(tmp_path, dtype):
    data = cells(dtype)
    plain = di.Snapshots.from_anndata(data, time_key="day")
    lazy = di.Snapshots.from_anndata(backed(tmp_path, data), time_key="day")
    assert all(isinstance(sample, StoredRows) for sample in lazy.samples)
    assert lazy.digest() == plain.digest()
    np.testing.assert_array_equal(lazy.at(1), plain.at(1))
    # A fit of snapshots leaves out nothing, or some times: neither is a reason to read the rest.
    for rest in (lazy.without(None), lazy.without(1)):
        assert all(isinstance(sample, StoredRows) for sample in rest.samples)
    part, whole = lazy.subsample(10).samples[0], plain.subsample(10).samples[0]
    np.testing.assert_array_equal(part, whole)


def test_what_is_held_out_may_hold_anything_and_what_is_not_may_not(tmp_path):
    data = cells()
    data.X[data.obs["day"] == 1] = np.nan
    file = backed(tmp_path, data)
    lazy = di.Snapshots.from_anndata(file, time_key="day", hold_out=1)
    lazy.check_finite()
    with pytest.raises(ValueError, match="NaN or infinite values in 200 of 200 rows"):
        di.Snapshots.from_anndata(file, time_key="day").check_finite()


def test_a_disk_that_is_too_small_is_named_before_it_is_full(tmp_path, monkeypatch):
    file = backed(tmp_path, cells())
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match="set TMPDIR to a larger folder"):
        di.Snapshots.from_anndata(file, time_key="day")


@pytest.mark.parametrize("worth", [0.0, np.inf], ids=["in turn", "whole"])
@pytest.mark.parametrize("kind", ["interpolant", "potential"])
def test_a_fit_from_a_file_is_that_from_memory_to_the_bit(tmp_path, monkeypatch, worth, kind):
    monkeypatch.setattr(plans_of_all, "WORTH_STARTING", worth)
    coupling = OTCoupling(batch_size=50)
    monkeypatch.setattr(supply, "PACE", 0.1 * coupling.seconds(50))
    method = di.StochasticInterpolant if kind == "interpolant" else di.ActionMatching
    data = cells()
    results = []
    for source in (data, backed(tmp_path, data)):
        model = method(coupling=coupling, width=16)
        model.fit(source, time_key="day", max_steps=12, progress=False)
        model.annotate(source)
        results.append((model.process_.state_dict(), source.obsm["dyninfer_velocity"]))
    (weights, velocity), (again, velocity_again) = results
    for name, value in weights.items():
        assert torch.equal(value, again[name]), name
    np.testing.assert_array_equal(velocity, velocity_again)
