"""How fractional diffusions are run: by `simulate`, or under a control for inference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions import Diffusion
from dyninfer.fractional.memory import memory_equation, prior_memory
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.fractional.solver import FractionalEuler
from dyninfer.fractional.stepper import Memory, StepNoise, Stepper, check_explicit
from dyninfer.simulation.dispatch import Options, run
from dyninfer.simulation.grid import Grid, check_times
from dyninfer.simulation.runner import run_diffusion, run_equation
from dyninfer.simulation.solvers import TorchSDE
from dyninfer.simulation.solvers.solver import as_solver
from dyninfer.simulation.start import as_states, starting_states

Control = Callable[[Tensor, Tensor, Tensor], Tensor]


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
    if _is_flow(process) and not isinstance(options.solver, FractionalEuler | None):
        return run_diffusion(Diffusion(drift=process.drift), x0, times, options)
    start = starting_states(process, x0, options.n_paths, options.seed, keep_precision=True)
    equation = memory_equation(process, start.states.shape[1])
    solver = as_solver(options.solver, FractionalEuler(), equation.kind, equation)
    if isinstance(solver, TorchSDE) and not solver.adaptive and len(times) > 1:
        longest = float(solver.grid(times).lengths.max())
        check_explicit(float(process.nodes.max()), longest, f"solver {solver}")
    with torch.set_grad_enabled(start.is_differentiable):
        memory = prior_memory(process, start.states, options.seed)
        # The run begins where the memory does, so this is its origin too.
        states = equation.layout.join(start.states, memory, memory)
    return run_equation(equation, start, states, times, solver, options)


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


@dataclass(frozen=True)
class FractionalSolution:
    """What :func:`solve_fractional` returns.

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


def solve_fractional(
    process: FractionalDiffusion,
    x0: Any,
    times: Any,
    *,
    control: Control | None = None,
    y0: Tensor | None = None,
    origin: Tensor | None = None,
    dt: float | None = None,
    seed: int = 0,
    method: Memory = "exact",
    refine_at: Any = (),
    n_refined: int = 8,
) -> FractionalSolution:
    r"""Run a fractional diffusion under a control that shifts its Brownian motion, for inference.

    A plain run is :func:`~dyninfer.simulation.simulate`, whose steps and noise are the same; see
    :class:`~dyninfer.fractional.stepper.Stepper` for the rule. Gradients go through plain autograd,
    to the process, its Hurst index, ``x0``, ``y0`` and the control. Under ``torch.no_grad()`` only
    the states at ``times`` are kept.

    Parameters
    ----------
    process : FractionalDiffusion
    x0 : array or Tensor, ``(n, d)``
        States at ``times[0]``; their dtype and device are the run's.
    times : array, ``(time,)``
        Increasing output times, even or not.
    control : callable, ``(n,), (n, d), (n, d, K + 1) -> (n, d)``, optional
        ``u(t, x, y)``; the Brownian motion becomes ``dW + u dt``.
    y0 : Tensor, ``(n, d, K + 1)``, optional
        Memory at ``times[0]``; by default drawn from the prior: stationary for kind I, 0 for kind
        II.
    origin : Tensor, ``(n, d, K + 1)``, optional
        ``Y(0)``, from which a moving average of an index ``H(t)`` counts; by default the memory at
        ``times[0]`` for kind I, 0 for kind II. A run that goes on from another's memory needs that
        run's, for kind I.
    dt : float, optional
        Longest step; by default a hundredth of the span.
    seed : int
        The noise of path ``i`` depends on ``(seed, i)`` alone.
    method : "exact" or "euler"
        How the memory is stepped; see :class:`~dyninfer.fractional.solver.FractionalEuler`.
    refine_at : array, optional
        Times, those of sharp observations, that steps must meet, and before which they are halved
        ``n_refined`` times. A control that is frozen over long steps pays for it there.
    n_refined : int

    Returns
    -------
    FractionalSolution

    Raises
    ------
    ValueError
        If there is one time only, a shape does not fit, ``refine_at`` leaves the range of
        ``times``, or ``method="euler"`` has steps at which its fastest node oscillates; the message
        names a safe ``dt``.

    Warns
    -----
    RuntimeWarning
        If ``method="euler"`` steps its fastest node coarsely (``γ h > ½``).
    """
    x = as_states(x0, "x0")
    output_times = check_times(times, backward=False)
    if len(output_times) < 2:
        raise ValueError("times must be two or more: the start, and those of the states to keep")
    if method not in ("exact", "euler"):
        raise ValueError(f"method must be 'exact' or 'euler', found {method!r}")
    points = _step_ends(output_times, dt, refine_at, n_refined)
    lengths = points.diff()
    if method == "euler":
        fastest = float(process.nodes.max())
        check_explicit(fastest, float(lengths.max()), "method 'euler'")
    stepper = Stepper(process, points[:-1], lengths, x, method)
    noise = StepNoise(seed, len(lengths), stepper.rank, x)
    y = _first_memory(process, x, y0, seed)
    origin = _first_origin(process, x, y, origin)
    rows = range(len(x))
    energy = x.new_zeros(len(x))
    half = x.new_full(x.shape[1:], 0.5)
    # Ends of steps are sums, which rounding may leave just below an output time.
    early = output_times - _relative_slack(output_times)
    output_steps = torch.searchsorted(points, early)[1:]
    stored = set(output_steps.tolist())
    states = [x]
    for k, t in enumerate(stepper.times):
        u = None
        if control is not None:
            u = control(t.expand(len(x)), x, y)
            power = u.square() @ half
            energy = energy + stepper.lengths[k] * power
        z = noise.at(k, rows)
        x, y = stepper.step(k, x, y, origin, z, u)
        if k + 1 in stored:
            states.append(x)
    return FractionalSolution(
        times=output_times,
        states=torch.stack(states, dim=1),
        memory=y,
        energy=energy,
    )


