"""Where cells come from and go to: distributions over cells of other times, and flows of labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy import ndarray
from scipy.sparse import coo_matrix, csr_matrix

from dyninfer.data import keys
from dyninfer.data.columns import check_anndata, check_writable, number_column, obs_column
from dyninfer.data.time_reading import as_times
from dyninfer.data.words import as_text
from dyninfer.learning.random import subseed
from dyninfer.learning.settings import brief, check_seed
from dyninfer.learning.warn import warn
from dyninfer.tools.chosen_cells import rows_of_cells
from dyninfer.tools.fate_ends import label_texts
from dyninfer.tools.transitions import Steps

if TYPE_CHECKING:
    from anndata import AnnData

Noise = float | Callable[[float], float] | None


def descendants(
    model: Any,
    adata: AnnData,
    cells: Any,
    *,
    at: float | Sequence[float] | None = None,
    n_draws: int = 20,
    n_neighbors: int = 10,
    noise: Noise = None,
    seed: int = 0,
) -> pd.Series:
    """Cells of later times that resemble the descendants of the chosen cells.

    Paths run from the chosen cells to every later time. Each is spread over the cells of that time
    nearest to its end, and weighted by the mass it has gained.

    Parameters
    ----------
    model : fitted estimator
        Fitted on an AnnData; this one is read by the same keys.
    adata : AnnData
        Results are written into it.
    cells : mask ``(n,)`` or names
        Cells of one time, such as ``(adata.obs["cell_type"] == "HSC") & (adata.obs["day"] == 2)``.
        If the model was fitted with ``weight_key``, cells count by their weights.
    at : float or list of floats, optional
        Later times of the data; by default all.
    n_draws : int
        Paths per cell. A deterministic model needs, and runs, one only.
    n_neighbors : int
        Number of cells that the end of a path is spread over.
    noise : float or callable, optional
        ε of the simulation, for models with a score.
    seed : int

    Returns
    -------
    Series ``(n,)``
        Indexed by cell name. Sums to one at each requested time; at the time of the chosen cells it
        is their own distribution; else NaN. Also in ``obs["dyninfer_descendants"]``.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the cells are of several times, or no time is later.

    Warns
    -----
    UserWarning
        If no path arrives at a time, which leaves NaN there.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=8).fit(adata, time_key="time", max_steps=9, progress=False)
    >>> chosen = adata.obs["time"] == 0
    >>> shares = di.tl.descendants(model, adata, chosen, at=96)
    >>> round(float(shares[adata.obs["time"] == 96].sum()), 6)
    1.0
    """
    course = _Course.of(model, adata, n_draws, n_neighbors, noise, seed)
    group = course.chosen(cells, at, direction=1)
    for number, matrix in course.runs(group.number, group.rows, group.others):
        course.write(group.answer, number, group.share @ matrix)
    return course.stored(group.answer, keys.DESCENDANTS)


def ancestors(
    model: Any,
    adata: AnnData,
    cells: Any,
    *,
    at: float | Sequence[float] | None = None,
    n_draws: int = 20,
    n_neighbors: int = 10,
    noise: Noise = None,
    seed: int = 0,
) -> pd.Series:
    r"""Cells of earlier times whose descendants resemble the chosen cells.

    Paths run forward from all cells ``i``, of weight ``w_i``, of an earlier time. By Bayes' rule,
    the ancestor of a chosen cell is ``i`` with probability

    .. math:: P(i) \propto w_i \sum_{j \in \text{cells}} m_{ij},

    where ``m_ij`` is the mass that arrives near ``j``.

    Parameters
    ----------
    model, adata, cells, n_draws, n_neighbors, noise, seed
        As in :func:`descendants`.
    at : float or list of floats, optional
        Earlier times of the data; by default all.

    Returns
    -------
    Series ``(n,)``
        Indexed by cell name. Sums to one at each requested time; at the time of the chosen cells it
        is their own distribution; else NaN. Also in ``obs["dyninfer_ancestors"]``.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the cells are of several times, or no time is earlier.

    Warns
    -----
    UserWarning
        If no path from a time arrives at the cells, which leaves NaN there.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=8).fit(adata, time_key="time", max_steps=9, progress=False)
    >>> chosen = adata.obs["time"] == 96
    >>> shares = di.tl.ancestors(model, adata, chosen, at=0)
    >>> round(float(shares[adata.obs["time"] == 0].sum()), 6)
    1.0
    """
    course = _Course.of(model, adata, n_draws, n_neighbors, noise, seed)
    group = course.chosen(cells, at, direction=-1)
    is_chosen = np.zeros(adata.n_obs)
    is_chosen[group.rows] = 1
    for number in group.others:
        sources = course.steps.rows[number]
        ((_, matrix),) = course.runs(number, sources, [group.number])
        arriving = matrix @ is_chosen
        prior = np.zeros(adata.n_obs)
        prior[sources] = course.weights(sources)
        course.write(group.answer, number, prior * arriving)
    return course.stored(group.answer, keys.ANCESTORS)


def flows(
    model: Any,
    adata: AnnData,
    label_key: str,
    *,
    at: Sequence[float] | None = None,
    n_draws: int = 20,
    n_neighbors: int = 10,
    noise: Noise = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Flows of cells between the labels of successive times, as in a Sankey diagram.

    Parameters
    ----------
    model, adata, n_draws, n_neighbors, noise, seed
        As in :func:`descendants`; the AnnData is not changed.
    label_key : str
        Column of ``obs`` with labels; cells without one are left out.
    at : list of floats, optional
        Times of the data between which flows are taken; by default all.

    Returns
    -------
    DataFrame
        One row per two successive times and pair of labels:

        * ``time``, ``next_time``, ``source``, ``target``;
        * ``source_share`` and ``target_share``, the shares of the two labels among observed cells;
        * ``flow``, the share of all descendants that takes this way;
        * ``of_source``, the share of the descendants of the source;
        * ``of_target``, the share of those that arrive at the target, 0 if none do.

        :func:`dyninfer.pl.sankey` draws it.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a key or a time is not in the data, or there are fewer than two times.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> list(di.tl.flows(model, adata, "kind", at=[0, 48, 96]).columns)[:4]
    ['time', 'next_time', 'source', 'target']
    """
    course = _Course.of(model, adata, n_draws, n_neighbors, noise, seed)
    labels, order = label_texts(obs_column(adata, label_key, "label_key"))
    is_labelled = pd.notna(labels)
    numbers = course.numbers(at)
    if len(numbers) < 2:
        raise ValueError("flows need at least two times")
    rows = []
    for begin, end in pairwise(numbers):
        sources = course.labelled(begin, is_labelled)
        targets = course.labelled(end, is_labelled)
        ((_, matrix),) = course.runs(begin, sources, [end])
        weights = course.weights(sources)
        # (source, target) between cells, weighed by the mass that each source stands for.
        part = matrix[sources][:, targets]
        between = csr_matrix(part.multiply(weights[:, None]))
        first_labels = pd.Categorical(labels[sources], list(order))
        first = first_labels.remove_unused_categories()
        second_labels = pd.Categorical(labels[targets], list(order))
        second = second_labels.remove_unused_categories()
        is_first = _membership(first)
        is_second = _membership(second)
        flow = is_first.T @ between @ is_second
        if flow.sum() == 0:
            between_times = " to ".join(as_text(time) for time in course.times[[begin, end]])
            raise ValueError(
                f"no path from time {between_times} arrives at a labelled cell; label more cells, "
                "or leave the time out: at=..."
            )
        target_weights = course.weights(targets)
        table = _tidy(flow, first, second, weights, target_weights)
        table.insert(0, "time", course.times[begin])
        table.insert(1, "next_time", course.times[end])
        rows.append(table)
    return pd.concat(rows, ignore_index=True)


