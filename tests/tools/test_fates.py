"""`fates`: probabilities of the labels of a later time, for every method, that can be saved."""

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from known_process import KnownProcess
from scipy.stats import norm
from sklearn.exceptions import NotFittedError

import dyninfer as di
from dyninfer.diffusions import Diffusion
from dyninfer.simulators.branching import branch
from dyninfer.tools import fates, transition_table

CERTAIN = pytest.mark.filterwarnings("ignore:all fates are 0 or 1")
pytestmark = [
    pytest.mark.filterwarnings("ignore:the simulated mass is far"),
    pytest.mark.filterwarnings("ignore:the effective sample size"),
    pytest.mark.filterwarnings("ignore:fewer than 20 samples"),
]


def still(t, x):
    return torch.zeros_like(x)


NOISY = Diffusion(drift=still, diffusion=0.5)
# With a score, a process can be run with any noise. This one is of cells all over the place.
SCORED = Diffusion(drift=still, diffusion=0.0, score=still)
FLOW = Diffusion(drift=lambda t, x: 2 * x.sign())


def line(labels=("left", "right"), n_end=400, n_start=6):
    """Cells around zero at times 0 and 1, and on a line at time 2, with labels from left to right."""
    end = np.linspace(-4, 4, n_end)
    start = np.linspace(-0.5, 0.5, n_start)
    x = np.concatenate([start, start, end])
    # The second coordinate is there so that states are vectors.
    states = np.stack([x, np.zeros(len(x))], 1).astype(np.float32)
    parts = np.array_split(np.arange(n_end), len(labels))
    label = np.full(len(x), "early", dtype=object)
    for name, part in zip(labels, parts, strict=True):
        label[2 * n_start + part] = name
    time = np.repeat([0.0, 1.0, 2.0], [n_start, n_start, n_end])
    obs = pd.DataFrame({"time": time}, index=[f"cell{i}" for i in range(len(x))])
    obs["label"] = pd.Categorical(label, categories=["early", *labels, "unused"])
    adata = ad.AnnData(np.zeros((len(x), 1), np.float32), obs=obs)
    adata.obsm["X_pca"] = states
    return adata


def fitted(adata, process=NOISY, **options):
    return KnownProcess(process=process).fit(adata, time_key="time", **options)


@pytest.fixture
def adata():
    return line()


def test_fates_sum_to_one_and_the_end_has_its_own_labels(adata):
    table = fates(fitted(adata), adata, "label")
    assert list(table.columns) == ["left", "right"]
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)
    assert (table >= 0).all(axis=None)
    is_end = (adata.obs["time"] == 2).to_numpy()
    own = adata.obs["label"][is_end] == "right"
    assert (table["right"][is_end] == own).all()
    assert (
        adata.obs["dyninfer_fate"][is_end]
        .astype(str)
        .equals(adata.obs["label"][is_end].astype(str).rename("dyninfer_fate"))
    )
    # Symmetric cells, symmetric fates.
    assert table["right"].iloc[0] < 0.4 < 0.6 < table["right"].iloc[5]
    low, high = adata.obsm["dyninfer_fates_low"], adata.obsm["dyninfer_fates_high"]
    assert ((low <= table) & (table <= high)).all(axis=None)


def test_cells_after_the_end_have_no_fate(adata):
    adata.obs["label"] = adata.obs["label"].cat.add_categories("middle")
    adata.obs.loc[adata.obs["time"] == 1, "label"] = "middle"
    table = fates(fitted(adata), adata, "label", at=1)
    assert list(table.columns) == ["middle"]
    assert table[adata.obs["time"] == 2].isna().all(axis=None)
    # One fate: all ones, and no entropy.
    assert (table[adata.obs["time"] < 2] == 1).all(axis=None)
    assert (adata.obs["dyninfer_fate_entropy"][adata.obs["time"] < 2] == 0).all()
    assert adata.obs["dyninfer_fate"].isna().sum() == 400


