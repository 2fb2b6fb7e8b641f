"""States of jump processes at given times, exactly, by transition probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dyninfer.jumps.compiled.loading import can_run_on, compiled_module
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.starting import Start, index_below
from dyninfer.learning.random import stream, uniforms
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver

_UNIFORMS = 2**21  # random numbers drawn at once
_FEW_NUMBERS = 2**10  # of a step's transition probabilities: a call takes longer than its work
_MAP_NUMBERS = 2**21  # transition probabilities in memory at a time: 16 MB
_MANY_TIMES = 64  # below it a call for each step is no burden
_MANY_NUMBERS = (
    10_000  # draws above which numba, which takes a fifth of a second to load, saves time
)


@dataclass(kw_only=True, repr=False, eq=False)
class Skeleton(Solver):
    """Exact states at the output times, drawn from the transition probabilities between them.

    The default for jump processes. The cost grows with the number of output times, not of jumps. On
    a CPU, path ``i`` depends only on ``(seed, i)``.

    Examples
    --------
    >>> import dyninfer as di
    >>> gate = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]], state_names=["closed", "open"])
    >>> di.simulate(gate, None, [0, 1, 2], n_paths=5, solver=di.solvers.Skeleton()).states.shape
    torch.Size([5, 3])
    """

    spelling: ClassVar[str] = "skeleton"
    can_run: ClassVar[frozenset[Kind]] = frozenset({Kind.JUMPS})

    def draw(
        self, process: MarkovJump, start: Start, times: Tensor, seed: int, chunk_size: int | None
    ) -> Tensor:
        """Draw states ``(..., n, time)`` int64 at increasing times."""
        generator = stream(seed, "skeleton", device=process.generator.device)
        cumulative, table_of = _cumulative_transitions(process, times)
        owners = start.owners(process)
        n_rows = len(owners)
        n_times = len(times)
        states = owners.new_empty(n_rows, n_times)
        chunk_size = chunk_size or max(1, _UNIFORMS // n_times)
        walk = _walk
        if n_rows * n_times > _MANY_NUMBERS and can_run_on(cumulative):
            walk = _compiled_walk
        for first in range(0, n_rows, chunk_size):
            rows = slice(first, first + chunk_size)
            owner = owners[rows]
            # Drawn path by path, so that a path does not depend on how many there are.
            u = uniforms(generator, len(owner), n_times)
            beginning = start.first_states(rows, owner, u[:, 0])
            states[rows] = walk(beginning, owner, cumulative, table_of, u)
        return states.reshape(*process.batch_shape, start.n_paths, n_times)


def draw_skeletons(
    process: MarkovJump,
    start: int | Tensor,
    times: Tensor,
    seed: int = 0,
    chunk_size: int | None = None,
) -> Tensor:
    """Draw states ``(..., n, time)`` int64, as :class:`Skeleton` does, as a tensor with the batch.

    Parameters
    ----------
    process : MarkovJump
        One process, or a batch.
    start : int or integer array ``(..., n)``
        Number of paths of each process, started from its distribution at ``times[0]``; or the
        states that they start in.
    times : Tensor, ``(time,)``
    seed : int
    chunk_size : int, optional
        Paths drawn at once.
    """
    first_time = float(times[0])
    with torch.no_grad():
        beginning = Start.of(process, start, first_time)
        return Skeleton().draw(process, beginning, times, seed, chunk_size)


def _cumulative_transitions(process: MarkovJump, times: Tensor) -> tuple[Tensor, Tensor]:
    """Cumulative transition probabilities along the rows, and which of them an interval has.

    Returns
    -------
    Tensor, ``(process, table, S, S)``
    Tensor, ``(interval,)`` int64
        Number of the table of every interval.
    """
    q = process.generator
    gaps = times.diff()
    # One more dimension before the states, so that the intervals broadcast against the batch.
    if len(process.breaks):
        every_generator = q.unsqueeze(-4)
        between = MarkovJump(every_generator, breaks=process.breaks)
        begins = times[:-1].to(q.device)
        own_gaps = gaps.to(q.device)
        p = between.transition(own_gaps, begins)
        table_of = torch.arange(len(gaps))
    else:
        distinct, table_of = _distinct_gaps(times, gaps)
        between = MarkovJump(q.unsqueeze(-3))
        p = between.transition(distinct.to(q.device))
    own_shape = p.shape[-3:]
    p = p.expand(*process.batch_shape, *own_shape)
    n_processes = process.batch_shape.numel()
    cumulative = p.cumsum(-1).reshape(n_processes, *own_shape)
    return cumulative, table_of


def _distinct_gaps(times: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Gaps that differ by more than the rounding of the times, and which of them each gap is.

    Equal gaps would be exponentiated once for every output time.
    """
    if len(gaps) == 0:
        return gaps, torch.zeros(0, dtype=torch.int64)
    eps = torch.finfo(times.dtype).eps
    latest = float(times.abs().max())
    # Of each of the two times, and of their difference.
    rounding = 4 * eps * latest
    whole = (gaps / rounding).round()
    values, table_of = whole.unique(return_inverse=True)
    # Any of the gaps that round alike stands for all of them.
    distinct = torch.empty_like(values).index_copy(0, table_of, gaps)
    return distinct, table_of


