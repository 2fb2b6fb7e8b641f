"""Starting cells with weights: drawn by weight, or carried along with their weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy import ndarray

from dyninfer.data.reading import Start
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.trajectories.ancestry import systematic
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import subseed
from dyninfer.learning.settings import check_count
from dyninfer.simulation.weights import effective_sample_size


def drawn_by_weight(cells: Start, n_paths: int, seed: int) -> Start:
    """Cells drawn in proportion to their weights, so that all of them count alike."""
    assert cells.weights is not None
    n_paths = check_count(n_paths, "n_paths")
    # Before the rows are drawn: they are as many as the paths.
    n_bytes = 8 * n_paths
    check_memory(n_bytes, f"{n_paths} paths", torch.device("cpu"))
    # Systematic draws: every cell is within one path of its share, so that little is left to luck.
    own_seed = subseed(seed, "start")
    rows = systematic(cells.weights, n_paths, own_seed)
    # Cells without names are told apart by their rows.
    names = rows
    if cells.names is not None:
        names = cells.names[rows]
    conditions = None
    if cells.conditions is not None:
        conditions = cells.conditions[rows]
    states = cells.states[rows]
    return Start(states, names, None, conditions)


def with_start_weights(run: Trajectories, weights: ndarray) -> Trajectories:
    """A run of all cells, not resampled, whose paths begin with the cells' weights.

    The masses at the start have mean 1, as those of cells without weights do.
    """
    relative = weights * len(weights)
    masses = torch.as_tensor(relative, dtype=torch.float64)
    # A cell of weight zero has the logarithm −∞, which counts for nothing everywhere.
    log_masses = masses.log().to(run.states.device)
    log_start = log_masses[:, None]
    growth = run.log_weights
    if growth is None:
        growth = log_start.new_zeros(run.n_paths, run.n_times)
    log_weights = log_start + growth
    # Anew: that of the run counts all cells alike.
    ess = effective_sample_size(log_weights.detach())
    attrs = {**run.attrs, "ess": ess.tolist()}
    return replace(run, log_weights=log_weights, attrs=attrs)


def with_origin(run: Trajectories, names: ndarray | None) -> Trajectories:
    """The run, each path with the name of what it starts from.

    Where there are no names, ``origin`` stays the number of the starting state.
    """
    if names is None:
        return run
    return replace(run, origin=np.asarray(names)[run.origin])
