"""Fates without a model: of the nearest end cells, and pulled back along transport plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy import ndarray

from dyninfer.data.times import Clock
from dyninfer.learning.random import numpy_stream
from dyninfer.tools.fate_cells import Cells
from dyninfer.tools.fate_ends import Ends
from dyninfer.transport.couplings.blocks import cut
from dyninfer.transport.couplings.plan import NOTHING
from dyninfer.transport.couplings.sinkhorn import sinkhorn

# More than for arrivals: there are no draws to average over.
NEIGHBORS = 50
# In units of the mean squared distance. In a simulated network that is seen as counts, half as much
# does as well; a fifth and twice as much do worse at all times.
REGULARIZATION = 0.1
MASS_PENALTY = 1.0
# Cells a side of a block: its plan takes 32 MB.
BLOCK = 2000


def unmoved(cells: Cells, at: float, ends: Ends) -> ndarray:
    """Fates ``(cell, fate)`` of cells that stay where they are; NaN from the end on."""
    fates = np.full((len(cells.states), len(ends.names)), np.nan)
    for rows in _rows_before(cells, at).values():
        states = cells.states[rows]
        fates[rows] = ends.nearest(states, NEIGHBORS)
    return fates


def transported(
    cells: Cells, at: float, ends: Ends, hidden: Sequence[float], is_weighted: bool, seed: int
) -> ndarray:
    """Fates ``(cell, fate)`` by plans from every time to the next; NaN from the end on.

    No plan goes through the times that are hidden: what was held out from a model, what stands
    beside it does not use either.
    """
    rows_of = _rows_before(cells, at)
    populations = {time: cells.states[rows] for time, rows in rows_of.items()}
    is_hidden = Clock(list(populations)).positions(hidden)
    steps = [time for k, time in enumerate(populations) if k not in is_hidden]
    fates_at = pulled_back(populations, steps, ends, is_weighted, seed)
    fates = np.full((len(cells.states), len(ends.names)), np.nan)
    for time, rows in rows_of.items():
        fates[rows] = fates_at[time]
    return fates


def _rows_before(cells: Cells, at: float) -> dict[float, ndarray]:
    """Rows of the whole cells of every time before the end that has some."""
    rows_of = {}
    for time in cells.before(at):
        rows = cells.rows(time)
        whole = rows[cells.is_whole(rows)]
        if len(whole):
            rows_of[time] = whole
    return rows_of


def pulled_back(
    populations: Mapping[float, ndarray],
    steps: Sequence[float],
    ends: Ends,
    is_weighted: bool,
    seed: int,
) -> dict[float, ndarray]:
    """Fates by time, carried back from one time to the one before by unbalanced entropic plans.

    Parameters
    ----------
    populations : dict of arrays ``(n, feature)``
        Finite states of the cells before the end, by time.
    steps : sequence of float
        Those of the times that paths of plans may go through.
    ends : Ends
    is_weighted : bool
        Whether a cell's fates are the shares of its descendants, or the fate of one lineage.
    seed : int
        Of the cut into blocks of at most 2,000 cells a side.
    """
    fates = {}
    next_states = ends.states
    onward = ends.indicators(ends.codes)
    for time in sorted(populations, reverse=True):
        states = populations[time]
        carried = _carried(states, next_states, onward, is_weighted, seed)
        totals = carried.sum(1, keepdims=True)
        fates[time] = carried / totals
        if time in steps:
            next_states = states
            onward = carried if is_weighted else fates[time]
    return fates


def _carried(x: ndarray, y: ndarray, onward: ndarray, is_weighted: bool, seed: int) -> ndarray:
    """What cells ``(n,)`` leave of each fate, given what those of the next time leave."""
    n_x = len(x)
    a = np.full(n_x, 1 / n_x)
    n_y = len(y)
    b = np.full(n_y, 1 / n_y)
    shape = (len(x), onward.shape[1])
    carried = np.zeros(shape)
    arrived = np.zeros((len(x), 1))
    rng = numpy_stream(seed, "fates", "blocks")
    for block in cut(a, b, BLOCK, rng):
        problem = block.problem(x, y)
        relative_cost = problem.cost / problem.mean_cost
        in_units = problem._replace(cost=relative_cost)
        solution = sinkhorn(in_units, REGULARIZATION, MASS_PENALTY)
        solution.warn_unless_converged()
        log_plan = solution.log_plan
        largest = log_plan.max(1, keepdims=True)
        # A cell far from all others leaves next to nothing, and that has fates too.
        log_scale = np.maximum(largest, NOTHING)
        scale = np.exp(log_scale)
        relative = np.exp(log_plan - largest)
        plan = relative * scale
        # Cells on the border of two blocks have a part of their mass in each.
        carried[block.rows] += plan @ onward[block.columns]
        arrived[block.rows] += plan.sum(1, keepdims=True)
    if is_weighted:
        return carried
    return carried / arrived
