"""How `simulate` runs fractional diffusions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dyninfer.data.trajectories import Trajectories
from dyninfer.data.words import counted
from dyninfer.diffusions import Diffusion
from dyninfer.fractional.memory import memory_equation, prior_memory
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.solver import FractionalEuler
from dyninfer.fractional.stepper import check_explicit
from dyninfer.simulation.dispatch import Options, run
from dyninfer.simulation.fields import check_shape, rows_near
from dyninfer.simulation.runner import run_diffusion, run_equation
from dyninfer.simulation.solvers import Solver, TorchSDE
from dyninfer.simulation.solvers.solver import as_solver
from dyninfer.simulation.start import starting_states


@run.register
def run_fractional_diffusion(
    process: FractionalDiffusion, x0: Any, times: Tensor, options: Options
) -> Trajectories:
    """Run a :class:`~dyninfer.fractional.process.FractionalDiffusion`; see :func:`simulate`.

    The memory starts from its prior: stationary for noise of kind I, 0 for kind II. The precision
    of the run is that of ``x0``. ``TorchSDE`` runs state and memory as one equation. Where the
    noise is 0 everywhere, solvers of flows run the drift alone.
    """
    options.refuse(
        "noise", "backward", reason="fractional noise remembers, so it runs forward, and as it is"
    )
    options.refuse("compile", reason="state and memory of fractional noise move in one step")
    if _is_flow(process) and not isinstance(options.solver, FractionalEuler | None):
        flow = Diffusion(drift=process.drift)
        return run_diffusion(flow, x0, times, options)
    start = starting_states(
        process,
        x0,
        options.n_paths,
        options.seed,
        keep_precision=True,
        differentiable=options.differentiable,
    )
    first_time = float(times[0])
    _check_features(process, start.states, first_time)
    n_features = start.states.shape[1]
    equation = memory_equation(process, n_features)
    default = FractionalEuler()
    solver = as_solver(options.solver, default, equation.kind, equation)
    if _is_explicit(solver) and len(times) > 1:
        grid = solver.grid(times)
        longest = float(grid.lengths.max())
        fastest = float(process.nodes.max())
        check_explicit(fastest, longest, f"solver {solver}")
    with torch.set_grad_enabled(start.is_differentiable):
        memory = prior_memory(process, start.states, options.seed)
        # The run begins where the memory does, so this is its origin too.
        states = equation.layout.join(start.states, memory, memory)
    return run_equation(equation, start, states, times, solver, options)


def _check_features(process: FractionalDiffusion, states: Tensor, time: float) -> None:
    """Raise a ValueError where the drift is not one of states ``(n, d)`` of so many features."""
    few = states[:2].detach()
    with torch.no_grad():
        drift = process.drift(time, few)
    # A drift of several features takes one as well, and moves it into all of them.
    if drift.shape != few.shape:
        raise ValueError(
            f"the drift of states of shape {tuple(few.shape)} has shape {tuple(drift.shape)}; "
            "give x0 as many features as the process has"
        )
    n_features = few.shape[1]
    if not process.additive:
        # As many as tell one number a state from one a feature.
        rows = rows_near(states)
        shapes = [(), (n_features,), (len(rows), 1), rows.shape]
        check_shape("diffusion", process.diffusion(time, rows), shapes, rows)
        return
    amplitude = process.diffusion(time, few)
    is_number = amplitude.ndim == 0
    if not is_number and amplitude.shape != (n_features,):
        raise ValueError(
            f"diffusion has shape {tuple(amplitude.shape)}, and states have "
            f"{counted(n_features, 'feature')}; "
            "give one number, or one for every feature"
        )


def _is_explicit(solver: Solver) -> bool:
    """Whether the solver steps the memory by a rule whose steps can be too long for it."""
    if isinstance(solver, FractionalEuler):
        return solver.memory == "euler"
    return isinstance(solver, TorchSDE) and not solver.adaptive


def _is_flow(process: FractionalDiffusion) -> bool:
    """Whether the noise is 0 everywhere."""
    if not process.additive:
        return False
    state = torch.zeros(1, 1, device=process.nodes.device)
    amplitude = process.diffusion(0.0, state)
    # An amplitude that is being learned may be 0 now, and must keep its gradient.
    if amplitude.requires_grad:
        return False
    return not bool(amplitude.any())
