"""Fates without a model: of the nearest end cells, and pulled back along transport plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from dyninfer.data.columns import number_column
from dyninfer.data.times import Clock
from dyninfer.data.words import quoted
from dyninfer.learning.random import numpy_stream
from dyninfer.tools.fate_cells import Cells
from dyninfer.tools.fate_ends import Ends
from dyninfer.transport.couplings.blocks import cut
from dyninfer.transport.couplings.plan import NOTHING
from dyninfer.transport.couplings.problem import TransportProblem
from dyninfer.transport.couplings.sinkhorn import SinkhornSolution, sinkhorn

# More than for arrivals: there are no draws to average over.
NEIGHBORS = 50
# In units of the mean squared distance. In a simulated network that is seen as counts, half as much
# does as well; a fifth and twice as much do worse at all times.
REGULARIZATION = 0.1
# Below, Sinkhorn's iteration takes thousands of steps, and plans are nearly exact.
LEAST_REGULARIZATION = 0.01
MASS_PENALTY = 1.0
# Where growth is known, mass need not be lost to make up for it; some slack is left for the luck of
# sampling. Chosen among 1, 4 and no slack in two simulators, with seeds that no table reports.
KNOWN_MASS_PENALTY = 4.0
# Of log-masses: a cell that leaves e^-16 of what another does counts for nothing, and is still part
# of a block, which leaves out shares below 1e-12.
FEWEST_DESCENDANTS = -16.0
# Cells a side of a block: its plan takes 32 MB.
BLOCK = 2000


@dataclass(frozen=True)
class Plans:
    r"""What plans from one time to the next assume.

    A Brownian motion of variance :math:`\sigma^2 \Delta t` leads to plans of squared distances
    with :math:`\varepsilon = 2 \sigma^2 \Delta t` (Schrödinger's bridge). Cells that divide take
    part in them in proportion to :math:`e^{g \Delta t}`, the descendants that they leave.

    Attributes
    ----------
    is_weighted : bool
        Whether a cell's fates are the shares of its descendants, or the fate of one lineage.
    seed : int
        Of the cut into blocks of at most 2,000 cells a side.
    variance : float or None
        σ², in squared state units per unit of time; None takes a tenth of the mean squared
        distance as ε.
    growth : array ``(cell,)`` or None
        g, birth less death of every cell, per unit of time; None where it is not known.
    """

    is_weighted: bool
    seed: int
    variance: float | None = None
    growth: ndarray | None = None

    def solve(self, problem: TransportProblem, gap: float) -> SinkhornSolution:
        """Plan between two times that lie ``gap`` apart."""
        unit = problem.mean_cost
        relative_cost = problem.cost / unit
        in_units = problem._replace(cost=relative_cost)
        epsilon = REGULARIZATION
        if self.variance is not None:
            bridge = 2 * self.variance * gap
            epsilon = max(bridge / unit, LEAST_REGULARIZATION)
        penalty = MASS_PENALTY
        if self.growth is not None:
            penalty = KNOWN_MASS_PENALTY
        return sinkhorn(in_units, epsilon, penalty)

    def weights(self, rows: ndarray, gap: float) -> ndarray:
        """Share of all descendants that each of some cells leaves after ``gap``."""
        n_cells = len(rows)
        if self.growth is None:
            return np.full(n_cells, 1 / n_cells)
        log_mass = self.growth[rows] * gap
        relative = log_mass - log_mass.max()
        mass = np.exp(np.maximum(relative, FEWEST_DESCENDANTS))
        return mass / mass.sum()


def known_growth(cells: Cells, at: float, key: str | None) -> ndarray | None:
    """Growth of every cell by a column of ``obs``; finite for all that plans begin from."""
    if key is None:
        return None
    growth = number_column(cells.adata, key, "growth_key")
    rows_of = _rows_before(cells, at)
    for time, rows in rows_of.items():
        n_missing = int((~np.isfinite(growth[rows])).sum())
        if n_missing:
            raise ValueError(
                f"growth_key {quoted(key)} is missing or infinite in {n_missing} of {len(rows)} "
                f"cells at time {time:g}; give every cell before the end a rate"
            )
    return growth


def unmoved(cells: Cells, at: float, ends: Ends) -> ndarray:
    """Fates ``(cell, fate)`` of cells that stay where they are; NaN from the end on."""
    fates = np.full((len(cells.states), len(ends.names)), np.nan)
    for rows in _rows_before(cells, at).values():
        states = cells.states[rows]
        fates[rows] = ends.nearest(states, NEIGHBORS)
    return fates


def transported(
    cells: Cells, at: float, ends: Ends, hidden: Sequence[float], plans: Plans
) -> ndarray:
    """Fates ``(cell, fate)`` by plans from every time to the next; NaN from the end on.

    No plan goes through the times that are hidden: what was held out from a model, what stands
    beside it does not use either.
    """
    rows_of = _rows_before(cells, at)
    is_hidden = Clock(list(rows_of)).positions(hidden)
    steps = [time for k, time in enumerate(rows_of) if k not in is_hidden]
    return pulled_back(cells.states, rows_of, at, steps, ends, plans)


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
    states: ndarray,
    rows_of: Mapping[float, ndarray],
    at: float,
    steps: Sequence[float],
    ends: Ends,
    plans: Plans,
) -> ndarray:
    """Fates ``(cell, fate)``, carried back from a time to the one before by unbalanced plans.

    Parameters
    ----------
    states : array ``(cell, feature)``
    rows_of : dict of int arrays
        Rows of the cells before the end, with finite states, by time.
    at : float
        End time.
    steps : sequence of float
        Those of the times that paths of plans may go through.
    ends : Ends
    plans : Plans
    """
    fates = np.full((len(states), len(ends.names)), np.nan)
    next_time = at
    next_states = ends.states
    onward = ends.indicators(ends.codes)
    for time in sorted(rows_of, reverse=True):
        rows = rows_of[time]
        carried = _carried(states[rows], next_states, onward, rows, next_time - time, plans)
        totals = carried.sum(1, keepdims=True)
        fates[rows] = carried / totals
        if time in steps:
            next_time = time
            next_states = states[rows]
            onward = carried if plans.is_weighted else fates[rows]
    return fates


def _carried(
    x: ndarray, y: ndarray, onward: ndarray, rows: ndarray, gap: float, plans: Plans
) -> ndarray:
    """What cells ``(n,)`` leave of each fate, given what those of the next time leave."""
    a = plans.weights(rows, gap)
    n_y = len(y)
    b = np.full(n_y, 1 / n_y)
    shape = (len(x), onward.shape[1])
    carried = np.zeros(shape)
    arrived = np.zeros((len(x), 1))
    rng = numpy_stream(plans.seed, "fates", "blocks")
    for block in cut(a, b, BLOCK, rng):
        problem = block.problem(x, y)
        solution = plans.solve(problem, gap)
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
    if plans.is_weighted:
        return carried
    return carried / arrived
