"""Time as a coordinate of states: when such a cell is expected, and how far it is to a fate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.arrays import as_array
from dyninfer.data.columns import (
    MissingKey,
    check_anndata,
    check_writable,
    obs_column,
    time_column,
)
from dyninfer.data.reading import read_features, source_of
from dyninfer.data.representation import check_finite, representation
from dyninfer.data.times import Clock
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.words import listed, quoted
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import subseed
from dyninfer.learning.settings import check_count, check_seed, is_whole
from dyninfer.tools.decoding import states_of
from dyninfer.tools.expression import as_names
from dyninfer.tools.fate_checks import check_model

if TYPE_CHECKING:
    from anndata import AnnData

# States of one time that neighbours are looked for among; more only cost time.
MOST_STATES = 2000


class _Reference(NamedTuple):
    """States whose times are known."""

    states: ndarray  # (m, feature)
    times: ndarray  # (m,)
    rows: ndarray  # (m,) row of an observed cell, -1 for a simulated one


def time(
    model: Any,
    adata: AnnData,
    *,
    time_key: str | None = None,
    use_rep: str | None = None,
    n_neighbors: int = 30,
    n_between: int = 4,
    seed: int = 0,
) -> pd.DataFrame:
    """Expected time of each cell's state, with its uncertainty.

    A coordinate like pseudotime, in the time unit of the data: mean and standard deviation of the
    times of the ``n_neighbors`` nearest states, without the cell itself. All times have equal
    weight, however many cells were sampled. With a model, states between the observed times are
    simulated, so that the coordinate is continuous; with None, only observed cells count. At both
    ends of the data, neighbours lie on one side only, which pulls the mean inwards.

    Parameters
    ----------
    model : fitted estimator or None
        Fitted on an AnnData; this one is read by the same keys.
    adata : AnnData
        Receives ``obs["dyninfer_time"]`` and ``obs["dyninfer_time_sd"]``.
    time_key, use_rep : str, optional
        Without a model: the column of the times, and the representation.
    n_neighbors : int
        Number of states to average over.
    n_between : int
        Number of simulated times between two observed ones.
    seed : int

    Returns
    -------
    DataFrame
        ``time`` and ``sd`` of every cell.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a key, a time or a value in the data is invalid.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> table = di.tl.time(model, adata)
    >>> "dyninfer_time" in adata.obs
    True
    """
    check_anndata(adata)
    check_writable(adata)
    check_seed(seed)
    n_neighbors = check_count(n_neighbors, "n_neighbors")
    if not is_whole(n_between) or n_between != 0:
        n_between = check_count(n_between, "n_between")
    if model is None:
        times, states = _observed(adata, time_key, use_rep)
    else:
        if time_key is not None or use_rep is not None:
            raise ValueError("time_key and use_rep are those of the model's fit; leave them out")
        check_model(model)
        source = source_of(model.provenance_, "time_key", "an AnnData to fit")
        times = time_column(adata, source["time_key"])
        features = read_features(adata, model.provenance_)
        states = features.astype(np.float64)
    clock = Clock.of(times)
    # Of one time, every state is expected at it.
    if len(clock) < 2:
        raise ValueError(f"an expected time needs at least two times, found {clock}")
    references = [_reference_cells(clock, times, states, seed)]
    if model is not None and n_between > 0:
        check_memory(8 * n_between * states.size, f"states at {n_between} times between")
        references += _simulated(model, adata, clock, n_between, seed)
    columns = zip(*references, strict=True)
    reference = _Reference(*map(np.concatenate, columns))
    mean, deviation = _expected(states, reference, n_neighbors)
    adata.obs[keys.TIME] = mean
    adata.obs[keys.TIME_SD] = deviation
    return pd.DataFrame({"time": mean, "sd": deviation}, index=adata.obs_names)


def _observed(adata: AnnData, time_key: str | None, use_rep: str | None) -> tuple[ndarray, ndarray]:
    """Times and states by the user's keys."""
    times = time_column(adata, time_key)
    _, _, rep = representation(adata, use_rep)
    states = states_of(adata, rep)
    names = np.asarray(adata.obs_names)
    check_finite(states, rep, names)
    return times, states