def test_states_choose_order_and_merge():
    adata = line(("a", "b", "c", "d"))
    model = fitted(adata)
    every = fates(model, adata, "label")
    assert list(every.columns) == ["a", "b", "c", "d"]
    ordered = fates(model, adata, "label", states=["d", "a", "b", "c"])
    pd.testing.assert_frame_equal(ordered[every.columns], every)
    merged = fates(model, adata, "label", states={"low": ["a", "b"], "high": ["c", "d"]})
    np.testing.assert_allclose(merged["low"], every["a"] + every["b"], atol=1e-12)
    chosen = fates(model, adata, "label", states=["a", "d"])
    np.testing.assert_allclose(chosen.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"states": ["lefd"]}, "did you mean 'left'"),
        ({"states": ["early"]}, "no cell of the end time has the label 'early'"),
        ({"states": {"a": "left", "b": "left"}}, "is in two fates"),
        ({"states": []}, "states is empty"),
        ({"label_key": "lable"}, "did you mean 'label'"),
        ({"label_key": None, "states": ["left"]}, "label_key"),
        ({"at": 0}, "is the first of the data"),
        ({"at": 1.5}, "the times are 0, 1, 2"),
        ({"of": "clones"}, "'descendants' or 'lineage'"),
        ({"mix": 2}, "mix must lie between 0 and 1"),
        ({"transport": -0.1}, "transport must lie between 0 and 1"),
        ({"transport": True}, "transport must lie between 0 and 1"),
        ({"n_draws": 0}, "n_draws must be at least 1"),
    ],
)
def test_what_cannot_be_is_said(adata, options, sentence):
    with pytest.raises((KeyError, ValueError)) as error:
        fates(fitted(adata), adata, **({"label_key": "label"} | options))
    assert sentence in str(error.value)
    assert len(str(error.value)) <= 300
    assert "dyninfer_fates" not in adata.obsm


def test_models_that_cannot_answer_say_why(adata):
    with pytest.raises(NotFittedError):
        fates(KnownProcess(process=NOISY), adata, "label")
    with pytest.raises(TypeError, match="must be a fitted estimator"):
        fates(KnownProcess, adata, "label")
    x = adata.obsm["X_pca"]
    snapshots = di.Snapshots(times=[0, 1], samples=[x[:6], x[12:]])
    with pytest.raises(ValueError, match="was not fitted on an AnnData"):
        fates(KnownProcess(process=NOISY).fit(snapshots), adata, "label")


def test_missing_labels_and_unused_categories_are_no_fates(adata):
    adata.obs.loc[adata.obs_names[-50:], "label"] = np.nan
    table = fates(fitted(adata), adata, "label")
    assert list(table.columns) == ["left", "right"]
    # Cells of the end without a label take that of their neighbours.
    np.testing.assert_allclose(table["right"].iloc[-50:], 1)


def test_integer_labels_become_text_in_the_order_of_numbers(adata):
    numbers = adata.obs["label"].map({"early": 0, "left": 10, "right": 2, "unused": 3})
    adata.obs["number"] = numbers.astype(int)
    assert list(fates(fitted(adata), adata, "number").columns) == ["2", "10"]


@pytest.mark.parametrize("labels", [("left", "right"), ("Baso/Eos", "Mono")])
def test_fates_survive_a_file_without_a_warning(labels, tmp_path):
    adata = line(labels)
    model = fitted(adata)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = fates(model, adata, "label", baselines=True)
        adata.write_h5ad(tmp_path / "fates.h5ad")
        again = ad.read_h5ad(tmp_path / "fates.h5ad")
    for key in ("dyninfer_fates", "dyninfer_fates_low", "dyninfer_fates_transport"):
        np.testing.assert_array_equal(np.asarray(again.obsm[key]), np.asarray(adata.obsm[key]))
    np.testing.assert_array_equal(np.asarray(again.obsm["dyninfer_fates"]), table)
    assert list(again.uns["dyninfer_fates"]["names"]) == list(labels)
    assert list(again.obs["dyninfer_fate"]) == list(adata.obs["dyninfer_fate"])
    assert list(again.uns["dyninfer_fate_colors"]) == list(adata.uns["dyninfer_fate_colors"])