class _Chosen(NamedTuple):
    """Cells of one time, whose relatives of other times are asked for."""

    rows: ndarray
    number: int  # of their time
    others: list[int]  # numbers of the other times
    share: ndarray  # (n,): their own distribution
    answer: ndarray  # (n,): their share at their time, and NaN at all others as yet


@dataclass(frozen=True)
class _Course:
    """Cells by time, and paths between them."""

    adata: AnnData
    steps: Steps
    weight_key: str | None
    seed: int

    @classmethod
    def of(
        cls, model: Any, adata: AnnData, n_draws: int, n_neighbors: int, noise: Noise, seed: int
    ) -> _Course:
        check_anndata(adata)
        check_writable(adata)
        steps = Steps.of(
            model,
            adata,
            n_draws=n_draws,
            n_neighbors=n_neighbors,
            noise=noise,
        )
        weight_key = steps.source.get("weight_key")
        return cls(adata, steps, weight_key, check_seed(seed))

    @property
    def times(self) -> ndarray:
        return self.steps.clock.times

    def chosen(self, cells: Any, at: Any, direction: int) -> _Chosen:
        """The chosen cells, with the times after theirs, or before it."""
        rows, number = self._at_one_time(cells)
        others = self.times_beyond(at, number, direction)
        n = self.adata.n_obs
        share = np.zeros(n)
        share[rows] = self.weights(rows)
        answer = np.full(n, np.nan)
        of_time = self.steps.rows[number]
        answer[of_time] = share[of_time]
        return _Chosen(rows, number, others, share, answer)

    def _at_one_time(self, cells: Any) -> tuple[ndarray, int]:
        """Rows of the chosen cells, and the number of their time."""
        rows = rows_of_cells(self.adata, cells)
        numbers = np.unique(self.steps.positions[rows])
        if len(numbers) > 1:
            first_times = self.times[numbers][:5]
            found = ", ".join(as_text(time) for time in first_times)
            raise ValueError(
                f"cells have {len(numbers)} times ({found}); choose cells of one time, such as "
                "(label == ...) & (time == ...)"
            )
        return rows, int(numbers[0])

    def numbers(self, at: Any) -> list[int]:
        """Numbers of times, ascending; by default of all."""
        if at is None:
            return list(range(len(self.times)))
        return sorted({self.steps.clock.index(time) for time in as_times(at, "at")})

    def times_beyond(self, at: Any, k: int, direction: int) -> list[int]:
        """Numbers of times after the ``k``-th, or before it."""
        beyond = [number for number in self.numbers(at) if (number - k) * direction > 0]
        side = "later" if direction > 0 else "earlier"
        n_asked = len(self.times) if at is None else len(self.numbers(at))
        if not beyond or (at is not None and len(beyond) < n_asked):
            raise ValueError(
                f"the cells have time {as_text(self.times[k])}, and every time in at must be "
                f"{side}; the times are {self.steps.clock}"
            )
        return beyond

    def labelled(self, number: int, is_labelled: ndarray) -> ndarray:
        rows = self.steps.rows[number]
        rows = rows[is_labelled[rows]]
        if len(rows) == 0:
            raise ValueError(f"no cell at time {as_text(self.times[number])} has a label")
        return rows

    def weights(self, rows: ndarray) -> ndarray:
        """Weights of cells, which sum to one."""
        if self.weight_key is None:
            n = len(rows)
            return np.full(n, 1 / n)
        weights = number_column(self.adata, self.weight_key, "weight_key", rows)
        if not weights.sum() > 0:
            raise ValueError(f"the chosen cells have no weight in obs[{brief(self.weight_key)}]")
        return weights / weights.sum()

    def runs(
        self, begin: int, rows: ndarray, ends: Sequence[int]
    ) -> Iterator[tuple[int, csr_matrix]]:
        """Mass ``(n, n)`` that goes from cells of one time to those of others."""
        for end in ends:
            seed = subseed(self.seed, "lineage", begin, end)
            triples = self.steps.triples(begin, end, seed, sources=rows)
            sources, targets, parts = map(np.concatenate, zip(*triples, strict=True))
            n = self.adata.n_obs
            entries = (parts, (sources, targets))
            matrix = coo_matrix(entries, shape=(n, n))
            yield end, matrix.tocsr()

    def write(self, answer: ndarray, number: int, values: ndarray) -> None:
        """Put a distribution over the cells of a time into the answer."""
        every_row = self.steps.rows[number]
        mass = values[every_row]
        total = mass.sum()
        if total == 0:
            time = as_text(self.times[number])
            warn(f"no path joins these cells and time {time}; the answer is NaN there")
            return
        answer[every_row] = mass / total

    def stored(self, answer: ndarray, key: str) -> pd.Series:
        self.adata.obs[key] = answer
        return pd.Series(answer, index=self.adata.obs_names, name=key)