def _reference_cells(clock: Clock, times: ndarray, states: ndarray, seed: int) -> _Reference:
    """Observed cells, of every time so many at most."""
    rows_of_times = []
    for k, moment in enumerate(clock.times):
        rows = clock.rows(times, moment)
        if len(rows) > MOST_STATES:
            own_seed = subseed(seed, "reference", k)
            generator = np.random.default_rng(own_seed)
            rows = generator.choice(rows, MOST_STATES, replace=False)
        rows_of_times.append(rows)
    sizes = [len(rows) for rows in rows_of_times]
    rows = np.concatenate(rows_of_times)
    moments = np.repeat(clock.times, sizes)
    return _Reference(states[rows], moments, rows)


def _simulated(
    model: Any, adata: AnnData, clock: Clock, n_between: int, seed: int
) -> list[_Reference]:
    """States at times between the observed ones, each from the cells of the time before."""
    column = time_column(adata, model.source_["time_key"])
    references = []
    for k, (first, last) in enumerate(pairwise(clock.times)):
        grid = np.linspace(first, last, n_between + 2)
        rows = clock.rows(column, first)[:MOST_STATES]
        # Without the end: what was observed there is better than what is predicted.
        inner = grid[:-1]
        run_seed = subseed(seed, "between", k)
        cells = adata[rows]
        run = model.simulate(cells, inner, seed=run_seed)
        states = _states(run)
        is_whole = as_array(run.status, "status") == 0
        for j in range(1, n_between + 1):
            now = states[is_whole, j]
            n_states = len(now)
            moments = np.full(n_states, grid[j])
            no_rows = np.full(n_states, -1)
            references.append(_Reference(now, moments, no_rows))
    return references


def _states(run: Trajectories) -> ndarray:
    """States of paths ``(path, time, feature)`` float64."""
    if run.discrete:
        raise TypeError("an expected time needs states that move continuously, and these jump")
    return as_array(run.states, "states").astype(np.float64)


def _expected(states: ndarray, reference: _Reference, n_neighbors: int) -> tuple[ndarray, ndarray]:
    """Mean and standard deviation ``(n,)`` of the times of the nearest states."""
    from sklearn.neighbors import NearestNeighbors

    _, kind, counts = np.unique(reference.times, return_inverse=True, return_counts=True)
    # Of a time with many states, each counts less.
    weight = 1 / counts[kind]
    # One more, since a cell finds itself.
    k = min(n_neighbors + 1, len(reference.states))
    search = NearestNeighbors(n_neighbors=k).fit(reference.states)
    near = search.kneighbors(states, return_distance=False)
    weights = weight[near]
    numbers = np.arange(len(states))
    own_row = numbers[:, None]
    is_self = reference.rows[near] == own_row
    weights[is_self] = 0
    # A cell that is no reference has one neighbour too many: the farthest.
    is_apart = ~is_self.any(1)
    weights[is_apart, -1] = 0
    weights /= weights.sum(1, keepdims=True)
    times = reference.times[near]
    mean = (weights * times).sum(1)
    deviation = times - mean[:, None]
    variance = (weights * deviation**2).sum(1)
    return mean, np.sqrt(variance)


