"""AnnData made of arrays: what the loaders have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dyninfer.datasets.table import TABLE

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def annotated(name: str, x: np.ndarray, obs: pd.DataFrame, features: Sequence[str]) -> AnnData:
    """AnnData of states ``(n, feature)`` in float32, with the source of the data set."""
    import anndata as ad
    import pandas as pd

    adata = ad.AnnData(X=x.astype(np.float32), obs=obs, var=pd.DataFrame(index=list(features)))
    adata.uns["source"] = TABLE[name].source
    return adata


def of_representation(name: str, x: np.ndarray, obs: pd.DataFrame, key: str, stem: str) -> AnnData:
    """AnnData of cells of which a representation is all there is.

    It is in ``obsm[key]`` and, as features ``<stem>1``, ``<stem>2``, ..., in ``X``: many tools ask
    for one.
    """
    features = [f"{stem}{i + 1}" for i in range(x.shape[1])]
    adata = annotated(name, x, obs, features)
    adata.obsm[key] = adata.X.copy()
    return adata


def of_snapshots(
    name: str,
    samples: Sequence[np.ndarray],
    times: Sequence[float],
    time_key: str,
    key: str,
    stem: str,
) -> AnnData:
    """Stack one ``(cell, feature)`` array per time; cells are named by time and position."""
    import pandas as pd

    names = []
    for time, sample in zip(times, samples, strict=True):
        names += [f"{time_key}{time:g}_{i}" for i in range(len(sample))]
    sizes = [len(sample) for sample in samples]
    # float64, as times are everywhere else.
    column = np.repeat(np.asarray(times, dtype=np.float64), sizes)
    obs = pd.DataFrame({time_key: column}, index=names)
    return of_representation(name, np.concatenate(samples), obs, key, stem)