def _membership(labels: pd.Categorical) -> csr_matrix:
    """Which cell has which label ``(n, label)``."""
    n = len(labels)
    shape = (n, len(labels.categories))
    entries = (np.ones(n), (np.arange(n), labels.codes))
    return csr_matrix(entries, shape=shape)


def _tidy(
    flow: Any,
    first: pd.Categorical,
    second: pd.Categorical,
    first_weights: ndarray,
    second_weights: ndarray,
) -> pd.DataFrame:
    """A row for every pair of labels."""
    mass = flow.toarray()
    shape = mass.shape
    source_share = np.bincount(first.codes, first_weights, shape[0])
    target_share = np.bincount(second.codes, second_weights, shape[1])
    # Where nothing leaves or arrives, every part of it is 0.
    from_each = mass.sum(1, keepdims=True)
    leaving = np.where(from_each > 0, from_each, 1)
    to_each = mass.sum(0, keepdims=True)
    arriving = np.where(to_each > 0, to_each, 1)
    parts = {
        "flow": mass / mass.sum(),
        "of_source": mass / leaving,
        "of_target": mass / arriving,
    }
    table = {
        "source": np.repeat(list(first.categories), shape[1]),
        "target": np.tile(list(second.categories), shape[0]),
        "source_share": np.repeat(source_share, shape[1]),
        "target_share": np.tile(target_share, shape[0]),
    }
    for name, values in parts.items():
        table[name] = values.ravel()
    return pd.DataFrame(table)
