"""Trends: expression of genes along simulated trajectories, for each fate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.arrays import as_array
from dyninfer.data.columns import MissingKey, check_anndata, time_column
from dyninfer.data.fates import stored_fates
from dyninfer.data.representation import representation
from dyninfer.data.times import Clock
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.words import listed, quoted, texts
from dyninfer.learning.settings import brief, check_count, check_level
from dyninfer.tools.decoding import Decoder, decoder_of, states_of
from dyninfer.tools.expression import as_names
from dyninfer.tools.fate_checks import check_fates, with_fates

if TYPE_CHECKING:
    from anndata import AnnData

# Paths that carry a fate, as an effective number: below, a curve is one path's.
FEWEST_PATHS = 2.0


def trends(
    adata: AnnData,
    traj: Trajectories,
    genes: Sequence[str] | str,
    fate: str | Sequence[str] | None = None,
    *,
    decoder: str | Callable[[ndarray], Any] | None = None,
    layer: str | None = None,
    use_rep: str | None = None,
    time_key: str | None = None,
    level: float = 0.9,
    n_neighbors: int = 10,
    key: str = keys.FATES,
) -> pd.DataFrame:
    """Gene expression along simulated paths, with a band.

    States of the paths are decoded to genes. For each fate, a path is weighted by the share of that
    fate among the nearest cells at its end, and by its mass there. A curve is thus the history of
    the cells that reach the fate.

    Parameters
    ----------
    adata : AnnData
        Cells that the model was fitted on.
    traj : Trajectories
        Simulated paths.
    genes : sequence of str
        Genes to follow.
    fate : str or list of str, optional
        Fates, one curve for each; by default all paths together.
    decoder : str or callable, optional
        Key of ``varm`` with loadings, or a function from states ``(n, feature)`` to the genes of
        ``var_names``; by default ``varm["PCs"]`` decodes ``obsm["X_pca"]``, with the mean of ``X``.
    layer : str, optional
        Layer from which the components were computed; by default ``X``.
    use_rep : str, optional
        Representation that was simulated; by default the one with the names of its features.
    time_key : str, optional
        Column of the times; with it, ends of paths are compared only with cells of that time.
    level : float
        Share of the paths that lies within the band.
    n_neighbors : int
        Number of cells that determine the fate of a path.
    key : str
        Key of ``obsm`` with the fates.

    Returns
    -------
    DataFrame
        A row for every ``fate`` ("all" where none is given), ``gene`` and ``time``: the ``mean``
        over paths, its standard ``error``, the band from ``low`` to ``high`` that holds the central
        share of the paths, and the effective number of ``paths``.

    Raises
    ------
    KeyError
        If a gene, a fate or a representation is missing.
    ValueError
        If no path is left, or fewer than two end in a fate.
    TypeError
        If the paths are of integer states.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> table = di.tl.fates(model, adata, "kind", n_draws=2)
    >>> paths = model.simulate(adata, times=[0, 48, 96])
    >>> curves = di.tl.trends(adata, paths, list(adata.var_names[:2]))
    >>> list(curves.columns)
    ['fate', 'gene', 'time', 'mean', 'error', 'low', 'high', 'paths']
    """
    check_anndata(adata)
    level = check_level(level)
    n_neighbors = check_count(n_neighbors, "n_neighbors")
    if not isinstance(traj, Trajectories):
        raise TypeError(f"traj must be Trajectories, found {brief(traj)}")
    if traj.discrete:
        raise TypeError("trends need states that move continuously, and these jump")
    rep = _simulated_rep(adata, traj, use_rep)
    decode = decoder_of(adata, rep, genes, decoder, layer)
    # Lost paths carry no weight, and their states are not numbers.
    status = as_array(traj.status, "status")
    whole = np.flatnonzero(status == 0)
    if len(whole) == 0:
        raise ValueError("all paths of traj were lost, so there is nothing to follow")
    if fate is None:
        states = traj.states[whole]
        weights = {"all": as_array(traj.weights[whole], "weights")}
    else:
        # Rows that were resampled on the way are joined to the lines that end in them.
        lines = traj[whole].lineages()
        rows = _end_cells(adata, lines, time_key, key)
        end_states = states_of(adata, rep, rows)
        end_fates = stored_fates(adata, key).iloc[rows]
        shares = _end_fates(end_fates, end_states, lines, n_neighbors)
        names = as_names(fate)
        check_fates(names, shares)
        states = lines.states
        weights = {name: _towards(shares[name], lines) for name in names}
    times = as_array(traj.times, "times")
    numbers = as_array(states, "states").astype(np.float64)
    curves = []
    for name, weight in weights.items():
        curve = _curves(name, decode, numbers, times, weight, level)
        curves.append(curve)
    return pd.concat(curves, ignore_index=True)


def _simulated_rep(adata: AnnData, traj: Trajectories, use_rep: str | None) -> str:
    """Representation of the paths: the one with their features."""
    features = texts(traj.features)
    if use_rep is not None:
        _, columns, _ = representation(adata, use_rep)
        # Those of a model that was fitted on arrays have no names: their number must do.
        if len(columns) == len(features):
            return use_rep
    names = list(adata.obsm)
    if adata.X is not None:
        names.append("X")
    for name in names:
        _, columns, _ = representation(adata, name)
        if columns == features:
            return name
    raise MissingKey(
        f"no representation of adata has the features of traj ({listed(features, 3)}); "
        f"give use_rep, one of {listed(names)}"
    )


def _end_cells(adata: AnnData, traj: Trajectories, time_key: str | None, key: str) -> ndarray:
    """Rows of the cells that say the fates of paths."""
    has_fates = with_fates(stored_fates(adata, key))
    rows = np.flatnonzero(has_fates)
    if time_key is not None:
        column = time_column(adata, time_key)
        clock = Clock.of(column, time_key)
        end = float(traj.times[-1])
        at_end = clock.rows(column, end)
        rows = np.intersect1d(rows, at_end)
    if len(rows) == 0:
        raise ValueError("no cell near the ends of paths has fates; leave time_key out")
    return rows


def _end_fates(
    fates: pd.DataFrame, states: ndarray, traj: Trajectories, n_neighbors: int
) -> pd.DataFrame:
    """Shares of fates at the ends of paths ``(path, fate)``, from their nearest cells."""
    from sklearn.neighbors import NearestNeighbors

    # As for the fates of cells: labels of one neighbour alone are noisy.
    k = min(n_neighbors, len(states))
    search = NearestNeighbors(n_neighbors=k).fit(states)
    last = traj.states[:, -1]
    ends = as_array(last, "states")
    near = search.kneighbors(ends, return_distance=False)
    shares = fates.to_numpy()[near].mean(1)
    return pd.DataFrame(shares, columns=fates.columns)


def _towards(share: pd.Series, traj: Trajectories) -> ndarray:
    """Weights ``(path, time)`` of the paths that end in a fate."""
    # The weight at the end, at all times: the history of those that arrive.
    weights = traj.weights[:, -1]
    mass = as_array(weights, "weights")
    weight = share.to_numpy() * mass
    total = weight.sum()
    n_paths = 0.0
    if total > 0:
        squares = np.square(weight)
        n_paths = total**2 / squares.sum()
    if n_paths < FEWEST_PATHS:
        name = quoted(str(share.name))
        raise ValueError(
            f"{n_paths:.1f} of {traj.n_paths} simulated paths end in {name}; "
            "simulate more, with noise, or start from cells that reach it"
        )
    column = weight[:, None] / total
    return np.repeat(column, traj.n_times, axis=1)


def _curves(
    fate: str,
    decode: Decoder,
    states: ndarray,
    times: ndarray,
    weights: ndarray,
    level: float,
) -> pd.DataFrame:
    """Curves of all genes, one below the other."""
    shape = (len(times), len(decode.genes))
    names = ("mean", "error", "low", "high", "paths")
    columns = {name: np.empty(shape) for name in names}
    tail = (1 - level) / 2
    # One time after the other: all states in genes at once would not fit.
    for k in range(len(times)):
        weight = weights[:, k]
        values = decode.values(states[:, k])
        mean = weight @ values
        variance = weight @ (values - mean) ** 2
        # Kish's number: so many paths of equal weight would be as sure.
        n_paths = 1 / np.square(weight).sum()
        columns["mean"][k] = mean
        # Of the mean: the spread of the paths is the band.
        variance_of_mean = variance / n_paths
        columns["error"][k] = np.sqrt(variance_of_mean)
        tails = [tail, 1 - tail]
        low, high = weighted_quantiles(values, weight, tails)
        columns["low"][k] = low
        columns["high"][k] = high
        columns["paths"][k] = n_paths
    keys_of_rows = {
        "fate": fate,
        "gene": np.repeat(decode.genes, len(times)),
        "time": np.tile(times, len(decode.genes)),
    }
    flat = {name: values.T.ravel() for name, values in columns.items()}
    return pd.DataFrame(keys_of_rows | flat)


def weighted_quantiles(values: ndarray, weight: ndarray, levels: Sequence[float]) -> ndarray:
    """Quantiles ``(level, gene)`` of values ``(path, gene)`` whose weights sum to one.

    Linear between the values, each of which stands at the middle of its own weight.
    """
    quantiles = []
    for column in values.T:
        order = np.argsort(column)
        own = weight[order]
        middle = np.cumsum(own) - own / 2
        quantile = np.interp(levels, middle, column[order])
        quantiles.append(quantile)
    return np.stack(quantiles, axis=1)
