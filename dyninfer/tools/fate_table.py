"""Fates of groups of cells: from the labels of one time to those of a later one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dyninfer.data import keys
from dyninfer.data.columns import obs_column, time_column
from dyninfer.data.fates import stored_fates
from dyninfer.data.times import Clock
from dyninfer.data.words import quoted
from dyninfer.tools.fate_ends import label_texts

if TYPE_CHECKING:
    from anndata import AnnData


def transition_table(adata: AnnData, label_key: str | None = None) -> pd.DataFrame:
    """Mean fates for every time and label, from what :func:`fates` wrote.

    Parameters
    ----------
    adata : AnnData
        With fates.
    label_key : str, optional
        Column of ``obs`` with labels of the cells; by default that of the fates.

    Returns
    -------
    DataFrame
        One row per time before the end and label present, with ``n_cells`` and one column per fate;
        the fates of a row sum to one. Cells without a fate or a label are left out; all others
        count equally.

    Raises
    ------
    KeyError, ValueError
        If there are no fates, or no column of labels.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> table = di.tl.fates(model, adata, "kind", n_draws=2)
    >>> list(di.tl.transition_table(adata, "kind").columns)
    ['n_cells', 'far', 'near']
    """
    fates = stored_fates(adata)
    facts = adata.uns[keys.FATES]
    # Of clusters there is no column: the user must name one.
    key = facts["label_key"] or None
    if label_key is not None:
        key = label_key
    column = obs_column(adata, key, "label_key")
    labels, order = label_texts(column)
    times = time_column(adata, facts["time_key"])
    clock = Clock.of(times)
    positions = clock.positions(times)
    end = clock.index(float(facts["at"]))
    has_fate = np.isfinite(fates).all(axis=1).to_numpy()
    rows = {}
    for k, time in enumerate(clock.times[:end]):
        for label in order:
            is_here = positions == k
            has_label = labels == label
            is_group = has_fate & is_here & has_label
            if is_group.any():
                group = fates[is_group]
                means = group.mean()
                rows[float(time), label] = {"n_cells": len(group), **means}
    if not rows:
        raise ValueError(f"no cell with fates has a label in column {quoted(str(key))}")
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["time", "label"])
    return table.astype({"n_cells": int})
