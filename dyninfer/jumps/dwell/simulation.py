"""Dwell times of simulated channels, each jump of which is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dyninfer.data.paths import Paths
from dyninfer.jumps.dwell.records import DwellTimes
from dyninfer.jumps.gillespie import simulate_events
from dyninfer.jumps.process import MarkovJump


def simulate_dwell_times(
    process: MarkovJump,
    open_states: Sequence[str],
    duration: float,
    n: int = 1,
    dead_time: float = 0.0,
    seed: int = 0,
) -> DwellTimes:
    """Draw records of ``n`` channels, in which visits shorter than a dead time are missed.

    Parameters
    ----------
    process : MarkovJump
        One process; it starts from its own distribution.
    open_states : sequence of str
        Names of the open states.
    duration : float
        Length of a record, in the unit of time of the process.
    n : int
        Number of records.
    dead_time : float
        The shortest dwell time that is resolved.
    seed : int
        Fixes the jumps.

    Raises
    ------
    ValueError
        If no record holds a complete dwell time.
    """
    paths = event_paths(process, duration, n, seed)
    return DwellTimes.from_labels(paths, open_states, dead_time)


def event_paths(process: MarkovJump, duration: float, n: int, seed: int) -> Paths:
    """Labels ``(l_i,)`` at the times of the jumps of ``n`` channels, and at the end of a record."""
    events = simulate_events(process, n, duration, seed)
    times = []
    states = []
    for begins, visited in zip(events.times.numpy(), events.states.numpy(), strict=True):
        is_visit = np.isfinite(begins)
        times.append(np.append(begins[is_visit], events.stop))
        last = visited[is_visit][-1]
        states.append(np.append(visited[is_visit], last))
    return Paths(times=tuple(times), states=tuple(states), state_names=process.state_names)
