"""Runs of a fractional diffusion under a control that shifts its Brownian motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dyninfer.fractional.memory import prior_memory
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.solver import FractionalEuler
from dyninfer.fractional.stepper import StepNoise, Stepper, check_explicit
from dyninfer.simulation.grid import check_times
from dyninfer.simulation.start import as_states

Control = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StartingMemory:
    """Memory from which a run goes on.

    Attributes
    ----------
    memory : Tensor, ``(n, d, K + 1)``
        ``Y`` at the first time.
    origin : Tensor, ``(n, d, K + 1)``, optional
        ``Y(0)``, from which a moving average of an index ``H(t)`` counts; by default the memory at
        the first time for kind I, 0 for kind II. A run that goes on from another's memory needs
        that run's, for kind I.
    """

    memory: Tensor
    origin: Tensor | None = None


@dataclass(frozen=True)
class ControlledRun:
    """What :func:`run_controlled` returns.

    Attributes
    ----------
    times : Tensor, ``(time,)`` float64
    states : Tensor, ``(n, time, d)``
    memory : Tensor, ``(n, d, K + 1)``
        ``Y`` at the last time, from which another run can go on.
    energy : Tensor, ``(n,)``
        ``½ ∫ |u|² dt`` of each path: its mean is the divergence of the controlled distribution from
        the prior's.
    """

    times: Tensor
    states: Tensor
    memory: Tensor
    energy: Tensor


def run_controlled(
    process: FractionalDiffusion,
    x0: Any,
    times: Any,
    control: Control | None = None,
    *,
    solver: FractionalEuler | None = None,
    start: StartingMemory | None = None,
    seed: int = 0,
) -> ControlledRun:
    r"""Run a fractional diffusion whose Brownian motion is ``dW + u dt``, for inference.

    A plain run is :func:`~dyninfer.simulation.simulate`, whose steps and noise are the same; see
    :class:`~dyninfer.fractional.stepper.Stepper` for the rule. Gradients go through plain autograd,
    to the process, its Hurst index, ``x0``, the starting memory and the control. Under
    ``torch.no_grad()`` only the states at ``times`` are kept.

    Parameters
    ----------
    process : FractionalDiffusion
    x0 : array or Tensor, ``(n, d)``
        States at ``times[0]``; their dtype and device are the run's.
    times : array, ``(time,)``
        Increasing output times, even or not. A control that is frozen over long steps pays for it
        before sharp observations: more times there make them shorter.
    control : callable, ``(n,), (n, d), (n, d, K + 1) -> (n, d)``, optional
        ``u(t, x, y)``.
    solver : FractionalEuler, optional
    start : StartingMemory, optional
        By default drawn from the prior: stationary for kind I, 0 for kind II.
    seed : int
        The noise of path ``i`` depends on ``(seed, i)`` alone.

    Returns
    -------
    ControlledRun

    Raises
    ------
    ValueError
        If there is one time only, a shape or a setting does not fit, or the solver has explicit
        steps at which the fastest node oscillates; the message names a safe ``dt``.

    Warns
    -----
    RuntimeWarning
        If the solver steps the fastest node coarsely (``γ h > ½``).
    """
    x = as_states(x0, "x0")
    output_times = check_times(times, backward=False)
    if len(output_times) < 2:
        raise ValueError("times must be two or more: the start, and those of the states to keep")
    if solver is None:
        solver = FractionalEuler()
    solver.check()
    grid = solver.grid(output_times)
    if solver.memory == "euler":
        # An explicit step oscillates where the fastest node forgets within it.
        fastest = float(process.nodes.max())
        longest = float(grid.lengths.max())
        check_explicit(fastest, longest, f"solver {solver}")
    y, origin = _first_memory(process, x, start, seed)
    stepper = Stepper(process, grid.starts, grid.lengths, x, solver.memory)
    noise = StepNoise(seed, grid.n_steps, stepper.rank, x)
    rows = range(len(x))
    energy = x.new_zeros(len(x))
    states = [x]
    for interval in grid.intervals:
        for k in grid.steps(interval):
            u = None
            if control is not None:
                time = stepper.times[k]
                t = time.expand(len(x))
                u = control(t, x, y)
                power = u.square().sum(1)
                # ½ ∫ |u|² dt, with u held over the step as the scheme holds it.
                length = stepper.lengths[k]
                energy = energy + 0.5 * length * power
            z = noise.at(k, rows)
            x, y = stepper.step(k, x, y, origin, z, u)
        states.append(x)
    return ControlledRun(
        times=output_times,
        states=torch.stack(states, dim=1),
        memory=y,
        energy=energy,
    )


def _first_memory(
    process: FractionalDiffusion,
    x: Tensor,
    start: StartingMemory | None,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Memory at the first time, and at the time that a moving average counts from."""
    origin = None
    if start is None:
        y = prior_memory(process, x, seed)
    else:
        y = _fitting(start.memory, x, process, "memory")
        origin = start.origin
    if origin is not None:
        return y, _fitting(origin, x, process, "origin")
    # Kind I counts from the memory at the start, kind II from none.
    if process.noise.kind == "I":
        return y, y
    return y, torch.zeros_like(y)


def _fitting(memory: Tensor, x: Tensor, process: FractionalDiffusion, name: str) -> Tensor:
    """Memory in the dtype and on the device of the states, or a ValueError."""
    n_nodes = len(process.nodes)
    shape = *x.shape, n_nodes
    if tuple(memory.shape) != shape:
        raise ValueError(
            f"{name} must be (n, d, K + 1) = {shape}, but its shape is {tuple(memory.shape)}"
        )
    return memory.to(x)
