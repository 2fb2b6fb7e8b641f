"""Whether fates are as sure as they may be: predicted shares beside those of clones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from dyninfer.learning.settings import check_count
from dyninfer.metrics.reliability_table import N_BINS
from dyninfer.tools.fate_scores import comparison_with_clones, reliability_of

if TYPE_CHECKING:
    from anndata import AnnData


def fate_reliability(
    adata: AnnData,
    clone_key: str,
    *,
    start: float | None = None,
    states: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    n_bins: int = N_BINS,
) -> pd.DataFrame:
    """Compare predicted shares of fates with the shares among clones, bin by bin.

    All fates of all cells are pooled. Cells of a clone share their true fates, so the certainty of
    a bin depends on its number of clones. Fates from few draws scatter around their probability,
    which by itself moves the ends of a reliability curve inwards, by up to ``√(p (1 − p) /
    n_draws)``.

    Parameters
    ----------
    adata : AnnData
        With fates.
    clone_key, start, states, sources
        As in :func:`score_fates`.
    n_bins : int
        Bins of predicted shares, of equal width.

    Returns
    -------
    DataFrame
        One row per prediction (``fates``, and the requested baselines) and bin:
        ``prediction``, and the columns of :func:`dyninfer.metrics.reliability`, where groups are
        clones. :func:`dyninfer.pl.reliability` draws it.

    Raises
    ------
    KeyError, ValueError
        As in :func:`score_fates`.
    """
    n_bins = check_count(n_bins, "n_bins")
    compared = comparison_with_clones(adata, clone_key, start, states, sources)
    tables = []
    for name, prediction in compared.predictions.items():
        table = reliability_of(prediction, compared.truth, n_bins)
        table.insert(0, "prediction", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
