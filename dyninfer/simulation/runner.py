"""Running an equation: chunks of paths, weights, failures, and what is reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions import Diffusion, scaling_of
from dyninfer.learning.compiler import compiled
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief, to_plain
from dyninfer.learning.warn import warn
from dyninfer.simulation.dispatch import Options, run
from dyninfer.simulation.equation import Equation, Rate, Rates, equation_of
from dyninfer.simulation.grid import Grid
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.noise import BLOCK, segment_length
from dyninfer.simulation.record import Record
from dyninfer.simulation.scale import Scale
from dyninfer.simulation.solvers.euler_maruyama import EulerMaruyama
from dyninfer.simulation.solvers.solver import Solver, as_solver
from dyninfer.simulation.solvers.sra1 import SRA1
from dyninfer.simulation.solvers.task import Task
from dyninfer.simulation.solvers.tsit5 import Tsit5
from dyninfer.simulation.start import Start, chunks, starting_states
from dyninfer.simulation.weights import effective_sample_size

_CPU_BUDGET = 256 * 2**20
_GPU_BUDGET = 4 * 2**30  # bytes of a chunk's working set
_ACTIVATIONS = 2048  # numbers per path that a network is assumed to hold at once

_DEFAULTS = {Kind.FLOW: Tsit5, Kind.ADDITIVE: SRA1, Kind.MULTIPLICATIVE: EulerMaruyama}


@run.register
def run_diffusion(process: Diffusion, x0: Any, times: Tensor, options: Options) -> Trajectories:
    """Run a :class:`~dyninfer.diffusions.Diffusion`; see :func:`simulate` for the arguments."""
    # A fitted process subtracts the mean of its data before it takes states to its own precision.
    is_fitted = scaling_of(process) is not None
    start = starting_states(
        process,
        x0,
        options.n_paths,
        options.seed,
        keep_precision=is_fitted,
        differentiable=options.differentiable,
    )
    x = start.states
    equation = equation_of(process, x, times, options.noise, options.backward)
    kind = equation.kind
    default = _DEFAULTS[kind]()
    solver = as_solver(options.solver, default, kind, equation)
    return run_equation(equation, start, x, times, solver, options)


def run_equation(
    equation: Equation,
    start: Start,
    states: Tensor,
    times: Tensor,
    solver: Solver,
    options: Options,
) -> Trajectories:
    """Solve an equation from full states ``(n, D)`` and keep the first ``d`` coordinates.

    Parameters
    ----------
    equation : Equation
    start : Start
        The user's states ``(n, d)``, which the full states begin with.
    states : Tensor, ``(n, D)``
        All coordinates of the equation at ``times[0]``.
    times : Tensor, ``(time,)`` float64
    solver : Solver
        Checked to run this equation.
    options : Options
    """
    _check_chunks(solver, options.chunk_size, len(states))
    grid = solver.grid(times, equation.longest_step)
    n_features = start.states.shape[1]
    shape = (len(states), len(times), n_features)
    if options.to is None:
        kept = states.new_empty(shape, dtype=start.dtype)
    else:
        kept = options.to.allocate(shape, start.dtype)
    record = Record.of(states, kept, equation.grows)
    bar = tqdm(
        total=0,
        unit="time",
        desc=f"simulate ({solver.spelling})",
        disable=not options.progress,
    )
    scale = Scale.of(equation, states, times)
    rates = equation.rates
    if options.compile:
        rates = compiled(rates, states.device)
    counted = Counted(rates)
    equation = replace(equation, rates=counted)
    rows = range(len(states))
    task = Task(equation, grid, options.seed, rows, grid.intervals, scale)
    if options.progress:
        task = replace(task, tick=bar.update)
    with torch.set_grad_enabled(start.is_differentiable), bar:
        _fill(record, task, solver, options, bar)
    _warn(record, times, solver)
    attrs = _provenance(solver, options, grid)
    attrs["evaluations"] = counted.n_rows / len(states)
    return _trajectories(record, start, times, options, attrs)


class Counted:
    """Rates that count the states at which they are asked for.

    Parameters
    ----------
    rates : callable
        Of an :class:`Equation`.
    """

    def __init__(self, rates: Rates):
        self.rates = rates
        self.n_rows = 0

    def __call__(self, t: Tensor, x: Tensor) -> Rate:
        """Rates at the states, which are counted."""
        # A number of the host: a GPU is not waited for.
        self.n_rows += len(x)
        return self.rates(t, x)


def _check_chunks(solver: Solver, chunk_size: int | None, n_paths: int) -> None:
    """Refuse to divide what only all paths together can give."""
    if chunk_size is None or chunk_size >= n_paths or not solver.needs_all_paths:
        return
    raise ValueError(
        f"chunk_size={chunk_size} cannot be used with solver {brief(solver)}: noise and steps of "
        "a path depend on all paths of a run, so another size would give other paths; leave it "
        "out, or take a method such as srk with fixed steps"
    )


def _fill(record: Record, task: Task, solver: Solver, options: Options, bar: tqdm) -> None:
    """Solve chunk by chunk; with resampling, which looks at all paths, interval by interval."""
    n_paths = len(record.states)
    intervals = task.grid.intervals
    chunk_size = options.chunk_size or _chunk_size(record.current, task, solver)
    parts = chunks(n_paths, chunk_size)
    n_crossings = len(intervals) * len(parts)
    bar.reset(total=n_crossings)
    if len(intervals) == 0:
        return
    if options.resample is None:
        _cross(record, task, solver, parts)
        return
    # Until now all paths shared one table of parents.
    record.parents = record.parents.clone()
    record.ess.append(float(n_paths))
    generator = stream(options.seed, "resample")
    for k in intervals:
        interval = range(k, k + 1)
        one_interval = replace(task, intervals=interval)
        _cross(record, one_interval, solver, parts)
        record.resample(k + 1, options.resample, generator)


def _cross(record: Record, task: Task, solver: Solver, parts: list[range]) -> None:
    """Take all paths across the intervals of a task, chunk by chunk."""
    ends = []
    for rows in parts:
        chunk = slice(rows.start, rows.stop)
        own_task = replace(task, rows=rows)
        # Copies, since solvers may work in place.
        x = record.current[chunk].clone()
        w = None
        if record.log_weights is not None:
            weights = record.log_weights[chunk]
            first = task.intervals.start
            w = weights[:, first].clone()
        states, w = solver.integrate(own_task, x, w)
        record.enter(rows, task.intervals, states, w)
        # A copy: a view would keep the states of all chunks.
        ends.append(states[:, -1].clone())
    record.current = torch.cat(ends)


def _trajectories(
    record: Record, start: Start, times: Tensor, options: Options, attrs: dict[str, Any]
) -> Trajectories:
    states = record.states
    log_weights = record.log_weights
    # States in a file are on the CPU, wherever the run was.
    failed = record.failed().to(states.device)
    if log_weights is not None:
        log_weights = log_weights.to(states.device)
    if bool(failed.any()):
        if options.to is None:
            states = states.masked_fill(failed[:, :, None], torch.nan)
        else:
            # In place: a copy of all states might not fit.
            lost = failed.any(1).nonzero()[:, 0]
            states[lost] = states[lost].masked_fill(failed[lost, :, None], torch.nan)
        if log_weights is not None:
            log_weights = log_weights.masked_fill(failed, torch.nan)
    if log_weights is not None:
        # Of a single time there is no record yet.
        attrs["ess"] = record.ess or effective_sample_size(log_weights.detach()).tolist()
    return Trajectories(
        states=states,
        times=times,
        log_weights=log_weights,
        origin=start.rows.numpy(),
        status=failed[:, -1].to(torch.int8),
        parents=None if options.resample is None else record.parents,
        attrs=attrs,
    )


def _warn(record: Record, times: Tensor, solver: Solver) -> None:
    """One warning for all paths that diverged, whether they stay or resampling replaced them."""
    failed = record.failed()
    n_replaced = torch.tensor(record.replaced)
    has_failed = failed.any(dim=0).cpu()
    was_replaced = n_replaced > 0
    is_lost = has_failed | was_replaced
    if not bool(is_lost.any()):
        return
    at_end = failed[:, -1]
    n_failed = int(at_end.sum())
    n_lost = n_failed + int(n_replaced.sum())
    # argmax takes the first of equals.
    first_output = int(is_lost.int().argmax())
    first = float(times[first_output])
    consequence = "their states are NaN from there on and their status is 1"
    if n_replaced.any():
        consequence = "resampling replaced them"
    warn(
        f"{n_lost} of {len(failed)} paths diverged, the first by time {first:g}; {consequence} "
        f"(solver {solver}; smaller steps or tolerances may help, unless the process itself runs "
        "to infinity)",
        RuntimeWarning,
        # The line that called simulate.
    )


def _provenance(solver: Solver, options: Options, grid: Grid) -> dict[str, Any]:
    """How the run was made, in plain values."""
    longest = None
    if grid.n_steps:
        longest = float(grid.lengths.abs().max())
    return {
        "solver": to_plain(solver),
        "seed": options.seed,
        "backward": bool(options.backward),
        "noise": _plain_noise(options.noise),
        "resample": options.resample,
        "longest_step": longest,
    }


def _plain_noise(noise: Any) -> str | float | None:
    """What is recorded of the noise: the number, or the name of the function."""
    if noise is None:
        return None
    if callable(noise):
        return getattr(noise, "__name__", "callable")
    return float(noise)


def _chunk_size(states: Tensor, task: Task, solver: Solver) -> int:
    """Paths whose states, noise and assumed activations fit the budget, in whole blocks."""
    if solver.needs_all_paths:
        return len(states)
    d = states.shape[1]
    numbers = d * 16 + _ACTIVATIONS
    if task.equation.amplitude is not None and task.grid.n_steps > 0:
        # SRA1, the hungriest, holds six tables of the noise while it makes a segment.
        segment = segment_length(task.grid.n_steps, d, states)
        numbers += d * 6 * segment
    bytes_per_path = states.element_size() * numbers
    budget = _GPU_BUDGET if states.is_cuda else _CPU_BUDGET
    n_paths = budget // bytes_per_path
    # Whole blocks, as the noise of a block is drawn at once.
    return max(1, n_paths // BLOCK) * BLOCK