def _compiled_walk(
    first: Tensor, owner: Tensor, cumulative: Tensor, table_of: Tensor, u: Tensor
) -> Tensor:
    """The same as :func:`_walk`, compiled."""
    walking = compiled_module("walking")
    assert walking is not None
    parts = first, owner, cumulative, table_of, u
    arrays = [part.contiguous().numpy() for part in parts]
    states = walking.walk(*arrays)
    return torch.from_numpy(states)


def _walk(first: Tensor, owner: Tensor, cumulative: Tensor, table_of: Tensor, u: Tensor) -> Tensor:
    """States ``(n, time)`` from uniform numbers ``(n, time)``, of which the first is not used."""
    n_states = cumulative.shape[-1]
    n_paths, n_times = u.shape
    by_time = u.T.contiguous()
    numbers_of_step = n_paths * n_states**2
    # All destinations at once are S times the work, and a thousand times fewer calls.
    if n_times > _MANY_TIMES and numbers_of_step <= _FEW_NUMBERS:
        return _leap(first, owner, cumulative, table_of, by_time)
    state = first
    states = [state]
    steps = zip(table_of.tolist(), by_time[1:], strict=True)
    for table, u_k in steps:
        # Rows of one table are looked up twice as fast as those of a table per process.
        if len(cumulative) == 1:
            row = cumulative[0, table].index_select(0, state)
        else:
            row = cumulative[owner, table, state]
        state = index_below(row, u_k)
        states.append(state)
    return torch.stack(states, dim=1)


def _leap(first: Tensor, owner: Tensor, cumulative: Tensor, table_of: Tensor, u: Tensor) -> Tensor:
    """The same states as :func:`_walk`, for few paths at many times and numbers ``(time, n)``.

    A uniform number tells, for every state, where it goes: a map of the states. The maps of many
    steps are composed by doubling.
    """
    n_states = cumulative.shape[-1]
    numbers_of_step = len(first) * n_states**2
    longest = max(1, _MAP_NUMBERS // numbers_of_step)
    table_parts = table_of.to(u.device).split(longest)
    u_parts = u[1:].split(longest)
    here = first
    states = [first.unsqueeze(0)]
    for tables, u_part in zip(table_parts, u_parts, strict=True):
        rows = cumulative[owner, tables.unsqueeze(1)]
        maps = index_below(rows, u_part.unsqueeze(-1))
        so_far = _composed(maps)
        every_map = here.expand(len(maps), -1)
        beginning = every_map.unsqueeze(-1)
        visited = so_far.gather(-1, beginning).squeeze(-1)
        here = visited[-1]
        states.append(visited)
    return torch.cat(states).T


def _composed(maps: Tensor) -> Tensor:
    """Maps of the states ``(step, n, S)``, each after all those before it."""
    length = 1
    # A map holds the last `length` steps; looked up in the one before them, it holds twice as many.
    while length < len(maps):
        earlier = maps[:-length]
        later = maps[length:].gather(-1, earlier)
        maps = torch.cat([maps[:length], later])
        length *= 2
    return maps
