"""How fast cells are expected to divide and die, from the genes that they express."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.arrays import as_list, dense_rows
from dyninfer.data.columns import MissingKey, check_anndata, check_writable
from dyninfer.data.representation import check_finite, warn_if_counts
from dyninfer.data.words import listed, quoted
from dyninfer.learning.settings import brief, is_number
from dyninfer.learning.warn import warn
from dyninfer.tools.expression import Expression
from dyninfer.tools.gene_sets import APOPTOSIS, FORMER, ORGANISMS, PROLIFERATION, symbols_in

if TYPE_CHECKING:
    from anndata import AnnData

# Rates per day of a cell that does not divide, or die, and of one that does as fast as it can; as
# Waddington-OT has them. A doubling in ten hours is a rate of 1.7.
SLOWEST = 0.3
FASTEST = 1.7
# Score at which a rate is halfway between the two, and how far around it most of the rise is. Death
# shows in few genes, and weakly.
BIRTH_CENTER = 0.25
BIRTH_WIDTH = 0.5
DEATH_CENTER = 0.1
DEATH_WIDTH = 0.2
# A few cells with one gene very high must not carry a score.
LARGEST_Z = 5.0
# A mean over fewer genes is their noise.
FEWEST_GENES = 5


def score_growth(
    adata: AnnData,
    organism: str = "human",
    *,
    proliferation: Iterable[str] | None = None,
    apoptosis: Iterable[str] | None = None,
    layer: str | None = None,
    gene_key: str | None = None,
    days_per_unit: float = 1.0,
) -> pd.DataFrame:
    """Expected growth of every cell, from cell-cycle and apoptosis genes.

    Each gene is standardised over all cells and clipped at five standard deviations; the score of a
    cell is the mean over a gene set. Logistic curves turn the two scores into birth and death rates
    between 0.3 and 1.7 per day, as in Waddington-OT; their difference is written to
    ``obs["dyninfer_growth_prior"]``, for ``fit(..., growth_key="dyninfer_growth_prior")`` with
    ``coupling="growth_first"``.

    Expression is only a proxy: the score ranks cells well by how likely they divide, and far less
    well by how likely they die. :class:`~dyninfer.UnbalancedWeights` tempers it
    (``prior_strength``) and corrects it where the next snapshot disagrees.

    Parameters
    ----------
    adata : AnnData
        With log-normalised expression of all genes; a selection of variable genes lacks most of
        those needed here.
    organism : {"human", "mouse"}
        Species of the gene symbols.
    proliferation, apoptosis : iterable of str, optional
        Genes to score in place of those of Tirosh et al. 2016 and of HALLMARK_APOPTOSIS; an empty
        list leaves that rate at its minimum in all cells.
    layer : str, optional
        Layer with the expression; by default ``X``.
    gene_key : str, optional
        Column of ``var`` with the symbols; by default the ``var_names``.
    days_per_unit : float
        Days per unit of time of the data, such as 1/24 for hours.

    Returns
    -------
    DataFrame
        One row per cell: the scores ``proliferation`` and ``apoptosis``, the rates ``birth`` and
        ``death``, and their difference ``growth``, per unit of time.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a layer or a column is missing, or fewer than five genes of a set are found.

    Warns
    -----
    UserWarning
        If fewer than half of the genes of a set are found, or values look like counts.

    References
    ----------
    Schiebinger et al. Optimal-transport analysis of single-cell gene expression identifies
    developmental trajectories in reprogramming. Cell 176, 928 (2019).

    Tirosh et al. Dissecting the multicellular ecosystem of metastatic melanoma by single-cell
    RNA-seq. Science 352, 189 (2016).

    Liberzon et al. The Molecular Signatures Database hallmark gene set collection. Cell Systems 1,
    417 (2015).

    Examples
    --------
    >>> import anndata, numpy as np, dyninfer as di
    >>> genes = ["MKI67", "TOP2A", "PCNA", "MCM2", "CCNB2"]
    >>> dividing = np.array([[0.0] * 5, [2.0] * 5])
    >>> adata = anndata.AnnData(dividing)
    >>> adata.var_names = genes
    >>> table = di.tl.score_growth(adata, proliferation=genes, apoptosis=[])
    >>> table[["birth", "death"]].round(1).values.tolist()  # rates lie between 0.3 and 1.7
    [[0.3, 0.3], [1.7, 0.3]]
    """
    check_anndata(adata)
    check_writable(adata)
    if not isinstance(organism, str) or organism not in ORGANISMS:
        raise ValueError(
            f"organism must be one of {', '.join(ORGANISMS)}, found {brief(organism)}; for "
            "another, give its genes by proliferation and apoptosis"
        )
    if not is_number(days_per_unit) or not 0 < days_per_unit < np.inf:
        raise ValueError(f"days_per_unit must be positive and finite, found {brief(days_per_unit)}")
    days_per_unit = float(days_per_unit)
    expression = Expression.of(adata, layer).matrix
    symbols = _symbols(adata, gene_key)
    scores = {}
    for name, genes, default in (
        ("proliferation", proliferation, PROLIFERATION),
        ("apoptosis", apoptosis, APOPTOSIS),
    ):
        if genes is None:
            genes = _default_genes(symbols, default, organism)
        own_genes = _as_genes(genes, name)
        columns = _columns_of(own_genes, symbols, name, organism)
        scores[name] = _mean_z_score(expression, columns)
    table = pd.DataFrame(scores, index=adata.obs_names)
    birth = _rate(table["proliferation"], BIRTH_CENTER, BIRTH_WIDTH)
    death = _rate(table["apoptosis"], DEATH_CENTER, DEATH_WIDTH)
    table["birth"] = days_per_unit * birth
    table["death"] = days_per_unit * death
    table["growth"] = table["birth"] - table["death"]
    adata.obs[keys.GROWTH_PRIOR] = table["growth"]
    return table


def _as_genes(genes: Iterable[str], name: str) -> list[str]:
    """Symbols of genes as a list, or a TypeError that names what is none."""
    # The order of the genes does not matter, so that a set serves as well.
    if isinstance(genes, Set):
        genes = list(genes)
    symbols = as_list(genes, name, "symbols of genes")
    for symbol in symbols:
        if not isinstance(symbol, str):
            raise TypeError(f"{name} must be symbols of genes, found {brief(symbol)}")
    return symbols


def _symbols(adata: AnnData, gene_key: str | None) -> pd.Index:
    """Symbol of every gene."""
    if gene_key is None:
        return adata.var_names.astype(str)
    if not isinstance(gene_key, str) or gene_key not in adata.var:
        raise MissingKey(
            f"gene_key {quoted(gene_key)} is not in adata.var; there are {listed(adata.var)}"
        )
    column = adata.var[gene_key]
    return pd.Index(column.astype(str))


def _default_genes(symbols: pd.Index, genes: Iterable[str], organism: str) -> list[str]:
    """Symbols of the genes in an organism, the former ones where the data know no other."""
    names = []
    for gene in genes:
        former = FORMER.get(gene, gene)
        current, older = symbols_in([gene, former], organism)
        names.append(older if older in symbols else current)
    return names


def _columns_of(genes: list[str], symbols: pd.Index, name: str, organism: str) -> ndarray:
    """Columns of the genes that are there; says by name which are not."""
    if not genes:
        return np.zeros(0, dtype=np.int64)
    is_there = symbols.isin(genes)
    missing = [gene for gene in genes if gene not in symbols]
    n_there = len(genes) - len(missing)
    # A set of the user's own may be smaller.
    if n_there < min(FEWEST_GENES, len(genes)):
        raise ValueError(
            f"{n_there} of the {len(genes)} genes of {name} are in the data (missing: "
            f"{listed(missing, 4)}); {_remedy(symbols, organism)}"
        )
    if n_there < 0.5 * len(genes):
        warn(
            f"only {n_there} of the {len(genes)} genes of {name} are in the data (missing: "
            f"{listed(missing, 4)}); score before genes are selected",
            UserWarning,
        )
    return np.flatnonzero(is_there)


def _remedy(symbols: pd.Index, organism: str) -> str:
    """What to do where genes are missing: other names, or all genes."""
    for other in ORGANISMS:
        names = symbols_in(PROLIFERATION, other)
        if other != organism and symbols.isin(names).sum() >= FEWEST_GENES:
            return f"the names look like those of {other}: give organism={other!r}"
    if symbols.str.startswith("ENS").any():
        return "the names are identifiers: give the column of symbols, gene_key"
    return "score before genes are selected, or give genes of your own"


def _mean_z_score(expression: Any, columns: ndarray) -> ndarray:
    """Mean over genes of their standardised expression ``(cells,)``."""
    n_cells = expression.shape[0]
    if len(columns) == 0:
        return np.full(n_cells, -np.inf)
    every_row = np.arange(n_cells)
    own = expression[:, columns]
    dense = dense_rows(own, every_row)
    values = dense.astype(np.float64)
    check_finite(values, "the expression")
    warn_if_counts(values, "the expression")
    spread = values.std(0)
    # A gene that no cell expresses says nothing.
    varies = spread > 0
    if not varies.any():
        return np.zeros(n_cells)
    varying = values[:, varies]
    deviation = varying - varying.mean(0)
    z = deviation / spread[varies]
    return z.clip(-LARGEST_Z, LARGEST_Z).mean(1)


def _rate(score: pd.Series, center: float, width: float) -> pd.Series:
    """Rate per day: a logistic curve of the score, from the slowest to the fastest."""
    steepness = 4 / width
    exponent = -steepness * (score - center)
    rise = 1 / (1 + np.exp(exponent))
    return SLOWEST + (FASTEST - SLOWEST) * rise
