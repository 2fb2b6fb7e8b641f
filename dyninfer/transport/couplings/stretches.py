"""Coupling whole data sets: interval by interval, or in chains, within every condition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import spelled
from dyninfer.learning.random import subseed
from dyninfer.learning.settings import brief
from dyninfer.learning.warn import warn
from dyninfer.transport.couplings.base import BlockCoupling, Coupling, intervals
from dyninfer.transport.couplings.chains import sample_weighted_chains
from dyninfer.transport.couplings.plan import Plan
from dyninfer.transport.couplings.supply import WORTH_STARTING, BlockSupply, Source, seconds_of

# Chains are drawn, where pairs are listed: enough that the luck of the draw is small.
LEAST_CHAINS = 8192


class Stretch(NamedTuple):
    """Coupled rows over one interval (or, for chains, over all) under one condition."""

    interval: int
    rows: ndarray  # (p, 2) or (p, K), numbered over all snapshots together
    mass: ndarray  # (p,)
    log_weights: ndarray  # of the shape of the rows
    condition: int


class _Run(NamedTuple):
    """Consecutive times at which one condition has samples."""

    times: list[int]  # indices of the times
    rows: list[ndarray]  # rows of the condition in each of these snapshots
    share: list[float]  # part of each snapshot's cells that they are


def couple_all(
    data: Snapshots,
    samples: list[ndarray],
    coupling: Coupling | Sequence[Coupling],
    seed: int,
    *,
    by_condition: bool = False,
    control: str | None = None,
    chains: bool = False,
) -> list[Stretch]:
    """Couple all snapshots.

    Parameters
    ----------
    data : Snapshots
    samples : list of arrays ``(n_k, d)``
        States of the same cells, in the units in which they are to be paired.
    coupling : Coupling, or one for every interval
    seed : int
    by_condition : bool
        Whether samples are paired within their condition only.
    control : str, optional
        Condition whose samples stand in at the times before another condition first appears.
    chains : bool
        Whether chains through all snapshots are drawn, rather than pairs of neighbours.
    """
    stretches: list[Stretch] = []
    for number, seed_of_condition, run in _all_runs(data, seed, by_condition, control, chains):
        plans = _plans(data, samples, run, coupling, seed_of_condition)
        if chains:
            stretch = _chains(data, run, plans, number, seed_of_condition)
            stretches.append(stretch)
            continue
        for j, plan in enumerate(plans):
            stretches.append(_pairs(data, run, j, plan, number))
    _check_covered(data, stretches, by_condition, chains)
    return stretches


def supply_of_blocks(
    data: Snapshots,
    samples: Sequence[Any],
    coupling: Coupling | Sequence[Coupling],
    seed: int,
    *,
    by_condition: bool = False,
    control: str | None = None,
) -> BlockSupply | None:
    """The pairs of :func:`couple_all`, solved block by block as training goes on.

    None where all plans together are soon solved, or a coupling is not one of single blocks.
    """
    sources = []
    for number, seed_of_condition, run in _all_runs(data, seed, by_condition, control):
        states, part = _samples_of(data, samples, run)
        problems = intervals(part, states, seed_of_condition)
        for j, interval in enumerate(problems):
            own = coupling
            if not isinstance(own, Coupling):
                own = own[run.times[j]]
            if not (isinstance(own, BlockCoupling) and own.one_by_one):
                return None
            # Before anything is counted by its settings.
            own.check()
            stretch = partial(_pairs, data, run, j, condition=number)
            sources.append(Source(own, interval, stretch))
    if seconds_of(sources) < WORTH_STARTING:
        return None
    supply = BlockSupply(sources)
    _check_covered(data, supply.stretches(), by_condition)
    return supply


def _all_runs(
    data: Snapshots, seed: int, by_condition: bool, control: str | None, chains: bool = False
) -> Iterator[tuple[int, int, _Run]]:
    """Every run of every condition, with the number of the condition and a seed of its own."""
    least = data.n_times if chains else 2
    for number, name in enumerate(_names(data, by_condition)):
        rows = [np.arange(n) for n in data.sizes]
        if by_condition:
            rows = rows_by_condition(data, name, control)
        own_seed = subseed(seed, "condition", number)
        for run in _runs(data, rows):
            if len(run.times) >= least:
                yield number, own_seed, run


def condition_names(data: Snapshots) -> list[str]:
    """Names of the conditions, sorted: their numbers are the places in this list."""
    labels = np.concatenate(_labels(data))
    return np.unique(labels).tolist()


def _names(data: Snapshots, by_condition: bool) -> list[str]:
    # Without conditions all samples are of one, which has no name.
    return condition_names(data) if by_condition else [""]


def _labels(data: Snapshots) -> list[ndarray]:
    if data.conditions is None:
        raise ValueError(
            "the data have no conditions; give condition_key, or Snapshots(conditions=...)"
        )
    return [np.asarray(labels).astype(str) for labels in data.conditions]


def rows_by_condition(data: Snapshots, name: str, control: str | None) -> list[ndarray]:
    """Rows of one condition at every time; before its first time, those of the control."""
    labels = _labels(data)
    rows = [np.flatnonzero(at == name) for at in labels]
    # A control stands in for others, and not for itself.
    if control is None or name == control:
        return rows
    present = [len(own) > 0 for own in rows]
    first = present.index(True)
    stand_in = [np.flatnonzero(at == control) for at in labels[:first]]
    return stand_in + rows[first:]


def _runs(data: Snapshots, rows: list[ndarray]) -> Iterator[_Run]:
    """Maximal runs of consecutive times at which a condition has samples that weigh something."""
    times: list[int] = []
    share: list[float] = []
    for k in range(data.n_times):
        weights = data.weights_at(data.times[k])
        own = weights[rows[k]]
        weight = float(own.sum())
        if weight > 0:
            times.append(k)
            # By number and not by weight: a condition of little mass is learned as well.
            n_own = np.count_nonzero(own)
            share.append(n_own / len(weights))
        elif times:
            yield _Run(times, [rows[j] for j in times], share)
            times = []
            share = []
    if times:
        yield _Run(times, [rows[j] for j in times], share)


def _plans(
    data: Snapshots,
    samples: list[ndarray],
    run: _Run,
    coupling: Coupling | Sequence[Coupling],
    seed: int,
) -> list[Plan]:
    """Plan of every interval of a run, rows in the numbering of the run."""
    states, part = _samples_of(data, samples, run)
    if isinstance(coupling, Coupling):
        return coupling.plans(part, states, seed)
    plans = []
    problems = intervals(part, states, seed)
    # There is one time more than intervals.
    for k, interval in zip(run.times, problems, strict=False):
        plan = coupling[k].plan(*interval.arguments)
        plans.append(plan)
    return plans


def _samples_of(data: Snapshots, samples: Sequence[Any], run: _Run) -> tuple[list[Any], Snapshots]:
    """States of a run, and the snapshots that it is of."""
    sizes = [len(rows) for rows in run.rows]
    if sizes == list(data.sizes):
        return list(samples), data
    states = []
    for k, rows in zip(run.times, run.rows, strict=True):
        states.append(samples[k][rows])
    return states, _part(data, run.rows, run.times)


def _pairs(data: Snapshots, run: _Run, j: int, plan: Plan, condition: int) -> Stretch:
    """Coupled rows of the plan of interval ``j`` of a run."""
    rows_before, rows_after = _numbered(data, run)[j : j + 2]
    k = run.times[j]
    source = rows_before[plan.source]
    target = rows_after[plan.target]
    # Shares of a condition differ between times; its pairs are drawn by the mean.
    share_before, share_after = run.share[j : j + 2]
    share = 0.5 * (share_before + share_after)
    log_mass = log_masses(data)
    log_source = plan.log_source + log_mass[k]
    after = log_mass[k + 1]
    log_target = plan.log_target + after
    return Stretch(
        interval=k,
        rows=np.stack([source, target], 1),
        mass=share * plan.mass,
        log_weights=np.stack([log_source, log_target], 1),
        condition=condition,
    )


def _chains(data: Snapshots, run: _Run, plans: list[Plan], condition: int, seed: int) -> Stretch:
    sizes = [len(rows) for rows in run.rows]
    n = max(LEAST_CHAINS, 2 * max(sizes))
    chains = sample_weighted_chains(plans, sizes, n, seed)
    columns = []
    numbered = _numbered(data, run)
    for rows, own in zip(numbered, chains.rows.T, strict=True):
        columns.append(rows[own])
    return Stretch(
        interval=0,
        rows=np.stack(columns, 1),
        mass=np.full(n, run.share[0] / n),
        log_weights=chains.log_weights + log_masses(data),
        condition=condition,
    )


def _numbered(data: Snapshots, run: _Run) -> list[ndarray]:
    """Rows of a run, numbered over all snapshots together."""
    offsets = np.append(0, np.cumsum(data.sizes))
    numbered = []
    for k, rows in zip(run.times, run.rows, strict=True):
        numbered.append(rows + offsets[k])
    return numbered


def log_masses(data: Snapshots) -> ndarray:
    """Log-masses ``(K,)`` relative to their mean, which keeps the size of a loss; or zeros."""
    if data.masses is None:
        return np.zeros(data.n_times)
    relative = data.masses / data.masses.mean()
    return np.log(relative)


def _part(data: Snapshots, rows: list[ndarray], times: list[int]) -> Snapshots:
    """Snapshots of some rows at some times; there is one array of rows for each of the times."""

    def pick(values: Any) -> Any:
        if values is None:
            return None
        picked = []
        for k, own in zip(times, rows, strict=True):
            column = np.asarray(values[k])
            picked.append(column[own])
        return tuple(picked)

    masses = data.masses
    if masses is not None:
        masses = masses[times]
    return Snapshots(
        times=data.times[times],
        samples=pick(data.samples),
        masses=masses,
        weights=pick(data.weights),
        conditions=pick(data.conditions),
        growth=pick(data.growth),
        names=pick(data.names),
    )


def _check_covered(
    data: Snapshots, stretches: list[Stretch], by_condition: bool, chains: bool = False
) -> None:
    """Warn of conditions without pairs; a ValueError where nothing crosses an interval."""
    learned = {stretch.condition for stretch in stretches}
    for number, name in enumerate(_names(data, by_condition)):
        if number not in learned:
            where = "not at every time" if chains else "at no two neighbouring times"
            warn(
                f"condition {brief(name)} has samples {where} and is not learned from; "
                "name a control whose samples stand in at earlier times",
            )
    if chains:
        if not stretches:
            raise ValueError(
                "curves through all times (interpolant='spline', interpolation='cubic') need a "
                "condition that has samples at every time; there is none"
            )
        return
    covered = {stretch.interval for stretch in stretches}
    times = spelled(data.times)
    for k in range(data.n_times - 1):
        if k not in covered:
            raise ValueError(
                f"no condition has samples at both time {times[k]} and time {times[k + 1]}; "
                "name a control whose samples stand in at earlier times"
            )
