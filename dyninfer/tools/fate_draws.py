"""Paths from every cell to the end time, and what they say about its fate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.data.trajectories import Trajectories
from dyninfer.learning.random import subseed
from dyninfer.tools.fate_ends import Ends

# Paths of one call of `simulate`, whatever the user's chunk: the noise of a cell depends on it.
PATHS_A_RUN = 20_000
# Cells that show whether paths from one place part.
FEW = 16
# Of the spread of the states: rounding of single precision grows along a path, but not so far.
NO_SPREAD = 1e-4
# Two-sided 95 % of a normal.
QUANTILE = 1.959964


class Sources(NamedTuple):
    """Cells of one time, as ``simulate`` takes them."""

    time: float
    states: ndarray  # (n, feature)
    start: Any  # a function of the rows (paths,), which gives what to start from


@dataclass
class Drawing:
    """How paths are drawn.

    Parameters
    ----------
    at : float
        End time.
    n_draws : int
        Paths of a cell.
    n_neighbors : int
        End cells whose labels an arrival takes.
    is_weighted : bool
        Whether a path counts by its mass at the end.
    noise : float, callable or None
    chunk : int or None
        Paths run at once.
    seed : int
    """

    at: float
    n_draws: int
    n_neighbors: int
    is_weighted: bool
    noise: Any
    chunk: int | None
    seed: int
    n_paths: int = field(default=0, init=False)
    n_lost: int = field(default=0, init=False)

    def simulate(self, model: Any, sources: Sources, rows: ndarray, seed: int) -> Trajectories:
        """Paths from some cells to the end time."""
        options: dict[str, Any] = {}
        # Left out where they were not given: not every method need know them.
        if self.noise is not None:
            options["noise"] = self.noise
        if self.chunk is not None:
            options["chunk_size"] = self.chunk
        times = [sources.time, self.at]
        start = sources.start(rows)
        return model.simulate(start, times, seed=seed, **options)


class Estimate(NamedTuple):
    """Fates of some cells, each ``(n, fate)``; NaN where no path arrived."""

    fates: ndarray
    low: ndarray
    high: ndarray


def is_deterministic(model: Any, drawing: Drawing, sources: Sources, ends: Ends) -> bool:
    """Whether two paths from one cell arrive at one place."""
    n_cells = min(FEW, len(sources.states))
    cells = np.arange(n_cells)
    # Two draws of every cell, one block after the other.
    rows = np.tile(cells, 2)
    seed = subseed(drawing.seed, "probe")
    run = drawing.simulate(model, sources, rows, seed)
    arrivals = _arrivals(run)
    first = arrivals[:n_cells]
    second = arrivals[n_cells:]
    apart = np.abs(first - second)
    spread = ends.states.std(0).max()
    # NaN, of a path that was lost, is no sign of noise.
    parts = apart > NO_SPREAD * spread
    return not parts.any()


def drawn_fates(
    models: Sequence[Any], drawing: Drawing, sources: Sources, ends: Ends, is_certain: bool
) -> Estimate:
    """Fates of the cells of one time, over all draws and refits."""
    # Another draw of a certainty is the same path again.
    n_draws = drawing.n_draws
    if is_certain:
        n_draws = 1
    n_cells = len(sources.states)
    n_fates = len(ends.names)
    every_fate = []
    sizes = np.zeros(n_cells)
    for number, model in enumerate(models):
        tally = _Tally.empty(n_cells, n_fates)
        time = repr(sources.time)
        seed = subseed(drawing.seed, "fates", time, number)
        _draw(model, drawing, sources, ends, tally, n_draws, seed)
        every_fate.append(tally.fates)
        sizes += tally.effective_size
    by_refit = np.stack(every_fate)
    fates, spread = _over_refits(by_refit)
    if is_certain and len(models) == 1:
        unknown = np.full(fates.shape, np.nan)
        return Estimate(fates, unknown, unknown)
    low = fates
    high = fates
    if not is_certain:
        low, high = _wilson(fates, sizes[:, None])
    bounds = _widened(fates, low, high, spread)
    return Estimate(fates, *bounds)


def _over_refits(by_refit: ndarray) -> tuple[ndarray, ndarray]:
    """Mean and standard deviation ``(n, fate)`` over refits ``(refit, n, fate)``."""
    # Of a cell whose paths were all lost in one refit, the others speak.
    is_finite = np.isfinite(by_refit)
    is_there = is_finite.all(2, keepdims=True)
    n_refits = is_there.sum(0)
    present = np.where(is_there, by_refit, 0)
    total = present.sum(0)
    with np.errstate(invalid="ignore"):
        mean = total / n_refits
    deviation = np.where(is_there, by_refit - mean, 0)
    squares = (deviation**2).sum(0)
    # Of a single refit, nothing is known about others.
    n_free = np.maximum(n_refits - 1, 1)
    return mean, np.sqrt(squares / n_free)


@dataclass
class _Tally:
    """Sums over draws: all that is kept of the paths, so that memory does not grow with them."""

    weights: ndarray  # (n,)
    squares: ndarray  # (n,) of the weights
    shares: ndarray  # (n, fate)

    @classmethod
    def empty(cls, n_cells: int, n_fates: int) -> _Tally:
        return cls(
            weights=np.zeros(n_cells),
            squares=np.zeros(n_cells),
            shares=np.zeros((n_cells, n_fates)),
        )

    def add(self, cells: ndarray, weights: ndarray, shares: ndarray) -> None:
        """Count paths: their cells, their masses, and the labels around their ends."""
        n_cells = len(self.weights)
        self.weights += np.bincount(cells, weights, n_cells)
        self.squares += np.bincount(cells, weights**2, n_cells)
        weighted = weights[:, None] * shares
        for fate, column in enumerate(weighted.T):
            self.shares[:, fate] += np.bincount(cells, column, n_cells)

    @property
    def fates(self) -> ndarray:
        """Weighted mean of the shares; NaN where nothing arrived."""
        total = self.shares.sum(1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.shares / total

    @property
    def effective_size(self) -> ndarray:
        """Number of paths of equal weight that would be as sure (Kish)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            size = self.weights**2 / self.squares
        return np.nan_to_num(size)


