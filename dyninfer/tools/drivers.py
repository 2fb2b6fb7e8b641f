"""Driver genes: those that go with a fate, and those that are about to rise on the way to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.arrays import as_list
from dyninfer.data.columns import MissingKey
from dyninfer.data.fates import stored_fates
from dyninfer.data.representation import check_finite
from dyninfer.data.words import counted, listed, quoted
from dyninfer.learning.settings import brief, check_level
from dyninfer.tools.decoding import decoder_of, states_of
from dyninfer.tools.expression import Expression, as_names
from dyninfer.tools.fate_checks import check_fates, with_fates
from dyninfer.tools.velocity import cell_velocity

if TYPE_CHECKING:
    from anndata import AnnData

# Genes that are made dense at once.
GENES = 512
# Fisher's standard error is 1 / √(n − 3).
FEWEST_CELLS = 5
# Spread of probabilities, and of a gene relative to its size, that is rounding.
NO_SPREAD = 1e-6


def drivers(
    model: Any,
    adata: AnnData,
    fate: str | Sequence[str] | None = None,
    *,
    genes: Sequence[str] | None = None,
    cells: ndarray | Sequence[Any] | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    decoder: str | Callable[[ndarray], Any] | None = None,
    decoder_layer: str | None = None,
    level: float = 0.95,
    key: str = keys.FATES,
) -> pd.DataFrame:
    """Genes whose expression correlates with the probability of a fate, or is about to rise.

    Gives the correlation over cells between each gene and the probability of the fate, with
    Fisher's interval and Benjamini-Hochberg q-values over the genes. With a model, also the rate at
    which its velocity changes the gene in cells bound for the fate. Correlation does not show a
    cause. Neighbouring cells share fates, so p-values are too small: use them to rank genes, and
    draw conclusions from replicates.

    Parameters
    ----------
    model : fitted estimator or None
        Provides the velocity; None leaves it out.
    adata : AnnData
        Holds the fates that :func:`~dyninfer.tools.fates` has written.
    fate : str or list of str, optional
        One fate, or several that count as one; by default each in turn.
    genes : sequence of str, optional
        Genes to test; by default all.
    cells : array, optional
        Mask, names or numbers of the cells to use, such as those of one time or cluster; by default
        all cells that have fates.
    layer : str, optional
        Layer with the expression; by default ``X``.
    use_raw : bool
        Take the expression, and the genes, of ``adata.raw``.
    decoder, decoder_layer : optional
        How states become genes: ``decoder`` and ``layer`` of
        :func:`~dyninfer.tools.velocity_layer`.
    level : float
        Coverage of the intervals.
    key : str
        Key of ``obsm`` with the fates.

    Returns
    -------
    DataFrame
        A row for every gene and fate, best first: ``fate``, ``corr``, ``ci_low``, ``ci_high``,
        ``pval``, ``qval``. A gene that does not vary has no correlation (NaN) and comes last. A
        model adds ``rise``, the velocity of the gene averaged over cells, weighted by the
        probability of the fate. ``rise_over_rest`` is its excess over the average weighted by the
        probability of any other fate. NaN for genes that are not decoded.

    Raises
    ------
    KeyError
        If the fates, or a fate, a gene or a layer, are missing; the nearest name is given.
    ValueError
        If all cells have the same probability, so that nothing can correlate with it.

    References
    ----------
    Lange et al. CellRank for directed single-cell fate mapping. Nature Methods 19, 159 (2022).

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> table = di.tl.fates(model, adata, "kind", n_draws=2)
    >>> list(di.tl.drivers(model, adata, "far").columns)[:3]
    ['fate', 'corr', 'ci_low']
    """
    level = check_level(level)
    # Before anything is computed: a key that is not there is told at once.
    fates = stored_fates(adata, key)
    expression = Expression.of(adata, layer, use_raw)
    columns = expression.columns(genes)
    rows = _rows(adata, cells)
    has_fates = with_fates(fates)
    rows = rows[has_fates[rows]]
    shares = _merged(fates.iloc[rows], fate)
    _check_spread(shares, len(fates.columns))
    names = expression.genes[columns]
    rates = None
    if model is not None:
        rates = _rates(model, adata[rows], names, decoder, decoder_layer)
    correlations = _correlations(expression, columns, rows, shares.to_numpy())
    tables = []
    columns_of_fates = zip(shares, correlations.T, strict=True)
    for name, correlation in columns_of_fates:
        table = _with_intervals(correlation, len(rows), level)
        table.index = pd.Index(names, name="gene")
        table.insert(0, "fate", name)
        if rates is not None:
            _add_rise(table, rates, shares[name].to_numpy())
        tables.append(table.sort_values("corr", ascending=False, kind="stable"))
    return pd.concat(tables)


def _rows(adata: AnnData, cells: Any) -> ndarray:
    """Rows of the cells that are asked for."""
    if cells is None:
        return np.arange(adata.n_obs)
    items = as_list(cells, "cells", "names or numbers of cells")
    are_plain = all(isinstance(cell, str | Integral | np.bool_) for cell in items)
    requested = np.asarray(items) if are_plain else np.zeros((0, 0))
    if requested.ndim != 1:
        raise TypeError(f"cells must be names, numbers or a mask, found {brief(cells)}")
    if requested.dtype == bool:
        if len(requested) != adata.n_obs:
            raise ValueError(
                f"cells has {len(requested)} entries, adata has {counted(adata.n_obs, 'cell')}; "
                "a mask needs one for every cell"
            )
        return np.flatnonzero(requested)
    if requested.dtype.kind in "iu":
        is_above = requested >= -adata.n_obs
        is_below = requested < adata.n_obs
        is_there = is_above & is_below
        if not is_there.all():
            wrong = int(requested[~is_there][0])
            raise ValueError(
                f"cells has the number {wrong}, and adata has {counted(adata.n_obs, 'cell')}"
            )
        return requested
    names = requested.astype(str)
    rows = adata.obs_names.get_indexer(names)
    missing = requested[rows < 0]
    if len(missing):
        raise MissingKey(f"cells {listed(missing, 3)} are not in adata.obs_names")
    return rows


def _merged(fates: pd.DataFrame, fate: str | Sequence[str] | None) -> pd.DataFrame:
    """Probability of every fate that is asked for; of several that count as one, their sum."""
    if fate is None:
        return fates
    names = as_names(fate)
    check_fates(names, fates)
    total = fates[names].sum(axis=1)
    return total.to_frame(" or ".join(names))


def _check_spread(shares: pd.DataFrame, n_fates: int) -> None:
    """Refuse what nothing can be correlated with."""
    n_cells = len(shares)
    if n_cells < FEWEST_CELLS:
        raise ValueError(f"{n_cells} cells have fates; drivers need at least {FEWEST_CELLS}")
    reason = "choose cells from before the fates separate: cells=..."
    if n_fates == 1:
        reason = "there is only one fate"
    for name in shares:
        spread = shares[name].std(ddof=0)
        if spread <= NO_SPREAD:
            raise ValueError(
                f"all cells have the same probability of {quoted(str(name))}, so no gene can "
                f"correlate with it: {reason}"
            )


def _correlations(
    expression: Expression, columns: ndarray, rows: ndarray, shares: ndarray
) -> ndarray:
    """Correlation of genes with probabilities ``(gene, fate)``; NaN where a gene is constant."""
    shares = shares - shares.mean(0)
    shares = shares / np.linalg.norm(shares, axis=0)
    n_genes = len(columns)
    shape = (n_genes, shares.shape[1])
    correlation = np.empty(shape)
    for first in range(0, n_genes, GENES):
        block = slice(first, first + GENES)
        values = expression.values(columns[block], rows)
        check_finite(values, expression.place)
        size = np.linalg.norm(values, axis=0)
        values = values - values.mean(0)
        spread = np.linalg.norm(values, axis=0)
        # Relative to the gene: the mean of equal numbers is rounded.
        is_constant = spread <= NO_SPREAD * size
        spread[is_constant] = np.nan
        standardised = values / spread
        correlation[block] = standardised.T @ shares
    return np.clip(correlation, -1, 1)


def _with_intervals(correlation: ndarray, n_cells: int, level: float) -> pd.DataFrame:
    """Fisher's interval and test of correlations, and q-values."""
    from scipy.stats import norm

    error = 1 / np.sqrt(n_cells - 3)
    # A perfect correlation is infinitely far from none.
    with np.errstate(divide="ignore"):
        z = np.arctanh(correlation)
    upper_tail = (1 + level) / 2
    half = norm.ppf(upper_tail) * error
    distance = np.abs(z) / error
    pvalue = 2 * norm.sf(distance)
    columns = {
        "corr": correlation,
        "ci_low": np.tanh(z - half),
        "ci_high": np.tanh(z + half),
        "pval": pvalue,
        "qval": q_values(pvalue),
    }
    return pd.DataFrame(columns)


