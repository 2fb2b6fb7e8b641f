"""Pictures of fates, genes, landscapes and comparisons show the numbers that they are given."""

from __future__ import annotations

import io

import matplotlib

matplotlib.use("Agg")

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import PathCollection

import dyninfer as di
from dyninfer.plotting.landscape import without_islands
from dyninfer.plotting.style import edges, log_axis

FATES = ["a", "b", "c"]
# Of four cells: certain, certain, even, and unknown.
SHARES = np.array([[1.0, 0, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3], [np.nan] * 3])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def fated():
    obs = pd.DataFrame(
        {
            "day": [0.0, 0, 0, 1],
            "dyninfer_fate": pd.Categorical(["a", "b", "c", None], categories=FATES),
        },
        index=list("wxyz"),
    )
    adata = anndata.AnnData(X=np.zeros((4, 1), dtype=np.float32), obs=obs)
    adata.obsm["dyninfer_fates"] = pd.DataFrame(SHARES, index=adata.obs_names, columns=FATES)
    adata.uns["dyninfer_fates"] = {"names": FATES, "label_key": "", "time_key": "day", "at": 1.0}
    adata.uns["dyninfer_fate_colors"] = ["#111111", "#222222", "#333333"]
    return adata


def scatters(ax):
    return [c for c in ax.collections if isinstance(c, PathCollection) and len(c.get_offsets())]


def test_a_certain_fate_lies_at_its_corner_and_an_even_one_in_the_middle(fated):
    ax = di.pl.fate_triangle(fated)
    (dots,) = scatters(ax)
    corner = [np.cos(np.pi / 2 - 2 * np.pi / 3), np.sin(np.pi / 2 - 2 * np.pi / 3)]
    np.testing.assert_allclose(dots.get_offsets(), [[0, 1], corner, [0, 0]], atol=1e-12)
    np.testing.assert_allclose(dots.get_facecolors()[:, 0] * 255, [17, 34, 51])
    assert [text.get_text() for text in ax.texts] == FATES


def test_a_triangle_scales_the_chosen_fates_to_one(fated):
    adata = fated.copy()
    names = ["a", "b", "c", "d"]
    shares = pd.DataFrame([[0.2, 0.2, 0.1, 0.5]] * 4, index=adata.obs_names, columns=names)
    adata.obsm["dyninfer_fates"] = shares
    adata.uns["dyninfer_fates"]["names"] = names
    (dots,) = scatters(di.pl.fate_triangle(adata, ["a", "b", "c"]))
    height = 0.4 - 0.6 / 2  # of the corners at heights 1, -1/2 and -1/2
    np.testing.assert_allclose(dots.get_offsets()[:, 1], height)


def test_bars_sum_to_one_and_have_the_stored_colours(fated):
    index = pd.MultiIndex.from_tuples([(0.0, "stem"), (1.0, "nerve")], names=["time", "label"])
    table = pd.DataFrame({"n_cells": [3, 5], "a": [0.2, 0.5], "b": [0.8, 0.5]}, index=index)
    ax = di.pl.fate_bars(table, color={"a": "#111111", "b": "#222222"}, time_unit="d")
    first, second = ax.containers
    np.testing.assert_allclose([bar.get_width() for bar in first], [0.2, 0.5])
    np.testing.assert_allclose([bar.get_x() for bar in second], [0.2, 0.5])
    np.testing.assert_allclose([bar.get_width() for bar in second], [0.8, 0.5])
    assert first[0].get_facecolor()[0] == pytest.approx(17 / 255)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["0 d, stem (3)", "1 d, nerve (5)"]
    ax = di.pl.fate_bars(table, color=fated)
    assert ax.containers[1][0].get_facecolor()[0] == pytest.approx(34 / 255)


def test_a_fan_holds_the_quantiles_of_every_group():
    n = 201
    values = np.linspace(-1, 1, n)
    states = torch.as_tensor(np.stack([values, values + 10])[:, None, None])
    states = states.permute(0, 3, 1, 2).reshape(2 * n, 1, 1).repeat(1, 3, 1)
    traj = di.Trajectories(states=states, times=[0, 1, 2], features=["x"])
    ax = di.pl.fan(traj, color=["low"] * n + ["high"] * n)
    middles = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    np.testing.assert_allclose(middles["low"], 0, atol=1e-6)
    np.testing.assert_allclose(middles["high"], 10, atol=1e-6)
    # Four bands: of each group the middle 90 % and 50 %; groups are in alphabetical order.
    heights = [np.ptp(band.get_paths()[0].vertices[:, 1]) for band in ax.collections]
    np.testing.assert_allclose(heights, [1.8, 1.0, 1.8, 1.0], atol=0.02)


