"""Continuous times are binned on request, and asked about where they come as they are."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer import read_times


def test_bins_hold_equally_many_cells_at_their_mean_time():
    rng = np.random.default_rng(0)
    times = rng.exponential(size=1000)
    binned = read_times(times, n_bins=8)
    values, sizes = np.unique(binned, return_counts=True)
    assert sizes.tolist() == [125] * 8
    for value in values:
        assert times[binned == value].mean() == pytest.approx(value, rel=1e-12)
    # Earlier cells are in no later bin.
    assert (np.diff(binned[np.argsort(times)]) >= 0).all()


def test_cells_of_one_time_share_a_bin_and_missing_times_stay():
    times = pd.Series([0.0, 0.0, 0.0, 1.0, 2.0, np.nan, 3.0], index=list("abcdefg"))
    binned = read_times(times, n_bins=2)
    assert list(binned.index) == list("abcdefg")
    assert binned["a"] == binned["b"] == binned["c"]
    assert np.isnan(binned["f"])
    assert binned["g"] == pytest.approx(2.0)


def test_far_from_zero_no_digit_is_lost():
    start = 1.7e9
    times = start + np.arange(100) / 64
    binned = read_times(times, n_bins=4)
    near = read_times(times - start, n_bins=4)
    np.testing.assert_allclose(binned - start, near, atol=2e-7)


@pytest.mark.parametrize(
    ("times", "n_bins", "message"),
    [
        ([0, 1, 2], 3, "3 distinct times, which 3 bins leave as they are"),
        ([0, 1, 2], 1, "n_bins must be at least 2"),
        ([0] * 20 + [1, 2, 3, 4], 3, "of 3 bins would be empty"),
        ([0, 1, 2], 2.5, "n_bins"),
    ],
)
def test_bins_that_cannot_be_are_refused(times, n_bins, message):
    with pytest.raises((ValueError, TypeError), match=message):
        read_times(times, n_bins=n_bins)


def pseudotime(n=400):
    rng = np.random.default_rng(1)
    t = rng.random(n)
    obs = pd.DataFrame({"pt": t}, index=[f"c{i}" for i in range(n)])
    return ad.AnnData(rng.normal(size=(n, 2)) + 3 * t[:, None], obs=obs)


def test_hundreds_of_times_are_asked_about_and_the_answer_works():
    adata = pseudotime()
    with pytest.raises(ValueError, match="400 distinct times of 400 cells: is it continuous"):
        di.ActionMatching().fit(adata, time_key="pt")
    adata.obs["bin"] = di.read_times(adata.obs["pt"], n_bins=5)
    snapshots = di.Snapshots.from_anndata(adata, time_key="bin")
    assert snapshots.sizes == (80,) * 5
    # Many times with many cells each are no question.
    names = [f"c{i}" for i in range(3000)]
    obs = pd.DataFrame({"t": np.arange(3000) % 150}, index=names)
    often = di.Snapshots.from_anndata(ad.AnnData(np.zeros((3000, 1)), obs=obs), time_key="t")
    assert often.n_times == 150
