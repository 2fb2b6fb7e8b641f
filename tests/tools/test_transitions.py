"""Transitions between cells and expected times, on a flow that is known."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.data.provenance import Provenance
from dyninfer.simulation import simulate

N = 60


class Shift:
    """A fitted model of cells that move by one a day along the first feature."""

    def __init__(self, diffusion=None, growth=None):
        self.process = di.Diffusion(
            drift=lambda t, x: self.speed(x), diffusion=diffusion, growth=growth
        )
        self.provenance_ = Provenance(
            source={"time_key": "day", "use_rep": "X"},
            features=("a", "b"),
            times=(0.0, 1.0, 3.0),
            sizes=(N, N, N),
            hold_out=(),
            seed=0,
            digest="",
            version="",
        )
        self.source_ = self.provenance_.source

    def speed(self, x):
        return torch.stack([torch.ones_like(x[:, 0]), torch.zeros_like(x[:, 0])], 1)

    def simulate(self, cells, times, **options):
        return simulate(self.process, torch.from_numpy(cells.X), times, **options)


def cells(width=0.1):
    rng = np.random.default_rng(0)
    day = np.repeat([0.0, 1.0, 3.0], N)
    across = np.tile(np.linspace(-1, 1, N), 3)
    x = np.stack([day + width * rng.normal(size=3 * N), across], axis=1)
    obs = pd.DataFrame({"day": day}, index=[f"c{i}" for i in range(3 * N)])
    obs["side"] = np.where(across > 0, "up", "down")
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=["a", "b"]))


def test_a_shift_leads_every_cell_to_its_copy():
    adata = cells(width=0.0)
    matrix = di.tl.transition_matrix(Shift(), adata, n_neighbors=1)
    expected = np.zeros((3 * N, 3 * N))
    first = np.arange(2 * N)
    expected[first, first + N] = 1
    last = np.arange(2 * N, 3 * N)
    expected[last, last] = 1
    np.testing.assert_array_equal(matrix.toarray(), expected)


def test_rows_sum_to_one_exactly_in_any_order():
    model = Shift(diffusion=0.3, growth=lambda t, x: x[:, 1])
    matrix = di.tl.transition_matrix(model, cells(), n_draws=7, n_neighbors=6)
    assert (matrix.format, matrix.dtype) == ("csr", np.float64)
    assert (np.asarray(matrix.sum(1)) == 1).all()
    assert (matrix.toarray()[:, ::-1].sum(1) == 1).all()
    assert matrix.min() >= 0
    again = di.tl.transition_matrix(model, cells(), n_draws=7, n_neighbors=6)
    assert (matrix != again).nnz == 0


def test_paths_count_by_the_mass_that_they_gain():
    """From the middle, half of the paths go up and grow e-fold more a day than those below."""
    model = Shift(diffusion=0.5, growth=lambda t, x: 4.0 * (x[:, 1] > 0))
    plain = Shift(diffusion=0.5)
    adata = cells()
    up = (adata.obs["side"] == "up").to_numpy()
    middle = N // 2
    share = di.tl.transition_matrix(model, adata)[middle] @ up
    assert share > di.tl.transition_matrix(plain, adata)[middle] @ up + 0.1


def test_a_cell_whose_paths_are_lost_stays_where_it_is():
    model = Shift()
    model.process = di.Diffusion(drift=lambda t, x: torch.where(x > 0.9, torch.nan, 1.0))
    adata = cells(width=0.0)
    with (
        pytest.warns(UserWarning, match="all paths of 120 cells were lost"),
        pytest.warns(RuntimeWarning, match="60 of 60 paths diverged"),
    ):
        matrix = di.tl.transition_matrix(model, adata, n_neighbors=1)
    assert matrix[N - 1, N - 1] == 1


def test_one_time_is_too_few():
    with pytest.raises(ValueError, match="transitions need at least two times"):
        di.tl.transition_matrix(Shift(), cells()[:N].copy())


def test_the_expected_time_of_a_shift_is_how_far_a_cell_has_come():
    adata = cells()
    table = di.tl.time(Shift(), adata, n_between=9, n_neighbors=20)
    inside = (adata.X[:, 0] > 0.4) & (adata.X[:, 0] < 2.7)
    error = table["time"].to_numpy() - adata.X[:, 0]
    assert np.abs(error[inside]).mean() < 0.1
    assert table["sd"].between(0.02, 0.6).all()
    np.testing.assert_array_equal(adata.obs["dyninfer_time"], table["time"])
    np.testing.assert_array_equal(adata.obs["dyninfer_time_sd"], table["sd"])


def test_without_a_model_times_are_those_of_the_neighbours_without_the_cell():
    adata = cells(width=0.0)
    table = di.tl.time(None, adata, time_key="day", use_rep="X", n_neighbors=2)
    np.testing.assert_array_equal(table["time"], adata.obs["day"])
    assert (table["sd"] == 0).all()
    # A cell among those of another time is expected there.
    adata.X[0] = [3.0, 0.01]
    assert di.tl.time(None, adata, time_key="day", use_rep="X", n_neighbors=5)["time"].iloc[
        0
    ] == pytest.approx(3)


def test_times_count_alike_however_many_cells_were_taken():
    """One point in space; two of three cells were taken at the second time."""
    obs = pd.DataFrame({"day": np.repeat([0.0, 1.0], [100, 200])}).set_axis(
        [f"c{i}" for i in range(300)]
    )
    adata = ad.AnnData(np.random.default_rng(0).normal(size=(300, 2)), obs=obs)
    table = di.tl.time(None, adata, time_key="day", use_rep="X", n_neighbors=200)
    assert table["time"].mean() == pytest.approx(0.5, abs=0.02)


def test_the_time_to_a_fate_is_how_far_it_is():
    """Everything right of 2 has arrived; cells of day 0 need two days less their head start."""
    adata = cells()
    extra = ad.AnnData(
        np.stack([np.tile(np.linspace(0, 4, 200), 5), np.repeat(np.linspace(-1, 1, 5), 200)], 1),
        obs=pd.DataFrame({"day": 3.0}, index=[f"e{i}" for i in range(1000)]),
        var=adata.var,
    )
    joined = ad.concat([adata, extra])
    joined.obs["where"] = np.where(joined.X[:, 0] > 2, "there", "here")
    table = di.tl.time_to_fate(
        Shift(), joined, "where", "there", n_draws=2, n_times=60, n_neighbors=5
    ).iloc[:N]
    np.testing.assert_allclose(table["mean"], 2 - joined.X[:N, 0], atol=0.1)
    assert (table["share"] == 1).all()
    with pytest.raises(
        KeyError, match="no cell has the label 'ther' in .*; labels are 'here', 'the"
    ):
        di.tl.time_to_fate(Shift(), joined, "where", "ther")


def test_more_times_than_memory_holds_are_refused_before_the_first():
    adata = cells()
    adata.obs["where"] = "here"
    with pytest.raises(MemoryError, match="states at 2147483648 times between take at least"):
        di.tl.time(Shift(), adata, n_between=2**31)
    with pytest.raises(MemoryError, match="states at 2147483648 times on the way take at least"):
        di.tl.time_to_fate(Shift(), adata, "where", "here", n_times=2**31)