def test_colours_are_those_of_the_labels_and_change_with_the_fates():
    adata = line(("a", "b", "c"))
    adata.uns["label_colors"] = ["#000001", "#000002", "#000003", "#000004", "#000005"]
    model = fitted(adata)
    fates(model, adata, "label")
    assert adata.uns["dyninfer_fate_colors"] == ["#000002", "#000003", "#000004"]
    fates(model, adata, "label", states={"c": ["c"], "ab": ["b", "a"]})
    assert adata.uns["dyninfer_fate_colors"] == ["#000004", "#000003"]
    del adata.uns["label_colors"]
    fates(model, adata, "label", states=["a", "b"])
    assert len(set(adata.uns["dyninfer_fate_colors"])) == 2


def test_one_seed_gives_one_result_whatever_the_chunk(adata):
    model = fitted(adata)
    first = fates(model, adata, "label", seed=3)
    pd.testing.assert_frame_equal(fates(model, adata, "label", seed=3), first)
    chunked = fates(model, adata, "label", seed=3, chunk=7)
    pd.testing.assert_frame_equal(chunked, first, atol=1e-6)
    assert not fates(model, adata, "label", seed=4).equals(first)


def test_descendants_are_weighed_by_growth_and_a_lineage_is_not():
    # Of a Brownian motion that grows at rate g x the mass is shifted by g σ² T² / 2.
    process = Diffusion(drift=still, diffusion=1.0, growth=lambda t, x: x[:, 0])
    adata = line(n_end=4000, n_start=2)
    adata.obsm["X_pca"][:4] = 0
    model = fitted(adata, process)
    options = {"n_draws": 4000, "n_neighbors": 1}
    descendants = fates(model, adata, "label", **options)
    lineage = fates(model, adata, "label", of="lineage", **options)
    for span, rows in ((2, slice(0, 2)), (1, slice(2, 4))):
        expected = norm.cdf(span**1.5 / 2)
        np.testing.assert_allclose(descendants["right"].iloc[rows], expected, atol=0.03)
        np.testing.assert_allclose(lineage["right"].iloc[rows], 0.5, atol=0.025)
    assert adata.uns["dyninfer_fates"]["of"] == "lineage"


def test_intervals_cover_the_truth_and_errors_are_those_of_the_draws():
    adata = line(n_start=200)
    adata.obsm["X_pca"][:400] = 0
    table = fates(fitted(adata), adata, "label", n_draws=50, n_neighbors=1)
    right = table["right"].iloc[:400]
    # p (1 - p) / 50 = 0.005, with a relative error of 7 % over 400 cells.
    assert 0.0040 < ((right - 0.5) ** 2).mean() < 0.0060
    low = adata.obsm["dyninfer_fates_low"]["right"].iloc[:400]
    high = adata.obsm["dyninfer_fates_high"]["right"].iloc[:400]
    assert 0.91 < ((low <= 0.5) & (high >= 0.5)).mean() < 0.99


def test_without_noise_fates_are_certainties_and_refits_give_an_interval(adata):
    with pytest.warns(UserWarning, match="all fates are 0 or 1"):
        table = fates(fitted(adata, FLOW), adata, "label")
    assert adata.uns["dyninfer_fates"]["kind"] == "certainties"
    # Twelve cells, and one path each.
    assert adata.uns["dyninfer_fates"]["paths"] == 12
    assert set(table["right"].iloc[:12]) == {0.0, 1.0}
    assert adata.obsm["dyninfer_fates_low"].iloc[:12].isna().all(axis=None)
    other = Diffusion(drift=lambda t, x: 2 * torch.ones_like(x))
    pair = [fitted(adata, FLOW), fitted(adata, other)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean = fates(pair, adata, "label")
    np.testing.assert_allclose(mean["right"].iloc[:6], [0.5, 0.5, 0.5, 1, 1, 1])
    low = adata.obsm["dyninfer_fates_low"]["right"]
    assert list(low.iloc[:6]) == [0, 0, 0, 1, 1, 1]
    assert (adata.obsm["dyninfer_fates_high"]["right"].iloc[:6] == 1).all()


@pytest.mark.filterwarnings("ignore:.*diverged")
def test_lost_paths_are_counted_and_dying_is_no_fate(adata):
    def drift(t, x):
        # Beyond 0.4, a path is infinitely fast.
        return torch.where(x > 0.4, torch.inf, 0.0)

    model = fitted(adata, Diffusion(drift=drift, diffusion=0.05))
    with pytest.warns(UserWarning, match="paths were lost on the way"):
        table = fates(model, adata, "label", n_draws=20)
    facts = adata.uns["dyninfer_fates"]
    assert facts["paths"] == 240
    assert 40 <= facts["lost_paths"] < 100
    assert table.iloc[5].isna().all()
    np.testing.assert_allclose(table.iloc[:5].sum(axis=1), 1, atol=1e-6)
    mortal = Diffusion(drift=still, diffusion=0.5, growth=lambda t, x: -50 * (x[:, 0] > 0))
    table = fates(fitted(adata, mortal), adata, "label")
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)
    assert (table["left"].iloc[:6] > 0.8).all()


