"""Fates against clones: what cells of one barcode became."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy import ndarray
from scipy.stats import rankdata

from dyninfer.data import keys
from dyninfer.data.arrays import as_array, as_list
from dyninfer.data.columns import MissingKey, obs_column, time_column
from dyninfer.data.fates import stored_fates
from dyninfer.data.times import Clock
from dyninfer.data.words import listed, quoted, refuse_missing_words, texts
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import check_count, check_seed
from dyninfer.metrics.reliability_table import (
    N_BINS,
    CalibrationError,
    expected_calibration_error,
    reliability,
)
from dyninfer.tools.fate_ends import label_texts

if TYPE_CHECKING:
    from anndata import AnnData

# What is scored, where it is there, by the name of its row.
PREDICTIONS = {
    "fates": keys.FATES,
    "neighbors": f"{keys.FATES}_neighbors",
    "transport": f"{keys.FATES}_transport",
}
# Parts of the shares that are tried when mixing.
PARTS = np.linspace(0, 1, 21)
# Of its cells at the end, what a clone must have of a fate to count as one that has it.
HALF = 0.5


class Truth(NamedTuple):
    """What became of the clones of some cells."""

    rows: ndarray  # (n,) of the cells
    clones: ndarray  # (n,) numbers
    shares: ndarray  # (n, fate)


class Compared(NamedTuple):
    """What was predicted of some cells, beside what became of their clones."""

    names: list[str]
    truth: Truth
    shares: ndarray  # (fate,) of all cells at the end
    predictions: dict[str, ndarray]  # each (n, fate)


def score_fates(
    adata: AnnData,
    clone_key: str,
    *,
    start: float | None = None,
    states: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    ranked: Sequence[str] | None = None,
    n_resamples: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Score the fates that :func:`fates` wrote against the fates of clones.

    The true fates of a cell are the shares of fates among the cells of its clone at the end. A
    clone is a small sample, so even a perfect prediction does not score zero. Fates do not use the
    clones, unless the model was fitted to them.

    Parameters
    ----------
    adata : AnnData
        With fates.
    clone_key : str
        Column of ``obs`` with the clone of every cell, missing or empty if unknown; or key of
        ``obsm`` with a membership matrix ``(cell, clone)``.
    start : float, optional
        Time of the cells that are scored; by default all before the end.
    states : list of str, optional
        Fates that count; the others are dropped from truth and prediction, and both are
        renormalised to sum to one. By default all.
    sources : list of labels, optional
        Score only cells with these labels, such as uncommitted cells.
    ranked : list of str, optional
        Fates over which ``spearman`` and ``auroc`` are averaged, such as those shared by many
        clones; by default all that count.
    n_resamples : int
        Resamples of the clones for the 95 % intervals.
    seed : int

    Returns
    -------
    DataFrame
        One row for the fates, for each requested baseline, and for the shares of the fates at the
        end, which are the same for all cells. ``brier``: mean of ``Σ (p − share)²``;
        ``brier_mixed``: the same after mixing in the shares with the weight ``mix`` that is best on
        the other clones; ``spearman`` and ``auroc`` (cells whose clone has at least half of the
        fate, against others): means over fates, NaN if there is one fate only; each with ``_low``
        and ``_high``. ``calibration_error``: the expected calibration error of
        :func:`fate_reliability`; ``calibration_floor``: its value for a calibrated prediction with
        this number of clones. ``n_cells`` and ``n_clones`` are the numbers behind them.

    Raises
    ------
    KeyError, ValueError
        If there are no fates, or no clone has cells both before and at the end.
    """
    n_resamples = check_count(n_resamples, "n_resamples")
    seed = check_seed(seed)
    compared = comparison_with_clones(adata, clone_key, start, states, sources)
    names = compared.names
    ranked = _chosen(ranked, names, "ranked")
    ranked_columns = pd.Index(names).get_indexer(ranked)
    rows = {}
    for name, prediction in compared.predictions.items():
        # The same seed: the same clones are drawn for all of them.
        scoring = _Scoring(prediction, compared.truth, compared.shares, ranked_columns)
        rows[name] = scoring.with_intervals(n_resamples, seed)
    return pd.DataFrame(rows).T.rename_axis("prediction")


def comparison_with_clones(
    adata: AnnData,
    clone_key: str,
    start: float | None,
    states: Sequence[str] | None,
    sources: Sequence[str] | None,
) -> Compared:
    """Fates that were predicted, and those of clones, of all cells that have both."""
    fates = stored_fates(adata)
    facts = adata.uns[keys.FATES]
    names = _chosen(states, list(fates.columns), "states")
    columns = fates.columns.get_indexer(names)
    at_end, is_start = _times(adata, facts, start)
    if sources is not None:
        is_start &= _has_label(adata, facts, sources)
    # Without a whole row there is nothing to score.
    is_finite = np.isfinite(fates).all(axis=1)
    is_start &= is_finite.to_numpy()
    own = _own_fates(adata, facts, fates)
    own = own[at_end][:, columns]
    truth = _truth(adata, clone_key, is_start, at_end, own)
    counts = own.sum(0)
    shares = counts / counts.sum()
    predictions = {}
    for name, key in PREDICTIONS.items():
        if key in adata.obsm:
            table = stored_fates(adata, key)[names]
            values = table.to_numpy()
            predictions[name] = _to_one(values[truth.rows], shares)
    n_cells = len(truth.rows)
    predictions["shares"] = np.tile(shares, (n_cells, 1))
    return Compared(names, truth, shares, predictions)


