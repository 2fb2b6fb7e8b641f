"""Exact simulation of Markov jump processes: all paths at once, on a grid of times or jump by jump."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.trajectories import Trajectories
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.chain import off_diagonal
from dyninfer.learning.random import mix64
from dyninfer.simulation.alias import alias_tables
from dyninfer.simulation.dispatch import Options, run
from dyninfer.simulation.grid import check_times

_UNIFORMS = 2**21  # random numbers drawn at once
_LOOK_EVERY = 8  # jumps between two looks at which paths are done: each look waits for the device


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
        """States ``(..., path, time)`` at given times within the span."""
        times = torch.as_tensor(times, dtype=torch.float64, device=self.times.device)
        if not bool(((times >= self.start) & (times <= self.stop)).all()):
            raise ValueError(
                f"times must lie within the simulated span {self.start:g} to {self.stop:g}"
            )
        wanted = times.expand(*self.times.shape[:-1], len(times)).contiguous()
        return self.states.gather(
            -1, torch.searchsorted(self.times.contiguous(), wanted, right=True) - 1
        )

    def occupation_times(self, n_states: int) -> Tensor:
        """Time each path spent in each state ``(..., path, S)``."""
        ends = self.times.clamp(max=self.stop)
        ends = torch.cat([ends, torch.full_like(ends[..., :1], self.stop)], dim=-1)
        spent = torch.zeros(
            *self.states.shape[:-1], n_states, dtype=torch.float64, device=ends.device
        )
        return spent.scatter_add(-1, self.states, ends.diff(dim=-1))


def simulate_jumps(
    process: MarkovJump, start: int | Any, times: Any, seed: int = 0, chunk_size: int | None = None
) -> Trajectories:
    """Draw the states of paths at given times, exactly, by the transition probabilities between them.

    Parameters
    ----------
    process : MarkovJump
        One process, or a batch; may be piecewise constant in time.
    start : int or integer array ``(..., n)``
        Number of paths of each process, started from its law at ``times[0]``; or the states they start in.
    times : array, ``(time,)``
        Increasing output times; time 0 is that of ``process.initial``.
    seed : int
        On a CPU path ``i`` depends on ``(seed, i)`` alone.
    chunk_size : int, optional
        Paths drawn at once; never changes a path drawn on a CPU.

    Returns
    -------
    Trajectories
        Integer ``states`` ``(path, time)``; the paths of a batch follow one another, process by process.

    Examples
    --------
    >>> from dyninfer.jumps.process import MarkovJump
    >>> from dyninfer.jumps.simulation import simulate_jumps
    >>> gate = MarkovJump([[-1.0, 1.0], [3.0, -3.0]])
    >>> simulate_jumps(gate, 1000, [0.0, 0.5, 1.0]).states.shape
    torch.Size([1000, 3])
    """
    times = check_times(times, backward=False)
    states = draw_skeletons(process, start, times, seed, chunk_size)
    attrs = {"solver": "skeleton", "seed": int(seed), "processes": list(process.batch_shape)}
    return Trajectories(states=states.reshape(-1, len(times)), times=times, attrs=attrs)


def draw_skeletons(
    process: MarkovJump,
    start: int | Any,
    times: Tensor,
    seed: int = 0,
    chunk_size: int | None = None,
) -> Tensor:
    """States ``(..., n, time)`` int64 of :func:`simulate_jumps` as a plain tensor that keeps the batch."""
    with torch.no_grad():
        g = generator_of(seed, "skeleton", process.generator.device)
        first, law = _first(process, start, times[0])
        cumulative = _cumulative_steps(process, times)
        owner = torch.arange(len(cumulative), device=first.device).repeat_interleave(
            first.shape[-1]
        )
        rows = first.reshape(-1)
        chunk = chunk_size or max(1, _UNIFORMS // len(times))
        drawn = rows.new_empty(len(rows), len(times))
        for k in range(0, len(rows), chunk):
            drawn[k : k + chunk] = _walk(
                rows[k : k + chunk], owner[k : k + chunk], law, cumulative, g
            ).T
        return drawn.reshape(*first.shape, len(times))


def simulate_events(
    process: MarkovJump, start: int | Any, stop: float, seed: int = 0, start_time: float = 0.0
) -> JumpEvents:
    """Simulate every jump up to a time, all paths at once (Gillespie's direct method).

    Parameters
    ----------
    process : MarkovJump
        One process, or a batch; where it is piecewise constant, waiting begins anew at every break, which changes
        nothing as waiting times have no memory.
    start : int or integer array ``(..., n)``
        Number of paths of each process, started from its law at ``start_time``; or the states they start in.
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
        g = generator_of(seed, "events", process.generator.device)
        first, law = _first(process, start, torch.tensor(start_time))
        states = first.reshape(-1)
        if law is not None:
            owner = torch.arange(len(law), device=states.device).repeat_interleave(first.shape[-1])
            states = _pick(
                law[owner], torch.rand(len(states), generator=g, dtype=law.dtype, device=law.device)
            )
        times, visited = [torch.full_like(states, start_time, dtype=torch.float64)], [states]
        inner = [b for b in process.breaks.tolist() if start_time < b < stop]
        ends = [start_time, *inner, stop]
        for low, high in zip(ends, ends[1:], strict=False):
            q = process.at(low).generator.reshape(-1, process.n_states, process.n_states)
            moments, targets = _jumps(q, visited[-1], low, high, g)
            times += moments
            visited += targets
        all_times, all_states = torch.stack(times), torch.stack(visited)
        if inner:  # every period ended with padding of its own
            last = all_states[-1:]
            all_times, order = all_times.sort(dim=0, stable=True)
            all_states = torch.where(all_times < torch.inf, all_states.gather(0, order), last)
        most = int((all_times.amin(1) < torch.inf).sum())
        shape = (*first.shape, most)
        return JumpEvents(
            all_times[:most].T.reshape(shape),
            all_states[:most].T.reshape(shape),
            start_time,
            float(stop),
        )


def generator_of(seed: int, purpose: str, device: torch.device) -> torch.Generator:
    """Generator on a device for one purpose: the same seed elsewhere draws unrelated numbers."""
    return torch.Generator(device).manual_seed(mix64(int(seed), *purpose.encode()) & 2**63 - 1)


@run.register
def simulate_markov_jump(
    process: MarkovJump, x0: Any, times: Tensor, options: Options
) -> Trajectories:
    """Run a jump process from given states ``(n,)``; other options than the seed and the chunk are refused."""
    plain = Options(seed=options.seed, chunk_size=options.chunk_size, n_paths=options.n_paths)
    changed = [name for name, value in vars(options).items() if name not in ("origin", "progress")]
    changed = [name for name in changed if getattr(options, name) != getattr(plain, name)]
    if changed or options.n_paths is not None:
        raise ValueError(
            f"{(changed or ['n_paths'])[0]} does not apply to a MarkovJump, whose paths are drawn exactly; "
            "leave it out, and repeat states in x0 for more paths"
        )
    drawn = simulate_jumps(process, np.asarray(x0), times, options.seed, options.chunk_size)
    return Trajectories(
        states=drawn.states,
        times=times,
        attrs=drawn.attrs,
        origin=options.origin,  # type: ignore[arg-type]
    )


def _first(process: MarkovJump, start: int | Any, time: Tensor) -> tuple[Tensor, Tensor | None]:
    """States at the first time ``(..., n)``, and the laws ``(process, S)`` to draw them from if they are not given."""
    device, batch = process.generator.device, process.batch_shape
    if isinstance(start, int | np.integer) and not isinstance(start, bool):
        if start < 1:
            raise ValueError(
                f"start must be a positive number of paths or an array of states, found {start}"
            )
        law = process.marginal(time.to(device)) if float(time) > 0 else process.start_law()
        law = law.expand(*batch, -1).reshape(-1, process.n_states)
        return torch.zeros(*batch, int(start), dtype=torch.int64, device=device), law
    states = torch.as_tensor(start, device=device)
    if states.is_floating_point() or states.dtype == torch.bool or states.ndim < 1:
        raise TypeError(
            f"start must be a number of paths or an array of integer states, found {states.dtype}"
        )
    if states.numel() == 0 or int(states.min()) < 0 or int(states.max()) >= process.n_states:
        raise ValueError(
            f"start must hold states from 0 to {process.n_states - 1}, found {states.unique().tolist()}"
        )
    return states.long().expand(*batch, states.shape[-1]), None


def _cumulative_steps(process: MarkovJump, times: Tensor) -> Tensor:
    """Cumulative transition probabilities ``(process, interval, S, S)`` along the rows."""
    times, q = times.to(process.generator.device), process.generator
    if len(process.breaks):
        p = MarkovJump(q[..., None, :, :, :], breaks=process.breaks).transition(
            times.diff(), times[:-1]
        )
    else:
        p = MarkovJump(q[..., None, :, :]).transition(times.diff())
    size, n_steps = process.n_states, len(times) - 1
    p = p.expand(*process.batch_shape, n_steps, size, size)
    return p.cumsum(-1).reshape(process.batch_shape.numel(), n_steps, size, size)


def _walk(
    first: Tensor, owner: Tensor, law: Tensor | None, cumulative: Tensor, g: torch.Generator
) -> Tensor:
    """States ``(time, n)`` from one uniform number per path and time."""
    n_times = cumulative.shape[1] + 1
    u = torch.rand(
        len(first), n_times, generator=g, dtype=torch.float64, device=first.device
    ).T.contiguous()
    state = first if law is None else _pick(law[owner], u[0])
    states = [state]
    for k in range(n_times - 1):
        one = len(cumulative) == 1
        step = (
            cumulative[0, k].index_select(0, states[-1])
            if one
            else cumulative[owner, k, states[-1]]
        )
        states.append(_below(step, u[k + 1]))
    return torch.stack(states)


def _pick(weights: Tensor, u: Tensor) -> Tensor:
    return _below(weights.cumsum(-1), u)


def _below(cumulative: Tensor, u: Tensor) -> Tensor:
    """Index ``(n,)`` of the interval of cumulative weights ``(n, S)`` that holds ``u`` of their sum."""
    return (cumulative[:, :-1] <= (u * cumulative[:, -1])[:, None]).sum(-1)


def _jumps(
    q: Tensor, state: Tensor, low: float, high: float, g: torch.Generator
) -> tuple[list[Tensor], list[Tensor]]:
    """Times and states ``(path,)`` of visit after visit in one period with constant generators ``(process, S, S)``.

    A path that is done has the time inf and keeps its state.
    """
    off, size, total = off_diagonal(q).flatten(0, 1), q.shape[-1], len(state)
    mean_wait = 1 / off.sum(-1)
    own, other = alias_tables(off)
    rows, here, clock = (
        None,
        state,
        torch.full_like(state, low, dtype=torch.float64),
    )  # rows None: all of them
    first = (
        None if len(q) == 1 else torch.arange(total, device=q.device) // (total // len(q)) * size
    )
    never = torch.full_like(clock, torch.inf)
    times, visited = [], []
    while len(here):
        u = torch.rand(2, _LOOK_EVERY, len(here), generator=g, dtype=torch.float64, device=q.device)
        for log, place in zip(u[0].neg_().log1p_(), u[1].mul_(size), strict=True):
            row = here if first is None else first + here
            clock = clock - log * mean_wait.index_select(0, row)
            going = clock < high
            column = place.long()
            cell = row * size + column
            kept = place - column < own.index_select(0, cell)
            target = torch.where(kept, column, other.index_select(0, cell))
            clock, here = torch.where(going, clock, torch.inf), torch.where(going, target, here)
            times.append(clock if rows is None else never.index_copy(0, rows, clock))
            visited.append(here if rows is None else state.index_copy(0, rows, here))
        left = going.nonzero()[:, 0]
        state, rows = visited[-1], left if rows is None else rows[left]
        here, clock, first = here[left], clock[left], None if first is None else first[left]
    return times, visited