def _first_memory(process: FractionalDiffusion, x: Tensor, y0: Tensor | None, seed: int) -> Tensor:
    """Memory at the first time."""
    if y0 is None:
        return prior_memory(process, x, seed)
    return _check_memory(y0, x, process, "y0")


def _first_origin(
    process: FractionalDiffusion,
    x: Tensor,
    y: Tensor,
    origin: Tensor | None,
) -> Tensor:
    """Memory at the time that a moving average counts from; ``y`` is that of the first time."""
    if origin is not None:
        return _check_memory(origin, x, process, "origin")
    if process.noise.kind == "I":
        return y
    return torch.zeros_like(y)


def _step_ends(times: Tensor, dt: float | None, refine_at: Any, n_refined: int) -> Tensor:
    """Ends of even steps between outputs and refined times, ``(step + 1,)`` float64.

    The last step before a refined time is halved again and again.
    """
    marks = torch.as_tensor(refine_at, dtype=torch.float64).reshape(-1)
    _check_marks(marks, times)
    if dt is not None and not 0 < dt < math.inf:
        raise ValueError(f"dt must be positive, found {dt!r}")
    required = torch.cat([times, marks]).unique()
    grid = Grid.of(required, dt)
    points = torch.cat([grid.starts, times[-1:]])
    if len(marks) == 0:
        return points
    last = torch.searchsorted(points, marks - _relative_slack(times))
    step = points[last] - points[last - 1]
    halvings = torch.arange(1, n_refined + 1, dtype=torch.float64)
    before = step[:, None] * 0.5**halvings
    inner = points[last, None] - before
    return torch.cat([points, inner.flatten()]).unique()


def _check_marks(marks: Tensor, times: Tensor) -> None:
    """Raise a ValueError if times at which to refine lie outside the run."""
    if len(marks) == 0:
        return
    is_inside = (marks > times[0]) & (marks <= times[-1])
    if not bool(is_inside.all()):
        raise ValueError(
            f"refine_at must lie after times[0] = {times[0]:g} and up to times[-1] = "
            f"{times[-1]:g}, found {marks.tolist()}"
        )


def _relative_slack(times: Tensor) -> float:
    """Far below any step, and far above the rounding errors of sums of steps."""
    span = float(times[-1] - times[0])
    return 1e-12 * span


def _check_memory(memory: Tensor, x: Tensor, process: FractionalDiffusion, name: str) -> Tensor:
    shape = *x.shape, len(process.nodes)
    if tuple(memory.shape) != shape:
        raise ValueError(
            f"{name} must be (n, d, K + 1) = {shape}, but its shape is {tuple(memory.shape)}"
        )
    return memory.to(x)