def _chosen(states: Sequence[str] | None, names: list[str], argument: str) -> list[str]:
    if states is None:
        return names
    if isinstance(states, str):
        states = [states]
    subset = list(texts(as_list(states, argument, "names")))
    for name in subset:
        if name not in names:
            raise ValueError(f"{quoted(name)} is not a fate; the fates are {listed(names)}")
    return subset


def _times(adata: AnnData, facts: Any, start: float | None) -> tuple[ndarray, ndarray]:
    """Which cells are of the end ``(n,)``, and which of the start."""
    column = time_column(adata, facts["time_key"])
    clock = Clock.of(column)
    positions = clock.positions(column)
    at = float(facts["at"])
    end = clock.index(at)
    if start is None:
        return positions == end, positions < end
    first = clock.index(start)
    if first >= end:
        raise ValueError(f"start must be before the end, time {at:g}, found {start:g}")
    return positions == end, positions == first


def _own_fates(adata: AnnData, facts: Any, fates: pd.DataFrame) -> ndarray:
    """Ones ``(cell, fate)`` for the fate whose label a cell has; zeros where it has none."""
    label_key = facts["label_key"]
    if not label_key:
        # Of clusters: a cell of the end is in one, and its fate is certain.
        values = fates.to_numpy()
        return values == 1
    column = obs_column(adata, label_key, "label_key")
    labels, _ = label_texts(column)
    every_label = labels.astype(str)
    groups = json.loads(facts["labels"])
    is_fate = {}
    for name in fates.columns:
        is_fate[name] = np.isin(every_label, groups[name])
    return pd.DataFrame(is_fate).to_numpy()


def _has_label(adata: AnnData, facts: Any, sources: Sequence[str]) -> ndarray:
    if not facts["label_key"]:
        raise ValueError("sources names labels, but the fates are clusters; leave it out")
    column = obs_column(adata, facts["label_key"], "label_key")
    labels, order = label_texts(column)
    own_sources = _chosen(sources, order, "sources")
    return np.isin(labels.astype(str), own_sources)


def _members(adata: AnnData, clone_key: str) -> Any:
    """Matrix ``(cell, clone)`` of ones for members."""
    from scipy import sparse

    if not isinstance(clone_key, str):
        raise TypeError(f"clone_key must be a key of obs or obsm, found {quoted(clone_key)}")
    if clone_key in adata.obsm:
        members = adata.obsm[clone_key]
        if not sparse.issparse(members):
            values = as_array(members, f"adata.obsm[{quoted(clone_key)}]")
            members = values != 0
        matrix = sparse.csr_matrix(members)
        # Whatever they count: a cell is a member, or it is not.
        return (matrix != 0).astype(np.float64)
    if clone_key not in adata.obs:
        raise MissingKey(
            f"clone_key {quoted(clone_key)} is neither in adata.obs nor in adata.obsm; columns of "
            f"obs: {listed(adata.obs.columns)}"
        )
    column = obs_column(adata, clone_key, "clone_key")
    labels, _ = label_texts(column)
    has_clone = np.array([label not in (None, "") for label in labels])
    rows = np.flatnonzero(has_clone)
    codes, clones = pd.factorize(labels[has_clone])
    what = f"clone_key {quoted(clone_key)}"
    refuse_missing_words(clones, what, "or rename it if it is a clone")
    shape = (len(labels), len(clones))
    ones = np.ones(len(rows))
    entries = (ones, (rows, codes))
    return sparse.csr_matrix(entries, shape=shape)


def _truth(
    adata: AnnData, clone_key: str, is_start: ndarray, at_end: ndarray, fates: ndarray
) -> Truth:
    """Shares of the fates among the sisters of every starting cell that has some."""
    members = _members(adata, clone_key)
    counts = members[at_end].T @ fates
    of_start = members[is_start]
    # A cell of several clones, as of two barcodes, has the sisters of all.
    sisters = of_start @ counts
    n_sisters = sisters.sum(1)
    has_sisters = np.asarray(n_sisters).ravel() > 0
    if not has_sisters.any():
        raise ValueError(
            f"no clone of {quoted(clone_key)} has both a cell before the end and one at the end "
            "with these fates"
        )
    sisters = np.asarray(sisters)[has_sisters]
    own = of_start[has_sisters]
    fullest = own.argmax(1)
    clones = np.asarray(fullest).ravel()
    _, numbers = np.unique(clones, return_inverse=True)
    rows = np.flatnonzero(is_start)[has_sisters]
    totals = sisters.sum(1, keepdims=True)
    return Truth(rows, numbers, sisters / totals)


