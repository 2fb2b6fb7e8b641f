"""Coupled samples in device memory, drawn in batches: the data of every transport objective."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Generator, Tensor

from dyninfer.data.conditions import ConditionCode
from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings.base import Coupling
from dyninfer.transport.couplings.folds import Folds, fold_numbers, folds_of
from dyninfer.transport.couplings.plan import NOTHING
from dyninfer.transport.couplings.states import ScaledRows, StateTable
from dyninfer.transport.couplings.stretches import (
    Stretch,
    condition_names,
    couple_all,
    log_masses,
    supply_of_blocks,
)
from dyninfer.transport.couplings.supply import BlockSupply


class Coupled(NamedTuple):
    """Coupled samples of a batch, in scaled units; every entry has ``n`` rows."""

    interval: Tensor  # (n,) index of the interval
    knots: Tensor  # (n, 2, d) both ends of the interval, or (n, K, d) the whole chain
    log_start: Tensor  # (n,) log-weight at the snapshot before; zeros where all weigh one
    log_end: Tensor  # (n,) the same at the snapshot after
    code: Tensor | None  # (n, m) the condition

    @property
    def source(self) -> Tensor:
        """First sample ``(n, d)`` of every pair."""
        return self.knots[:, 0]

    @property
    def target(self) -> Tensor:
        """Last sample ``(n, d)`` of every pair."""
        return self.knots[:, -1]

    def twice(self, n: int) -> Coupled:
        """Every row a second time, after all of the first; ``n`` rows of these."""

        def doubled(values: Tensor) -> Tensor:
            return torch.cat([values, values])[:n]

        return Coupled(
            interval=doubled(self.interval),
            knots=doubled(self.knots),
            log_start=doubled(self.log_start),
            log_end=doubled(self.log_end),
            code=None if self.code is None else doubled(self.code),
        )


class FirstSnapshot(NamedTuple):
    """Cells that weigh something at the first time at which they are learned from."""

    time: int  # its index
    states: Tensor  # (n, d)
    weights: Tensor  # (n,)


class CoupledSamples:
    """All coupled samples: pairs of neighbouring snapshots, or chains through all of them.

    Plans are solved once, or, with ``in_turn``, block by block while training goes on. Drawn by
    their mass and weighted by ``exp(log_start)`` or ``exp(log_end)``, the coupled samples of an
    interval reproduce the snapshot before or after it, with its mass where masses are given.

    Parameters
    ----------
    data : Snapshots
    scaling : Scaling
    coupling : Coupling, or one for every interval
    seed : int
    device, dtype
        Where the samples are kept, and how.
    chains : bool
        Whether chains through all snapshots are drawn, rather than pairs of neighbours.
    code : ConditionCode, optional
        Code of the conditions of ``data``, within which samples are coupled; None leaves the
        conditions unread.
    control : str, optional
        Condition whose samples stand in at the times before another condition first appears.
    in_turn : bool
        Whether large plans may be solved block by block, as :meth:`reach` is told of steps.
    """

    def __init__(
        self,
        data: Snapshots,
        scaling: Scaling,
        coupling: Coupling | Sequence[Coupling],
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        *,
        chains: bool = False,
        code: ConditionCode | None = None,
        control: str | None = None,
        in_turn: bool = False,
    ):
        to_device = placer(device, dtype)
        samples = [ScaledRows(sample, scaling) for sample in data.samples]
        self.table = StateTable(samples, to_device)
        options: dict[str, Any] = {"by_condition": code is not None, "control": control}
        self.supply: BlockSupply | None = None
        self.with_held_out = True
        # All that draw from the supply: these samples, and those of them that are learned from.
        self.drawers = [self]
        # Chains go through the plans of all intervals.
        if in_turn and not chains:
            self.supply = supply_of_blocks(data, samples, coupling, seed, **options)
        if self.supply is None:
            states = self.table.hold_all()
            stretches = couple_all(data, states, coupling, seed, chains=chains, **options)
        else:
            stretches = self.supply.stretches()
        self.chains = chains
        self.times = to_device(scaling.times(data.times))
        self.inner_times = self.times[1:-1].contiguous()
        self.log_mass = to_device(log_masses(data))
        self.codes: Tensor | None = None
        if code is not None:
            names = condition_names(data)
            self.codes = to_device(code.encode(names))
        self._take(stretches)

    @property
    def states(self) -> Tensor:
        """Scaled states of the cells that are held; :attr:`places` says where each stands."""
        return self.table.states

    def _take(self, stretches: list[Stretch]) -> None:
        """Draw from these coupled rows from now on."""
        device = self.states.device
        # The rows of an interval stand together, of all conditions and blocks.
        stretches = sorted(stretches, key=lambda stretch: stretch.interval)
        sizes = [len(stretch.mass) for stretch in stretches]
        rows = np.concatenate([stretch.rows for stretch in stretches])
        self.rows = torch.as_tensor(rows, device=device)
        self.places = torch.as_tensor(self.table.places(rows), device=device)
        log_weights = np.concatenate([stretch.log_weights for stretch in stretches])
        self.weighted = bool(log_weights.any())
        self.log_weights = placer(device, self.states.dtype)(log_weights)
        numbers = np.arange(len(stretches))
        self.stretch = np.repeat(numbers, sizes)
        intervals = [stretch.interval for stretch in stretches]
        self.intervals = np.array(intervals)
        masses = [stretch.mass for stretch in stretches]
        self._weigh(np.concatenate(masses))
        conditions = [stretch.condition for stretch in stretches]
        repeated = np.repeat(conditions, sizes)
        self.condition = torch.as_tensor(repeated, device=device)

    def reach(self, step: int) -> None:
        """Solve the blocks that the steps up to this one pay for, and draw from them too."""
        supply = self.supply
        if supply is None or not supply.reach(step):
            return
        for samples in self.drawers:
            stretches = supply.stretches(with_held_out=samples.with_held_out)
            samples._take(stretches)

    def interval(self, t: Tensor) -> Tensor:
        """Index of the interval that each of the scaled times ``(n,)`` lies in."""
        return torch.searchsorted(self.inner_times, t, right=True)

    def span(self, interval: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled time at which each interval ``(n,)`` begins, and its length."""
        start = self.times[interval]
        end = self.times[interval + 1]
        return start, end - start

    def pick(self, interval: Tensor, generator: Generator) -> Tensor:
        """Draw numbers of coupled samples ``(n,)`` for the intervals ``(n,)``, by mass."""
        # Double precision: single tells no more than 16 million pairs apart.
        level = torch.rand(
            len(interval),
            generator=generator,
            device=interval.device,
            dtype=torch.float64,
        )
        if not self.chains:
            level = level + interval
        pick = torch.searchsorted(self.cumulative, level)
        # The sum ends at one but for rounding.
        last = len(self.rows) - 1
        return pick.clamp_(max=last)

    def draw(self, interval: Tensor, generator: Generator) -> Coupled:
        """Draw coupled samples for the intervals ``(n,)``."""
        pick = self.pick(interval, generator)
        places = self.places[pick]
        knots = self.states[places]
        code = None
        if self.codes is not None:
            code = self.codes[self.condition[pick]]
        if not self.weighted:
            zero = self.states.new_zeros(len(interval))
            return Coupled(interval, knots, zero, zero, code)
        # A chain has a weight at every time, a pair at two.
        before = interval if self.chains else torch.zeros_like(interval)
        after = before + 1
        return Coupled(
            interval=interval,
            knots=knots,
            log_start=self.log_weights[pick, before],
            log_end=self.log_weights[pick, after],
            code=code,
        )

    def pairs_in(self, k: int) -> tuple[Coupled, Tensor]:
        """All pairs of interval ``k``, and their mass, summing to one."""
        first = sum(self.counts[:k])
        last = first + self.counts[k]
        inside = slice(first, last)
        interval = torch.full_like(self.condition[inside], k)
        places = self.places[inside]
        knots = self.states[places]
        log_start, log_end = self.log_weights[inside].unbind(1)
        pairs = Coupled(interval, knots, log_start, log_end, code=None)
        return pairs, self.mass[inside]

    def first_snapshot(self, condition: int | None = None) -> FirstSnapshot:
        """Cells of the first snapshot, or of the first that a condition is learned from.

        Mass that is created in place on the way is not among them.

        Parameters
        ----------
        condition : int, optional
            Its number among the sorted names; by default all conditions are taken together.
        """
        intervals = self.intervals[self.stretch]
        own = np.full(len(intervals), True)
        if condition is not None:
            own = self.condition.cpu().numpy() == condition
        first = int(intervals[own].min(initial=len(self.times)))
        is_first = own & (intervals == first)
        inside = torch.as_tensor(is_first, device=self.rows.device)
        gain = self.log_weights[inside, 0].exp()
        carried = self.mass[inside] * gain
        first_rows = self.rows[inside, 0]
        # By row: places follow the order in which blocks came, which a resumed run has not.
        cells, number = first_rows.unique(return_inverse=True)
        places = torch.zeros_like(cells).scatter(0, number, self.places[inside, 0])
        zeros = carried.new_zeros(len(cells))
        weight = zeros.index_add(0, number, carried)
        has_weight = weight > 0
        states = self.states[places[has_weight]]
        return FirstSnapshot(first, states, weight[has_weight])

    def folds(self, fraction: float, seed: int) -> Folds[CoupledSamples]:
        """Hold pairs of the plan out, all of a cell together; see :func:`fold_numbers`."""
        if self.supply is not None:
            return self._folds_of_supply(self.supply, fraction)
        rows = self.rows.cpu().numpy()
        groups = []
        for number in range(len(self.intervals)):
            own = rows[self.stretch == number]
            # By the side with more cells: of a single cell, all pairs would be one group.
            n_cells = [len(np.unique(column)) for column in own.T]
            richest = np.argmax(n_cells)
            groups.append(own[:, richest])
        intervals = self.intervals.tolist()
        numbers, share = fold_numbers(groups, intervals, fraction, seed)
        return folds_of(self, numbers, share, self._part)

    def _folds_of_supply(self, supply: BlockSupply, fraction: float) -> Folds[CoupledSamples]:
        """Hold blocks of their own out, so that no sample is on both sides."""
        if not fraction:
            return Folds(self, [], 0.0)
        share = supply.hold_out(fraction)
        training = copy.copy(self)
        training.with_held_out = False
        self.drawers.append(training)
        training._take(supply.stretches(with_held_out=False))
        validation = copy.copy(self)
        # Always the same, or its values could not be compared.
        validation.supply = None
        validation._take(supply.held_out())
        self._take(supply.stretches())
        return Folds(self, [(training, validation)], share)

    def _part(self, mask: ndarray) -> CoupledSamples:
        """Some of the coupled samples, by a mask ``(rows,)``; they have the whole mass."""
        part = copy.copy(self)
        inside = torch.as_tensor(mask, device=self.rows.device)
        part.rows = self.rows[inside]
        part.places = self.places[inside]
        part.log_weights = self.log_weights[inside]
        part.condition = self.condition[inside]
        part.stretch = self.stretch[mask]
        part._weigh(self.pair_mass[mask])
        return part

    def _weigh(self, pair_mass: ndarray) -> None:
        """Set the masses ``(rows,)`` by which coupled samples are drawn, one in every interval."""
        self.pair_mass = pair_mass
        own_interval = self.intervals[self.stretch]
        masses = []
        for k in np.unique(own_interval):
            own = pair_mass[own_interval == k]
            masses.append(own / own.sum())
        cumulative = cumulative_sums(masses)
        self.cumulative = torch.as_tensor(cumulative, device=self.states.device)
        joined = np.concatenate(masses)
        self.mass = torch.as_tensor(joined).to(self.states)
        self.counts = [len(mass) for mass in masses]

    def mass_in_place(self) -> tuple[int, float]:
        """Interval in which the largest share of the mass is destroyed or created in place."""
        shares = []
        for k in range(len(self.counts)):
            pairs, mass = self.pairs_in(k)
            start = mass * pairs.log_start.exp()
            end = mass * pairs.log_end.exp()
            destroyed = _share_without(start, pairs.log_end)
            created = _share_without(end, pairs.log_start)
            shares.append(max(destroyed, created))
        worst = int(np.argmax(shares))
        return worst, shares[worst]


