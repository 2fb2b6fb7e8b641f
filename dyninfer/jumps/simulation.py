"""How `simulate` runs a jump process: exactly, at the output times."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dyninfer.data.trajectories import Trajectories
from dyninfer.jumps.gillespie import Gillespie
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.skeleton import Skeleton
from dyninfer.jumps.starting import Start, as_state_numbers
from dyninfer.learning.settings import to_plain
from dyninfer.simulation.dispatch import Options, run, simulate
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.solvers.solver import as_solver
from dyninfer.simulation.start import starting_rows


@run.register
def run_markov_jump(process: MarkovJump, x0: Any, times: Tensor, options: Options) -> Trajectories:
    """Run a :class:`~dyninfer.jumps.process.MarkovJump`; see :func:`~dyninfer.simulation.simulate`.

    ``x0`` is integer states ``(n,)``, names of states, or None: then ``n_paths`` of them are drawn
    from the distribution of the process at ``times[0]``, where time 0 is that of ``initial``. The
    paths of a batch of processes follow one another, process by process.
    """
    options.refuse(
        "noise", "backward", "resample", reason="a MarkovJump is drawn exactly, forward in time"
    )
    solver: Skeleton | Gillespie = as_solver(options.solver, Skeleton(), Kind.JUMPS)
    with torch.no_grad():
        if x0 is None:
            start, rows = _drawn_start(process, options.n_paths, float(times[0]))
        else:
            start, rows = _given_start(process, x0, options)
        states = solver.draw(process, start, times, options.seed, options.chunk_size)
    return Trajectories(
        states=states.reshape(-1, len(times)),
        times=times,
        origin=rows.repeat(process.batch_shape.numel()).numpy(),
        attrs={
            "solver": to_plain(solver),
            "seed": options.seed,
            "processes": list(process.batch_shape),
        },
    )


def _drawn_start(process: MarkovJump, n_paths: int | None, time: float) -> tuple[Start, Tensor]:
    if n_paths is None:
        raise ValueError(
            "n_paths is needed where the first states are drawn: "
            "simulate(process, None, times, n_paths=...)"
        )
    return Start.of(process, n_paths, time), torch.arange(n_paths)


def _given_start(process: MarkovJump, x0: Any, options: Options) -> tuple[Start, Tensor]:
    states = as_state_numbers(process, x0)
    rows = starting_rows(states.shape[-1], options.n_paths, options.seed)
    states = states[..., rows.to(states.device)]
    return Start(len(rows), states.expand(*process.batch_shape, -1), None), rows


def simulate_jumps(
    process: MarkovJump, start: int | Any, times: Any, seed: int = 0, chunk_size: int | None = None
) -> Trajectories:
    """Run a jump process from states ``(n,)``, or draw a number of paths: ``simulate`` in short."""
    if isinstance(start, int):
        return simulate(process, None, times, n_paths=start, seed=seed, chunk_size=chunk_size)
    return simulate(process, start, times, seed=seed, chunk_size=chunk_size)
