"""Expression of genes by their names: from ``X``, a layer or ``raw``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_list, dense_rows
from dyninfer.data.columns import MissingKey, check_anndata
from dyninfer.data.words import listed, quoted, texts
from dyninfer.learning.settings import check_switch

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Expression:
    """A matrix of cells and genes as it is stored: dense, sparse or in a file.

    Attributes
    ----------
    matrix : array ``(cell, gene)``
    genes : Index ``(gene,)``
        Their names.
    place : str
        What messages call the matrix.
    """

    matrix: Any
    genes: pd.Index
    place: str

    @classmethod
    def of(cls, adata: AnnData, layer: str | None = None, use_raw: bool = False) -> Expression:
        """Take ``X``, or what is named; a KeyError lists the layers there are."""
        check_anndata(adata)
        if check_switch(use_raw, "use_raw"):
            return cls._raw(adata, layer)
        genes = adata.var_names.astype(str)
        if layer is None:
            if adata.X is None:
                raise MissingKey("adata.X is empty; give the layer that holds the expression")
            return cls(adata.X, genes, "adata.X")
        # The names of layers are few: all are shown, rather than the nearest one.
        if not isinstance(layer, str) or layer not in adata.layers:
            raise MissingKey(
                f"layer {quoted(layer)} is not in adata.layers; there are {listed(adata.layers)}"
            )
        place = f"adata.layers[{quoted(layer)}]"
        return cls(adata.layers[layer], genes, place)

    @classmethod
    def _raw(cls, adata: AnnData, layer: str | None) -> Expression:
        if layer is not None:
            raise ValueError("give layer or use_raw=True, not both: raw has no layers")
        if adata.raw is None:
            raise MissingKey("adata.raw is empty; leave use_raw out to take adata.X")
        # Raw often has more genes than X: its own names count.
        names = adata.raw.var_names.astype(str)
        return cls(adata.raw.X, names, "adata.raw.X")

    def columns(self, genes: Sequence[str] | str | None) -> ndarray:
        """Columns of the genes; all for None. A KeyError has the nearest name of an unknown one."""
        return gene_columns(self.genes, genes, self.place)

    def values(self, columns: ndarray, rows: ndarray | None = None) -> ndarray:
        """Dense values ``(cell, gene)`` float64 of some genes, in all cells or in some rows."""
        matrix = self.matrix
        if rows is not None:
            matrix = matrix[rows]
        block = matrix[:, columns]
        every_row = np.arange(block.shape[0])
        values = dense_rows(block, every_row, self.place)
        # Sums over many cells lose digits in single precision.
        return values.astype(np.float64)


def as_names(names: Iterable[str] | str) -> list[str]:
    """One name, or several, as a list."""
    if isinstance(names, str):
        return [names]
    return list(texts(as_list(names, "names", "text")))


def gene_columns(
    names: pd.Index, genes: Iterable[str] | str | None, place: str = "the data"
) -> ndarray:
    """Positions of genes among names; all for None.

    Raises
    ------
    KeyError
        If a gene is not there, with the nearest name; or several have its name.
    """
    if genes is None:
        return np.arange(len(names))
    requested = as_names(genes)
    if not requested:
        raise ValueError("genes is empty; name at least one")
    columns = []
    # One after the other, so that the first that is wrong is the one that is named.
    for gene in requested:
        positions = np.flatnonzero(names == gene)
        if len(positions) == 0:
            raise MissingKey(f"gene {quoted(gene)} is not in {place}{_hint(gene, names)}")
        if len(positions) > 1:
            raise MissingKey(
                f"{place} has {len(positions)} genes named {quoted(gene)}; "
                "adata.var_names_make_unique() tells them apart"
            )
        columns.append(positions[0])
    return np.array(columns)


def _hint(gene: str, names: pd.Index) -> str:
    """The name that was probably meant: symbols of human and mouse differ by their case."""
    lower = gene.lower()
    is_same = names.str.lower() == lower
    similar = list(names[is_same])
    if not similar:
        similar = difflib.get_close_matches(gene, list(names), n=1)
    if similar:
        return f"; did you mean {quoted(similar[0])}?"
    return f"; its {len(names)} genes begin with {listed(names, 3)}"