@pytest.mark.parametrize("color", [{"a", "b"}, ["a"], "ab", np.zeros((2, 1))])
def test_labels_of_a_fan_are_one_for_every_path(color):
    traj = di.Trajectories(states=torch.zeros(2, 2, 1), times=[0, 1], features=["x"])
    with pytest.raises((TypeError, ValueError), match="color must be"):
        di.pl.fan(traj, color=color)


def test_heavy_paths_move_the_median_of_a_fan():
    states = torch.tensor([0.0, 1.0, 2.0])[:, None, None].repeat(1, 2, 1)
    log_weights = torch.tensor([0.0, 0.0, 9.0])[:, None].repeat(1, 2)
    traj = di.Trajectories(states=states, times=[0, 1], features=["x"], log_weights=log_weights)
    (line,) = di.pl.fan(traj).get_lines()
    assert (line.get_ydata() > 1.9).all()


@pytest.fixture
def curves():
    rows = []
    for gene, slope in (("up", 1.0), ("down", -1.0), ("flat", 0.0)):
        for time in (0.0, 1.0, 2.0):
            mean = 1 + slope * time
            row = {"fate": "all", "gene": gene, "time": time, "mean": mean}
            rows.append(row | {"low": mean - 0.5, "high": mean + 0.5})
    return pd.DataFrame(rows)


def test_trends_have_a_panel_for_every_gene_with_its_line_and_band(curves):
    panels = di.pl.trends(curves, time_unit="d")
    assert [ax.get_title() for ax in panels.flat] == ["up", "down", "flat"]
    np.testing.assert_allclose(panels[0, 0].get_lines()[0].get_ydata(), [1, 2, 3])
    band = panels[0, 1].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (-1.5, 1.5)
    assert panels[0, 0].get_xlabel() == "time (d)"


def test_a_heat_map_is_ordered_by_peaks_and_standardised_and_a_flat_gene_is_zero(curves):
    ax = di.pl.heatmap(curves)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[-1] == "up"
    assert set(names[:2]) == {"down", "flat"}
    values = np.asarray(ax.collections[0].get_array()).reshape(3, 3)
    np.testing.assert_allclose(values[-1], np.array([-1, 0, 1]) * np.sqrt(1.5))
    np.testing.assert_allclose(values[names.index("flat")], 0)
    with pytest.raises(KeyError, match="fate must be one of 'all', found 'b'"):
        di.pl.heatmap(curves, "b")


@pytest.fixture(scope="module")
def climbing():
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(60, 2)) + [2 * shift, 0] for shift in range(2)]
    data = di.Snapshots(times=[0, 1], samples=samples, features=["east", "north"])
    model = di.ActionMatching(width=16, training=di.Training(max_steps=300))
    return model.fit(data, progress=False), data


def test_a_scrap_of_a_landscape_is_left_out_and_a_second_valley_is_not():
    is_open = np.zeros((10, 12), dtype=bool)
    is_open[:6, :5] = is_open[7:, 9:] = True
    is_open[0, 11] = is_open[9, 0] = True
    height = np.ma.masked_array(np.ones(is_open.shape), ~is_open)
    is_open[0, 11] = is_open[9, 0] = False
    np.testing.assert_array_equal(without_islands(height).mask, ~is_open)


def test_a_landscape_falls_in_the_direction_in_which_cells_go(climbing, monkeypatch):
    from mpl_toolkits.mplot3d import Axes3D

    drawn = []
    plain = Axes3D.plot_surface

    def recorded(self, *grids, **options):
        drawn.extend(grids)
        return plain(self, *grids, **options)

    monkeypatch.setattr(Axes3D, "plot_surface", recorded)
    model, data = climbing
    ax = di.pl.landscape(model, data, 0.5, kind="3d")
    east, _, height = drawn
    is_there = np.isfinite(height)
    assert np.corrcoef(east[is_there], height[is_there])[0, 1] < -0.9
    assert np.nanmin(height) == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("east", "north")
    assert ax.get_zlabel() == "−potential at time 0.5"
    flat = di.pl.landscape(model, data, 0.5)
    assert len(scatters(flat)[-1].get_offsets()) == 120
    with pytest.raises(ValueError, match="needs an ax with projection"):
        di.pl.landscape(model, data, kind="3d", ax=plt.subplots()[1])
    with pytest.raises(ValueError, match="kind must be '2d' or '3d', found '4d'"):
        di.pl.landscape(model, data, kind="4d")