def time_to_fate(
    model: Any,
    adata: AnnData,
    label_key: str,
    fate: str | Sequence[str],
    *,
    at: float | None = None,
    n_draws: int = 20,
    n_times: int = 20,
    n_neighbors: int = 10,
    noise: float | Callable[[float], float] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Time that cells take to reach a fate, over the paths that reach it and stay there.

    A path reaches the fate at the first of ``n_times`` times from which most of its nearest
    observed cells keep having the label.

    Parameters
    ----------
    model : fitted estimator
        Fitted on an AnnData; this one is read by the same keys.
    adata : AnnData
    label_key : str
        Column of ``obs`` with the labels.
    fate : str or list of str
        One label, or several that count as one.
    at : float, optional
        Time at which paths end; by default the last.
    n_draws : int
        Paths per cell.
    n_times : int
        Number of times at which paths are checked, from the time of the cell to the end.
    n_neighbors : int
        Number of observed cells whose labels are used.
    noise : float or callable, optional
        ε of the simulation, for models with a score.
    seed : int

    Returns
    -------
    DataFrame
        For every cell the ``mean`` and ``sd`` of the time, NaN if no path reaches the fate, and the
        ``share`` of its paths that do; NaN for cells at the end or later.

    Raises
    ------
    KeyError, ValueError
        If a label is missing; the message lists those that exist.

    Examples
    --------
    >>> import numpy as np, dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> adata.obs["kind"] = np.where(adata.obsm["X_pca"][:, 1] > 2, "far", "near")
    >>> table = di.tl.time_to_fate(model, adata, "kind", "far")
    >>> list(table.columns)
    ['mean', 'sd', 'share']
    """
    check_anndata(adata)
    check_seed(seed)
    n_draws = check_count(n_draws, "n_draws")
    n_times = check_count(n_times, "n_times")
    n_neighbors = check_count(n_neighbors, "n_neighbors")
    is_fate = _has_label(adata, label_key, fate)
    check_model(model)
    source = source_of(model.provenance_, "time_key", "an AnnData to fit")
    column = time_column(adata, source["time_key"])
    features = read_features(adata, model.provenance_)
    states = features.astype(np.float64)
    clock = Clock.of(column)
    end = len(clock) - 1 if at is None else clock.index(at)
    is_there = _majority(states, is_fate, n_neighbors)
    options = {} if noise is None else {"noise": noise}
    columns = ["mean", "sd", "share"]
    table = pd.DataFrame(np.nan, index=adata.obs_names, columns=columns)
    check_memory(4 * n_times * states.size, f"states at {n_times} times on the way")
    for k in range(end):
        start = clock.times[k]
        rows = clock.rows(column, start)
        end_time = clock.times[end]
        grid = np.linspace(start, end_time, n_times + 1)
        cells = adata[rows]
        # Draw by draw, so that memory does not grow with the paths.
        n_bytes = 8 * n_draws * len(rows)
        check_memory(n_bytes, f"{n_draws} draws of {len(rows)} cells")
        durations = np.empty((n_draws, len(rows)))
        for draw in range(n_draws):
            draw_seed = subseed(seed, "to fate", k, draw)
            run = model.simulate(cells, grid, seed=draw_seed, **options)
            arrival = _arrival(run, is_there, grid)
            durations[draw] = arrival - start
        table.iloc[rows] = _summary(durations)
    return table


def _has_label(adata: AnnData, label_key: str, fate: str | Sequence[str]) -> ndarray:
    labels = obs_column(adata, label_key, "label_key").astype(object)
    names = as_names(fate)
    every_name = labels.dropna().astype(str).unique()
    for name in names:
        if name not in every_name:
            raise MissingKey(
                f"no cell has the label {quoted(name)} in adata.obs[{quoted(label_key)}]; labels "
                f"are {listed(sorted(every_name))}"
            )
    return labels.astype(str).isin(names).to_numpy()


def _majority(states: ndarray, is_fate: ndarray, n_neighbors: int) -> Callable[[ndarray], ndarray]:
    """Whether most cells around states have a label."""
    from sklearn.neighbors import NearestNeighbors

    k = min(n_neighbors, len(states))
    search = NearestNeighbors(n_neighbors=k).fit(states)

    def is_there(points: ndarray) -> ndarray:
        near = search.kneighbors(points, return_distance=False)
        return is_fate[near].mean(1) > 0.5

    return is_there


def _arrival(run: Trajectories, is_there: Callable[[ndarray], ndarray], grid: ndarray) -> ndarray:
    """First time from which on paths have the label ``(n,)``; NaN where they end without."""
    states = _states(run)
    is_lost = as_array(run.status, "status") != 0
    # Lost paths are anywhere; what is said of them is struck out.
    states[is_lost] = 0
    arrival = np.full(len(states), np.nan)
    stays = ~is_lost
    # Backwards: a path that leaves the fate again had not reached it.
    for j in reversed(range(len(grid))):
        is_inside = is_there(states[:, j])
        stays = stays & is_inside
        arrival[stays] = grid[j]
    return arrival


def _summary(durations: ndarray) -> ndarray:
    """Mean, standard deviation and share ``(n, 3)`` of the draws ``(draw, n)`` that arrive."""
    arrives = np.isfinite(durations)
    n_arrived = arrives.sum(0)
    arrival = np.where(arrives, durations, 0)
    total = arrival.sum(0)
    # No arrival has no mean: NaN.
    with np.errstate(invalid="ignore"):
        mean = total / n_arrived
        deviation = np.where(arrives, durations - mean, 0)
        square = np.square(deviation)
        variance = square.sum(0) / n_arrived
    share = n_arrived / len(durations)
    sd = np.sqrt(variance)
    return np.stack([mean, sd, share], axis=1)
