"""The cells that a question is about, by a mask or by names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from dyninfer.data.words import counted
from dyninfer.learning.settings import brief

if TYPE_CHECKING:
    from anndata import AnnData


def rows_of_cells(adata: AnnData, cells: Any) -> ndarray:
    """Rows of a mask or of names."""
    selection = np.atleast_1d(np.asarray(cells))
    if selection.dtype == bool:
        if selection.shape != (adata.n_obs,):
            raise ValueError(
                f"the mask of cells has shape {selection.shape}, but there are "
                f"{counted(adata.n_obs, 'cell')}"
            )
        rows = np.flatnonzero(selection)
    elif selection.ndim == 1 and all(isinstance(name, str) for name in selection.tolist()):
        rows = adata.obs_names.get_indexer(selection)
        if (rows < 0).any():
            raise KeyError(f"no cell is named {brief(str(selection[rows < 0][0]))}")
    else:
        raise TypeError(f"cells must be a mask or names of cells, found {brief(cells)}")
    if len(rows) == 0:
        raise ValueError("no cell is chosen; give a mask with at least one True")
    # A name given twice is one cell.
    return np.unique(rows)
