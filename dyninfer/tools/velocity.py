"""Velocities for the eye and for other packages: on any basis, and in genes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.columns import MissingKey, check_anndata, check_writable
from dyninfer.data.embedding import pushed_forward
from dyninfer.data.representation import check_finite
from dyninfer.data.words import counted, quoted
from dyninfer.tools.decoding import Decoder, decoder_of, states_of
from dyninfer.tools.fate_checks import check_model

if TYPE_CHECKING:
    from anndata import AnnData

# Cells decoded at a time: some megabytes of genes.
ROWS = 512


def cell_velocity(model: Any, adata: AnnData) -> ndarray:
    """Velocity of every cell ``(n, feature)`` float64, at its own time.

    Raises
    ------
    TypeError
        If the model's states do not move continuously.
    """
    check_model(model, "annotations")
    fields = model.annotations(adata)
    if keys.VELOCITY not in fields:
        raise TypeError(
            f"{type(model).__name__} has no velocity: its states jump; use a method for snapshots, "
            "such as ActionMatching"
        )
    field = fields[keys.VELOCITY]
    return np.asarray(field, dtype=np.float64)


def velocity_layer(
    model: Any,
    adata: AnnData,
    *,
    decoder: str | Callable[[ndarray], Any] | None = None,
    layer: str | None = None,
) -> AnnData:
    """Velocity of every gene, as a layer that scVelo reads.

    Writes ``layers["dyninfer_velocity"]``, the matching decoded expression
    ``layers["dyninfer_expression"]``, and ``var["dyninfer_velocity_genes"]``, which marks the genes
    that can change at all.

    Parameters
    ----------
    model : fitted estimator
        A model with velocities.
    adata : AnnData
        Read by the keys of the fit.
    decoder : str or callable, optional
        Key of ``varm`` with loadings, or a function from states ``(n, feature)`` to the genes of
        ``var_names``; by default ``varm["PCs"]`` decodes ``obsm["X_pca"]``.
    layer : str, optional
        Layer from which the components were computed; by default ``X``.

    Returns
    -------
    AnnData
        The same object.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the model has no velocity, or its states cannot be decoded.

    Examples
    --------
    In scVelo::

        di.tl.velocity_layer(model, adata)
        names = {"vkey": "dyninfer_velocity", "xkey": "dyninfer_expression"}
        scv.tl.velocity_graph(adata, **names)

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata = di.tl.velocity_layer(model, adata)
    >>> "dyninfer_velocity" in adata.layers
    True
    """
    check_anndata(adata)
    check_writable(adata)
    velocity = cell_velocity(model, adata)
    rep = model.source_["use_rep"]
    decode = decoder_of(adata, rep, decoder=decoder, layer=layer)
    # A layer has a column for every gene of the table.
    if len(decode.genes) != adata.n_vars:
        raise ValueError(
            f"decoder returns {counted(len(decode.genes), 'gene')}, a layer needs all "
            f"{adata.n_vars}"
        )
    states = states_of(adata, rep)
    values, rates = _in_genes(decode, states, velocity)
    adata.layers[keys.VELOCITY] = rates
    adata.layers[keys.EXPRESSION] = values
    moves = (rates != 0).any(0)
    adata.var[f"{keys.VELOCITY}_genes"] = moves
    return adata


def _in_genes(decode: Decoder, states: ndarray, velocity: ndarray) -> tuple[ndarray, ndarray]:
    """Expression and its rates, each ``(n, gene)`` float32, a few cells at a time."""
    shape = (len(states), len(decode.genes))
    values = np.empty(shape, dtype=np.float32)
    rates = np.empty(shape, dtype=np.float32)
    for first in range(0, len(states), ROWS):
        rows = slice(first, first + ROWS)
        own = states[rows]
        values[rows] = decode.values(own)
        rates[rows] = decode.rates(own, velocity[rows])
    return values, rates


def velocity_embedding(
    adata: AnnData,
    basis: str = "umap",
    *,
    use_rep: str | None = None,
    n_neighbors: int | None = None,
) -> ndarray:
    """Velocity arrows on any embedding of the cells.

    Around every cell, positions of the nearest cells in the embedding are regressed on their
    states. The arrow is the slope times the velocity, in units of the basis per unit of time. If
    the basis is a linear map of the states, arrows are exact. Written to
    ``obsm["dyninfer_velocity_<basis>"]``, where scVelo and scanpy look for arrows.

    Parameters
    ----------
    adata : AnnData
        Holds the velocity that ``model.annotate(adata)`` writes.
    basis : str
        Key of ``obsm``, with or without ``X_``.
    use_rep : str, optional
        Representation of the velocity; by default that of the annotation.
    n_neighbors : int, optional
        Cells per regression; by default 30, or twice the number of features if that is more.

    Returns
    -------
    array ``(n, coordinate)``

    Raises
    ------
    KeyError
        If the velocity or the basis is missing.
    ValueError
        If there are too few cells, or values that are not finite.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata = model.annotate(adata)
    >>> arrows = di.tl.velocity_embedding(adata, "umap")
    >>> adata.obsm["dyninfer_velocity_umap"].shape[1]
    2
    """
    check_anndata(adata)
    check_writable(adata)
    if keys.VELOCITY not in adata.obsm:
        raise MissingKey("adata has no velocity; call model.annotate(adata) first")
    if use_rep is None:
        use_rep = _annotated(adata)
    if not isinstance(basis, str):
        raise TypeError(f"basis must be a key of obsm, found {quoted(basis)}")
    if basis not in adata.obsm and f"X_{basis}" in adata.obsm:
        basis = f"X_{basis}"
    states = states_of(adata, use_rep)
    positions = states_of(adata, basis)
    stored = adata.obsm[keys.VELOCITY]
    velocity = np.asarray(stored, dtype=np.float64)
    if velocity.shape != states.shape:
        raise ValueError(
            f"the velocity has {counted(velocity.shape[1], 'feature')}, {quoted(use_rep)} has "
            f"{states.shape[1]}; give the use_rep that the model was fitted on"
        )
    cell_names = np.asarray(adata.obs_names)
    check_finite(states, use_rep, cell_names)
    check_finite(positions, basis, cell_names)
    check_finite(velocity, keys.VELOCITY, cell_names)
    arrows = pushed_forward(states, positions, velocity, n_neighbors)
    stem = basis.removeprefix("X_")
    adata.obsm[f"{keys.VELOCITY}_{stem}"] = arrows
    return arrows


def _annotated(adata: AnnData) -> str:
    """Representation of the model that annotated."""
    annotation = adata.uns.get(keys.UNS, {})
    metadata = json.loads(annotation.get("model", "{}"))
    provenance = metadata.get("provenance", {})
    source = provenance.get("source", {})
    rep = source.get("use_rep")
    # A model of arrays has no keys.
    if rep is None:
        raise ValueError("the representation of the velocity is not known; give use_rep")
    return rep
