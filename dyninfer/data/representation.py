"""Representations: the array of an AnnData that holds the features, and what it looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.columns import MissingKey
from dyninfer.data.words import listed, quoted, texts
from dyninfer.learning.slabs import slabs
from dyninfer.learning.warn import warn

if TYPE_CHECKING:
    from anndata import AnnData

DEFAULT_REP = "X_pca"
# From here on, distances between cells are mostly noise, and nobody fits so many on purpose
# without saying it.
MANY_GENES = 1000


def representation(adata: AnnData, use_rep: str | None = None) -> tuple[Any, tuple[str, ...], str]:
    """Find the array of features: ``(array, names of the features, name of the representation)``.

    ``use_rep`` is a key of ``adata.obsm``, a layer, or ``"X"``; None takes ``obsm["X_pca"]``, then
    ``X``. The array comes as it is stored (sparse, backed);
    :func:`~dyninfer.data.arrays.dense_rows` reads rows of it.

    Raises
    ------
    KeyError
        If the representation is not there; the message lists those that are.
    ValueError
        If none is named, there is no ``obsm["X_pca"]``, and there are a thousand genes or more.
    """
    if use_rep is None:
        use_rep = _default(adata)
    if not isinstance(use_rep, str):
        raise TypeError(f"use_rep must be one name, found {quoted(use_rep)}")
    if use_rep == "X":
        _check_filled(adata)
        return adata.X, texts(adata.var_names), "X"
    if use_rep not in adata.obsm and use_rep in adata.layers:
        return adata.layers[use_rep], texts(adata.var_names), use_rep
    if use_rep not in adata.obsm:
        raise MissingKey(_absent(adata, use_rep))
    try:
        array = adata.obsm[use_rep]
    except AttributeError:
        # What AnnData stumbles over.
        raise ValueError(
            f"this AnnData is a view, and adata.obsm[{quoted(use_rep)}] has several columns of "
            "one name; rename them first"
        ) from None
    if isinstance(array, pd.DataFrame):
        columns = texts(array.columns)
        return array.to_numpy(), columns, use_rep
    if not hasattr(array, "shape"):
        module = type(array).__module__
        kind = module.split(".")[0]
        place = f"adata.obsm[{quoted(use_rep)}]"
        raise TypeError(
            f"{place} is an {kind} array, whose rows may differ in length; "
            f"make it a matrix: {place} = {place}.to_numpy()"
        )
    # As scanpy labels its axes: PCA1, UMAP2.
    stem = use_rep.removeprefix("X_").upper()
    n_features = array.shape[1]
    features = [f"{stem}{i + 1}" for i in range(n_features)]
    return array, tuple(features), use_rep


def warn_if_counts(x: ndarray, name: str) -> None:
    """Warn where a matrix looks like raw counts: whole numbers, none negative, some large."""
    head = x[:500]  # enough to tell, and quick
    if head.size == 0 or head.min() < 0:
        return
    rounded = np.round(head)
    # Log-normalised expression and indicators stay below ten.
    if np.array_equal(head, rounded) and head.max() > 10:
        warn(
            f"{name} looks like raw counts (whole numbers up to {head.max():.0f}); log-normalise "
            "it (sc.pp.normalize_total, sc.pp.log1p) or give a representation such as "
            "use_rep='X_pca'",
            UserWarning,
        )


def warn_of_counts(adata: AnnData, rep: str, x: ndarray) -> None:
    """Warn where values ``x`` of a representation are genes, and look like raw counts."""
    if rep == "X":
        warn_if_counts(x, "adata.X")
    # What is in obsm is taken before a layer of the same name.
    elif rep in adata.layers and rep not in adata.obsm:
        warn_if_counts(x, f"adata.layers[{quoted(rep)}]")


def check_finite(x: ndarray, name: str, row_names: Any = None) -> None:
    """Raise a ValueError that counts the rows with NaN or infinite values and names the first."""
    features = tuple(range(1, x.ndim))
    is_finite = np.empty(len(x), dtype=bool)
    for slab in slabs(len(x)):
        is_finite[slab] = np.isfinite(x[slab]).all(axis=features)
    invalid = np.flatnonzero(~is_finite)
    if len(invalid) == 0:
        return
    first = int(invalid[0])
    label = f"row {first}"
    if row_names is not None:
        label = row_names[first]
    raise ValueError(
        f"{name} has NaN or infinite values in {len(invalid)} of {len(x)} rows "
        f"(first: {quoted(label)}); remove or impute them"
    )


def _check_filled(adata: AnnData) -> None:
    if adata.X is not None:
        return
    if len(adata.obsm) == 0:
        raise MissingKey("adata.X is empty; and adata.obsm has nothing")
    raise MissingKey(f"adata.X is empty; give use_rep, one of {listed(adata.obsm)}")


def _default(adata: AnnData) -> str:
    """Representation where none was named."""
    if DEFAULT_REP in adata.obsm:
        return DEFAULT_REP
    if adata.X is not None and adata.n_vars >= MANY_GENES:
        raise ValueError(
            f"there are {adata.n_vars} genes and no adata.obsm['X_pca'], and distances between so "
            "many genes are mostly noise. Make components: sc.pp.pca(adata, n_comps=30), then fit "
            "with use_rep='X_pca'; or take all genes with use_rep='X'"
        )
    return "X"


def _absent(adata: AnnData, use_rep: str) -> str:
    places = [*adata.obsm, "X", *adata.layers]
    every = listed(places)
    message = f"use_rep {quoted(use_rep)} is not in adata.obsm; there are {every}"
    if use_rep == DEFAULT_REP:
        message += "; compute it with sc.pp.pca(adata)"
    return message