def test_missing_values_in_held_out_cells_change_nothing(adata):
    spoilt = adata.copy()
    spoilt.obsm["X_pca"][6:12] = np.nan
    whole = fates(fitted(adata, hold_out=1), adata, "label", baselines=True)
    with pytest.warns(UserWarning, match="6 cells with missing values in X_pca"):
        table = fates(fitted(spoilt, hold_out=1), spoilt, "label", baselines=True)
    rest = (adata.obs["time"] != 1).to_numpy()
    pd.testing.assert_frame_equal(table[rest], whole[rest])
    assert table[~rest].isna().all(axis=None)
    for key in ("dyninfer_fates_neighbors", "dyninfer_fates_transport"):
        pd.testing.assert_frame_equal(spoilt.obsm[key][rest], adata.obsm[key][rest])


def test_one_cell_with_missing_values_changes_no_other(adata):
    model = fitted(adata)
    whole = fates(model, adata, "label")
    adata.obsm["X_pca"][2] = np.nan
    with pytest.warns(UserWarning, match="1 cell with missing values in X_pca"):
        table = fates(model, adata, "label")
    assert table.iloc[2].isna().all()
    others = np.arange(adata.n_obs) != 2
    pd.testing.assert_frame_equal(table[others], whole[others])


@CERTAIN
def test_clusters_of_the_end_stand_in_for_labels(adata):
    rng = np.random.default_rng(0)
    adata.obsm["X_pca"][12:] = rng.normal(0, 0.1, (400, 2))
    adata.obsm["X_pca"][112:, 0] += 5
    table = fates(fitted(adata, FLOW), adata)
    assert list(table.columns) == ["cluster 1", "cluster 2"]
    # The larger first.
    assert (table["cluster 1"].iloc[12:] == 1).sum() == 300


def test_conditions_share_their_ends(adata):
    adata.obs["donor"] = np.where(np.arange(adata.n_obs) % 2, "A", "B")
    model = di.StochasticInterpolant().fit(
        adata, time_key="time", condition_key="donor", max_steps=3, progress=False
    )
    table = fates(model, adata, "label", noise=0.1, n_draws=5)
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)
    # A cell's paths are those of its own condition.
    adata.obs["donor"] = adata.obs["donor"].map({"A": "B", "B": "A"})
    assert not fates(model, adata, "label", noise=0.1, n_draws=5).equals(table)


def test_mixing_moves_fates_to_the_shares_of_the_end():
    adata = line()
    model = fitted(adata)
    pure, half = (fates(model, adata, "label", mix=mix).iloc[:12] for mix in (0, 0.5))
    np.testing.assert_allclose(half, 0.5 * pure + 0.25, atol=1e-12)


def test_with_plans_fates_of_a_flow_are_no_certainties(adata):
    model = fitted(adata, FLOW)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "all fates are 0 or 1")
        fates(model, adata, "label", transport=0.5, of="lineage")
    assert adata.uns["dyninfer_fates"]["kind"] == "probabilities"


