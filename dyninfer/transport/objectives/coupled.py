"""Coupled samples of neighbouring snapshots, or chains through all of them, drawn in batches and by condition."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.conditions import ConditionCode
from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import Coupling, Plan, sample_weighted_chains
from dyninfer.transport.curves.base import log_masses, placer


class Ends(NamedTuple):
    """What a batch of coupled samples brings; every entry has ``n`` rows."""

    knots: Tensor  # (n, 2, d) both ends in scaled units, or (n, K, d) the whole chain
    log_start: Tensor | None  # (n,) log-weight at the snapshot before; None where all are one
    log_end: Tensor | None
    code: Tensor | None  # (n, m) the condition


class Stretch(NamedTuple):
    """Coupled rows over one interval (or, for chains, over all) under one condition."""

    interval: int
    rows: np.ndarray  # (p, 2) or (p, K), numbered over all snapshots together
    mass: np.ndarray  # (p,)
    log_weights: np.ndarray  # of the shape of the rows
    condition: int


class CoupledSamples:
    """All coupled samples in device memory; plans are solved once, within each condition.

    Parameters
    ----------
    data : Snapshots
    scaling : Scaling
    coupling : Coupling
    chains : bool
        Whether chains through all snapshots are drawn, rather than pairs of neighbours.
    seed : int
    device, dtype
    code : ConditionCode, optional
        Code of the conditions of ``data``; None leaves them unread.
    control : str, optional
        Condition whose samples stand in at the times before another condition first appears.
    """

    def __init__(
        self,
        data: Snapshots,
        scaling: Scaling,
        coupling: Coupling,
        chains: bool,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        code: ConditionCode | None = None,
        control: str | None = None,
    ):
        put = placer(device, dtype)
        labels = _labels(data) if code is not None else [np.zeros(n, np.int64) for n in data.sizes]
        names = sorted(set(np.concatenate(labels).tolist()))
        samples = [scaling.states(s) for s in data.samples]
        parts = []
        for number, name in enumerate(names):
            rows = _rows_of(labels, name, control if name != control else None)
            parts += list(_stretches(data, samples, rows, coupling, chains, seed, number))
            if not any(part.condition == number for part in parts):
                warnings.warn(
                    f"condition {name!r} has samples at no two neighbouring times and is not learned from; "
                    "name a control whose samples stand in at earlier times",
                    stacklevel=2,
                )
        _check_covered(data, parts, chains)
        parts.sort(key=lambda part: part.interval)
        self.chains = chains
        self.states = put(np.concatenate(samples))
        self.rows = torch.as_tensor(np.concatenate([p.rows for p in parts]), device=device)
        # Interval k owns the stretch (k, k + 1] of one long cumulative sum, so one search serves all intervals.
        self.cumulative = torch.as_tensor(_cumulative(parts), device=device)
        log_weights, self.log_mass = (
            np.concatenate([p.log_weights for p in parts]),
            put(log_masses(data)),
        )
        self.weighted = bool(log_weights.any() or self.log_mass.any())
        self.log_weights = put(log_weights)
        self.codes = None if code is None else put(code.encode(names))
        self.condition = torch.as_tensor(
            np.repeat([p.condition for p in parts], [len(p.mass) for p in parts]), device=device
        )

    def pick(self, interval: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw by mass for the intervals ``(n,)``: numbers of the coupled samples ``(n,)`` and their rows ``(n, 2)`` or ``(n, K)``."""
        u = torch.rand(
            len(interval), generator=generator, device=interval.device, dtype=torch.float64
        )
        level = u if self.chains else interval + u
        pick = torch.searchsorted(self.cumulative, level).clamp_(max=len(self.rows) - 1)
        return pick, self.rows[pick]

    def draw(self, interval: Tensor, generator: torch.Generator) -> Ends:
        """Coupled samples for the intervals ``(n,)``."""
        pick, rows = self.pick(interval, generator)
        knots = self.states[rows]
        code = None if self.codes is None else self.codes[self.condition[pick]]
        if not self.weighted:
            return Ends(knots, None, None, code)
        first = interval if self.chains else torch.zeros_like(interval)
        start = self.log_weights[pick, first] + self.log_mass[interval]
        return Ends(
            knots, start, self.log_weights[pick, first + 1] + self.log_mass[interval + 1], code
        )


def keep_apart(data: Snapshots, fraction: float, seed: int) -> tuple[Snapshots, Snapshots | None]:
    """Split samples off for validation; within each condition, or nothing where a condition has fewer than ten anywhere."""
    if not fraction:
        return data, None
    if data.conditions is None:
        return data.split(fraction, seed)
    labels, rng = _labels(data), np.random.default_rng(seed)
    held: list[np.ndarray] = []
    for at in labels:
        rows = [np.flatnonzero(at == name) for name in np.unique(at)]
        if min(map(len, rows)) < 10:
            return data, None
        held.append(
            np.concatenate([rng.permutation(r)[: max(2, round(len(r) * fraction))] for r in rows])
        )
    kept = [np.setdiff1d(np.arange(n), rows) for n, rows in zip(data.sizes, held, strict=True)]
    every = list(range(data.n_times))
    return _part(data, kept, every), _part(data, [np.sort(rows) for rows in held], every)


