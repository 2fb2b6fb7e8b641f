"""Transitions between observed cells, as CellRank's PrecomputedKernel takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy import ndarray
from scipy.sparse import coo_matrix, csr_matrix

from dyninfer.data.arrays import as_array
from dyninfer.data.columns import check_anndata, time_column
from dyninfer.data.reading import read_features, source_of
from dyninfer.data.times import Clock
from dyninfer.data.trajectories import Trajectories
from dyninfer.learning.random import subseed
from dyninfer.learning.settings import check_count, check_seed
from dyninfer.learning.warn import warn
from dyninfer.tools.fate_checks import check_model

if TYPE_CHECKING:
    from anndata import AnnData

# Probabilities are counted in parts of 2⁻⁴⁰: sums of such numbers are exact in float64, in any
# order, so that rows sum to one and not to one less rounding.
PARTS = 2.0**40

Triple = tuple[ndarray, ndarray, ndarray]


def transition_matrix(
    model: Any,
    adata: AnnData,
    *,
    n_draws: int = 20,
    n_neighbors: int = 10,
    noise: float | Callable[[float], float] | None = None,
    seed: int = 0,
) -> csr_matrix:
    """Probability that each cell turns into each cell of the next observed time.

    From every cell, ``n_draws`` paths run to the next observed time. Each is spread over the
    ``n_neighbors`` cells of that time nearest to its end, and weighted by the mass it has gained.
    Cells of the last time move to their nearest neighbours, including themselves.

    Parameters
    ----------
    model : fitted estimator
        Fitted on an AnnData; this one is read by the same keys.
    adata : AnnData
        At least two times.
    n_draws : int
        Paths per cell. A deterministic model needs, and runs, one only.
    n_neighbors : int
        Number of cells that the end of a path is spread over.
    noise : float or callable, optional
        ε of the simulation, for models with a score.
    seed : int

    Returns
    -------
    csr_matrix ``(n, n)``
        Float64, in the order of ``adata``; rows sum to one exactly.

    Raises
    ------
    TypeError, ValueError
        If the model cannot be run from these cells, or there is only one time.

    Warns
    -----
    UserWarning
        If all paths of some cells were lost; these cells stay in place.

    Examples
    --------
    In CellRank::

        kernel = cellrank.kernels.PrecomputedKernel(
            di.tl.transition_matrix(model, adata), adata=adata
        )

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> matrix = di.tl.transition_matrix(model, adata, n_draws=2)
    >>> bool(abs(matrix.sum(1) - 1).max() < 1e-6)
    True
    """
    check_anndata(adata)
    check_seed(seed)
    steps = Steps.of(
        model,
        adata,
        n_draws=n_draws,
        n_neighbors=n_neighbors,
        noise=noise,
    )
    n_times = len(steps.rows)
    if n_times < 2:
        raise ValueError(f"transitions need at least two times, found {steps.clock}")
    triples = []
    for k in range(n_times - 1):
        own_seed = subseed(seed, "interval", k)
        triples += steps.triples(k, k + 1, own_seed)
    # The last time has nowhere to go: a walk on its neighbours keeps its cells apart.
    last_rows = steps.rows[-1]
    walk = steps.arrivals(last_rows, n_times - 1)
    alike = np.ones(len(last_rows))
    last_states = steps.states[last_rows]
    triple = walk.spread(last_states, alike)
    triples.append(triple)
    return _normalised(triples, adata.n_obs)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Paths from cells of one time to cells of another.

    Attributes
    ----------
    model : fitted estimator
    adata : AnnData
    source : dict
        Keys of the fit.
    clock : Clock
    positions : array ``(n,)``
        Number of each cell's time.
    rows : list of arrays
        Rows of the cells of each time.
    states : array ``(n, feature)``
    n_draws, n_neighbors : int
    options : dict
        Of ``model.simulate``.
    """

    model: Any
    adata: AnnData
    source: dict[str, Any]
    clock: Clock
    positions: ndarray
    rows: list[ndarray]
    states: ndarray
    n_draws: int
    n_neighbors: int
    options: dict[str, Any]

    @classmethod
    def of(cls, model: Any, adata: AnnData, *, n_draws: int, n_neighbors: int, noise: Any) -> Steps:
        """Read the cells by the keys of the model's fit."""
        n_draws = check_count(n_draws, "n_draws")
        n_neighbors = check_count(n_neighbors, "n_neighbors")
        check_model(model)
        source = source_of(model.provenance_, "time_key", "an AnnData to fit")
        column = time_column(adata, source["time_key"])
        clock = Clock.of(column)
        positions = clock.positions(column)
        rows = [np.flatnonzero(positions == k) for k in range(len(clock))]
        options = {} if noise is None else {"noise": noise}
        return cls(
            model=model,
            adata=adata,
            source=source,
            clock=clock,
            positions=positions,
            rows=rows,
            states=read_features(adata, model.provenance_),
            n_draws=n_draws,
            n_neighbors=n_neighbors,
            options=options,
        )

    def arrivals(self, sources: ndarray, end: int) -> _Arrivals:
        """How paths from some rows are spread over the cells of the ``end``-th time."""
        targets = self.rows[end]
        return _Arrivals(sources, targets, self.states[targets], self.n_neighbors)

    def triples(
        self, begin: int, end: int, seed: int, sources: ndarray | None = None
    ) -> list[Triple]:
        """Source, target and weight of all steps between two times, by their numbers.

        They start from all cells of the first, or from some rows of it.
        """
        if sources is None:
            sources = self.rows[begin]
        arrivals = self.arrivals(sources, end)
        interval = self.clock.times[[begin, end]].tolist()
        cells = self.adata[sources]
        runs = _draws(self.model, cells, interval, self.n_draws, seed, self.options)
        return [arrivals.of_run(run) for run in runs]