@pytest.mark.parametrize("of", ["descendants", "lineage"])
def test_a_part_of_the_answer_is_pulled_back_along_plans(of):
    adata = line(n_start=40)
    # Left and right of the start become left and right of the end, at other rates than the model's.
    adata.obsm["X_pca"][:80, 0] *= 4
    model = fitted(adata)
    options = {"of": of, "seed": 3}
    own = fates(model, adata, "label", baselines=True, **options)
    by_plan = adata.obsm["dyninfer_fates_transport"].copy()
    low = adata.obsm["dyninfer_fates_low"].copy()
    assert np.abs(own - by_plan).iloc[:80].max(axis=None) > 0.1
    every = fates(model, adata, "label", transport=1.0, **options)
    np.testing.assert_allclose(every, by_plan, atol=1e-12)
    third = fates(model, adata, "label", transport=0.25, baselines=True, **options)
    np.testing.assert_allclose(third, 0.75 * own + 0.25 * by_plan, atol=1e-12)
    pd.testing.assert_frame_equal(adata.obsm["dyninfer_fates_transport"], by_plan)
    # The plans are not drawn, so that their part has no interval.
    is_early = (adata.obs["time"] < 2).to_numpy()
    expected = 0.75 * low[is_early] + 0.25 * by_plan[is_early]
    np.testing.assert_allclose(adata.obsm["dyninfer_fates_low"][is_early], expected, atol=1e-12)
    is_end = ~is_early
    np.testing.assert_array_equal(third[is_end], own[is_end])
    assert adata.uns["dyninfer_fates"]["transport"] == 0.25
    both = fates(model, adata, "label", transport=0.25, mix=0.5, **options)
    np.testing.assert_allclose(both[is_early], 0.5 * third[is_early] + 0.25, atol=1e-12)


def test_plans_of_known_growth_have_the_noise_of_the_simulation():
    # Schrödinger's bridge of a Brownian motion from N(0, 1) to N(0, 1 + σ²): that motion itself.
    rng = np.random.default_rng(0)
    early = rng.normal(size=500)
    late = rng.normal(size=500) * np.sqrt(1.5)
    x = np.concatenate([early, late]).astype(np.float32)
    obs = pd.DataFrame({"time": np.repeat([0.0, 2.0], 500)}, index=np.arange(1000).astype(str))
    obs["label"] = np.where(x > 0, "right", "left")
    adata = ad.AnnData(np.stack([x, np.zeros_like(x)], 1), obs=obs)
    adata.obs["growth"] = 0.0
    model = fitted(adata, SCORED, use_rep="X")
    options = {"growth_key": "growth", "n_draws": 1, "transport": 1.0}
    # σ² Δt = 0.5 with σ² = 2 noise.
    table = fates(model, adata, "label", noise=0.125, **options)
    expected = norm.cdf(early / np.sqrt(0.5))
    assert np.abs(table["right"].iloc[:500] - expected).mean() < 0.03
    # A tenth of the mean squared distance, where nothing is said of the noise, is sharper.
    sharp = fates(model, adata, "label", noise=0.0, **options)
    assert np.abs(sharp["right"].iloc[:500] - expected).mean() > 0.05


def test_plans_follow_a_known_growth():
    adata = line(n_start=200)
    x = adata.obsm["X_pca"]
    # Two groups that stay where they are. The right one grows ninefold, so that a plan of equal
    # growth carries cells of the left one across.
    x[:400, 0] = np.where(np.arange(400) % 2, 0.5, -0.5)
    x[400:, 0] = np.where(np.arange(400) % 10, 0.5, -0.5)
    adata.obs["label"] = np.where(x[:, 0] > 0, "right", "left")
    adata.obs["growth"] = np.where(x[:, 0] > 0, np.log(9), 0.0)
    model = fitted(adata, SCORED)
    last = adata.obs["time"].eq(1).to_numpy()
    options = {"transport": 1.0, "n_draws": 1, "noise": 0.05}
    adata.obs["none"] = 0.0
    equal = fates(model, adata, "label", growth_key="none", **options)["right"][last]
    known = fates(model, adata, "label", growth_key="growth", **options)["right"][last]
    is_right = x[last, 0] > 0
    error, error_known = (np.abs(one - is_right).max() for one in (equal, known))
    assert error_known < 0.04 < 0.2 < error
    assert adata.uns["dyninfer_fates"]["growth_key"] == "growth"
    # Cells that leave next to nothing have fates too.
    adata.obs["vast"] = 1e4 * adata.obs["growth"]
    vast = fates(model, adata, "label", growth_key="vast", **options)
    assert vast.notna().all(axis=None)


