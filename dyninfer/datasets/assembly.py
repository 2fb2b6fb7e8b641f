"""AnnData made of arrays: what the loaders have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray

from dyninfer.datasets.table import TABLE

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def annotated(name: str, x: ndarray, obs: pd.DataFrame, features: Sequence[str]) -> AnnData:
    """AnnData of states ``(n, feature)`` in float32, with the source of the data set."""
    import anndata as ad
    import pandas as pd

    var = pd.DataFrame(index=list(features))
    # float32: what was measured carries no more digits.
    values = x.astype(np.float32)
    adata = ad.AnnData(X=values, obs=obs, var=var)
    adata.uns["source"] = TABLE[name].source
    return adata


def of_representation(name: str, x: ndarray, obs: pd.DataFrame, key: str, stem: str) -> AnnData:
    """AnnData of cells of which there is nothing but a representation.

    It is in ``obsm[key]`` and, as features ``<stem>1``, ``<stem>2``, ..., in ``X``: many tools ask
    for one.
    """
    n_features = x.shape[1]
    features = [f"{stem}{i}" for i in range(1, n_features + 1)]
    adata = annotated(name, x, obs, features)
    adata.obsm[key] = adata.X.copy()
    return adata


def of_snapshots(
    name: str,
    samples: Sequence[ndarray],
    times: Sequence[float],
    time_key: str,
    key: str,
    stem: str,
) -> AnnData:
    """Stack one ``(cell, feature)`` array per time; cells are named by time and position."""
    import pandas as pd

    names = []
    sizes = []
    for time, sample in zip(times, samples, strict=True):
        size = len(sample)
        names += [f"{time_key}{time:g}_{i}" for i in range(size)]
        sizes.append(size)
    # float64, as times are everywhere else.
    per_time = np.asarray(times, dtype=np.float64)
    obs = pd.DataFrame({time_key: np.repeat(per_time, sizes)}, index=names)
    x = np.concatenate(samples)
    return of_representation(name, x, obs, key, stem)