def test_stream_lines_in_a_turned_embedding_are_turned(climbing):
    model, data = climbing
    states = np.concatenate(data.samples)
    adata = anndata.AnnData(
        X=states,
        obs=pd.DataFrame({"time": np.repeat([0.0, 1.0], 60)}, index=np.arange(120).astype(str)),
    )
    adata.var_names = ["east", "north"]
    # East points up, and everything is ten times as large.
    adata.obsm["X_turned"] = 10 * states[:, ::-1] * [-1, 1]
    other = di.ActionMatching(width=16, training=di.Training(max_steps=300))
    other.fit(adata, time_key="time", use_rep="X", progress=False)
    ax = di.pl.stream(other, adata, 0.5, "turned")
    segments = np.array(
        [s for c in ax.collections if hasattr(c, "get_segments") for s in c.get_segments()]
    )
    steps = segments[:, -1] - segments[:, 0]
    assert steps[:, 1].sum() > 3 * abs(steps[:, 0].sum())


def compared():
    rows = []
    for method, scores, settings in (
        ("good", [1.0, 2.0, 3.0], "{}"),
        ("still", [4.0, 4.0, 4.0], ""),
        ("floor", [0.5, 0.5, 0.8], ""),
        ("poor", [9.0, 9.0, np.nan], "{}"),
    ):
        for time, score in enumerate(scores):
            rows.append({"method": method, "time": time, "w1": score, "settings": settings})
    return pd.DataFrame(rows)


def test_a_comparison_has_means_with_standard_errors_the_best_on_top_and_the_floor():
    ax = di.pl.comparison(compared())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["good", "still", "poor"]
    means = [container.lines[0] for container in ax.containers]
    np.testing.assert_allclose([mean.get_xdata()[0] for mean in means], [2, 4, 9])
    bar = ax.containers[0].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(np.ptp(bar[:, 0]) / 2, 1 / np.sqrt(3))
    assert [mean.get_marker() for mean in means] == ["o", "s", "o"]
    (text,) = ax.texts
    assert text.get_text() == "floor"
    assert text.get_position()[0] == pytest.approx(0.6)
    assert ax.get_xlim()[0] == 0


def test_a_comparison_read_back_from_csv_tells_baselines_from_methods():
    """A file holds the empty settings of a baseline as what is missing."""
    table = pd.read_csv(io.StringIO(compared().to_csv(index=False)))
    ax = di.pl.comparison(table)
    assert [container.lines[0].get_marker() for container in ax.containers] == ["o", "s", "o"]


def test_more_of_a_likelihood_is_better():
    table = compared().rename(columns={"w1": "log_likelihood"})
    ax = di.pl.comparison(table, "log_likelihood")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["poor", "still", "good"]


def test_numbers_of_a_logarithmic_axis_are_plain():
    _, ax = plt.subplots()
    ax.plot([0.02, 3.0], [1, 1])
    log_axis(ax.xaxis)
    ax.figure.canvas.draw()
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert {"0.05", "0.1", "0.5", "1", "2"} <= set(labels)


def test_predicted_means_and_spreads_are_weighted():
    data = di.Snapshots(times=[0, 1], samples=[[[0.0, 0.0]], [[1.0, 5.0], [3.0, 5.0]]])
    states = torch.tensor([[[0.0, 0], [2.0, 4.0]], [[0, 0], [6.0, 8.0]]])
    log_weights = torch.tensor([[0.0, np.log(3.0)], [0.0, 0.0]])
    traj = di.Trajectories(
        states=states, times=[0, 1], features=["x0", "x1"], log_weights=log_weights
    )
    ax = di.pl.predicted(data, traj, 1)
    means, spreads = scatters(ax)
    np.testing.assert_allclose(means.get_offsets(), [[2, 3], [5, 5]], atol=1e-6)
    np.testing.assert_allclose(spreads.get_offsets(), [[1, 3**0.5], [0, 3**0.5]], atol=1e-6)
    assert [text.get_text() for text in ax.texts] == ["x0"]
    with pytest.raises(ValueError, match="nothing was observed at time 0.5"):
        di.pl.predicted(data, traj, 0.5)


