"""Every jump of jump processes, all paths at once, by Gillespie's direct method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dyninfer.jumps.alias import alias_tables
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.chain import off_diagonal
from dyninfer.jumps.starting import Start
from dyninfer.learning.random import stream
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver

_LOOK_EVERY = 8  # jumps between two looks at which paths have ended: each look waits for the device


@dataclass(kw_only=True, repr=False, eq=False)
class Gillespie(Solver):
    """Every jump in turn (Gillespie's direct method), read at the output times.

    Exact. The cost grows with the number of jumps, not of output times, so this is the faster one
    where outputs are many and jumps few; :func:`~dyninfer.jumps.gillespie.simulate_events` returns
    the jumps themselves.
    """

    spelling: ClassVar[str] = "gillespie"
    can_run: ClassVar[frozenset[Kind]] = frozenset({Kind.JUMPS})

    def draw(
        self, process: MarkovJump, start: Start, times: Tensor, seed: int, chunk_size: int | None
    ) -> Tensor:
        """Draw states ``(..., n, time)`` int64 at increasing times."""
        if chunk_size is not None:
            raise ValueError(
                f"chunk_size={chunk_size} cannot be used: Gillespie() draws all paths together; "
                "leave it out, or use Skeleton()"
            )
        first, last = float(times[0]), float(times[-1])
        generator = stream(seed, "events", device=process.generator.device)
        if first == last:
            # No time passes in which anything could jump.
            states = _first_states(process, start, generator)
            return states.reshape(*process.batch_shape, start.n_paths, 1)
        return _draw_events(process, start, first, last, generator).at(times)


@dataclass(frozen=True, eq=False)
class JumpEvents:
    """Every visit of simulated paths, padded to the path with the most jumps.

    Attributes
    ----------
    times : Tensor, ``(..., path, visit)`` float64
        When each visit began, the first at ``start``; inf past the last visit.
    states : Tensor, ``(..., path, visit)`` int64
        State visited; past the last visit that of the last one.
    start, stop : float
        The simulated span of time.
    """

    times: Tensor
    states: Tensor
    start: float
    stop: float

    @property
    def n_jumps(self) -> Tensor:
        """Jumps of each path ``(..., path)``."""
        return self.times.isfinite().sum(-1) - 1

    def at(self, times: Any) -> Tensor:
        """States ``(..., path, time)`` at times within the span."""
        times = torch.as_tensor(times, dtype=torch.float64, device=self.times.device)
        if not bool(((times >= self.start) & (times <= self.stop)).all()):
            raise ValueError(
                f"times must lie within the simulated span {self.start:g} to {self.stop:g}"
            )
        times = times.expand(*self.times.shape[:-1], len(times)).contiguous()
        visit = torch.searchsorted(self.times.contiguous(), times, right=True) - 1
        return self.states.gather(-1, visit)

    def occupation_times(self, n_states: int) -> Tensor:
        """Time that each path was in each state ``(..., path, S)``."""
        begins = self.times.clamp(max=self.stop)
        last = torch.full_like(begins[..., :1], self.stop)
        # A visit ends when the next begins; padding is visited for no time.
        dwell_times = torch.cat([begins, last], dim=-1).diff(dim=-1)
        shape = *self.states.shape[:-1], n_states
        occupation = dwell_times.new_zeros(shape)
        return occupation.scatter_add(-1, self.states, dwell_times)


def simulate_events(
    process: MarkovJump, start: int | Any, stop: float, seed: int = 0, start_time: float = 0.0
) -> JumpEvents:
    """Simulate every jump up to a time, all paths at once (Gillespie's direct method).

    Parameters
    ----------
    process : MarkovJump
        One process, or a batch; where it is piecewise constant, waiting begins anew at every break,
        which changes nothing as waiting times have no memory.
    start : int or integer array ``(..., n)``
        Number of paths of each process, started from its distribution at ``start_time``; or the
        states that they start in.
    stop : float
        End of the simulation.
    seed : int
        Everything random derives from it.
    start_time : float
        Begin of the simulation.

    Raises
    ------
    ValueError
        If ``stop`` does not lie after ``start_time``.
    """
    if not start_time < stop < float("inf"):
        raise ValueError(
            f"stop must be a finite time after start_time = {start_time:g}, found {stop:g}"
        )
    with torch.no_grad():
        beginning = Start.of(process, start, start_time)
        generator = stream(seed, "events", device=process.generator.device)
        return _draw_events(process, beginning, start_time, float(stop), generator)


def _draw_events(
    process: MarkovJump, start: Start, begin: float, end: float, generator: torch.Generator
) -> JumpEvents:
    states = _first_states(process, start, generator)
    times = [torch.full_like(states, begin, dtype=torch.float64)]
    visited = [states]
    inner_breaks = [b for b in process.breaks.tolist() if begin < b < end]
    ends = [begin, *inner_breaks, end]
    for low, high in zip(ends[:-1], ends[1:], strict=True):
        q = process.at(low).generator.reshape(-1, process.n_states, process.n_states)
        moments, targets = _Period(q, low, high).run(visited[-1], generator)
        times += moments
        visited += targets
    all_times, all_states = torch.stack(times), torch.stack(visited)
    if inner_breaks:
        all_times, all_states = _without_inner_padding(all_times, all_states)
    is_visited = all_times.amin(1) < torch.inf
    most_visits = int(is_visited.sum())
    shape = *process.batch_shape, start.n_paths, most_visits
    return JumpEvents(
        times=all_times[:most_visits].T.reshape(shape),
        states=all_states[:most_visits].T.reshape(shape),
        start=begin,
        stop=end,
    )


def _first_states(process: MarkovJump, start: Start, generator: torch.Generator) -> Tensor:
    """First states ``(process · n,)``."""
    device = process.generator.device
    n_processes = process.batch_shape.numel()
    owner = torch.arange(n_processes, device=device).repeat_interleave(start.n_paths)
    u = torch.rand(len(owner), generator=generator, dtype=torch.float64, device=device)
    return start.first_states(slice(None), owner, u)


def _without_inner_padding(times: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """Move the padding ``(visit, path)`` that every period ended with behind all visits."""
    last = states[-1:]
    times, order = times.sort(dim=0, stable=True)
    states = states.gather(0, order)
    return times, torch.where(times < torch.inf, states, last)


class _Period:
    """One period of time with constant generators ``(process, S, S)``."""

    def __init__(self, q: Tensor, begin: float, end: float):
        self.begin, self.end = begin, end
        self.n_processes, self.size = q.shape[0], q.shape[-1]
        # A row for every state of every process.
        rates = off_diagonal(q).flatten(0, 1)
        self.mean_wait = 1 / rates.sum(-1)
        self.stay, self.other = alias_tables(rates)

    def run(self, states: Tensor, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
        """Times and states ``(path,)`` of visit after visit, from the first states.

        A path that has ended has the time inf and its last state.
        """
        here = states
        clock = torch.full_like(states, self.begin, dtype=torch.float64)
        never = torch.full_like(clock, torch.inf)
        first_row = self._first_rows(states)
        rows = None  # of the paths that are still going; None as long as all are
        times, visited = [], []
        while len(here):
            shape = 2, _LOOK_EVERY, len(here)
            u = torch.rand(shape, generator=generator, dtype=torch.float64, device=states.device)
            # Negative exponential waits, and places on the alias tables.
            waits, places = u[0].neg_().log1p_(), u[1].mul_(self.size)
            for wait, place in zip(waits, places, strict=True):
                row = here if first_row is None else first_row + here
                clock = clock - wait * self.mean_wait.index_select(0, row)
                is_going = clock < self.end
                target = self._target(row, place)
                clock = torch.where(is_going, clock, torch.inf)
                here = torch.where(is_going, target, here)
                # Of paths that have ended, the time is inf and the state the last one.
                times.append(_among_all(never, rows, clock))
                visited.append(_among_all(states, rows, here))
            remaining = is_going.nonzero()[:, 0]
            states = visited[-1]
            rows = remaining if rows is None else rows[remaining]
            here, clock = here[remaining], clock[remaining]
            if first_row is not None:
                first_row = first_row[remaining]
        return times, visited

    def _first_rows(self, states: Tensor) -> Tensor | None:
        """Row of state 0 of each path's process; None where there is one process."""
        if self.n_processes == 1:
            return None
        n_paths = len(states) // self.n_processes
        owner = torch.arange(len(states), device=states.device) // n_paths
        return owner * self.size

    def _target(self, row: Tensor, place: Tensor) -> Tensor:
        """State that is jumped to, by one uniform number ``place`` in ``[0, S)``."""
        column = place.long()
        cell = row * self.size + column
        # The fraction of the place decides between the column and its alias.
        stays = place - column < self.stay.index_select(0, cell)
        return torch.where(stays, column, self.other.index_select(0, cell))


def _among_all(values: Tensor, rows: Tensor | None, new: Tensor) -> Tensor:
    """Values of all paths, of which ``rows`` have new ones; None for all of them."""
    if rows is None:
        return new
    return values.index_copy(0, rows, new)