def _add_rise(table: pd.DataFrame, rates: ndarray, share: ndarray) -> None:
    """Mean rates of the cells bound for a fate, and how far above those of the others."""
    other = 1 - share
    rise = share @ rates / share.sum()
    rest = other @ rates / other.sum()
    table["rise"] = rise
    table["rise_over_rest"] = rise - rest


def q_values(pvalues: ndarray) -> ndarray:
    """Smallest false-discovery rate at which each is accepted (Benjamini and Hochberg 1995).

    NaN is no test, and stays.
    """
    q = np.full(len(pvalues), np.nan)
    tests = np.flatnonzero(np.isfinite(pvalues))
    # From the worst to the best.
    descending = np.argsort(-pvalues[tests])
    order = tests[descending]
    n_tests = len(tests)
    rank = np.arange(n_tests, 0, -1)
    expected = pvalues[order] * n_tests / rank
    # A gene that is accepted takes every better one with it.
    q[order] = np.minimum.accumulate(expected)
    return q


def _rates(
    model: Any,
    cells: AnnData,
    names: pd.Index,
    decoder: str | Callable[[ndarray], Any] | None,
    layer: str | None,
) -> ndarray:
    """Velocity of genes in cells ``(cell, gene)``; NaN for genes that no state says anything of."""
    velocity = cell_velocity(model, cells)
    rep = model.source_["use_rep"]
    decode = decoder_of(cells, rep, decoder=decoder, layer=layer)
    states = states_of(cells, rep)
    position = decode.genes.get_indexer(names)
    decoded = decode.rates(states, velocity)
    # Genes that took no part in the components have no velocity, rather than none.
    is_silent = (decoded == 0).all(0)
    decoded[:, is_silent] = np.nan
    shape = (cells.n_obs, len(names))
    rates = np.full(shape, np.nan)
    is_there = position >= 0
    columns = position[is_there]
    rates[:, is_there] = decoded[:, columns]
    return rates
