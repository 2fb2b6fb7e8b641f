"""Running a diffusion: the choice of a solver, chunks of paths, weights and failures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions import Diffusion
from dyninfer.learning.random import stream
from dyninfer.simulation import runge_kutta, stochastic, via_torchdiffeq, via_torchsde
from dyninfer.simulation.dispatch import Options, run
from dyninfer.simulation.equation import Equation, equation_of
from dyninfer.simulation.grid import Grid
from dyninfer.simulation.noise import segment_length
from dyninfer.simulation.start import Start, chunks, starting_states
from dyninfer.simulation.task import Task
from dyninfer.simulation.tsit5 import integrate_tsit5
from dyninfer.simulation.weights import effective_sample_size, systematic_resample

Integrator = Callable[[Task, Tensor, Tensor | None, range, range], tuple[Tensor, Tensor | None]]

FLOW_SOLVERS: dict[str, Integrator] = {
    "tsit5": integrate_tsit5,
    "euler": partial(runge_kutta.integrate, tableau=runge_kutta.EULER),
    "heun": partial(runge_kutta.integrate, tableau=runge_kutta.HEUN),
    "rk4": partial(runge_kutta.integrate, tableau=runge_kutta.RK4),
}
NOISE_SOLVERS: dict[str, Integrator] = {
    "euler_maruyama": partial(stochastic.integrate, scheme=stochastic.EULER_MARUYAMA),
    "heun": partial(stochastic.integrate, scheme=stochastic.HEUN),
    "sra1": partial(stochastic.integrate, scheme=stochastic.SRA1),
}

_CPU_BUDGET, _GPU_BUDGET = 256 * 2**20, 4 * 2**30  # bytes of a chunk's working set
_ACTIVATIONS = 2048  # numbers per path that a network is assumed to hold at once


@run.register
def simulate_diffusion(
    process: Diffusion, x0: Any, times: Tensor, options: Options
) -> Trajectories:
    """Run a :class:`~dyninfer.diffusions.Diffusion`; see :func:`simulate` for the arguments."""
    start = starting_states(process, x0, options.n_paths, options.seed, options.origin)
    features = _features(options, start.states.shape[1])
    equation = equation_of(process, start.states, times, options.noise, options.backward)
    solver, integrate = choose_solver(options.solver, equation)
    grid = Grid.of(times, options.dt)
    record = Record.of(start, grid, equation.grows)
    with (
        torch.set_grad_enabled(start.differentiable),
        tqdm(
            total=0, unit="time", desc=f"simulate ({solver})", disable=not options.progress
        ) as bar,
    ):
        tick = bar.update if options.progress else None
        task = Task(equation, grid, options.seed, options.rtol, options.atol, tick)
        _fill(record, task, integrate, options, bar)
    return _trajectories(record, start, times, solver, options, features, grid)


def choose_solver(name: str, equation: Equation) -> tuple[str, Integrator]:
    """Resolve a solver's name for a flow or an equation with noise.

    Raises
    ------
    ValueError
        If there is no such solver, or it cannot run this equation.
    """
    noisy = equation.amplitude is not None
    if name == "auto":
        name = ("sra1" if equation.additive else "euler_maruyama") if noisy else "tsit5"
    own, other = (NOISE_SOLVERS, FLOW_SOLVERS) if noisy else (FLOW_SOLVERS, NOISE_SOLVERS)
    if name == "sra1" and noisy and not equation.additive:
        raise ValueError(
            "solver 'sra1' is for additive noise, but the diffusion of this process depends on the state; "
            "use solver='euler_maruyama'"
        )
    if name in own:
        return name, own[name]
    library = via_torchsde.solver(name, equation) if noisy else via_torchdiffeq.solver(name)
    if library is not None:
        return name, library
    known = ", ".join(repr(key) for key in ("auto", *own)) + (
        ", 'torchsde:<method>'" if noisy else ", 'torchdiffeq:<method>'"
    )
    if name in other or via_torchsde.is_name(name) or via_torchdiffeq.is_name(name):
        kind = "flows without noise" if noisy else "equations with noise"
        found = "has noise (noise=0 would run its probability flow)" if noisy else "has none"
        raise ValueError(
            f"solver {name!r} is for {kind}, but this process {found}; choose one of {known}"
        )
    raise ValueError(f"solver {name!r} is not known; choose one of {known}")


@dataclass
class Record:
    """What a run keeps: the requested times only."""

    states: Tensor  # (n, time, d)
    log_weights: Tensor | None  # (n, time)
    diverged: Tensor  # (n, time)
    parents: Tensor  # (n, time)
    replaced: list[int]  # (time,) diverged paths that resampling replaced
    ess: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, start: Start, grid: Grid, grows: bool) -> Record:
        """Allocate the record and enter the start."""
        x, (n, d), n_times = start.states, start.states.shape, len(grid.times)
        states = x.new_empty(n, n_times, d)
        states[:, 0] = x
        weights = torch.zeros(n, n_times, dtype=torch.float64, device=x.device) if grows else None
        diverged = torch.zeros(n, n_times, dtype=torch.bool, device=x.device)
        parents = torch.arange(n, device=x.device)[:, None].expand(n, n_times)
        return cls(states, weights, diverged, parents, [0] * n_times)

    def enter(
        self, rows: range, intervals: range, states: Tensor, log_weights: Tensor | None
    ) -> None:
        """Write the ends of ``intervals`` for ``rows``; look for failures without waiting for the device."""
        at = slice(rows.start, rows.stop), slice(intervals.start + 1, intervals.stop + 1)
        self.states[at] = states
        finite = states.detach().sum(-1).isfinite()
        if self.log_weights is not None and log_weights is not None:
            self.log_weights[at] = log_weights
            finite &= log_weights.detach() < torch.inf
        self.diverged[at] = ~finite


def _fill(record: Record, task: Task, integrate: Integrator, options: Options, bar: tqdm) -> None:
    """Integrate chunk by chunk; with resampling, which looks at all paths together, interval by interval."""
    intervals, resample = task.grid.intervals, options.resample
    windows = [intervals] if resample is None else [range(k, k + 1) for k in intervals]
    parts = chunks(
        len(record.states), options.chunk_size or _chunk_size(record.states, task, options)
    )
    bar.reset(total=len(intervals) * len(parts))
    generator = stream(options.seed, "resample")
    if resample is not None:
        record.parents = record.parents.clone()
        record.ess.append(float(len(record.states)))
    for window in windows:
        for rows in parts if window else []:
            chunk = slice(rows.start, rows.stop), window.start
            w = None if record.log_weights is None else record.log_weights[chunk].clone()
            record.enter(
                rows, window, *integrate(task, record.states[chunk].clone(), w, rows, window)
            )
        if resample is not None:
            _resample(record, window.stop, resample, generator)


def _resample(record: Record, k: int, threshold: float, generator: torch.Generator) -> None:
    """Draw the paths anew at output ``k`` where the weights are too uneven or a path has diverged."""
    n, diverged = len(record.states), record.diverged[:, k]
    w = torch.zeros(n, dtype=torch.float64, device=diverged.device)
    if record.log_weights is not None:
        w = record.log_weights[:, k]
    w = torch.where(diverged, -torch.inf, w)
    ess = float(effective_sample_size(w.detach()))
    record.ess.append(ess)
    # Nothing to draw from if no path is left: the record then shows them all as diverged.
    if not ess > 0 or not (ess < threshold * n or bool(diverged.any())):
        return
    rows, mean = systematic_resample(w, generator)
    record.replaced[k] = int(diverged.sum())
    record.states[:, k] = record.states[rows, k]
    record.parents[:, k] = rows
    record.diverged[:, k] = False
    if record.log_weights is not None:
        record.log_weights[:, k] = mean


def _trajectories(
    record: Record,
    start: Start,
    times: Tensor,
    solver: str,
    options: Options,
    features: Any,
    grid: Grid,
) -> Trajectories:
    states, weights = record.states, record.log_weights
    diverged = record.diverged.cummax(dim=1).values
    if bool(diverged.any()):
        states = states.masked_fill(diverged[:, :, None], torch.nan)
        weights = None if weights is None else weights.masked_fill(diverged, torch.nan)
    _warn(diverged, record.replaced, times, solver)
    attrs = _provenance(options, solver, grid)
    if weights is not None:  # of a single time there is no record yet
        attrs["ess"] = record.ess or effective_sample_size(weights.detach()).tolist()
    return Trajectories(
        states=states.to(start.dtype),
        times=times,
        log_weights=weights,
        origin=start.origin,  # type: ignore[arg-type]
        status=diverged[:, -1].to(torch.int8),
        parents=None if options.resample is None else record.parents,
        features=features,
        attrs=attrs,
    )


def _warn(diverged: Tensor, replaced: list[int], times: Tensor, solver: str) -> None:
    """One warning for all paths that diverged, whether they stay or were replaced by resampling."""
    lost = diverged.any(dim=0).cpu() | (torch.tensor(replaced) > 0)
    if not bool(lost.any()):
        return
    number = int(diverged[:, -1].sum()) + sum(replaced)
    fate = (
        "resampling replaced them"
        if sum(replaced)
        else "their states are NaN from there on and their status is 1"
    )
    warnings.warn(
        f"{number} of {len(diverged)} paths diverged, the first by time {float(times[int(lost.int().argmax())]):g}; "
        f"{fate} (solver {solver!r}; a smaller dt or rtol may help, unless the process itself runs to infinity)",
        RuntimeWarning,
        stacklevel=6,
    )


def _provenance(options: Options, solver: str, grid: Grid) -> dict[str, Any]:
    noise = options.noise
    attrs: dict[str, Any] = {
        "solver": solver,
        "seed": options.seed,
        "backward": bool(options.backward),
        "noise": getattr(noise, "__name__", "callable")
        if callable(noise)
        else noise and float(noise),
        "dt": float(grid.lengths.abs().max()) if grid.n_steps else None,
        "rtol": options.rtol,
        "atol": options.atol,
        "resample": options.resample,
    }
    return attrs


def _features(options: Options, d: int) -> tuple[str, ...] | None:
    if options.features is None:
        return None
    if len(options.features) != d:
        raise ValueError(
            f"features names {len(options.features)} columns, but x0 has {d}; give one name per column"
        )
    return tuple(str(name) for name in options.features)


def _chunk_size(states: Tensor, task: Task, options: Options) -> int:
    """Paths whose states, pre-drawn noise and assumed network activations fit the budget, in whole blocks."""
    if options.solver.startswith("torchsde"):
        return len(states)  # its noise would depend on the chunk
    d, budget = states.shape[2], _GPU_BUDGET if states.is_cuda else _CPU_BUDGET
    noisy = task.equation.amplitude is not None and task.grid.n_steps > 0
    noise = 6 * segment_length(task.grid.n_steps, d, states) if noisy else 0
    row = states.element_size() * (d * (noise + 16) + _ACTIVATIONS)
    return max(64, budget // row // 64 * 64)