def _labels(data: Snapshots) -> list[np.ndarray]:
    if data.conditions is None:
        raise ValueError(
            "the data have no conditions; give condition_key, or Snapshots(conditions=...)"
        )
    return [np.asarray(labels).astype(str) for labels in data.conditions]


def _rows_of(labels: list[np.ndarray], name: Any, control: str | None) -> list[np.ndarray]:
    """Rows of one condition at every time; before its first time, those of the control."""
    rows = [np.flatnonzero(at == name) for at in labels]
    first = next(k for k, found in enumerate(rows) if len(found))
    if control is not None:
        rows[:first] = [np.flatnonzero(at == control) for at in labels[:first]]
    return rows


def _stretches(
    data: Snapshots,
    samples: list[np.ndarray],
    rows: list[np.ndarray],
    coupling: Coupling,
    chains: bool,
    seed: int,
    condition: int,
) -> Iterator[Stretch]:
    """Couple one condition over every run of times at which it has samples."""
    offsets = np.concatenate([[0], np.cumsum(data.sizes)])
    share = [float(data.weights_at(t)[r].sum()) for t, r in zip(data.times, rows, strict=True)]
    for run in _runs([len(r) > 0 and s > 0 for r, s in zip(rows, share, strict=True)]):
        if len(run) < 2 or (chains and len(run) < data.n_times):
            continue
        everything = all(len(rows[k]) == data.sizes[k] for k in run)
        part = data if everything and len(run) == data.n_times else _part(data, rows, run)
        plans = coupling.plans(part, [samples[k][rows[k]] for k in run], seed)
        numbered = [rows[k] + offsets[k] for k in run]
        if chains:
            yield _chain(share[0], plans, numbered, seed, condition)
            continue
        for k, plan, source, target in zip(
            run[:-1], plans, numbered[:-1], numbered[1:], strict=True
        ):
            pairs = np.stack([source[plan.source], target[plan.target]], 1)
            mass = plan.mass * (share[k] + share[k + 1]) / 2
            yield Stretch(
                k, pairs, mass, np.stack([plan.log_source, plan.log_target], 1), condition
            )


def _chain(
    share: float, plans: list[Plan], numbered: list[np.ndarray], seed: int, condition: int
) -> Stretch:
    sizes = [len(rows) for rows in numbered]
    chains = sample_weighted_chains(plans, sizes, max(8192, 2 * max(sizes)), seed + 1)
    rows = np.stack([found[chains.rows[:, k]] for k, found in enumerate(numbered)], 1)
    return Stretch(0, rows, np.full(len(rows), share / len(rows)), chains.log_weights, condition)


def _runs(present: list[bool]) -> list[list[int]]:
    """Maximal runs of consecutive indices that are present."""
    runs: list[list[int]] = [[]]
    for k, here in enumerate(present):
        if here:
            runs[-1].append(k)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _part(data: Snapshots, rows: list[np.ndarray], run: list[int]) -> Snapshots:
    def pick(values: Any) -> Any:
        return None if values is None else tuple(np.asarray(values[k])[rows[k]] for k in run)

    return Snapshots(
        times=data.times[run],
        samples=pick(data.samples),
        masses=None if data.masses is None else data.masses[run],
        weights=pick(data.weights),
        conditions=pick(data.conditions),
        names=pick(data.names),
    )


def _check_covered(data: Snapshots, parts: list[Stretch], chains: bool) -> None:
    if chains and not parts:
        raise ValueError(
            "interpolant='spline' needs a condition that has samples at every time; there is none"
        )
    if not chains:
        found = {part.interval for part in parts}
        for k in range(data.n_times - 1):
            if k not in found:
                raise ValueError(
                    f"no condition has samples at both time {data.times[k]:g} and time {data.times[k + 1]:g}; "
                    "name a control whose samples stand in at earlier times"
                )


def _cumulative(parts: list[Stretch]) -> np.ndarray:
    """Cumulative mass, that of interval k rising from k to k + 1."""
    found = []
    for k in sorted({part.interval for part in parts}):
        mass = np.concatenate([part.mass for part in parts if part.interval == k])
        found.append(k + np.cumsum(mass) / mass.sum())
    return np.concatenate(found)


def check_standard_normal(data: Snapshots) -> None:
    """Raise a ValueError if the first snapshot is no standard normal sample."""
    first = data.samples[0]
    mean, std, slack = first.mean(0), first.std(0), 6 / len(first) ** 0.5
    if np.abs(mean).max() > slack or np.abs(std - 1).max() > slack:
        raise ValueError(
            f"a one-sided interpolant starts from a standard normal sample, but at time {data.times[0]:g} the means reach "
            f"{np.abs(mean).max():.3g} and the standard deviations lie in [{std.min():.3g}, {std.max():.3g}]"
        )
