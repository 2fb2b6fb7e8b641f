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
        cumulative = _cumulative_transitions(process, times)
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
            states[rows] = _walk(beginning, owner[rows], cumulative, u)
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


def _cumulative_transitions(process: MarkovJump, times: Tensor) -> Tensor:
    """Cumulative transition probabilities ``(process, interval, S, S)`` along the rows."""
    q = process.generator
    times = times.to(q.device)
    gaps = times.diff()
    # One more dimension before the states, so that the intervals broadcast against the batch.
    if len(process.breaks):
        between = MarkovJump(q[..., None, :, :, :], breaks=process.breaks)
        p = between.transition(gaps, times[:-1])
    else:
        p = MarkovJump(q[..., None, :, :]).transition(gaps)
    shape = len(gaps), process.n_states, process.n_states
    p = p.expand(*process.batch_shape, *shape)
    return p.cumsum(-1).reshape(process.batch_shape.numel(), *shape)


def _walk(first: Tensor, owner: Tensor, cumulative: Tensor, u: Tensor) -> Tensor:
    """States ``(n, time)`` from uniform numbers ``(time, n)``, of which the first is not used."""
    states = [first]
    for k in range(len(u) - 1):
        # Rows of one table are looked up twice as fast as those of a table per process.
        if len(cumulative) == 1:
            row = cumulative[0, k].index_select(0, states[-1])
        else:
            row = cumulative[owner, k, states[-1]]
        states.append(index_below(row, u[k + 1]))
    return torch.stack(states, dim=1)
