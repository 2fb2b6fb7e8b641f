"""What a jump process says, as tables: times in states, passages, probabilities of jumps.

Every value has an interval from draws of the posterior, as the rates themselves have; a process
that was given, and not learned, has values alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.data.time_reading import as_moment
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.occupation import occupation, unreached
from dyninfer.tools.jump_models import (
    LearnedJumps,
    as_duration,
    as_durations,
    at_one,
    pairs_of,
)


def sojourn_times(
    model: Any,
    *,
    level: float = 0.9,
    n_samples: int = 1000,
    seed: int = 0,
    covariates: Any = None,
) -> pd.DataFrame:
    """Mean time of one visit to each state.

    ``−1 / Q_ii``; infinite for a state that is never left.

    Parameters
    ----------
    model : MarkovJumpInference or MarkovJump
        A fitted model, or a process; a process has no intervals.
    level : float
        Coverage of the intervals.
    n_samples : int
        Draws of the posterior that intervals are taken from.
    seed : int
        Fixes the draws.
    covariates : mapping, optional
        A value of each covariate that the rates depend on; by default 0, or the first level of a
        category.

    Returns
    -------
    DataFrame
        ``state``, ``value`` (in the unit of the times), ``low``, ``high``.

    Raises
    ------
    TypeError, ValueError
        If the model has no jump process, or an argument is invalid.

    Examples
    --------
    >>> import dyninfer as di
    >>> gate = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]], state_names=["closed", "open"])
    >>> di.tl.sojourn_times(gate)
        state  value
    0  closed   1.00
    1    open   0.25
    """
    jumps = LearnedJumps.of(model, level, n_samples, seed, at_one(covariates))
    jumps.check_constant("sojourn_times")
    rows = pd.DataFrame({"state": jumps.names})
    return jumps.with_values(rows, MarkovJump.holding_times)


def length_of_stay(
    model: Any,
    until: float = math.inf,
    *,
    start: Any = None,
    level: float = 0.9,
    n_samples: int = 1000,
    seed: int = 0,
    covariates: Any = None,
) -> pd.DataFrame:
    """Mean total time in each state until a horizon, over all visits.

    ``∫₀ᵗ [e^{Qu}]_ij du`` (Jackson 2011, J. Stat. Softw. 38(8)).

    Parameters
    ----------
    model : MarkovJumpInference or MarkovJump
        A fitted model, or a process; a process has no intervals.
    until : float
        Horizon, counted from the start. By default infinite: the time in each state before
        absorption, which is infinite for recurrent states.
    start : states, optional
        States to start from, by name or number; by default all.
    level, n_samples, seed, covariates
        As in :func:`sojourn_times`.

    Returns
    -------
    DataFrame
        A row for every start and state: ``start``, ``state``, ``value``, ``low``, ``high``.

    Raises
    ------
    TypeError, ValueError
        If the model has no jump process, or an argument is invalid.

    Examples
    --------
    >>> import dyninfer as di
    >>> gate = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]], state_names=["closed", "open"])
    >>> stays = di.tl.length_of_stay(gate, until=10, start="closed")
    >>> round(float(stays["value"].sum()), 6)  # all ten
    10.0
    """
    jumps = LearnedJumps.of(model, level, n_samples, seed, at_one(covariates))
    until = as_duration(until, "until")
    if math.isinf(until):
        jumps.check_constant("length_of_stay without an end")
    starts = jumps.numbers(start, "start")
    rows = pairs_of(jumps.names[starts], jumps.names, ("start", "state"))

    def stays(process: MarkovJump) -> Tensor:
        return occupation(process, until)[..., starts, :].flatten(-2)

    return jumps.with_values(rows, stays)


def first_passage(
    model: Any,
    target: Any,
    *,
    start: Any = None,
    level: float = 0.9,
    n_samples: int = 1000,
    seed: int = 0,
    covariates: Any = None,
) -> pd.DataFrame:
    """Mean time until a target state is first entered.

    Parameters
    ----------
    model : MarkovJumpInference or MarkovJump
        A fitted model, or a process; a process has no intervals.
    target : states
        One or more, by name or number.
    start : states, optional
        States to start from; by default all. From a target itself the time is 0; from a state that
        may never reach the target it is infinite.
    level, n_samples, seed, covariates
        As in :func:`sojourn_times`.

    Returns
    -------
    DataFrame
        ``start``, ``value``, ``low``, ``high``.

    Raises
    ------
    TypeError, ValueError
        If the model has no jump process, or an argument is invalid.

    Examples
    --------
    >>> import dyninfer as di
    >>> gate = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]], state_names=["closed", "open"])
    >>> di.tl.first_passage(gate, "open", start="closed")["value"].round(6).tolist()  # 1 / rate
    [1.0]
    """
    jumps = LearnedJumps.of(model, level, n_samples, seed, at_one(covariates))
    targets = jumps.numbers(target, "target")
    starts = jumps.numbers(start, "start")
    rows = pd.DataFrame({"start": jumps.names[starts]})

    def passages(process: MarkovJump) -> Tensor:
        return process.mean_first_passage(targets)[..., starts]

    return jumps.with_values(rows, passages)


def next_states(
    model: Any,
    *,
    level: float = 0.9,
    n_samples: int = 1000,
    seed: int = 0,
    covariates: Any = None,
) -> pd.DataFrame:
    """Probability that the next jump out of a state leads to each other state.

    ``Q_ij / −Q_ii``. Impossible jumps have no row, nor has a state that is never left.

    Parameters
    ----------
    model : MarkovJumpInference or MarkovJump
        A fitted model, or a process; a process has no intervals.
    level, n_samples, seed, covariates
        As in :func:`sojourn_times`.

    Returns
    -------
    DataFrame
        ``source``, ``target``, ``value``, ``low``, ``high``.

    Raises
    ------
    TypeError, ValueError
        If the model has no jump process, or its rates change in time.

    Examples
    --------
    >>> import dyninfer as di
    >>> rates = [[-1.0, 0.75, 0.25], [0, 0, 0], [0, 0, 0]]
    >>> disease = di.MarkovJump(rates, state_names=["ill", "well", "dead"])
    >>> di.tl.next_states(disease)["value"].round(2).tolist()
    [0.75, 0.25]
    """
    jumps = LearnedJumps.of(model, level, n_samples, seed, at_one(covariates))
    jumps.check_constant("next_states")
    can_happen = jumps.process.generator > 0
    source, target = np.nonzero(can_happen.numpy())
    rows = pd.DataFrame({"source": jumps.names[source], "target": jumps.names[target]})

    def shares(process: MarkovJump) -> Tensor:
        return process.embedded_chain()[..., source, target]

    return jumps.with_values(rows, shares)


def transition_probabilities(
    model: Any,
    dt: float,
    *,
    start_time: float = 0.0,
    level: float = 0.9,
    n_samples: int = 1000,
    seed: int = 0,
    covariates: Any = None,
) -> pd.DataFrame:
    """Probability of each state after an interval, from each state at its start.

    ``[e^{Q dt}]_ij``.

    Parameters
    ----------
    model : MarkovJumpInference or MarkovJump
        A fitted model, or a process; a process has no intervals.
    dt : float
        Length of the interval.
    start_time : float
        When the interval begins; it matters only if rates change in time.
    level, n_samples, seed, covariates
        As in :func:`sojourn_times`.

    Returns
    -------
    DataFrame
        A row for every pair of states: ``source``, ``target``, ``value``, ``low``, ``high``.

    Raises
    ------
    TypeError, ValueError
        If the model has no jump process, or an argument is invalid.

    Examples
    --------
    >>> import dyninfer as di
    >>> gate = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]], state_names=["closed", "open"])
    >>> di.tl.transition_probabilities(gate, 100.0)["value"].round(3).tolist()  # 4/5 and 1/5
    [0.8, 0.2, 0.8, 0.2]
    """
    jumps = LearnedJumps.of(model, level, n_samples, seed, at_one(covariates))
    dt = as_duration(dt, "dt")
    begin = as_moment(start_time, "start_time")
    rows = pairs_of(jumps.names, jumps.names, ("source", "target"))

    def probabilities(process: MarkovJump) -> Tensor:
        return process.transition(dt, begin).flatten(-2)

    return jumps.with_values(rows, probabilities)


def survival(
    model: Any,
    target: Any,
    times: Any,
    *,
    start: Any = None,
    level: float = 0.9,
    n_samples: int = 1000,
    seed: int = 0,
    covariates: Any = None,
) -> pd.DataFrame:
    """Probability that no target state has been entered by each time.

    Parameters
    ----------
    model : MarkovJumpInference or MarkovJump
        A fitted model, or a process; a process has no intervals.
    target : states
        One or more, by name or number, such as death.
    times : sequence of float
        Counted from the start.
    start : states, optional
        States to start from; by default all but the targets.
    level, n_samples, seed, covariates
        As in :func:`sojourn_times`.

    Returns
    -------
    DataFrame
        A row for every start and time: ``start``, ``time``, ``value``, ``low``, ``high``.

    Raises
    ------
    TypeError, ValueError
        If the model has no jump process, or an argument is invalid.

    Examples
    --------
    >>> import math, dyninfer as di
    >>> decay = di.MarkovJump([[-0.5, 0.5], [0.0, 0.0]], state_names=["alive", "dead"])
    >>> table = di.tl.survival(decay, "dead", [2.0], start="alive")
    >>> bool(abs(table["value"].iloc[0] - math.exp(-1)) < 1e-6)
    True
    """
    jumps = LearnedJumps.of(model, level, n_samples, seed, at_one(covariates))
    durations = as_durations(times, "times")
    is_target = torch.zeros(jumps.process.n_states, dtype=torch.bool)
    is_target[jumps.numbers(target, "target")] = True
    starts = jumps.numbers(start, "start")
    if start is None:
        starts = (~is_target).nonzero().flatten().tolist()
    rows = pairs_of(jumps.names[starts], durations.numpy(), ("start", "time"))

    def probabilities(process: MarkovJump) -> Tensor:
        return unreached(process, is_target, durations)[..., starts, :].flatten(-2)

    return jumps.with_values(rows, probabilities)
