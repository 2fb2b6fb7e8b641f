"""Where cells may end: labels of the cells of one time, and which of those lie near a state."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_list
from dyninfer.data.columns import obs_column
from dyninfer.data.words import as_text, listed, quoted, refuse_missing_words, texts
from dyninfer.learning.random import numpy_stream, subseed

if TYPE_CHECKING:
    from anndata import AnnData

Merged = Sequence[str] | Mapping[str, str | Sequence[str]]

# What is looked up at once: 10,000 rows of 50 neighbours and 20 labels are 80 MB.
ROWS_AT_ONCE = 10_000
# Clusters that stand in for labels: more could not be told apart in a picture.
MOST_CLUSTERS = 8
# Cells by which the number of clusters is chosen; its score takes all of their distances.
CELLS_TO_CHOOSE = 2000


@dataclass(frozen=True)
class Ends:
    """Labelled cells of the end time.

    Attributes
    ----------
    names : tuple of str
        Fates, in the order of the categories or as they were asked for.
    states : array ``(m, feature)``
        Cells with one of these fates.
    codes : array ``(m,)``
        Number of the fate of each.
    """

    names: tuple[str, ...]
    states: ndarray
    codes: ndarray

    @property
    def shares(self) -> ndarray:
        """Part of the cells that each fate has ``(fate,)``."""
        n_fates = len(self.names)
        counts = np.bincount(self.codes, minlength=n_fates)
        return counts / counts.sum()

    def indicators(self, codes: ndarray) -> ndarray:
        """Ones and zeros ``(..., fate)`` of numbered fates."""
        identity = np.eye(len(self.names))
        return identity[codes]

    def nearest(self, states: ndarray, n_neighbors: int) -> ndarray:
        """Share of each fate among the cells nearest to every state ``(n, fate)``."""
        # A tenth of a second to import, which only this needs.
        from sklearn.neighbors import NearestNeighbors

        n_nearest = min(n_neighbors, len(self.states))
        search = NearestNeighbors(n_neighbors=n_nearest)
        search.fit(self.states)
        n_states = len(states)
        shape = (n_states, len(self.names))
        shares = np.empty(shape)
        for first in range(0, n_states, ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            neighbors = search.kneighbors(
                states[rows],
                return_distance=False,
            )
            neighbor_codes = self.codes[neighbors]
            shares[rows] = self.indicators(neighbor_codes).mean(1)
        return shares


@dataclass(frozen=True)
class Labelling:
    """Fates by label: their names, and the number of the fate of every cell.

    Attributes
    ----------
    names : tuple of str
    codes : array ``(n,)``
        Number of the fate whose label each cell has, whatever its time; -1 for none.
    groups : dict
        Labels of each fate.
    """

    names: tuple[str, ...]
    codes: ndarray
    groups: dict[str, list[str]]


def by_labels(adata: AnnData, label_key: str, states: Merged | None, rows: ndarray) -> Labelling:
    """Read fates from a column of labels.

    Parameters
    ----------
    adata : AnnData
    label_key : str
    states : list of labels, or dict of fates and their labels, optional
        By default every label at the end.
    rows : integer array
        Cells of the end time.

    Raises
    ------
    KeyError, ValueError
        If a column or a label is not there.
    """
    column = obs_column(adata, label_key, "label_key")
    labels, order = label_texts(column)
    at_end = set(labels[rows])
    present = [label for label in order if label in at_end]
    if not present:
        raise ValueError(f"no cell at the end has a label in adata.obs[{quoted(label_key)}]")
    if states is None:
        states = present
        what = f"adata.obs[{quoted(label_key)}]"
        refuse_missing_words(present, what, "or name the fates by states=")
    groups = _groups(states)
    fate_of: dict[str, int] = {}
    for number, members in enumerate(groups.values()):
        for label in members:
            if label not in present:
                raise ValueError(_absent(label, present, label_key))
            if label in fate_of:
                raise ValueError(f"label {quoted(label)} is in two fates; leave it in one")
            fate_of[label] = number
    codes = np.array([fate_of.get(label, -1) for label in labels])
    return Labelling(tuple(groups), codes, groups)


def by_clusters(states: ndarray, rows: ndarray, n_obs: int, seed: int) -> Labelling:
    """Clusters of the cells of the end time, in place of labels.

    k-means, with as many clusters as give the highest silhouette; "cluster 1" is the largest.

    Parameters
    ----------
    states : array ``(n, feature)``
        Cells of the end time.
    rows : integer array ``(n,)``
        Their rows among ``n_obs`` cells.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    n_cells = len(states)
    rng = numpy_stream(seed, "clusters")
    few = rng.permutation(n_cells)[:CELLS_TO_CHOOSE]
    best_score = -np.inf
    best = np.zeros(n_cells, dtype=int)
    # At least ten cells each: a smaller cluster is no fate.
    most = min(MOST_CLUSTERS, n_cells // 10)
    for n_clusters in range(2, most + 1):
        state = subseed(seed, "k-means", n_clusters)
        means = KMeans(n_clusters, n_init=5, random_state=state)
        clusters = means.fit(states).labels_
        score = silhouette_score(states[few], clusters[few])
        if score > best_score:
            best_score = score
            best = clusters
    sizes = np.bincount(best)
    largest_first = np.argsort(-sizes, kind="stable")
    rank = np.argsort(largest_first)
    codes = np.full(n_obs, -1)
    codes[rows] = rank[best]
    numbers = range(1, len(sizes) + 1)
    names = [f"cluster {number}" for number in numbers]
    groups = {name: [name] for name in names}
    return Labelling(tuple(names), codes, groups)


def label_texts(column: pd.Series) -> tuple[ndarray, list[str]]:
    """Labels as text ``(n,)``, None where they are missing; and all of them in their order.

    The order is that of the categories, else that of the values: 2 comes before 10.
    """
    if not isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype("category")
    order = list(texts(column.cat.categories))
    codes = column.cat.codes.to_numpy()
    # The code of a missing label is -1: it takes the last of these.
    labels = np.array([*order, None], dtype=object)
    return labels[codes], order


def _groups(states: Any) -> dict[str, list[str]]:
    """Labels by fate."""
    groups: dict[str, list[str]] = {}
    if isinstance(states, str):
        states = [states]
    if not isinstance(states, Mapping):
        names = as_list(states, "states", "labels")
        states = dict.fromkeys(texts(names))
    for name, members in states.items():
        # A fate that is one label.
        if members is None or isinstance(members, str):
            members = [members or name]
        labels = as_list(members, f"states[{quoted(name)}]", "labels")
        groups[str(name)] = list(texts(labels))
    if not groups:
        raise ValueError("states is empty; name at least one label, or leave it out")
    return groups


def _absent(label: str, present: list[str], label_key: str) -> str:
    hint = ""
    # Half of the letters must agree: fewer suggest labels that nobody meant.
    similar = difflib.get_close_matches(label, present, n=1, cutoff=0.5)
    if similar:
        hint = f"did you mean {quoted(similar[0])}? "
    return (
        f"no cell of the end time has the label {quoted(label)} in adata.obs[{quoted(label_key)}]; "
        f"{hint}labels there: {listed(present)}"
    )


def nothing_at(time: float) -> ValueError:
    """Return the error of an end time none of whose labelled cells has finite states."""
    return ValueError(
        f"no labelled cell at time {as_text(time)} has finite states; give another time: at=..."
    )