def test_a_growth_that_plans_cannot_follow_is_refused(adata):
    model = fitted(adata)
    adata.obs["growth"] = 0.0
    with pytest.raises(ValueError, match="growth_key is for transport plans; give transport"):
        fates(model, adata, "label", growth_key="growth")
    adata.obs.loc["cell7", "growth"] = np.nan
    with pytest.raises(ValueError, match="infinite in 1 of 6 cells at time 1; give every cell"):
        fates(model, adata, "label", growth_key="growth", baselines=True)
    # Nothing starts at the end.
    adata.obs.loc["cell7", "growth"] = 0.0
    adata.obs.loc["cell20", "growth"] = np.nan
    fates(model, adata, "label", growth_key="growth", baselines=True)


def test_baselines_of_two_groups_that_stay_apart():
    adata = line(n_start=200)
    # Two groups at all times.
    x = adata.obsm["X_pca"]
    x[:400, 0] = np.where(np.arange(400) % 2, 3, -3) + np.linspace(-0.5, 0.5, 400)
    fates(fitted(adata), adata, "label", baselines=True, n_draws=2)
    is_right = x[:400, 0] > 0
    for key in ("dyninfer_fates_neighbors", "dyninfer_fates_transport"):
        table = adata.obsm[key]
        np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-6)
        assert np.abs(table["right"].iloc[:400] - is_right).max() < 0.1


def test_fates_of_cells_that_divide_and_die_are_those_of_their_descendants():
    simulator = di.simulators.BranchingPopulation()
    snapshots = simulator.snapshots([1.0, 4.0], n=400, seed=0)
    states = np.concatenate([snapshots.samples[0][:60], snapshots.samples[1]])
    obs = pd.DataFrame({"time": np.repeat([1.0, 4.0], [60, len(states) - 60])})
    obs.index = obs.index.astype(str)
    obs["label"] = np.where(states[:, 1] > 0, "upper", "lower")
    adata = ad.AnnData(states, obs=obs)
    model = KnownProcess(process=simulator.process()).fit(adata, time_key="time", use_rep="X")
    # Both truths: of descendants, and of cells that neither divide nor die.
    truths = {}
    for of, rates in (("descendants", simulator.rates), ("lineage", without_growth)):
        founders = torch.as_tensor(states[:60]).repeat_interleave(100, 0)
        g = torch.Generator().manual_seed(0)
        ends, clone = branch(simulator.drift, simulator.sigma, rates, founders, 3.0, 0.05, g)
        cell = (clone // 100).numpy()
        is_upper = ends[:, 1].numpy() > 0
        truths[of] = np.bincount(cell, is_upper, 60) / np.bincount(cell, minlength=60)
    errors = {}
    for of in truths:
        share = fates(model, adata, "label", of=of, n_draws=50)["upper"].iloc[:60]
        errors[of] = {name: ((share - truth) ** 2).mean() for name, truth in truths.items()}
    # The floor of fifty draws is 0.004, and a hundred descendants are a sample too.
    assert errors["descendants"]["descendants"] < 0.01 < errors["descendants"]["lineage"]
    assert errors["lineage"]["lineage"] < 0.01 < errors["lineage"]["descendants"]


def without_growth(x):
    # Rates of next to nothing: of zero, the number of descendants would be 0/0.
    rate = torch.full((len(x),), 1e-9)
    return rate, rate / 2


def test_a_table_of_transitions_has_the_mean_fates_of_groups(adata):
    adata.obs["side"] = np.where(adata.obsm["X_pca"][:, 0] > 0, "plus", "minus")
    table = fates(fitted(adata), adata, "label")
    by_side = transition_table(adata, "side")
    adata.obs["nothing"] = None
    with pytest.raises(ValueError, match="no cell with fates has a label in column 'nothing'"):
        transition_table(adata, "nothing")
    assert list(by_side.index) == [(t, side) for t in (0.0, 1.0) for side in ("minus", "plus")]
    assert (by_side["n_cells"] == 3).all()
    np.testing.assert_allclose(by_side.loc[(1.0, "plus"), "right"], table["right"][9:12].mean())
    np.testing.assert_allclose(by_side[["left", "right"]].sum(axis=1), 1)
    assert list(transition_table(adata).index) == [(0.0, "early"), (1.0, "early")]
