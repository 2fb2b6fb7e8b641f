"""Pictures hold what the data hold: as many points, paths and lines, at the right places."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection

import dyninfer as di
from dyninfer.plotting.plane import neighbor_projection

TIMES = (0.0, 1.0, 2.0)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    time = np.repeat(TIMES, 40)
    pca = rng.normal(size=(120, 3)).astype(np.float32) + time[:, None].astype(np.float32)
    obs = pd.DataFrame({"day": time}, index=[f"c{i}" for i in range(120)])
    return anndata.AnnData(
        X=rng.normal(size=(120, 2)).astype(np.float32),
        obs=obs,
        obsm={"X_pca": pca, "X_umap": 10 * pca[:, :2]},
    )


@pytest.fixture(scope="module")
def model(cells):
    adata = cells.copy()
    adata.obs["mass"] = adata.obs["day"] + 1
    return di.ActionMatching(width=8, growth_penalty=0.5).fit(
        adata, time_key="day", use_rep="X_pca", mass_key="mass", max_steps=40, progress=False
    )


@pytest.fixture(scope="module")
def conserving(cells):
    return di.ActionMatching(width=8, training=di.Training(validate_every=20)).fit(
        cells, time_key="day", use_rep="X_pca", hold_out=1.0, max_steps=60, progress=False
    )


def paths(n=12, n_times=5, d=3, **kwargs):
    states = torch.randn(n, n_times, d, generator=torch.Generator().manual_seed(0))
    return di.Trajectories(
        states=states,
        times=np.linspace(0, 2, n_times),
        features=[f"PCA{i + 1}" for i in range(d)],
        **kwargs,
    )


def scatters(ax):
    return [c for c in ax.collections if isinstance(c, PathCollection)]


def lines(ax):
    return next(c for c in ax.collections if isinstance(c, LineCollection))


def test_a_path_has_one_segment_per_step_one_start_and_one_end(cells):
    traj = paths()
    ax = di.pl.trajectories(cells, traj)
    observed, start, end = scatters(ax)
    assert len(observed.get_offsets()) == 120
    np.testing.assert_allclose(start.get_offsets(), traj.states[:, 0, :2], rtol=1e-6)
    np.testing.assert_allclose(end.get_offsets(), traj.states[:, -1, :2], rtol=1e-6)
    segments = np.array(lines(ax).get_segments())
    assert segments.shape == (12 * 4, 2, 2)
    np.testing.assert_allclose(segments[1, 0], traj.states[0, 1, :2], rtol=1e-6)


def test_the_given_axes_are_drawn_on_and_returned(cells):
    _, ax = plt.subplots()
    assert di.pl.trajectories(cells, paths(), ax=ax) is ax
    assert len(plt.get_fignums()) == 1


def test_components_choose_the_features_and_name_the_axes(cells):
    ax = di.pl.trajectories(cells, paths(), components=(2, 0))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("PCA3", "PCA1")
    np.testing.assert_allclose(
        scatters(ax)[0].get_offsets(), cells.obsm["X_pca"][:, [2, 0]], rtol=1e-6
    )


def test_diverged_paths_are_left_out_and_n_paths_is_a_maximum(cells):
    status = torch.tensor([1] * 4 + [0] * 8)
    assert len(scatters(di.pl.trajectories(cells, paths(status=status)))[1].get_offsets()) == 8
    assert (
        len(scatters(di.pl.trajectories(cells, paths(status=status), n_paths=5))[1].get_offsets())
        == 5
    )


def test_heavier_paths_are_more_opaque(cells):
    log_weights = torch.zeros(12, 5)
    log_weights[:6] = -2.0
    alpha = (
        lines(di.pl.trajectories(cells, paths(log_weights=log_weights)))
        .get_colors()[:, 3]
        .reshape(12, 4)
    )
    np.testing.assert_allclose(alpha[:6] / alpha[6:], np.exp(-2.0), rtol=1e-5)


def test_one_feature_is_drawn_against_time():
    data = di.Snapshots(times=[0, 2], samples=[np.zeros((5, 1)), np.ones((4, 1))])
    ax = di.pl.trajectories(data, paths(d=1), time_unit="h")
    assert ax.get_xlabel() == "time (h)"
    np.testing.assert_allclose(scatters(ax)[0].get_offsets()[:, 0], [0] * 5 + [2] * 4)
    np.testing.assert_allclose(np.array(lines(ax).get_segments())[:4, 0, 0], [0, 0.5, 1.0, 1.5])


def test_another_basis_places_a_cell_that_was_simulated_near_itself(cells):
    states = torch.as_tensor(cells.obsm["X_pca"][:7])[:, None].repeat(1, 2, 1)
    traj = di.Trajectories(states=states, times=[0.0, 1.0], features=["PCA1", "PCA2", "PCA3"])
    ax = di.pl.trajectories(cells, traj, basis="umap", n_neighbors=1)
    np.testing.assert_allclose(scatters(ax)[1].get_offsets(), cells.obsm["X_umap"][:7], rtol=1e-6)


def test_projection_by_neighbors_is_the_weighted_mean_of_the_formula():
    cells, embedding = np.array([[0.0], [1.0], [4.0]]), np.array([[0.0, 0], [1, 5], [2, 7]])
    place = neighbor_projection(cells, embedding, n_neighbors=2)
    distance = np.array([0.25, 0.75])
    weight = np.exp(-0.5 * (distance / 0.5) ** 2)
    expected = weight @ embedding[:2] / weight.sum()
    np.testing.assert_allclose(
        place(np.array([[[0.25]], [[np.nan]]])), [[expected], [[np.nan] * 2]]
    )


def test_projection_never_leaves_the_cloud_of_cells():
    rng = np.random.default_rng(0)
    cells, embedding = rng.normal(size=(200, 4)), rng.uniform(size=(200, 2))
    placed = neighbor_projection(cells, embedding)(rng.normal(size=(50, 9, 4)) * 5)
    assert placed.shape == (50, 9, 2)
    assert (placed >= 0).all()
    assert (placed <= 1).all()


def test_marginals_have_a_column_per_time_with_all_cells_of_it_and_mark_the_held_out_one(cells):
    panels = di.pl.marginals(cells, paths(), hold_out=1.0, time_key="day", time_unit="d")
    assert panels.shape == (2, 3)
    assert [ax.get_title() for ax in panels[0]] == ["0 d", "1 d, held out", "2 d"]
    for k, ax in enumerate(panels[0]):
        expected = cells.obsm["X_pca"][40 * k : 40 * (k + 1), :2]
        np.testing.assert_allclose(scatters(ax)[1].get_offsets(), expected, rtol=1e-6)
    np.testing.assert_allclose(
        scatters(panels[1, 1])[1].get_offsets(), paths().states[:, 2, :2], rtol=1e-6
    )


def test_growth_colors_every_cell_and_draws_the_mass_from_one(model, cells):
    adata = cells.copy()
    adata.obs["mass"] = adata.obs["day"] + 1
    left, right = di.pl.growth(model, adata, n_times=7, time_unit="d")
    assert len(scatters(left)[0].get_offsets()) == 120
    simulated = next(line for line in right.get_lines() if line.get_label() == "simulated")
    assert len(simulated.get_xdata()) == 7
    assert simulated.get_ydata()[0] == pytest.approx(1.0)
    observed = next(line for line in right.get_lines() if line.get_label() == "observed")
    np.testing.assert_allclose(observed.get_ydata(), [1, 2, 3])


def test_the_color_of_growth_is_white_at_zero():
    from dyninfer.plotting.style import diverging_scale

    scale = diverging_scale(np.array([-0.1, 0.5, 3.0]))
    np.testing.assert_allclose(scale.to_rgba(0.0)[:3], [0.97, 0.97, 0.97], atol=0.01)
    assert scale.to_rgba(1.0)[0] > scale.to_rgba(1.0)[2]


def test_potential_colors_the_cells_around_its_time(conserving, cells):
    ax = di.pl.potential(conserving, cells, time=0.5)
    rest, near = scatters(ax)
    assert (len(rest.get_offsets()), len(near.get_offsets())) == (40, 80)
    assert float(near.get_array().mean()) == pytest.approx(0, abs=1e-5)


def test_stream_shows_a_uniform_drift_as_it_is(cells):
    from dyninfer.plotting.grid import averaged_on_grid

    points = cells.obsm["X_pca"][:, :2]
    _, _, (u, v) = averaged_on_grid(points, np.tile([2.0, -1.0], (120, 1)))
    np.testing.assert_allclose(u.compressed(), 2.0)
    np.testing.assert_allclose(v.compressed(), -1.0)
    assert 0 < u.mask.sum() < u.size


def test_stream_draws_lines_over_the_cells(conserving, cells):
    ax = di.pl.stream(conserving, cells, 1.5, components=(0, 2))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("PCA1", "PCA3")
    assert len(lines(ax).get_segments()) > 10


def test_history_marks_the_best_validation(conserving):
    ax = di.pl.history(conserving)
    rows = conserving.history_.dropna(subset="validation")
    kept = next(line for line in ax.get_lines() if line.get_label().startswith("kept"))
    best = rows.loc[rows["validation"].idxmin()]
    assert list(kept.get_xdata()) == [best["step"]]
    assert list(kept.get_ydata()) == [best["validation"]]


def test_mass_is_the_mean_weight():
    log_weights = torch.linspace(0, 1, 5).repeat(12, 1)
    ax = di.pl.mass(paths(log_weights=log_weights))
    np.testing.assert_allclose(
        ax.get_lines()[-1].get_ydata(), np.exp(np.linspace(0, 1, 5)), rtol=1e-6
    )


def test_evaluation_draws_model_floor_and_unmoved_start_and_rings_the_held_out_time():
    table = pd.DataFrame(
        {
            "time": [2.0, 1.0],
            "held_out": [False, True],
            "w1": [0.5, 0.4],
            "w1_floor": [0.1, 0.2],
            "w1_still": [1.0, 2.0],
        }
    )
    drawn = {line.get_label(): line for line in di.pl.evaluation(table, time_unit="d").get_lines()}
    np.testing.assert_allclose(drawn["model"].get_xydata(), [[1, 0.4], [2, 0.5]])
    np.testing.assert_allclose(drawn["starting cells, unmoved"].get_ydata(), [2.0, 1.0])
    np.testing.assert_allclose(drawn["another observed sample (floor)"].get_ydata(), [0.2, 0.1])
    np.testing.assert_allclose(drawn["model, time held out"].get_xydata(), [[1, 0.4]])


@pytest.mark.parametrize(
    ("draw", "error", "says"),
    [
        (lambda c, m: di.pl.trajectories(c, paths(), basis="X_tsne"), KeyError, "X_tsne"),
        (lambda c, m: di.pl.trajectories(c, paths(), components=(0, 3)), ValueError, "components"),
        (
            lambda c, m: di.pl.trajectories(c, paths(d=2)[:, :2], use_rep="X_pca"),
            ValueError,
            "2 features were simulated",
        ),
        (lambda c, m: di.pl.trajectories(c, paths(d=4)), KeyError, "use_rep"),
        (lambda c, m: di.pl.trajectories(c, c), TypeError, "Trajectories"),
        (lambda c, m: di.pl.trajectories([1], paths()), TypeError, "AnnData"),
        (
            lambda c, m: di.pl.trajectories(
                c, di.Trajectories(states=torch.zeros(3, 2, dtype=torch.long), times=[0, 1])
            ),
            TypeError,
            "integers",
        ),
        (lambda c, m: di.pl.marginals(c, paths()), KeyError, "time_key is needed"),
        (
            lambda c, m: di.pl.marginals(c, paths(), set(), time_key="day"),
            ValueError,
            "times is empty; give at least one observed time",
        ),
        (
            lambda c, m: di.pl.marginals(c, paths(), [0.3], time_key="day"),
            ValueError,
            "nothing was observed at time 0.3",
        ),
        (
            lambda c, m: di.pl.marginals(c, paths(), time_key="day", ax=plt.subplots()[1]),
            ValueError,
            "panels",
        ),
        (lambda c, m: di.pl.growth(m, c), ValueError, "conserves mass"),
        (lambda c, m: di.pl.stream(m, c, 5.0), ValueError, "outside the data"),
        (lambda c, m: di.pl.stream(di.ActionMatching(), c), ValueError, "not fitted"),
        (lambda c, m: di.pl.stream(m, c, density=1e6), ValueError, "at most 20"),
        (lambda c, m: di.pl.landscape(None, None), TypeError, "fitted estimator, found None"),
        (lambda c, m: di.pl.history(m, ["lss"]), KeyError, "'loss'"),
        (lambda c, m: di.pl.history(m, []), ValueError, "terms is empty"),
        (
            lambda c, m: di.pl.evaluation(pd.DataFrame({"time": [1], "w1_floor": [1]}), "w3"),
            KeyError,
            "'w1'",
        ),
    ],
)
def test_a_mistake_is_named(cells, conserving, draw, error, says):
    with pytest.raises(error, match=says):
        draw(cells, conserving)


def test_nothing_imports_matplotlib_before_a_picture_is_drawn():
    import subprocess
    import sys

    code = "import sys, dyninfer.plotting; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(TypeError, match="table must be what evaluate returned, found 1"):
        di.pl.evaluation(1)
    with pytest.raises(TypeError, match="model must be a fitted estimator, found 7"):
        di.pl.history(7)
    with pytest.raises(TypeError, match="traj must be Trajectories, found 3"):
        di.pl.mass(3)


def test_colour_by_label_is_that_of_the_nearest_cell_and_stands_in_the_legend(cells):
    adata = cells.copy()
    adata.obs["kind"] = pd.Categorical(["a", "b", "a"] * 40)
    adata.uns["kind_colors"] = ["#ff0000", "#0000ff"]
    states = torch.as_tensor(adata.obsm["X_pca"][:6])[:, None].repeat(1, 3, 1)
    traj = di.Trajectories(states=states, times=[0, 1, 2], features=["PCA1", "PCA2", "PCA3"])
    ax = di.pl.trajectories(adata, traj, color="kind")
    colors = lines(ax).get_colors()[:, :3].reshape(6, 2, 3)
    expected = np.where(np.arange(6)[:, None] % 3 == 1, [0, 0, 1], [1, 0, 0])
    np.testing.assert_allclose(colors, np.repeat(expected[:, None], 2, axis=1))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    observed = scatters(ax)[0].get_facecolors()
    np.testing.assert_allclose(observed[:3, 2], [0, 1, 0])


def test_colour_by_a_number_has_a_bar_and_grey_where_it_is_missing(cells):
    adata = cells.copy()
    adata.obs["dose"] = np.r_[np.nan, np.linspace(0, 1, 119)]
    ax = di.pl.trajectories(adata, paths(), color="dose")
    observed = scatters(ax)[0].get_facecolors()
    assert observed[0, 0] == observed[0, 1] == observed[0, 2]
    assert ax.figure.axes[-1].get_ylabel() == "dose"


def test_save_writes_the_format_of_its_ending(cells, tmp_path):
    ax = di.pl.trajectories(cells, paths(), save=tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    di.pl.mass(paths(), save=tmp_path / "b.pdf")
    assert (tmp_path / "b.pdf").read_bytes()[:4] == b"%PDF"
    with pytest.raises(ValueError, match="save must end in an image format"):
        di.pl.mass(paths(), save=tmp_path / "c.xyz")
    with pytest.raises(FileNotFoundError, match="make it first"):
        di.pl.mass(paths(), save=tmp_path / "no" / "c.png")
    assert ax.figure is not None


def test_show_opens_the_figure_once(cells, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(1))
    di.pl.mass(paths())
    assert shown == []
    di.pl.mass(paths(), show=True)
    assert shown == [1]
    with pytest.raises(TypeError, match="show"):
        di.pl.mass(paths(), show="yes")


def test_every_picture_takes_the_same_keys():
    import inspect

    for name in di.pl.__all__:
        parameters = inspect.signature(getattr(di.pl, name)).parameters
        assert {"show", "save"} <= set(parameters), name
        assert parameters["show"].default is False
        assert parameters["save"].default is None
