"""Likelihood of dwell times: the law of either class, and the products of a record."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.jumps.dwell.product import Chains
from dyninfer.jumps.dwell.records import DwellTimes
from dyninfer.jumps.dwell.survivor import Ages, Survivor, embedded
from dyninfer.jumps.process.chain import identity


class ApparentLaw:
    """Apparent dwell times of a generator ``(S, S)``, which may carry a slope.

    Parameters
    ----------
    generator : Tensor, ``(S, S)`` float64
        Every state can be reached from every other one.
    is_open : Tensor, ``(S,)`` bool
        Some are open, and some are not.
    dead_time : float
        In the unit of the generator.
    """

    def __init__(self, generator: Tensor, is_open: Tensor, dead_time: float):
        self.open = Survivor(generator, is_open, dead_time)
        self.shut = Survivor(generator, ~is_open, dead_time)

    @property
    def n_pieces(self) -> int:
        """Nodes that these rates need, and 0 where they are too fast for any."""
        return self.open.n_pieces

    def survivor(self, is_open: bool) -> Survivor:
        """Law of open or of shut times."""
        return self.open if is_open else self.shut

    @cached_property
    def open_entry(self) -> Tensor:
        """Distribution ``(a,)`` of the state in which an open time is resolved."""
        cycle = self.open.passage @ self.shut.passage
        ones = cycle.new_ones(len(cycle))
        singular = identity(cycle) - cycle
        # The stationary row of a stochastic matrix; adding ones says that it sums to one.
        return torch.linalg.solve(singular.T + ones, ones)

    @cached_property
    def shut_entry(self) -> Tensor:
        """Distribution ``(f,)`` of the state in which a shut time is resolved."""
        return self.open_entry @ self.open.passage

    def entry(self, is_open: bool) -> Tensor:
        """Distribution of the state in which a dwell time of a class is resolved."""
        return self.open_entry if is_open else self.shut_entry


class ClassRows(NamedTuple):
    """The dwell times of one class among those of all records."""

    rows: Tensor  # (m,) int64, places in the pile
    distinct: ndarray  # (k,), ages that differ
    place: Tensor  # (m,) int64, of the age of each among those
    is_complete: Tensor  # (m,) bool


class DwellData:
    """Dwell times made ready for many likelihoods.

    Parameters
    ----------
    dwell_times : DwellTimes
        The records.
    """

    def __init__(self, dwell_times: DwellTimes):
        self.dead_time = dwell_times.dead_time
        self.first_open = torch.from_numpy(np.array(dwell_times.first_open))
        self.n_dwells = dwell_times.n_dwells
        lengths = np.array([len(record) for record in dwell_times.durations])
        self.chains = Chains.of(lengths)
        is_complete = np.ones(self.n_dwells, dtype=bool)
        last = np.cumsum(lengths) - 1
        is_complete[last] = dwell_times.last_complete
        durations = np.concatenate(dwell_times.durations)
        ages = np.maximum(durations - self.dead_time, 0.0)
        is_open = np.concatenate(list(dwell_times.classes()))
        self.classes = {
            kind: _rows_of(is_open == kind, ages, is_complete) for kind in (True, False)
        }
        self._ages: dict[tuple[bool, int], Ages] = {}

    def log_likelihoods(self, law: ApparentLaw) -> Tensor:
        """Log-likelihood of every record ``(record,)``."""
        is_open = law.open.own
        n_states = len(is_open)
        pile = law.open.generator.new_zeros(self.n_dwells, n_states, n_states)
        for kind, part in self.classes.items():
            matrices = self._matrices(law, kind, part)
            pile = pile.index_copy(0, part.rows, matrices)
        begins_open = law.open_entry @ _unit_rows(is_open, pile[0])
        begins_shut = law.shut_entry @ _unit_rows(~is_open, pile[0])
        initial = torch.where(self.first_open[:, None], begins_open, begins_shut)
        return self.chains.log_product(initial, pile)

    def _matrices(self, law: ApparentLaw, kind: bool, part: ClassRows) -> Tensor:
        """Densities ``(m, S, S)`` of complete dwell times, survivors of those cut off."""
        survivor = law.survivor(kind)
        own = survivor.own
        survival = survivor.at(self._ages_of(kind, law.n_pieces))
        density = embedded(survival @ survivor.exit, own, ~own)
        alive = embedded(survival, own, own)
        is_complete = part.is_complete[:, None, None]
        return torch.where(is_complete, density[part.place], alive[part.place])

    def _ages_of(self, kind: bool, n_pieces: int) -> Ages:
        key = kind, n_pieces
        if key not in self._ages:
            distinct = self.classes[kind].distinct
            self._ages[key] = Ages.of(distinct, self.dead_time, n_pieces)
        return self._ages[key]


def _rows_of(chosen: ndarray, ages: ndarray, is_complete: ndarray) -> ClassRows:
    (rows,) = chosen.nonzero()
    # Sampled records hold few ages that differ.
    distinct, place = np.unique(ages[rows], return_inverse=True)
    return ClassRows(
        rows=torch.from_numpy(rows),
        distinct=distinct,
        place=torch.from_numpy(place),
        is_complete=torch.from_numpy(is_complete[rows]),
    )


def _unit_rows(mask: Tensor, like: Tensor) -> Tensor:
    """Rows of the unit matrix ``(k, S)`` at a mask."""
    return identity(like)[mask]