def test_an_animation_has_a_frame_for_every_time_with_the_cells_of_that_time(tmp_path):
    from PIL import Image

    data = di.Snapshots(times=[0, 1], samples=[np.zeros((3, 2)), np.ones((3, 2))])
    states = torch.rand(4, 5, 2, generator=torch.Generator().manual_seed(0))
    traj = di.Trajectories(states=states, times=np.linspace(0, 1, 5), features=["x0", "x1"])
    _, ax = plt.subplots()
    moving = di.pl.animation(data, traj, time_unit="h", ax=ax, save=tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 5
    moving._func(3)
    assert ax.get_title() == "0.75 h"
    np.testing.assert_allclose(scatters(ax)[-1].get_offsets(), states[:, 3], rtol=1e-6)
    with pytest.raises(ValueError, match=r"save must end in .gif or .mp4, found 'a.png'"):
        di.pl.animation(data, traj, save=tmp_path / "a.png")


def test_a_film_without_ending_is_the_best_that_can_be_written(tmp_path, monkeypatch):
    from matplotlib.animation import FuncAnimation, writers

    data = di.Snapshots(times=[0, 1], samples=[np.zeros((3, 2)), np.ones((3, 2))])
    states = torch.zeros(2, 2, 2)
    traj = di.Trajectories(states=states, times=[0.0, 1.0], features=["x0", "x1"])
    there, saved = {"ffmpeg", "pillow"}, []
    monkeypatch.setattr(writers, "is_available", lambda name: name in there)

    def save(self, path, writer, **options):
        saved.append((path.name, writer))

    monkeypatch.setattr(FuncAnimation, "save", save)
    # Drawn once, as matplotlib warns of films that nobody has seen.
    films = [di.pl.animation(data, traj, save=tmp_path / "film")]
    there.remove("ffmpeg")
    films.append(di.pl.animation(data, traj, save=tmp_path / "film"))
    assert saved == [("film.mp4", "ffmpeg"), ("film.gif", "pillow")]
    with pytest.raises(ValueError, match="mp4 file needs ffmpeg, which is not .* save a .gif"):
        di.pl.animation(data, traj, save=tmp_path / "film.mp4")
    there.clear()
    with pytest.raises(ValueError, match="install ffmpeg for .mp4, or pillow for .gif"):
        di.pl.animation(data, traj, save=tmp_path / "film.gif")
    for film in films:
        film._draw_was_started = True


def test_edges_lie_between_times_and_half_a_step_beyond():
    np.testing.assert_allclose(edges(np.array([0.0, 1, 3])), [-0.5, 0.5, 2, 4])
    np.testing.assert_allclose(edges(np.array([2.0])), [1.5, 2.5])


@pytest.mark.parametrize(
    ("draw", "error", "says"),
    [
        (lambda a: di.pl.fate_triangle(a, ["a", "b"]), ValueError, "at least three fates"),
        (lambda a: di.pl.fate_triangle(a, ["a", "b", "q"]), KeyError, "there is no fate 'q'"),
        (lambda a: di.pl.fate_triangle(a, color="q"), KeyError, "color 'q'"),
        (lambda a: di.pl.fate_bars(3), TypeError, "tl.transition_table returned, found 3"),
        (lambda a: di.pl.fan(3), TypeError, "traj must be Trajectories, found 3"),
        (lambda a: di.pl.trends(3), TypeError, "tl.trends returned, found 3"),
        (lambda a: di.pl.heatmap(pd.DataFrame({"fate": []})), KeyError, "no column 'gene'"),
        (lambda a: di.pl.comparison(3), TypeError, "tl.compare returned, found 3"),
        (lambda a: di.pl.comparison(compared(), "w7"), KeyError, "no metric 'w7'"),
        (lambda a: di.pl.predicted(a, 3, 1), TypeError, "traj must be Trajectories"),
        (lambda a: di.pl.comparison(compared(), ["w1"]), TypeError, "metric must be the name"),
        (lambda a: di.pl.comparison(compared().astype(str)), TypeError, "'w1' .* a finite number"),
        (
            lambda a: di.pl.fate_bars(pd.DataFrame({"n_cells": [1]})),
            TypeError,
            "a time and a label",
        ),
        (lambda a: di.pl.fate_triangle(a, color=pd.NA), TypeError, "color must be"),
        (lambda a: di.pl.animation(a, 3), TypeError, "traj must be the Trajectories"),
    ],
)
def test_a_mistake_is_named(fated, draw, error, says):
    with pytest.raises(error, match=says):
        draw(fated)
