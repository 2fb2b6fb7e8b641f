"""Visits of every state, as a table of dwell times."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.paths import Paths
from dyninfer.jumps.dwell.semi_markov import check_labels
from dyninfer.jumps.likelihood.state_names import names_of
from dyninfer.learning.settings import check_switch


def state_visits(paths: Paths, entered: bool = False) -> pd.DataFrame:
    """How long every visit of a state lasted, one row a visit.

    A label holds until the next observation, so that labels must be frequent, or given at the times
    of the jumps. Of one state, ``fit_phases(rows["time"], is_complete=rows["is_complete"])`` gives
    the law. For labels at rare times, use :func:`fit_semi_markov`.

    Parameters
    ----------
    paths : Paths
        Labels, never wrong.
    entered : bool
        Whether a path begins when its first state is entered. Otherwise its first visit is left
        out, as nobody saw it begin, and so is the one behind a missing label.

    Returns
    -------
    DataFrame
        ``path``, ``state``, ``time``, and ``is_complete``: False where the record ended, or a label
        was missing, before the state was left.

    Raises
    ------
    TypeError
        If these are no paths of labels.

    Examples
    --------
    >>> import dyninfer as di
    >>> from dyninfer.jumps.dwell import state_visits
    >>> paths = di.Paths(times=[[0, 1, 2, 3, 5]], states=[["G1", "S", "S", "G1", "G1"]])
    >>> state_visits(paths)["time"].tolist()
    [2.0, 2.0]
    """
    check_switch(entered, "entered")
    check_labels(paths)
    # The number of a missing label, −1, is that of the last name.
    names = np.array([*names_of(paths, None), ""], dtype=object)
    tables = []
    for name, times, states in zip(paths.names, paths.times, paths.states, strict=True):
        table = _visits(times, states, entered)
        table["state"] = names[table["state"]]
        table.insert(0, "path", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _visits(times: ndarray, states: ndarray, entered: bool) -> pd.DataFrame:
    is_change = states[1:] != states[:-1]
    (before,) = is_change.nonzero()
    begins = np.concatenate([[0], before + 1])
    state = states[begins]
    is_label = state >= 0
    # Until the next label; before a missing one, only as long as it was seen.
    is_followed = is_label[1:]
    last = np.where(is_followed, before + 1, before)
    ends = np.concatenate([last, [len(times) - 1]])
    # Nothing stands before the first: that it was seen to begin is said by ``entered``.
    after = np.concatenate([is_followed, [False]])
    follows = np.concatenate([[entered], is_label[:-1]])
    duration = times[ends] - times[begins]
    # The end of a record may fall on the first frame of a visit, which then says nothing.
    is_visit = is_label & follows & (duration > 0)
    columns = {"state": state, "time": duration, "is_complete": after}
    return pd.DataFrame(columns)[is_visit]
