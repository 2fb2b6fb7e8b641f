"""`score_fates`: what was predicted, against what cells of one clone became."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from dyninfer.tools import score_fates

NAMES = ("a", "b/c", "rest")


def with_fates(predicted, clone_labels, n_sisters=4):
    """A cell of every clone at time 0, with its predicted fates, and its sisters at time 1."""
    n = len(predicted)
    clone = np.concatenate([np.arange(n), np.repeat(np.arange(n), n_sisters)])
    label = np.concatenate([np.repeat("early", n), np.ravel(clone_labels)])
    obs = pd.DataFrame({"clone": [f"clone{c}" for c in clone], "label": pd.Categorical(label)})
    obs.index = obs.index.astype(str)
    obs["time"] = np.repeat([0.0, 1.0], [n, n * n_sisters])
    adata = ad.AnnData(np.zeros((len(obs), 1), np.float32), obs=obs)
    own = np.eye(3)[[NAMES.index(name) for name in np.ravel(clone_labels)]]
    adata.obsm["dyninfer_fates"] = np.concatenate([predicted, own])
    adata.uns["dyninfer_fates"] = {
        "names": np.array(NAMES, dtype=object),
        "labels": '{"a": ["a"], "b/c": ["b/c"], "rest": ["rest"]}',
        "label_key": "label",
        "time_key": "time",
        "at": 1.0,
    }
    return adata


def drawn(n=80, n_sisters=4, seed=0):
    """Predictions that are the true probabilities of the sisters' labels."""
    rng = np.random.default_rng(seed)
    predicted = rng.dirichlet([0.5, 0.5, 0.5], n)
    codes = [rng.choice(3, n_sisters, p=p) for p in predicted]
    return predicted, np.array(NAMES, dtype=object)[np.array(codes)]


def shares_of(labels):
    return np.stack([(labels == name).mean(1) for name in NAMES], 1)


def test_scores_are_those_of_their_definitions():
    predicted, labels = drawn()
    table = score_fates(with_fates(predicted, labels), "clone", n_resamples=50)
    truth = shares_of(labels)
    row = table.loc["fates"]
    assert row["brier"] == pytest.approx(((predicted - truth) ** 2).sum(1).mean())
    by_fate = [spearmanr(predicted[:, k], truth[:, k]).statistic for k in range(3)]
    assert row["spearman"] == pytest.approx(np.mean(by_fate))
    has_fate = truth >= 0.5
    areas = [roc_auc_score(has_fate[:, k], predicted[:, k]) for k in range(3)]
    assert row["auroc"] == pytest.approx(np.mean(areas))
    assert row["n_cells"] == row["n_clones"] == 80
    for name in ("brier", "brier_mixed", "spearman", "auroc"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    shares = truth.mean(0)
    assert table.loc["shares", "brier"] == pytest.approx(((shares - truth) ** 2).sum(1).mean())
    assert table.loc["shares", "auroc"] == 0.5
    assert table.loc["shares", "spearman"] == 0


def test_the_mixed_part_is_chosen_without_the_clone_and_tames_what_is_too_sharp():
    predicted, labels = drawn()
    sharp = np.eye(3)[predicted.argmax(1)]
    row = score_fates(with_fates(sharp, labels), "clone", n_resamples=2).loc["fates"]
    assert 0.1 < row["mix"] < 0.7
    assert row["brier_mixed"] < row["brier"]
    rng = np.random.default_rng(1)
    # Noise is best mixed away, and costs nothing then.
    noise = score_fates(with_fates(rng.permutation(sharp), labels), "clone", n_resamples=2)
    assert noise.loc["fates", "mix"] > 0.8


def test_states_are_dropped_from_truth_and_prediction():
    predicted, labels = drawn()
    adata = with_fates(predicted, labels)
    table = score_fates(adata, "clone", states=["a", "b/c"], n_resamples=2)
    is_there = (labels != "rest").any(1)
    truth = shares_of(labels)[is_there, :2]
    truth = truth / truth.sum(1, keepdims=True)
    rescaled = predicted[is_there, :2] / predicted[is_there, :2].sum(1, keepdims=True)
    assert table.loc["fates", "n_cells"] == is_there.sum()
    assert table.loc["fates", "brier"] == pytest.approx(((rescaled - truth) ** 2).sum(1).mean())
    one = score_fates(adata, "clone", ranked=["a"], n_resamples=2)
    expected = spearmanr(predicted[:, 0], shares_of(labels)[:, 0]).statistic
    assert one.loc["fates", "spearman"] == pytest.approx(expected)


def test_a_matrix_of_clones_is_read_as_a_column_is():
    adata = with_fates(*drawn())
    codes, _ = pd.factorize(adata.obs["clone"])
    members = sparse.csr_matrix((np.ones(len(codes)), (np.arange(len(codes)), codes)))
    adata.obsm["X_clone"] = members
    by_column = score_fates(adata, "clone", n_resamples=20)
    pd.testing.assert_frame_equal(score_fates(adata, "X_clone", n_resamples=20), by_column)


def test_cells_without_clone_or_fate_are_not_scored():
    adata = with_fates(*drawn())
    adata.obs.loc[adata.obs_names[:3], "clone"] = None
    adata.obs.loc[adata.obs_names[3], "clone"] = ""
    adata.obsm["dyninfer_fates"][4] = np.nan
    table = score_fates(adata, "clone", n_resamples=2)
    assert table.loc["fates", "n_cells"] == 75


def test_sources_are_chosen_by_label():
    adata = with_fates(*drawn())
    adata.obs["label"] = adata.obs["label"].cat.add_categories("late")
    adata.obs.loc[adata.obs_names[:10], "label"] = "late"
    table = score_fates(adata, "clone", sources=["late"], n_resamples=2)
    assert table.loc["fates", "n_cells"] == 10


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"clone_key": "barcode"}, "is neither in adata.obs nor in adata.obsm"),
        ({"states": ["d"]}, "'d' is not a fate"),
        ({"start": 1}, "start must be before the end"),
        ({"start": 0.5}, "the times are 0, 1"),
        ({"sources": ["d"]}, "'d'"),
        ({"n_resamples": 0}, "n_resamples must be at least 1"),
        ({"clone_key": "lost"}, "clone_key 'lost' holds the text 'nan'"),
    ],
)
def test_what_cannot_be_is_said(options, sentence):
    adata = with_fates(*drawn(10))
    # As a column of text becomes that was numbers with gaps.
    adata.obs["lost"] = "nan"
    with pytest.raises((KeyError, ValueError)) as error:
        score_fates(adata, **({"clone_key": "clone"} | options))
    assert sentence in str(error.value)


def test_without_fates_or_sisters_there_is_no_score():
    adata = with_fates(*drawn(10))
    adata.obs["clone"] = adata.obs_names
    with pytest.raises(ValueError, match="has both a cell before the end and one at the end"):
        score_fates(adata, "clone")
    del adata.obsm["dyninfer_fates"]
    with pytest.raises(KeyError, match="call tl.fates"):
        score_fates(adata, "clone")