def _draw(
    model: Any,
    drawing: Drawing,
    sources: Sources,
    ends: Ends,
    tally: _Tally,
    n_draws: int,
    seed: int,
) -> None:
    """Run the paths of one model, a few draws of all cells at a time."""
    n_cells = len(sources.states)
    cells = np.arange(n_cells)
    draws_a_run = max(1, PATHS_A_RUN // n_cells)
    for first in range(0, n_draws, draws_a_run):
        n_now = min(draws_a_run, n_draws - first)
        rows = np.tile(cells, n_now)
        own_seed = subseed(seed, "draws", first)
        run = drawing.simulate(model, sources, rows, own_seed)
        arrivals = _arrivals(run)
        weights = _weights(run, drawing.is_weighted)
        has_arrived = np.isfinite(arrivals).all(1)
        is_whole = has_arrived & np.isfinite(weights)
        whole = np.flatnonzero(is_whole)
        drawing.n_paths += len(rows)
        drawing.n_lost += len(rows) - len(whole)
        places = arrivals[whole]
        shares = ends.nearest(places, drawing.n_neighbors)
        own_rows = rows[whole]
        own_weights = weights[whole]
        tally.add(own_rows, own_weights, shares)


def _arrivals(run: Trajectories) -> ndarray:
    """States at the end ``(path, feature)``; NaN for paths that were lost."""
    if run.discrete:
        raise TypeError(
            "the states of the model are discrete, so they are the fates themselves; "
            "see the committors of model.process_"
        )
    at_end = run.states[:, -1]
    last = at_end.detach().cpu()
    states = last.double().numpy()
    status = run.status.cpu().numpy()
    is_lost = status != 0
    return np.where(is_lost[:, None], np.nan, states)


def _weights(run: Trajectories, is_weighted: bool) -> ndarray:
    """Mass at the end of every path, of one that starts with mass 1."""
    if not is_weighted or run.log_weights is None:
        return np.ones(run.n_paths)
    first = run.log_weights[:, 0]
    last = run.log_weights[:, -1]
    growth = (last - first).detach().cpu()
    return np.exp(growth.numpy())


def _wilson(share: ndarray, size: ndarray) -> tuple[ndarray, ndarray]:
    """Interval of a share of so many draws (Wilson 1927): none of fifty is not surely none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        correction = QUANTILE**2 / size
        shrinkage = 1 + correction
        raised = share + correction / 2
        center = raised / shrinkage
        binomial = share * (1 - share) / size
        variance = binomial + correction / (4 * size)
        deviation = np.sqrt(variance)
        half = QUANTILE * deviation / shrinkage
    return center - half, center + half


def _widened(
    fates: ndarray, low: ndarray, high: ndarray, spread: ndarray
) -> tuple[ndarray, ndarray]:
    """Interval of the draws, wider by how far one refit lies from another."""
    # The spread of refits is not divided by their number: they share their data and their bias.
    of_refits = QUANTILE * spread
    below = np.hypot(fates - low, of_refits)
    above = np.hypot(high - fates, of_refits)
    lowest = fates - below
    highest = fates + above
    return lowest.clip(0, 1), highest.clip(0, 1)
