"""States of jump processes, step by step."""

from __future__ import annotations

import numpy as np

from dyninfer.jumps.compiled.recursion import compiled


@compiled
def walk(first, owner, cumulative, table_of, u):
    """States ``(n, time)`` at given times, by inversion.

    Parameters
    ----------
    first : array ``(n,)`` int64
        First states.
    owner : array ``(n,)`` int64
        Process of each path.
    cumulative : array ``(process, table, S, S)``
        Cumulative transition probabilities along the rows.
    table_of : array ``(time - 1,)`` int64
        Table of every interval.
    u : array ``(n, time)``
        Uniform numbers, of which the first is not used.
    """
    n_paths, n_times = u.shape
    last = cumulative.shape[-1] - 1
    states = np.empty((n_paths, n_times), np.int64)
    for path in range(n_paths):
        process = owner[path]
        state = first[path]
        states[path, 0] = state
        for k in range(1, n_times):
            table = table_of[k - 1]
            # Times their sum, which rounding may leave beside 1.
            total = cumulative[process, table, state, last]
            height = u[path, k] * total
            target = 0
            for j in range(last):
                threshold = cumulative[process, table, state, j]
                target += threshold <= height
            state = target
            states[path, k] = state
    return states


@compiled
def jump(state, clock, end, random, tables, times, states):
    """Jump by jump until a time is over; see ``dyninfer.jumps.gillespie``.

    Parameters
    ----------
    state : int
        State of the path.
    clock, end : float
        Time now, and when to end.
    random : two arrays ``(n,)``
        Random numbers of the jumps: minus waits in mean waits, and places in the alias tables.
    tables : arrays ``(S,)``, ``(S · S,)`` and ``(S · S,)``
        Mean wait of every state, and the alias tables of the states, row by row.
    times, states : array ``(n,)``
        Are filled with the time and the state after every jump; inf and the last state after the
        end.
    """
    negative_waits, places = random
    mean_wait, stay, other = tables
    n_states = len(mean_wait)
    for k, negative_wait in enumerate(negative_waits):
        clock = clock - negative_wait * mean_wait[state]
        if clock < end:
            place = places[k]
            column = int(place)
            fraction = place - column
            cell = state * n_states + column
            state = column
            if not fraction < stay[cell]:
                state = other[cell]
        else:
            clock = np.inf
        times[k] = clock
        states[k] = state
