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
from dyninfer.simulation.dispatch import Options, run
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
    reason = "a MarkovJump is drawn exactly, forward in time"
    options.refuse("noise", "backward", "resample", "compile", reason=reason)
    if options.to is not None:
        raise ValueError(
            "to cannot be used: the whole numbers of a MarkovJump are drawn in memory; leave it "
            "out, and save the result"
        )
    options.refuse(
        "differentiable",
        reason="the states of a MarkovJump are whole numbers, which have no slope; likelihoods "
        "such as fit_panel's are differentiable",
    )
    default = Skeleton()
    solver: Skeleton | Gillespie = as_solver(options.solver, default, Kind.JUMPS)
    with torch.no_grad():
        if x0 is None:
            first_time = float(times[0])
            start, rows = _from_distribution(process, options.n_paths, first_time)
        else:
            start, rows = _from_states(process, x0, options)
        states = solver.draw(process, start, times, options.seed, options.chunk_size)
    # Every process of a batch runs the same rows.
    n_processes = process.batch_shape.numel()
    origin = rows.repeat(n_processes)
    return Trajectories(
        states=states.reshape(-1, len(times)),
        times=times,
        origin=origin.numpy(),
        attrs={
            "solver": to_plain(solver),
            "seed": options.seed,
            "processes": list(process.batch_shape),
        },
    )


def _from_distribution(
    process: MarkovJump, n_paths: int | None, time: float
) -> tuple[Start, Tensor]:
    """Paths whose first states are drawn, and their numbers."""
    if n_paths is None:
        raise ValueError(
            "n_paths is needed where the first states are drawn: "
            "simulate(process, None, times, n_paths=...)"
        )
    start = Start.of(process, n_paths, time)
    return start, torch.arange(n_paths)


def _from_states(process: MarkovJump, x0: Any, options: Options) -> tuple[Start, Tensor]:
    """Paths that start in states of the user's, and the row of ``x0`` of each."""
    states = as_state_numbers(process, x0)
    n_starts = states.shape[-1]
    rows = starting_rows(n_starts, options.n_paths, options.seed)
    own_rows = rows.to(states.device)
    states = states[..., own_rows]
    states = states.expand(*process.batch_shape, -1)
    return Start(len(rows), states, None), rows
