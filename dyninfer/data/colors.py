"""Colours of labels, where they have none of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from dyninfer.data.words import texts

if TYPE_CHECKING:
    from anndata import AnnData


# Okabe and Ito's palette without black, for every kind of colour vision.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442")


def stored_colors(adata: AnnData, label_key: str | None) -> dict[str, str]:
    """Colours of labels in ``uns``, in the order of the categories; none where they do not fit."""
    place = f"{label_key}_colors"
    if label_key is None or place not in adata.uns:
        return {}
    column = adata.obs[label_key]
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return {}
    categories = texts(column.cat.categories)
    colors = texts(adata.uns[place])
    # Of another number of categories: which colour belongs to which is not known.
    if len(colors) != len(categories):
        return {}
    return dict(zip(categories, colors, strict=True))
