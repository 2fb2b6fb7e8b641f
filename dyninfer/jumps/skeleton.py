"""States of jump processes at given times, exactly, by transition probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.starting import Start, index_below
from dyninfer.learning.random import stream
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import Solver

_UNIFORMS = 2**21  # random numbers drawn at once
_FEW_NUMBERS = 2**10  # of a step's transition probabilities: a call takes longer than its work
_MAP_NUMBERS = 2**21  # transition probabilities in memory at a time: 16 MB


@dataclass(kw_only=True, repr=False, eq=False)
class Skeleton(Solver):
    """The states at the output times, drawn by the transition probabilities between them.

    Exact, whatever the times; the default of jump processes. The cost grows with the number of
    output times, not of jumps. On a CPU path ``i`` depends on ``(seed, i)`` alone.
    """

    spelling: ClassVar[str] = "skeleton"
    can_run: ClassVar[frozenset[Kind]] = frozenset({Kind.JUMPS})

    def draw(
        self, process: MarkovJump, start: Start, times: Tensor, seed: int, chunk_size: int | None
    ) -> Tensor:
        """Draw states ``(..., n, time)`` int64 at increasing times."""
        device = process.generator.device
        generator = stream(seed, "skeleton", device=device)
        cumulative, table_of = _cumulative_transitions(process, times)
        # Number of the process that each path is one of.
        owner = torch.arange(len(cumulative), device=device).repeat_interleave(start.n_paths)
        n_rows, n_times = len(owner), len(times)
        states = torch.empty(n_rows, n_times, dtype=torch.int64, device=device)
        chunk_size = chunk_size or max(1, _UNIFORMS // n_times)
        for first in range(0, n_rows, chunk_size):
            rows = slice(first, first + chunk_size)
            # Drawn path by path, so that a path does not depend on how many there are.
            shape = len(owner[rows]), n_times
            u = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
            u = u.T.contiguous()
            beginning = start.first_states(rows, owner[rows], u[0])
            states[rows] = _walk(beginning, owner[rows], cumulative, table_of, u)
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
    with torch.no_grad():
        beginning = Start.of(process, start, float(times[0]))
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
        between = MarkovJump(q[..., None, :, :, :], breaks=process.breaks)
        p = between.transition(gaps.to(q.device), times[:-1].to(q.device))
        table_of = torch.arange(len(gaps))
    else:
        distinct, table_of = _distinct_gaps(times, gaps)
        p = MarkovJump(q[..., None, :, :]).transition(distinct.to(q.device))
    shape = p.shape[-3], process.n_states, process.n_states
    p = p.expand(*process.batch_shape, *shape)
    cumulative = p.cumsum(-1).reshape(process.batch_shape.numel(), *shape)
    return cumulative, table_of


def _distinct_gaps(times: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Gaps that differ by more than the rounding of the times, and which of them each gap is.

    Equal gaps would be exponentiated once for every output time.
    """
    if len(gaps) == 0:
        return gaps, torch.zeros(0, dtype=torch.int64)
    rounding = 4 * torch.finfo(times.dtype).eps * float(times.abs().max())
    whole = (gaps / rounding).round()
    values, table_of = whole.unique(return_inverse=True)
    # Any of the gaps that round alike stands for all of them.
    distinct = torch.empty_like(values).index_copy(0, table_of, gaps)
    return distinct, table_of


def _walk(first: Tensor, owner: Tensor, cumulative: Tensor, table_of: Tensor, u: Tensor) -> Tensor:
    """States ``(n, time)`` from uniform numbers ``(time, n)``, of which the first is not used."""
    n_states = cumulative.shape[-1]
    n_times, n_paths = u.shape
    # All destinations at once are S times the work, and a thousand times fewer calls.
    if n_times > 64 and n_paths * n_states**2 <= _FEW_NUMBERS:
        return _leap(first, owner, cumulative, table_of, u)
    states = [first]
    for k, table in enumerate(table_of.tolist()):
        # Rows of one table are looked up twice as fast as those of a table per process.
        if len(cumulative) == 1:
            row = cumulative[0, table].index_select(0, states[-1])
        else:
            row = cumulative[owner, table, states[-1]]
        states.append(index_below(row, u[k + 1]))
    return torch.stack(states, dim=1)


def _leap(first: Tensor, owner: Tensor, cumulative: Tensor, table_of: Tensor, u: Tensor) -> Tensor:
    """The same states as :func:`_walk`, for few paths at many times.

    A uniform number tells, for every state, where it goes: a map of the states. The maps of many
    steps are composed by doubling.
    """
    n_states = cumulative.shape[-1]
    longest = max(1, _MAP_NUMBERS // (len(first) * n_states**2))
    steps = torch.arange(len(table_of))
    table_of = table_of.to(u.device)
    states = [first[None]]
    for part in steps.split(longest):
        tables = table_of[part.to(u.device)]
        rows = cumulative[owner, tables[:, None]]
        height = u[part + 1][..., None] * rows[..., -1]
        maps = (rows[..., :-1] <= height[..., None]).sum(-1)
        step = 1
        while step < len(maps):
            later = maps[step:].gather(-1, maps[:-step])
            maps = torch.cat([maps[:step], later])
            step *= 2
        here = states[-1][-1].expand(len(maps), -1)
        states.append(maps.gather(-1, here[..., None])[..., 0])
    return torch.cat(states).T
