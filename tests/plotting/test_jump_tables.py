"""Pictures of tables of jump processes show the numbers that they are given."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import dyninfer as di

GATE = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]], state_names=["closed", "open"])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def paths():
    run = di.simulate(GATE, None, 0.1 * np.arange(40), n_paths=50, seed=0)
    names = list(GATE.state_names)
    return di.Paths(times=[run.times] * 50, states=list(run.states.numpy()), state_names=names)


def line(ax, label):
    (only,) = [each for each in ax.lines if each.get_label() == label]
    return only.get_ydata()


def test_prevalence_has_a_panel_for_every_state(paths):
    table = di.tl.prevalence(GATE, paths)
    panels = di.pl.prevalence(table, time_unit="ms")
    for ax, state in zip(panels.flat, ["closed", "open"], strict=True):
        rows = table[table["state"] == state]
        assert ax.get_title() == state
        assert ax.get_xlabel() == "time (ms)"
        np.testing.assert_allclose(line(ax, "expected"), rows["expected"])


def test_time_scales_are_lines_with_those_of_the_model_and_the_band_of_the_interval(paths):
    table = di.tl.implied_timescales(paths, model=GATE)
    ax = di.pl.implied_timescales(table, time_unit="ms")
    np.testing.assert_allclose(line(ax, "time scale 1"), table["value"])
    dashed = ax.lines[1]
    np.testing.assert_allclose(dashed.get_ydata(), 0.2)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert {table["low"].min(), table["high"].max()} <= set(band)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lag (ms)", "implied time scale (ms)")


def test_endless_time_scales_are_left_out(paths):
    table = di.tl.implied_timescales(paths)
    table.loc[0, "value"] = np.inf
    ax = di.pl.implied_timescales(table)
    np.testing.assert_allclose(line(ax, "time scale 1"), table["value"][1:])


def test_predictions_have_a_panel_for_every_pair_with_what_was_counted(paths):
    table = di.tl.chapman_kolmogorov(paths, 0.1)
    panels = di.pl.chapman_kolmogorov(table)
    assert panels.shape == (2, 2)
    rows = table[(table["source"] == "open") & (table["target"] == "closed")]
    np.testing.assert_allclose(line(panels[1, 0], "predicted"), rows["predicted"])
    points, _, (bars,) = panels[1, 0].containers[0]
    np.testing.assert_allclose(points.get_ydata().astype(float), rows["estimated"])
    ends = np.array([segment[:, 1] for segment in bars.get_segments()], dtype=float)
    np.testing.assert_allclose(ends, rows[["estimated_low", "estimated_high"]].to_numpy())


@pytest.mark.parametrize("draw", ["prevalence", "implied_timescales", "chapman_kolmogorov"])
def test_other_tables_are_refused_by_name(draw):
    picture = getattr(di.pl, draw)
    with pytest.raises(TypeError, match=f"tl.{draw} returned"):
        picture([1, 2])
    with pytest.raises(KeyError, match=f"give what tl.{draw} returned"):
        picture(pd.DataFrame({"x": [1]}))