def _to_one(values: ndarray, shares: ndarray) -> ndarray:
    """Rows that sum to one; those without any of the chosen fates get the shares of all."""
    totals = values.sum(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = values / totals
    return np.where(totals > 0, scaled, shares)


class _Scoring:
    """Scores of one prediction, of any of its cells."""

    def __init__(self, prediction: ndarray, truth: Truth, shares: ndarray, ranked: ndarray) -> None:
        self.clones = truth.clones
        self.prediction = prediction[:, ranked]
        self.truth = truth.shares[:, ranked]
        by_part = []
        for part in PARTS:
            mixed = (1 - part) * prediction + part * shares
            deviation = mixed - truth.shares
            squares = deviation**2
            by_part.append(squares.sum(1))
        errors = np.stack(by_part, 1)  # (n, part)
        best = _best_part(errors, truth.clones)
        cells = np.arange(len(errors))
        self.parts = PARTS[best]
        self.calibration = _calibration(prediction, truth)
        self.errors = errors[:, 0]
        self.mixed_errors = errors[cells, best]

    def of(self, rows: ndarray) -> dict[str, float]:
        """Scores of some cells."""
        truth = self.truth[rows]
        ranks = rankdata(self.prediction[rows], axis=0)
        truth_ranks = rankdata(truth, axis=0)
        scores: dict[str, float] = {}
        scores["brier"] = self.errors[rows].mean()
        scores["brier_mixed"] = self.mixed_errors[rows].mean()
        scores["spearman"] = _mean(_spearman(ranks, truth_ranks))
        is_likely = truth >= HALF
        scores["auroc"] = _mean(_auroc(ranks, is_likely))
        return scores

    def with_intervals(self, n_resamples: int, seed: int) -> dict[str, float]:
        """Scores of all cells, with 95 % intervals by resampling clones."""
        rng = numpy_stream(seed, "clones")
        order = np.argsort(self.clones, kind="stable")
        sizes = np.bincount(self.clones)
        borders = np.cumsum(sizes)[:-1]
        members = np.split(order, borders)
        n_clones = len(members)
        resampled = []
        for _ in range(n_resamples):
            # Cells of a clone share their truth: they are drawn together.
            clones = rng.integers(n_clones, size=n_clones)
            rows = np.concatenate([members[clone] for clone in clones])
            resampled.append(self.of(rows))
        table = pd.DataFrame(resampled)
        scores: dict[str, float] = {}
        for name, value in self.of(order).items():
            column = table[name]
            scores[name] = value
            # An interval of 95 %.
            scores[f"{name}_low"] = column.quantile(0.025)
            scores[f"{name}_high"] = column.quantile(0.975)
        scores["calibration_error"] = self.calibration.error
        scores["calibration_floor"] = self.calibration.floor
        scores["mix"] = self.parts.mean()
        scores["n_cells"] = len(order)
        scores["n_clones"] = n_clones
        return scores


def _calibration(prediction: ndarray, truth: Truth) -> CalibrationError:
    """Calibration error of all fates of all cells together."""
    return expected_calibration_error(reliability_of(prediction, truth))


def reliability_of(prediction: ndarray, truth: Truth, n_bins: int = N_BINS) -> pd.DataFrame:
    """Predicted beside observed shares of all fates of all cells, by bins, clones together."""
    n_fates = prediction.shape[1]
    clones = np.repeat(truth.clones, n_fates)
    return reliability(prediction.ravel(), truth.shares.ravel(), groups=clones, n_bins=n_bins)


def _best_part(errors: ndarray, clones: ndarray) -> ndarray:
    """Number of the part ``(n,)`` that is best on all other clones."""
    n_clones = clones.max() + 1
    n_parts = errors.shape[1]
    by_clone = np.zeros((n_clones, n_parts))
    np.add.at(by_clone, clones, errors)
    of_all = by_clone.sum(0)
    of_others = of_all - by_clone
    best = of_others.argmin(1)
    return best[clones]


def _mean(scores: ndarray) -> float:
    """Mean over the fates that some of the clones have, and not all; NaN where there is none."""
    is_there = np.isfinite(scores)
    if not is_there.any():
        return np.nan
    return float(scores[is_there].mean())


def _spearman(ranks: ndarray, truth_ranks: ndarray) -> ndarray:
    """Correlation of the ranks by fate: 0 of a constant prediction, NaN of a constant truth."""
    middle = (len(ranks) + 1) / 2
    first = ranks - middle
    second = truth_ranks - middle
    product = (first * second).sum(0)
    truth_square = (second**2).sum(0)
    squares = (first**2).sum(0) * truth_square
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = product / np.sqrt(squares)
    correlation = np.where(squares > 0, correlation, 0)
    return np.where(truth_square > 0, correlation, np.nan)


def _auroc(ranks: ndarray, has_fate: ndarray) -> ndarray:
    """Probability that a cell whose clone has a fate is ranked above one whose has not, by fate."""
    n_with = has_fate.sum(0)
    n_without = len(ranks) - n_with
    lowest = n_with * (n_with + 1) / 2
    rank_sum = (ranks * has_fate).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (rank_sum - lowest) / (n_with * n_without)
