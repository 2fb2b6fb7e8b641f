"""What the data say about the mass of each condition."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from dyninfer.data.snapshots import Snapshots
from dyninfer.transport.couplings.stretches import condition_names, rows_by_condition


def condition_masses(data: Snapshots, control: str | None = None) -> ndarray:
    """Masses ``(C, K)`` of the sorted conditions; NaN where one has no cells.

    Where the cells have weights, the mass of a condition is its share of them. Otherwise the cells
    were counted out for the measurement, and every condition grows as the whole. Before a condition
    first appears, the control stands in for it.
    """
    masses = data.masses
    if masses is None:
        masses = np.ones(data.n_times)
    tells_apart = data.masses is not None and data.weights is not None
    names = condition_names(data)
    shares = np.full((len(names), data.n_times), np.nan)
    for number, name in enumerate(names):
        rows = rows_by_condition(data, name, control)
        for k, own in enumerate(rows):
            weights = data.weights_at(data.times[k])
            share = float(weights[own].sum())
            if share > 0:
                shares[number, k] = share if tells_apart else 1.0
    return shares * masses
