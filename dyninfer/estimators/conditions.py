"""Cells under conditions: each is run, and its fields are computed, under its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from dyninfer.data.reading import Start
from dyninfer.data.trajectories import Trajectories
from dyninfer.data.trajectories.join import join_runs
from dyninfer.diffusions.scaled import fields_at
from dyninfer.learning.random import subseed


def run_by_condition(
    cells: Start, run: Callable[[str, Start, int], Trajectories], seed: int, n_paths: int | None
) -> Trajectories:
    """Put together the runs of the cells of every condition.

    Parameters
    ----------
    cells : Start
    run : callable
        Called with a condition, its cells and a seed.
    seed : int
    n_paths : int or None
        Refused where it is given.

    Returns
    -------
    Trajectories
        One path per cell, in their order.
    """
    if cells.conditions is None:
        raise ValueError(
            "the model was learned under conditions; name one: simulate(..., condition=...)"
        )
    if n_paths is not None:
        raise ValueError(
            "n_paths cannot be shared out between conditions; name the condition to simulate"
        )
    runs, every_row = [], []
    for label, rows in _groups(cells.conditions.astype(str)):
        # Paths of two conditions share no noise, whatever the seeds of their runs.
        own_seed = subseed(seed, "condition", label)
        part = Start(cells.states[rows])
        runs.append(run(label, part, own_seed))
        every_row.append(rows)
    joined = join_runs(runs, every_row)
    return replace(joined, attrs={**joined.attrs, "seed": seed})


def fields_by_condition(
    process: Any, labels: np.ndarray, times: np.ndarray, x: np.ndarray
) -> dict[str, np.ndarray]:
    """Fields of every cell, as :func:`dyninfer.diffusions.scaled.fields_at` gives them."""
    fields: dict[str, np.ndarray] = {}
    for label, rows in _groups(labels):
        own_process = process.given(label)
        for name, values in fields_at(own_process, times[rows], x[rows]).items():
            if name not in fields:
                fields[name] = np.empty((len(x), *values.shape[1:]), values.dtype)
            fields[name][rows] = values
    return fields


def _groups(labels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Conditions in the order of their first cells, each with the rows of its cells."""
    for label in dict.fromkeys(labels.tolist()):
        yield label, np.flatnonzero(labels == label)
