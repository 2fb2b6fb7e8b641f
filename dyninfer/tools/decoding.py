"""From states to genes: by the components' loadings, a decoder of the user's, or as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_array, dense_rows
from dyninfer.data.columns import MissingKey
from dyninfer.data.representation import check_finite, representation
from dyninfer.data.words import counted, listed, quoted
from dyninfer.learning.settings import brief
from dyninfer.learning.warn import warn
from dyninfer.tools.expression import Expression, gene_columns

if TYPE_CHECKING:
    from anndata import AnnData

LOADINGS = "PCs"
# Cells that the mean and the fit of a decoder are measured on: enough, and quick.
MOST_CELLS = 2000
# Explained variance that is certainly wrong. Components of the matrix itself explain none of a gene
# at worst; below that, by more than a choice of cells makes, they are of another matrix.
LEAST_EXPLAINED = -0.1
# Step of a derivative, in spreads of the states: decoders in single precision have three digits
# left, and curvature costs the square of it.
STEP = 1e-3


class Decoder(Protocol):
    """What carries states ``(n, feature)`` and velocities into genes ``(n, gene)``."""

    @property
    def genes(self) -> pd.Index:
        """Names of the genes."""

    def values(self, states: ndarray) -> ndarray:
        """Expression of the genes."""
        ...

    def rates(self, states: ndarray, velocity: ndarray) -> ndarray:
        """Change of the expression per time unit, where states move with a velocity."""
        ...


@dataclass(frozen=True)
class Selection:
    """States that are genes: some of their columns."""

    genes: pd.Index
    columns: ndarray

    def values(self, states: ndarray) -> ndarray:
        """Levels of the genes."""
        return states[:, self.columns]

    def rates(self, states: ndarray, velocity: ndarray) -> ndarray:
        """Velocities of the genes."""
        return velocity[:, self.columns]


@dataclass(frozen=True)
class Linear:
    """Components: ``offset + states @ loadings``, with loadings ``(feature, gene)``."""

    genes: pd.Index
    loadings: ndarray
    offset: ndarray

    def values(self, states: ndarray) -> ndarray:
        """Expression of the genes."""
        return self.offset + states @ self.loadings

    def rates(self, states: ndarray, velocity: ndarray) -> ndarray:
        """Velocities of the genes; the offset does not move."""
        return velocity @ self.loadings


@dataclass(frozen=True)
class Function:
    """A function of states, of which some columns are taken."""

    genes: pd.Index
    columns: ndarray
    decode: Callable[[ndarray], ndarray]

    def values(self, states: ndarray) -> ndarray:
        """Expression of the genes."""
        return self.decode(states)[:, self.columns]

    def rates(self, states: ndarray, velocity: ndarray) -> ndarray:
        """Jacobian of the function times the velocity, by central differences."""
        speed = np.abs(velocity).max()
        if speed == 0:
            shape = (len(states), len(self.columns))
            return np.zeros(shape)
        spread = states.std(0).max() or 1.0
        duration = STEP * spread / speed
        step = duration * velocity
        ahead = self.values(states + step)
        behind = self.values(states - step)
        return (ahead - behind) / (2 * duration)


def decoder_of(
    adata: AnnData,
    rep: str,
    genes: Sequence[str] | str | None = None,
    decoder: str | Callable[[ndarray], Any] | None = None,
    layer: str | None = None,
) -> Decoder:
    """Decoder of the features of a representation into genes.

    Parameters
    ----------
    adata : AnnData
    rep : str
        Representation that the states have: "X", a layer, or a key of ``obsm``.
    genes : sequence of str, optional
        Genes to decode; by default all.
    decoder : str or callable, optional
        Key of ``varm`` with loadings ``(gene, feature)``, or a function that maps states
        ``(n, feature)`` to the genes of ``var_names``, or to a DataFrame with genes as columns.
        By default ``varm["PCs"]`` decodes ``obsm["X_pca"]``, and genes are themselves.
    layer : str, optional
        Layer that the components were made of, by default ``X``: their mean is taken from it.

    Raises
    ------
    KeyError
        If a gene, the loadings or the layer are not there.
    ValueError
        If there is no decoder for the representation, or it has another number of features.
    """
    if callable(decoder):
        return _function(adata, rep, genes, decoder)
    if decoder is None and rep not in adata.obsm:
        # States that are genes need none.
        names = adata.var_names.astype(str)
        columns = gene_columns(names, genes, quoted(rep))
        return Selection(names[columns], columns)
    if decoder is None and rep != "X_pca":
        raise ValueError(
            f"unknown how {quoted(rep)} becomes genes; give decoder, a function from states "
            "to genes, or the key of varm with its loadings"
        )
    key = LOADINGS if decoder is None else decoder
    if not isinstance(key, str):
        raise TypeError(f"decoder must be a function or a key of varm, found {brief(decoder)}")
    return _linear(adata, rep, genes, key, layer)


def states_of(adata: AnnData, rep: str, rows: ndarray | None = None) -> ndarray:
    """States of all cells, or of some, ``(n, feature)`` float64."""
    array, _, name = representation(adata, rep)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; it must be (cell, feature)")
    if rows is None:
        rows = np.arange(adata.n_obs)
    states = dense_rows(array, rows, name)
    return states.astype(np.float64)


def _function(
    adata: AnnData,
    rep: str,
    genes: Sequence[str] | str | None,
    function: Callable[[ndarray], Any],
) -> Function:
    # One cell shows what the function returns.
    first_rows = np.arange(min(2, adata.n_obs))
    trial = function(states_of(adata, rep, first_rows))
    names = adata.var_names
    if isinstance(trial, pd.DataFrame):
        names = trial.columns
    n_genes = as_array(trial, "decoder").shape[-1]
    if n_genes != len(names):
        raise ValueError(
            f"decoder returns {counted(n_genes, 'gene')}, and adata.var_names has "
            f"{len(names)}; return a "
            "DataFrame whose columns are the genes"
        )

    def decode(states: ndarray) -> ndarray:
        decoded = as_array(function(states), "decoder")
        values = decoded.astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("decoder returns values that are not finite for finite states")
        return values

    names = names.astype(str)
    columns = gene_columns(names, genes, "what decoder returns")
    return Function(names[columns], columns, decode)


def _linear(
    adata: AnnData, rep: str, genes: Sequence[str] | str | None, key: str, layer: str | None
) -> Linear:
    if key not in adata.varm:
        raise MissingKey(
            f"loadings {quoted(key)} are not in adata.varm (it holds {listed(adata.varm)}); "
            "sc.pp.pca(adata) makes them, or give decoder"
        )
    names = adata.var_names.astype(str)
    columns = gene_columns(names, genes, "adata.var_names")
    stored = as_array(adata.varm[key], key)
    loadings = stored.astype(np.float64)
    loadings = loadings[columns]
    n_cells = min(MOST_CELLS, adata.n_obs)
    # From all over the table, which is often sorted by time.
    last = adata.n_obs - 1
    spread_out = np.linspace(0, last, n_cells)
    rows = spread_out.astype(np.int64)
    states = states_of(adata, rep, rows)
    n_features = states.shape[1]
    # Fewer components may be used than were computed; they come in the same order.
    if loadings.shape[1] < n_features:
        raise ValueError(
            f"adata.varm[{quoted(key)}] has loadings of {loadings.shape[1]} components, "
            f"{quoted(rep)} has {n_features}; give decoder"
        )
    loadings = loadings[:, :n_features].T
    is_silent = (loadings == 0).all(0)
    if genes is not None and is_silent.any():
        silent = names[columns[is_silent]]
        raise ValueError(
            f"{listed(silent, 4)} took no part in the components "
            f"(varm[{quoted(key)}] is zero); choose highly variable genes, or give decoder"
        )
    expression = Expression.of(adata, layer)
    values = expression.values(columns, rows)
    # One cell that holds none would take the mean of a gene from all paths.
    cell_names = np.asarray(adata.obs_names)[rows]
    check_finite(states, quoted(rep), cell_names)
    check_finite(values, expression.place, cell_names)
    check_finite(loadings.T, f"adata.varm[{quoted(key)}]", names[columns])
    estimate = states @ loadings
    offset = _offset(values, estimate, expression.place)
    return Linear(names[columns], loadings, offset)


def _offset(values: ndarray, decoded: ndarray, place: str) -> ndarray:
    """Mean that was subtracted before the components ``(gene,)``; warns of another matrix."""
    residual = values - decoded
    # The mean of what is left, so that cells decode right on average.
    offset = residual.mean(0)
    error = residual - offset
    unexplained = np.square(error).sum()
    deviation = values - values.mean(0)
    total = np.square(deviation).sum()
    # Of genes that do not vary, there is nothing to explain.
    if total == 0:
        return offset
    explained = 1 - unexplained / total
    if explained < LEAST_EXPLAINED:
        warn(
            f"the components were not computed from {place}: they explain it worse than its mean "
            f"(explained variance {explained:.1f}); name the layer they come from"
        )
    return offset
