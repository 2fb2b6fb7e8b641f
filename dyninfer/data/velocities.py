"""Velocities of cells beside their positions, read from an AnnData."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy import ndarray

from dyninfer.data.arrays import as_names, dense_rows
from dyninfer.data.columns import MissingKey, check_anndata
from dyninfer.data.representation import check_finite, representation
from dyninfer.data.words import counted, listed, quoted

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, kw_only=True)
class Velocities:
    """Positions of cells, and how fast they move.

    Attributes
    ----------
    points : array ``(n, feature)``
        Finite.
    values : array ``(n, feature)``
        Velocities; a row of NaN where one is not known.
    features : tuple of str
    names : array ``(n,)``
        Of the cells.
    """

    points: ndarray
    values: ndarray
    features: tuple[str, ...]
    names: ndarray

    @classmethod
    def from_anndata(
        cls,
        adata: AnnData,
        *,
        velocity_key: str | None = None,
        use_rep: str | None = None,
        hold_out: Any = None,
    ) -> Self:
        """Read positions and velocities of the cells of an AnnData.

        Parameters
        ----------
        adata : AnnData
            Nothing of it is changed.
        velocity_key : str
            Key of ``obsm``, or a layer, with velocities in the features of ``use_rep``, such as
            "velocity_pca" of scVelo. Rows of NaN are cells whose velocity is not known.
        use_rep : str, optional
            Key of ``obsm``, a layer, or "X", with positions; by default ``obsm["X_pca"]`` if
            present, else ``X``.
        hold_out : str or list of str, optional
            Names of cells left out before anything is looked at.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a key is not in the data, or a value is invalid; the message names it.
        """
        check_anndata(adata)
        names = np.asarray(adata.obs_names, dtype=object)
        rows = _rows_without(names, hold_out)
        array, features, rep = representation(adata, use_rep)
        key = _checked_key(adata, velocity_key)
        if key == rep:
            raise ValueError(
                f"velocity_key and use_rep both name {quoted(key)}; give positions and velocities "
                "from different places"
            )
        moves, other_features, _ = representation(adata, key)
        if len(features) != len(other_features):
            raise ValueError(
                f"velocity_key {quoted(key)} has {counted(len(other_features), 'feature')}, and "
                f"the positions in {quoted(rep)} have {len(features)}; give velocities in the "
                "same representation"
            )
        _check_order(features, other_features, key, rep)
        points = dense_rows(array, rows, rep)
        values = dense_rows(moves, rows, key)
        check_finite(points, rep, names[rows])
        _check_rows(values, key, names[rows])
        return cls(points=points, values=values, features=features, names=names[rows])

    @property
    def is_observed(self) -> ndarray:
        """Whether the velocity of each cell is known ``(n,)``."""
        return np.isfinite(self.values).all(1)

    def digest(self) -> str:
        """Fingerprint of positions and velocities."""
        fingerprint = hashlib.sha256()
        for array in (self.points, self.values):
            layout = repr((array.shape, array.dtype.str))
            fingerprint.update(layout.encode())
            fingerprint.update(np.ascontiguousarray(array).data)
        return fingerprint.hexdigest()


def _rows_without(names: ndarray, hold_out: Any) -> ndarray:
    """Numbers of the rows that are not held out."""
    every_row = np.arange(len(names))
    if hold_out is None:
        if len(names) == 0:
            raise ValueError("the AnnData has no cells")
        return every_row
    wanted = [str(name) for name in as_names(hold_out, "hold_out")]
    texts = names.astype(str)
    absent = sorted(set(wanted) - set(texts))
    if absent:
        raise MissingKey(
            f"hold_out: no cell is named {quoted(absent[0])}; names are those of adata.obs_names, "
            f"such as {listed(names[:2])}"
        )
    remaining = every_row[~np.isin(texts, wanted)]
    if len(remaining) == 0:
        raise ValueError("hold_out names every cell, which leaves none to learn from")
    return remaining


def _checked_key(adata: AnnData, key: Any) -> str:
    """Key of the velocities, or a sentence with what may hold them."""
    places = [*adata.obsm, *adata.layers]
    if key is None:
        likely = [name for name in places if "velo" in str(name).lower()] or places
        raise MissingKey(
            "velocity_key is needed: the key of obsm, or the layer, with the velocities of the "
            f"cells; there are {listed(likely)}"
        )
    if not isinstance(key, str):
        raise TypeError(f"velocity_key must be one name, found {quoted(key)}")
    if key not in places:
        raise MissingKey(
            f"velocity_key {quoted(key)} is neither in adata.obsm nor a layer; there are "
            f"{listed(places)}"
        )
    return key


def _check_order(
    features: tuple[str, ...], other_features: tuple[str, ...], key: str, rep: str
) -> None:
    """Raise a ValueError where both have the same names, in another order."""
    # Names that differ say nothing: velocities of components often have names of their own.
    if features != other_features and set(features) == set(other_features):
        raise ValueError(
            f"{quoted(key)} has the features of {quoted(rep)} in another order, from "
            f"{listed(other_features[:2])}; sort its columns as those of {quoted(rep)}"
        )


def _check_rows(values: ndarray, key: str, names: ndarray) -> None:
    """Raise a ValueError unless every row is finite, or NaN throughout; and one is finite."""
    is_missing = np.isnan(values)
    every_row = np.arange(len(values))
    is_unknown = is_missing.all(1)
    column_is_missing = is_missing.all(0)
    if column_is_missing.any():
        n_missing = int(column_is_missing.sum())
        raise ValueError(
            f"{quoted(key)} is NaN in every cell for {n_missing} of {len(column_is_missing)} "
            "features; take features with velocities, or components: scvelo's "
            "velocity_embedding(basis='pca') writes obsm['velocity_pca']"
        )
    rows = every_row[~is_unknown]
    check_finite(values[rows], f"{key} (rows that are not NaN throughout)", names[rows])
