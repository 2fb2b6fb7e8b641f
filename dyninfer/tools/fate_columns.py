"""Fates in an AnnData: tables that can be saved, names in one order, and colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.colors import PALETTE, stored_colors

if TYPE_CHECKING:
    from anndata import AnnData


def as_stored(values: ndarray, names: Sequence[str], index: pd.Index) -> Any:
    """A DataFrame ``(n, fate)``, or an array where a name holds a slash.

    Files are trees whose branches are parted by slashes: AnnData warns of such a column.
    """
    if any("/" in name for name in names):
        return values
    return pd.DataFrame(
        values,
        index=index,
        columns=list(names),
    )


def most_probable(fates: ndarray, names: Sequence[str]) -> pd.Categorical:
    """Most probable fate of every cell; missing where it has none."""
    is_there = np.isfinite(fates).all(1)
    without_gaps = np.nan_to_num(fates)
    largest = without_gaps.argmax(1)
    # The code of a missing category.
    codes = np.where(is_there, largest, -1)
    return pd.Categorical.from_codes(codes, list(names))


def entropy(fates: ndarray) -> ndarray:
    """Entropy ``(n,)`` in nats: 0 for a certain fate, the log of their number for any."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = fates * np.log(fates)
    # The limit of what is 0 times infinity.
    terms = np.where(fates == 0, 0, terms)
    # Without this, a certain fate would have the entropy -0.
    return np.abs(terms.sum(1))


def write_colors(
    adata: AnnData, label_key: str | None, groups: Mapping[str, Sequence[str]]
) -> None:
    """Colours of the fates: those of the labels where they have some."""
    place = f"{keys.FATE}_colors"
    colors = stored_colors(adata, label_key)
    own_colors = [colors.get(labels[0]) for labels in groups.values()]
    if None not in own_colors:
        adata.uns[place] = own_colors
    elif len(groups) <= len(PALETTE):
        palette = PALETTE[: len(groups)]
        adata.uns[place] = list(palette)
    else:
        # Those of former fates would be wrong; pictures choose their own where there are none.
        adata.uns.pop(place, None)