def placer(device: torch.device, dtype: torch.dtype) -> Callable[[ndarray], Tensor]:
    """Return what puts arrays on a device, in a dtype."""

    def to_device(array: ndarray) -> Tensor:
        tensor = torch.as_tensor(np.asarray(array), device=device)
        return tensor.to(dtype)

    return to_device


def cumulative_sums(distributions: Sequence[ndarray]) -> ndarray:
    """Cumulative sums of several distributions in one array, so that one search serves all.

    The k-th of them owns the stretch from ``k`` to ``k + 1``.
    """
    sums = []
    for k, masses in enumerate(distributions):
        own = np.cumsum(masses)
        sums.append(k + own)
    return np.concatenate(sums)


def check_conserved(weighted: bool) -> None:
    """Raise a ValueError where coupled samples change their mass although the model cannot."""
    # The loss would have no least value.
    if weighted:
        raise ValueError(
            "the coupling changes the mass of pairs, but this model conserves mass; use "
            "coupling='ot', or let mass grow (growth_penalty, or an UnbalancedTransport)"
        )


def _share_without(mass: Tensor, log_other: Tensor) -> float:
    """Share of the mass at one end of pairs that have nothing at the other."""
    alone = mass[log_other < NOTHING / 2]
    return float(alone.sum() / mass.sum())