def _draws(
    model: Any,
    cells: AnnData,
    interval: list[float],
    n_draws: int,
    seed: int,
    options: dict[str, Any],
) -> Iterator[Trajectories]:
    """Runs over an interval, one path of every cell in each; one run where all are the same."""
    first_seed = subseed(seed, 0)
    first = model.simulate(cells, interval, seed=first_seed, **options)
    yield first
    for draw in range(1, n_draws):
        draw_seed = subseed(seed, draw)
        run = model.simulate(cells, interval, seed=draw_seed, **options)
        # To the digit, whatever the seed: the model is deterministic. Lost paths are NaN twice.
        is_same = torch.allclose(run.states, first.states, rtol=0, atol=0, equal_nan=True)
        if is_same:
            return
        yield run


@dataclass(frozen=True)
class _Arrivals:
    """Cells of one time, and those of the next that their paths arrive at."""

    sources: ndarray  # (n,) rows
    targets: ndarray  # (m,) rows
    states: ndarray  # (m, feature) of the targets
    n_neighbors: int

    def of_run(self, run: Trajectories) -> Triple:
        """Source, target and weight of every step of one path per source."""
        if run.discrete:
            raise TypeError("transitions need states that move continuously, and these jump")
        last = run.states[:, -1]
        ends = as_array(last, "states")
        weights = np.ones(len(ends))
        if run.log_weights is not None:
            # What a path has gained: starts of unequal weight are rows of their own.
            log_weights = as_array(run.log_weights, "log_weights")
            log_end = log_weights[:, -1]
            log_start = log_weights[:, 0]
            change = log_end - log_start
            weights = np.exp(change)
        is_lost = as_array(run.status, "status") != 0
        weights[is_lost] = 0
        return self.spread(ends, weights)

    def spread(self, ends: ndarray, weights: ndarray) -> Triple:
        """Weights of ends, in equal parts on their nearest targets."""
        from sklearn.neighbors import NearestNeighbors

        arrived = np.flatnonzero(weights > 0)
        if len(arrived) == 0:
            nowhere = np.zeros(0, dtype=np.int64)
            return nowhere, nowhere, np.zeros(0)
        k = min(self.n_neighbors, len(self.targets))
        search = NearestNeighbors(n_neighbors=k).fit(self.states)
        near = search.kneighbors(ends[arrived], return_distance=False)
        sources = np.repeat(self.sources[arrived], k)
        targets = self.targets[near.ravel()]
        share = weights[arrived] / k
        parts = np.repeat(share, k)
        return sources, targets, parts


def _normalised(triples: list[Triple], n: int) -> csr_matrix:
    """Matrix whose rows sum to one; a row without any weight stays where it is."""
    columns = zip(*triples, strict=True)
    sources, targets, weights = map(np.concatenate, columns)
    totals = np.bincount(sources, weights, n)
    lost = np.flatnonzero(totals == 0)
    if len(lost):
        warn(f"all paths of {len(lost)} cells were lost; these cells stay in place")
        sources = np.append(sources, lost)
        targets = np.append(targets, lost)
        ones = np.ones(len(lost))
        weights = np.append(weights, ones)
        totals[lost] = 1.0
    shares = weights / totals[sources]
    entries = (shares, (sources, targets))
    matrix = coo_matrix(entries, shape=(n, n)).tocsr()
    lengths = np.diff(matrix.indptr)
    every_row = np.arange(n)
    row_of = np.repeat(every_row, lengths)
    parts = np.rint(PARTS * matrix.data)
    total = np.bincount(row_of, parts, n)
    missing = PARTS - total
    # The rest goes to the largest of a row, which feels it least.
    order = np.lexsort([parts, row_of])
    ends_of_rows = matrix.indptr[1:] - 1
    largest = order[ends_of_rows]
    parts[largest] += missing
    matrix.data = parts / PARTS
    return matrix
