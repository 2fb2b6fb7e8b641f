"""Ancestors, descendants and flows of labels, on a shift whose every path is known."""

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.data.provenance import Provenance
from dyninfer.simulation import simulate

mpl.use("Agg")
N = 60


class Shift:
    """A fitted model of cells that move by one a day along the first feature."""

    def __init__(self, diffusion=None, growth=None, **source):
        self.process = di.Diffusion(drift=_speed, diffusion=diffusion, growth=growth)
        self.provenance_ = Provenance(
            source={"time_key": "day", "use_rep": "X"} | source,
            features=("a", "b"),
            times=(0.0, 1.0, 3.0),
            sizes=(N, N, N),
            hold_out=(),
            seed=0,
            digest="",
            version="",
        )

    def simulate(self, cells, times, **options):
        return simulate(self.process, torch.from_numpy(cells.X), times, **options)


def _speed(t, x):
    return torch.stack([torch.ones_like(x[:, 0]), torch.zeros_like(x[:, 0])], 1)


def cells():
    """The same cells at every day, from low to high, a day's way apart."""
    day = np.repeat([0.0, 1.0, 3.0], N)
    height = np.tile(np.linspace(-1, 1, N), 3)
    obs = pd.DataFrame({"day": day}, index=[f"c{i}" for i in range(3 * N)])
    obs["side"] = pd.Categorical(np.where(height > 0, "up", "down"))
    x = np.stack([day, height], axis=1)
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=["a", "b"]))


def test_the_descendant_of_a_cell_is_its_copy_at_every_later_time():
    adata = cells()
    series = di.tl.descendants(Shift(), adata, ["c7", "c9"], n_neighbors=1)
    expected = np.zeros(3 * N)
    expected[[7, 9, N + 7, N + 9, 2 * N + 7, 2 * N + 9]] = 0.5
    np.testing.assert_array_equal(series, expected)
    np.testing.assert_array_equal(adata.obs["dyninfer_descendants"], series)


def test_the_ancestor_of_a_cell_is_its_copy_at_every_earlier_time():
    adata = cells()
    mask = np.arange(3 * N) == 2 * N + 20
    series = di.tl.ancestors(Shift(), adata, mask, n_neighbors=1)
    expected = np.zeros(3 * N)
    expected[[20, N + 20, 2 * N + 20]] = 1
    np.testing.assert_array_equal(series, expected)
    np.testing.assert_array_equal(adata.obs["dyninfer_ancestors"], series)


def test_other_times_are_no_part_of_the_answer():
    adata = cells()
    series = di.tl.descendants(Shift(), adata, adata.obs["day"] == 1, at=3)
    assert series[:N].isna().all()
    assert series[N : 2 * N].to_numpy() == pytest.approx(1 / N)
    assert series[2 * N :].sum() == pytest.approx(1)
    series = di.tl.ancestors(Shift(), adata, adata.obs["day"] == 3, at=[0.0])
    assert series[N : 2 * N].isna().all()
    assert series[:N].sum() == pytest.approx(1)


def test_ancestors_and_descendants_are_two_sides_of_one_flow():
    """Of all pairs, P(side of ancestor, side of descendant) by Bayes from either end."""
    adata = cells()
    model = Shift(diffusion=0.3, growth=lambda t, x: 0.5 * (x[:, 1] > 0))
    up = (adata.obs["side"] == "up").to_numpy()
    late = (adata.obs["day"] == 1).to_numpy()
    table = di.tl.flows(model, adata, "side", at=[0, 1], n_draws=50)
    flow = table.pivot_table(index="source", columns="target", values="flow")
    assert flow.to_numpy().sum() == pytest.approx(1)
    forward = di.tl.descendants(model, adata, up & (adata.obs["day"] == 0), at=1, n_draws=50)
    share = forward[late & up].sum()
    assert share == pytest.approx(flow.loc["up", "up"] / flow.loc["up"].sum(), abs=0.02)
    # By Bayes the late cells of a side, weighed by what arrives at them, come from this flow.
    backward = di.tl.ancestors(model, adata, up & late, at=0, n_draws=50)
    share = backward[:N][up[:N]].sum()
    assert share == pytest.approx(flow.loc["up", "up"] / flow["up"].sum(), abs=1e-6)


def test_growth_and_weights_count_in_the_closed_form():
    """Upper cells weigh three times as much and grow e-fold a day; nobody changes side."""
    adata = cells()
    up = (adata.obs["side"] == "up").to_numpy()
    adata.obs["w"] = np.where(up, 3.0, 1.0)
    model = Shift(growth=lambda t, x: 1.0 * (x[:, 1] > 0), weight_key="w")
    series = di.tl.descendants(model, adata, adata.obs["day"] == 0, n_neighbors=1)
    for day, rows in [(1, slice(N, 2 * N)), (3, slice(2 * N, 3 * N))]:
        odds = 3 * np.exp(day)
        assert series[rows][up[rows]].sum() == pytest.approx(odds / (1 + odds), rel=1e-5)
    table = di.tl.flows(model, adata, "side", n_neighbors=1).set_index(["time", "source", "target"])
    odds = 3 * np.exp(2)
    assert table.loc[(1.0, "up", "up"), "flow"] == pytest.approx(odds / (1 + odds), rel=1e-5)
    assert table.loc[(1.0, "up", "down"), "flow"] == 0
    assert table.loc[(1.0, "up", "up"), "source_share"] == pytest.approx(0.75)
    assert (table.groupby(["time", "source"])["of_source"].sum() == 1).all()
    assert (table.groupby(["time", "target"])["of_target"].sum() == 1).all()


