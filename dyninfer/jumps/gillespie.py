"""Every jump of jump processes, all paths at once, by Gillespie's direct method."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from dyninfer.jumps.alias import alias_tables
from dyninfer.jumps.compiled.loading import can_run_on, compiled_module
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.chain import off_diagonal
from dyninfer.jumps.starting import Start
from dyninfer.learning.random import stream, uniforms
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver

# Visit after visit of every path (visit, path): when they began, and their states.
Visits = tuple[Tensor, Tensor]

_LOOK_EVERY = 8  # jumps between two looks at which paths have ended: each look waits for the device
_FIRST_BLOCKS, _MOST_BLOCKS = 2**7, 2**14  # of so many jumps drawn ahead for a path that is alone


@dataclass(kw_only=True, repr=False, eq=False)
class Gillespie(Solver):
    """Exact simulation of every jump (Gillespie's direct method), read at the output times.

    The cost grows with the number of jumps, not of output times, so this is faster with many
    outputs and few jumps; :func:`~dyninfer.jumps.gillespie.simulate_events` returns the jumps
    themselves.

    Examples
    --------
    >>> import dyninfer as di
    >>> gate = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]], state_names=["closed", "open"])
    >>> di.simulate(gate, None, [0, 1, 2], n_paths=5, solver=di.solvers.Gillespie()).states.shape
    torch.Size([5, 3])
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
        first = float(times[0])
        last = float(times[-1])
        generator = stream(seed, "events", device=process.generator.device)
        if first == last:
            # No time passes in which anything could jump.
            states = _first_states(process, start, generator)
            return states.reshape(*process.batch_shape, start.n_paths, 1)
        events = _draw_events(process, start, first, last, generator)
        return events.at(times)


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
        begins = self.times.contiguous()
        device = begins.device
        times = torch.as_tensor(times, dtype=torch.float64, device=device)
        has_started = times >= self.start
        is_before_stop = times <= self.stop
        is_within = has_started & is_before_stop
        if not bool(is_within.all()):
            raise ValueError(
                f"times must lie within the simulated span {self.start:g} to {self.stop:g}"
            )
        paths_shape = begins.shape[:-1]
        of_paths = times.expand(*paths_shape, -1).contiguous()
        n_begun = torch.searchsorted(begins, of_paths, right=True)
        return self.states.gather(-1, n_begun - 1)

    def occupation_times(self, n_states: int) -> Tensor:
        """Time that each path was in each state ``(..., path, S)``."""
        begins = self.times.clamp(max=self.stop)
        paths_shape = begins.shape[:-1]
        stop = begins.new_full((*paths_shape, 1), self.stop)
        # A visit ends when the next begins; padding is visited for no time.
        dwell_times = begins.diff(dim=-1, append=stop)
        occupation = begins.new_zeros(*paths_shape, n_states)
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
    first_states = _first_states(process, start, generator)
    first_times = torch.full_like(first_states, begin, dtype=torch.float64)
    visits = [(first_times.unsqueeze(0), first_states.unsqueeze(0))]
    blocks = _Blocks(generator)
    breaks = process.breaks.tolist()
    inner_breaks = [moment for moment in breaks if begin < moment < end]
    moments = [begin, *inner_breaks, end]
    for low, high in pairwise(moments):
        period = _Period(process.at(low), low, high)
        _, states = visits[-1]
        visits += period.run(states[-1], blocks)
    every_times, every_states = zip(*visits, strict=True)
    times = torch.cat(every_times)
    states = torch.cat(every_states)
    if inner_breaks:
        times, states = _without_inner_padding(times, states)
    is_visited = times.amin(1) < torch.inf
    most_visits = int(is_visited.sum())
    shape = *process.batch_shape, start.n_paths, most_visits
    return JumpEvents(
        times=times[:most_visits].T.reshape(shape),
        states=states[:most_visits].T.reshape(shape),
        start=begin,
        stop=end,
    )


def _first_states(process: MarkovJump, start: Start, generator: torch.Generator) -> Tensor:
    """First states ``(process · n,)``."""
    owner = start.owners(process)
    u = uniforms(generator, len(owner))
    return start.first_states(slice(None), owner, u)


