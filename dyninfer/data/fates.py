"""Fates that were written into an AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dyninfer.data import keys
from dyninfer.data.columns import MissingKey, check_anndata
from dyninfer.data.words import quoted, texts

if TYPE_CHECKING:
    from anndata import AnnData


def stored_fates(adata: AnnData, key: str = keys.FATES) -> pd.DataFrame:
    """Fates as they were written, as a DataFrame with the names of the fates.

    Raises
    ------
    KeyError
        If they are not there.
    """
    check_anndata(adata)
    if not isinstance(key, str):
        raise TypeError(f"key must be a key of obsm, found {quoted(key)}")
    if key not in adata.obsm or keys.FATES not in adata.uns:
        raise MissingKey(
            f"adata has no fates in obsm[{quoted(key)}]; call tl.fates(model, adata) first"
        )
    facts = adata.uns[keys.FATES]
    stored = adata.obsm[key]
    values = np.asarray(stored, dtype=np.float64)
    return pd.DataFrame(
        values,
        index=adata.obs_names,
        columns=texts(facts["names"]),
    )