def test_cells_without_a_label_take_no_part_in_flows():
    adata = cells()
    adata.obs.loc[adata.obs_names[:10], "side"] = np.nan
    table = di.tl.flows(Shift(), adata, "side", at=[0, 1], n_neighbors=1)
    first = table.drop_duplicates("source").set_index("source")["source_share"]
    assert first["down"] == pytest.approx(20 / 50)


def test_a_time_that_no_path_arrives_from_is_nan_and_said():
    adata = cells()
    # Everything goes up: nobody ends at the lowest cell.
    model = Shift()
    model.process = di.Diffusion(drift=lambda t, x: torch.ones_like(x))
    with pytest.warns(UserWarning, match="no path joins these cells and time 0"):
        series = di.tl.ancestors(model, adata, [f"c{N}"], at=0, n_neighbors=1)
    assert series[:N].isna().all()


MISTAKES = [
    (["no cell"], {}, KeyError, "no cell is named 'no cell'"),
    ([], {}, (TypeError, ValueError), "no cell is chosen|mask or names"),
    ([0, 1], {}, TypeError, "must be a mask or names"),
    (np.ones(5, dtype=bool), {}, ValueError, "mask of cells has shape"),
    (np.ones(3 * N, dtype=bool), {}, ValueError, "cells have 3 times"),
    (["c0"], {"at": 2}, ValueError, "the times are 0, 1, 3"),
    (["c70"], {"at": [0, 3]}, ValueError, "every time in at must be later"),
    ([f"c{2 * N}"], {}, ValueError, "must be later"),
    (["c0"], {"n_draws": 0}, ValueError, "n_draws"),
]


@pytest.mark.parametrize(("chosen", "options", "kind", "message"), MISTAKES)
def test_mistakes_are_named(chosen, options, kind, message):
    adata = cells()
    with pytest.raises(kind, match=message):
        di.tl.descendants(Shift(), adata, chosen, **options)
    assert "dyninfer_descendants" not in adata.obs


def drawn(flows, **options):
    return di.pl.sankey(flows, **options)


def test_bars_are_shares_and_ribbons_end_where_bars_do():
    adata = cells()
    flows = di.tl.flows(Shift(diffusion=0.5), adata, "side", n_draws=20)
    ax = drawn(flows, time_unit="d")
    bars = {
        (bar.get_x() + bar.get_width() / 2, bar.get_y()): bar.get_height() for bar in ax.patches
    }
    assert len(bars) == 6
    assert all(height == pytest.approx(0.5) for height in bars.values())
    # Two labels, two intervals: four ribbons each, which together are as high as the bars.
    ribbons = [path.get_paths()[0].vertices for path in ax.collections]
    assert len(ribbons) == 8
    for start in (0.03, 1.03):
        edges = [ribbon[np.isclose(ribbon[:, 0], start), 1] for ribbon in ribbons]
        widths = [np.ptp(edge) for edge in edges if len(edge)]
        assert len(widths) == 4
        assert sum(widths) == pytest.approx(1)
    assert ax.get_xlabel() == "time (d)"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "3"]
    assert {text.get_text() for text in ax.texts} == {"up", "down"}


def test_thin_ribbons_are_left_out_and_colours_are_the_users():
    flows = di.tl.flows(Shift(), cells(), "side", n_neighbors=1)
    ax = drawn(flows, colors={"up": "#ff0000", "down": "#0000ff"})
    # Nobody changes side.
    assert len(ax.collections) == 4
    assert {mpl.colors.to_hex(bar.get_facecolor()) for bar in ax.patches} == {"#ff0000", "#0000ff"}


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda f: f.drop(columns="of_source"), {}, "no column 'of_source'"),
        (lambda f: f[:0], {}, "no rows"),
        (lambda f: f, {"min_share": 2}, "min_share must lie between 0 and 1"),
        (lambda f: f, {"colors": {"up": "k"}}, "no colour for label 'down'"),
        (lambda f: f.assign(next_time=9.0), {}, "must follow each other"),
        (lambda f: f.to_dict(), {}, "must be what tl.flows returned"),
    ],
)
def test_tables_that_are_no_flows_are_refused(change, options, message):
    flows = di.tl.flows(Shift(), cells(), "side", n_neighbors=1)
    with pytest.raises((KeyError, TypeError, ValueError), match=message):
        drawn(change(flows), **options)