def _without_inner_padding(times: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """Move the padding ``(visit, path)`` that every period ended with behind all visits."""
    last = states[-1]
    # Padding has the time inf.
    times, order = times.sort(dim=0, stable=True)
    ordered = states.gather(0, order)
    is_event = times < torch.inf
    states = torch.where(is_event, ordered, last)
    return times, states


class _Blocks:
    """Uniform numbers for the waits and the places of ``_LOOK_EVERY`` jumps, block after block."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator
        self.n_ahead = _FIRST_BLOCKS
        self.ahead = uniforms(generator, 0, 2, _LOOK_EVERY)

    def next(self, n_paths: int) -> Tensor:
        """The next block ``(2, _LOOK_EVERY, n)``."""
        return uniforms(self.generator, 2, _LOOK_EVERY, n_paths)

    def take_ahead(self) -> Tensor:
        """Many of the next blocks of one path ``(block, 2, _LOOK_EVERY)``, the same numbers."""
        blocks = self.ahead
        if len(blocks) == 0:
            blocks = uniforms(self.generator, self.n_ahead, 2, _LOOK_EVERY)
            self.n_ahead = min(2 * self.n_ahead, _MOST_BLOCKS)
        return blocks

    def give_back(self, blocks: Tensor) -> None:
        """Keep those that were not needed."""
        self.ahead = blocks


class _Period:
    """One period of time with constant generators."""

    def __init__(self, process: MarkovJump, begin: float, end: float):
        self.begin = begin
        self.end = end
        self.n_processes = process.batch_shape.numel()
        self.size = process.n_states
        # A row for every state of every process.
        rates = off_diagonal(process.generator).reshape(-1, self.size)
        self.mean_wait = 1 / rates.sum(-1)
        self.stay, self.other = alias_tables(rates)

    def run(self, states: Tensor, blocks: _Blocks) -> list[Visits]:
        """Times and states ``(path,)`` of visit after visit, from the first states.

        A path that has ended has the time inf and its last state.
        """
        if len(states) == 1 and can_run_on(states):
            return self._run_alone(states, blocks)
        here = states
        clock = torch.full_like(states, self.begin, dtype=torch.float64)
        never = torch.full_like(clock, torch.inf)
        first_row = self._first_rows(states)
        rows = None  # of the paths that are still going; None as long as all are
        visits = []
        while len(here):
            for_waits, for_places = blocks.next(len(here))
            negative_waits = for_waits.neg_().log1p_()
            places = for_places.mul_(self.size)
            for negative_wait, place in zip(negative_waits, places, strict=True):
                row = first_row + here
                mean_wait = self.mean_wait.index_select(0, row)
                clock = clock - negative_wait * mean_wait
                is_going = clock < self.end
                target = self._target(row, place)
                clock = torch.where(is_going, clock, torch.inf)
                here = torch.where(is_going, target, here)
                # Of paths that have ended, the time is inf and the state the last one.
                every_clock = _among_all(never, rows, clock)
                every_state = _among_all(states, rows, here)
                visit = every_clock.unsqueeze(0), every_state.unsqueeze(0)
                visits.append(visit)
            states = every_state
            (remaining,) = is_going.nonzero(as_tuple=True)
            rows = _among(rows, remaining)
            here = here[remaining]
            clock = clock[remaining]
            first_row = first_row[remaining]
        return visits

    def _run_alone(self, states: Tensor, blocks: _Blocks) -> list[Visits]:
        """The same for one path, compiled: no call of torch a jump."""
        walking = compiled_module("walking")
        assert walking is not None
        here = int(states)
        clock = self.begin
        visits = []
        tables = (self.mean_wait.numpy(), self.stay.numpy(), self.other.numpy())
        while clock < self.end:
            ahead = blocks.take_ahead()
            for_waits, for_places = ahead.unbind(1)
            negative_waits = torch.log1p(-for_waits).flatten()
            places = (for_places * self.size).flatten()
            times = torch.empty_like(negative_waits)
            visited = torch.empty_like(times, dtype=torch.int64)
            walking.jump(
                here,
                clock,
                self.end,
                (negative_waits.numpy(), places.numpy()),
                tables,
                times.numpy(),
                visited.numpy(),
            )
            n_inside = int(times.isfinite().sum())
            # Whole blocks, up to the one in which the path ended.
            n_looks = n_inside // _LOOK_EVERY + 1
            n_blocks = min(n_looks, len(ahead))
            blocks.give_back(ahead[n_blocks:])
            n_jumps = n_blocks * _LOOK_EVERY
            times = times[:n_jumps]
            visited = visited[:n_jumps]
            visits.append((times.unsqueeze(1), visited.unsqueeze(1)))
            clock = float(times[-1])
            here = int(visited[-1])
        return visits

    def _first_rows(self, states: Tensor) -> Tensor:
        """Row of state 0 of each path's process."""
        n_paths = len(states) // self.n_processes
        process = torch.arange(self.n_processes, device=states.device)
        first_row = process * self.size
        return first_row.repeat_interleave(n_paths)

    def _target(self, row: Tensor, place: Tensor) -> Tensor:
        """State that is jumped to, by one uniform number ``place`` in ``[0, S)``."""
        column = place.long()
        cell = row * self.size + column
        # The fraction of the place decides between the column and its alias.
        fraction = place - column
        stays = fraction < self.stay.index_select(0, cell)
        alias = self.other.index_select(0, cell)
        return torch.where(stays, column, alias)


def _among(rows: Tensor | None, part: Tensor) -> Tensor:
    """A part of the rows of the paths that are still going, all of them if None."""
    if rows is None:
        return part
    return rows[part]


def _among_all(values: Tensor, rows: Tensor | None, new: Tensor) -> Tensor:
    """Values of all paths, of which ``rows`` have new ones; None for all of them."""
    if rows is None:
        return new
    return values.index_copy(0, rows, new)
