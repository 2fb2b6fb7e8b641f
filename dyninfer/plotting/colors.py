"""What cells are coloured by: a column of labels or numbers, or a gene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import dense_rows
from dyninfer.data.colors import PALETTE, stored_colors
from dyninfer.data.columns import MissingKey
from dyninfer.data.reading import is_anndata
from dyninfer.data.words import listed, quoted, texts
from dyninfer.learning.settings import brief
from dyninfer.plotting import style

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from dyninfer.data.snapshots import Snapshots

# Cells without a label or a number.
MISSING = "#e0e0e0"
# Numbers beyond these quantiles have the colour of the end: one extreme cell would take all.
ENDS = (0.01, 0.99)


@dataclass(frozen=True)
class CellColors:
    """Numbers or labels of cells, and the colours that stand for them.

    Attributes
    ----------
    name : str
        Of the column or gene.
    values : array ``(n,)``
        Numbers; or positions in ``labels``, −1 where a label is missing.
    labels : tuple of str
        None for numbers.
    palette : tuple of str
        A colour for every label.
    """

    name: str
    values: ndarray
    labels: tuple[str, ...] = ()
    palette: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: AnnData | Snapshots, key: Any) -> CellColors:
        """Read a column of ``obs``, else a gene of ``X``; of snapshots, a feature.

        Raises
        ------
        KeyError
            If there is none of this name.
        TypeError
            If the key is no text.
        """
        if not isinstance(key, str):
            raise TypeError(f"color must be a column of obs or a gene, found {brief(key)}")
        if not is_anndata(data):
            return cls(key, _feature(cast(Any, data), key))
        data = cast(Any, data)
        if key in data.obs:
            return _of_column(data, key)
        genes = texts(data.var_names)
        if key not in genes or data.X is None:
            raise MissingKey(
                f"color {quoted(key)} is neither a column of adata.obs "
                f"({listed(data.obs.columns, 4)}) nor a gene of adata.var_names"
            )
        position = list(genes).index(key)
        column = data.X[:, [position]]
        rows = np.arange(data.n_obs)
        values = dense_rows(column, rows, key)
        return cls(key, values[:, 0])

    def rgba(self) -> ndarray:
        """Colour of every cell, ``(n, 4)``."""
        from matplotlib.colors import to_rgba_array

        if self.labels:
            # The last is that of missing labels, whose position is -1.
            palette = to_rgba_array([*self.palette, MISSING])
            return palette[self.values]
        scale = self.scale()
        colors = np.array(scale.to_rgba(self.values))
        is_missing = ~np.isfinite(self.values)
        colors[is_missing] = to_rgba_array(MISSING)
        return colors

    def scale(self) -> Any:
        """Colours of numbers, between their first and last per cent."""
        finite = self.values[np.isfinite(self.values)]
        if len(finite) == 0:
            raise ValueError(f"color {quoted(self.name)} has only missing values")
        return style.time_scale(np.quantile(finite, ENDS))

    def explain(self, ax: Axes) -> None:
        """Add a legend of the labels, or a bar of the numbers."""
        if not self.labels:
            style.colorbar(self.scale(), ax, self.name, extend="both")
            return
        # Beside the picture: inside, it would lie on cells.
        handles = []
        for label, color in zip(self.labels, self.palette, strict=True):
            handle = ax.scatter([], [], s=26, color=color, label=label)
            handles.append(handle)
        style.legend(
            ax,
            handles=handles,
            title=self.name,
            loc="center left",
            bbox_to_anchor=(1.01, 0.5),
            alignment="left",
        )


def label_palette(n: int) -> tuple[str, ...]:
    """Colours for ``n`` labels: seven hues, then darker and lighter ones of the same."""
    from matplotlib.colors import to_hex, to_rgb

    base = np.array([to_rgb(color) for color in PALETTE])
    dark = 0.55 * base
    pale = 0.45 + 0.55 * base
    rounds = [base, dark, pale]
    every = np.concatenate(rounds)
    colors = [to_hex(color) for color in every]
    # More labels than these cannot be told apart by colour; the legend names them all the same.
    return tuple(colors[i % len(colors)] for i in range(n))


def _of_column(data: AnnData, key: str) -> CellColors:
    column = data.obs[key]
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if is_number:
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return CellColors(key, numbers)
    column = column.astype("category")
    labels = texts(column.cat.categories)
    stored = stored_colors(data, key)
    palette: Sequence[str] = label_palette(len(labels))
    if stored:
        palette = [stored[label] for label in labels]
    codes = column.cat.codes.to_numpy()
    return CellColors(key, codes, tuple(labels), tuple(palette))


def _feature(data: Snapshots, key: str) -> ndarray:
    names = list(texts(data.features))
    if key not in names:
        raise MissingKey(f"color {quoted(key)} is not a feature of data ({listed(names, 4)})")
    values = np.concatenate(data.samples)
    column = names.index(key)
    return values[:, column]
