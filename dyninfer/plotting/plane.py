"""From states to the two coordinates of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from dyninfer.data.arrays import as_list, dense_rows
from dyninfer.data.columns import MissingKey, time_column
from dyninfer.data.reading import is_anndata
from dyninfer.data.representation import representation
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.words import listed
from dyninfer.learning.settings import brief, check_count

if TYPE_CHECKING:
    from anndata import AnnData

# States projected at a time: some megabytes of neighbours.
ROWS = 65_536


@dataclass(frozen=True)
class Cells:
    """Observed cells in the features of the simulation.

    States ``(n, d)``, and times ``(n,)`` that are NaN where there are none.
    """

    states: ndarray
    times: ndarray

    @classmethod
    def of(
        cls,
        data: AnnData | Snapshots,
        features: Sequence[str] | ndarray,
        use_rep: str | None = None,
        time_key: str | None = None,
        *,
        need_times: bool = False,
    ) -> Cells:
        """Read the features that were simulated.

        Raises
        ------
        KeyError, ValueError, TypeError
            If the data have no such features, or no times where they are needed.
        """
        if isinstance(data, Snapshots):
            _check_width(data.n_features, features, "the snapshots")
            return cls(
                states=np.concatenate(data.samples),
                times=np.repeat(data.times, data.sizes),
            )
        if not is_anndata(data):
            raise TypeError(f"data must be an AnnData or Snapshots, not {type(data).__name__}")
        if use_rep is None:
            use_rep = _representation_with(data, features)
        array, names, use_rep = representation(data, use_rep)
        width = len(names)
        _check_width(width, features, repr(use_rep))
        times = np.full(data.n_obs, np.nan)
        if need_times or time_key is not None:
            times = time_column(data, time_key)
        rows = np.arange(data.n_obs)
        # Of more axes than two, all but the first are one.
        states = dense_rows(array, rows, use_rep).reshape(data.n_obs, width)
        return cls(states, times)


@dataclass(frozen=True)
class Plane:
    """Two coordinates: their names, the observed cells ``(n, 2)``, and how states get there.

    In an embedding, states are placed by their nearest cells; else they are two of the features.
    """

    labels: tuple[str, str]
    cells: ndarray
    project: Callable[[ndarray], ndarray]
    is_embedding: bool = False


def plane_of(
    data: AnnData | Snapshots,
    cells: Cells,
    features: Sequence[str] | ndarray,
    basis: str | None,
    components: tuple[int, int],
    n_neighbors: int,
) -> Plane:
    """Choose the plane: two of the simulated features, or two coordinates of an embedding.

    Raises
    ------
    KeyError
        If ``basis`` is no representation of the data.
    ValueError
        If ``components`` are not two of its coordinates.
    """
    if basis is not None:
        plane = _embedded(data, cells, features, basis, components, n_neighbors)
        if plane is not None:
            return plane
    _check_components(components, len(features), "the simulated features")
    i, j = components

    def project(states: ndarray) -> ndarray:
        return states[..., [i, j]]

    return Plane(
        labels=(str(features[i]), str(features[j])),
        cells=project(cells.states),
        project=project,
    )


def _embedded(
    data: AnnData | Snapshots,
    cells: Cells,
    features: Sequence[str] | ndarray,
    basis: str,
    components: tuple[int, int],
    n_neighbors: int,
) -> Plane | None:
    """Two coordinates of an embedding; None if the basis has the simulated features."""
    if isinstance(data, Snapshots):
        raise ValueError(
            f"basis={brief(basis)} is a key of an AnnData, but Snapshots were given; leave it out"
        )
    if not isinstance(basis, str):
        raise TypeError(f"basis must be a key of adata.obsm, found {brief(basis)}")
    # "umap" is short for "X_umap".
    if basis not in data.obsm and f"X_{basis}" in data.obsm:
        basis = f"X_{basis}"
    array, names, basis = representation(data, basis)
    if tuple(names) == tuple(map(str, features)):
        return None
    _check_components(components, len(names), basis)
    i, j = components
    every_row = np.arange(data.n_obs)
    coordinates = dense_rows(array, every_row, basis).reshape(data.n_obs, len(names))
    embedding = coordinates[:, [i, j]]
    return Plane(
        labels=(names[i], names[j]),
        cells=embedding,
        project=neighbor_projection(cells.states, embedding, n_neighbors),
        is_embedding=True,
    )


def neighbor_projection(
    cells: ndarray, embedding: ndarray, n_neighbors: int = 15
) -> Callable[[ndarray], ndarray]:
    """Carry states into an embedding that is known at the cells only.

    A state lands on the mean of the embeddings of its nearest cells, with weights
    ``exp(−½ (d / h)²)``, where ``h`` is the median distance to those cells. So it never leaves the
    cloud of cells, and a state between two far groups lands between them: distances in the result
    mean as little as in the embedding.

    Parameters
    ----------
    cells : array ``(n, d)``
        Cells in the space of the simulation.
    embedding : array ``(n, 2)``
        The same cells in the embedding.
    n_neighbors : int
        Neighbours to average.

    Returns
    -------
    callable ``(..., d) -> (..., 2)``
        States that are not finite become NaN.
    """
    from sklearn.neighbors import NearestNeighbors

    k = min(check_count(n_neighbors, "n_neighbors"), len(cells))
    index = NearestNeighbors(n_neighbors=k).fit(cells)

    def project(states: ndarray) -> ndarray:
        *shape, n_features = states.shape
        flat = states.reshape(-1, n_features)
        projected = np.full((len(flat), 2), np.nan)
        is_finite = np.isfinite(flat).all(axis=1)
        finite = np.flatnonzero(is_finite)
        for first in range(0, len(finite), ROWS):
            rows = finite[first : first + ROWS]
            distance, near = index.kneighbors(flat[rows])
            weight = _neighbor_weights(distance)
            places = embedding[near]
            projected[rows] = np.einsum("nk,nkc->nc", weight, places)
        return projected.reshape(*shape, 2)

    return project


def _neighbor_weights(distance: ndarray) -> ndarray:
    """Weights ``(n, neighbour)`` that fall with the distance, and sum to one."""
    median = np.median(distance, axis=1, keepdims=True)
    # Zero where most of the neighbours are copies of the state.
    tiny = np.finfo(np.float32).tiny
    unit = np.maximum(median, tiny)
    scaled = distance / unit
    exponent = -0.5 * scaled**2
    weight = np.exp(exponent)
    return weight / weight.sum(axis=1, keepdims=True)


def _representation_with(adata: AnnData, features: Sequence[str] | ndarray) -> str:
    """Name of the representation whose features have these names."""
    simulated = tuple(map(str, features))
    names = list(adata.obsm.keys())
    if adata.X is not None:
        names.append("X")
    # Layers have the names of X, which is the one that methods take by themselves.
    names.extend(adata.layers)
    for name in names:
        _, columns, _ = representation(adata, name)
        if tuple(columns) == simulated:
            return name
    raise MissingKey(
        f"no representation of adata has the simulated features {listed(simulated, 3)}; "
        f"give use_rep, one of {', '.join(map(repr, names))}"
    )


def _check_width(width: int, features: Sequence[str] | ndarray, name: str) -> None:
    if width != len(features):
        raise ValueError(
            f"{len(features)} features were simulated but {name} has {width}; "
            "give the data that the model was fitted on"
        )


def _check_components(components: Any, n: int, name: str) -> None:
    numbers = as_list(components, "components", "two whole numbers")
    is_inside = all(isinstance(c, int | np.integer) and 0 <= c < n for c in numbers)
    if len(numbers) != 2 or not is_inside:
        raise ValueError(
            f"components must be two of 0 to {n - 1} for {name}, found {brief(tuple(numbers))}"
        )
